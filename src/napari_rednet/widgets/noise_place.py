"""Where of an image layer the noise is measured: everywhere, or in what users have drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Shapes

from napari_rednet.widgets.controls import ChoiceBox
from napari_rednet.widgets.layers import LayerImage, shown_plane
from napari_rednet.widgets.mask_layers import layer_mask
from napari_rednet.widgets.worker import Steps


@dataclass(frozen=True)
class Place:
    """What users choose: which shapes, which planes.

    Parameters
    ----------
    shapes : Shapes or None
        The layer that they have drawn in; None for the whole image.
    shown_only : bool
        Whether to measure in the plane that is shown, or in all of them.
    """

    shapes: Shapes | None = None
    shown_only: bool = False


WHOLE = Place()


@dataclass(frozen=True)
class Region:
    """A place as it was when it was asked for; it does not change when the layers do.

    Parameters
    ----------
    marked : (Y, X) ndarray of bool or None
        The pixels; None for all.
    plane : tuple of int or None
        Where the plane lies along the axes before Y and X; None for all planes.
    """

    marked: npt.NDArray[np.bool_] | None = None
    plane: tuple[int, ...] | None = None


def label_of(place: Place) -> str:
    """What a place is called."""
    if place.shapes is None:
        return "shown plane" if place.shown_only else "whole layer"
    return f"{place.shapes.name}, shown plane" if place.shown_only else str(place.shapes.name)


def places(layer: Image | None, shapes: Iterable[Shapes]) -> list[tuple[str, Place]]:
    """What there is to choose from, by its label."""
    drawn = [Place(one) for one in shapes]
    found = [WHOLE, *drawn]
    if layer is not None and layer.ndim > 2:
        found[1:1] = [replace(WHOLE, shown_only=True)]
        found += [replace(place, shown_only=True) for place in drawn]
    return [(label_of(place), place) for place in found]


class PlaceBox(ChoiceBox):
    """A choice of a place.

    That only the shown plane counts is kept while a 2-D layer is chosen, where there is no choice
    of planes, and holds again for the next stack.

    Parameters
    ----------
    places : callable
        Returns labels and values of what there is to choose from.
    """

    def __init__(self, places: Callable[[], list[tuple[str, Place]]]) -> None:
        self._shown_only = False
        super().__init__(
            name="place",
            label="Measure in",
            choices=lambda _: places(),
            tooltip="Where noise is estimated: in the whole layer, in the plane that is shown, or "
            "in what you draw in a Shapes layer, e.g. around background and cells but no "
            "saturated beads.",
            visible=False,
        )
        self.changed.connect(self._notice)

    @property
    def wanted(self) -> str:
        """What is chosen, as it is called for a stack."""
        return label_of(replace(self.value, shown_only=self._shown_only))

    def want(self, label: Any) -> None:
        """Choose what is called so for a stack, unless there is no such place."""
        for shapes in [place.shapes for place in self._places]:
            for shown_only in (False, True):
                if label_of(Place(shapes, shown_only)) == label:
                    self._shown_only = shown_only
                    self.value = self._offered(shapes)

    def reset_choices(self, *_: Any) -> None:
        """Ask again for the places; napari calls it when layers come, go or are renamed."""
        chosen = self.value
        with self.changed.blocked():
            super().reset_choices()
            self.value = self._offered(getattr(chosen, "shapes", None))  # None at first
        if self.value != chosen:
            self.changed.emit(self.value)

    @property
    def _places(self) -> list[Place]:
        return list(self.choices)

    def _offered(self, shapes: Shapes | None) -> Place:
        """What is offered of a Shapes layer, or of the whole if it is gone."""
        drawn = [place for place in self._places if place.shapes is shapes]
        found = drawn or [place for place in self._places if place.shapes is None]
        return next((place for place in found if place.shown_only == self._shown_only), found[0])

    def _notice(self) -> None:
        if any(place.shown_only for place in self._places):
            self._shown_only = self.value.shown_only


def find_region(place: Place, layer: Image, point: Sequence[float]) -> Region:
    """The pixels and the plane of a place.

    Parameters
    ----------
    point : sequence of float
        What the viewer shows, in world coordinates.

    Raises
    ------
    ValueError
        In words for the user, if nothing of the image is marked.
    """
    marked = None
    if place.shapes is not None:
        marked = layer_mask(place.shapes, layer, "where noise is to be measured").missing
    return Region(marked, shown_plane(layer, point) if place.shown_only else None)


def measure_steps(
    image: LayerImage, region: Region, prepare: Callable[[], None] | None = None
) -> Steps:
    """Measure: yield (done, total), return the `NoiseLevels` of each channel.

    `prepare` is called before: what takes time, too, and is better not done by the window.
    """
    if prepare is not None:
        prepare()
    from napari_rednet.restoration import noise_levels_steps

    # The plane that is restored alone is the one that is shown.
    whole = region.plane is None or image.plane is not None
    array = image.array if whole else image.array[region.plane]
    return (
        yield from noise_levels_steps(array, channel_axis=image.channel_axis, region=region.marked)
    )
