"""The runs of a restoration widget: how they are started and stopped, and how far they are."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from magicgui.widgets import Container, ProgressBar, PushButton
from magicgui.widgets.bases import Widget
from napari.layers import Layer
from napari.viewer import Viewer
from qtpy.compat import isalive

from napari_rednet.widgets.worker import Steps, StepsWorker, start_worker


class RunControl:
    """Buttons that start and stop a run, and a bar; there is at most one run at a time.

    Parameters
    ----------
    viewer : Viewer
        Whose layers are restored; a run ends when its layer is removed.

    Attributes
    ----------
    run, cancel : PushButton
        Run does nothing by itself: the widget connects it.
    progress : ProgressBar
        Hidden unless a run is going on.
    starters : list of PushButton
        Buttons that start a run, Run being the first; they rest while one is going on.
    """

    def __init__(self, viewer: Viewer) -> None:
        self._worker: StepsWorker | None = None
        self._source: Layer | None = None
        self._has_source = False
        self.run = PushButton(text="Run", tooltip="Restore the layer; the result is a new one.")
        self.starters = [self.run]
        self.cancel = PushButton(text="Cancel", tooltip="Stop, without a result.")
        self.progress = ProgressBar(label="", min=0, max=100, tooltip="How much is done.")
        self._buttons = Container(
            widgets=[self.run, self.cancel], layout="horizontal", labels=False
        )
        self._buttons.margins = (0, 0, 0, 0)
        self.cancel.changed.connect(self.stop)
        viewer.layers.events.removed.connect(self._stop_if_removed)
        self._show_idle()

    @property
    def widgets(self) -> list[Widget]:
        """All controls, from top to bottom."""
        return [self._buttons, self.progress]

    @property
    def is_running(self) -> bool:
        """Whether a run has been started and has not ended."""
        return self._worker is not None

    def start(
        self,
        make_steps: Callable[[], Steps],
        description: str,
        source: Layer,
        take: Callable[[Any], None],
    ) -> None:
        """Run steps on a layer in a worker, and give `take` their result."""
        if self.is_running:
            return
        self._source = source
        self._worker = start_worker(
            make_steps,
            description,
            on_progress=self._while_open(self._show_progress),
            on_result=self._while_open(partial(self._take_unless_cancelled, take)),
            on_end=self._while_open(self._end),
        )
        self._show_running()

    def stop(self) -> None:
        """End the run, if there is one, without a result."""
        self.cancel.enabled = False
        self._quit()

    def offer(self, *, has_source: bool) -> None:
        """Let runs be started, or not, since there is no layer."""
        self._has_source = has_source
        self._show_what_can_be_done()

    def _take_unless_cancelled(self, take: Callable[[Any], None], result: Any) -> None:
        # The result may already have been on its way when Cancel was clicked.
        if self._worker is not None and not self._worker.abort_requested:
            take(result)

    def _stop_if_removed(self, event: Any) -> None:
        if event.value is self._source:
            self.stop()

    def _quit(self) -> None:
        if self._worker is not None:
            self._worker.quit()

    def _while_open(self, callback: Callable[..., None]) -> Callable[..., None]:
        """A callback that ends the run instead once the window is closed and Qt's side gone."""

        def call(*arguments: Any) -> None:
            if isalive(self.run.native):
                callback(*arguments)
            else:
                self._quit()

        return call

    def _end(self) -> None:
        self._worker = self._source = None
        self._show_idle()

    def _show_what_can_be_done(self) -> None:
        for button in self.starters:
            button.enabled = self._has_source and not self.is_running
        self.cancel.enabled = self.is_running

    def _show_running(self) -> None:
        self._show_what_can_be_done()
        self.progress.visible = True
        self.progress.max = 0  # busy, of unknown length

    def _show_idle(self) -> None:
        self._show_what_can_be_done()
        self.progress.visible = False
        self.progress.max = 100
        self.progress.value = 0

    def _show_progress(self, progress: tuple[int, int]) -> None:
        done, total = progress
        if total:
            self.progress.max = 100
            self.progress.value = 100 * done // total
