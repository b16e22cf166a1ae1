"""The two bars of a batch: over its files, and over the pixels of the present one."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from napari_rednet.console import console, say

if TYPE_CHECKING:
    from napari_rednet.batch import BatchStatus


class BatchBars:
    """Shows where a batch stands; where nobody watches, a line for each file instead.

    Parameters
    ----------
    files : int
        How many there are.
    quiet : bool
        Show nothing.
    """

    def __init__(self, files: int, *, quiet: bool) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
        )
        self._quiet = quiet
        hidden = quiet or not console.is_terminal
        self._bars = Progress(*columns, console=console, disable=hidden, transient=True)
        self._all = self._bars.add_task("files", total=files)
        self._present = self._bars.add_task("", total=None)
        self._to_do, self._finished = files, 0

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def show(self, status: BatchStatus) -> None:
        """Take in what a batch has yielded."""
        if status.outcome is not None:
            self._finish(status)
        elif status.total:
            self._bars.update(self._present, completed=status.done, total=status.total)
        else:
            self._bars.reset(self._present, total=None, description=escape(status.file.name))
        share = status.done / status.total if status.total else 0.0
        self._bars.update(
            self._all,
            completed=self._finished + share,
            total=self._to_do,
            description=f"file {status.number} of {status.files}",
        )

    def _finish(self, status: BatchStatus) -> None:
        # What is skipped takes no time, and would make the rest look short.
        if status.outcome is not None and status.outcome.status == "skipped":
            self._to_do -= 1
        else:
            self._finished += 1
        if not console.is_terminal:
            say(_line(status), quiet=self._quiet)


def _line(status: BatchStatus) -> str:
    if status.outcome is None:
        return ""
    told = f": {status.outcome.reason}" if status.outcome.reason else ""
    place = f"{status.number}/{status.files}"
    return f"{place} {status.outcome.status} {status.file.name}{told}"
