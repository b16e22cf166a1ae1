"""Where results go: into an array, chunk by chunk, with a record of what is finished.

Lazy results are stored block by block, on whatever computes dask's graphs.
"""

from __future__ import annotations

import json
import math
import os
import sys
import threading
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_rednet.execution.chunks import (
    ChunkWriter,
    Window,
    as_window,
    read_checksum,
    written_chunks_of,
)
from napari_rednet.execution.job import Job
from napari_rednet.execution.parts import Part, parts_of

if TYPE_CHECKING:
    from napari_rednet.engine.planes import ChannelSettings
    from napari_rednet.execution.samples import Samples

# Blocks that a scheduler of this process is given at once, per processor: few enough to see them
# come in, enough to leave no processor without work.
_BLOCKS_AT_ONCE = 4
# What dask is told where a client decides.
_ON_A_CLUSTER = (None, "distributed", "dask.distributed")
Stored = tuple[int, int]
"""Number of a block, and the checksum of the chunks that it filled."""
# What is lost are photons if one is about a step, nothing else is noise, and many pixels hold none.
_LEAST_GAIN = 0.75
_LEAST_SHARE_WITHOUT = 0.3


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
        """Of the array."""
        return tuple(self.array.shape)

    @property
    def dtype(self) -> Any:
        """Of the array."""
        return self.array.dtype

    def __setitem__(self, index: Any, values: Any) -> None:
        """Write to the array."""
        self.array[index] = values


@dataclass(frozen=True)
class Output:
    """Where the parts of a job go, and which of them are finished.

    Parameters
    ----------
    job : Job
        The job.
    array : array
        What they go into.
    record : Record, optional
        What was finished before.
    """

    job: Job
    array: Any
    record: Record | None = None

    @property
    def chunks(self) -> tuple[int, ...] | None:
        """Of the array."""
        return written_chunks_of(self.array)

    def target(self) -> Any:
        """What the windows of a part are written to; it may be used for one part after another."""
        return self.array if self.chunks is None else ChunkWriter(self.array)

    def has(self, number: int, part: Part) -> bool:
        """Whether a part was finished before, and is still what it was then."""
        if self.record is None or number not in self.record.finished:
            return False
        windows = [window for keys in part.planes for window in self._windows(keys, part)]
        return read_checksum(self.array, windows) == self.record.finished[number]

    def finish(self, number: int, target: Any) -> None:
        """Write what is left of a part, and take note of it."""
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

    Parameters
    ----------
    path : Path
        The file; lines that are cut off are not counted.
    identity : str
        The first line; a file of another identity is begun anew.
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
        """Take note of a part."""
        with self._lock:
            self._append(number, checksum)

    def _append(self, number: int, checksum: int) -> None:
        self.finished[number] = checksum
        with self._path.open("a") as file:
            file.write(json.dumps([number, checksum]) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _begin(self, identity: str) -> None:
        """Write the file without what was cut off, in one go."""
        entries = [json.dumps(entry) for entry in self.finished.items()]
        beside = self._path.with_name(self._path.name + ".part")
        beside.write_text("\n".join([json.dumps(identity), *entries]) + "\n")
        beside.replace(self._path)


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
    """An output for what the user gave, or for a new array."""
    if not isinstance(out, ResumableOutput):
        return Output(job, out)
    # Another number of devices makes other parts.
    cut = [part.rows.keep.stop for part in parts_of(job, written_chunks_of(out.array))]
    identity = f"{out.identity} {zlib.crc32(repr(cut).encode())}"
    return Output(job, out.array, Record(out.record, identity))


def store_steps(lazy: Any, out: Any) -> Iterator[int]:
    """Compute a dask array into an array, yielding how many pixels are there.

    Parameters
    ----------
    lazy : dask array
        No two of its blocks share a chunk of `out`.
    out : array or ResumableOutput
        With chunks. What a `ResumableOutput` has already is not computed again.
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
    # Other blocks are other parts.
    return Record(out.record, f"{out.identity} {zlib.crc32(repr(lazy.chunks).encode())}")


def _is_there(record: Record | None, number: int, window: Window, target: Any) -> bool:
    if record is None or number not in record.finished:
        return False
    return read_checksum(target, [window]) == record.finished[number]


def _tasks(lazy: Any, target: Any, windows: list[Window], numbers: list[int]) -> dict[int, Any]:
    """What computes and stores each block."""
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
    """Work on a cluster, which ends with whoever waits for it."""
    futures = client.compute(tasks)
    try:
        yield futures
    finally:
        client.cancel(futures)


def _client() -> Any:
    """The cluster that dask computes on; None if it does so in this process."""
    import dask

    distributed = sys.modules.get("distributed")
    if distributed is None or dask.config.get("scheduler", None) not in _ON_A_CLUSTER:
        return None
    try:
        return distributed.default_client()
    except ValueError:
        return None


def is_too_coarse(dtype: np.dtype[Any], samples: Samples, settings: ChannelSettings) -> bool:
    """Whether rounding to a dtype takes photons away from a channel, as samples of it show."""
    noise = settings.noise
    if dtype.kind not in "iu" or noise is None:
        return False
    if noise.gain < _LEAST_GAIN or noise.read_noise > 0:
        return False
    dark = noise.offset + noise.gain / 2
    shares = [float(np.mean(window <= dark)) for window in samples if window.size]
    return bool(shares) and float(np.mean(shares)) > _LEAST_SHARE_WITHOUT


def warn_of_rounding() -> None:
    """Warn that photons are lost, and say what keeps them."""
    warnings.warn(
        "many pixels hold less than a photon, and integers as fine as these round it away; "
        "dtype='float32' keeps it",
        stacklevel=2,
    )
