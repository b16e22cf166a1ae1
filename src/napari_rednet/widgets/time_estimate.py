"""How long a run will take, measured in the background before anybody asks for it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.compat import isalive
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QWidget

from napari_rednet.widgets import run_queue
from napari_rednet.widgets.layers import LayerImage
from napari_rednet.widgets.preview_run import Prepare
from napari_rednet.widgets.worker import Steps, StepsWorker, start_worker

if TYPE_CHECKING:
    from napari_rednet.execution import Speed

_REST_MS = 700
# What does not change how long it takes.
_IRRELEVANT = ("noise", "strength", "mask", "center", "dtype")
_speeds: dict[tuple[Any, ...], Speed] = {}


class TimeEstimate:
    """Measures the speed of what is chosen, once in a session, and tells the time that it takes.

    Parameters
    ----------
    window : QWidget
        It ends with this window.
    verb, task : str
        What is done, by whose models.
    prepare : callable
        Makes a `Restoration` of a `LayerImage` and arguments, in another thread.
    ask : callable
        Returns the images that a run would restore, and its arguments; or raises ValueError.
    tell : callable
        Called with the seconds, or with None if they are not known.
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
        self._timer = QTimer(window)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_REST_MS)
        self._timer.timeout.connect(self._update)

    def request(self) -> None:
        """Something has changed: estimate again when there is time."""
        if isalive(self._window):
            self._timer.start()

    def stop(self) -> None:
        """Measure no more."""
        if isalive(self._window):
            self._timer.stop()
        if self._worker is not None:
            self._worker.quit()

    def _update(self) -> None:
        if "torch" not in sys.modules:
            return  # it is being imported for the choice of models, which asks again
        if run_queue.is_busy() or self._worker is not None:
            self._timer.start()  # neither is to slow the other one down
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
            on_error=lambda _: self._take(None),  # Run tells what is wrong
            on_end=self._end,
        )

    def _take(self, seconds: float | None) -> None:
        if isalive(self._window):
            self._tell(seconds)

    def _end(self) -> None:
        self._worker = None

    def _steps(self, images: list[LayerImage], arguments: Mapping[str, Any]) -> Steps:
        from napari_rednet.execution import speed_steps
        from napari_rednet.models import load_model_for

        yield 0, 0
        if not images:
            return None
        model = load_model_for(self._task, arguments["model"])
        restorations = [self._prepare(one, **{**arguments, "model": model}) for one in images]
        key = self._verb, *(_as_key(name, value) for name, value in sorted(arguments.items()))
        if key not in _speeds:
            _speeds[key] = yield from speed_steps(restorations[0])
        return sum(_speeds[key].seconds(one.job) for one in restorations)


def _as_key(name: str, value: Any) -> tuple[str, Any]:
    """An argument as part of a key; of a PSF its size."""
    return name, np.shape(value) if isinstance(value, np.ndarray) else str(value)
