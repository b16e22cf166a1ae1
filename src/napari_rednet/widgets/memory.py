"""What the windows remember from one session to the next: last parameters, and named ones."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from platformdirs import user_config_path

Parameters = Mapping[str, Any]
"""Names of controls and their values, as JSON knows them."""

_VARIABLE = "NAPARI_REDNET_CONFIG"
_LAST, _PRESETS = "last", "presets"


def parameters_file() -> Path:
    """Where parameters are kept; the file need not exist.

    The environment variable ``NAPARI_REDNET_CONFIG`` names another folder for it.
    """
    elsewhere = os.environ.get(_VARIABLE)
    folder = Path(elsewhere).expanduser() if elsewhere else None
    return (folder or user_config_path("napari-rednet", appauthor=False)) / "parameters.json"


def last_parameters(task: str) -> dict[str, Any]:
    """The parameters of the last run of a task; empty if there are none that can be read."""
    return dict(_section(_read(), _LAST, task))


def remember(task: str, parameters: Parameters) -> None:
    """Keep the parameters of a run. Where nothing can be written, nothing is remembered."""
    with suppress(OSError):
        _change(_LAST, task, parameters)


def presets(task: str) -> dict[str, dict[str, Any]]:
    """Parameters of a task that have a name, in the order of the names."""
    found = _section(_read(), _PRESETS, task)
    return {name: found[name] for name in sorted(found) if isinstance(found[name], dict)}


def save_preset(task: str, name: str, parameters: Parameters) -> None:
    """Give parameters a name; those that had it are replaced.

    Raises
    ------
    ValueError
        In words for the user, if the name is empty or nothing can be written.
    """
    if not name:
        raise ValueError("a preset needs a name")
    _change_presets(task, {**presets(task), name: dict(parameters)})


def delete_preset(task: str, name: str) -> None:
    """Forget parameters by their name.

    Raises
    ------
    ValueError
        In words for the user, if nothing can be written.
    """
    _change_presets(task, {n: p for n, p in presets(task).items() if n != name})


def _change_presets(task: str, those: Mapping[str, Parameters]) -> None:
    try:
        _change(_PRESETS, task, those)
    except OSError as error:
        raise ValueError(f"presets cannot be kept in {parameters_file()}: {error}") from error


def _change(section: str, task: str, value: Mapping[str, Any]) -> None:
    content = _read()
    tasks = content.get(section)
    known = tasks if isinstance(tasks, dict) else {}
    _write({**content, section: {**known, task: dict(value)}})


def _section(content: Mapping[str, Any], section: str, task: str) -> dict[str, Any]:
    tasks = content.get(section)
    found = tasks.get(task) if isinstance(tasks, dict) else None
    return found if isinstance(found, dict) else {}


def _read() -> dict[str, Any]:
    """What is kept; nothing if the file is missing or damaged."""
    try:
        content = json.loads(parameters_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _write(content: Mapping[str, Any]) -> None:
    """Write all at once, so that another window never reads half of it."""
    path = parameters_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, suffix=".json", delete=False
    ) as file:
        json.dump(content, file, indent=1)
    Path(file.name).replace(path)
