"""The terminal: messages, warnings, and the progress bar of long work."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from napari_rednet.execution import drain

if TYPE_CHECKING:
    from napari_rednet.batch import BatchStatus
    from napari_rednet.execution import Steps

console = Console(stderr=True)
"""Messages and bars go to standard error, so that results can be piped."""


def say(text: str, *, quiet: bool = False) -> None:
    """Print a message as it is, since file names may contain rich's markup."""
    if not quiet:
        console.print(escape(text), soft_wrap=True, highlight=False)


@contextmanager
def printed_warnings(*, quiet: bool = False) -> Iterator[None]:
    """Print warnings of the package as one line each, without repeats and source lines."""
    shown: set[str] = set()

    def show(message: object, *_: object, **__: object) -> None:
        if str(message) not in shown and not quiet:
            console.print(f"[yellow]warning:[/] {escape(str(message))}", soft_wrap=True)
        shown.add(str(message))

    handler, logger = _Handler(show), logging.getLogger(__package__)
    logger.addHandler(handler)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.simplefilter("ignore", DeprecationWarning)  # for developers
            warnings.showwarning = show
            yield
    finally:
        logger.removeHandler(handler)


class _Handler(logging.Handler):
    """Log handler that passes warnings on."""

    def __init__(self, show: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._show = show

    def emit(self, record: logging.LogRecord) -> None:
        """Pass on a message; called by the logger."""
        self._show(record.getMessage())


def run_with_bar(steps: Steps, name: str, *, quiet: bool) -> Any:
    """Run steps to the end, with a progress bar."""
    columns = (*Progress.get_default_columns(), TimeElapsedColumn())
    bar = Progress(*columns, console=console, disable=quiet)
    task = bar.add_task(escape(name), total=None)

    def report(done: int, total: int) -> None:
        bar.start()  # nothing is shown of what fails before
        bar.update(task, completed=done, total=total)

    try:
        return drain(steps, report, name)
    except BaseException:
        bar.live.transient = True
        raise
    finally:
        bar.stop()


class BatchBars:
    """Progress bars of a batch; without a terminal a line per file, nothing if `quiet`."""

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
        """Show what a batch has yielded."""
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
        # Skipped files take no time, and would make the remaining time look short.
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
