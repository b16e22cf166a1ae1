"""Previews in a worker thread: what is restored, and what is reused."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from napari_rednet.widgets.restore.preview_view import Canvas, Kept, Previewed, View, missing_parts
from napari_rednet.widgets.shared.layers import LayerImage
from napari_rednet.widgets.shared.worker import Steps

if TYPE_CHECKING:
    from napari_rednet.execution import Measured, Restoration, Window
    from napari_rednet.models import Model

Complete = Callable[[LayerImage, Mapping[str, Any]], Steps]
Prepare = Callable[..., "Restoration"]
# About 724 x 724 pixels of the result: restored without a delay, and larger than 512 x 512.
MOST_PIXELS = 2**19
# Until the first partial preview; the next ones come after three times the time spent, since
# drawing takes its share of the processor.
_SECONDS_TO_FIRST_ROWS = 0.15
_NEARLY_ALL = 0.75


@dataclass(frozen=True)
class Order:
    """A preview to compute: full-resolution data of the layer, part to restore, view, arguments."""

    layer_data: Any
    image: LayerImage
    view: View
    arguments: Mapping[str, Any]

    @property
    def place(self) -> tuple[int, ...]:
        """Index of the viewed plane in `image`."""
        return self.view.place if self.image.plane is None else (0,) * len(self.image.plane)

    def serves(self, other: Order) -> bool:
        """True if its preview contains all that another order asks for."""
        return self.is_under_same_conditions(other) and self.view.covers(other.view)

    def is_under_same_conditions(self, other: Order) -> bool:
        """True if at most the view differs."""
        return self.arguments is other.arguments and self.is_of_same_image(other)

    def moved_by(self, steps: Sequence[int]) -> Order | None:
        """The same view in a plane some steps further; None if `image` has no such plane."""
        place = tuple(i + n for i, n in zip(self.view.place, steps, strict=True))
        counts = self.image.spatial_shape[:-2]
        if self.image.plane is not None or not all(
            0 <= i < n for i, n in zip(place, counts, strict=True)
        ):
            return None
        return replace(self, view=replace(self.view, place=place))

    def is_of_same_image(self, other: Order) -> bool:
        """True if the same pixels would be restored, so that measurements can be shared."""
        return (
            self.layer_data is other.layer_data
            and self.image.plane == other.image.plane
            and self.arguments.get("mask") is other.arguments.get("mask")
        )


class Previewer:
    """Restores parts of layers, and reuses the model, measurements and previews while valid."""

    def __init__(self, task: str, complete: Complete, prepare: Prepare) -> None:
        self._task, self._complete, self._prepare = task, complete, prepare
        self._completed: tuple[Order, Mapping[str, Any]] | None = None
        self._model: tuple[str, Model] | None = None
        self._measured: tuple[Order, Measured] | None = None
        self._kept: tuple[Order, Kept] | None = None
        self._before: tuple[Order, Kept] | None = None

    def forget_models(self) -> None:
        """Load the model again next time, as its file may have changed."""
        self._model = None

    def forget_measures(self) -> None:
        """Drop measurements and previews, as the layer may have other values."""
        self._completed = self._measured = self._kept = self._before = None

    def has_measured(self, order: Order) -> bool:
        """True if the layer has been measured."""
        return self._measured_in(order) is not None

    def steps(self, order: Order) -> Generator[Any, None, Previewed]:
        """Restore in a worker: yield (done, total) or partial `Previewed`, return the complete one.

        Known pixels of the plane are reused, if a result only depends on its surroundings.
        """
        from napari_rednet.execution import Windows

        yield 0, 0
        arguments = yield from self._complete_arguments(order)
        model = self._load(order.arguments["model"])
        restoration = self._prepare(order.image, **{**arguments, "model": model})
        measured = self._measured_in(order) or self._measure(order, restoration)
        yield 0, 0
        scale, kept = restoration.job.scale, self._kept_for(order)
        view = order.view.cut_to(MOST_PIXELS // scale**2)
        known = kept.of(view)
        if known is not None and known.view.covers(view):
            return known
        canvas = Canvas(order.image.part(order.place, view.rows, view.columns), view, scale)
        for other in (self._earlier(order, view), known):
            if other is not None:
                canvas.put_preview(other)
        windows, parts = Windows(restoration, measured), [view]
        if known is not None and windows.margin is not None:
            parts = missing_parts(view, known.view, windows.margin / scale)
        todo = [(part, windows.at(order.place, *part.magnified(scale))) for part in parts]
        yield from _fill(canvas, order, todo)
        previewed = canvas.finish()
        kept.put(previewed)
        return previewed

    def _kept_for(self, order: Order) -> Kept:
        """The previews under the same conditions."""
        if self._kept is None or not self._kept[0].is_under_same_conditions(order):
            if self._kept is not None and not self._kept[1].is_empty:
                self._before = self._kept
            self._kept = order, Kept()
        return self._kept[1]

    def _earlier(self, order: Order, view: View) -> Previewed | None:
        """A preview of the same plane under the previous conditions."""
        if self._before is None or not self._before[0].is_of_same_image(order):
            return None
        return self._before[1].of(view)

    def _complete_arguments(self, order: Order) -> Steps:
        if self._completed is not None:
            last, arguments = self._completed
            if last.arguments is order.arguments and last.is_of_same_image(order):
                return arguments
        arguments = yield from self._complete(order.image, order.arguments)
        self._completed = order, arguments
        return arguments

    def _load(self, name: str) -> Model:
        from napari_rednet.models import load_model_for

        if self._model is None or self._model[0] != name:
            self._model = name, load_model_for(self._task, name)
        return self._model[1]

    def _measured_in(self, order: Order) -> Measured | None:
        if self._measured is None:
            return None
        last, measured = self._measured
        return measured if last.is_of_same_image(order) else None

    def _measure(self, order: Order, restoration: Restoration) -> Measured:
        from napari_rednet.execution import measure

        measured = measure(restoration)
        for samples in measured.samples:
            restoration.job.settings(samples, 0)  # fills the cached measurements
        self._measured = order, measured
        return measured


def _fill(
    canvas: Canvas, order: Order, todo: Sequence[tuple[View, Window]]
) -> Generator[Any, None, None]:
    """Restore windows, and yield partial previews now and then."""
    begun, due = time.monotonic(), _SECONDS_TO_FIRST_ROWS

    def put(done: View, window: Window) -> None:
        seen = order.image.part(order.place, done.rows, done.columns)
        canvas.put(done, seen.with_alpha(window.values[: done.shape[0] * canvas.scale]))

    for part, window in todo:
        for progress in window.steps():
            rows = window.rows_done // canvas.scale
            is_worth_it = 0 < rows < _NEARLY_ALL * part.shape[0]
            if is_worth_it and time.monotonic() - begun >= due:
                put(part.top(rows), window)
                yield canvas.finish()
                due = 3 * (time.monotonic() - begun)
            else:
                yield progress
        put(part, window)
