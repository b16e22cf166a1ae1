"""A plane on its way through a network, band by band: reading, filling, computing, writing.

Non-finite pixels are filled for the network and put back afterwards. Reading the next band and
writing the last one overlap with computing: they run in other threads, and file access,
decompression and NumPy release Python's lock::

    reading      │ band 1 │ band 2 │ band 3 │
    computing             │ band 1 │ band 2 │ band 3 │
    writing                        │ band 1 │ band 2 │ band 3 │
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_rednet.engine.basis import Basis
from napari_rednet.engine.channel import RADIUS, IntensityRange, NoiseModel, smooth_band
from napari_rednet.engine.images import changed, from_network, to_network
from napari_rednet.engine.outliers import OutlierLimits

SMALLEST_SIDE = 64
"""Columns, or rows, below which nothing is cut further, in pixels."""
ReadWindow = Callable[[slice, slice], npt.NDArray[Any]]
ReadMask = Callable[[slice, slice], npt.NDArray[np.bool_]]
WriteWindow = Callable[[slice, slice, npt.NDArray[Any]], None]
Item = TypeVar("Item")
Result = TypeVar("Result")


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
    (3, rows, columns). Near sides that are in `cuts`, nothing is kept.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    read: ReadWindow
    write: WriteWindow
    settings: ChannelSettings
    mask: ReadMask | None = None
    is_stored: bool = False
    colors: tuple[NoiseModel, ...] = ()
    cuts: Cuts = NOT_CUT

    @property
    def is_told_noise(self) -> bool:
        """True if the network is told the noise of the plane, or of its colours."""
        return bool(self.colors) or self.settings.noise is not None


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
    cuts = plane.cuts.within(plane.shape, rows, columns)
    return replace(plane, shape=shape, read=read, write=write, mask=mask, cuts=cuts)


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
    """Restores planes one by one."""

    @property
    def row_margin(self) -> int | None:
        """Rows beyond the kept ones that the result depends on; None if it needs whole planes."""

    def restore(self, plane: Plane) -> Iterator[int]:
        """Restore a plane, yielding now and then the number of finished pixels."""

    def restore_window(self, plane: Plane, rows: slice, columns: slice) -> Iterator[int]:
        """Restore a window of a plane, reading no more of it than the result depends on."""


def to_device(values: npt.NDArray[Any], device: torch.device) -> Tensor:
    """Copy an array to the device; for a GPU, asynchronously from pinned memory."""
    tensor = torch.from_numpy(values)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


class Fetching:
    """An asynchronous copy of a tensor to the CPU; it starts at once, and `take` waits for it."""

    def __init__(self, tensor: Tensor) -> None:
        self._done: torch.cuda.Event | None = None
        self._tensor = tensor
        if tensor.device.type == "cuda":
            self._tensor = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            self._tensor.copy_(tensor, non_blocking=True)
            self._done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._done.record(torch.cuda.current_stream(tensor.device))

    def take(self) -> npt.NDArray[Any]:
        """The values."""
        if self._done is not None:
            self._done.synchronize()
        return np.asarray(self._tensor.cpu())


class NotFiniteError(Exception):
    """A result overflowed."""


@dataclass(frozen=True)
class Band:
    """A band of rows as read, with the rows around them that the noise map depends on.

    `rows` are those to restore, `seen` up to `RADIUS` more above and below. `values` (image units),
    `normalized` (network units) and `finite` (None if all pixels are) cover `seen`, with a leading
    axis of 3 for colours. `mask`, True where pixels are missing, covers `rows`.
    """

    rows: slice
    seen: slice
    values: npt.NDArray[Any]
    normalized: npt.NDArray[np.float32]
    finite: npt.NDArray[np.bool_] | None
    mask: npt.NDArray[np.bool_] | None

    @property
    def lacking(self) -> tuple[int, int]:
        """How many of the `RADIUS` rows above and below lie outside of the plane."""
        return RADIUS - (self.rows.start - self.seen.start), RADIUS - (
            self.seen.stop - self.rows.stop
        )

    def originals(self) -> tuple[npt.NDArray[np.bool_] | None, npt.NDArray[Any]]:
        """Finite mask (None if all are) and values of `rows`, without the rows around them."""
        first = self.rows.start - self.seen.start
        inner = slice(first, first + self.rows.stop - self.rows.start)
        finite = None if self.finite is None else self.finite[..., inner, :]
        return finite, self.values[..., inner, :]


def read_bands(plane: Plane, strip: Strip, height: int) -> Iterator[Band]:
    """Read a strip in bands of `height` rows."""
    for start in range(0, plane.shape[0], height):
        rows = slice(start, min(plane.shape[0], start + height))
        seen = slice(max(0, rows.start - RADIUS), min(plane.shape[0], rows.stop + RADIUS))
        values = np.asarray(plane.read(seen, strip.read))
        normalized, finite = to_network(values, plane.settings.scale)
        mask = None if plane.mask is None else plane.mask(rows, strip.read)
        yield Band(rows, seen, values, normalized, finite, mask)


@dataclass(frozen=True)
class RestoredRows:
    """Final rows in network units, on their way from the device.

    If the network is told the noise, `values` are what is added to the image.
    """

    rows: slice
    values: Fetching


def put_rows(plane: Plane, strip: Strip, pending: PendingRows, restored: RestoredRows) -> int:
    """Write rows in image units; return how many pixels of the strip are done.

    Raises `NotFiniteError` if the network's result is not finite.
    """
    found = restored.values.take()
    if not np.isfinite(found).all():
        raise NotFiniteError
    if found.size:
        finite, original = pending.take(found.shape[-2])
        scale = plane.settings.scale
        if plane.is_told_noise:
            values = changed(original, found, scale, plane.dtype)
        else:
            values = from_network(found, scale, plane.dtype)
        kept = ~finite | _constant_pixels(plane.settings, original)
        values[kept] = original[kept]
        plane.write(restored.rows, strip.keep, values[..., strip.inner])
    return int(restored.rows.stop) * strip.kept


def _constant_pixels(
    settings: ChannelSettings, values: npt.NDArray[Any]
) -> npt.NDArray[np.bool_] | np.bool_:
    """True where a channel that is constant, or a colour, has its constant value."""
    if not any(settings.is_constant):
        return np.False_
    flags = np.array(settings.is_constant)
    is_there = flags[:, None, None] if values.ndim == 3 else flags[:1]
    return np.asarray((values == 0) & is_there, bool)


class PendingRows:
    """Queue of rows as read; one thread may put rows while another one takes them."""

    def __init__(self) -> None:
        self._bands: deque[tuple[npt.NDArray[np.bool_] | None, npt.NDArray[Any]]] = deque()

    def put(self, finite: npt.NDArray[np.bool_] | None, original: npt.NDArray[Any]) -> None:
        """Add a band and its finite mask, None if all pixels are finite."""
        self._bands.append((finite, original.copy()))

    def take(self, count: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[Any]]:
        """Finite mask and values of the next `count` rows."""
        taken = []
        while count > 0:
            finite, original = self._bands.popleft()
            known = np.ones(original.shape, bool) if finite is None else finite
            taken.append((known[..., :count, :], original[..., :count, :]))
            if count < original.shape[-2]:
                self._bands.appendleft((known[..., count:, :], original[..., count:, :]))
            count -= taken[-1][1].shape[-2]
        known, rows = zip(*taken, strict=True)
        return np.concatenate(known, -2), np.concatenate(rows, -2)


def fill_band(x: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Fill unknown pixels with the smoothed signal around them; return filled band and signal.

    Where nothing is known nearby, both are 0, the lower end of the range.
    """
    weight = smooth_band(known)
    signal = smooth_band(x * known) / weight.clamp(min=1e-6)
    filled = x.clone()
    inner = slice(RADIUS, -RADIUS)
    filled[:, :, inner] = torch.where(known[:, :, inner] > 0, x[:, :, inner], signal)
    return filled, signal


def fill_image(x: Tensor, known: Tensor) -> Tensor:
    """`fill_band` for a whole image."""
    pads = (0, 0, RADIUS, RADIUS)
    padded = (F.pad(part, pads, mode="replicate") for part in (x, known))
    return fill_band(*padded)[0][:, :, RADIUS:-RADIUS]


def one_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The items, each made in another thread while the one before it is in use."""
    end = object()
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = pool.submit(next, items, end)
            yield item  # type: ignore[misc]  # it is not the end


def one_behind(work: Callable[[Item], Result], items: Iterator[Item]) -> Iterator[Result]:
    """``map(work, items)``, with `work` done in another thread while the next item is made."""
    with ThreadPoolExecutor(1) as pool:
        working: list[Future[Result]] = []
        for item in items:
            # Nothing is begun after work that failed.
            done = [future.result() for future in working]
            working = [pool.submit(work, item)]
            yield from done
        yield from (future.result() for future in working)
