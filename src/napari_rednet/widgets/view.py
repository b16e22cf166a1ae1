"""Which part of an image layer is seen: planes, rows and columns of its full resolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Image
from napari.viewer import Viewer

from napari_rednet.widgets.layers import layer_image


@dataclass(frozen=True)
class View:
    """A part of a layer.

    Parameters
    ----------
    place : tuple of int
        Which plane: an index for each axis of the layer but the last two.
    rows, columns : slice
        Which of its pixels.
    is_cut : bool
        Whether more is seen than this.
    """

    place: tuple[int, ...]
    rows: slice
    columns: slice
    is_cut: bool = False

    @property
    def first(self) -> tuple[int, ...]:
        """Index of its first pixel."""
        return (*self.place, self.rows.start, self.columns.start)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    def covers(self, other: View) -> bool:
        """Whether all of another view is part of this one."""
        return self.place == other.place and all(
            mine.start <= part.start and part.stop <= mine.stop
            for mine, part in ((self.rows, other.rows), (self.columns, other.columns))
        )

    def overlap(self, other: View) -> View | None:
        """What is part of both; None if nothing is."""
        rows, columns = _common(self.rows, other.rows), _common(self.columns, other.columns)
        if self.place != other.place or rows.start >= rows.stop or columns.start >= columns.stop:
            return None
        return View(self.place, rows, columns)

    def without(self, part: View) -> list[View]:
        """What of it lies outside of a part of it: above, to the left, to the right, below."""
        above, below = _beyond(self.rows, part.rows)
        left, right = _beyond(self.columns, part.columns)
        found = [
            View(self.place, above, self.columns),
            View(self.place, part.rows, left),
            View(self.place, part.rows, right),
            View(self.place, below, self.columns),
        ]
        return [view for view in found if all(view.shape)]

    def top(self, rows: int) -> View:
        """Its first rows."""
        return View(self.place, slice(self.rows.start, self.rows.start + rows), self.columns)

    def counted_from(self, other: View) -> View:
        """The same with the first pixel of another view as the origin."""
        y, x = other.rows.start, other.columns.start
        rows, columns = (
            slice(s.start - first, s.stop - first)
            for s, first in ((self.rows, y), (self.columns, x))
        )
        return View(self.place, rows, columns)

    def magnified(self, factor: int) -> tuple[slice, slice]:
        """Its rows and columns in an image that is so many times as large."""
        rows, columns = (
            slice(s.start * factor, s.stop * factor) for s in (self.rows, self.columns)
        )
        return rows, columns

    def cut_to(self, pixels: int) -> View:
        """The middle of it, of at most so many pixels."""
        height, width = self.shape
        if height * width <= pixels:
            return self
        # What is longer than the square is cut first.
        side = int(pixels**0.5)
        height = min(height, max(side, pixels // width))
        width = min(width, pixels // height)
        return View(
            self.place, _middle(self.rows, height), _middle(self.columns, width), is_cut=True
        )


def view_of(viewer: Viewer, layer: Image) -> View:
    """What a viewer shows of an image layer.

    Raises
    ------
    ValueError
        In words for the user, if it shows no part of a plane.
    """
    _refuse_other_displays(viewer, layer)
    if not layer.visible:
        raise ValueError("the layer is hidden")
    place = tuple(round(n) for n in layer.world_to_data(viewer.dims.point)[:-2])
    shape = layer_image(layer).spatial_shape
    if not all(0 <= i < n for i, n in zip(place, shape, strict=False)):
        raise ValueError("the layer has no such plane")
    rows, columns = (_seen(layer, axis, shape[axis]) for axis in (-2, -1))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        raise ValueError("nothing of the layer is seen; Home shows all of it")
    return View(place, rows, columns)


def _refuse_other_displays(viewer: Viewer, layer: Image) -> None:
    dims = viewer.dims
    if dims.ndisplay == 3:
        raise ValueError("it shows planes; switch to 2D")
    if layer.ndim < 2 or set(dims.displayed) != {dims.ndim - 2, dims.ndim - 1}:
        raise ValueError("it shows planes of the last two axes; roll the axes back")
    margins: Any = [*getattr(dims, "margin_left", ()), *getattr(dims, "margin_right", ())]
    if str(getattr(layer, "projection_mode", "none")) != "none" and any(margins):
        raise ValueError("it shows single planes; switch the projection of the layer off")


def _seen(layer: Image, axis: int, length: int) -> slice:
    """Which pixels along an axis lie in the canvas; all, before the layer has been drawn."""
    first, last = np.asarray(layer.corner_pixels)[:, axis]
    factor = layer.downsample_factors[layer.data_level][axis] if layer.multiscale else 1
    if last <= first:
        return slice(0, length)
    return slice(max(0, int(first * factor)), min(length, int(np.ceil((last + 1) * factor))))


def _common(one: slice, other: slice) -> slice:
    return slice(max(one.start, other.start), min(one.stop, other.stop))


def _beyond(whole: slice, part: slice) -> tuple[slice, slice]:
    return slice(whole.start, part.start), slice(part.stop, whole.stop)


def _middle(part: slice, length: int) -> slice:
    start = part.start + (part.stop - part.start - length) // 2
    return slice(start, start + length)
