"""Planes to restore: reading, settings, cutting into strips, writing; without torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_rednet.engine.basis import Basis
from napari_rednet.engine.channel import IntensityRange, NoiseModel
from napari_rednet.engine.outliers import OutlierLimits

SMALLEST_SIDE = 64
"""Columns, or rows, below which nothing is cut further, in pixels."""
ReadWindow = Callable[[slice, slice], npt.NDArray[Any]]
ReadMask = Callable[[slice, slice], npt.NDArray[np.bool_]]
WriteWindow = Callable[[slice, slice, npt.NDArray[Any]], None]


@dataclass(frozen=True)
class Strip:
    """Columns, or rows, of a plane that are restored together.

    ::

          read.start      keep.start          keep.stop      read.stop
              │  margin       │   result is kept  │   margin      │
              ▼───────────────▼───────────────────▼───────────────▼

    The margin is the receptive field, cut at the borders of the plane, so that strips join without
    a seam.
    """

    read: slice
    keep: slice

    @property
    def width(self) -> int:
        """Columns, or rows, that are read."""
        return int(self.read.stop - self.read.start)

    @property
    def kept(self) -> int:
        """Columns, or rows, that are kept."""
        return int(self.keep.stop - self.keep.start)

    @property
    def inner(self) -> slice:
        """What is kept, counted from the first that is read."""
        return slice(self.keep.start - self.read.start, self.keep.stop - self.read.start)


def whole(length: int) -> Strip:
    """The strip of all columns, or rows, of a plane."""
    return Strip(slice(0, length), slice(0, length))


@dataclass(frozen=True)
class Cuts:
    """Sides of a window that lie inside the image rather than on its border."""

    top: bool = False
    bottom: bool = False
    left: bool = False
    right: bool = False

    def within(self, shape: tuple[int, int], rows: Strip, columns: Strip) -> Cuts:
        """The cuts of a window of this part."""
        return Cuts(
            self.top or rows.read.start > 0,
            self.bottom or rows.read.stop < shape[0],
            self.left or columns.read.start > 0,
            self.right or columns.read.stop < shape[1],
        )

    def margins(self, width: int) -> tuple[int, int, int, int]:
        """Margins of `width` pixels at each cut side, 0 elsewhere: left, right, top, bottom."""
        left, right, top, bottom = (
            width * side for side in (self.left, self.right, self.top, self.bottom)
        )
        return left, right, top, bottom


NOT_CUT = Cuts()


def cut_into_strips(length: int, side: int, margin: int, stride: int = 1) -> list[Strip]:
    """Cut a plane into strips that keep at most `side` columns, or rows, each.

    `side` is rounded down to a multiple of `stride`, but is at least `stride`: strips have to
    sample the same columns as the whole plane. `margin` is how far a result depends on its input.
    """
    margin += margin % stride
    step = max(side // stride, 1) * stride
    return [
        Strip(
            slice(max(0, start - margin), min(length, start + step + margin)),
            slice(start, min(length, start + step)),
        )
        for start in range(0, length, step)
    ]


def strip_around(keep: slice, length: int, margin: int, step: int) -> Strip:
    """A strip that keeps some columns, or rows, and reads a margin around them.

    What is read begins and ends at multiples of `step`, or at the border of the plane.
    """
    start = max(0, keep.start - margin) // step * step
    return Strip(slice(start, min(length, -(-(keep.stop + margin) // step) * step)), keep)


@dataclass(frozen=True)
class Tiling:
    """Columns that a strip adds to the result, and rows of a band, in image pixels."""

    side: int
    band: int

    def halved(self) -> Tiling:
        """A tiling of half the size."""
        return Tiling(max(SMALLEST_SIDE, self.side // 2), max(8, self.band // 2))


def choose_tiling(
    shape: tuple[int, int], pixels: int, budget: int, size: Callable[[int, int], int]
) -> Tiling:
    """The widest strips, in bands of about `pixels` each, that need at most `budget` bytes.

    ``size(side, band)`` returns the bytes that strips of a width in bands of a height need.
    """
    height, side = shape[0], shape[1]
    while True:
        band = min(height, max(16, -(-pixels // side) // 2 * 2))
        if size(side, band) <= budget or side <= SMALLEST_SIDE:
            return Tiling(side, band)
        side = max(SMALLEST_SIDE, -(-side // 2))


@dataclass(frozen=True)
class ChannelSettings:
    """How the planes of one channel are presented to the network.

    `scale` are the values that become 0 and 1. `noise` is in image units, None for a network that
    is not told it, and `strength` a factor on its standard deviation. `noise_level` is a typical
    standard deviation. `outliers` are the limits for repairing outliers first, None to leave them.
    All of these are in the units of `bases`, one for the channel or for each of colours; empty for
    those of the image.

    Noise above `most_noise` is not believed; if there may be such noise, `flat` has the level that
    the result then tends to, one for each of colours. In a channel that `is_constant`, one entry
    for each of colours, pixels of the value 0 stay.
    """

    scale: IntensityRange
    noise: NoiseModel | None = None
    strength: float = 1.0
    noise_level: float = 0.0
    outliers: OutlierLimits | None = None
    bases: tuple[Basis, ...] = ()
    most_noise: float = math.inf
    flat: tuple[float, ...] = ()
    is_constant: tuple[bool, ...] = (False,)


@dataclass(frozen=True)
class Plane:
    """A plane to restore: its size and dtype, how to read it and where to write the result.

    `read` and `write` take slices of rows and columns. `write` may be called again for the same
    rows, with final values, after a band had to be repeated. `mask` reads which pixels are missing.
    `is_stored` is True if reading or writing involves files or compression. `colors` is the noise
    of red, green and blue, in image units, if these are restored together; values then are
    (3, rows, columns). `neighbours` read the planes before and after it, in order, for a network
    that sees them; they have its shape and noise. `share` reads the standard deviation of the noise
    over that of `settings`, for averages. Near sides that are in `cuts`, nothing is kept.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    read: ReadWindow
    write: WriteWindow
    settings: ChannelSettings
    mask: ReadMask | None = None
    is_stored: bool = False
    colors: tuple[NoiseModel, ...] = ()
    neighbours: tuple[ReadWindow, ...] = ()
    share: ReadWindow | None = None
    cuts: Cuts = NOT_CUT

    @property
    def is_told_noise(self) -> bool:
        """True if the network is told the noise of the plane, or of its colours."""
        return bool(self.colors) or self.settings.noise is not None


@dataclass(frozen=True)
class Volume:
    """Planes of one shape, one above the other, that are restored together.

    Only those in `keep` are written.
    """

    planes: tuple[Plane, ...]
    keep: slice

    @property
    def shape(self) -> tuple[int, int, int]:
        """Planes that are kept, rows and columns."""
        return (self.keep.stop - self.keep.start, *self.planes[0].shape)


def rows_of(plane: Plane, rows: Strip) -> Plane:
    """Some rows of a plane, with the margin around them, as a plane of its own."""
    return part_of(plane, rows, whole(plane.shape[1]))


def part_of(plane: Plane, rows: Strip, columns: Strip) -> Plane:
    """Some rows and columns of a plane, with the margin around them, as a plane of its own."""
    if (rows, columns) == (whole(plane.shape[0]), whole(plane.shape[1])):
        return plane

    def write(part_rows: slice, part_columns: slice, values: npt.NDArray[Any]) -> None:
        y, inner_rows = _kept(rows, part_rows)
        x, inner_columns = _kept(columns, part_columns)
        if y.start < y.stop and x.start < x.stop:
            plane.write(y, x, values[..., inner_rows, inner_columns])

    mask = None if plane.mask is None else _moved(plane.mask, rows, columns)
    shape = (rows.width, columns.width)
    read = _moved(plane.read, rows, columns)
    neighbours = tuple(_moved(one, rows, columns) for one in plane.neighbours)
    share = None if plane.share is None else _moved(plane.share, rows, columns)
    cuts = plane.cuts.within(plane.shape, rows, columns)
    moved = replace(plane, read=read, mask=mask, neighbours=neighbours, share=share)
    return replace(moved, shape=shape, write=write, cuts=cuts)


def _kept(strip: Strip, part: slice) -> tuple[slice, slice]:
    """The kept part of a window of a strip, in plane and in window coordinates; may be empty."""
    first = strip.read.start + part.start
    start = max(strip.keep.start, first)
    stop = min(strip.keep.stop, strip.read.start + part.stop)
    return slice(start, stop), slice(start - first, stop - first)


def _moved(read: ReadWindow, rows: Strip, columns: Strip) -> ReadWindow:
    """Read windows in the coordinates of strips, which count from the first pixel read."""
    y, x = rows.read.start, columns.read.start

    def read_moved(rows: slice, columns: slice) -> npt.NDArray[Any]:
        return read(
            slice(rows.start + y, rows.stop + y), slice(columns.start + x, columns.stop + x)
        )

    return read_moved


class PlaneRestorer(Protocol):
    """Restores planes one by one, or one `Volume` after the other."""

    @property
    def row_margin(self) -> int | None:
        """Rows beyond the kept ones that the result depends on; None if it needs whole planes."""

    def restore(self, plane: Any) -> Iterator[int]:
        """Restore a plane, yielding now and then the number of finished pixels."""

    def restore_window(self, plane: Any, rows: slice, columns: slice) -> Iterator[int]:
        """Restore a window of a plane, reading no more of it than the result depends on."""
