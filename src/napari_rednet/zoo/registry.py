"""The models that come with the package, by name and by task."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from napari_rednet.errors import ModelError
from napari_rednet.zoo.model import TASKS, Model, read_contract, read_model

VARIANTS = ("fast", "best")


@dataclass(frozen=True)
class ModelInfo:
    """What is known of a model without loading its weights."""

    name: str
    task: str
    path: Path
    layers: int
    stride: int
    features: int

    @property
    def variant(self) -> str:
        """The short name within its task: 'fast' for 'denoise-fast'."""
        return self.name.removeprefix(f"{TASKS[self.task].prefix}-")


def list_models(task: str | None = None) -> list[ModelInfo]:
    """The models that can be used.

    Parameters
    ----------
    task : str, optional
        Only the models of one task.

    Raises
    ------
    ValueError
        If there is no such task.
    """
    if task is not None and task not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}, got {task!r}")
    found = [_describe(path) for path in sorted(_weights_folder().glob("*.safetensors"))]
    return [info for info in found if task in (None, info.task)]


def load_model(name_or_path: str | os.PathLike[str]) -> Model:
    """Load a model by name ('denoise-fast') or from a ``.safetensors`` file.

    Raises
    ------
    ModelError
        If there is no such model, or its file is damaged.
    """
    if str(name_or_path).endswith(".safetensors"):
        return read_model(name_or_path)
    known = {info.name: info.path for info in list_models()}
    if str(name_or_path) in known:
        return read_model(known[str(name_or_path)])
    raise ModelError(
        f"there is no model {str(name_or_path)!r}; "
        f"known: {', '.join(known)}, or the path of a .safetensors file"
    )


def load_model_for(task: str, model: str | os.PathLike[str] | Model) -> Model:
    """The model to use for a task: 'fast', 'best', a full name, a path or a `Model`.

    Raises
    ------
    ModelError
        If there is no such model, or it was made for another task.
    """
    if isinstance(model, Model):
        found = model
    elif isinstance(model, (str, os.PathLike)):
        known = {info.variant for info in list_models(task)}
        found = load_model(f"{TASKS[task].prefix}-{model}" if str(model) in known else model)
    else:
        raise TypeError(f"model must be a name, a path or a Model, got {type(model).__name__}")
    if found.task != task:
        raise ModelError(f"the model {found.name!r} was made for {found.task}, not for {task}")
    return found


def _weights_folder() -> Path:
    return Path(str(files("napari_rednet").joinpath("weights")))


def _describe(path: Path) -> ModelInfo:
    contract = read_contract(path)
    network = contract["network"]
    return ModelInfo(
        contract["name"],
        contract["task"],
        path,
        network["layers"],
        network["stride"],
        network["features"],
    )
