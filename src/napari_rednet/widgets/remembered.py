"""Values of controls in plain form, to be kept and given back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from numbers import Real
from pathlib import Path
from typing import Any

from magicgui.widgets import ComboBox
from magicgui.widgets.bases import ValueWidget


def read_controls(controls: Iterable[ValueWidget]) -> dict[str, Any]:
    """Values by the names of the controls, as JSON knows them."""
    return {control.name: _read(control) for control in controls}


def write_controls(controls: Iterable[ValueWidget], values: Mapping[str, Any]) -> None:
    """Give controls their values back, as far as there are any and they can take them."""
    for control in controls:
        if _fits(control, values.get(control.name)):
            # What there is to choose from, and ranges, may have changed since.
            with suppress(ValueError):
                control.value = _find(control, values[control.name])


def _read(control: ValueWidget) -> Any:
    """The value of a control; of a layer, or what holds one, what the control calls it."""
    value = _plain(control.value)
    is_plain = value is None or isinstance(value, (str, Real))
    return value if is_plain or not isinstance(control, ComboBox) else control.current_choice


def _find(control: ValueWidget, value: Any) -> Any:
    """What a control calls so, unless it has such a value."""
    if isinstance(control, ComboBox) and isinstance(value, str) and value not in control.choices:
        found = control.get_choice(value)
        return value if found is None else found
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return None if value == Path() else str(value)
    return value


def _fits(control: ValueWidget, value: Any) -> bool:
    present = _read(control)
    if isinstance(present, bool) or isinstance(value, bool):
        return type(present) is type(value)
    # What is a number stays one; the rest is text, that of a file perhaps not there yet.
    return isinstance(value, Real) if isinstance(present, Real) else isinstance(value, str)
