"""A lazy result into an array of chunks, block by block, on whatever computes dask's graphs."""

from __future__ import annotations

import math
import os
import sys
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy.typing as npt

from napari_rednet.execution.chunks import ChunkWriter, Window, read_checksum
from napari_rednet.execution.outputs import Record, ResumableOutput

# Blocks that a scheduler of this process is given at once, per processor: few enough to see them
# come in, enough to leave no processor without work.
_BLOCKS_AT_ONCE = 4
# What dask is told where a client decides.
_ON_A_CLUSTER = (None, "distributed", "dask.distributed")

Stored = tuple[int, int]
"""Number of a block, and the checksum of the chunks that it filled."""


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
