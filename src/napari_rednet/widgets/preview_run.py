"""Previews in a worker's thread: what is restored, and what is kept for the next one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_rednet.widgets.layers import LayerImage
from napari_rednet.widgets.view import View
from napari_rednet.widgets.worker import Steps

if TYPE_CHECKING:
    from napari_rednet.execution import Measured, Restoration
    from napari_rednet.zoo import Model

Complete = Callable[[LayerImage, Mapping[str, Any]], Steps]
Prepare = Callable[..., "Restoration"]

# About 724 x 724 pixels of the result: what comes at once, and still covers a view of 512 x 512.
MOST_PIXELS = 2**19


@dataclass(frozen=True)
class Order:
    """What is to be previewed.

    Parameters
    ----------
    layer_data : array
        Of the layer, in full resolution.
    image : LayerImage
        What of it would be restored.
    view : View
        What is seen of it.
    arguments : mapping
        What the controls say.
    """

    layer_data: Any
    image: LayerImage
    view: View
    arguments: Mapping[str, Any]

    @property
    def place(self) -> tuple[int, ...]:
        """Where in the image the plane lies that is seen."""
        return self.view.place if self.image.plane is None else (0,) * len(self.image.plane)

    def is_of_same_image(self, other: Order) -> bool:
        """Whether the same would be restored; what was measured in one serves the other."""
        return (
            self.layer_data is other.layer_data
            and self.image.plane == other.image.plane
            and self.arguments.get("mask") is other.arguments.get("mask")
        )


@dataclass(frozen=True)
class Previewed:
    """A part of a layer as it will be.

    Parameters
    ----------
    data : (1, ..., Y, X) or (1, ..., Y, X, C) array
        With as many axes as the layer has.
    view : View
        Which part.
    scale : int
        How much larger it is.
    """

    data: Any
    view: View
    scale: int


class Previewer:
    """Restores parts of layers; what was measured in the last layer serves the next part.

    Parameters
    ----------
    task : str
        Whose models are used.
    complete : callable
        Works out, in steps, what the arguments leave open.
    prepare : callable
        Makes a `Restoration` of a `LayerImage` and the complete arguments.
    """

    def __init__(self, task: str, complete: Complete, prepare: Prepare) -> None:
        self._task, self._complete, self._prepare = task, complete, prepare
        self._completed: tuple[Order, Mapping[str, Any]] | None = None
        self._model: tuple[str, Model] | None = None
        self._measured: tuple[Order, Measured] | None = None

    def forget_models(self) -> None:
        """Read the model again; its file may be another."""
        self._model = None

    def forget_measures(self) -> None:
        """Measure again; the layer may hold other values."""
        self._completed = self._measured = None

    def has_measured(self, order: Order) -> bool:
        """Whether the layer has been measured."""
        return self._measured_in(order) is not None

    def steps(self, order: Order) -> Steps:
        """Restore, in another thread: yield (pixels done, pixels in all), return `Previewed`."""
        from napari_rednet.execution import window_steps

        yield 0, 0
        arguments = yield from self._complete_arguments(order)
        model = self._load(order.arguments["model"])
        restoration = self._prepare(order.image, **{**arguments, "model": model})
        measured = self._measured_in(order) or self._measure(order, restoration)
        yield 0, 0
        scale = restoration.job.scale
        view = order.view.cut_to(MOST_PIXELS // scale**2)
        rows, columns = (slice(s.start * scale, s.stop * scale) for s in (view.rows, view.columns))
        window = yield from window_steps(restoration, measured, order.place, rows, columns)
        seen = order.image.part(order.place, view.rows, view.columns)
        return Previewed(seen.with_alpha(window)[(None,) * len(order.place)], view, scale)

    def _complete_arguments(self, order: Order) -> Steps:
        if self._completed is not None:
            last, arguments = self._completed
            if last.arguments is order.arguments and last.is_of_same_image(order):
                return arguments
        arguments = yield from self._complete(order.image, order.arguments)
        self._completed = order, arguments
        return arguments

    def _load(self, name: str) -> Model:
        from napari_rednet.zoo import load_model_for

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
            restoration.job.settings_of(samples, 0)  # measures what it depends on
        self._measured = order, measured
        return measured
