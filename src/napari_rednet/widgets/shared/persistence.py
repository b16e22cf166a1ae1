"""Parameters kept between sessions: those of the last run, and named presets."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from numbers import Real
from pathlib import Path
from typing import Any

from magicgui.widgets import ComboBox
from magicgui.widgets.bases import ValueWidget
from platformdirs import user_config_path

Parameters = Mapping[str, Any]
"""Names of controls and their values, in JSON types."""
_VARIABLE = "NAPARI_REDNET_CONFIG"
_LAST, _PRESETS = "last", "presets"


def parameters_file() -> Path:
    """Path of the parameters, which need not exist; ``NAPARI_REDNET_CONFIG`` sets its folder."""
    elsewhere = os.environ.get(_VARIABLE)
    folder = Path(elsewhere).expanduser() if elsewhere else None
    return (folder or user_config_path("napari-rednet", appauthor=False)) / "parameters.json"


def last_parameters(task: str) -> dict[str, Any]:
    """The parameters of the last run of a task; empty if none can be read."""
    return dict(_section(_read(), _LAST, task))


def remember(task: str, parameters: Parameters) -> None:
    """Store the parameters of a run, if the file can be written."""
    with suppress(OSError):
        _change(_LAST, task, parameters)


def presets(task: str) -> dict[str, dict[str, Any]]:
    """The presets of a task, sorted by name."""
    found = _section(_read(), _PRESETS, task)
    return {name: found[name] for name in sorted(found) if isinstance(found[name], dict)}


def save_preset(task: str, name: str, parameters: Parameters) -> None:
    """Store a preset; `ValueError`, worded for the user, if it has no name or writing fails."""
    if not name:
        raise ValueError("a preset needs a name")
    _change_presets(task, {**presets(task), name: dict(parameters)})


def delete_preset(task: str, name: str) -> None:
    """Delete a preset; `ValueError`, worded for the user, if writing fails."""
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
    """The stored content; empty if the file is missing or damaged."""
    try:
        content = json.loads(parameters_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _write(content: Mapping[str, Any]) -> None:
    """Replace the file at once, so that another window never reads half of it."""
    path = parameters_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, suffix=".json", delete=False
    ) as file:
        json.dump(content, file, indent=1)
    Path(file.name).replace(path)


def read_controls(controls: Iterable[ValueWidget]) -> dict[str, Any]:
    """The values of controls by name, in JSON types."""
    return {control.name: _value(control) for control in controls}


def write_controls(controls: Iterable[ValueWidget], values: Mapping[str, Any]) -> None:
    """Set controls to stored values, as far as there are any and they fit."""
    for control in controls:
        if _fits(control, values.get(control.name)):
            # Choices and ranges may have changed since.
            with suppress(ValueError):
                control.value = _find(control, values[control.name])


def _value(control: ValueWidget) -> Any:
    """The value of a control in JSON types; of a layer or another object, its label."""
    value = _plain(control.value)
    is_plain = value is None or isinstance(value, (str, Real))
    return value if is_plain or not isinstance(control, ComboBox) else control.current_choice


def _find(control: ValueWidget, value: Any) -> Any:
    """The choice with this label, unless the value is itself a choice."""
    if isinstance(control, ComboBox) and isinstance(value, str) and value not in control.choices:
        found = control.get_choice(value)
        return value if found is None else found
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return None if value == Path() else str(value)
    return value


def _fits(control: ValueWidget, value: Any) -> bool:
    present = _value(control)
    if isinstance(present, bool) or isinstance(value, bool):
        return type(present) is type(value)
    # Numbers stay numbers; all else is text, even if it is None now, as a path without a file.
    return isinstance(value, Real) if isinstance(present, Real) else isinstance(value, str)
