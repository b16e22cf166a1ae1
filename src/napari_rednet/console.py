"""The terminal: where messages go, and the bar that long work shows."""

from __future__ import annotations

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
    """Print a message as it is: file names may hold what rich takes for markup."""
    if not quiet:
        console.print(escape(text), soft_wrap=True, highlight=False)


def run_with_bar(steps: Steps, name: str, *, quiet: bool) -> Any:
    """Run steps to the end under a bar with the remaining time."""
    columns = (*Progress.get_default_columns(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=quiet) as bar:
        task = bar.add_task(escape(name), total=None)

        def report(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        return drain(steps, report, name)
