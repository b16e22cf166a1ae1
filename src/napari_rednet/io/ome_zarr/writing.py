"""Write OME-Zarr with its pyramid, beside its place, and rename it when it is complete."""

from __future__ import annotations

import math
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any
from zipfile import ZipFile

import numpy as np
import numpy.typing as npt

from napari_rednet.errors import ImageFileError
from napari_rednet.files import beside, claimed, part_of, real_place, refuse_existing
from napari_rednet.io.ome_zarr.conversion import as_zarr_description
from napari_rednet.io.ome_zarr.image import Grid, ZarrImage
from napari_rednet.io.ome_zarr.metadata import ome_attributes, write_metadata, zarr_package
from napari_rednet.io.tiff import TiffImage

_LARGEST_TOP = 512
# Small chunks are processed together up to this number of pixels, since each access is slow.
_PIXELS_AT_ONCE = 2**20
_PIXELS_IN_64_BITS = 2**18


def pyramid(image: ZarrImage, scale: int) -> tuple[list[Grid], list[tuple[int, ...]]]:
    """The levels of a result, and the factors between them.

    The factors are those of the source, or else Y and X are halved down to at most 512.
    """
    grids, steps = [image.enlarged(scale)], list(image.factors)
    factors: list[tuple[int, ...]] = []
    while steps or (not image.factors and max(grids[-1].shape[-2:]) > _LARGEST_TOP):
        wanted = steps.pop(0) if steps else (1,) * (len(image.axes) - 2) + (2, 2)
        # A block must not be longer than its axis, so that its mean lies in its middle.
        factors.append(tuple(map(min, wanted, grids[-1].shape)))
        grids.append(grids[-1].coarser(factors[-1]))
    return grids, factors


def write_level(source: Any, target: Any, factors: Sequence[int]) -> None:
    """Fill `target` with the means of blocks of `source`."""
    for tile in _tiles(target.shape, target.shards or target.chunks):
        finer = tuple(slice(s.start * f, s.stop * f) for s, f in zip(tile, factors, strict=True))
        target[tile] = block_means(np.asarray(source[finer]), factors)


def _tiles(shape: Sequence[int], unit: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    several = max(1, math.isqrt(_PIXELS_AT_ONCE // math.prod(unit)))
    sides = (*unit[:-2], *(several * n for n in unit[-2:]))
    axes = [range(0, n, side) for n, side in zip(shape, sides, strict=True)]
    for starts in product(*axes):
        places = zip(starts, sides, shape, strict=True)
        yield tuple(slice(i, min(i + side, n)) for i, side, n in places)


def block_means(values: npt.NDArray[Any], factors: Sequence[int]) -> npt.NDArray[Any]:
    """Means of blocks of `factors` pixels, in the dtype of `values`, integers rounded.

    The last block of an axis may be smaller.
    """
    shape = [-(-n // f) for n, f in zip(values.shape, factors, strict=True)]
    means = np.empty(shape, values.dtype)
    rows = max(1, _PIXELS_IN_64_BITS // (values.shape[-1] * math.prod(factors[:-1])))
    for *index, row in np.ndindex(*shape[:-2], -(-shape[-2] // rows)):
        spans = zip((*index, row), (*factors[:-2], factors[-2] * rows), strict=True)
        planes = values[tuple(slice(i * n, (i + 1) * n) for i, n in spans)]
        target = means[(*index, slice(row * rows, (row + 1) * rows))]
        target[...] = _means(planes.reshape(-1, *planes.shape[-2:]), *factors[-2:])
    return means


def _means(planes: npt.NDArray[Any], rows: int, columns: int) -> Any:
    starts = [np.arange(0, n, f) for n, f in zip(planes.shape[1:], (rows, columns), strict=True)]
    sides = [np.diff(s, append=n) for s, n in zip(starts, planes.shape[1:], strict=True)]
    if planes.dtype.kind not in "biu":
        wide = np.result_type(planes.dtype, np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            return _sums(planes.astype(wide), starts) / (len(planes) * np.outer(*sides))
    wide = np.dtype(np.int64 if planes.dtype.kind == "i" else np.uint64)
    count = (len(planes) * np.outer(*sides)).astype(wide)
    # Divide before summing, so that no sum overflows 64 bits.
    whole, rest = np.divmod(planes, count.repeat(sides[0], 0).repeat(sides[1], 1))
    return _sums(whole, starts) + (2 * _sums(rest, starts) + count) // (2 * count)


def _sums(planes: npt.NDArray[Any], starts: Sequence[npt.NDArray[Any]]) -> Any:
    return np.add.reduceat(np.add.reduceat(planes.sum(axis=0), starts[0], 0), starts[1], 1)


@contextmanager
def zarr_writer(
    path: Path,
    like: ZarrImage | TiffImage,
    scale: int = 1,
    *,
    keep_unfinished: bool = False,
    overwrite: bool = True,
) -> Iterator[Any]:
    """Give a zarr array to fill, which becomes the OME-Zarr file `path` if there is no error.

    Storage, metadata and shape are those of `like` (`as_zarr_description`), with Y and X `scale`
    times longer. At the end, the pyramid is added and the file renamed from beside `path`, which is
    whole or untouched. With `keep_unfinished`, an interrupted file is continued the next time.
    Unless `overwrite`, what is at `path`, or appears there, stays. Raises `ImageFileError` if it
    cannot be written, and `BusyError` if another job writes it.
    """
    image = as_zarr_description(like)
    grids, factors = pyramid(image, scale)
    target = real_place(path)
    try:
        _check_target(target)
        _rehearse(image, grids)
        with claimed(target):
            if not overwrite:
                refuse_existing(target)
            with _store(part_of(target), keep=keep_unfinished) as store:
                yield _opened(store, image, grids[0])
                _finish(store, image, grids, factors, path.name.partition(".")[0])
                if not overwrite:
                    refuse_existing(target)
                _put_in_place(store.root, target)
    except OSError as error:
        raise ImageFileError(f"{path} cannot be written: {error.strerror or error}") from error


def _check_target(path: Path) -> None:
    if not path.parent.is_dir():
        raise OSError(None, f"there is no folder {path.parent}")
    if path.is_dir() and any(path.iterdir()) and not _is_image(path):
        raise ImageFileError(f"{path} holds something else than one image; choose another name")


def _is_image(path: Path) -> bool:
    zarr = zarr_package()
    try:
        node = zarr.open(store=path, mode="r")
    except (OSError, ValueError, KeyError, TypeError):  # damaged, or no zarr at all
        return False
    return isinstance(node, zarr.Array) or "multiscales" in ome_attributes(node)


@contextmanager
def _store(part: Path, *, keep: bool) -> Iterator[Any]:
    """A folder to write to, removed at the end unless it is to be kept or was renamed."""
    from napari_rednet.io.ome_zarr.store import ClosableStore

    if not keep or part.is_symlink():
        _remove(part)
    store = ClosableStore(part)
    try:
        yield store
    finally:
        store.shut()
        if not keep:
            _remove(part)


def _rehearse(image: ZarrImage, grids: list[Grid]) -> None:
    """Write the metadata to memory, so that invalid ones are noticed before any work."""
    if image.version is None:
        return
    zarr = zarr_package()
    group = zarr.create_group(zarr.storage.MemoryStore(), zarr_format=image.zarr_format)
    try:
        write_metadata(group, image, grids, "rehearsal")
    except (ValueError, TypeError, KeyError) as error:
        raise ImageFileError(f"the metadata are not valid in OME-Zarr: {error}") from error


def _opened(store: Any, image: ZarrImage, grid: Grid) -> Any:
    """The array of a matching unfinished file, or a new one."""
    name = "" if image.version is None else "0"
    array = _unfinished(store, name)
    if array is not None and _stored(array) == _wanted(image, grid):
        return array
    _remove(store.root)
    if image.version is not None:
        zarr_package().create_group(store, zarr_format=image.zarr_format)
    return _create(store, name, image, grid.shape, image.chunks)


def _unfinished(store: Any, name: str) -> Any:
    try:
        return zarr_package().open_array(store=store, path=name, mode="r+")
    except (OSError, ValueError, KeyError, TypeError):  # none, or broken off before it was one
        return None


def _stored(array: Any) -> tuple[Any, ...]:
    return array.shape, array.dtype, array.chunks, array.shards, array.metadata.zarr_format


def _wanted(image: ZarrImage, grid: Grid) -> tuple[Any, ...]:
    return grid.shape, image.dtype, image.chunks, image.shards, image.zarr_format


def _create(
    store: Any, name: str, image: ZarrImage, shape: tuple[int, ...], chunks: tuple[int, ...]
) -> Any:
    return zarr_package().create_array(
        store,
        name=name or None,
        shape=shape,
        dtype=image.dtype,
        chunks=chunks,
        shards=image.shards,
        zarr_format=image.zarr_format,
        overwrite=True,
        **image.storage,
    )


def _finish(
    store: Any, image: ZarrImage, grids: list[Grid], factors: list[tuple[int, ...]], name: str
) -> None:
    if image.version is None:
        return
    group = zarr_package().open_group(store, mode="r+", zarr_format=image.zarr_format)
    _copy_labels(image, store.root)
    for level, (grid, step) in enumerate(zip(grids[1:], factors, strict=True), start=1):
        chunks = image.chunks if image.shards else tuple(map(min, image.chunks, grid.shape))
        target = _create(store, str(level), image, grid.shape, chunks)
        write_level(group[str(level - 1)], target, step)
    write_metadata(group, image, grids, name)


def _copy_labels(image: ZarrImage, target: Path) -> None:
    """Copy the labels of a source, which have places in the world and grids of their own."""
    if not isinstance(image.data, zarr_package().Array):  # of another format
        return
    store = image.data.store
    place = PurePosixPath(image.data.path).parent / "labels"
    if isinstance(store, zarr_package().storage.ZipStore):
        _extract(store.path, place, target / "labels")
    root = getattr(store, "root", None)
    if root is not None and (Path(root) / place).is_dir():
        shutil.copytree(Path(root) / place, target / "labels", dirs_exist_ok=True)


def _extract(path: Path, place: PurePosixPath, target: Path) -> None:
    """Extract a folder of a zip file."""
    with ZipFile(path) as file:
        for name in file.namelist():
            inside = PurePosixPath(name)
            if name.endswith("/") or ".." in inside.parts or not inside.is_relative_to(place):
                continue
            part = target / inside.relative_to(place)
            part.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(file.read(name))


def _put_in_place(part: Path, path: Path) -> None:
    """Replace a folder by another; the old one is removed last."""
    before = beside(path, "old")
    if path.exists():
        part.chmod(stat.S_IMODE(path.stat().st_mode))
        _remove(before)
        path.replace(before)
    try:
        part.replace(path)
    except OSError:
        if before.exists():
            before.replace(path)
        raise
    _remove(before)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
