"""Restorations: an array and how to restore it, as steps that can be watched and cancelled.

Parts are restored one after another, or side by side on several devices; windows of planes as in
the whole result. The time this takes is estimated from a small synthetic plane.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from napari_rednet.engine.color import ColorMode
from napari_rednet.execution.job import (
    Job,
    MaskedImage,
    PlaneKeys,
    all_samples,
    is_dask,
    is_in_memory,
    measured_channels,
    plane_of,
    readable,
    sampled_windows,
    samples_of,
    volume_of,
)
from napari_rednet.execution.parts import (
    Output,
    Part,
    ResumableOutput,
    output_for,
    parts_of,
)
from napari_rednet.execution.reading import (
    Repairs,
    Samples,
    doubtful_noise_words,
    rounding_words,
    written_chunks_of,
)

if TYPE_CHECKING:
    from napari_rednet.engine.planes import ChannelSettings, Plane, Volume

logger = logging.getLogger(__name__)
Progress = Callable[[int, int], None]
Steps = Generator[tuple[int, int], None, Any]
"""A run that yields (pixels done, pixels in all) and returns the restored image."""
# Cache for chunks of the source that the next band needs, too.
_READ_BYTES = 2**27
Numbered = tuple[int, Part]
# Large enough to measure the speed of a device; on a CPU mostly less than a second's work.
_SIDE, _WARM_UP_ROWS = 256, 32
# Of a plane that stands for a volume.
_VOLUME_SIDE, _VOLUME_PLANES = 64, 8
_MISSING = 0.02
# So many channels are measured before anything is restored.
FEW_CHANNELS = 32
# Pairs of neighbouring planes that are compared.
_FEW_PAIRS = 6


def drain(steps: Steps, progress: bool | Progress, description: str) -> Any:
    """Run `steps` to the end and return its result, reporting progress as asked."""
    if progress is True:
        return _drain_with_bar(steps, description)
    report = progress if callable(progress) else None
    while True:
        try:
            done, total = next(steps)
        except StopIteration as end:
            return end.value
        if report is not None:
            report(done, total)


def _drain_with_bar(steps: Steps, description: str) -> Any:
    from tqdm.auto import tqdm

    with tqdm(desc=description, unit="px", unit_scale=True) as bar:

        def report(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        return drain(steps, report, description)


def restoration_steps(
    job: Job,
    array: Any,
    out: Any = None,
    find_mask: Callable[[], Any] | None = None,
    repairs: Repairs | None = None,
) -> Steps:
    """Restore all planes of `array` into `out`, or into a new array; lazily for dask arrays.

    `find_mask`, which may take time, returns the missing pixels as bool of the array's shape.
    Repairs of dask arrays are not counted, since other processes may make them, or nobody.
    """
    if is_dask(array):
        return _lazy_steps(job, array, out, find_mask)
    return _eager_steps(job, array, out, find_mask, Repairs() if repairs is None else repairs)


def _eager_steps(
    job: Job, array: Any, out: Any, find_mask: Callable[[], Any] | None, repairs: Repairs
) -> Steps:
    mask = find_mask() if find_mask else None
    target = np.empty(job.shape, job.result_dtype(array)) if out is None else out
    total = math.prod(job.shape)
    if total > 0:
        output = output_for(job, target)
        settings = _MeasuredSettings(job, array, mask)
        runs = [
            PartRun(job, array, mask, settings, output, name, repairs)
            for name in job.devices or (None,)
        ]
        parts = enumerate(parts_of(job, output.chunks))
        reports = runs[0].restore(parts) if len(runs) == 1 else side_by_side(runs, parts)
        # Sums of all parts would take ever longer.
        begun: dict[int, int] = {}
        done = 0
        for number, pixels in reports:
            done += pixels - begun.get(number, 0)
            begun[number] = pixels
            yield done, total
    if repairs.count:
        logger.info("%s that noise and optics do not explain (defects='keep' does not)", repairs)
    if out is None and isinstance(array, MaskedImage):
        return array.result(target, job.layout.spatial_axes, job.scale)
    return target


class _MeasuredSettings(Sequence["ChannelSettings"]):
    """Settings of each channel, measured when its turn comes, since there may be any number.

    The first ones are measured at once, to warn if photons would be lost, or noise is doubtful,
    before anything is restored.
    """

    def __init__(self, job: Job, array: Any, mask: Any) -> None:
        self._job, self._source, self._mask = job, readable(array), mask
        self._dtype = job.result_dtype(array)
        self._found: dict[int, ChannelSettings] = {}
        self._told: set[str] = set()
        # Parts may be restored in several threads.
        self._lock = threading.Lock()
        for channel in range(min(len(self), FEW_CHANNELS)):
            self[channel]
        if job.along is not None and _are_unlike(job, array, self):
            self._warn(
                f"planes along axis {job.along} show different objects, and help each other "
                "little; are they channels, or positions?"
            )

    def __len__(self) -> int:
        return measured_channels(self._job)

    @overload
    def __getitem__(self, index: int) -> ChannelSettings: ...

    @overload
    def __getitem__(self, index: slice) -> list[ChannelSettings]: ...

    def __getitem__(self, index: int | slice) -> ChannelSettings | list[ChannelSettings]:
        chosen = range(len(self))[index]
        if isinstance(chosen, range):
            return [self[channel] for channel in chosen]
        with self._lock:
            if chosen not in self._found:
                self._found[chosen] = self._measured(chosen)
            return self._found[chosen]

    def _measured(self, channel: int) -> ChannelSettings:
        windows = samples_of(self._job, self._source, self._mask, channel)
        settings = self._job.settings(windows, channel)
        self._warn(rounding_words(self._dtype, settings, windows))
        self._warn(doubtful_noise_words(settings, windows))
        return settings

    def _warn(self, words: str) -> None:
        """Warn, once of each, and not of each of many channels."""
        if words and words not in self._told and len(self._told) < FEW_CHANNELS:
            self._told.add(words)
            warnings.warn(words, stacklevel=2)


def _are_unlike(job: Job, array: Any, settings: Sequence[ChannelSettings]) -> bool:
    """True if neighbouring planes have structure above their noise, and not the same."""
    from napari_rednet.engine.fusion import match

    along = job.along or 0
    length = job.layout.shape[along]
    trusts = []
    for key in job.layout.some_planes(0, _FEW_PAIRS):
        step = -1 if key.index[along] == length - 1 else 1
        middle = [
            slice(max(0, n - _SIDE) // 2, (n + min(n, _SIDE)) // 2) for n in job.layout.plane_shape
        ]
        one, other = (
            np.asarray(array[of.window(*middle)], np.float32)
            for of in (key, key.beside(along, step, length))
        )
        noise = settings[0].noise
        if noise is not None and not settings[0].bases:
            trusts.append(match(one, other, noise).trust)
    return bool(trusts) and float(np.median(trusts)) == 0


def _lazy_steps(job: Job, array: Any, out: Any, find_mask: Callable[[], Any] | None) -> Steps:
    import dask.array as da

    from napari_rednet.execution.parts import restored_lazily, store_steps

    total = math.prod(job.shape)
    if total == 0:
        return da.zeros(job.shape, dtype=job.result_dtype(array)) if out is None else out
    mask = find_mask() if find_mask else None
    if out is None:
        return restored_lazily(job, array, mask)
    chunks = written_chunks_of(out.array if isinstance(out, ResumableOutput) else out)
    if chunks is None:
        da.store(restored_lazily(job, array, mask), out, lock=True)
        yield total, total
        return out
    # Blocks that end where chunks end can be written in parallel, even by other processes.
    for done in store_steps(restored_lazily(job, array, mask, chunks), out):
        yield done, total
    return out


class PartRun:
    """Restores one part after another, on one device."""

    def __init__(
        self,
        job: Job,
        array: Any,
        mask: Any,
        settings: Sequence[ChannelSettings],
        output: Output,
        device: str | None,
        repairs: Repairs | None = None,
    ) -> None:
        self._repairs = repairs
        self._job, self._mask, self._settings, self._output = job, mask, settings, output
        self._target = output.target()
        self._source = readable(array, _READ_BYTES)
        self._restorer = job.make_restorer(device=device)

    def restore(self, parts: Iterable[Numbered]) -> Iterator[tuple[int, int]]:
        """Restore parts unless they are finished; yield (part number, pixels done of it)."""
        for number, part in parts:
            total = self._pixels(part)
            if self._output.has(number, part):
                yield number, total
                continue
            share = total // max(1, len(part.planes))
            for index, segment in enumerate(self._segments(part)):
                size = math.prod(segment.shape)
                for pixels in self._restorer.restore(segment):
                    yield number, index * share + share * pixels // size
            self._output.finish(number, self._target)

    def _segments(self, part: Part) -> Iterator[Plane | Volume]:
        from napari_rednet.engine.planes import rows_of

        for keys in part.planes:
            if self._job.depth is not None:
                yield volume_of(
                    self._job, keys, self._source, self._target, self._settings, self._repairs
                )
                continue
            plane = plane_of(
                self._job,
                keys,
                self._source,
                self._target,
                self._settings,
                self._mask,
                self._repairs,
            )
            yield rows_of(plane, part.rows)

    def _pixels(self, part: Part) -> int:
        width = self._job.layout.enlarged(self._job.scale).plane_shape[1]
        return sum(map(len, part.planes)) * part.rows.kept * width


def side_by_side(runs: Sequence[PartRun], parts: Iterable[Numbered]) -> Iterator[tuple[int, int]]:
    """Give each part to the next free run; yield (part number, pixels done of it)."""
    team = _Team(runs, parts)
    with closing(team):
        yield from team.reports()


class _Team:
    """A thread for each run; an error in one ends all."""

    def __init__(self, runs: Sequence[PartRun], parts: Iterable[Numbered]) -> None:
        # Taken one by one, since there may be any number.
        self._waiting, self._lock = iter(parts), threading.Lock()
        self._reports: queue.SimpleQueue[tuple[int, int] | Exception | None]
        self._reports = queue.SimpleQueue()
        self._is_closed = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(run,)) for run in runs]

    def reports(self) -> Iterator[tuple[int, int]]:
        """Yield (part number, pixels done of it)."""
        for thread in self._threads:
            thread.start()
        working = len(self._threads)
        while working:
            report = self._reports.get()
            if isinstance(report, Exception):
                raise report
            if report is None:
                working -= 1
            else:
                yield report

    def close(self) -> None:
        """Let all threads end after their current band."""
        self._is_closed.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def _work(self, run: PartRun) -> None:
        try:
            for report in run.restore(self._next_parts()):
                if self._is_closed.is_set():
                    return
                self._reports.put(report)
            self._reports.put(None)
        except Exception as error:  # noqa: BLE001 - raised by whoever reads the reports
            self._reports.put(error)

    def _next_parts(self) -> Iterator[Numbered]:
        while True:
            with self._lock:
                part = next(self._waiting, None)
            if part is None:
                return
            yield part


@dataclass(frozen=True)
class Restoration:
    """A job, its array, and `find_mask`, which finds the missing pixels and may take time."""

    job: Job
    array: Any
    find_mask: Callable[[], Any] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the result."""
        return self.job.shape

    def mask(self) -> Any:
        """The missing pixels; None if there are none."""
        return None if self.find_mask is None else self.find_mask()

    def steps(self, out: Any = None, repairs: Repairs | None = None) -> Steps:
        """Restore everything into `out`, or into a new array; `repairs` counts repaired pixels."""
        if isinstance(self.array, MaskedImage) and self.array.is_unknown:
            warnings.warn("image is masked as a whole; it stays as it is", stacklevel=2)
        return restoration_steps(self.job, self.array, out, self.find_mask, repairs)


@dataclass(frozen=True)
class Speed:
    """Seconds per pixel of the sample windows (`measuring`) and of the result (`restoring`)."""

    measuring: float
    restoring: float

    def seconds(self, job: Job) -> float:
        """Time for a job of the same kind and any size, without reading it."""
        sampled = measured_channels(job) * sum(map(_pixels, sampled_windows(job, 0)))
        pixels = math.prod(job.layout.enlarged(job.scale).plane_shape)
        counts = math.prod(job.layout.plane_counts(is_color=bool(job.color)))
        planes = counts * (3 if job.color is ColorMode.OPPONENT else 1)
        return self.measuring * sampled + self.restoring * pixels * planes


def speed_steps(restoration: Restoration) -> Steps:
    """Measure the `Speed` of jobs that differ only in size; yields now and then, returns it."""
    job, has_mask = restoration.job, restoration.find_mask is not None
    image = np.random.default_rng(0).normal(100, 10, (_SIDE, _SIDE)).astype(np.float32)
    begun = time.perf_counter()
    settings = job.settings(Samples([image]), 0)
    measured = time.perf_counter()
    yield 0, 0
    restorer: Any = job.make_restorer()
    if job.depth is not None:
        shape = (job.layout.shape[job.depth], *job.layout.plane_shape)
        small = _plane(image[:_VOLUME_SIDE, :_VOLUME_SIDE], settings, 0, has_mask=False)
        spent = yield from _seconds_for_a_voxel(restorer, small)
        computed = restorer.computed(shape, shape) / max(1, math.prod(shape))
        return Speed((measured - begun) / image.size, spent * computed)
    beside = len(job.offsets)
    for _ in restorer.restore(_plane(image[:_WARM_UP_ROWS], settings, beside, has_mask=has_mask)):
        yield 0, 0
    warm = time.perf_counter()
    for _ in restorer.restore(_plane(image, settings, beside, has_mask=has_mask)):
        yield 0, 0
    restored = time.perf_counter()
    return Speed((measured - begun) / image.size, (restored - warm) / image.size)


def _seconds_for_a_voxel(restorer: Any, plane: Plane) -> Generator[tuple[int, int], None, float]:
    """Time that a restorer of volumes takes for each voxel that it computes.

    It does not depend on the PSF, but how many there are does: with a wide one, a few planes would
    take as long as a stack.
    """
    from napari_rednet.engine.planes import PointSpread, Volume

    volume = Volume((plane,) * _VOLUME_PLANES, slice(0, _VOLUME_PLANES))
    restorer = replace(restorer, psf=PointSpread(np.ones((1, 1, 1)), (0.0, 0.0, 0.0)))
    begun = time.perf_counter()
    for _ in restorer.restore(volume):
        yield 0, 0
    return (time.perf_counter() - begun) / float(restorer.computed(volume.shape, volume.shape))


def _plane(
    image: npt.NDArray[np.float32], settings: ChannelSettings, beside: int, *, has_mask: bool
) -> Plane:
    """A plane, with as many neighbours as a network sees, and missing pixels if asked for."""
    from napari_rednet.engine.planes import Plane

    missing = np.random.default_rng(1).random(image.shape) < _MISSING

    def read_mask(rows: slice, columns: slice) -> npt.NDArray[np.bool_]:
        return missing[rows, columns]

    def read(rows: slice, columns: slice) -> npt.NDArray[np.float32]:
        return image[rows, columns]

    return Plane(
        (image.shape[0], image.shape[1]),
        image.dtype,
        read=read,
        write=lambda *_: None,
        settings=settings,
        mask=read_mask if has_mask else None,
        neighbours=(read,) * beside,
    )


def _pixels(index: tuple[int | slice, ...]) -> int:
    return math.prod(part.stop - part.start for part in index if isinstance(part, slice))


@dataclass(frozen=True)
class Measured:
    """Samples and mask of a whole array; samples per channel, or of the luminance of colours."""

    samples: Sequence[Samples]
    mask: Any = None


def measure(restoration: Restoration) -> Measured:
    """Measure an array, for any restoration of it with the same mask and colours."""
    mask = restoration.mask()
    return Measured(list(all_samples(restoration.job, restoration.array, mask)), mask)


class Windows:
    """Restores windows of an array as they are in the whole result, up to rounding.

    Deblurred windows are only close to it. Range and noise are those of the whole array.
    """

    def __init__(self, restoration: Restoration, measured: Measured) -> None:
        self.job, self.array, self.mask = restoration.job, restoration.array, measured.mask
        self.restorer = self.job.make_restorer()
        self.settings = [self.job.settings(s, c) for c, s in enumerate(measured.samples)]

    @property
    def margin(self) -> int | None:
        """Pixels around a window that it depends on, in the result; None if no margin is enough."""
        return self.restorer.row_margin

    def at(
        self, place: Sequence[int], rows: slice, columns: slice, channel: int | None = None
    ) -> Window:
        """A window to restore.

        `place` has an index for each axis but Y, X and channel; `rows` and `columns` count in the
        result. If a `channel` is given, it alone is restored.
        """
        return Window(self, place, rows, columns, channel)


class Window:
    """A window of the planes at one place; see `Windows.at`."""

    def __init__(
        self,
        windows: Windows,
        place: Sequence[int],
        rows: slice,
        columns: slice,
        channel: int | None,
    ) -> None:
        self._windows, self._place, self._channel = windows, place, channel
        self._rows, self._columns = rows, columns
        dtype = windows.job.result_dtype(windows.array)
        self._target = _Target(windows.job, rows, columns, dtype, one_channel=channel is not None)

    @property
    def values(self) -> npt.NDArray[Any]:
        """The window, (Y, X); of all channels, with their axis where the array has it."""
        return self._target.values

    @property
    def rows_done(self) -> int:
        """Rows of `values`, from the first on, that are final."""
        return self._target.rows_done

    def steps(self) -> Steps:
        """Restore it; yields (pixels done, pixels in all), returns `values`."""
        whole = self._windows
        keys = whole.job.layout.planes_at(self._place)
        groups = [keys] if whole.job.color else [(key,) for key in keys]
        if self._channel is not None:
            groups = [(keys[self._channel],)]
        size = (self._rows.stop - self._rows.start) * (self._columns.stop - self._columns.start)
        for number, group in enumerate(groups):
            plane = self._volume(group) if whole.job.depth is not None else self._plane(group)
            yield number * size, len(groups) * size
            for _ in whole.restorer.restore_window(plane, self._rows, self._columns):
                yield number * size, len(groups) * size
        return self.values

    def _plane(self, keys: PlaneKeys) -> Plane:
        whole = self._windows
        plane = plane_of(whole.job, keys, whole.array, self._target, whole.settings, whole.mask)
        # The target is in memory, but `plane_of` cannot know that.
        return replace(plane, is_stored=not is_in_memory(whole.array))

    def _volume(self, keys: PlaneKeys) -> Volume:
        """The volume that a plane is one of, which alone is kept."""
        whole, (key,) = self._windows, keys
        axis = whole.job.depth
        if axis is None:
            raise ValueError("planes of this job are restored by themselves")
        z = int(key.index[axis])  # type: ignore[arg-type]
        planes = whole.job.layout.volume_of(key, axis)
        volume = volume_of(whole.job, planes, whole.array, self._target, whole.settings)
        return replace(volume, keep=slice(z, z + 1))


class _Target:
    """A window of an array, written to with the indices of the whole array."""

    def __init__(
        self,
        job: Job,
        rows: slice,
        columns: slice,
        dtype: np.dtype[Any],
        *,
        one_channel: bool = False,
    ) -> None:
        y, x = job.layout.spatial_axes
        self._first = {y: rows.start, x: columns.start}
        self._channel = None if one_channel else job.layout.channel
        sides = {y: rows.stop - rows.start, x: columns.stop - columns.start}
        if self._channel is not None:
            sides[self._channel] = job.layout.channels
        self.values: npt.NDArray[Any] = np.empty([sides[a] for a in sorted(sides)], dtype)
        self._columns = sides[x]
        channels = 1 if self._channel is None else sides[self._channel]
        self._done = [0] * channels

    @property
    def rows_done(self) -> int:
        """Rows, from the first on, that have been written in all channels."""
        return min(self._done)

    def __setitem__(self, index: Sequence[int | slice], values: npt.NDArray[Any]) -> None:
        place: list[int | slice] = []
        channel = 0
        for axis, part in enumerate(index):
            if isinstance(part, slice):
                first = self._first[axis]
                place.append(slice(part.start - first, part.stop - first))
            elif axis == self._channel:
                place.append(part)
                channel = part
        self.values[tuple(place)] = values
        self._note(channel, *(part for part in place if isinstance(part, slice)))

    def _note(self, channel: int, rows: slice, columns: slice) -> None:
        # Strips of columns are written in order; rows are complete with the last strip.
        if columns.stop == self._columns and rows.start <= self._done[channel]:
            self._done[channel] = max(self._done[channel], rows.stop)
