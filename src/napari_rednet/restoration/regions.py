"""Windows of an array that hold the pixels of a region."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from napari_rednet.engine.images import PlaneLayout

BoolArray = npt.NDArray[np.bool_]
Index = tuple[int | slice, ...]

_SIDE = 256
_MARGIN = 8
_MOST_WINDOWS = 48
_MOST_PLANES = 12


def region_windows(region: Any, layout: PlaneLayout, channel: int) -> list[Index]:
    """Indices of windows that hold the pixels of a region of a channel, or many of them.

    At most 48 windows of 256 x 256 pixels, drawn by lot from up to 12 planes; the same ones each
    time.

    Parameters
    ----------
    region : array of bool
        Of the shape of the image.
    """
    keys = [key for key in layout.planes() if key.channel == channel]
    lot = np.random.default_rng(0)
    windows: list[Index] = []
    planes = 0
    for i in lot.permutation(len(keys)):
        boxes = _boxes(np.asarray(region[keys[i].index]))
        windows += [keys[i].window(*box) for box in boxes]
        planes += bool(boxes)
        if planes == _MOST_PLANES:
            break
    return [windows[i] for i in lot.permutation(len(windows))[:_MOST_WINDOWS]]


def _boxes(marked: BoolArray) -> list[tuple[slice, slice]]:
    """Boxes of a grid over the marked pixels of a plane, without the empty ones."""
    rows, columns = (_spans(np.logical_or.reduce(marked, axis)) for axis in (1, 0))
    return [(r, c) for r in rows for c in columns if marked[r, c].any()]


def _spans(marked: BoolArray) -> list[slice]:
    """An axis from the first mark to the last, with some pixels around, in pieces."""
    places = np.flatnonzero(marked)
    if not len(places):
        return []
    first, end = max(0, int(places[0]) - _MARGIN), int(places[-1]) + 1 + _MARGIN
    return [slice(start, min(start + _SIDE, end)) for start in range(first, end, _SIDE)]
