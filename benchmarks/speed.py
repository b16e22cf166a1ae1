"""How fast a plane is restored, by row streaming and by other executions of the same network.

::

    python -m benchmarks.speed --size 2048 --repeats 5
    python -m benchmarks.speed --size 512 --network red30 --repeats 3
    python -m benchmarks.speed --network fast --execution "row streaming" --no-baselines

All figures come from one run in which the cases take turns, and are medians; speeds are compared
with the fastest matrix product of the device measured in the same run. Every case has a process of
its own, which reports its peak memory. A last column compares the results, so that an
execution that is fast because it is wrong would show.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import torch
import typer

from benchmarks import executions
from benchmarks.baselines import installed_baselines
from benchmarks.common import (
    Device,
    Out,
    Table,
    describe_machine,
    dtype_name,
    fresh_process,
    megabytes,
    publish,
    watched,
)
from benchmarks.executions import EXECUTIONS, PLAIN, STREAM, Case
from napari_rednet.engine.inference import is_out_of_memory
from napari_rednet.engine.network import fast_dtype, resolve_device
from napari_rednet.errors import DeviceMemoryError

Shape = tuple[int, int, int]
_NETWORKS = ["red30", "red20-stride2", "fast"]
_COLUMNS = ["execution", "s", "Mpx/s", "GFLOP/s", "of peak", "peak MB", "max. difference"]


@dataclass
class Measured:
    """A case, the process that runs it, and what was measured."""

    case: Case
    process: ProcessPoolExecutor
    times: list[float] = field(default_factory=list)
    memory: float | None = None
    difference: float | None = None
    failure: str = ""

    def attempt(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Do something in the case's process; None once memory has run out there."""
        if self.failure:
            return None
        try:
            return self.process.submit(work, *arguments).result()
        except BrokenProcessPool:
            self.failure = "killed"
        except (RuntimeError, MemoryError, DeviceMemoryError) as error:
            if not (isinstance(error, DeviceMemoryError) or is_out_of_memory(error)):
                raise
            self.failure = "out of memory"
        return None

    def run_once(self) -> None:
        """Measure one more time."""
        taken = self.attempt(executions.seconds, self.case)
        if taken is not None:
            self.times.append(taken)


def main(
    *,
    size: Annotated[int, typer.Option(help="Rows and columns of the plane.")] = 2048,
    network: Annotated[
        list[str],
        typer.Option(help="red30, red20-stride2, or a model's name or file; repeatable."),
    ] = _NETWORKS,
    execution: Annotated[
        list[str] | None,
        typer.Option(help="A row of the tables; repeatable. All unless named."),
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds, of which medians are taken.")] = 5,
    precision: Annotated[str, typer.Option(help="A torch dtype, or auto: the engine's.")] = "auto",
    check_size: Annotated[int, typer.Option(help="Side of the plane for differences.")] = 601,
    baseline_size: Annotated[int, typer.Option(help="Side of the plane for baselines.")] = 512,
    baselines: Annotated[bool, typer.Option(help="Measure other denoisers as well.")] = True,
    threads: Annotated[int, typer.Option(min=0, help="Of the CPU; 0: as many as usual.")] = 0,
    device: Device = "auto",
    out: Out = None,
) -> None:
    """Measure how fast planes are restored."""
    if unknown := set(execution or ()) - set(EXECUTIONS):
        raise typer.BadParameter(f"{unknown} are none of {EXECUTIONS}", param_hint="--execution")
    torch.set_num_threads(threads or torch.get_num_threads())
    target = resolve_device(device)
    dtype = fast_dtype(target) if precision == "auto" else getattr(torch, precision)
    # In memory, as here, a CPU does one thing at a time anyway.
    ways = execution or [how for how in EXECUTIONS if how != PLAIN or target.type != "cpu"]
    others = installed_baselines() if baselines else ()
    where = (str(target), dtype_name(dtype))
    cases = [Case(name, how, size, *where) for name in network for how in ways]
    cases += [Case("", name, baseline_size, "cpu", "float32") for name in others]
    measured, peaks = _measure(cases, str(target), dtype_name(dtype), repeats)
    _check(measured, check_size)
    tables = _tables(measured, max(peaks.values()))
    notes = _notes(repeats, peaks, check_size)
    publish("Speed", tables, notes, describe_machine(target, dtype), out)


def _measure(
    cases: Sequence[Case], device: str, precision: str, repeats: int
) -> tuple[list[Measured], dict[Shape, float]]:
    """All cases in turns, and the speed of matrix products, in as many rounds as asked."""
    speeds: dict[Shape, list[float]] = defaultdict(list)
    with ExitStack() as stack:
        matrices = stack.enter_context(fresh_process())
        measured = [Measured(case, stack.enter_context(fresh_process())) for case in cases]
        for turn in range(repeats):
            found = matrices.submit(executions.matrix_speeds, device, precision).result()
            for shape, speed in found.items():
                speeds[shape].append(speed)
            for one in watched(measured, f"round {turn + 1} of {repeats}"):
                one.run_once()
        for one in measured:
            one.memory = one.attempt(executions.peak_memory, device)
    return measured, {shape: median(values) for shape, values in speeds.items()}


def _check(measured: Sequence[Measured], size: int) -> None:
    """Compare results, in another process: the float32 reference is not part of any case."""
    for one in watched([m for m in measured if m.case.network and not m.failure], "comparing"):
        with fresh_process() as process:
            one.process = process
            one.difference = one.attempt(executions.difference, replace(one.case, size=size))


def _tables(measured: Sequence[Measured], peak: float) -> list[Table]:
    tables = []
    for network in dict.fromkeys(one.case.network for one in measured):
        own = [one for one in measured if one.case.network == network]
        operations = executions.operations_per_pixel(network) if network else None
        table = Table(_title(own[0].case, operations), _COLUMNS)
        table.rows += [_row(one, operations, peak) for one in own]
        tables.append(table)
    return tables


def _title(case: Case, operations: int | None) -> str:
    place = f"{case.size} × {case.size}"
    if operations is None:
        return f"Other denoisers, {place}"
    return f"{Path(case.network).stem}, {place}, {operations / 1e6:.3f} MFLOP per pixel"


def _row(one: Measured, operations: int | None, peak: float) -> list[str]:
    memory = megabytes(one.memory)
    if not one.times:
        return [one.case.execution, one.failure, "–", "–", "–", memory, "–"]
    taken = median(one.times)
    rate = one.case.size**2 / taken
    figures = [f"{taken:.3g}", f"{rate / 1e6:.3g}"]
    if operations is None:
        return [one.case.execution, *figures, "–", "–", memory, "–"]
    speed = rate * operations
    difference = "–" if one.difference is None else f"{one.difference:.1e}"
    figures += [f"{speed / 1e9:,.0f}", f"{speed / peak:.2f}", memory, difference]
    return [one.case.execution, *figures]


def _notes(repeats: int, peaks: dict[Shape, float], check_size: int) -> list[str]:
    shape = max(peaks, key=lambda s: peaks[s])
    product = " × ".join(map(str, shape))
    return [
        f"Medians of {repeats} rounds in which the cases took turns. The peak is the fastest of "
        f"{len(peaks)} matrix products, ({product}): {peaks[shape] / 1e9:,.0f} GFLOP/s.",
        "GFLOP/s counts useful operations only: no halos, no padding, no normalisation.",
        f"{STREAM.capitalize()} is all that `denoise` does with a plane of uint16: normalisation, "
        "noise map, network, conversion, writing. The others are given the network's input "
        "and leave its output where it is; tiles have the receptive field as halo.",
        "One thing at a time: bands are not read ahead and written behind, which they are for Zarr "
        "and on a GPU. Zarr arrays are on disk, compressed, in chunks of 512 × 512.",
        "The others run the network as training does, under autocast, without fused or in-place "
        "ReLU: what a plain PyTorch program would do, not the best that could be made of them.",
        "Peak MB is that of the case's own process with all its libraries (of the GPU's memory "
        "where a GPU computes), 10^6 bytes.",
        f"Max. difference: from the whole plane in float32, {check_size} × {check_size}, as a "
        "fraction of the intensity range. The networks redXX have random weights.",
    ]


if __name__ == "__main__":
    typer.run(main)
