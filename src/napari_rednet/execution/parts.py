"""The parts of a job, restored one after another, side by side, or when dask asks for them.

A part is some rows of all planes that share chunks of the result::

    planes  ┌────────┬────────┐
    0, 1    │ part 0          │  rows that are kept; a margin above and below is read
            ├ ─ ─ ─ ─│─ ─ ─ ─ ┤  and restored with them, and thrown away
            │ part 1          │
            ├────────┼────────┤
    2, 3    │ part 2          │

No two parts write to the same chunk. Results are written in whole chunks, with a record of the
finished parts, so that they can be resumed.
"""

from __future__ import annotations

import json
import math
import os
import sys
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_rednet.engine.planes import PlaneLayout, Strip, positions, whole
from napari_rednet.execution.job import (
    Job,
    PlaneKeys,
    as_samples,
    keys_at,
    measured_channels,
    plane_keys,
    plane_of,
    sampled_windows,
    volume_of,
)
from napari_rednet.execution.reading import (
    ChunkWriter,
    Window,
    as_window,
    read_checksum,
    written_chunks_of,
)
from napari_rednet.files import replaced

if TYPE_CHECKING:
    from napari_rednet.engine.planes import ChannelSettings

# Least rows of a segment per row of its margin, and the pixels of a part above which it is split:
# they are held until the chunks that they share are full.
_ROWS_PER_MARGIN = 16
_LEAST_PIXELS = 2**26
# Blocks submitted at once to a scheduler in this process, per processor: few enough to report
# progress, enough to keep every processor busy.
_BLOCKS_AT_ONCE = 4
# Scheduler settings under which a dask client computes.
_ON_A_CLUSTER = (None, "distributed", "dask.distributed")
Stored = tuple[int, int]
"""Number of a block, and the checksum of the chunks that it filled."""


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
    for planes in _by_chunk(job, chunks):
        yield from (Part(planes, rows) for rows in row_segments(job, chunks[y], depth))


def row_segments(
    job: Job, chunk: int = 1, depth: int = 1, *, is_whole: bool = False
) -> Iterator[Strip]:
    """Cut the rows of the result into segments, one by one, since there may be any number.

    Segments end where chunks of `chunk` rows end; `depth` is how many planes share a chunk. There
    is one segment if `is_whole`.
    """
    height, width = job.layout.enlarged(job.scale).plane_shape
    restorer = job.make_restorer()
    if is_whole or restorer.row_margin is None or not height or not width:
        yield whole(height)
        return
    margin, step = restorer.row_margin, chunk * (1 + chunk % 2)  # even, for all strides
    # Enough segments for all devices, and small enough to be held.
    rows = -(-height // max(1, len(job.devices)))
    rows = max(_ROWS_PER_MARGIN * margin, min(rows, -(-_LEAST_PIXELS // (width * depth))))
    side = -(-rows // step) * step
    margin += margin % 2
    for start in range(0, height, side):
        stop = min(height, start + side)
        yield Strip(slice(max(0, start - margin), min(height, stop + margin)), slice(start, stop))


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


def _by_chunk(job: Job, chunks: Sequence[int]) -> Iterator[tuple[PlaneKeys, ...]]:
    """The planes that share chunks, chunk after chunk; none are held but those of one chunk."""
    counts = job.layout.plane_counts(is_color=bool(job.color))
    if job.depth is not None:
        counts[job.depth] = 1  # a volume is restored as one, whatever chunks it has
    sizes = [min(size, count) for size, count in zip(chunks, counts, strict=True)]
    for chunk in positions([-(-n // size) for n, size in zip(counts, sizes, strict=True)]):
        first = [i * size for i, size in zip(chunk, sizes, strict=True)]
        ends = zip(first, sizes, counts, strict=True)
        inside = positions([min(size, n - start) for start, size, n in ends])
        places = ([a + b for a, b in zip(first, inner, strict=True)] for inner in inside)
        yield tuple(keys_at(job, place) for place in places)


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
    sources = [array, *_shifted(job, array)]
    if mask is not None:
        sources.append(da.asarray(mask))
    y, x = job.layout.spatial_axes
    segments = [
        _restored_segment(job, shared, settings, sources, rows)
        # Whether planes go together is judged by the middle of the whole image.
        for rows in row_segments(job, 1 if chunks is None else chunks[y], is_whole=job.is_fused)
    ]
    restored = da.concatenate(segments, axis=y)
    # Concatenated arrays have the machine's byte order.
    restored = restored.astype(job.result_dtype(array))
    if chunks is None:
        return restored
    return restored.rechunk({a: n for a, n in enumerate(chunks) if a not in (y, x)})


def _shifted(job: Job, array: Any) -> list[Any]:
    """The array with its planes moved, so that neighbours stand where a plane stands."""
    import dask.array as da

    if job.along is None:
        return []
    length = job.layout.shape[job.along]
    places = (np.clip(np.arange(length) + offset, 0, length - 1) for offset in job.offsets)
    return [da.take(array, place, job.along) for place in places]


def _lazy_settings(shared: Any, job: Job, array: Any, mask: Any) -> Any:
    import dask

    measured = dask.delayed(_measured)
    windows = (sampled_windows(job, c) for c in range(measured_channels(job)))
    return [
        measured(
            shared,
            [array[i] for i in indices],
            [] if mask is None else [mask[i] for i in indices],
            c,
        )
        for c, indices in enumerate(windows)
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
    whole = {y, x, job.depth} | ({job.layout.channel} if job.color else set())
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
    *others: npt.NDArray[Any],
    job: Job,
    settings: Sequence[ChannelSettings],
    rows: Strip,
    block_info: Any = None,
) -> npt.NDArray[Any]:
    """Restore the planes of one block, which includes the margin of its segment.

    `others` are its neighbours, and the mask if there is one.
    """
    beside, rest = others[: len(job.offsets)], others[len(job.offsets) :]
    mask = rest[0] if rest else None
    position = block_info[0]["array-location"]
    if job.is_fused and job.along is not None:
        here, length = position[job.along][0], job.layout.shape[job.along]
        inside = (0 <= here + offset < length for offset in job.offsets)
        beside = tuple(one for one, is_there in zip(beside, inside, strict=True) if is_there)
    axis = job.layout.channel
    part = replace(job, layout=PlaneLayout(block.shape, axis))
    channel = 0 if axis is None or job.color else position[axis][0]
    target = np.empty(part.shape, job.result_dtype(block))
    restorer = job.make_restorer()
    for keys in plane_keys(part):
        plane = (
            plane_of(part, keys, block, target, settings[channel:], mask, beside=beside)
            if job.depth is None
            else volume_of(part, keys, block, target, settings[channel:])
        )
        for _ in restorer.restore(plane):
            pass
    first = job.scale * source_rows(job, rows).start
    kept = slice(rows.keep.start - first, rows.keep.stop - first)
    y = job.layout.spatial_axes[0]
    return target[tuple(kept if a == y else slice(None) for a in range(target.ndim))]


@dataclass(frozen=True)
class ResumableOutput:
    """An array as `out` that an interrupted restoration can be continued in.

    Parameters
    ----------
    array : array
        With chunks, such as a zarr array; still there when the restoration is run again.
    record : Path
        A file that says which parts are finished. It belongs to one restoration.
    identity : str
        What the restoration is; a record of another one is not continued.
    """

    array: Any
    record: Path
    identity: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return tuple(self.array.shape)

    @property
    def dtype(self) -> Any:
        """Dtype of the array."""
        return self.array.dtype

    def __setitem__(self, index: Any, values: Any) -> None:
        """Write to the array."""
        self.array[index] = values


@dataclass(frozen=True)
class Output:
    """Destination of the parts of a job; `record` has those that an earlier run finished."""

    job: Job
    array: Any
    record: Record | None = None

    @property
    def chunks(self) -> tuple[int, ...] | None:
        """Shape of the array's units of writing; None if it is not chunked."""
        return written_chunks_of(self.array)

    def target(self) -> Any:
        """An object to write the windows of a part to; it can be reused for the next part."""
        return self.array if self.chunks is None else ChunkWriter(self.array)

    def has(self, number: int, part: Part) -> bool:
        """True if a part was finished before and has not changed since."""
        if self.record is None or number not in self.record.finished:
            return False
        windows = [window for keys in part.planes for window in self._windows(keys, part)]
        return read_checksum(self.array, windows) == self.record.finished[number]

    def finish(self, number: int, target: Any) -> None:
        """Write the rest of a part, and record it."""
        if not isinstance(target, ChunkWriter):
            return
        checksum = target.flush()
        if self.record is not None:
            self.record.add(number, checksum)

    def _windows(self, keys: Any, part: Part) -> list[Window]:
        columns = slice(0, self.job.layout.enlarged(self.job.scale).plane_shape[1])
        return [
            as_window(key.window(part.rows.keep, columns), tuple(self.array.shape)) for key in keys
        ]


class Record:
    """A file with a line for each finished part, which survives a killed process.

    `finished` maps part numbers to checksums. Truncated lines are dropped. `identity` is the first
    line; a file of another identity is started anew.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self.finished: dict[int, int] = {}
        lines = path.read_text().splitlines() if path.exists() else []
        if lines[:1] == [json.dumps(identity)]:
            self.finished = dict(_entries(lines[1:]))
        self._begin(identity)

    def add(self, number: int, checksum: int) -> None:
        """Record a part."""
        with self._lock:
            self._append(number, checksum)

    def _append(self, number: int, checksum: int) -> None:
        self.finished[number] = checksum
        with self._path.open("a") as file:
            file.write(json.dumps([number, checksum]) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _begin(self, identity: str) -> None:
        """Rewrite the file without truncated lines, atomically."""
        entries = [json.dumps(entry) for entry in self.finished.items()]
        with replaced(self._path) as beside:
            beside.write_text("\n".join([json.dumps(identity), *entries]) + "\n")


def _entries(lines: list[str]) -> list[tuple[int, int]]:
    found = []
    for line in lines:
        try:
            number, checksum = json.loads(line)
        except (ValueError, TypeError):
            break
        found.append((number, checksum))
    return found


def output_for(job: Job, out: Any) -> Output:
    """An output for the array that the user gave, or for a new one."""
    if not isinstance(out, ResumableOutput):
        return Output(job, out)
    # Parts depend on the number of devices; all have the height of the first.
    chunks = written_chunks_of(out.array)
    first = next((part.rows.keep.stop for part in parts_of(job, chunks)), 0)
    identity = f"{out.identity} {zlib.crc32(repr((job.shape, chunks, first)).encode())}"
    return Output(job, out.array, Record(out.record, identity))


def store_steps(lazy: Any, out: Any) -> Iterator[int]:
    """Compute a dask array into a chunked array, yielding the number of pixels stored.

    No two blocks of `lazy` may share a chunk of `out`. Blocks that a `ResumableOutput` has already
    are not computed again.
    """
    from dask.array.core import slices_from_chunks

    windows: list[Window] = slices_from_chunks(lazy.chunks)
    target = out.array if isinstance(out, ResumableOutput) else out
    record = _record(lazy, out)
    missing = [n for n, window in enumerate(windows) if not _is_there(record, n, window, target)]
    sizes = [math.prod(s.stop - s.start for s in window) for window in windows]
    done = sum(sizes) - sum(sizes[n] for n in missing)
    yield done
    for number, checksum in _computed(_tasks(lazy, target, windows, missing)):
        if record is not None:
            record.add(number, checksum)
        done += sizes[number]
        yield done


def _record(lazy: Any, out: Any) -> Record | None:
    if not isinstance(out, ResumableOutput):
        return None
    # A record is only valid for the same blocks.
    return Record(out.record, f"{out.identity} {zlib.crc32(repr(lazy.chunks).encode())}")


def _is_there(record: Record | None, number: int, window: Window, target: Any) -> bool:
    if record is None or number not in record.finished:
        return False
    return read_checksum(target, [window]) == record.finished[number]


def _tasks(lazy: Any, target: Any, windows: list[Window], numbers: list[int]) -> dict[int, Any]:
    import dask

    blocks = lazy.to_delayed().ravel()
    store = dask.delayed(_store, pure=False)
    shared = dask.delayed(target, traverse=False, pure=False)
    return {n: store(n, blocks[n], shared, windows[n]) for n in numbers}


def _store(number: int, block: npt.NDArray[Any], target: Any, window: Window) -> Stored:
    writer = ChunkWriter(target)
    writer[window] = block
    return number, writer.flush()


def _computed(tasks: Mapping[int, Any]) -> Iterator[Stored]:
    client = _client()
    waiting = list(tasks.values())
    if client is not None:
        with _futures(client, waiting) as futures:
            yield from _as_they_come(futures)
        return
    import dask

    size = _BLOCKS_AT_ONCE * (os.cpu_count() or 1)
    for start in range(0, len(waiting), size):
        yield from dask.compute(*waiting[start : start + size])


def _as_they_come(futures: list[Any]) -> Iterator[Stored]:
    from distributed import as_completed

    for _, stored in as_completed(futures, with_results=True):
        yield stored


@contextmanager
def _futures(client: Any, tasks: list[Any]) -> Iterator[list[Any]]:
    """Submit tasks to a cluster; cancel them when the caller stops waiting."""
    futures = client.compute(tasks)
    try:
        yield futures
    finally:
        client.cancel(futures)


def _client() -> Any:
    """The client of the cluster that dask computes on; None if it computes in this process."""
    import dask

    distributed = sys.modules.get("distributed")
    if distributed is None or dask.config.get("scheduler", None) not in _ON_A_CLUSTER:
        return None
    try:
        return distributed.default_client()
    except ValueError:
        return None
