"""Files of the commands that restore: one, or a batch with its summary and its table."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

import typer
from rich.markup import escape

from napari_rednet.batch import (
    FAILURES,
    REPORT,
    BatchFile,
    BatchRecord,
    Figures,
    Outcome,
    failure_words,
    plan_batch,
    refuse_other_table,
    restore_file,
    run_batch,
    write_report,
)
from napari_rednet.console import BatchBars, console, run_with_bar, say
from napari_rednet.engine.channel import noise_words
from napari_rednet.errors import ImageFileError, RednetError
from napari_rednet.execution import repaired_words
from napari_rednet.io import names_image
from napari_rednet.io.sources import Missing, Reading, refuse_url

if TYPE_CHECKING:
    from napari_rednet.batch import Existing, Figures, Prepared, Work
    from napari_rednet.io import OpenImage

INTERRUPTED = 130
"""The exit code after Ctrl+C."""
_LONGEST_WAIT = 10  # seconds, for a scheduler
Outcomes = list[tuple[BatchFile, Outcome]]
_MOST_NAMED = 3
_NOISE = ("gain", "offset", "read_noise", "grain_y", "grain_x")


@dataclass(frozen=True)
class Places:
    """The arguments on files of a command that restores.

    `paths` are IN and OUT, or all inputs if `out` is given, the folder for the results of a batch.
    `report` is None for a table in that folder. `scheduler` is the address of a dask scheduler.
    `series` is the number of an image in each file, or 'all'; `missing` is 'error' or 'skip';
    `axes` and `channel_axis` are told instead of what the files tell. `helpers` are files that may
    lie among the images and are none of them: the mask and the PSF. With `as_json`, results are
    told to other programs. `compression` is that of the results.
    """

    paths: list[Path]
    out: Path | None
    report: Path | None
    skip: bool
    force: bool
    resume: bool
    quiet: bool
    scheduler: str | None = None
    series: str = "0"
    missing: str = "error"
    axes: str | None = None
    channel_axis: int | None = None
    compression: str | None = None
    helpers: frozenset[Path] = frozenset()
    as_json: bool = False

    @property
    def is_lazy(self) -> bool:
        """True if dask computes."""
        return self.scheduler is not None

    @property
    def reading(self) -> Reading:
        """Selection of images and axes in each file; `ValueError` if it is none."""
        if self.series != "all" and not self.series.isdecimal():
            raise ValueError(f"--series must be a number from 0 on, or all, got {self.series}")
        if self.missing not in get_args(Missing):
            raise ValueError(f"--missing must be error or skip, got {self.missing}")
        series = None if self.series == "all" else int(self.series)
        return Reading(series, cast("Missing", self.missing), self.axes, self.channel_axis)

    @property
    def existing(self) -> Existing:
        """How to treat results that exist, in one word."""
        if self.skip:
            return "skip"
        if self.force:
            return "overwrite"
        return "resume" if self.resume else "refuse"


def restore(places: Places, make_work: Callable[[], Work]) -> None:
    """Restore one file into another, or with --out all files of a batch.

    Files are looked at before the work is made, which loads torch and the model.
    """
    if places.skip + places.force + places.resume > 1:
        raise ValueError("give one of --skip, --force and --resume")
    with _workers(places.scheduler):
        if places.out is not None:
            restore_batch(places, places.out, make_work)
            return
        if places.skip or places.report is not None:
            raise ValueError("--skip and --report are for several images, with --out FOLDER")
        files = _files_of(*_in_and_out(places.paths), places)
        work = make_work()
        for file in files:
            _restore_single(file, work, places)


@contextmanager
def _workers(scheduler: str | None) -> Iterator[None]:
    """Let a dask scheduler compute lazy arrays."""
    if scheduler is None:
        yield
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise RednetError("--scheduler needs: pip install 'napari-rednet[dask]'") from error
    try:
        # Not yet the default: a client that cannot connect would remain it, and block dask.
        client = Client(scheduler, timeout=_LONGEST_WAIT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise RednetError(f"there is no scheduler at {scheduler}: {error}") from error
    with client, client.as_current():
        yield


def _in_and_out(paths: list[Path]) -> tuple[Path, Path]:
    if len(paths) != 2:
        raise ImageFileError(
            "name one image and the file to write, or add --out FOLDER for the results of "
            f"several; got {len(paths)} of them"
        )
    return paths[0], paths[1]


def _files_of(source: Path, target: Path, places: Places) -> list[BatchFile]:
    """The image of a file, or all its images; checks the paths before any work."""
    from napari_rednet.io import check_source

    reading = places.reading
    _refuse_several(source)
    with failures_told(BatchFile(source, target, target.name), as_json=places.as_json):
        check_source(source)
        results = _results_of(source, target, reading.series)
    files = []
    for series, place in results:
        _check_single(source, place, places)
        one = replace(reading, series=series)
        files.append(BatchFile(source, place, place.name, one, places.compression))
    return files


def _results_of(source: Path, target: Path, series: int | None) -> list[tuple[int, Path]]:
    """Numbers of the images of a file that are wanted, and the places of their results."""
    from napari_rednet.batch.planning import numbered
    from napari_rednet.io import count_images

    if series is not None:
        return [(series, target)]
    count = count_images(source)
    return [(i, target.with_name(numbered(target.name, i, count))) for i in range(count)]


def _restore_single(file: BatchFile, work: Work, places: Places) -> None:
    def prepare(image: OpenImage) -> Prepared:
        prepared = work.prepare(image)
        _tell(prepared, quiet=places.quiet)
        return prepared

    source, target = file.source, file.result
    started = time.monotonic()
    steps = restore_file(
        replace(work, prepare=prepare),
        file,
        resume=places.resume,
        lazy=places.is_lazy,
        overwrite=places.force,
    )
    with (
        _said_how_to_go_on(target, quiet=places.quiet),
        failures_told(file, as_json=places.as_json),
    ):
        figures: Figures = run_with_bar(steps, source.name, quiet=places.quiet)
    figures = replace(figures, seconds=time.monotonic() - started)
    if figures.repaired:
        say(repaired_words(figures.repaired), quiet=places.quiet)
    if figures.remark:
        say(f"warning: {figures.remark}", quiet=places.quiet)
    if places.as_json:
        tell_as_json(file, Outcome("restored", figures.remark, figures))
    else:
        tell(f"written: {target}", quiet=places.quiet)


@contextmanager
def _said_how_to_go_on(target: Path, *, quiet: bool) -> Iterator[None]:
    from napari_rednet.io import can_be_continued

    try:
        yield
    except KeyboardInterrupt:
        if can_be_continued(target):
            say("stopped; to go on, run the same command with --resume", quiet=quiet)
        raise typer.Exit(INTERRUPTED) from None


def _check_single(source: Path, target: Path, places: Places) -> None:
    """Check both paths before any work."""
    from napari_rednet.io import can_be_continued, check_places, check_target

    check_target(target)
    if not target.parent.is_dir():
        raise ImageFileError(f"there is no folder {target.parent} to write to")
    check_places(source, target)
    if places.resume and not can_be_continued(target):
        raise ValueError("--resume goes on with a .zarr file, or with several images (--out)")
    if target.exists() and not places.force:
        raise ImageFileError(f"{target} exists; add --force to overwrite it")


def _refuse_several(source: Path) -> None:
    if _stands_for_several(source):
        raise ImageFileError(
            f"{source} stands for several images; add --out FOLDER for the results"
        )


def _stands_for_several(source: Path) -> bool:
    from napari_rednet.batch.planning import is_pattern
    from napari_rednet.io import images_in, is_image

    if source.is_dir():
        return not is_image(source) or len(images_in(source)) > 1
    return not source.exists() and is_pattern(source)


def _tell(prepared: Prepared, *, quiet: bool) -> None:
    """Print the noise of each channel, and remarks, before an image is restored."""
    for channel, level in enumerate(prepared.noise):
        say(
            f"noise of channel {channel}: {noise_words(level)}",
            quiet=quiet,
        )
    if prepared.remark:
        say(prepared.remark, quiet=quiet)


def restore_batch(places: Places, out: Path, make_work: Callable[[], Work]) -> None:
    """Restore all named files into a folder; exits with 1 if one failed, with 130 after Ctrl+C."""
    report = places.report or out / REPORT
    _check_names(out, report)
    files = [
        replace(file, compression=places.compression)
        for file in plan_batch(places.paths, out, places.reading)
        if file.source.resolve() not in places.helpers
    ]
    work = make_work()
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
    refuse_url(out)
    if names_image(out):
        raise ImageFileError(
            f"--out names a folder for the results of several images, got {out.name}; to write one "
            "file, give its name without --out"
        )
    if report.suffix.lower() != ".csv":
        raise ValueError(f"the report must be a .csv file, got {report.name}")
    if report.parent != out and not report.parent.is_dir():
        raise RednetError(f"there is no folder {report.parent} to write the report to")
    refuse_other_table(report)


def _run(
    files: list[BatchFile], record: BatchRecord, work: Work, places: Places, outcomes: Outcomes
) -> None:
    """Run a batch with its progress bars, and append to `outcomes` as files are finished."""
    restore_one = partial(
        restore_file, work, resume=places.resume, lazy=places.is_lazy, overwrite=places.force
    )
    events = run_batch(files, restore_one, record, places.existing)
    with closing(events), BatchBars(len(files), quiet=places.quiet) as bars:
        for status in events:
            bars.show(status)
            if status.outcome is not None:
                outcomes.append((status.file, status.outcome))
                if places.as_json:
                    tell_as_json(status.file, status.outcome)


def _tell_how_to_go_on(done: int, files: int, places: Places) -> None:
    instead = {"skip": " instead of --skip", "overwrite": " instead of --force"}
    say(
        f"stopped after {done} of {files} files; to go on, run the same command with --resume"
        + instead.get(places.existing, "")
    )


def _summarize(outcomes: Outcomes, report: Path, places: Places) -> None:
    """Print the failures, and one line on all files."""
    failed = [(file, outcome) for file, outcome in outcomes if outcome.status == "failed"]
    for file, outcome in failed:
        print_failure("failed", file, outcome.reason)
    if places.existing == "refuse" and any(file.result.exists() for file, _ in failed):
        say(
            "of results that exist, --skip leaves all as they are, --resume makes those again that "
            "do not fit any more, --force all",
            quiet=places.quiet,
        )
    if not places.as_json:
        tell(summary(outcomes, report), quiet=places.quiet)


def tell(text: str, *, quiet: bool = False) -> None:
    """Print what results are asked for to standard output; messages go to standard error."""
    if quiet:
        return
    encoding = sys.stdout.encoding or "utf-8"
    try:
        typer.echo(text.encode(encoding, "surrogateescape"))  # names need not be valid text
    except UnicodeEncodeError:
        typer.echo(text.encode(encoding, "replace"))


def tell_as_json(file: BatchFile, outcome: Outcome) -> None:
    """Print a line on a file for other programs."""
    told: dict[str, Any] = {
        "source": str(file.source),
        "output": str(file.result),
        "status": outcome.status,
        "reason": outcome.reason,
    }
    if outcome.figures is not None:
        told |= _numbers(outcome.figures)
    tell(json.dumps(told))


def _numbers(figures: Figures) -> dict[str, Any]:
    noise = [dict(zip(_NOISE, level, strict=True)) for level in figures.noise]
    return {
        "noise": noise,
        "seconds": round(figures.seconds, 2),
        "pixels": figures.pixels,
        "repaired": figures.repaired,
        "model": figures.model,
    }


@contextmanager
def failures_told(file: BatchFile, *, as_json: bool) -> Iterator[None]:
    """Turn the failure of a file into one line and exit code 1."""
    try:
        yield
    except FAILURES as error:
        reason = failure_words(error)
        print_failure("error", file, reason)
        if as_json:
            tell_as_json(file, Outcome("failed", reason))
        raise typer.Exit(1) from error


def print_failure(label: str, file: BatchFile, reason: str) -> None:
    """Print why a file failed, with its name."""
    is_named = str(file.source) in reason or str(file.result) in reason
    told = reason if is_named else f"{file.source}: {reason}"
    console.print(f"[bold red]{label}:[/] {escape(told)}", soft_wrap=True, highlight=False)


def summary(outcomes: Outcomes, report: Path) -> str:
    """One line on all files of a batch."""
    counts = Counter(outcome.status for _, outcome in outcomes)
    words = ", ".join(f"{counts[status]} {status}" for status in ("restored", "skipped", "failed"))
    failed = [file.name for file, outcome in outcomes if outcome.status == "failed"]
    return f"{words}{_names(failed)}; report: {report}"


def _names(failed: Sequence[str]) -> str:
    if not failed:
        return ""
    return f": {', '.join(failed[:_MOST_NAMED])}{', …' if len(failed) > _MOST_NAMED else ''}"


@contextmanager
def reported_errors() -> Iterator[None]:
    """Turn expected errors into one line and exit code 1."""
    try:
        yield
    except (RednetError, ValueError, TypeError, OSError, MemoryError) as error:
        console.print(f"[bold red]error:[/] {escape(failure_words(error))}", soft_wrap=True)
        raise typer.Exit(1) from error
    except typer.Exit:  # a RuntimeError as well
        raise
    except RuntimeError as error:  # as which torch and threads tell that memory ran out
        from napari_rednet.engine.inference import is_out_of_memory

        if not is_out_of_memory(error):
            raise
        told = failure_words(MemoryError(str(error).splitlines()[0]))
        console.print(f"[bold red]error:[/] {escape(told)}", soft_wrap=True)
        raise typer.Exit(1) from error
