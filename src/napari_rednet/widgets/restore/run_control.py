"""Runs of a restoration window: start, stop, progress, and an estimate of the time they take."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from magicgui.widgets import Container, ProgressBar, PushButton
from magicgui.widgets.bases import Widget
from napari.layers import Layer
from napari.viewer import Viewer
from qtpy.compat import isalive
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QWidget

from napari_rednet.widgets.restore.preview import Prepare
from napari_rednet.widgets.restore.psf_controls import ChosenPsf
from napari_rednet.widgets.shared import worker
from napari_rednet.widgets.shared.controls import make_status, show_status
from napari_rednet.widgets.shared.layers import LayerImage
from napari_rednet.widgets.shared.style import focus_kept
from napari_rednet.widgets.shared.worker import (
    QueuedRun,
    Steps,
    StepsWorker,
    queue_run,
    start_worker,
)

if TYPE_CHECKING:
    from napari_rednet.execution import Speed

_LEAST_SECONDS = 1.0
_REST_MS = 700
# Arguments that do not change how long a run takes.
_IRRELEVANT = ("noise", "strength", "mask", "center", "dtype")
# What takes less is mostly loading and overhead, which larger images do not have more of.
_LEAST_TO_LEARN = 2.0
_Question = tuple[Any, ...]
"""What the speed depends on, and the shapes of the images."""
_Estimated = tuple[_Question, float]
_speeds: dict[tuple[Any, ...], Speed] = {}
_corrections: dict[tuple[Any, ...], float] = {}


def in_words(seconds: float) -> str:
    """A duration such as "25 seconds", "4 minutes", "2 hours", rounded as estimates are."""
    if seconds < 1.5:
        return "a second"
    if seconds < 55:
        return f"{_rounded(seconds)} seconds"
    if seconds < 90:
        return "a minute"
    if seconds < 55 * 60:
        return f"{_rounded(seconds / 60)} minutes"
    if seconds < 90 * 60:
        return "an hour"
    return f"{_rounded(seconds / 3600)} hours"


def _rounded(number: float) -> int:
    """Round to integers up to ten and to fives above, as estimates are not more precise."""
    return round(number) if number <= 10 else 5 * round(number / 5)


class Pace:
    """Estimates the remaining time from the reported progress."""

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None

    def remaining_seconds(self, done: float, total: float) -> float | None:
        """Seconds that the rest will take; None while too little is known."""
        now = time.monotonic()
        if self._first is None:
            self._first = now, done
        begun, before = self._first
        if done <= before or now - begun < _LEAST_SECONDS:
            return None
        return (now - begun) * (total - done) / (done - before)


class RunControl:
    """Buttons that start and stop a run, a status line and a progress bar.

    There is at most one run at a time, and one in all windows together: the others wait. Cancel
    takes effect at once. What a worker still has to finish is discarded, and only later runs wait
    for it. The window connects the button Run; a run disables all `starters`.
    """

    def __init__(self, viewer: Viewer) -> None:
        self._run: QueuedRun | None = None
        self._ticket: object | None = None
        self._source: Layer | None = None
        self._has_source = False
        self._result = self._stopped = self._doing = ""
        self._estimate: float | None = None
        self._on_end: Callable[[], None] | None = None
        self._pace = Pace()
        self.run = PushButton(text="Run", tooltip="Restore the layer; the result is a new one.")
        self.starters = [self.run]
        self.cancel = PushButton(
            text="Cancel", tooltip="Stop: what is not done yet leaves no result."
        )
        # Buttons stay under the mouse whatever is told below them.
        told = "How long a run will take, what it waits for, what it repaired."
        self.status = make_status(told, lines=2)
        self.progress = ProgressBar(label="", min=0, max=100, tooltip="How much is done.")
        policy = self.progress.native.sizePolicy()
        policy.setRetainSizeWhenHidden(True)
        self.progress.native.setSizePolicy(policy)
        self._buttons = Container(
            widgets=[self.run, self.cancel], layout="horizontal", labels=False
        )
        self._buttons.margins = (0, 0, 0, 0)
        self.cancel.changed.connect(self._cancel)
        viewer.layers.events.removed.connect(self._stop_if_removed)
        self._show_idle()

    @property
    def widgets(self) -> list[Widget]:
        """All controls, from top to bottom; the buttons come first."""
        return [self._buttons, self.progress, self.status]

    @property
    def is_running(self) -> bool:
        """True from the start of a run, even if it waits, until it has ended or is cancelled."""
        return self._ticket is not None

    def start(
        self,
        make_steps: Callable[[], Steps],
        description: str,
        source: Layer,
        take: Callable[[Any], None],
        follow: Callable[[Any], None] | None = None,
        on_end: Callable[[], None] | None = None,
    ) -> None:
        """Queue a run on a layer.

        `take` gets the result, `follow` what steps yield: progress as (done, total), and words on
        what is done, which are shown. `on_end` is called however it ends.
        """
        if self.is_running:
            return
        self._source, self._ticket, self._pace, self._result = source, object(), Pace(), ""
        self._stopped, self._doing, self._on_end = "", "Starting…", on_end
        self._show_running()
        present = partial(self._if_present, self._ticket)
        self._run = queue_run(
            make_steps,
            description,
            is_open=lambda: bool(isalive(self.run.native)),
            on_wait=partial(present, self._show_waiting),
            on_progress=partial(present, self._follow, follow),
            on_result=partial(present, take),
            on_end=partial(present, self._end),
        )

    def stop(self) -> None:
        """End the run, if there is one, without a result."""
        self._quit()
        self._end()

    def _cancel(self) -> None:
        self.stop()
        self._stopped = "Cancelled."
        self._show_what_is_known()

    def let_go_of(self, layer: Layer) -> None:
        """Do not stop when this layer is removed, since the run is done with it."""
        if layer is self._source:
            self._source = None

    def offer(self, *, has_source: bool) -> None:
        """Enable runs if there is a layer to restore."""
        self._has_source = has_source
        self._show_what_can_be_done()

    def tell_estimate(self, seconds: float | None) -> None:
        """Show how long a run will take; None if it is not known."""
        self._estimate = seconds
        self._show_what_is_known()

    def tell_result(self, text: str) -> None:
        """Show a message on the last run, until there is another; it has shown what one takes."""
        self._result, self._estimate = text, None
        self._show_what_is_known()

    def _show_what_is_known(self) -> None:
        if not self.is_running:
            told = " ".join(filter(None, (self._stopped, self._result)))
            if self._estimate is not None:
                takes = "The next run takes" if told else "Takes"
                told = f"{told} {takes} about {in_words(self._estimate)}.".strip()
            show_status(self.status, told)

    def _stop_if_removed(self, event: Any) -> None:
        if self._source is not None and event.value is self._source:
            self.stop()
            self._stopped = f"Stopped, since {event.value.name!r} was removed."
            self._show_what_is_known()

    def _quit(self) -> None:
        if self._run is not None:
            self._run.quit()

    def _if_present(self, ticket: object, callback: Callable[..., None], *arguments: Any) -> None:
        """Call back if `ticket` is that of the present run; end it if the window is deleted."""
        if not isalive(self.run.native):
            self._quit()
        elif ticket is self._ticket:
            callback(*arguments)

    def _end(self) -> None:
        self._run = self._ticket = self._source = None
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end()
        if isalive(self.run.native):
            self._show_idle()

    def _show_what_can_be_done(self) -> None:
        with focus_kept(self.run.native, self.cancel.native):
            for button in self.starters:
                button.enabled = self._has_source and not self.is_running
            self.cancel.enabled = self.is_running

    def _show_running(self) -> None:
        self._show_what_can_be_done()
        self.progress.visible = True
        self.progress.max = 0  # busy, of unknown length
        show_status(self.status, self._doing)

    def _show_waiting(self, description: str) -> None:
        show_status(self.status, f"Waiting for: {description}")

    def _show_idle(self) -> None:
        self._show_what_can_be_done()
        self.progress.visible = False
        self.progress.max = 100
        self.progress.value = 0
        self._show_what_is_known()

    def _follow(self, follow: Callable[[Any], None] | None, progress: Any) -> None:
        if isinstance(progress, str):
            self._doing, self._pace = progress, Pace()  # what was done before took other time
            show_status(self.status, progress)
        elif isinstance(progress, tuple):
            self._show_progress(progress)
        if follow is not None:
            follow(progress)

    def _show_progress(self, progress: tuple[int, int]) -> None:
        done, total = progress
        if not total:
            return
        self.progress.max = 100
        self.progress.value = 100 * done // total
        left = self._pace.remaining_seconds(done, total)
        told = "" if left is None else f" About {in_words(left)} left."
        show_status(self.status, self._doing + told)


class TimeEstimate:
    """Estimates the time of a run from a speed that is measured once per session and settings.

    `ask` returns the images that a run would restore and its arguments, or raises `ValueError`.
    `tell` is called with the seconds, or with None if they are not known.
    """

    def __init__(
        self,
        window: QWidget,
        verb: str,
        task: str,
        prepare: Prepare,
        ask: Callable[[], tuple[list[LayerImage], Mapping[str, Any]]],
        tell: Callable[[float | None], None],
    ) -> None:
        self._window, self._verb, self._task = window, verb, task
        self._prepare, self._ask, self._tell = prepare, ask, tell
        self._worker: StepsWorker | None = None
        self._last: _Estimated | None = None
        self._begun: _Estimated | None = None
        self._asked: _Question | None = None
        self._done: _Question | None = None
        self._timer = QTimer(window)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_REST_MS)
        self._timer.timeout.connect(self._update)

    def request(self) -> None:
        """Schedule a debounced estimate, as something has changed."""
        if isalive(self._window):
            self._timer.start()

    def note_start(self) -> None:
        """Note what a run that begins now was estimated by, and what it is asked."""
        self._begun = None if self._timer.isActive() else self._last
        with suppress(ValueError):
            self._asked = self._question(*self._ask())

    def learn(self, seconds: float) -> None:
        """Correct estimates for the same settings by what the run, which is done, took."""
        self._done = self._asked
        if self._begun is not None and seconds >= _LEAST_TO_LEARN:
            question, estimated = self._begun
            _corrections[question[0]] = seconds / estimated

    def stop(self) -> None:
        """Stop measuring."""
        if isalive(self._window):
            self._timer.stop()
        if self._worker is not None:
            self._worker.quit()

    def _update(self) -> None:
        if "torch" not in sys.modules:
            return  # it is being imported for the choice of models, which then requests again
        if worker.is_busy() or self._worker is not None:
            self._timer.start()  # a measurement and a run would slow each other down
            return
        try:
            images, arguments = self._ask()
        except ValueError:
            self._tell(None)
            return
        kept = {name: value for name, value in arguments.items() if name not in _IRRELEVANT}
        self._worker = start_worker(
            partial(self._steps, images, kept),
            None,
            on_result=self._take,
            on_error=lambda _: self._take(None),  # Run will show the error
            on_end=self._end,
        )

    def _take(self, estimated: _Estimated | None) -> None:
        if not isalive(self._window):
            return
        is_late = self._timer.isActive()  # something has changed since it was asked
        self._last = None if is_late else estimated
        if is_late:
            return
        if estimated is None:
            self._tell(None)
            return
        question, seconds = estimated
        is_known = question == self._done  # the last run has told what it took
        self._tell(None if is_known else _corrections.get(question[0], 1.0) * seconds)

    def _end(self) -> None:
        self._worker = None

    def _steps(self, images: list[LayerImage], arguments: Mapping[str, Any]) -> Steps:
        from napari_rednet.execution import speed_steps
        from napari_rednet.models import model_told

        yield 0, 0
        if not images:
            return None
        question = self._question(images, arguments)
        model = model_told(self._task, arguments)
        restorations = [self._prepare(one, **{**arguments, "model": model}) for one in images]
        key = question[0]
        if key not in _speeds:
            _speeds[key] = yield from speed_steps(restorations[0])
        return question, sum(_speeds[key].seconds(one.job) for one in restorations)

    def _question(self, images: list[LayerImage], arguments: Mapping[str, Any]) -> _Question:
        kept = {name: value for name, value in arguments.items() if name not in _IRRELEVANT}
        key = self._verb, *(_as_key(name, value) for name, value in sorted(kept.items()))
        return key, *(tuple(image.data.shape) for image in images)


def _as_key(name: str, value: Any) -> tuple[str, Any]:
    """An argument as part of a cache key; a PSF counts by its shape."""
    if isinstance(value, ChosenPsf):
        value = value.array
    return name, np.shape(value) if isinstance(value, np.ndarray) else str(value)
