"""Sample windows of a channel and what is measured in them; planes read without their outliers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_rednet.engine.channel import IntensityRange, NoiseModel, dark_level, measure_range
from napari_rednet.engine.outliers import REACH, OutlierLimits, find_outliers, without_outliers
from napari_rednet.engine.planes import ChannelSettings, ReadWindow, WriteWindow
from napari_rednet.noise import fit_noise

Parts = Sequence[npt.NDArray[Any]]


class Samples:
    """Sample windows of a channel; each property is measured when it is first needed.

    `parts` are (Y, X), in native byte order, NaN where masked. `windows_of` makes the windows from
    them, such as the luminance of colours. `limits` are those of outliers that were removed.
    """

    def __init__(
        self,
        parts: Iterable[npt.NDArray[Any]],
        windows_of: Callable[[Parts], Parts] = list,
        limits: OutlierLimits | None = None,
    ) -> None:
        self._parts, self._windows_of, self.limits = list(parts), windows_of, limits
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
            without = Samples(parts, self._windows_of, limits)
            if parts is self._parts and scale is not None:
                without.range = scale
            self._without[share] = without
        return self._without[share]

    @cached_property
    def windows(self) -> Parts:
        """The windows."""
        return self._windows_of(self._parts)

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


def by_range(samples: Samples, _channel: int) -> ChannelSettings:
    """Settings with the intensity range measured in the samples of a channel."""
    return ChannelSettings(samples.range)


def as_coded(_samples: Samples, _channel: int) -> ChannelSettings:
    """Settings with the range 0 to 255: quantisation steps of JPEG are in gray levels."""
    return ChannelSettings(IntensityRange(0, 255))
