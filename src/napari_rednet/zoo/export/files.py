"""Optional packages, and files that are whole or absent."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from napari_rednet.errors import ModelError


def optional_package(name: str) -> Any:
    """A package that only exporting needs.

    Raises
    ------
    ModelError
        If it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise ModelError(
            f"exporting needs {name.partition('.')[0]}, which is not installed; "
            'pip install "napari-rednet[export]"'
        ) from error


def write_whole(files: Mapping[Path, bytes]) -> None:
    """Write files beside their places and rename them when all are written.

    Raises
    ------
    ModelError
        If one of them cannot be written.
    """
    beside = {target: target.with_name(target.name + ".part") for target in files}
    try:
        for target, content in files.items():
            beside[target].write_bytes(content)
        for target, part in beside.items():
            part.replace(target)
    except OSError as error:
        for part in beside.values():
            part.unlink(missing_ok=True)
        raise ModelError(f"the model cannot be exported: {error}") from error
