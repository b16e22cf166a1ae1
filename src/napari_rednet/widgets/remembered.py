"""Values of controls in plain form, to be kept and given back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from numbers import Real
from pathlib import Path
from typing import Any

from magicgui.widgets.bases import ValueWidget


def read_controls(controls: Iterable[ValueWidget]) -> dict[str, Any]:
    """Values by the names of the controls, as JSON knows them."""
    return {control.name: _plain(control.value) for control in controls}


def write_controls(controls: Iterable[ValueWidget], values: Mapping[str, Any]) -> None:
    """Give controls their values back, as far as there are any and they can take them."""
    for control in controls:
        if _fits(control, values.get(control.name)):
            # What there is to choose from, and ranges, may have changed since.
            with suppress(ValueError):
                control.value = values[control.name]


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return None if value == Path() else str(value)
    return value


def _fits(control: ValueWidget, value: Any) -> bool:
    present = _plain(control.value)
    if isinstance(present, bool) or isinstance(value, bool):
        return type(present) is type(value)
    # What is a number stays one; the rest is text, that of a file perhaps not there yet.
    return isinstance(value, Real) if isinstance(present, Real) else isinstance(value, str)
