"""Files of a training: the checkpoint that it goes on from, and the log of its progress."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from napari_rednet.errors import TrainingError

CHECKPOINT = "checkpoint.pt"
LOG = "log.csv"


def prepare_folder(folder: Path) -> None:
    """Make the folder of a training, and see that files can be written there.

    Raises
    ------
    TrainingError
        If it cannot be made or written to.
    """
    probe = folder / ".probe"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise TrainingError(f"the training cannot be kept in {folder}: {error}") from error


def start_anew(folder: Path) -> None:
    """Remove what an earlier training in the folder would be resumed from.

    Raises
    ------
    TrainingError
        If it cannot be removed.
    """
    try:
        (folder / CHECKPOINT).unlink(missing_ok=True)
    except OSError as error:
        raise TrainingError(f"the training in {folder} cannot be replaced: {error}") from error
    with suppress(OSError):  # a log that cannot be written is told of when it is
        (folder / LOG).unlink(missing_ok=True)


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint beside `path` and rename it, so that `path` is whole or the one before.

    Raises
    ------
    TrainingError
        If it cannot be written, as on a full disk.
    """
    beside = path.with_name(path.name + ".part")
    try:
        torch.save(dict(state), beside)
        beside.replace(path)
    except (OSError, RuntimeError) as error:  # torch raises the latter for a full disk
        beside.unlink(missing_ok=True)
        raise TrainingError(f"the checkpoint {path} cannot be written: {error}") from error


def read_checkpoint(path: Path, device: torch.device, identity: str = "") -> dict[str, Any]:
    """Read a checkpoint; only tensors and plain values are accepted.

    Raises
    ------
    TrainingError
        If it cannot be read, or belongs to a training of another identity.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise TrainingError(f"the checkpoint {path} cannot be read: {error}") from error
    found = state.get("identity", "")
    if found != identity:
        raise TrainingError(
            f"{path} belongs to another training: {found!r} instead of {identity!r}"
        )
    return state


def append_row(path: Path, row: Mapping[str, float]) -> None:
    """Append a row to a CSV file, with a header if the file is new."""
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if is_new:
            writer.writeheader()
        writer.writerow({k: v if isinstance(v, int) else f"{v:.6g}" for k, v in row.items()})


def read_rows(path: Path) -> list[dict[str, float]]:
    """The rows of a log; none if there is no file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["step"]]
    return [{k: int(v) if k == "step" else float(v) for k, v in row.items()} for row in rows]


def drop_rows_after(path: Path, step: int) -> None:
    """Remove the rows of a log that lie after `step`."""
    kept = [row for row in read_rows(path) if row["step"] <= step]
    path.unlink(missing_ok=True)
    for row in kept:
        append_row(path, row)
