"""The jobs of a run: layers restored one after the other, what is shown meanwhile, records."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from napari.viewer import Viewer

from napari_rednet import __version__
from napari_rednet.engine.channel import NoiseModel
from napari_rednet.execution import Repairs, is_dask
from napari_rednet.provenance import Call
from napari_rednet.widgets.shared.layers import (
    TEMPORARY,
    LayerImage,
    LayerSource,
    insert_quietly,
    is_seen_through,
    layer_source,
)
from napari_rednet.widgets.shared.worker import PER_MILLE, WorkerSteps

if TYPE_CHECKING:
    from napari_rednet.execution import Restoration
    from napari_rednet.models import Model

# Each assignment of data takes a redraw; short runs show their result soon enough.
_SECONDS_BETWEEN = 1.0


@dataclass(frozen=True)
class LayerJob:
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

    job: LayerJob
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


def prepare(
    layers: Sequence[Image], make_job: Callable[[Image], LayerJob]
) -> list[LayerJob | Failed]:
    """Make the jobs of layers; an error is raised if there is one layer, and else a `Failed`."""
    if len(layers) == 1:
        return [make_job(layers[0])]
    jobs: list[LayerJob | Failed] = []
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

    def __init__(
        self, jobs: Sequence[LayerJob | Failed], restore: Callable[[LayerJob], WorkerSteps]
    ) -> None:
        self._jobs, self._restore = jobs, restore
        # One thread appends, the other one pops, so that arrays are not kept longer than needed.
        self._finished: deque[Outcome] = deque()
        self._to_take = len(jobs)
        self.present: LayerJob | None = None  # which is worked on

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

    def steps(self) -> WorkerSteps:
        """Do the jobs, step by step."""
        if len(self._jobs) == 1 and isinstance(self._jobs[0], LayerJob):
            self.present = self._jobs[0]
            self._finished.append((yield from self._restore(self._jobs[0])))
            return
        for number, job in enumerate(self._jobs):
            self.present = job if isinstance(job, LayerJob) else None
            outcome: Outcome = (
                job
                if isinstance(job, Failed)
                else (yield from _one_of_several(job, self._restore, number, len(self._jobs)))
            )
            self._finished.append(outcome)


def _one_of_several(
    job: LayerJob, restore: Callable[[LayerJob], WorkerSteps], number: int, count: int
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
    job: LayerJob,
    verb: str,
    model: Model,
    steps: Generator[Any, None, tuple[Any, dict[str, Any]]],
) -> WorkerSteps:
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
) -> LayerJob:
    """Make the job of a layer."""
    return LayerJob(layer, layer_source(layer), image, arguments, options)


class SoFar:
    """A result in the making, which one thread fills while the window reads what is finished.

    `finished` counts along the first axis, in the order of which planes are restored.
    """

    def __init__(self, array: Any) -> None:
        self.array, self.finished = array, 0

    def note(self, done: int, total: int) -> None:
        """Note progress; the last plane may still be on its way to the array."""
        self.finished = max(0, len(self.array) * done // total - 1) if total else 0


def restored_plane_by_plane(
    restoration: Restoration, image: LayerImage, repairs: Repairs | None = None
) -> WorkerSteps:
    """Restore: yield a `SoFar` first, if planes of the result can be shown before all are done."""
    array = restoration.array
    several_devices = len(restoration.job.devices) > 1  # which do not finish planes in order
    is_stack = len(image.spatial_shape) > 2 and image.spatial_shape[0] > 2
    if is_dask(array) or np.ma.isMaskedArray(image.data) or several_devices or not is_stack:
        return (yield from restoration.steps(repairs=repairs))
    so_far = SoFar(np.empty(restoration.shape, restoration.job.result_dtype(array)))
    yield so_far
    steps = restoration.steps(so_far.array, repairs)
    while True:
        try:
            done, total = next(steps)
        except StopIteration as end:
            return end.value
        so_far.note(done, total)
        yield done, total


class SoFarLayer:
    """A temporary layer with the finished planes of a run, over the layer that is restored."""

    def __init__(self, viewer: Viewer, so_far: SoFar, source: Image, look: dict[str, Any]) -> None:
        self._viewer, self._so_far = viewer, so_far
        self._source, self._look = source, look
        self._layer: Image | None = None
        self._is_unwanted = False
        self._due = time.monotonic() + _SECONDS_BETWEEN

    def update(self) -> None:
        """Show what has been finished since the last time, unless that is a moment ago."""
        finished = self._so_far.finished
        # Over channels that are seen through, planes would be twice as bright.
        hidden = self._is_unwanted or is_seen_through(self._source)
        if hidden or not finished or time.monotonic() < self._due:
            return
        self._due = time.monotonic() + _SECONDS_BETWEEN
        planes = self._so_far.array[:finished]
        if self._layer is None:
            self._layer = Image(
                planes,
                name=f"{self._source.name} (so far)",
                metadata={TEMPORARY: True},
                multiscale=False,
                **self._look,
            )
            insert_quietly(self._viewer, len(self._viewer.layers), self._layer)
        elif self._layer in self._viewer.layers:
            self._layer.data = planes
        else:
            self._is_unwanted = True  # the user has removed it

    def close(self) -> None:
        """Remove the layer."""
        self._is_unwanted = True
        if self._layer is not None and self._layer in self._viewer.layers:
            self._viewer.layers.remove(self._layer)
