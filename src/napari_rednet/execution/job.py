"""Run a model over all planes of an array, at once or lazily, step by step."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_rednet.engine.images import PlaneKey, PlaneLayout

if TYPE_CHECKING:
    from napari_rednet.engine.planes import (
        ChannelSettings,
        Plane,
        PlaneRestorer,
        ReadWindow,
        WriteWindow,
    )

Progress = Callable[[int, int], None]
Steps = Generator[tuple[int, int], None, Any]
"""A run that yields (pixels done, pixels in all) and returns the restored image."""

SettingsOf = Callable[[Sequence[npt.NDArray[Any]], int], "ChannelSettings"]
"""From the sample windows of a channel, and its number, to its settings."""

MakeRestorer = Callable[[], "PlaneRestorer"]
"""Makes a runner; called where the work is done, which may be another process."""


@dataclass(frozen=True)
class Job:
    """How to restore an array, whatever array it is.

    Parameters
    ----------
    layout : PlaneLayout
        Its axes.
    make_restorer : callable
        Makes what restores its planes.
    settings_of : callable
        How its channels are presented to the network. Pixels that a mask covers are NaN in the
        sample windows.
    scale : int
        How much larger the planes become.
    is_color : bool
        Whether the channels are colours, restored together by their luminance.
    """

    layout: PlaneLayout
    make_restorer: MakeRestorer
    settings_of: SettingsOf
    scale: int = 1
    is_color: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the result."""
        return self.layout.enlarged(self.scale).shape


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


def restoration_steps(job: Job, array: Any, out: Any, mask: Any = None) -> Steps:
    """Restore all planes of `array` into `out`, or into a new array; lazily for dask arrays.

    Parameters
    ----------
    mask : array, optional
        Bool, of the array's shape: which pixels are missing.
    """
    if is_dask(array):
        return _lazy_steps(job, array, out, mask)
    return _eager_steps(job, array, out, mask)


def _eager_steps(job: Job, array: Any, out: Any, mask: Any) -> Steps:
    if out is None:
        out = np.empty(job.shape, array.dtype)
    total = math.prod(job.shape)
    if total == 0:
        return out
    settings = [job.settings_of(w, c) for c, w in enumerate(_all_samples(job, array, mask))]
    restorer = job.make_restorer()
    before = 0
    for plane in planes(job, array, out, settings, mask):
        share = job.layout.channels if job.is_color else 1
        for pixels in restorer.restore(plane):
            yield before + share * pixels, total
        before += share * math.prod(plane.shape)
    return out


def planes(
    job: Job, source: Any, target: Any, settings: Sequence[ChannelSettings], mask: Any = None
) -> Iterator[Plane]:
    """The planes of an array, to be restored into the same places of another."""
    from napari_rednet.engine.color import luminance_plane
    from napari_rednet.engine.planes import Plane

    large = job.layout.enlarged(job.scale)
    dtype = np.dtype(source.dtype)
    if job.is_color:
        for keys in job.layout.color_planes():
            read = [_reader(job, source, key) for key in keys]
            write = [_writer(target, key) for key in keys]
            yield luminance_plane(large.plane_shape, dtype, read, write, settings[0])
        return
    for key in job.layout.planes():
        read_mask = None if mask is None else _window_reader(mask, key)
        yield Plane(
            large.plane_shape,
            dtype,
            _reader(job, source, key),
            _writer(target, key),
            settings[key.channel],
            read_mask,
        )


def _reader(job: Job, source: Any, key: PlaneKey) -> ReadWindow:
    from napari_rednet.engine.enlargement import read_enlarged

    read = _window_reader(source, key)
    if job.scale == 1:
        return read
    return read_enlarged(read, job.layout.plane_shape, job.scale)


def _window_reader(source: Any, key: PlaneKey) -> ReadWindow:
    def read(rows: slice, columns: slice) -> npt.NDArray[Any]:
        return np.asarray(source[key.window(rows, columns)])

    return read


def _writer(target: Any, key: PlaneKey) -> WriteWindow:
    def write(rows: slice, columns: slice, values: npt.NDArray[Any]) -> None:
        target[key.window(rows, columns)] = values

    return write


def sample_windows(array: Any, layout: PlaneLayout, channel: int) -> list[npt.NDArray[Any]]:
    """Parts of a channel that represent it, in native byte order."""
    return [_native(array[index]) for index in layout.sample_windows(channel)]


def _all_samples(job: Job, array: Any, mask: Any) -> Iterator[list[npt.NDArray[Any]]]:
    """Sample windows of each channel, or of the luminance of colours."""
    for indices in _sampled(job):
        parts = [array[i] for i in indices]
        covers = [] if mask is None else [mask[i] for i in indices]
        yield _as_samples(parts, covers, job.is_color)


def _sampled(job: Job) -> list[list[tuple[int | slice, ...]]]:
    channels = [job.layout.sample_windows(c) for c in range(job.layout.channels)]
    if not job.is_color:
        return channels
    # The three windows at the same place follow each other.
    return [[i for place in zip(*channels[:3], strict=True) for i in place]]


def _as_samples(
    parts: Sequence[Any], covers: Sequence[Any], is_color: bool
) -> list[npt.NDArray[Any]]:
    """Windows as they are measured: colours as luminance, missing pixels as NaN."""
    from napari_rednet.engine.color import luminance

    windows = [_native(part) for part in parts]
    if is_color:
        return [luminance(windows[i : i + 3]) for i in range(0, len(windows), 3)]
    if covers:
        pairs = zip(windows, covers, strict=True)
        return [np.where(np.asarray(c), np.nan, w.astype(np.float64)) for w, c in pairs]
    return windows


def _native(values: Any) -> npt.NDArray[Any]:
    array = np.asarray(values)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def is_dask(array: Any) -> bool:
    """Whether an array is a dask array, without importing dask."""
    dask_array = sys.modules.get("dask.array")
    return dask_array is not None and isinstance(array, dask_array.Array)


def _lazy_steps(job: Job, array: Any, out: Any, mask: Any) -> Steps:
    """A dask array's planes as the blocks of a new one, under settings that are lazy as well."""
    import dask.array as da

    total = math.prod(job.shape)
    if total == 0:
        return da.zeros(job.shape, dtype=array.dtype) if out is None else out
    restored = _restored_lazily(job, array, mask)
    if out is None:
        return restored
    da.store(restored, out)
    yield total, total
    return out


def _restored_lazily(job: Job, array: Any, mask: Any) -> Any:
    import dask
    import dask.array as da

    def measure(parts: Sequence[Any], covers: Sequence[Any], channel: int) -> ChannelSettings:
        return job.settings_of(_as_samples(parts, covers, job.is_color), channel)

    settings = [
        dask.delayed(measure)(
            [array[i] for i in indices], [] if mask is None else [mask[i] for i in indices], c
        )
        for c, indices in enumerate(_sampled(job))
    ]
    whole = set(job.layout.spatial_axes) | ({job.layout.channel} if job.is_color else set())
    chunks = {a: -1 if a in whole else 1 for a in range(array.ndim)}
    parts = [array.rechunk(chunks)]
    if mask is not None:
        parts.append(da.asarray(mask).rechunk(chunks))
    grown = job.layout.spatial_axes
    return da.map_blocks(
        _restore_block,
        *parts,
        job=job,
        settings=settings,
        dtype=array.dtype,
        chunks=tuple(
            tuple(n * job.scale for n in c) if a in grown else c
            for a, c in enumerate(parts[0].chunks)
        ),
        meta=np.empty((0,) * array.ndim, array.dtype),
    )


def _restore_block(
    block: npt.NDArray[Any],
    mask: npt.NDArray[np.bool_] | None = None,
    *,
    job: Job,
    settings: Sequence[ChannelSettings],
    block_info: Any = None,
) -> npt.NDArray[Any]:
    """Restore the planes of one block of a dask array."""
    position = block_info[0]["array-location"]
    axis = job.layout.channel
    part = replace(job, layout=PlaneLayout(block.shape, axis))
    channel = 0 if axis is None or job.is_color else position[axis][0]
    target = np.empty(part.shape, block.dtype)
    restorer = job.make_restorer()
    for plane in planes(part, block, target, settings[channel:], mask):
        for _ in restorer.restore(plane):
            pass
    return target
