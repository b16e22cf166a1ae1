"""A batch on the terminal: its bars, its summary, its table."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.markup import escape

from napari_rednet.batch import (
    REPORT,
    BatchFile,
    BatchRecord,
    Outcome,
    Work,
    plan_batch,
    restore_file,
    run_batch,
    write_report,
)
from napari_rednet.cli.bars import BatchBars
from napari_rednet.cli.files import INTERRUPTED
from napari_rednet.console import console, say
from napari_rednet.errors import ImageFileError, RednetError
from napari_rednet.io.files import names_image

if TYPE_CHECKING:
    from napari_rednet.cli.files import Places

_MOST_NAMED = 3

Outcomes = list[tuple[BatchFile, Outcome]]


def restore_batch(places: Places, out: Path, work: Work) -> None:
    """Restore all that the arguments name into a folder.

    Raises
    ------
    typer.Exit
        With 1 if a file failed, and with 130 after Ctrl+C.
    """
    report = places.report or out / REPORT
    _check_names(out, report)
    files = plan_batch(places.paths, out)
    outcomes: Outcomes = []
    try:
        _run(files, BatchRecord(out, work.task), work, places, outcomes)
    except KeyboardInterrupt:
        _tell_how_to_go_on(len(outcomes), len(files), places)
        write_report(report, outcomes)
        raise typer.Exit(INTERRUPTED) from None
    _summarize(outcomes, report, places)
    write_report(report, outcomes)
    if any(outcome.status == "failed" for _, outcome in outcomes):
        raise typer.Exit(1)


def _check_names(out: Path, report: Path) -> None:
    if names_image(out):
        raise ImageFileError(
            f"--out names a folder for the results of several images, got {out.name}; to write one "
            "file, give its name without --out"
        )
    if report.suffix.lower() != ".csv":
        raise ValueError(f"the report must be a .csv file, got {report.name}")
    if report.parent != out and not report.parent.is_dir():
        raise RednetError(f"there is no folder {report.parent} to write the report to")


def _run(
    files: list[BatchFile], record: BatchRecord, work: Work, places: Places, outcomes: Outcomes
) -> None:
    """Run a batch under its bars; `outcomes` grow as files are finished."""
    restore_one = partial(restore_file, work, resume=places.resume, lazy=places.is_lazy)
    events = run_batch(files, restore_one, record, places.existing)
    with closing(events), BatchBars(len(files), quiet=places.quiet) as bars:
        for status in events:
            bars.show(status)
            if status.outcome is not None:
                outcomes.append((status.file, status.outcome))


def _tell_how_to_go_on(done: int, files: int, places: Places) -> None:
    instead = {"skip": " instead of --skip", "overwrite": " instead of --force"}
    say(
        f"stopped after {done} of {files} files; to go on, run the same command with --resume"
        + instead.get(places.existing, "")
    )


def _summarize(outcomes: Outcomes, report: Path, places: Places) -> None:
    """Failures, which are errors, and one line on the whole."""
    failed = [(file, outcome) for file, outcome in outcomes if outcome.status == "failed"]
    for file, outcome in failed:
        named = str(file.source) in outcome.reason
        told = outcome.reason if named else f"{file.source}: {outcome.reason}"
        console.print(f"[bold red]failed:[/] {escape(told)}", soft_wrap=True, highlight=False)
    if places.existing == "refuse" and any(file.result.exists() for file, _ in failed):
        say(
            "of results that exist, --skip leaves all as they are, --resume makes those again that "
            "do not fit any more, --force all",
            quiet=places.quiet,
        )
    counts = Counter(outcome.status for _, outcome in outcomes)
    summary = ", ".join(
        f"{counts[status]} {status}" for status in ("restored", "skipped", "failed")
    )
    say(f"{summary}{_names(failed)}; report: {report}", quiet=places.quiet)


def _names(failed: Outcomes) -> str:
    if not failed:
        return ""
    more = ", …" if len(failed) > _MOST_NAMED else ""
    return ": " + ", ".join(file.name for file, _ in failed[:_MOST_NAMED]) + more
