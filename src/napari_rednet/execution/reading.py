"""How arrays are read: in whole chunks, in sample windows, and without outliers."""

from __future__ import annotations

import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_rednet.engine.channel import (
    MOST_NOISE,
    Basis,
    IntensityRange,
    NoiseModel,
    dark_level,
    measure_range,
)
from napari_rednet.engine.outliers import REACH, OutlierLimits, find_outliers, without_outliers
from napari_rednet.engine.planes import ChannelSettings, ReadWindow, WriteWindow
from napari_rednet.errors import ReadError
from napari_rednet.noise import fit_noise

Window = tuple[slice, ...]
# Noise in units of the strongest that is believed.
_MOST_TOLD = 1e3
# Rounding loses photons if one photon is about one gray level, there is no other noise, and many
# pixels hold none.
_LEAST_GAIN = 0.75
_LEAST_SHARE_WITHOUT = 0.3
ChunkIndex = tuple[int, ...]
Parts = Sequence[npt.NDArray[Any]]


def chunks_of(array: Any) -> tuple[int, ...] | None:
    """Shape of an array's chunks; None if it is not chunked."""
    chunks = getattr(array, "chunks", None)
    if not isinstance(chunks, tuple) or not all(isinstance(c, int) for c in chunks):
        return None
    return chunks


def written_chunks_of(array: Any) -> tuple[int, ...] | None:
    """Shape of the smallest unit that can be written: shards if there are any, else chunks."""
    return getattr(array, "shards", None) or chunks_of(array)


def chunks_in(window: Window, chunks: Sequence[int]) -> Iterator[ChunkIndex]:
    """Indices of the chunks that a window overlaps."""
    sides = zip(window, chunks, strict=True)
    yield from product(*(range(s.start // c, -(-s.stop // c)) for s, c in sides))


def window_of(chunk: ChunkIndex, chunks: Sequence[int], shape: Sequence[int]) -> Window:
    """Window of the pixels of a chunk."""
    sides = zip(chunk, chunks, shape, strict=True)
    return tuple(slice(i * c, min(n, (i + 1) * c)) for i, c, n in sides)


def as_window(index: Sequence[int | slice], shape: Sequence[int]) -> Window:
    """An index of integers and slices as slices with both ends."""
    pairs = zip(index, shape, strict=True)
    return tuple(
        slice(*i.indices(n)[:2]) if isinstance(i, slice) else slice(i, i + 1) for i, n in pairs
    )


def shifted(window: Window, origin: Window) -> Window:
    """A window in the coordinates of another one."""
    return tuple(
        slice(w.start - o.start, w.stop - o.start) for w, o in zip(window, origin, strict=True)
    )


def overlap(one: Window, other: Window) -> Window:
    """Intersection of two windows."""
    return tuple(
        slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other, strict=True)
    )


class ChunkReader:
    """Reads windows of a chunked array, and keeps `capacity` bytes of chunks for the next ones."""

    def __init__(self, array: Any, capacity: int) -> None:
        self.shape, self.dtype = tuple(array.shape), np.dtype(array.dtype)
        self.ndim = len(self.shape)
        self._array = array
        self._chunks = chunks_of(array) or self.shape
        self._capacity = capacity
        self._kept: OrderedDict[ChunkIndex, npt.NDArray[Any]] = OrderedDict()
        self._bytes = 0
        # Bands are read in one thread, and what lies under a result in another.
        self._lock = threading.Lock()

    def __getitem__(self, index: Sequence[int | slice]) -> npt.NDArray[Any]:
        with self._lock:
            return self._window(index)

    def _window(self, index: Sequence[int | slice]) -> npt.NDArray[Any]:
        window = as_window(index, self.shape)
        values = np.empty([s.stop - s.start for s in window], self.dtype)
        needed = list(chunks_in(window, self._chunks))
        for chunk in needed:
            place = window_of(chunk, self._chunks, self.shape)
            common = overlap(place, window)
            values[shifted(common, window)] = self._read(chunk, place)[shifted(common, place)]
        self._forget(keep=len(needed))
        integers = tuple(0 if not isinstance(i, slice) else slice(None) for i in index)
        return values[integers]

    def _read(self, chunk: ChunkIndex, place: Window) -> npt.NDArray[Any]:
        if chunk not in self._kept:
            self._kept[chunk] = self._load(chunk, place)
            self._bytes += self._kept[chunk].nbytes
        self._kept.move_to_end(chunk)
        return self._kept[chunk]

    def _load(self, chunk: ChunkIndex, place: Window) -> npt.NDArray[Any]:
        try:
            return np.asarray(self._array[place])
        except MemoryError:
            raise
        except Exception as error:  # codecs raise many kinds
            index, reason = ", ".join(map(str, chunk)), str(error) or type(error).__name__
            raise ReadError(
                f"chunk ({index}) of {_name_of(self._array)} cannot be read: {reason}; copy the "
                "file again from where it came from"
            ) from error

    def _forget(self, keep: int) -> None:
        while self._bytes > self._capacity and len(self._kept) > keep:
            _, values = self._kept.popitem(last=False)
            self._bytes -= values.nbytes


def _name_of(array: Any) -> str:
    """Where a chunked array lies, if it is a folder that can be named."""
    root = getattr(getattr(array, "store", None), "root", None)
    return "the image" if root is None else str(Path(root, str(getattr(array, "path", ""))))


@dataclass
class _Open:
    values: npt.NDArray[Any]
    is_known: npt.NDArray[np.bool_]


@dataclass
class ChunkWriter:
    """Collects windows of a chunked array and writes each chunk once, when it is full."""

    array: Any
    checksums: dict[ChunkIndex, int] = field(default_factory=dict, init=False)
    _open: dict[ChunkIndex, _Open] = field(default_factory=dict, init=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return tuple(self.array.shape)

    def __setitem__(self, index: Sequence[int | slice], values: npt.NDArray[Any]) -> None:
        window = as_window(index, self.shape)
        block = np.asarray(values).reshape([s.stop - s.start for s in window])
        for chunk in chunks_in(window, self._chunks):
            self._put(chunk, window, block)

    def flush(self) -> int:
        """Write chunks that are not full; return a checksum of all chunks since the last flush."""
        for chunk, part in list(self._open.items()):
            place = window_of(chunk, self._chunks, self.shape)
            values = np.where(part.is_known, part.values, np.asarray(self.array[place]))
            self._write(chunk, values)
        found, self.checksums = self.checksums, {}
        return checksum_of(found)

    @property
    def _chunks(self) -> tuple[int, ...]:
        return written_chunks_of(self.array) or self.shape

    def _put(self, chunk: ChunkIndex, window: Window, block: npt.NDArray[Any]) -> None:
        place = window_of(chunk, self._chunks, self.shape)
        sides = [s.stop - s.start for s in place]
        if chunk not in self._open:
            self._open[chunk] = _Open(np.empty(sides, self.array.dtype), np.zeros(sides, bool))
        part, common = self._open[chunk], overlap(place, window)
        inside = shifted(common, place)
        part.values[inside] = block[shifted(common, window)]
        part.is_known[inside] = True
        if part.is_known.all():
            self._write(chunk, part.values)

    def _write(self, chunk: ChunkIndex, values: npt.NDArray[Any]) -> None:
        self.array[window_of(chunk, self._chunks, self.shape)] = values
        self.checksums[chunk] = zlib.crc32(np.ascontiguousarray(values).data)
        self._open.pop(chunk, None)


def checksum_of(chunks: dict[ChunkIndex, int]) -> int:
    """Checksum of the checksums of several chunks, whatever order they were written in."""
    return zlib.crc32(repr(sorted(chunks.items())).encode())


def read_checksum(array: Any, windows: Sequence[Window]) -> int | None:
    """Checksum of the chunks in some windows, as they are stored now; None if one is damaged."""
    chunks = written_chunks_of(array) or tuple(array.shape)
    found = {c for window in windows for c in chunks_in(window, chunks)}
    sums = {}
    for chunk in found:
        try:
            values = np.ascontiguousarray(array[window_of(chunk, chunks, array.shape)])
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - codecs raise many kinds
            return None
        sums[chunk] = zlib.crc32(values.data)
    return checksum_of(sums)


class Samples:
    """Sample windows of a channel; each property is measured when it is first needed.

    `parts` are (Y, X), in native byte order, NaN where masked. `windows_of` makes the windows from
    them, such as the luminance of colours. `limits` are those of outliers that were removed, and
    `bases` the units of the values, one or one for each colour; empty for those of the image.
    """

    def __init__(
        self,
        parts: Iterable[npt.NDArray[Any]],
        windows_of: Callable[[Parts], Parts] = list,
        limits: OutlierLimits | None = None,
        bases: tuple[Basis, ...] = (),
    ) -> None:
        self._parts, self._windows_of, self.limits = list(parts), windows_of, limits
        self.bases = bases
        self.is_whole = True
        """False if outliers were taken out."""
        self._without: dict[float, Samples] = {}

    def __iter__(self) -> Iterator[npt.NDArray[Any]]:
        return iter(self.windows)

    def __len__(self) -> int:
        return len(self.windows)

    def without_outliers(self, share: float) -> Samples:
        """The same windows without the outliers that exceed this share of the range."""
        if share not in self._without:
            scale = self.range if self._windows_of is list else None
            parts, limits = without_outliers(self._parts, share, scale)
            without = Samples(parts, self._windows_of, limits, self.bases)
            without.is_whole = parts is self._parts
            if without.is_whole and scale is not None:
                without.range = scale
            self._without[share] = without
        return self._without[share]

    @cached_property
    def windows(self) -> Parts:
        """The windows."""
        return self._windows_of(self._parts)

    @cached_property
    def is_constant(self) -> bool:
        """True if all that is known is one value, which is 0 in the units of the samples."""
        if not self.bases:
            return False
        return not any((w[np.isfinite(w)] != 0).any() for w in self.windows)

    def told(self, noise: NoiseModel) -> NoiseModel:
        """A noise model in units of the image in those of the samples."""
        return self.bases[0].told(noise) if self.bases else noise

    @cached_property
    def mean(self) -> float:
        """Mean of what is known; 0 if nothing is."""
        values = [w[np.isfinite(w)] for w in self.windows]
        count = sum(map(len, values))
        return float(sum(v.sum(dtype=np.float64) for v in values) / count) if count else 0.0

    @cached_property
    def range(self) -> IntensityRange:
        """Robust range of their values."""
        return measure_range(self.windows)

    @cached_property
    def dark(self) -> float:
        """Level of their darkest places."""
        return dark_level(self.windows)

    @cached_property
    def noise(self) -> NoiseModel:
        """Noise model fitted to them."""
        return fit_noise(self.windows)


class Repairs:
    """Thread-safe count of repaired pixels."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        """Add to the count."""
        with self._lock:
            self.count += count

    def __str__(self) -> str:
        return repaired_words(self.count)


def repaired_words(count: int) -> str:
    """A count of repaired pixels as text."""
    return f"repaired {count} {'pixel' if count == 1 else 'pixels'}"


class RepairedPlane:
    """Reads a plane without its outliers; `count` receives each repair once, when it is final."""

    def __init__(
        self,
        read: ReadWindow,
        shape: tuple[int, int],
        limits: OutlierLimits,
        count: Callable[[int], None],
    ) -> None:
        self._read, self._shape, self._limits, self._count = read, shape, limits, count
        self._waiting: set[tuple[int, int]] = set()
        self._counted: set[tuple[int, int]] = set()
        # Bands are read in one thread and written in another.
        self._lock = threading.Lock()

    def read(self, rows: slice, columns: slice) -> npt.NDArray[Any]:
        """Read a window; its repairs do not depend on which window they are read in."""
        wide = [
            slice(max(0, part.start - REACH), min(side, part.stop + REACH))
            for part, side in zip((rows, columns), self._shape, strict=True)
        ]
        inner = [
            slice(part.start - w.start, part.stop - w.start)
            for part, w in zip((rows, columns), wide, strict=True)
        ]
        values = self._read(wide[0], wide[1])
        found = find_outliers(values, self._limits).within(inner[0], inner[1])
        if len(found):
            self._note(found.rows + rows.start, found.columns + columns.start)
        return found.repaired(values[inner[0], inner[1]])

    def counting(self, write: WriteWindow, scale: int = 1) -> WriteWindow:
        """Wrap `write`, for a result `scale` times larger, so that written repairs are counted."""

        def write_and_count(rows: slice, columns: slice, values: npt.NDArray[Any]) -> None:
            write(rows, columns, values)
            self._count_within(rows, columns, scale)

        return write_and_count

    def _note(self, rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp]) -> None:
        with self._lock:
            places = zip(rows.tolist(), columns.tolist(), strict=True)
            self._waiting.update(set(places) - self._counted)

    def _count_within(self, rows: slice, columns: slice, scale: int) -> None:
        with self._lock:
            written = {
                (y, x)
                for y, x in self._waiting
                if rows.start <= scale * y < rows.stop and columns.start <= scale * x < columns.stop
            }
            self._waiting -= written
            self._counted |= written
        if written:
            self._count(len(written))


def guarded(settings: ChannelSettings, samples: Samples) -> ChannelSettings:
    """Settings that do not believe noise that the samples cannot hold, as in another unit."""
    model, strength, span = settings.noise, settings.strength, samples.range.span
    if model is None or (samples.is_constant and samples.is_whole):
        return settings
    most = MOST_NOISE * span
    strongest = strength * max(model.std(samples.range.high), settings.noise_level)
    if strongest <= most:
        return settings
    # Beyond this, the result is flat to six digits, and squares might overflow.
    ratio = min(1.0, _MOST_TOLD * most / strongest)
    return replace(
        settings,
        noise=model.times(ratio),
        noise_level=ratio * settings.noise_level,
        most_noise=most,
        flat=(samples.mean,),
    )


def doubtful_noise_words(settings: ChannelSettings, samples: Samples) -> str:
    """Warning if the noise at the mean exceeds the range of the image; else empty."""
    if not settings.flat or settings.noise is None or samples.is_constant:
        return ""
    if settings.strength * settings.noise.std(samples.mean) <= samples.range.span:
        return ""
    unit = samples.bases[0].unit if samples.bases else 1.0
    return (
        "the noise, times its strength, exceeds the range of the image, "
        f"{unit * samples.range.span:.3g}, and leaves nothing to see; is it in units of the image?"
    )


def rounding_words(dtype: np.dtype[Any], settings: ChannelSettings, samples: Samples) -> str:
    """Warning if rounding to a dtype loses photons of a channel; else empty."""
    noise = settings.noise
    if dtype.kind not in "iu" or noise is None or samples.is_constant:
        return ""
    if noise.gain < _LEAST_GAIN or noise.read_noise > 0:
        return ""
    dark = noise.offset + noise.gain / 2
    shares = [float(np.mean(window <= dark)) for window in samples if window.size]
    if not shares or float(np.mean(shares)) <= _LEAST_SHARE_WITHOUT:
        return ""
    return (
        "many pixels hold less than a photon, and integers as fine as these round it away; "
        "dtype='float32' keeps it"
    )


def by_range(samples: Samples, _channel: int) -> ChannelSettings:
    """Settings with the intensity range measured in the samples of a channel."""
    return ChannelSettings(samples.range)


def as_coded(_samples: Samples, _channel: int) -> ChannelSettings:
    """Settings with the range 0 to 255: quantisation steps of JPEG are in gray levels."""
    return ChannelSettings(IntensityRange(0, 255))
