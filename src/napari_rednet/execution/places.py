"""Where the values of arrays lie: in memory, or in files that are mapped or read in chunks.

The system ends a process that reads a mapped file where it has been cut off since. Reads by
position fail with an error instead, and cost no more. None may be written while it is read.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_rednet.errors import ReadError
from napari_rednet.execution.job import is_dask

# Bytes that are read besides those that are wanted, rather than piece by piece.
_MOST_BETWEEN = 2**16
_PROBED = 1000
# Arrays that a lazy one is made of: blocks of more are looked at no longer.
_MOST_LOOKED_AT = 10_000


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


def share_storage(one: Any, other: Any) -> bool:
    """True if two arrays may have values in the same memory, or in the same bytes of a file.

    Arrays may be of NumPy, mapped files, of zarr or h5py, or lazy ones that read any of these.
    """
    return any(_meet(a, b) for a in _parts(one) for b in _parts(other))


def _parts(array: Any) -> Iterator[Any]:
    """The array, or those that it reads."""
    if isinstance(array, MappedImage):
        array = array.mapped
    inner = getattr(array, "array", None)
    if inner is not None and not isinstance(array, np.ndarray) and not is_dask(array):
        yield from _parts(inner)  # a resumable output
    elif not is_dask(array):
        yield array
    else:
        graph = array.__dask_graph__()
        layers = getattr(graph, "layers", {"": graph}).values()
        for layer in layers:
            # Layers of blocks are large, and read what layers of few entries hold.
            if len(layer) <= _MOST_LOOKED_AT:
                values = (getattr(entry, "value", entry) for entry in layer.values())
                yield from (v for v in values if hasattr(v, "shape") and not is_dask(v))


def _meet(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return bool(np.may_share_memory(one, other)) or _share_bytes(one, other)
    places = _place(one), _place(other)
    return one is other or (None not in places and places[0] == places[1])


def _share_bytes(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> bool:
    """True if two arrays are mapped from overlapping parts of one file."""
    mapped = [_mapped(array) for array in (one, other)]
    if None in mapped:
        return False
    (name, first), (other_name, other_first) = mapped  # type: ignore[misc]
    if not _same_file(name, other_name):
        return False
    return first.start < other_first.stop and other_first.start < first.stop


def _mapped(array: npt.NDArray[Any]) -> tuple[str, range] | None:
    """File and bytes that an array, or a view of it, is mapped from; None if from no file."""
    whole = whole_map(array)
    if whole is None:
        return None
    start, stop = addresses(array)
    first = whole.offset + start - addresses(whole)[0]
    return str(whole.filename), range(first, first + stop - start)


def _same_file(one: str, other: str) -> bool:
    try:
        return Path(one).samefile(other)
    except OSError:  # one has been deleted since
        return one == other


def _local_path(store: Any) -> str | None:
    """The folder of a store of fsspec on this machine, by which dask opens zarr arrays."""
    system = getattr(store, "fs", None)
    protocols = getattr(getattr(system, "sync_fs", system), "protocol", ())
    return str(store.path) if "file" in protocols else None


def _place(array: Any) -> tuple[Any, ...] | None:
    """Key of the place of a chunked array: a folder, or a store and a path; None if unknown."""
    store, path = getattr(array, "store", None), getattr(array, "path", "")
    root = getattr(store, "root", None) or _local_path(store)
    if root is not None:
        return ("folder", str(Path(root, str(path)).resolve()))
    if store is not None:
        inside = getattr(store, "_store_dict", None)
        return ("store", str(store) if inside is None else id(inside), str(path))
    file = getattr(array, "file", None)  # of h5py
    name = getattr(file, "filename", None)
    return None if name is None else ("hdf5", str(Path(name).resolve()), array.name)
