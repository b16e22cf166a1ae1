"""How time and memory grow with pixels, with planes and with workers.

::

    python -m benchmarks.scaling --side 1000 --side 2000 --side 10000 --side 20000 --memory 1.5GB
    python -m benchmarks.scaling --planes 1 --planes 8 --workers 1 --workers 2

- *Pixels*: a plane in a Zarr of chunks of 512 x 512 becomes another, in a process of its own with
  a bound for its memory. The noise is known; all pixels are restored.
- *Planes*: the same for stacks of planes of 1000 x 1000.
- *Workers*: a dask array of planes of 1000 x 1000 from one Zarr into another, on
  `dask.distributed` processes of one thread each. Starting them is not counted.

With `--out`, a plot of the first two goes into `images/` beside the folder of the file.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import typer

from benchmarks import executions
from benchmarks.common import (
    Device,
    Out,
    Table,
    describe_machine,
    dtype_name,
    fresh_process,
    megabytes,
    peak_resident,
    publish,
    watched,
)
from napari_rednet import denoise
from napari_rednet.engine.network import fast_dtype, resolve_device
from napari_rednet.models import load_model_for

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


@dataclass(frozen=True)
class Measured:
    """What a case took.

    Parameters
    ----------
    case : Case
        The case.
    seconds : float
        How long.
    resident : int
        All physical memory that the process has had, in bytes.
    of_peak : float
        Useful FLOP/s over those of the fastest matrix product, the mean of before and after.
    """

    case: Case
    seconds: float
    resident: int
    of_peak: float

    @property
    def pace(self) -> float:
        """Seconds per million pixels."""
        return self.seconds / self.case.pixels


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
        measured = {
            "Pixels": _measure_all("Pixels", [replace(base, side=s) for s in side or []]),
            "Planes": _measure_all("Planes", [replace(base, planes=p) for p in planes or []]),
            "Workers": _measure_all("Workers", [_for_workers(base, w) for w in workers or []]),
        }
    tables = [_table(title, rows) for title, rows in measured.items() if rows]
    publish("Scaling", tables, _notes(memory), describe_machine(resolve_device(device)), out)
    plotted = {title: measured[title] for title in ("Pixels", "Planes") if measured[title]}
    if out is not None and plotted:
        _append_plot(out, plotted)


def _for_workers(base: Case, workers: int) -> Case:
    return replace(base, planes=_PLANES_FOR_WORKERS, workers=workers, memory=None)


def _measure_all(title: str, cases: list[Case]) -> list[Measured]:
    return [_measure(case) for case in watched(cases, title)]


def _table(title: str, rows: list[Measured]) -> Table:
    columns = ["planes", "Mpx", "workers", "s", "s / Mpx", "to the first", "of peak", "peak MB"]
    return Table(title, columns, [_row(one, rows[0].pace) for one in rows])


def _row(one: Measured, first: float) -> list[str]:
    planes, height, width = one.case.shape
    here = not one.case.workers
    return [
        f"{planes} × {height} × {width}",
        f"{one.case.pixels:g}",
        "–" if here else str(one.case.workers),
        f"{one.seconds:.1f}",
        f"{one.pace:.3f}",
        f"{one.pace / first:.2f}",
        f"{one.of_peak:.2f}" if here else "–",
        megabytes(one.resident) if here else "–",
    ]


def _append_plot(out: Path, series: dict[str, list[Measured]]) -> None:
    """Time and memory over the number of pixels."""
    picture = out.parent.parent / "images" / f"{out.stem}.png"
    mpl.use("Agg")
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for title, rows in series.items():
        pixels = [one.case.pixels for one in rows]
        left.plot(pixels, [one.pace for one in rows], "o-", label=title.lower())
        right.plot(pixels, [one.resident / 1e6 for one in rows], "o-", label=title.lower())
    for axes, label in ((left, "s / Mpx"), (right, "peak memory in MB")):
        axes.set(xlabel="Mpx", ylabel=label, xscale="log", ylim=(0, 1.1 * axes.dataLim.ymax))
    if len(series) > 1:
        left.legend()
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=110)
    plt.close(figure)
    with out.open("a", encoding="utf-8") as file:
        file.write(f"\n## Plot\n\n![Time and memory over pixels](../images/{picture.name})\n")


def _measure(case: Case) -> Measured:
    source = _array(case, "source.zarr")
    block = np.random.default_rng(0).poisson(_PHOTONS, (_CHUNK, case.side)).astype(np.uint16)
    for plane in range(case.planes):
        for start in range(0, case.side, _CHUNK):
            stop = min(case.side, start + _CHUNK)
            source[plane, start:stop] = block[: stop - start]
    _array(case, "target.zarr")
    before = _matrix_speed(case)
    with fresh_process() as process:
        work = _restore_on_dask if case.workers else _restore
        seconds, resident = process.submit(work, case).result()
    operations = load_model_for("denoise", case.model).network.config.operations_per_pixel()
    speed = 1e6 * case.pixels * operations / seconds
    return Measured(case, seconds, resident, 2 * speed / (before + _matrix_speed(case)))


def _matrix_speed(case: Case) -> float:
    """FLOP/s, measured in a process of its own: the matrices would count as its memory."""
    precision = dtype_name(fast_dtype(resolve_device(case.device)))
    with fresh_process() as process:
        found = process.submit(executions.matrix_speeds, case.device, precision).result()
    return max(found.values())


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
        "Of peak: useful FLOP/s over those of the fastest matrix product, measured before and "
        "after.",
        f"Workers are dask.distributed processes of one thread, for {_PLANES_FOR_WORKERS} planes.",
    ]


if __name__ == "__main__":
    typer.run(main)
