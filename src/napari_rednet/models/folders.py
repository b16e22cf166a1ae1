"""Where model files lie, and the names that stand for them; nothing heavy is imported."""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

from platformdirs import user_data_path

from napari_rednet.errors import ModelError
from napari_rednet.tasks import TASKS

_VARIABLE = "NAPARI_REDNET_MODELS"
SUFFIX = ".safetensors"
"""Suffix of model files, by which paths are told from names."""


def installed_models_folder() -> Path:
    """The folder of the models that come with the package."""
    return Path(str(files("napari_rednet").joinpath("weights")))


def user_models_folder() -> Path:
    """The folder of the user's models, or that in ``NAPARI_REDNET_MODELS``; it need not exist."""
    elsewhere = os.environ.get(_VARIABLE)
    if elsewhere:
        return Path(elsewhere).expanduser()
    return user_data_path("napari-rednet", appauthor=False) / "models"


def files_in(folder: Path) -> dict[str, Path]:
    """The model files of a folder by their names; a folder that may not be read has none."""
    try:
        return {path.stem: path for path in folder.glob(f"*{SUFFIX}")}
    except OSError:
        return {}


def check_named(model: str | os.PathLike[str], task: str) -> None:
    """Raise `ModelError` if no file is there for a path or a name, as functions take it."""
    name = str(model)
    if name.endswith(SUFFIX):
        if not Path(name).exists():
            raise ModelError(f"there is no model file {name}")
        return
    installed = files_in(installed_models_folder())
    known = [*sorted(installed), *sorted(files_in(user_models_folder()))]
    if name not in known and f"{TASKS[task].prefix}-{name}" not in installed:
        raise unknown(name, known)


def unknown(name: str, known: Iterable[str]) -> ModelError:
    """The error for a name that stands for no model."""
    return ModelError(
        f"there is no model {name!r}; known: {', '.join(known)}, or the path of a {SUFFIX} file"
    )
