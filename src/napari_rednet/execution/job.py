"""What is to be restored, plane by plane, whatever array it lies in."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_rednet.engine.color import ColorMode, luminance, luminance_plane, opponent_plane
from napari_rednet.engine.images import PlaneKey, PlaneLayout
from napari_rednet.execution.chunks import ChunkReader, chunks_of
from napari_rednet.execution.samples import Samples

if TYPE_CHECKING:
    from napari_rednet.engine.planes import (
        ChannelSettings,
        Plane,
        PlaneRestorer,
        ReadWindow,
        WriteWindow,
    )

SettingsOf = Callable[[Samples, int], "ChannelSettings"]
"""From the sample windows of a channel, and its number, to its settings."""

MakeRestorer = Callable[..., "PlaneRestorer"]
"""Makes a runner, on `device` if one is named; called where the work is done, which may be another
process."""


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
    color : ColorMode, optional
        How the channels, if they are colours, are restored together; None if each by itself.
    devices : tuple of str
        Devices to compute on side by side, if there are several.
    """

    layout: PlaneLayout
    make_restorer: MakeRestorer
    settings_of: SettingsOf
    scale: int = 1
    color: ColorMode | None = None
    devices: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the result."""
        return self.layout.enlarged(self.scale).shape

    @property
    def is_by_luminance(self) -> bool:
        """Whether the channels are colours of which the luminance is restored."""
        return self.color is ColorMode.LUMINANCE


PlaneKeys = tuple[PlaneKey, ...]
"""The key of a plane; those of its channels if they are colours."""


def plane_keys(job: Job) -> Iterator[PlaneKeys]:
    """The planes of a job, in order."""
    if job.color:
        yield from job.layout.color_planes()
    else:
        yield from ((key,) for key in job.layout.planes())


def plane_of(
    job: Job,
    keys: PlaneKeys,
    source: Any,
    target: Any,
    settings: Sequence[ChannelSettings],
    mask: Any = None,
) -> Plane:
    """A plane of an array, to be restored into the same place of another."""
    from napari_rednet.engine.planes import Plane

    shape = job.layout.enlarged(job.scale).plane_shape
    dtype = np.dtype(source.dtype)
    read = [_reader(job, source, key) for key in keys]
    write = [_writer(target, key) for key in keys]
    is_stored = not (is_in_memory(source) and is_in_memory(target))
    if job.color:
        plane = (
            luminance_plane(shape, dtype, read, write, settings[0])
            if job.is_by_luminance
            else opponent_plane(shape, dtype, read, write, settings)
        )
        return replace(plane, is_stored=is_stored)
    (key,) = keys
    read_mask = None if mask is None else _window_reader(mask, key)
    return Plane(shape, dtype, read[0], write[0], settings[key.channel], read_mask, is_stored)


def is_in_memory(array: Any) -> bool:
    """Whether neither files nor compression are between us and the values."""
    return isinstance(array, np.ndarray) and not isinstance(array, np.memmap)


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


def sample_windows(array: Any, layout: PlaneLayout, channel: int) -> Samples:
    """Parts of a channel that represent it, in native byte order."""
    source = readable(array)
    return Samples(_native(source[index]) for index in layout.sample_windows(channel))


def readable(array: Any, capacity: int = 0) -> Any:
    """An array to read from: one of chunks keeps some bytes, and names what cannot be read."""
    return array if chunks_of(array) is None else ChunkReader(array, capacity)


def all_samples(job: Job, array: Any, mask: Any) -> Iterator[Samples]:
    """Sample windows of each channel, or of the luminance of colours."""
    source = readable(array)
    for indices in sampled_windows(job):
        parts = [source[i] for i in indices]
        covers = [] if mask is None else [mask[i] for i in indices]
        yield as_samples(parts, covers, is_color=job.is_by_luminance)


def sampled_windows(job: Job) -> list[list[tuple[int | slice, ...]]]:
    """Indices of the sample windows of each channel or colour, or of all colours in one."""
    channels = [job.layout.sample_windows(c) for c in range(job.layout.channels)]
    if not job.color:
        return channels
    colors = channels[:3]
    if not job.is_by_luminance:
        return colors
    # The three windows at the same place follow each other.
    return [[i for place in zip(*colors, strict=True) for i in place]]


def as_samples(parts: Sequence[Any], covers: Sequence[Any], *, is_color: bool) -> Samples:
    """Windows as they are measured: colours as luminance, missing pixels as NaN."""
    windows = [_native(part) for part in parts]
    if is_color:
        return Samples(luminance(windows[i : i + 3]) for i in range(0, len(windows), 3))
    if covers:
        pairs = zip(windows, covers, strict=True)
        return Samples(np.where(np.asarray(c), np.nan, w.astype(np.float64)) for w, c in pairs)
    return Samples(windows)


def _native(values: Any) -> npt.NDArray[Any]:
    array = np.asarray(values)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def is_dask(array: Any) -> bool:
    """Whether an array is a dask array, without importing dask."""
    dask_array = sys.modules.get("dask.array")
    return dask_array is not None and isinstance(array, dask_array.Array)
