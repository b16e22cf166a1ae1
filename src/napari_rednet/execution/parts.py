"""The parts of a job, restored one after another, side by side, or when dask asks for them.

A part is some rows of all planes that share chunks of the result::

    planes  ┌────────┬────────┐
    0, 1    │ part 0          │  rows that are kept; a margin above and below is read
            ├ ─ ─ ─ ─│─ ─ ─ ─ ┤  and restored with them, and thrown away
            │ part 1          │
            ├────────┼────────┤
    2, 3    │ part 2          │

No two parts write to the same chunk.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_rednet.engine.images import PlaneLayout
from napari_rednet.engine.planes import Strip, cut_into_strips, whole
from napari_rednet.execution.job import (
    Job,
    PlaneKeys,
    as_samples,
    plane_keys,
    plane_of,
    sampled_windows,
)

if TYPE_CHECKING:
    from napari_rednet.engine.planes import ChannelSettings

# Least rows of a segment per row of its margin, and the pixels of a part above which it is split:
# they are held until the chunks that they share are full.
_ROWS_PER_MARGIN = 16
_LEAST_PIXELS = 2**26


@dataclass(frozen=True)
class Part:
    """Rows of some planes; `rows` are counted in the result."""

    planes: tuple[PlaneKeys, ...]
    rows: Strip


def parts_of(job: Job, chunks: Sequence[int] | None) -> Iterator[Part]:
    """The parts of a job for the chunks of the result; whole planes if these are None."""
    if chunks is None and len(job.devices) > 1:
        chunks = [1] * len(job.shape)
    if chunks is None:
        height = job.layout.enlarged(job.scale).plane_shape[0]
        everything = slice(0, height)
        yield from (Part((keys,), Strip(everything, everything)) for keys in plane_keys(job))
        return
    sizes = enumerate(zip(chunks, job.shape, strict=True))
    y, x = job.layout.spatial_axes
    depth = math.prod(min(c, n) for a, (c, n) in sizes if a not in (y, x))
    segments = row_segments(job, chunks[y], depth)
    for _, group in groupby(_by_chunk(job, chunks), key=lambda entry: entry[0]):
        planes = tuple(keys for _, keys in group)
        yield from (Part(planes, rows) for rows in segments)


def row_segments(job: Job, chunk: int = 1, depth: int = 1) -> list[Strip]:
    """Cut the rows of the result into segments.

    Segments end where chunks of `chunk` rows end; `depth` is how many planes share a chunk.
    """
    height, width = job.layout.enlarged(job.scale).plane_shape
    restorer = job.make_restorer()
    if restorer.row_margin is None or not height or not width:
        return [whole(height)]
    margin, step = restorer.row_margin, chunk * (1 + chunk % 2)  # even, for all strides
    # Enough segments for all devices, and small enough to be held.
    rows = -(-height // max(1, len(job.devices)))
    rows = max(_ROWS_PER_MARGIN * margin, min(rows, -(-_LEAST_PIXELS // (width * depth))))
    return cut_into_strips(height, -(-rows // step) * step, margin, stride=2)


def source_rows(job: Job, rows: Strip) -> slice:
    """Rows of the source that a segment of the result depends on."""
    from napari_rednet.engine.outliers import REACH as OUTLIERS_REACH
    from napari_rednet.engine.resampling import REACH

    margin = 0 if job.scale == 1 else REACH
    # Stays even: rows for a network of stride 2 have to begin at even rows.
    margin += 0 if job.outlier_share is None else OUTLIERS_REACH
    height = job.layout.plane_shape[0]
    start = max(0, rows.read.start // job.scale - margin)
    return slice(start, min(height, -(-rows.read.stop // job.scale) + margin))


def _by_chunk(job: Job, chunks: Sequence[int]) -> list[tuple[tuple[int, ...], PlaneKeys]]:
    numbered = [(_chunk_of(keys, chunks), keys) for keys in plane_keys(job)]
    return sorted(numbered, key=lambda entry: entry[0])


def _chunk_of(keys: PlaneKeys, chunks: Sequence[int]) -> tuple[int, ...]:
    index: tuple[Any, ...] = keys[0].index
    return tuple(
        0 if isinstance(i, slice) else i // size for i, size in zip(index, chunks, strict=True)
    )


def restored_lazily(job: Job, array: Any, mask: Any, chunks: Sequence[int] | None = None) -> Any:
    """A dask array whose blocks are segments of the restored planes.

    `chunks` are those of the array that the result will be stored in. Then no two blocks share a
    chunk, and the settings are measured once, now, rather than for each block.
    """
    import dask
    import dask.array as da

    # A node of the graph of its own is sent to each worker once, not with each block.
    shared = dask.delayed(job, traverse=False)
    settings = _lazy_settings(shared, job, array, mask)
    if chunks is not None:
        (settings,) = dask.compute(settings)
    sources = [array] if mask is None else [array, da.asarray(mask)]
    y, x = job.layout.spatial_axes
    segments = [
        _restored_segment(job, shared, settings, sources, rows)
        for rows in row_segments(job, 1 if chunks is None else chunks[y])
    ]
    restored = da.concatenate(segments, axis=y)
    if chunks is None:
        return restored
    return restored.rechunk({a: n for a, n in enumerate(chunks) if a not in (y, x)})


def _lazy_settings(shared: Any, job: Job, array: Any, mask: Any) -> Any:
    import dask

    measured = dask.delayed(_measured)
    return [
        measured(
            shared,
            [array[i] for i in indices],
            [] if mask is None else [mask[i] for i in indices],
            c,
        )
        for c, indices in enumerate(sampled_windows(job))
    ]


def _measured(
    job: Job, parts: Sequence[Any], covers: Sequence[Any], channel: int
) -> ChannelSettings:
    return job.settings(as_samples(parts, covers, is_color=job.is_by_luminance), channel)


def _restored_segment(
    job: Job, shared: Any, settings: Any, sources: Sequence[Any], rows: Strip
) -> Any:
    import dask.array as da

    y, x = job.layout.spatial_axes
    whole = {y, x} | ({job.layout.channel} if job.color else set())
    chunks = {a: -1 if a in whole else 1 for a in range(len(job.layout.shape))}
    read = tuple(
        source_rows(job, rows) if a == y else slice(None) for a in range(len(job.layout.shape))
    )
    parts = [source[read].rechunk(chunks) for source in sources]
    sizes = {y: (rows.kept,), x: (job.scale * job.layout.shape[x],)}
    return da.map_blocks(
        _restore_block,
        *parts,
        job=shared,
        settings=settings,
        rows=rows,
        dtype=job.result_dtype(parts[0]),
        chunks=tuple(sizes.get(a, c) for a, c in enumerate(parts[0].chunks)),
        meta=np.empty((0,) * parts[0].ndim, job.result_dtype(parts[0])),
    )


def _restore_block(
    block: npt.NDArray[Any],
    mask: npt.NDArray[np.bool_] | None = None,
    *,
    job: Job,
    settings: Sequence[ChannelSettings],
    rows: Strip,
    block_info: Any = None,
) -> npt.NDArray[Any]:
    """Restore the planes of one block, which includes the margin of its segment."""
    position = block_info[0]["array-location"]
    axis = job.layout.channel
    part = replace(job, layout=PlaneLayout(block.shape, axis))
    channel = 0 if axis is None or job.color else position[axis][0]
    target = np.empty(part.shape, job.result_dtype(block))
    restorer = job.make_restorer()
    for keys in plane_keys(part):
        for _ in restorer.restore(plane_of(part, keys, block, target, settings[channel:], mask)):
            pass
    first = job.scale * source_rows(job, rows).start
    kept = slice(rows.keep.start - first, rows.keep.stop - first)
    y = job.layout.spatial_axes[0]
    return target[tuple(kept if a == y else slice(None) for a in range(target.ndim))]
