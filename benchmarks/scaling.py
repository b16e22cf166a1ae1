"""How time and memory grow with pixels, with planes and with workers.

::

    python -m benchmarks.scaling --side 1000 --side 2000 --side 10000 --side 20000 --memory 1.5GB
    python -m benchmarks.scaling --planes 1 --planes 8 --workers 1 --workers 2

- *Pixels*: a plane in a Zarr of chunks of 512 x 512 becomes another, in a process of its own with
  a bound for its memory. The noise is known; all pixels are restored.
- *Planes*: the same for stacks of planes of 1000 x 1000.
- *Workers*: a dask array of planes of 1000 x 1000 from one Zarr into another, on
  `dask.distributed` processes of one thread each. Starting them is not counted.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.common import (
    Device,
    Out,
    Table,
    describe_machine,
    fresh_process,
    megabytes,
    peak_resident,
    publish,
    watched,
)
from napari_rednet import denoise
from napari_rednet.engine.devices import resolve_device

_SIDE = 1000
_CHUNK = 512
_PHOTONS = 40
_NOISE = float(np.sqrt(_PHOTONS))
_PLANES_FOR_WORKERS = 16
_WARM = 600


@dataclass(frozen=True)
class Case:
    """Planes in a Zarr, to be restored into another.

    Parameters
    ----------
    folder : Path
        Where both lie.
    planes, side : int
        How many planes, and their sides in pixels.
    model, device : str
        What runs, and where.
    memory : str or None
        The bound.
    workers : int
        Processes of dask; 0 without dask.
    """

    folder: Path
    planes: int
    side: int
    model: str
    device: str
    memory: str | None = None
    workers: int = 0

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of both arrays."""
        return self.planes, self.side, self.side

    @property
    def pixels(self) -> float:
        """In millions."""
        return float(np.prod(self.shape)) / 1e6


def main(
    *,
    side: Annotated[list[int] | None, typer.Option(help="Side of a plane; repeatable.")] = None,
    planes: Annotated[list[int] | None, typer.Option(help="Planes of a stack; repeatable.")] = None,
    workers: Annotated[
        list[int] | None, typer.Option(help="Processes of dask; repeatable.")
    ] = None,
    memory: Annotated[str | None, typer.Option(help="Bound for the memory.")] = None,
    model: Annotated[str, typer.Option(help="Name or file of a model.")] = "fast",
    folder: Annotated[Path | None, typer.Option(help="Where to put the arrays.")] = None,
    device: Device = "auto",
    out: Out = None,
) -> None:
    """Measure how restoration scales."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        base = Case(Path(place), 1, _SIDE, model, device, memory)
        tables = [
            _table("Pixels", "plane", [replace(base, side=s) for s in side or []]),
            _table("Planes", "stack", [replace(base, planes=p) for p in planes or []]),
            _table("Workers", "stack", [_for_workers(base, w) for w in workers or []]),
        ]
    machine = describe_machine(resolve_device(device))
    publish("Scaling", [table for table in tables if table.rows], _notes(memory), machine, out)


def _for_workers(base: Case, workers: int) -> Case:
    return replace(base, planes=_PLANES_FOR_WORKERS, workers=workers, memory=None)


def _table(title: str, name: str, cases: list[Case]) -> Table:
    table = Table(title, [name, "Mpx", "workers", "s", "s / Mpx", "to the first", "peak MB"])
    first = None
    for case in watched(cases, title):
        seconds, resident = _measure(case)
        pace = seconds / case.pixels
        first = pace if first is None else first
        planes, height, width = case.shape
        table.rows.append(
            [
                f"{planes} × {height} × {width}",
                f"{case.pixels:g}",
                str(case.workers or "–"),
                f"{seconds:.1f}",
                f"{pace:.3f}",
                f"{pace / first:.2f}",
                "–" if case.workers else megabytes(resident),
            ]
        )
    return table


def _measure(case: Case) -> tuple[float, int]:
    source = _array(case, "source.zarr")
    block = np.random.default_rng(0).poisson(_PHOTONS, (_CHUNK, case.side)).astype(np.uint16)
    for plane in range(case.planes):
        for start in range(0, case.side, _CHUNK):
            stop = min(case.side, start + _CHUNK)
            source[plane, start:stop] = block[: stop - start]
    _array(case, "target.zarr")
    with fresh_process() as process:
        return process.submit(_restore_on_dask if case.workers else _restore, case).result()


def _array(case: Case, name: str) -> Any:
    import zarr

    return zarr.create_array(
        case.folder / name,
        shape=case.shape,
        chunks=(1, min(_CHUNK, case.side), min(_CHUNK, case.side)),
        dtype=np.uint16,
        overwrite=True,
    )


def _opened(case: Case) -> tuple[Any, Any]:
    import zarr

    source = zarr.open_array(case.folder / "source.zarr", mode="r")
    return source, zarr.open_array(case.folder / "target.zarr", mode="r+")


def _restore(case: Case) -> tuple[float, int]:
    source, target = _opened(case)
    options: dict[str, Any] = {
        "noise": _NOISE,
        "model": case.model,
        "device": case.device,
        "memory": case.memory,
    }
    side = min(case.side, _WARM)
    denoise(source[0, :side, :side], **options)  # libraries are loaded, kernels compiled
    started = time.perf_counter()
    denoise(source, out=target, **options)
    return time.perf_counter() - started, peak_resident()


def _restore_on_dask(case: Case) -> tuple[float, int]:
    import dask.array as da
    from distributed import Client, LocalCluster

    source, target = _opened(case)
    processes = LocalCluster(
        n_workers=case.workers, threads_per_worker=1, processes=True, dashboard_address=":0"
    )
    with processes as cluster, Client(cluster):
        options: dict[str, Any] = {"noise": _NOISE, "model": case.model, "device": case.device}
        lazy = da.from_zarr(source)
        warm = denoise(lazy[: 4 * case.workers, :_WARM, :_WARM], **options)
        warm.compute()
        started = time.perf_counter()
        denoise(lazy, out=target, **options)
        return time.perf_counter() - started, peak_resident()


def _notes(memory: str | None) -> list[str]:
    bound = f"memory={memory!r}" if memory else "without a bound for the memory"
    return [
        f"uint16 from one Zarr into another, chunks of {_CHUNK} x {_CHUNK}, known noise; {bound}.",
        "Peak: all physical memory that the process has had, libraries and model included.",
        "'To the first' is the time per pixel over that of the first row. A process for each row; "
        "what is measured begins after a small image has been restored.",
        f"Workers are dask.distributed processes of one thread, for {_PLANES_FOR_WORKERS} planes.",
    ]


if __name__ == "__main__":
    typer.run(main)
