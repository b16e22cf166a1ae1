"""What windows with a long run have in common: it ends with the window."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QWidget

from napari_rednet.widgets.docking import TabIfCrowded
from napari_rednet.widgets.look import set_look
from napari_rednet.widgets.run_queue import QueuedRun, queue_run
from napari_rednet.widgets.worker import Steps


class RunningWidget(QWidget):
    """A window that has at most one run at a time, which waits for those of other windows."""

    def __init__(self) -> None:
        super().__init__()
        set_look(self)
        TabIfCrowded(self)
        self._worker: QueuedRun | None = None

    @property
    def is_running(self) -> bool:
        """Whether a run has been started and has not ended."""
        return self._worker is not None

    @property
    def _waiting_text(self) -> str:
        """What the run waits for; empty if it does not."""
        name = "" if self._worker is None else self._worker.waits_for
        return f"Waiting for: {name}" if name else ""

    def _start_run(
        self,
        make_steps: Callable[[], Steps],
        description: str,
        *,
        on_wait: Callable[[], None],
        on_progress: Callable[[tuple[int, int]], None],
        on_result: Callable[[Any], None],
        on_end: Callable[[], None],
    ) -> None:
        """Run steps in a worker when it is their turn; callbacks are not called once closed."""
        self._worker = queue_run(
            make_steps,
            description,
            is_open=lambda: bool(isalive(self)),
            on_wait=lambda _: self._if_open(on_wait),
            on_progress=partial(self._if_open, on_progress),
            on_result=partial(self._if_open, on_result),
            on_end=partial(self._if_open, on_end),
        )

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
