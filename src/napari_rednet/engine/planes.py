"""Planes of arrays with any axes: which there are, how they are cut, read and written; no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from napari_rednet.engine.channel import Basis, IntensityRange, NoiseModel
from napari_rednet.engine.outliers import OutlierLimits

Item = TypeVar("Item")

_WINDOW = 256
_MOST_WINDOWS = 12
SMALLEST_SIDE = 64
"""Columns, or rows, below which nothing is cut further, in pixels."""
ReadWindow = Callable[[slice, slice], npt.NDArray[Any]]
ReadMask = Callable[[slice, slice], npt.NDArray[np.bool_]]
WriteWindow = Callable[[slice, slice, npt.NDArray[Any]], None]


@dataclass(frozen=True)
class PlaneKey:
    """Index of one plane: ``slice(None)`` for the two spatial axes, integers for the others."""

    index: tuple[int | slice, ...]
    channel: int

    def window(self, rows: slice, columns: slice) -> tuple[int | slice, ...]:
        """Index of a window of the plane."""
        parts = iter((rows, columns))
        return tuple(next(parts) if isinstance(i, slice) else i for i in self.index)

    def beside(self, axis: int, offset: int, length: int) -> PlaneKey:
        """The plane `offset` further along an axis of a `length`; beyond its ends, the last one."""
        index = list(self.index)
        index[axis] = min(max(index[axis] + offset, 0), length - 1)  # type: ignore[operator]
        return PlaneKey(tuple(index), self.channel)


@dataclass(frozen=True)
class PlaneLayout:
    """The roles of an array's axes: Y, X and channel; all others count planes.

    Y and X are the last two axes that are not the channel axis.
    """

    shape: tuple[int, ...]
    channel_axis: int | None = None

    def __post_init__(self) -> None:
        ndim = len(self.shape)
        axis = self.channel_axis
        if axis is not None and not -ndim <= axis < ndim:
            raise ValueError(
                f"channel_axis must lie between {-ndim} and {ndim - 1} for an image with "
                f"{ndim} axes, got {axis}"
            )
        needed = 2 if axis is None else 3
        if ndim < needed:
            extra = "" if axis is None else " and channel_axis"
            raise ValueError(
                f"image must have at least {needed} axes (..., Y, X{extra}), got shape {self.shape}"
            )

    @property
    def spatial_axes(self) -> tuple[int, int]:
        """Positions of Y and X."""
        axes = [a for a in range(len(self.shape)) if a != self.channel]
        return axes[-2], axes[-1]

    @property
    def plane_shape(self) -> tuple[int, int]:
        """Rows and columns of every plane."""
        y, x = self.spatial_axes
        return self.shape[y], self.shape[x]

    @property
    def channels(self) -> int:
        """Number of channels; 1 without a channel axis."""
        return 1 if self.channel is None else self.shape[self.channel]

    @property
    def channel(self) -> int | None:
        """Position of the channel axis, counted from the first axis; None if there is none."""
        return None if self.channel_axis is None else self.channel_axis % len(self.shape)

    def enlarged(self, scale: int) -> PlaneLayout:
        """The layout of the array with planes `scale` times larger along Y and X."""
        grown = (n * scale if a in self.spatial_axes else n for a, n in enumerate(self.shape))
        return PlaneLayout(tuple(grown), self.channel_axis)

    def planes(self) -> Iterator[PlaneKey]:
        """All planes, in the order of the array's axes."""
        for position in positions(self.plane_counts()):
            yield self.key_at(position)

    def plane_counts(self, *, is_color: bool = False) -> list[int]:
        """Length of each axis along which planes are counted, else 1; also channels of colours."""
        fixed = (*self.spatial_axes, self.channel if is_color else None)
        return [1 if a in fixed else n for a, n in enumerate(self.shape)]

    def key_at(self, position: Sequence[int]) -> PlaneKey:
        """The plane at a position, which has a number for each axis."""
        spatial = self.spatial_axes
        index = tuple(slice(None) if a in spatial else i for a, i in enumerate(position))
        return PlaneKey(index, 0 if self.channel is None else position[self.channel])

    @property
    def planes_per_channel(self) -> int:
        """Number of planes that each channel has."""
        return math.prod(self.plane_counts(is_color=True)) if self.channels else 0

    def some_planes(self, channel: int, count: int = _MOST_WINDOWS) -> list[PlaneKey]:
        """At most `count` planes of a channel, evenly spread, however many there are."""
        counts, total = self.plane_counts(is_color=True), self.planes_per_channel
        chosen = range(total) if total <= count else evenly_spaced(total, count)
        firsts = [self.key_at(position_at(number, counts)) for number in chosen]
        return [self._in_channel(first, channel) for first in firsts]

    def volumes(self, axis: int) -> Iterator[tuple[PlaneKey, ...]]:
        """All planes, those along an axis together."""
        for key in self.planes():
            if key.index[axis] == 0:
                yield self.volume_of(key, axis)

    def volume_of(self, key: PlaneKey, axis: int) -> tuple[PlaneKey, ...]:
        """The planes along an axis that a plane is one of."""
        indices = (
            tuple(z if a == axis else i for a, i in enumerate(key.index))
            for z in range(self.shape[axis])
        )
        return tuple(PlaneKey(index, key.channel) for index in indices)

    @property
    def depth_axis(self) -> int | None:
        """Position of the axis of planes before Y and X, of a stack; None if there is none."""
        others = [a for a in range(len(self.shape)) if a not in (*self.spatial_axes, self.channel)]
        return others[-1] if others else None

    def planes_at(self, place: Sequence[int]) -> tuple[PlaneKey, ...]:
        """The planes of all channels at an index of the axes other than Y, X and channel."""
        indices = iter(place)
        index = tuple(
            slice(None) if a in self.spatial_axes else 0 if a == self.channel else next(indices)
            for a in range(len(self.shape))
        )
        return self.color_keys(PlaneKey(index, 0))

    def color_planes(self) -> Iterator[tuple[PlaneKey, ...]]:
        """The planes of all channels, grouped by their index along the other axes."""
        for position in positions(self.plane_counts(is_color=True)):
            yield self.color_keys(self.key_at(position))

    def color_keys(self, first: PlaneKey) -> tuple[PlaneKey, ...]:
        """The planes of all channels at the place of that of the first."""
        return tuple(self._in_channel(first, c) for c in range(self.channels))

    def _in_channel(self, key: PlaneKey, channel: int) -> PlaneKey:
        index = (channel if a == self.channel else i for a, i in enumerate(key.index))
        return PlaneKey(tuple(index), channel)

    def sample_windows(self, channel: int) -> list[tuple[int | slice, ...]]:
        """Indices of windows that represent a channel, however large the array is.

        These are whole planes if they are small; else at most 12 windows of at most 256 x 256
        pixels, spread evenly over the planes and over each plane.
        """
        boxes = [(r, c) for r in _spread(self.plane_shape[0]) for c in _spread(self.plane_shape[1])]
        is_small = len(boxes) * self.planes_per_channel <= _MOST_WINDOWS
        planes = self.some_planes(channel, self.planes_per_channel if is_small else _MOST_WINDOWS)
        per_plane = max(1, _MOST_WINDOWS // max(1, len(planes)))
        chosen = []
        for i, key in enumerate(planes):
            # Sample neighbouring planes at different places.
            turn = [boxes[(i * per_plane + j) % len(boxes)] for j in range(len(boxes))]
            chosen += [key.window(*box) for box in evenly(turn, per_plane)]
        return chosen


def _spread(length: int) -> list[slice]:
    """Windows of one axis: the whole of it if short, else up to four evenly spaced ones."""
    if length <= _WINDOW:
        return [slice(0, length)]
    count = min(4, -(-length // _WINDOW))
    starts = np.linspace(0, length - _WINDOW, count).astype(int)
    return [slice(int(s), int(s) + _WINDOW) for s in starts]


def evenly(items: Sequence[Item], count: int = _MOST_WINDOWS) -> list[Item]:
    """At most `count` of the items, evenly spaced."""
    if len(items) <= count:
        return list(items)
    return [items[i] for i in evenly_spaced(len(items), count)]


def evenly_spaced(total: int, count: int) -> list[int]:
    """Numbers of `count` of `total` items, evenly spaced, from the first to the last."""
    return [int(i) for i in np.linspace(0, total - 1, count).astype(int)]


def positions(counts: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """All positions in an array of this shape, in order; unlike `numpy.ndindex` without a limit."""
    if not counts:
        yield ()
        return
    for first in range(counts[0]):
        for rest in positions(counts[1:]):
            yield (first, *rest)


def position_at(number: int, counts: Sequence[int]) -> tuple[int, ...]:
    """The position of this number in the order of `positions`."""
    found: list[int] = []
    for count in reversed(counts):
        number, place = divmod(number, count)
        found.append(place)
    return tuple(reversed(found))


@dataclass(frozen=True, eq=False)
class PointSpread:
    """A point spread function of odd sides and sum 1, and where in it the point is.

    It has the axes Y and X, or Z, Y and X. `offset` is the point's position along each axis, at
    most half a pixel from the middle pixel.
    """

    values: npt.NDArray[np.float64]
    offset: tuple[float, ...] = (0.0, 0.0)

    @property
    def reach(self) -> tuple[int, ...]:
        """Half sides: planes, rows and columns on each side of a pixel that light comes from."""
        return tuple(side // 2 for side in self.values.shape)


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
        """The rows that are kept, counted from the first that is read."""
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
