"""The user's own models: add, rename and remove them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from napari_rednet.errors import ModelError
from napari_rednet.models.model import Model, read_model
from napari_rednet.models.registry import ModelInfo, describe, reserved_names, user_models_folder
from napari_rednet.tasks import TASKS

# A leading "-" looks like an option, a leading "." hides the file.
_NAME = re.compile(r"\w([\w. -]*[\w.-])?")
_LONGEST = 60

_listeners: set[Callable[[], None]] = set()


def add_model(
    model: Model | str | os.PathLike[str], name: str | None = None, *, overwrite: bool = False
) -> ModelInfo:
    """Put a model into the user's folder, so that it is found by name.

    Parameters
    ----------
    model : Model or path
        The model, or its ``.safetensors`` file, which is copied.
    name : str, optional
        Its new name; by default it keeps its name.
    overwrite : bool
        Replace a user's model that has this name.

    Raises
    ------
    ValueError
        If the name cannot be used.
    ModelError
        If there is such a model, the file is no model, or the folder cannot be written.
    """
    given = model if isinstance(model, Model) else _read(Path(model))
    if given.task not in TASKS:
        raise ModelError(f"the model is for {given.task!r}; known: {', '.join(TASKS)}")
    chosen = check_name(given.name if name is None else name)
    if not (overwrite and chosen in _files()):
        _refuse_taken(chosen)
    info = _save(replace(given, name=chosen))
    _tell()
    return info


def rename_model(name: str, new_name: str) -> ModelInfo:
    """Give one of the user's models another name.

    Raises
    ------
    ValueError
        If the new name cannot be used.
    ModelError
        If there is no such user's model, the new name is taken, or the folder cannot be written.
    """
    old = user_model_file(name)
    _refuse_taken(check_name(new_name))
    info = _save(replace(_read(old), name=new_name))
    _delete(old)
    _tell()
    return info


def remove_model(name: str) -> None:
    """Delete one of the user's models, or a damaged file of that name in the folder.

    Raises
    ------
    ModelError
        If there is no such user's model, or its file cannot be deleted.
    """
    _delete(user_model_file(name))
    _tell()


def user_model_file(name: str) -> Path:
    """The file of one of the user's models; raises `ModelError` if there is none."""
    own = _files()
    if name in own:
        return own[name]
    if name.casefold() in reserved_names():
        raise ModelError(f"{name!r} belongs to the package: it cannot be renamed or removed")
    yours = ", ".join(sorted(own)) or "none"
    raise ModelError(f"there is no model {name!r} of your own; your models: {yours}")


def check_name(name: str) -> str:
    """Return the name if the user's models can have it; raise `ValueError` if not."""
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise ValueError(
            "the name of a model must have 1 to 60 letters, digits, '_', '-', '.' or spaces, "
            f"not begin with '-', '.' or a space nor end with a space; got {name!r}"
        )
    if name.casefold().endswith(".safetensors"):
        raise ValueError(f"the name of a model must not end in .safetensors, got {name!r}")
    if name.casefold() in reserved_names():
        raise ValueError(f"{name!r} belongs to the package; choose another name for your model")
    return name


def on_change(listener: Callable[[], None]) -> None:
    """Call a function whenever models have been added, renamed or removed in this process.

    It is called in the thread that changed the models. Adding a function twice has no effect.
    """
    _listeners.add(listener)


def _tell() -> None:
    for listener in tuple(_listeners):
        listener()


def _files() -> dict[str, Path]:
    return {path.stem: path for path in user_models_folder().glob("*.safetensors")}


def _read(path: Path) -> Model:
    # `read_model` trusts the header; `describe` has clear errors for invalid ones.
    describe(path, "user")
    return read_model(path)


def _refuse_taken(name: str) -> None:
    # Some file systems ignore case.
    for taken in _files():
        if taken.casefold() == name.casefold():
            raise ModelError(f"there is a model {taken!r} already; choose another name")


def _save(model: Model) -> ModelInfo:
    folder = user_models_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(f"the folder of your models cannot be made: {error}") from error
    path = folder / f"{model.name}.safetensors"
    model.save(path)
    return describe(path, "user")


def _delete(path: Path) -> None:
    try:
        path.unlink()
    except OSError as error:
        raise ModelError(f"the model cannot be deleted: {error}") from error
