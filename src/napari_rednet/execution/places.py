"""Where the values of arrays lie, so that none is written while it is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_rednet.execution.job import is_dask
from napari_rednet.execution.mapped import MappedImage, addresses, whole_map

# Arrays that a lazy one is made of: blocks of more are looked at no longer.
_MOST_LOOKED_AT = 10_000


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
    """What names the place of a chunked array: a folder, or a store and a path; None if unknown."""
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
