"""A dask array's planes as the blocks of a new one, under settings that are lazy as well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_rednet.engine.images import PlaneLayout
from napari_rednet.execution.job import (
    Job,
    as_samples,
    plane_keys,
    plane_of,
    sampled_windows,
)
from napari_rednet.execution.parts import row_segments, source_rows

if TYPE_CHECKING:
    from napari_rednet.engine.planes import ChannelSettings
    from napari_rednet.engine.tiling import Strip


def restored_lazily(job: Job, array: Any, mask: Any, chunks: Sequence[int] | None = None) -> Any:
    """A dask array whose blocks are segments of the restored planes.

    With `chunks`, those of an array that the result is about to go into, no two blocks share one,
    and the settings are measured at once, lest this be done for each of the blocks.
    """
    import dask
    import dask.array as da

    # Of their own in the graph: they travel to each worker once, not with each block.
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
    """Some rows of all planes: a block for each plane."""
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
    """Restore the planes of one block, which brings the margin of its segment."""
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
