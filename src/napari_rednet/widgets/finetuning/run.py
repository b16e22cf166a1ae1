"""A fine-tuning run in a worker thread, with the state that the window shows."""

from __future__ import annotations

import time
from collections.abc import Mapping
from threading import Event
from typing import TYPE_CHECKING, Any

from napari_rednet.widgets.shared.docks import clock
from napari_rednet.widgets.shared.style import import_plots
from napari_rednet.widgets.shared.worker import PER_MILLE, WorkerSteps

if TYPE_CHECKING:
    from napari_rednet.finetuning.session import FineTuning, FineTuningStatus, HeldOutPart

Points = list[tuple[float, float]]
_MOST_POINTS = 1000
_SECONDS_OF_REST = 0.05


class Curve:
    """A growing curve in bounded memory: when there are many points, neighbours are merged.

    One thread may add points while another one reads them.
    """

    def __init__(self) -> None:
        self._points: Points = []
        self._waiting: Points = []
        self._merged = 1

    def add(self, x: float, y: float) -> None:
        """Add a point to the right of all others."""
        self._waiting.append((x, y))
        if len(self._waiting) < self._merged:
            return
        self._points.append(_mean(self._waiting))
        self._waiting.clear()
        if len(self._points) == _MOST_POINTS:
            pairs = zip(self._points[::2], self._points[1::2], strict=True)
            self._points = [_mean(list(pair)) for pair in pairs]
            self._merged *= 2

    @property
    def points(self) -> Points:
        """A copy of the points."""
        return list(self._points)


class FineTuningRun:
    """A fine-tuning that can be paused and stopped from the window.

    `arguments` are those of `prepare_fine_tuning`. `loss` and `gain`, in dB over the base model,
    are curves over minutes. `status` is the latest one; `last_gain` and `preview` are those of the
    latest check. `is_resting` is True once a pause has taken effect.
    """

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self.loss, self.gain = Curve(), Curve()
        self.status: FineTuningStatus | None = None
        self.last_gain: float | None = None
        self.preview: HeldOutPart | None = None
        self.is_resting = False
        self._arguments = arguments
        self._paused, self._stopped = Event(), Event()

    @property
    def is_paused(self) -> bool:
        """True from `pause` to `resume`; the current step is still finished."""
        return self._paused.is_set()

    @property
    def is_stopped(self) -> bool:
        """True after `stop`; the current step is still finished."""
        return self._stopped.is_set()

    def pause(self) -> None:
        """Pause until `resume` or `stop`."""
        self._paused.set()

    def resume(self) -> None:
        """Continue after a pause."""
        self._paused.clear()

    def stop(self) -> None:
        """End the run with the best model so far."""
        self._stopped.set()

    def steps(self) -> WorkerSteps:
        """Fine-tune in a worker thread: yield (per mille done, 1000), return the best model."""
        yield 0, 0
        import_plots()
        from napari_rednet.finetuning import prepare_fine_tuning

        tuning = prepare_fine_tuning(**self._arguments)
        self.preview = tuning.preview()
        self.gain.add(0, 0)
        yield 0, 0
        for status in tuning.run():
            self._follow(tuning, status)
            yield from self._report(status)
            if self.is_stopped:
                break
        return tuning.model()

    def _follow(self, tuning: FineTuning, status: FineTuningStatus) -> None:
        self.loss.add(status.minutes, status.loss)
        if status.is_check:
            self.gain.add(status.minutes, status.gain)
            self.last_gain = status.gain
            self.preview = tuning.preview()
        self.status = status

    def _report(self, status: FineTuningStatus) -> WorkerSteps:
        done = round(PER_MILLE * status.fraction)
        yield done, PER_MILLE
        while self.is_paused and not self.is_stopped:
            self.is_resting = True
            time.sleep(_SECONDS_OF_REST)
            yield done, PER_MILLE  # lets the worker cancel
        self.is_resting = False


def _mean(points: Points) -> tuple[float, float]:
    x, y = (sum(values) / len(points) for values in zip(*points, strict=True))
    return x, y


def best_gain(run: FineTuningRun | None) -> float:
    """Gain of the best model over the base model in dB; 0 before the first status."""
    return 0.0 if run is None or run.status is None else run.status.best_gain


def progress_text(run: FineTuningRun) -> str:
    """Progress of a run, in words for the user."""
    if run.is_stopped:
        return "Stopping…"
    if run.preview is None:
        return "Reading the images…"
    if run.status is None:
        return "The first steps…"
    step, left = f"step {run.status.step}", f"{clock(run.status.remaining_minutes)} left"
    gain = [] if run.last_gain is None else [f"{_told(run, run.last_gain)} over the base"]
    if run.is_paused:
        left = "paused" if run.is_resting else "pausing…"
    return ", ".join([step, *gain, left])


def outcome_text(run: FineTuningRun, has_model: bool) -> str:
    """Outcome of a run, in words for the user."""
    if not has_model:
        return "It ended without a model."
    status, gain = run.status, best_gain(run)
    spent = "" if status is None else f" after {status.step} steps, {clock(status.minutes)}"
    if gain > 0:
        return f"The best model is {_told(run, gain)} over the base{spent}."
    return f"Nothing better than the base was found{spent}. More time or images may help."


def _told(run: FineTuningRun, gain: float) -> str:
    """A gain, which is an estimate where no target tells the truth."""
    is_known = run.preview is not None and run.preview.target is not None
    return f"{gain:+.2f} dB{'' if is_known else ' (estimated)'}"
