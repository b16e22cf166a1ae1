"""Signals about models, sent between the windows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal
from superqt.utils import ensure_main_thread

if TYPE_CHECKING:
    from napari_rednet.models import ModelInfo


class _ModelEvents:
    changed = Signal()
    chosen = Signal(str, str)


# Kept here, since signals refer to their owner only weakly.
_events = _ModelEvents()
models_changed = _events.changed
"""Emitted when models have been added, renamed or removed."""
model_chosen = _events.chosen
"""Emitted with the task and the name of a model that all windows of its task are to select."""


def known_models(task: str | None = None) -> list[ModelInfo]:
    """List the models of a task, or all; from the first call on, `models_changed` is emitted."""
    from napari_rednet.models import list_models, on_change

    on_change(_tell_windows)
    return list_models(task)


def _tell_windows() -> None:
    # Without a listening window, there may be no event loop either.
    if len(models_changed):
        ensure_main_thread(_emit_changed)()


def _emit_changed() -> None:
    models_changed.emit()
