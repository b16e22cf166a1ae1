"""Coarser levels of an image: means of blocks, computed a few chunks at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_rednet.io.ome_zarr.image import Grid, ZarrImage

_LARGEST_TOP = 512
# Small chunks are taken together up to this number of pixels, since each access takes its time.
_PIXELS_AT_ONCE = 2**20
_PIXELS_IN_64_BITS = 2**18


def pyramid(image: ZarrImage, scale: int) -> tuple[list[Grid], list[tuple[int, ...]]]:
    """The levels of a result, and by which factors each is coarser than the one before.

    They are those of the source, or else Y and X are halved until the larger is at most 512.
    """
    grids, steps = [image.enlarged(scale)], list(image.factors)
    factors: list[tuple[int, ...]] = []
    while steps or (not image.factors and max(grids[-1].shape[-2:]) > _LARGEST_TOP):
        wanted = steps.pop(0) if steps else (1,) * (len(image.axes) - 2) + (2, 2)
        # A block is not longer than its axis, so that its mean lies in its middle.
        factors.append(tuple(map(min, wanted, grids[-1].shape)))
        grids.append(grids[-1].coarser(factors[-1]))
    return grids, factors


def write_level(source: Any, target: Any, factors: Sequence[int]) -> None:
    """Fill `target` with the means of blocks of `source`."""
    for tile in _tiles(target.shape, target.shards or target.chunks):
        finer = tuple(slice(s.start * f, s.stop * f) for s, f in zip(tile, factors, strict=True))
        target[tile] = block_means(np.asarray(source[finer]), factors)


def _tiles(shape: Sequence[int], unit: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """Parts of an array that begin and end with what is stored as one."""
    several = max(1, math.isqrt(_PIXELS_AT_ONCE // math.prod(unit)))
    sides = (*unit[:-2], *(several * n for n in unit[-2:]))
    axes = [range(0, n, side) for n, side in zip(shape, sides, strict=True)]
    for starts in product(*axes):
        places = zip(starts, sides, shape, strict=True)
        yield tuple(slice(i, min(i + side, n)) for i, side, n in places)


def block_means(values: npt.NDArray[Any], factors: Sequence[int]) -> npt.NDArray[Any]:
    """Means of blocks of `factors` pixels, integers rounded; the last of an axis may be smaller.

    The result has the dtype of `values`.
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
    """The means of blocks that reach through all planes."""
    starts = [np.arange(0, n, f) for n, f in zip(planes.shape[1:], (rows, columns), strict=True)]
    sides = [np.diff(s, append=n) for s, n in zip(starts, planes.shape[1:], strict=True)]
    if planes.dtype.kind not in "biu":
        wide = np.result_type(planes.dtype, np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            return _sums(planes.astype(wide), starts) / (len(planes) * np.outer(*sides))
    wide = np.dtype(np.int64 if planes.dtype.kind == "i" else np.uint64)
    count = (len(planes) * np.outer(*sides)).astype(wide)
    # Divided before they are summed, so that no sum is too large for 64 bits.
    whole, rest = np.divmod(planes, count.repeat(sides[0], 0).repeat(sides[1], 1))
    return _sums(whole, starts) + (2 * _sums(rest, starts) + count) // (2 * count)


def _sums(planes: npt.NDArray[Any], starts: Sequence[npt.NDArray[Any]]) -> Any:
    return np.add.reduceat(np.add.reduceat(planes.sum(axis=0), starts[0], 0), starts[1], 1)
