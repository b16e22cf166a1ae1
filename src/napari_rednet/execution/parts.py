"""The parts of a job that are restored one after another, or side by side: geometry only.

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
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from napari_rednet.engine.tiling import Strip, cut_into_strips, whole
from napari_rednet.execution.job import Job, PlaneKeys, plane_keys

# A segment keeps at least so many rows for each row of its margin, and so many pixels of all planes
# of a part together: more would be held until the chunks that they share are full.
_ROWS_PER_MARGIN = 16
_LEAST_PIXELS = 2**26


@dataclass(frozen=True)
class Part:
    """Rows of some planes.

    Parameters
    ----------
    planes : tuple of PlaneKeys
        Which planes.
    rows : Strip
        Their rows, counted in the result.
    """

    planes: tuple[PlaneKeys, ...]
    rows: Strip


def parts_of(job: Job, chunks: Sequence[int] | None) -> Iterator[Part]:
    """The parts of a job, given the chunks of the result; whole planes if it has none."""
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
    """The rows of the result in segments.

    Parameters
    ----------
    chunk : int
        Rows of a chunk; segments end where chunks end.
    depth : int
        How many planes share a chunk.
    """
    height, width = job.layout.enlarged(job.scale).plane_shape
    restorer = job.make_restorer()
    if restorer.row_margin is None or not height or not width:
        return [whole(height)]
    margin, step = restorer.row_margin, chunk * (1 + chunk % 2)  # even, for all strides
    # As few as leave no device without work, as many as can be held.
    rows = -(-height // max(1, len(job.devices)))
    rows = max(_ROWS_PER_MARGIN * margin, min(rows, -(-_LEAST_PIXELS // (width * depth))))
    return cut_into_strips(height, -(-rows // step) * step, margin, stride=2)


def source_rows(job: Job, rows: Strip) -> slice:
    """Rows of the source that a segment of the result is made of."""
    from napari_rednet.engine.enlargement import REACH
    from napari_rednet.engine.outliers import REACH as OUTLIERS_REACH

    margin = 0 if job.scale == 1 else REACH
    # Even, as rows of a network of stride 2 have to begin.
    margin += 0 if job.outlier_share is None else OUTLIERS_REACH
    height = job.layout.plane_shape[0]
    start = max(0, rows.read.start // job.scale - margin)
    return slice(start, min(height, -(-rows.read.stop // job.scale) + margin))


def _by_chunk(job: Job, chunks: Sequence[int]) -> list[tuple[tuple[int, ...], PlaneKeys]]:
    """The planes, sorted by the chunks that they lie in."""
    numbered = [(_chunk_of(keys, chunks), keys) for keys in plane_keys(job)]
    return sorted(numbered, key=lambda entry: entry[0])


def _chunk_of(keys: PlaneKeys, chunks: Sequence[int]) -> tuple[int, ...]:
    index: tuple[Any, ...] = keys[0].index
    return tuple(
        0 if isinstance(i, slice) else i // size for i, size in zip(index, chunks, strict=True)
    )
