"""Reads arrays that are mapped from files, without the map.

The system ends a process that reads a mapped file where it has been cut off since. Reads by
position fail with an error instead, and cost no more.
"""

from __future__ import annotations

import os
import weakref
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_rednet.errors import ReadError

# Bytes that are read besides those that are wanted, rather than piece by piece.
_MOST_BETWEEN = 2**16
_PROBED = 1000


def addresses(array: npt.NDArray[Any]) -> tuple[int, int]:
    """The first byte of an array in memory, and the one after its last."""
    first: int = array.__array_interface__["data"][0]
    steps = [(n - 1) * step for n, step in zip(array.shape, array.strides, strict=True)]
    last = first + sum(step for step in steps if step > 0)
    return first + sum(step for step in steps if step < 0), last + array.itemsize


def whole_map(array: Any) -> np.memmap[Any, Any] | None:
    """The map that an array is a view of; None if it is mapped from no file."""
    while array is not None:
        # A view has the file's name, but not its own place in it.
        is_whole = isinstance(array, np.memmap) and not isinstance(array.base, np.ndarray)
        if is_whole and array.filename is not None:
            return array  # type: ignore[no-any-return]
        array = getattr(array, "base", None)
    return None


class MappedImage:
    """Read access to an array, or a view of it, that is mapped from a file."""

    def __init__(self, mapped: npt.NDArray[Any], name: str, offset: int) -> None:
        self.mapped, self.name = mapped, name
        self.shape, self.dtype, self.ndim = mapped.shape, mapped.dtype, mapped.ndim
        self._first = addresses(mapped)[0]
        self._offset = offset
        self._file = os.open(name, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self._file)

    def __getitem__(self, index: Any) -> npt.NDArray[Any]:
        """A window; raises `ReadError` if it is not in the file any more."""
        parts = index if isinstance(index, tuple) else (index,)
        # With an ellipsis, what has no axes left is still a view and no number.
        wanted = np.asarray(self.mapped[parts if Ellipsis in parts else (*parts, ...)])
        found = np.empty(wanted.shape, self.dtype)
        self._read(wanted, found)
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self[...], dtype)

    def check(self) -> None:
        """Raise `ReadError` if the file is shorter than the array."""
        start, stop = addresses(self.mapped)
        if self.mapped.size and self._place(stop) > os.fstat(self._file).st_size:
            raise self._cut_off(os.fstat(self._file).st_size - self._place(start))

    def is_current(self) -> bool:
        """True if the file is still the one that was mapped, judged by both ends."""
        self.check()
        lines = self.mapped.reshape(-1) if self.mapped.flags.c_contiguous else self.mapped
        for part in (slice(None, _PROBED), slice(-_PROBED, None)):
            index = (part, *(0,) * (lines.ndim - 1))
            found = np.empty(lines[index].shape, self.dtype)
            self._read(lines[index], found)
            if found.tobytes() != lines[index].tobytes():
                return False
        return True

    def _place(self, address: int) -> int:
        return self._offset + address - self._first

    def _read(self, wanted: npt.NDArray[Any], found: npt.NDArray[Any]) -> None:
        if not wanted.size:
            return
        start, stop = addresses(wanted)
        if stop - start <= 2 * wanted.nbytes + _MOST_BETWEEN or not wanted.ndim:
            found[...] = self._values(wanted, start, stop)
            return
        # The axis whose steps are widest, so that what is near is read at once.
        axis = int(np.argmax(np.abs(wanted.strides)))
        for i in range(wanted.shape[axis]):
            here: tuple[Any, ...] = (*(slice(None),) * axis, i, ...)
            self._read(wanted[here], found[here])

    def _values(self, wanted: npt.NDArray[Any], start: int, stop: int) -> npt.NDArray[Any]:
        content = bytearray(stop - start)
        done = 0
        while done < len(content):
            piece = os.pread(self._file, len(content) - done, self._place(start) + done)
            if not piece:
                raise self._cut_off(self._place(start) + done)
            content[done : done + len(piece)] = piece
            done += len(piece)
        first = wanted.__array_interface__["data"][0] - start
        return np.ndarray(wanted.shape, self.dtype, content, first, wanted.strides)

    def _cut_off(self, place: int) -> ReadError:
        return ReadError(
            f"{self.name} has been cut off while it was read: byte {place} and what follows are "
            "missing"
        )


def without_map(array: npt.NDArray[Any]) -> Any:
    """The array, or the same values read from the file that it is mapped from.

    Maps that have changes of their own are left as they are, and so are those of files that have
    been removed or replaced since.
    """
    whole = whole_map(array)
    if (
        whole is None
        or whole.mode not in ("r", "r+", "w+")
        or not array.size
        or not hasattr(os, "pread")
    ):
        return array
    offset = whole.offset + addresses(array)[0] - addresses(whole)[0]
    try:
        found = MappedImage(array, str(whole.filename), offset)
    except OSError:
        return array
    return found if found.is_current() else array
