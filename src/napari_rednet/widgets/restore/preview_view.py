"""The visible part of a layer, the cache of its previews, and the layer that shows them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image
from napari.viewer import Viewer

from napari_rednet.widgets.shared.layers import (
    TEMPORARY,
    LayerImage,
    finer_grid,
    insert_quietly,
    is_seen_through,
    layer_image,
    layer_options,
)

# The shown plane, and on each side one to return to and one computed ahead.
_MOST_KEPT = 5
_LOOK = ("contrast_limits", "gamma", "colormap", "interpolation2d")


@dataclass(frozen=True)
class View:
    """A rectangle in one plane of a layer.

    `place` is the index of the plane along all axes but the last two. `is_cut` is True if more of
    the plane is visible.
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
        """True if all of another view is part of this one."""
        return self.place == other.place and all(
            mine.start <= part.start and part.stop <= mine.stop
            for mine, part in ((self.rows, other.rows), (self.columns, other.columns))
        )

    def overlap(self, other: View) -> View | None:
        """The part common to two views; None if there is none."""
        rows, columns = _common(self.rows, other.rows), _common(self.columns, other.columns)
        if self.place != other.place or rows.start >= rows.stop or columns.start >= columns.stop:
            return None
        return View(self.place, rows, columns)

    def without(self, part: View) -> list[View]:
        """The rest without a part of it: above, left, right and below; empty ones are left out."""
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
        """The same view, relative to the first pixel of another one."""
        y, x = other.rows.start, other.columns.start
        rows, columns = (
            slice(s.start - first, s.stop - first)
            for s, first in ((self.rows, y), (self.columns, x))
        )
        return View(self.place, rows, columns)

    def magnified(self, factor: int) -> tuple[slice, slice]:
        """Its rows and columns in an image enlarged by `factor`."""
        rows, columns = (
            slice(s.start * factor, s.stop * factor) for s in (self.rows, self.columns)
        )
        return rows, columns

    def cut_to(self, pixels: int) -> View:
        """The middle of it, of at most so many pixels."""
        height, width = self.shape
        if height * width <= pixels:
            return self
        # The side that is longer than that of a square is cut first.
        side = int(pixels**0.5)
        height = min(height, max(side, pixels // width))
        width = min(width, pixels // height)
        return View(
            self.place, _middle(self.rows, height), _middle(self.columns, width), is_cut=True
        )


def view_of(viewer: Viewer, layer: Image) -> View:
    """The visible part of a layer; a `ValueError`, if there is none, is worded for the user."""
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
    """The visible pixels along an axis; all of them, before the layer has been drawn."""
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


@dataclass(frozen=True)
class Previewed:
    """A restored part of a layer, enlarged by `scale`.

    `data` is (1, ..., Y, X) or (1, ..., Y, X, C), with as many axes as the layer.
    """

    data: Any
    view: View
    scale: int


class Kept:
    """Cache of the last previews under the same conditions, one per plane."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, ...], Previewed] = {}

    @property
    def is_empty(self) -> bool:
        """True if the cache is empty."""
        return not self._found

    def of(self, view: View) -> Previewed | None:
        """The cached preview of the plane, of this view or another."""
        return self._found.get(view.place)

    def put(self, previewed: Previewed) -> None:
        """Store a preview in place of that of the same plane."""
        self._found.pop(previewed.view.place, None)
        self._found[previewed.view.place] = previewed
        while len(self._found) > _MOST_KEPT:
            del self._found[next(iter(self._found))]


class Canvas:
    """A preview in the making: it begins with the pixels of the layer, enlarged by `scale`."""

    def __init__(self, seen: LayerImage, view: View, scale: int) -> None:
        self.view, self.scale = view, scale
        self._values: npt.NDArray[Any] = np.asarray(seen.data).repeat(scale, 0).repeat(scale, 1)

    def put(self, view: View, values: npt.NDArray[Any]) -> None:
        """Copy the values of a view where it overlaps."""
        part = self.view.overlap(view)
        if part is not None:
            self._values[self._index(part, self.view)] = values[self._index(part, view)]

    def put_preview(self, previewed: Previewed) -> None:
        """Copy a preview of the same scale where it overlaps."""
        if previewed.scale == self.scale:
            self.put(previewed.view, previewed.data[(0,) * len(self.view.place)])

    def finish(self) -> Previewed:
        """A copy of the preview as it is now."""
        data = self._values[(None,) * len(self.view.place)].copy()
        return Previewed(data, self.view, self.scale)

    def _index(self, part: View, whole: View) -> tuple[slice, slice]:
        return part.counted_from(whole).magnified(self.scale)


def missing_parts(view: View, known: View | None, margin: float) -> list[View]:
    """The parts of a view to restore if another is known; all of it if that is cheaper."""
    common = None if known is None else view.overlap(known)
    if common is None:
        return [view]
    parts = view.without(common)
    cost = sum(_pixels(part, margin) for part in parts)
    return parts if cost < _pixels(view, margin) else [view]


def _pixels(view: View, margin: float) -> float:
    return math.prod(side + margin for side in view.shape)


class PreviewLayer:
    """Temporary layer that shows previews of `source`, and looks like it, on top of all others."""

    def __init__(self, viewer: Viewer, source: Image) -> None:
        self._viewer, self.source = viewer, source
        self._layer: Image | None = None
        self._opacity: float | None = None  # of the source, while it is seen through
        for name in _LOOK:
            getattr(source.events, name).connect(self._copy_look)

    def show(self, previewed: Previewed) -> None:
        """Show a preview in place of the last one."""
        place = finer_grid(self.source, previewed.scale, previewed.view.first)
        if self._layer is None:
            self._layer = self._add(previewed.data, place)
        else:
            self._layer.data = previewed.data
            for name, value in place.items():
                # Each assignment takes a redraw, which is as slow as one of new data.
                if not np.array_equal(getattr(self._layer, name), value):
                    setattr(self._layer, name, value)

    def clear(self) -> None:
        """Remove the layer until there is another preview."""
        layer, self._layer = self._layer, None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)
        if self._opacity is not None and self.source.opacity == 0:
            self.source.opacity = self._opacity
        self._opacity = None

    def close(self) -> None:
        """Remove the layer for good."""
        for name in _LOOK:
            getattr(self.source.events, name).disconnect(self._copy_look)
        self.clear()

    def is_shown_in(self, layer: Any) -> bool:
        """True if a layer is the preview layer."""
        return layer is not None and layer is self._layer

    def _add(self, data: Any, place: dict[str, Any]) -> Image:
        look = layer_options(self.source)
        if is_seen_through(self.source):
            # The preview is, too, as other channels have to be seen; both would be twice as bright.
            # The source is not hidden, since hidden layers have no view.
            self._opacity, self.source.opacity = self.source.opacity, 0.0
        layer = Image(
            data,
            name=f"{self.source.name} (preview)",
            metadata={TEMPORARY: True},
            multiscale=False,
            **{**look, **place},
        )
        insert_quietly(self._viewer, len(self._viewer.layers), layer)
        return layer

    def _copy_look(self) -> None:
        if self._layer is not None:
            for name in _LOOK:
                setattr(self._layer, name, getattr(self.source, name))
