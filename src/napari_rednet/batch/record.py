"""Record of a batch in the folder of its results, so that it can be resumed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from napari_rednet.batch.planning import BatchFile
from napari_rednet.errors import ImageFileError, RednetError

RECORD = ".napari-rednet-batch.json"

State = tuple[int, int]
"""Size in bytes, and time of the last change in nanoseconds."""


@dataclass(frozen=True)
class Figures:
    """Figures of a restored file.

    `noise` has (gain, offset, read noise, grain along y, grain along x) and `ranges` (low, high) of
    each channel; `noise` is empty for tasks that do not need it. `pixels` are those of the result.
    """

    pixels: int = 0
    model: str = ""
    noise: Sequence[Sequence[float]] = ()
    ranges: Sequence[Sequence[float]] = ()
    remark: str = ""
    seconds: float = 0.0
    repaired: int = 0


def state_of(path: Path) -> State:
    """State of a file, or of everything in a folder; raises `ImageFileError`."""
    try:
        found = [place.stat() for place in _with_contents(path)]
    except FileNotFoundError as error:
        raise ImageFileError(f"there is no file {error.filename}") from error
    except OSError as error:
        raise ImageFileError(f"{path} cannot be read: {error.strerror or error}") from error
    size = sum(s.st_size for s in found) if path.is_dir() else found[0].st_size
    return size, max(s.st_mtime_ns for s in found)


def _with_contents(path: Path) -> Iterator[Path]:
    yield path
    if path.is_dir():
        for folder, folders, names in os.walk(path):
            yield from (Path(folder, name) for name in (*folders, *names))


class BatchRecord:
    """Record of a batch: a line of JSON for each file that was begun or finished.

    Lines are appended; the last one of a result counts, and truncated ones are ignored. So the cost
    of a file does not grow with their number, and the record survives a killed process. `task` are
    JSON values that results depend on besides the sources: command, its arguments, version.
    """

    def __init__(self, folder: Path, task: Mapping[str, Any]) -> None:
        self._folder = folder
        self._task = json.loads(json.dumps(task))
        self._lines = _read_lines(folder / RECORD)

    def prepare(self) -> None:
        """Make the folder and rewrite the record with one line per result; raises `RednetError`."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RednetError(_no_writing(self._folder, error)) from error
        self._write()

    def begin(self, files: Sequence[BatchFile]) -> None:
        """Record that results are about to be written, so that files in their places are ours."""
        new = [file for file in files if self._entry(file).get("finished") is not False]
        self._append({file.name: _line(result=file.name, finished=False) for file in new})

    def finish(self, file: BatchFile, source: State, figures: Figures) -> None:
        """Record a finished file, and the state that its source had before it was read."""
        line = _line(
            result=file.name,
            finished=True,
            source=identity_of(file),
            source_state=source,
            result_state=state_of(file.result),
            **self._task,
            figures=asdict(figures),
        )
        self._append({file.name: line})

    def knows(self, file: BatchFile) -> bool:
        """True if a batch has begun to write this result."""
        return file.name in self._lines

    def agrees(self, file: BatchFile) -> bool:
        """True if a result is up to date: same task, and unchanged source and result."""
        entry = self._entry(file)
        if not entry.get("finished") or not file.result.exists():
            return False
        now = {
            "source": identity_of(file),
            "source_state": list(state_of(file.source)),
            "result_state": list(state_of(file.result)),
            **self._task,
        }
        return all(entry.get(key) == value for key, value in now.items())

    def figures(self, file: BatchFile) -> Figures | None:
        """Recorded figures of a finished file."""
        try:
            return Figures(**self._entry(file)["figures"])
        except (KeyError, TypeError):
            return None

    def _entry(self, file: BatchFile) -> dict[str, Any]:
        entry: dict[str, Any] = json.loads(self._lines.get(file.name, "{}"))
        return entry

    def _append(self, lines: Mapping[str, str]) -> None:
        if not lines:
            return
        self._lines |= lines
        path = self._folder / RECORD
        if not path.exists():
            self._write()
            return
        try:
            with path.open("a+b") as file:
                is_cut_off = file.tell() > 0 and _last_byte(file) != b"\n"
                text = "".join(line + "\n" for line in lines.values())
                file.write(b"\n" * is_cut_off + text.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise RednetError(_no_writing(self._folder, error)) from error

    def _write(self) -> None:
        # Two batches may write to one folder at the same time.
        beside = self._folder / f"{RECORD}.{os.getpid()}.part"
        try:
            with beside.open("w", encoding="utf-8") as file:
                file.writelines(line + "\n" for line in self._lines.values())
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self._folder / RECORD)
        except OSError as error:
            raise RednetError(_no_writing(self._folder, error)) from error
        finally:
            beside.unlink(missing_ok=True)


def _last_byte(file: BinaryIO) -> bytes:
    file.seek(-1, os.SEEK_END)
    return file.read(1)


def identity_of(file: BatchFile) -> list[Any]:
    """What a result is made from: the file, and what is taken of it."""
    return [str(file.source.resolve()), file.series, file.missing]


def _line(**entry: Any) -> str:
    return json.dumps(entry)


def _no_writing(folder: Path, error: OSError) -> str:
    return f"{folder} cannot be written to: {error.strerror or error}"


def _read_lines(path: Path) -> dict[str, str]:
    """Lines of a record by the names of the results; invalid ones are left out."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise RednetError(f"{path} cannot be read: {error.strerror or error}") from error
    return {name: line for line in lines if (name := _name_in(line)) is not None}


def _name_in(line: str) -> str | None:
    try:
        name = json.loads(line)["result"]
    except (ValueError, KeyError, TypeError):
        return None
    return name if isinstance(name, str) else None
