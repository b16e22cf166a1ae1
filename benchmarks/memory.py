"""How much memory `denoise` needs for planes on disk, from a memory map into a memory map.

::

    python -m benchmarks.memory
    python -m benchmarks.memory --size 20000 --rows 512 --model fast --folder /a/large/disk

Every size is measured in a process of its own, which reports two figures:

- *Peak resident* (``VmHWM`` on Linux) is all physical memory that the process has had. It includes
  pages of the two files: what was read stays mapped, and what was written stays until the system
  has brought it to the disk. The system takes both back whenever memory is short, so
  that part grows with the image and harms nobody.
- *Peak anonymous* (``RssAnon``, sampled every 10 ms) is what no file backs: the interpreter, the
  libraries' data, the network and what it works on. This is what must not grow with the image.

Planes of which only the first rows are restored (``--rows``) lie in sparse files: only the rows
that are needed take space on the disk. Wide planes are restored strip by strip, so that the
pixels of so many rows may come from more rows of the first strip.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.common import (
    DEFAULT_MODELS,
    AnonymousPeak,
    Device,
    Models,
    Out,
    Table,
    anonymous_memory,
    describe_machine,
    fresh_process,
    megabytes,
    peak_resident,
    publish,
    watched,
)
from napari_rednet import denoise_steps
from napari_rednet.engine.network import resolve_device
from napari_rednet.models import load_model_for

_BLOCK = 256
_PHOTONS = 40
_SIZES = [1000, 2000, 4000, 20000]
_COLUMNS = [
    "model",
    "plane",
    "file MB",
    "restored",
    "s",
    "Mpx/s",
    "anonymous before",
    "peak anonymous",
    "peak resident",
]


@dataclass(frozen=True)
class Job:
    """A plane of uint16 on disk, and how many of its pixels to restore into another file."""

    model: str
    source: Path
    target: Path
    size: int
    rows: int
    device: str
    tile: int | None

    @property
    def pixels(self) -> int:
        """How many pixels to restore."""
        return self.size * min(self.size, self.rows)


@dataclass(frozen=True)
class Usage:
    """What a job took; memory in bytes."""

    pixels: int
    seconds: float
    before: int | None
    anonymous: int | None
    resident: int


def main(
    *,
    size: Annotated[list[int], typer.Option(help="Side of the plane; repeatable.")] = _SIZES,
    rows: Annotated[
        int, typer.Option(min=0, help="Stop after the pixels of so many rows; 0 for all.")
    ] = 512,
    model: Models = DEFAULT_MODELS,
    tile: Annotated[int | None, typer.Option(help="As of denoise.")] = None,
    folder: Annotated[Path | None, typer.Option(help="Where to put the planes.")] = None,
    device: Device = "auto",
    out: Out = None,
) -> None:
    """Measure the memory for planes of several sizes."""
    table = Table("Planes of uint16 on disk, memory in MB", _COLUMNS)
    for name, side in watched([(m, s) for m in model for s in size], "measuring"):
        with tempfile.TemporaryDirectory(dir=folder) as place:
            files = Path(place, "source"), Path(place, "target")
            job = Job(name, *files, side, rows or side, device, tile)
            table.rows.append(_row(job, _measure(job)))
    machine = describe_machine(resolve_device(device))
    publish("Memory", [table], _notes(rows), machine, out)


def _measure(job: Job) -> Usage:
    _make_plane(job)
    np.memmap(job.target, np.uint16, "w+", shape=(job.size, job.size)).flush()
    with fresh_process() as process:
        return process.submit(restore_part, job).result()


def _make_plane(job: Job) -> None:
    """Photon noise in the rows that will be restored, and a hole in the file below."""
    plane = np.memmap(job.source, np.uint16, "w+", shape=(job.size, job.size))
    # The first strip of a wide plane goes further down than the rows asked for.
    last = min(job.size, 4 * job.rows + _BLOCK)
    block = np.random.default_rng(0).poisson(_PHOTONS, (_BLOCK, job.size)).astype(np.uint16)
    for start in range(0, last, _BLOCK):
        stop = min(last, start + _BLOCK)
        plane[start:stop] = block[: stop - start]
    plane.flush()


def restore_part(job: Job) -> Usage:
    """Restore the first pixels of a plane, in this process, and report its memory."""
    shape = (job.size, job.size)
    image = np.memmap(job.source, np.uint16, "r", shape=shape)
    out = np.memmap(job.target, np.uint16, "r+", shape=shape)
    model = load_model_for("denoise", job.model)
    before, start, done = anonymous_memory(), time.perf_counter(), 0
    with AnonymousPeak() as watcher:
        steps = denoise_steps(image, model=model, tile=job.tile, device=job.device, out=out)
        for done, _ in steps:
            if done >= job.pixels:
                break
        steps.close()
    taken = time.perf_counter() - start
    return Usage(done, taken, before, watcher.peak, peak_resident())


def _row(job: Job, usage: Usage) -> list[str]:
    pixels = job.size**2
    return [
        load_model_for("denoise", job.model).name,
        f"{job.size} × {job.size}",
        megabytes(2 * pixels),
        f"{usage.pixels / pixels:.1%}",
        f"{usage.seconds:.1f}",
        f"{usage.pixels / usage.seconds / 1e6:.3g}",
        *map(megabytes, (usage.before, usage.anonymous, usage.resident)),
    ]


def _notes(rows: int) -> list[str]:
    part = (
        f"Stopped, by closing the generator, after the pixels of {rows} rows: after some hundred "
        "rows, memory is in its steady state. Column 'restored' says which part that is."
        if rows
        else "All rows are restored."
    )
    return [
        part,
        "From a memory map of uint16 into another; the noise is estimated. A process for each row.",
        "Anonymous memory is what no file backs: libraries, network, working memory. Resident "
        "memory includes the pages of both files that the system keeps as a cache and takes "
        "back when memory is short.",
    ]


if __name__ == "__main__":
    typer.run(main)
