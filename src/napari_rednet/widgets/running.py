"""What windows with a long run have in common: it ends with the window."""

from __future__ import annotations

from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QWidget

from napari_rednet.widgets.keyboard import FOCUS_STYLE
from napari_rednet.widgets.worker import StepsWorker


class RunningWidget(QWidget):
    """A window that has at most one worker at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.setStyleSheet(FOCUS_STYLE)
        self._worker: StepsWorker | None = None

    @property
    def is_running(self) -> bool:
        """Whether a run has been started and has not ended."""
        return self._worker is not None

    def _if_open(self, callback: Any, *arguments: Any) -> None:
        """Call back, or end the run once the window is closed and Qt's side gone."""
        if isalive(self):
            callback(*arguments)
        else:
            self._quit()

    def _quit(self) -> None:
        if self._worker is not None:
            self._worker.quit()

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802 - Qt's name
        """Cancel when the dock is closed; called by Qt."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self._quit()
