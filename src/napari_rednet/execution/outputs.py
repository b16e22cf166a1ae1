"""Where results go: into an array, chunk by chunk, with a record of what is finished."""

from __future__ import annotations

import json
import os
import threading
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_rednet.execution.chunks import (
    ChunkWriter,
    Window,
    as_window,
    read_checksum,
    written_chunks_of,
)
from napari_rednet.execution.job import Job
from napari_rednet.execution.parts import Part, parts_of


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
