"""What the windows tell each other about models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal
from superqt.utils import ensure_main_thread

if TYPE_CHECKING:
    from napari_rednet.models import ModelInfo


class _ModelEvents:
    changed = Signal()
    chosen = Signal(str, str)


# Signals know their owner only weakly.
_events = _ModelEvents()
models_changed = _events.changed
"""Models have been added, renamed or removed."""
model_chosen = _events.chosen
"""A model is to be selected wherever models of its task are offered: task, name."""


def known_models(task: str | None = None) -> list[ModelInfo]:
    """The models, of a task or all; from the first call on, `models_changed` is emitted."""
    from napari_rednet.models import list_models, on_change

    on_change(_tell_windows)
    return list_models(task)


def _tell_windows() -> None:
    # Without a window there need be no event loop either.
    if len(models_changed):
        ensure_main_thread(_emit_changed)()


def _emit_changed() -> None:
    models_changed.emit()
