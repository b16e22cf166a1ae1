"""What commands say of results: in words, or as JSON for other programs; on standard output."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.markup import escape

from napari_rednet.batch import FAILURES, BatchFile, Figures, Outcome, failure_words
from napari_rednet.console import console

Outcomes = list[tuple[BatchFile, Outcome]]
_MOST_NAMED = 3
_NOISE = ("gain", "offset", "read_noise", "grain_y", "grain_x")


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
