"""Restore many files one after the other, record what was done, and resume later.

Nothing here depends on a terminal or a window: `run_batch` yields its status.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from napari_rednet.batch.planning import BatchFile, plan_batch
from napari_rednet.batch.restoring import (
    BatchRecord,
    Figures,
    Prepared,
    Work,
    digest,
    restore_file,
    state_of,
)
from napari_rednet.errors import RednetError
from napari_rednet.files import replaced

__all__ = [
    "FAILURES",
    "REPORT",
    "BatchFile",
    "BatchRecord",
    "BatchStatus",
    "Existing",
    "Figures",
    "Outcome",
    "Prepared",
    "Work",
    "digest",
    "failure_words",
    "plan_batch",
    "refuse_other_table",
    "restore_file",
    "run_batch",
    "write_report",
]


Existing = Literal["refuse", "skip", "overwrite", "resume"]
"""How to treat an existing result: fail the file, keep the result, or make it again. 'resume' keeps
it if the record says that it is up to date, makes it again if it is in the record, else fails."""
RestoreOne = Callable[[BatchFile], Generator[tuple[int, int], None, Figures]]
"""Restores a file: yields (pixels done, pixels in all) and returns its figures."""
FAILURES = (RednetError, ValueError, TypeError, OSError, MemoryError, RuntimeError)
"""Errors of a file, or of the machine while it is restored."""
# What begins with these, spreadsheets compute.
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")
REPORT = "report.csv"
"""Name of the report in the folder of the results."""
COLUMNS = (
    "source", "result", "status", "reason", "seconds", "pixels", "repaired",
    "noise_gain", "noise_offset", "read_noise", "grain_y", "grain_x",
    "range_low", "range_high", "model",
)  # fmt: skip
"""Columns of the report; values per channel are joined by ``;``."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of a file.

    `reason` says why it was skipped or failed, or is a remark on a restored one. `figures` of a
    skipped file are those that the record has.
    """

    status: Literal["restored", "skipped", "failed"]
    reason: str = ""
    figures: Figures | None = None


@dataclass(frozen=True)
class BatchStatus:
    """Progress of a batch.

    `number` counts the files from 1. `done` and `total` are pixels of the current file, 0 before
    the first are done; `outcome` is None until it is known.
    """

    number: int
    files: int
    file: BatchFile
    done: int = 0
    total: int = 0
    outcome: Outcome | None = None


def run_batch(
    files: Sequence[BatchFile],
    restore_one: RestoreOne,
    record: BatchRecord,
    existing: Existing = "refuse",
) -> Generator[BatchStatus, None, None]:
    """Restore files, one after the other.

    Parameters
    ----------
    files : sequence of BatchFile
        The files, from `plan_batch`.
    restore_one : callable
        Restores one of them, such as `restore_file` with its `work` bound.
    record : BatchRecord
        Record of what was done before, which is kept up to date.
    existing : {'refuse', 'skip', 'overwrite', 'resume'}
        How to treat existing results: 'refuse' fails their files, 'skip' keeps them, 'overwrite'
        makes them again. 'resume' keeps those that are up to date by the record, makes others of
        the record again, and fails the files of the rest.

    Yields
    ------
    status : BatchStatus
        When a file begins, while it is restored, and when it is finished. Closing the generator
        cancels: nothing remains of the current file, except a Zarr that can be resumed.

    Raises
    ------
    BusyError
        If another batch is writing into the folder.
    RednetError
        If the folder cannot be written to.
    """
    with record.claimed():
        record.prepare()
        if existing == "overwrite":
            # So that a resumed run, too, makes all of them again.
            record.begin(files)
        for number, file in enumerate(files, start=1):
            status = partial(BatchStatus, number, len(files), file)
            yield status()
            outcome = yield from _outcome_of(file, restore_one, record, existing, status)
            yield status(outcome=outcome)


def _outcome_of(
    file: BatchFile,
    restore_one: RestoreOne,
    record: BatchRecord,
    existing: Existing,
    status: Callable[[int, int], BatchStatus],
) -> Generator[BatchStatus, None, Outcome]:
    try:
        known = _without_work(file, record, existing)
        if known is not None:
            return known
        figures = yield from _restored(file, restore_one, record, status)
        return Outcome("restored", figures.remark, figures)
    except FAILURES as error:
        return Outcome("failed", failure_words(error))


def _without_work(file: BatchFile, record: BatchRecord, existing: Existing) -> Outcome | None:
    """Outcome of a file that need not be restored; None if it has to be."""
    if existing == "overwrite" or not file.result.exists():
        return None
    if existing == "skip":
        return Outcome("skipped", "the result is there", record.figures(file))
    if existing == "resume" and record.agrees(file):
        return Outcome("skipped", "done before", record.figures(file))
    if existing == "resume" and record.knows(file):
        return None
    told = ", and no batch has noted that it made it" if existing == "resume" else ""
    return Outcome("failed", f"{file.result} exists{told}")


def _restored(
    file: BatchFile,
    restore_one: RestoreOne,
    record: BatchRecord,
    status: Callable[[int, int], BatchStatus],
) -> Generator[BatchStatus, None, Figures]:
    started = time.monotonic()
    source = state_of(file.source)
    record.begin([file])
    with closing(restore_one(file)) as steps:
        figures = yield from _relayed(steps, status)
    figures = replace(figures, seconds=time.monotonic() - started)
    record.finish(file, source, figures)
    return figures


def _relayed(
    steps: Generator[tuple[int, int], None, Figures], status: Callable[[int, int], BatchStatus]
) -> Generator[BatchStatus, None, Figures]:
    while True:
        try:
            done, total = next(steps)
        except StopIteration as end:
            figures: Figures = end.value
            return figures
        yield status(done, total)


def failure_words(error: BaseException) -> str:
    """Why a file failed, for users."""
    if isinstance(error, MemoryError):
        return (
            f"there is not enough memory ({error})" if str(error) else "there is not enough memory"
        )
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__


def refuse_other_table(path: Path) -> None:
    """Raise `RednetError` if there is a file that is no report, and may be somebody's data."""
    begin = ",".join(COLUMNS[:3]).encode()
    if path.is_file() and path.stat().st_size:
        with path.open("rb") as file:
            if file.read(len(begin)) != begin:
                raise RednetError(f"{path} is no report of a batch, and is kept; name another")


def write_report(path: Path, outcomes: Iterable[tuple[BatchFile, Outcome]]) -> None:
    """Write the outcomes of files as CSV, atomically; raises `RednetError` if that fails."""
    refuse_other_table(path)
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(COLUMNS)
    writer.writerows(_row(*pair) for pair in outcomes)
    try:
        with replaced(path) as beside:
            # File names need not be valid text.
            beside.write_bytes(table.getvalue().encode("utf-8", "surrogateescape"))
    except OSError as error:
        reason = error.strerror or error
        raise RednetError(f"the report {path} cannot be written: {reason}") from error


def _as_text(value: Any) -> str:
    """Text that spreadsheets do not take for a formula: names and errors may be anything."""
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULAS) else text


def _row(file: BatchFile, outcome: Outcome) -> list[Any]:
    told = [*map(_as_text, (file.source, file.result, outcome.status, outcome.reason))]
    figures = outcome.figures
    return [*told, *([""] * (len(COLUMNS) - 4) if figures is None else _numbers(figures))]


def _numbers(figures: Figures) -> list[Any]:
    noise = [_joined(part) for part in zip(*figures.noise, strict=True)] or [""] * 5
    ranges = [_joined(part) for part in zip(*figures.ranges, strict=True)] or [""] * 2
    return [
        f"{figures.seconds:.2f}",
        figures.pixels,
        figures.repaired,
        *noise,
        *ranges,
        _as_text(figures.model),
    ]


def _joined(numbers: Sequence[float]) -> str:
    return ";".join(f"{number:.6g}" for number in numbers)
