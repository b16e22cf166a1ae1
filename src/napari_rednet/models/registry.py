"""The models that there are: those that are installed, and the user's own, which can be managed.

Nothing heavy is imported before a model is read: a name that no model has is told at once.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from platformdirs import user_data_path

from napari_rednet.errors import ModelError
from napari_rednet.tasks import TASKS

if TYPE_CHECKING:
    from napari_rednet.engine.network import NetworkConfig
    from napari_rednet.models.model import Model

_VARIABLE = "NAPARI_REDNET_MODELS"
SUFFIX = ".safetensors"
"""Suffix of model files, by which paths are told from names."""
VARIANTS = ("fast", "best")
Origin = Literal["installed", "user"]
_MOST_LOADED, _MOST_DESCRIBED = 4, 256
_warned_of: set[Path] = set()
# A leading "-" looks like an option, a leading "." hides the file.
_NAME = re.compile(r"\w([\w. -]*[\w.-])?")
# Windows takes such names for devices, whatever follows a dot.
_DEVICE = re.compile(r"(con|prn|aux|nul|(com|lpt)\d)(\..*)?", re.IGNORECASE)
_LONGEST = 60
_listeners: set[Callable[[], None]] = set()


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


@dataclass(frozen=True)
class ModelInfo:
    """Description of a model, read without its weights."""

    name: str
    task: str
    path: Path
    layers: int
    stride: int
    features: int
    planes: int
    origin: Origin

    @property
    def variant(self) -> str:
        """Name within its task: 'fast' for 'denoise-fast', the full name for the user's models."""
        if self.origin == "user":
            return self.name
        return self.name.removeprefix(f"{TASKS[self.task].prefix}-")


def list_models(task: str | None = None) -> list[ModelInfo]:
    """The available models: those that are installed, then the user's.

    Files in the user's folder that are not models are left out, with a warning.

    Parameters
    ----------
    task : str, optional
        List only the models of one task.

    Raises
    ------
    ValueError
        If there is no such task.
    """
    _check_known(task)
    found = [*_installed_models(), *_user_models()]
    return [info for info in found if task in (None, info.task)]


def _check_known(task: str | None) -> None:
    if task is not None and task not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}, got {task!r}")


def load_model(name_or_path: str | os.PathLike[str], task: str | None = None) -> Model:
    """Load a model by name ('denoise-fast', 'my cells') or from a ``.safetensors`` file.

    Parameters
    ----------
    name_or_path : str or path
        With `task`, also 'fast', as the functions that restore take it.
    task : str, optional
        Task that the model must have been made for.

    Raises
    ------
    ValueError
        If there is no such task.
    ModelError
        If there is no such model, its file is damaged, or it was made for another task.
    """
    from napari_rednet.models.model import read_model

    _check_known(task)
    return _load(name_or_path, task, read_model)


def load_model_for(
    task: str, model: str | os.PathLike[str] | Model, *, is_stack: bool = False
) -> Model:
    """The model for a task: 'fast', a full name, a path or a `Model`; raises `ModelError`.

    Only with `is_stack` it may be one that sees neighbouring planes. Files are read once, unless
    they change, so callers must not change the weights.
    """
    from napari_rednet.models.model import Model

    if isinstance(model, Model):
        found = model
        _check_task(found, task)
    elif isinstance(model, (str, os.PathLike)):
        found = _load(model, task, _read_once)
    else:
        raise TypeError(f"model must be a name, a path or a Model, got {type(model).__name__}")
    if not is_stack and found.network.config.planes > 1:
        raise ModelError(
            f"the model {found.name!r} sees neighbouring planes; `denoise` takes it together with "
            "along, their axis"
        )
    return found


def model_told(task: str, arguments: Mapping[str, Any]) -> Model:
    """The model that the arguments of a function name, which may ask for neighbouring planes."""
    is_stack = arguments.get("along") is not None
    return load_model_for(task, arguments["model"], is_stack=is_stack)


def _load(
    name_or_path: str | os.PathLike[str], task: str | None, read: Callable[[Path], Model]
) -> Model:
    name, path = find_model(name_or_path, task)
    found = read(path)
    if str(name_or_path).endswith(SUFFIX):
        _check_channels(path, found.task, found.config)
    elif found.name != name:  # a file renamed by hand still holds its old name
        found = replace(found, name=name)
    if task is not None:
        _check_task(found, task)
    return found


def find_model(name_or_path: str | os.PathLike[str], task: str | None = None) -> tuple[str, Path]:
    """The name of a model and its file, which is not read if it is given by its path.

    With `task`, the name may be a variant. Raises `ModelError` if there is no model of that name.
    """
    if str(name_or_path).endswith(SUFFIX):
        path = Path(name_or_path)
        return path.stem, path
    infos, name = list_models(), str(name_or_path)
    known = {info.name: info.path for info in infos}
    name = {i.variant: i.name for i in infos if i.task == task}.get(name, name)
    if name not in known:
        raise unknown(name, known)
    return name, known[name]


def _check_task(model: Model, task: str) -> None:
    if model.task != task:
        known = ", ".join(info.variant for info in list_models(task))
        raise ModelError(
            f"the model {model.name!r} was made for {model.task}, not for {task}; "
            f"models for {task}: {known}"
        )


def _read_once(path: Path) -> Model:
    """As `read_model`, but cached until the file changes."""
    from napari_rednet.models.model import read_model

    try:
        state = path.stat()
    except OSError:
        return read_model(path)
    return _read_unchanged(path.absolute(), state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=_MOST_LOADED)
def _read_unchanged(path: Path, *_: int) -> Model:
    from napari_rednet.models.model import read_model

    return read_model(path)


def reserved_names() -> set[str]:
    """Names and variants of installed models, in lower case, which the user's cannot have."""
    installed = _installed_models()
    names = {name for info in installed for name in (info.name, info.variant)}
    return {name.casefold() for name in names.union(VARIANTS)}


def describe(path: Path, origin: Origin) -> ModelInfo:
    """Description of a model file from its header; the user's models are named after their files.

    Raises `ModelError` if it is not a model file that this version understands.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise ModelError(f"there is no model file {path}") from error
    # Errors are not cached: a damaged file is read again, but no more than its header.
    return _described(path, origin, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=_MOST_DESCRIBED)
def _described(path: Path, origin: Origin, *_: int) -> ModelInfo:
    """Cached, so that headers are not read at every call of a verb."""
    from napari_rednet.models.model import read_contract

    contract = read_contract(path)
    config, task = contract.config, contract.task
    _check_channels(path, task, config)
    name = path.stem if origin == "user" else contract.name
    return ModelInfo(
        name, task, path, config.layers, config.stride, config.features, config.planes, origin
    )


def _check_channels(path: Path, task: str, config: NetworkConfig) -> None:
    channels = config.in_channels, config.out_channels
    wanted = TASKS[task].channels_for(config.planes)
    if channels != (wanted, 1):
        raise ModelError(
            f"{path} is no model for {task}: its network makes {channels[1]} channels of "
            f"{channels[0]}, not 1 of {wanted}"
        )


def _installed_models() -> list[ModelInfo]:
    paths = files_in(installed_models_folder()).values()
    found = [describe(path, "installed") for path in paths]
    return sorted(found, key=lambda info: (info.task, info.variant != VARIANTS[0], info.name))


def _user_models() -> list[ModelInfo]:
    found, odd = _sorted_out()
    for one in odd:
        _warn_once(one)
    return sorted(found, key=lambda info: (info.name.casefold(), info.name))


@dataclass(frozen=True)
class DamagedModel:
    """A file in the user's folder that is no model, or cannot be used as one, and why."""

    path: Path
    reason: str

    @property
    def name(self) -> str:
        """Name of the file without its suffix, of which every letter can be shown."""
        return _shown(self.path.stem)


def damaged_models() -> list[DamagedModel]:
    """The files in the user's folder that `list_models` leaves out."""
    return sorted(_sorted_out()[1], key=lambda one: one.path)


def _sorted_out() -> tuple[list[ModelInfo], list[DamagedModel]]:
    """The user's models, and the files that cannot be used, so that the others still can."""
    reserved, found, odd = reserved_names(), [], []
    for path in _files().values():
        try:
            _check_file_name(path, reserved)
            found.append(describe(path, "user"))
        except ModelError as error:
            odd.append(DamagedModel(path, _shown(str(error))))
    return found, odd


def _check_file_name(path: Path, reserved: set[str]) -> None:
    if path.stem.casefold() in reserved:
        raise ModelError(f"{path} has the name of an installed model; rename the file")
    if not _NAME.fullmatch(path.stem):
        raise ModelError(f"{path} has a name that no model can have; rename the file")


def _shown(text: str) -> str:
    """Text without what terminals and windows cannot show, or take for a command."""
    readable = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return "".join(readable)


def _warn_once(damaged: DamagedModel) -> None:
    if damaged.path not in _warned_of:
        _warned_of.add(damaged.path)
        told = f"left out of the list of models: {damaged.reason}"
        warnings.warn(told, UserWarning, stacklevel=2)


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
    from napari_rednet.models.model import Model

    given = model if isinstance(model, Model) else _read(Path(model))
    if given.task not in TASKS:
        raise ModelError(f"the model is for {given.task!r}; known: {', '.join(TASKS)}")
    chosen = check_name(given.name if name is None else name)
    if not (overwrite and chosen in _files()):
        _refuse_taken(chosen)
    info = _save(replace(given, name=chosen), overwrite=overwrite)
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
    info = _save(replace(_read(old), name=new_name), overwrite=False)
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


def is_name(name: object) -> bool:
    """True for text that can be the name of a model, and so of its file."""
    return (
        isinstance(name, str)
        and bool(_NAME.fullmatch(name))
        and not _DEVICE.fullmatch(name)
        and len(name) <= _LONGEST
    )


def check_name(name: str) -> str:
    """Return the name if the user's models can have it; raise `ValueError` if not."""
    if not is_name(name):
        raise ValueError(
            "the name of a model must have 1 to 60 letters, digits, '_', '-', '.' or spaces, "
            "not begin with '-', '.' or a space nor end with a space, and not be that of a device "
            f"of Windows (con, aux, com1 and so on); got {name!r}"
        )
    if name.casefold().endswith(SUFFIX):
        raise ValueError(f"the name of a model must not end in {SUFFIX}, got {name!r}")
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
    return files_in(user_models_folder())


def _read(path: Path) -> Model:
    from napari_rednet.models.model import read_model

    # `read_model` trusts the header; `describe` has clear errors for invalid ones.
    describe(path, "user")
    return read_model(path)


def _refuse_taken(name: str) -> None:
    # Some file systems ignore case.
    for taken in _files():
        if taken.casefold() == name.casefold():
            raise ModelError(f"there is a model {taken!r} already; choose another name")


def _save(model: Model, *, overwrite: bool) -> ModelInfo:
    folder = user_models_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(f"the folder of your models cannot be made: {error}") from error
    path = folder / f"{model.name}.safetensors"
    model.save(path, overwrite=overwrite)
    return describe(path, "user")


def _delete(path: Path) -> None:
    try:
        path.unlink()
    except OSError as error:
        raise ModelError(f"the model cannot be deleted: {error}") from error
