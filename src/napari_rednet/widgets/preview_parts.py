"""Previews that are kept, and what a new one can be made of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_rednet.widgets.layers import LayerImage
from napari_rednet.widgets.view import View

# A plane to return to and one ahead, on both sides of the one that is shown.
_MOST_KEPT = 5


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


class Kept:
    """The last previews under the same conditions, one a plane."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, ...], Previewed] = {}

    @property
    def is_empty(self) -> bool:
        """Whether none is kept."""
        return not self._found

    def of(self, view: View) -> Previewed | None:
        """The preview of the plane, of this view or another."""
        return self._found.get(view.place)

    def put(self, previewed: Previewed) -> None:
        """Keep one in place of the last one of its plane."""
        self._found.pop(previewed.view.place, None)
        self._found[previewed.view.place] = previewed
        while len(self._found) > _MOST_KEPT:
            del self._found[next(iter(self._found))]


class Canvas:
    """A preview in the making: what is not restored yet is as in the layer, or as it was before.

    Parameters
    ----------
    seen : LayerImage
        The part of the layer, one plane of it.
    view : View
        Which part that is.
    scale : int
        How much larger the result is.
    """

    def __init__(self, seen: LayerImage, view: View, scale: int) -> None:
        self.view, self.scale = view, scale
        self._values: npt.NDArray[Any] = np.asarray(seen.data).repeat(scale, 0).repeat(scale, 1)

    def put(self, view: View, values: npt.NDArray[Any]) -> None:
        """Put in what there is of a view."""
        part = self.view.overlap(view)
        if part is not None:
            self._values[self._index(part, self.view)] = values[self._index(part, view)]

    def put_preview(self, previewed: Previewed) -> None:
        """Put in what there is of a preview."""
        if previewed.scale == self.scale:
            self.put(previewed.view, previewed.data[(0,) * len(self.view.place)])

    def finish(self) -> Previewed:
        """The preview as it is now."""
        data = self._values[(None,) * len(self.view.place)].copy()
        return Previewed(data, self.view, self.scale)

    def _index(self, part: View, whole: View) -> tuple[slice, slice]:
        return part.counted_from(whole).magnified(self.scale)


def missing_parts(view: View, known: View | None, margin: float) -> list[View]:
    """What is to be restored for a view if another is known, with the margins that cost as well."""
    common = None if known is None else view.overlap(known)
    if common is None:
        return [view]
    parts = view.without(common)
    cost = sum(_pixels(part, margin) for part in parts)
    return parts if cost < _pixels(view, margin) else [view]


def _pixels(view: View, margin: float) -> float:
    return math.prod(side + margin for side in view.shape)
