"""Facts for an issue: versions, the machine, models and folders."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = (
    *(
        "torch",
        "numpy",
        "scipy",
        "scikit-image",
        "tifffile",
        "zarr",
        "ome-zarr",
        "dask",
        "distributed",
    ),
    *("bioio", "napari", "npe2", "magicgui", "qtpy", "superqt", "PyQt6", "PySide6", "PyQt5"),
)
_HASHED = 12
_GIGABYTE = 1e9


def describe() -> dict[str, dict[str, str]]:
    """Sections of names and values, as text; loads torch.

    Paths below the home folder begin with ``~``, so that they can be shown to others.
    """
    return {
        "napari-rednet": {"version": _version("napari-rednet") or "not installed"},
        "system": {
            "platform": platform.platform(),
            "Python": f"{platform.python_version()}, {_private(Path(sys.executable))}",
        },
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
        "devices": dict(_devices()),
        "models": dict(_models()),
        "folders": dict(_folders()),
    }


def as_text(sections: dict[str, dict[str, str]]) -> str:
    """The sections as lines to paste."""
    lines = []
    for title, values in sections.items():
        lines.append(f"{title}:")
        lines += [f"  {name}: {value}" for name, value in values.items()]
    return "\n".join(lines)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _devices() -> Iterator[tuple[str, str]]:
    import psutil
    import torch

    from napari_rednet.engine.network import available_devices, fast_dtype, free_memory

    for name in available_devices():
        device = torch.device(name)
        precision = str(fast_dtype(device)).removeprefix("torch.")
        free = f"{free_memory(device) / _GIGABYTE:.1f} GB free"
        yield name, f"{_processor(device)}, computes in {precision}, {free}"
    cores = psutil.cpu_count(logical=False)
    yield "threads", f"{torch.get_num_threads()} of torch, on {cores} cores"
    told = {
        name: os.environ[name]
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
        if name in os.environ
    }
    if told:
        yield "environment", ", ".join(f"{name}={value}" for name, value in told.items())


def _processor(device: Any) -> str:
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        capability = torch.backends.cpu.get_cpu_capability()
    except AttributeError:
        capability = ""
    return " ".join(filter(None, (platform.processor() or platform.machine(), capability)))


def _models() -> Iterator[tuple[str, str]]:
    """Each model with the beginning of its file's checksum; damaged ones as such."""
    from napari_rednet.models import damaged_models, list_models

    for info in list_models():
        digest = hashlib.sha256(info.path.read_bytes()).hexdigest()[:_HASHED]
        kind = f"RED{info.layers}, stride {info.stride}, {info.features} maps"
        yield info.name, f"{info.task}, {info.origin}, {kind}, sha256 {digest}"
    for damaged in damaged_models():
        yield _private(damaged.path), "damaged"


def _folders() -> Iterator[tuple[str, str]]:
    from napari_rednet.models.registry import installed_models_folder, user_models_folder

    yield "installed models", _private(installed_models_folder())
    yield "your models", _private(user_models_folder())


def _private(path: Path) -> str:
    try:
        return str(Path("~") / path.relative_to(Path.home()))
    except ValueError:
        return str(path)
