"""Planes read without their outliers, and how many of these there were."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_rednet.engine.outliers import REACH, OutlierLimits, find_outliers
from napari_rednet.engine.planes import ReadWindow, WriteWindow


class Repairs:
    """Counts the pixels that are repaired, in whatever thread.

    Attributes
    ----------
    count : int
        How many there were so far.
    """

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        """Count some more."""
        with self._lock:
            self.count += count

    def __str__(self) -> str:
        """How many, in words."""
        return repaired_words(self.count)


def repaired_words(count: int) -> str:
    """How many pixels were repaired, in words."""
    return f"repaired {count} {'pixel' if count == 1 else 'pixels'}"


class RepairedPlane:
    """Reads a plane of a channel without its outliers, and counts those that become final.

    Parameters
    ----------
    read : callable
        Reads the plane.
    shape : (rows, columns)
        Of the plane.
    limits : OutlierLimits
        What its outliers exceed.
    count : callable
        Receives numbers of repaired pixels; no pixel is counted twice.
    """

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
        """A window; it is the same in whatever larger window it is read."""
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
        """Write the result, `scale` times larger, and count what was repaired for it."""

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
