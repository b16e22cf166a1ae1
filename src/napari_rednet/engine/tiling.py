"""How a plane is cut so that what is held at once fits the memory; geometry only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

SMALLEST_SIDE = 64
"""Columns, or rows, below which nothing is cut further, in pixels."""


@dataclass(frozen=True)
class Strip:
    """Columns, or rows, of a plane that are restored together.

    ::

          read.start      keep.start          keep.stop      read.stop
              │  margin       │   result is kept  │   margin      │
              ▼───────────────▼───────────────────▼───────────────▼

    The margin is the receptive field, cut at the borders of the plane, so that strips join
    without a seam.
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
    """All columns, or rows, of a plane."""
    return Strip(slice(0, length), slice(0, length))


@dataclass(frozen=True)
class Cuts:
    """Which sides of a part of an image are no borders of the image."""

    top: bool = False
    bottom: bool = False
    left: bool = False
    right: bool = False

    def within(self, shape: tuple[int, int], rows: Strip, columns: Strip) -> Cuts:
        """Those of a part of what has these."""
        return Cuts(
            self.top or rows.read.start > 0,
            self.bottom or rows.read.stop < shape[0],
            self.left or columns.read.start > 0,
            self.right or columns.read.stop < shape[1],
        )

    def margins(self, width: int) -> tuple[int, int, int, int]:
        """So many pixels at each side that is cut: left, right, top, bottom."""
        left, right, top, bottom = (
            width * side for side in (self.left, self.right, self.top, self.bottom)
        )
        return left, right, top, bottom


NOT_CUT = Cuts()


def cut_into_strips(length: int, side: int, margin: int, stride: int = 1) -> list[Strip]:
    """Cut a plane into strips that keep at most `side` columns, or rows, each.

    Parameters
    ----------
    length : int
        Columns, or rows, of the plane.
    side : int
        How many to keep per strip; rounded down to a multiple of `stride`, but at least `stride`.
    margin : int
        What to read on both sides of those kept: how far a result depends on its input.
    stride : int
        Of the network: a strip has to sample the columns that the whole plane would.
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
    """A strip that keeps some columns, or rows, of a plane and reads whole steps around them.

    Parameters
    ----------
    keep : slice
        Which to keep.
    length : int
        How many the plane has.
    margin : int
        What to read on both sides of those kept.
    step : int
        What is read begins and ends at multiples of it, or at the border of the plane.
    """
    start = max(0, keep.start - margin) // step * step
    return Strip(slice(start, min(length, -(-(keep.stop + margin) // step) * step)), keep)


@dataclass(frozen=True)
class Tiling:
    """Columns that each strip adds to the result and rows of a band, in image pixels."""

    side: int
    band: int

    def halved(self) -> Tiling:
        """Half as much at once."""
        return Tiling(max(SMALLEST_SIDE, self.side // 2), max(8, self.band // 2))


def choose_tiling(
    shape: tuple[int, int], pixels: int, budget: int, size: Callable[[int, int], int]
) -> Tiling:
    """The widest strips, in bands of about `pixels` each, that need at most `budget` bytes.

    Parameters
    ----------
    shape : (rows, columns)
        Of the plane.
    pixels : int
        Pixels of a band that suit the device.
    budget : int
        Bytes to stay below.
    size : callable
        Bytes that strips of a width in bands of a height need.
    """
    height, side = shape[0], shape[1]
    while True:
        band = min(height, max(16, -(-pixels // side) // 2 * 2))
        if size(side, band) <= budget or side <= SMALLEST_SIDE:
            return Tiling(side, band)
        side = max(SMALLEST_SIDE, -(-side // 2))
