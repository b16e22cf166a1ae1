"""The table of a batch, a row a file, for spreadsheets and scripts."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from napari_rednet.batch.planning import BatchFile
from napari_rednet.batch.record import Figures
from napari_rednet.batch.running import Outcome
from napari_rednet.errors import RednetError

REPORT = "report.csv"
"""Its name in the folder of the results."""

COLUMNS = (
    "source", "result", "status", "reason", "seconds", "pixels", "repaired",
    "noise_gain", "noise_offset", "read_noise", "grain_y", "grain_x",
    "range_low", "range_high", "model",
)  # fmt: skip
"""Numbers that each channel has are joined by ``;``."""


def write_report(path: Path, outcomes: Iterable[tuple[BatchFile, Outcome]]) -> None:
    """Write what became of each file; the table is written beside its place and renamed.

    Raises
    ------
    RednetError
        If it cannot be written.
    """
    beside = path.with_name(f".{path.name}.part")
    try:
        # File names need not be valid text.
        with beside.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(_row(*pair) for pair in outcomes)
        beside.replace(path)
    except OSError as error:
        reason = error.strerror or error
        raise RednetError(f"the report {path} cannot be written: {reason}") from error
    finally:
        beside.unlink(missing_ok=True)


def _row(file: BatchFile, outcome: Outcome) -> list[Any]:
    told = [file.source, file.result, outcome.status, outcome.reason]
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
        figures.model,
    ]


def _joined(numbers: Sequence[float]) -> str:
    return ";".join(f"{number:.6g}" for number in numbers)
