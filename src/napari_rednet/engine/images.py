"""Arrays with any axes as planes, and conversion between image and network units."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from napari_rednet.engine.channel import IntensityRange

Item = TypeVar("Item")

_WINDOW = 256
_MOST_WINDOWS = 12


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


def to_network(
    values: npt.NDArray[Any], scale: IntensityRange
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_] | None]:
    """Normalised values (0 where not finite), and the mask of finite ones, None if all are."""
    wide: Any = working_dtype(values.dtype)
    finite = np.isfinite(values) if values.dtype.kind == "f" else None
    if finite is None or finite.all():
        finite = None
    else:
        values = np.where(finite, values, scale.low)
    normalized = (values.astype(wide) - wide(scale.low)) / wide(scale.span)
    return np.asarray(normalized, np.float32), finite


def from_network(
    values: npt.NDArray[np.float32], scale: IntensityRange, dtype: np.dtype[Any]
) -> npt.NDArray[Any]:
    """Values in image units and dtype; integers are rounded and clipped."""
    wide: Any = working_dtype(dtype)
    return round_to(np.asarray(values, wide) * wide(scale.span) + wide(scale.low), dtype)


def changed(
    image: npt.NDArray[Any],
    change: npt.NDArray[np.float32],
    scale: IntensityRange,
    dtype: np.dtype[Any],
) -> npt.NDArray[Any]:
    """Add `change`, in network units, to an image; pixels with a change of 0 keep their value."""
    wide: Any = working_dtype(image.dtype)
    with np.errstate(invalid="ignore"):  # image and change may be infinite
        added = image.astype(wide) + change.astype(wide) * wide(scale.span)
    kept = image if image.dtype == dtype else round_to(image, dtype)
    return np.where(change == 0, kept, round_to(added, dtype))


def round_to(image: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Float values as a dtype; for integers rounded and clipped, and finite ones stay finite."""
    if dtype.kind not in "iu":
        return _narrowed(np.asarray(image), dtype)
    wide: Any = working_dtype(dtype)
    limits = np.iinfo(dtype)
    # Floats cannot represent the largest 64-bit integers: clip to the nearest float below.
    high = np.nextafter(wide(limits.max), wide(0)) if limits.max > 2**53 else wide(limits.max)
    rounded: npt.NDArray[Any] = np.rint(image).clip(wide(limits.min), high).astype(dtype)
    return rounded


def _narrowed(image: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Floats as shorter ones; what is too large for these becomes the largest of them."""
    if dtype.itemsize >= image.dtype.itemsize:
        return np.asarray(image, dtype)
    with np.errstate(over="ignore"):
        short: npt.NDArray[Any] = np.asarray(image, dtype)
    lost = np.isinf(short) & np.isfinite(image)
    return np.where(lost, np.copysign(np.finfo(dtype).max, short), short) if lost.any() else short


def working_dtype(dtype: np.dtype[Any]) -> Any:
    """Float type for computing with `dtype` without losing precision."""
    return np.float32 if dtype.itemsize <= 2 else np.float64


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
