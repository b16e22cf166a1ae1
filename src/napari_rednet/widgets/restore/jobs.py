"""The jobs of a run: layers that are restored one after the other, and their records."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Layer

from napari_rednet import __version__
from napari_rednet.engine.channel import NoiseModel
from napari_rednet.execution import is_dask
from napari_rednet.provenance import Call
from napari_rednet.widgets.shared.layers import LayerImage, LayerSource, layer_source
from napari_rednet.widgets.shared.worker import PER_MILLE, Steps

if TYPE_CHECKING:
    from napari_rednet.models import Model


@dataclass(frozen=True)
class Job:
    """A layer to restore, with the arguments of `steps`; `layer` is for the GUI thread only.

    `options` are arguments of `add_image` that place the result: the layer's data, and with them
    its axes, may change during the run.
    """

    layer: Image
    source: LayerSource
    image: LayerImage
    arguments: dict[str, Any]
    options: dict[str, Any]

    def call(self, verb: str, used: dict[str, Any]) -> Call:
        """The job as a `Call`; reads the file of the layer, and of a mask.

        Arguments that are not None are replaced by their values in `used`; of a part all are, since
        code that cuts it out first would measure the part.
        """
        image, given = self.image, self.arguments
        found = {
            name: used[name]
            for name in given.keys() & used.keys()
            if given[name] is not None or image.whole is not None
        }
        arguments: dict[str, Any] = plain({**given, **found})
        origin = self.source.find_origin()
        return Call(verb, origin, arguments, image.rgb, image.has_alpha, image.crop, image.channel)


@dataclass(frozen=True)
class Restored:
    """A result: the array to show, all arguments used, and the record of the run in JSON types.

    `job` is what was done.
    """

    job: Job
    array: Any
    used: dict[str, Any]
    record: dict[str, Any]

    @property
    def layer(self) -> Image:
        """The layer that was restored."""
        return self.job.layer


@dataclass(frozen=True)
class Failed:
    """A layer that could not be restored."""

    layer: Image
    error: Exception


Outcome = Restored | Failed


def prepare(layers: Sequence[Image], make_job: Callable[[Image], Job]) -> list[Job | Failed]:
    """Make the jobs of layers; an error is raised if there is one layer, and else a `Failed`."""
    if len(layers) == 1:
        return [make_job(layers[0])]
    jobs: list[Job | Failed] = []
    for layer in layers:
        try:
            jobs.append(make_job(layer))
        except ValueError as error:
            jobs.append(Failed(layer, error))
    return jobs


class JobsRun:
    """Runs jobs one after the other in a worker; the window takes the results meanwhile.

    Several jobs share one progress, and an error in one does not stop the others.
    """

    def __init__(self, jobs: Sequence[Job | Failed], restore: Callable[[Job], Steps]) -> None:
        self._jobs, self._restore = jobs, restore
        # One thread appends, the other one pops, so that arrays are not kept longer than needed.
        self._finished: deque[Outcome] = deque()
        self._to_take = len(jobs)
        self.present: Job | None = None  # which is worked on

    @property
    def is_over(self) -> bool:
        """True if all outcomes have been taken."""
        return self._to_take == 0

    def is_done(self, results: int) -> bool:
        """True if every job has a result."""
        return results == len(self._jobs)

    def take(self) -> Iterator[Outcome]:
        """Outcomes finished since the last call, for the GUI thread."""
        while self._finished:
            self._to_take -= 1
            yield self._finished.popleft()

    def steps(self) -> Steps:
        """Do the jobs, step by step."""
        if len(self._jobs) == 1 and isinstance(self._jobs[0], Job):
            self.present = self._jobs[0]
            self._finished.append((yield from self._restore(self._jobs[0])))
            return
        for number, job in enumerate(self._jobs):
            self.present = job if isinstance(job, Job) else None
            outcome: Outcome = (
                job
                if isinstance(job, Failed)
                else (yield from _one_of_several(job, self._restore, number, len(self._jobs)))
            )
            self._finished.append(outcome)


def _one_of_several(
    job: Job, restore: Callable[[Job], Steps], number: int, count: int
) -> Generator[Any, None, Outcome]:
    steps = restore(job)
    try:
        while True:
            progress = next(steps)
            if isinstance(progress, tuple):
                done, total = progress
                share = PER_MILLE * done // total if total else 0
                yield number * PER_MILLE + share, count * PER_MILLE
            else:
                yield progress
    except StopIteration as end:
        outcome: Outcome = end.value
        return outcome
    except Exception as error:  # noqa: BLE001 - it is shown, and the other jobs go on
        return Failed(job.layer, error)
    finally:
        steps.close()


def recorded(
    job: Job,
    verb: str,
    model: Model,
    steps: Generator[Any, None, tuple[Any, dict[str, Any]]],
) -> Steps:
    """Run the steps of a job; return the result with its record."""
    from napari_rednet.engine.network import devices_to_use, resolve_device

    began = time.perf_counter()
    array, used = yield from steps
    seconds = time.perf_counter() - began
    call = job.call(verb, used)
    devices = devices_to_use(job.arguments["device"])
    record = {
        "source": job.source.name,
        "path": call.source.path,
        "verb": verb,
        "crop": call.record["crop"],
        "channel_axis": call.channel_axis,
        **call.arguments,
        **plain(used),
        "model": model.name,
        "computed_on": [str(resolve_device(device)) for device in devices],
        "is_lazy": is_dask(array),
        "seconds": round(seconds, 3),
        "versions": _versions(),
        "call": call.record,
    }
    return Restored(job, array, {**job.arguments, **used}, record)


def made_by(layer: Layer | None) -> Call | None:
    """The call that made a layer; None if the layer is not a result."""
    record = {} if layer is None else layer.metadata.get("napari_rednet", {})
    return Call.from_record(record["call"]) if "call" in record else None


def _versions() -> dict[str, str]:
    import torch

    return {
        "napari-rednet": __version__,
        "torch": str(torch.__version__),
        "numpy": np.__version__,
    }


def plain(value: Any) -> Any:
    """Convert arguments to JSON types."""
    if isinstance(value, NoiseModel):
        return {name: float(number) for name, number in asdict(value).items()}
    if isinstance(value, dict):
        return {name: plain(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, np.generic):
        return value.item()
    return value.record() if hasattr(value, "record") else value


def make_job(
    layer: Image, image: LayerImage, arguments: dict[str, Any], options: dict[str, Any]
) -> Job:
    """Make the job of a layer."""
    return Job(layer, layer_source(layer), image, arguments, options)
