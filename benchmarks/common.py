"""What the benchmarks share: tables, the description of the machine, processes, memory."""

from __future__ import annotations

import datetime as dt
import platform
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Self, TypeVar

import psutil
import torch
import typer
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table as RichTable

from napari_rednet import __version__
from napari_rednet.engine.network import fast_dtype
from napari_rednet.models import load_model_for

Item = TypeVar("Item")

Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Models = Annotated[list[str], typer.Option("--model", help="Name or file of a model; repeatable.")]
Out = Annotated[Path | None, typer.Option(help="Markdown file to write.")]

DEFAULT_MODELS = ["fast"]

_STATUS = Path("/proc/self/status")
_SAMPLING_SECONDS = 0.01
_FILE_WIDTH = 140


@dataclass
class Table:
    """A table of results: a first column of names, then figures, all as text."""

    title: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)

    def markdown(self) -> str:
        """The table as GitHub-flavoured Markdown."""
        rule = ["---", *["---:"] * (len(self.columns) - 1)]
        lines = ["| " + " | ".join(row) + " |" for row in [self.columns, rule, *self.rows]]
        return "\n".join([f"## {self.title}", "", *lines, ""])

    def print(self, console: Console) -> None:
        """Print the table."""
        shown = RichTable(title=self.title, box=box.SIMPLE_HEAD)
        for i, column in enumerate(self.columns):
            shown.add_column(column, justify="left" if i == 0 else "right")
        for row in self.rows:
            shown.add_row(*row)
        console.print(shown)


def publish(
    title: str, tables: Sequence[Table], notes: Sequence[str], machine: str, out: Path | None
) -> None:
    """Print tables with the machine and the protocol, and write them as Markdown to `out`."""
    console = Console() if sys.stdout.isatty() else Console(width=_FILE_WIDTH)
    console.print(machine, *notes, sep="\n", markup=False, highlight=False)
    for table in tables:
        table.print(console)
    if out is None:
        return
    head = [f"# {title}", "", machine, "", *[f"- {note}" for note in notes], ""]
    out.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join([*head, *[table.markdown() for table in tables]])
    out.write_text(text, encoding="utf-8")
    console.print(f"written to {out}", markup=False)


def model_runs(
    verb: Callable[..., Any], task: str, names: Sequence[str], ensemble: bool, device: str
) -> dict[str, Callable[..., Any]]:
    """A verb with each model of a task, plain and, if asked, as an ensemble, by label."""
    found: dict[str, Callable[..., Any]] = {}
    for name in names:
        model = load_model_for(task, name)
        found[model.name] = partial(verb, model=model, device=device)
        if ensemble:
            found[f"{model.name} ×8"] = partial(found[model.name], ensemble=True)
    return found


def watched(items: Sequence[Item], description: str) -> Iterable[Item]:
    """The items, with a progress bar if someone is there to see it."""
    console = Console(stderr=True)
    return track(
        items, description, console=console, transient=True, disable=not console.is_terminal
    )


def describe_machine(device: torch.device, dtype: torch.dtype | None = None) -> str:
    """One line: what was measured, when, on what, in which precision."""
    cores = psutil.cpu_count(logical=False)
    parts = [
        f"napari-rednet {__version__}",
        dt.datetime.now(dt.UTC).strftime("%Y-%m-%d"),
        f"{_processor()}, {cores} cores, threads used: {torch.get_num_threads()}",
        f"PyTorch {torch.__version__}",
    ]
    if device.type == "cuda":
        parts.append(torch.cuda.get_device_name(device))
    return "; ".join([*parts, f"{device} in {dtype_name(dtype or fast_dtype(device))}"])


def dtype_name(dtype: torch.dtype) -> str:
    """'bfloat16' for ``torch.bfloat16``."""
    return str(dtype).removeprefix("torch.")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def fresh_process() -> ProcessPoolExecutor:
    """One new process that inherits nothing, so that its peak memory is that of its own work.

    It stays the same process for all that is submitted, until the pool is closed, and computes with
    as many threads as this one.
    """
    threads = torch.get_num_threads()
    return ProcessPoolExecutor(1, get_context("spawn"), torch.set_num_threads, (threads,))


def megabytes(size: float | None) -> str:
    """Bytes as text in MB (10^6 bytes); a dash if unknown."""
    return "–" if size is None else f"{size / 1e6:,.0f}"


def peak_resident() -> int:
    """Most physical memory that this process has had, in bytes, file-backed pages included."""
    # Not getrusage where there is a choice: on Linux its maximum survives exec, so that a
    # child's includes what its parent held when it was started.
    peak = _status("VmHWM")
    if peak is not None:
        return peak
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def anonymous_memory() -> int | None:
    """Physical memory of this process that no file backs, in bytes; None if not on Linux."""
    return _status("RssAnon")


def _status(key: str) -> int | None:
    if not _STATUS.exists():
        return None
    for line in _STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    return None


class AnonymousPeak:
    """Context that samples `anonymous_memory`, of which the system keeps no maximum."""

    def __init__(self) -> None:
        self.peak = anonymous_memory()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()

    def _sample(self) -> None:
        while self.peak is not None and not self._done.wait(_SAMPLING_SECONDS):
            self.peak = max(self.peak, anonymous_memory() or 0)
