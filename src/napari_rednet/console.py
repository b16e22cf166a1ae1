"""The terminal: messages, warnings, and the progress bar of long work."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, TimeElapsedColumn

from napari_rednet.execution import drain

if TYPE_CHECKING:
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
    with Progress(*columns, console=console, disable=quiet) as bar:
        task = bar.add_task(escape(name), total=None)

        def report(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        return drain(steps, report, name)
