"""Jobs: how to restore an array of any kind plane by plane; masked pixels stay as they are."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from numpy import ma

from napari_rednet.engine.channel import (
    Basis,
    common_bases,
    find_basis,
    round_to,
    unchanged_units,
    working_dtype,
)
from napari_rednet.engine.color import COLORS, ColorMode, luminance, luminance_plane, opponent_plane
from napari_rednet.engine.planes import PlaneKey, PlaneLayout
from napari_rednet.execution.reading import ChunkReader, RepairedPlane, Repairs, Samples, chunks_of

if TYPE_CHECKING:
    from napari_rednet.engine.outliers import OutlierLimits
    from napari_rednet.engine.planes import (
        ChannelSettings,
        Plane,
        PlaneRestorer,
        ReadWindow,
        Volume,
        WriteWindow,
    )

Index = Any
_FUSED_PLANES = 5

SettingsOf = Callable[[Samples, int], "ChannelSettings"]
"""Maps the sample windows and the number of a channel to its settings."""

MakeRestorer = Callable[..., "PlaneRestorer"]
"""Makes a `PlaneRestorer`, on `device` if given, maybe in another process than the job's."""


@dataclass(frozen=True)
class Job:
    """How to restore an array of any kind.

    `settings_of` measures a channel in sample windows, in which masked pixels are NaN. `scale`
    enlarges the planes. `color` None restores each channel by itself. `devices` are used at the
    same time. Outliers exceed `outlier_share` of the range and are repaired, None leaves them.
    `dtype` is that of the result, None for that of the array. Each plane is restored with others
    next to it along the axis `along`: the network sees `planes` of them, or they are averaged.
    Planes along the axis `depth` are one volume, and restored as such.
    """

    layout: PlaneLayout
    make_restorer: MakeRestorer
    settings_of: SettingsOf
    scale: int = 1
    color: ColorMode | None = None
    devices: tuple[str, ...] = ()
    outlier_share: float | None = None
    dtype: np.dtype[Any] | None = None
    along: int | None = None
    planes: int = 1
    depth: int | None = None

    @property
    def is_fused(self) -> bool:
        """True if planes are averaged with others before a network sees them."""
        return self.along is not None and self.planes == 1

    @property
    def offsets(self) -> list[int]:
        """Distances along the axis of the planes that a plane is restored with, but for itself."""
        count = _FUSED_PLANES if self.is_fused else self.planes
        return [i - count // 2 for i in range(count) if i != count // 2]

    def result_dtype(self, array: Any) -> np.dtype[Any]:
        """Dtype of the result for an array."""
        return np.dtype(array.dtype) if self.dtype is None else self.dtype

    def settings(self, samples: Samples, channel: int) -> ChannelSettings:
        """Settings of a channel; `samples` still have their outliers."""
        limits = None
        if self.outlier_share is not None:
            samples = samples.without_outliers(self.outlier_share)
            limits = samples.limits
        settings = self.settings_of(samples, channel)
        if limits is not None and settings.noise is not None:
            limits = replace(limits, noise=settings.noise)
        return replace(
            settings,
            outliers=limits,
            bases=samples.bases,
            is_constant=(samples.is_constant,),
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the result."""
        return self.layout.enlarged(self.scale).shape

    @property
    def is_by_luminance(self) -> bool:
        """True if the channels are colours of which the luminance is restored."""
        return self.color is ColorMode.LUMINANCE


PlaneKeys = tuple[PlaneKey, ...]
"""The key of a plane; those of its channels if they are colours, or of all planes of a volume."""


def plane_keys(job: Job) -> Iterator[PlaneKeys]:
    """The planes of a job, or its volumes, in order."""
    if job.depth is not None:
        yield from job.layout.volumes(job.depth)
    elif job.color:
        yield from job.layout.color_planes()
    else:
        yield from ((key,) for key in job.layout.planes())


def keys_at(job: Job, position: Sequence[int]) -> PlaneKeys:
    """The planes at a position, which has a number for each axis: all of a volume or of colours."""
    first = job.layout.key_at(position)
    if job.depth is not None:
        return job.layout.volume_of(first, job.depth)
    return job.layout.color_keys(first) if job.color else (first,)


def volume_of(
    job: Job,
    keys: PlaneKeys,
    source: Any,
    target: Any,
    settings: Sequence[ChannelSettings],
    repairs: Repairs | None = None,
) -> Volume:
    """A volume of `source`, to be restored into the same place of `target`; counts its repairs."""
    from napari_rednet.engine.planes import Volume

    planes = tuple(plane_of(job, (key,), source, target, settings, repairs=repairs) for key in keys)
    return Volume(planes, slice(0, len(keys)))


def plane_of(
    job: Job,
    keys: PlaneKeys,
    source: Any,
    target: Any,
    settings: Sequence[ChannelSettings],
    mask: Any = None,
    repairs: Repairs | None = None,
    beside: Sequence[Any] | None = None,
) -> Plane:
    """A plane of `source`, to be restored into the same place of `target`; counts its repairs.

    `beside` are arrays that hold its neighbours at its own place, if `source` does not have them.
    """
    from napari_rednet.engine.planes import Plane

    shape = job.layout.enlarged(job.scale).plane_shape
    # Masked pixels are NaN until the result is written.
    is_masked = isinstance(source, MaskedImage)
    dtype = source.working_dtype if is_masked else job.result_dtype(source)
    bases = _bases(job, source, keys, settings)
    if any(bases):
        dtype = np.dtype(np.float64)
    limits = [_limits(job, key, settings) for key in keys]
    ends = [
        _ends(job, source, target, key, basis, one, repairs)
        for key, basis, one in zip(keys, bases, limits, strict=True)
    ]
    read, write = [list(part) for part in zip(*ends, strict=True)]
    neighbours = [
        [
            _reader(job, array, key, basis, one)
            for key, basis, one in zip(others, bases, limits, strict=True)
        ]
        for array, others in _neighbours(job, keys, source, beside)
    ]
    is_stored = not (is_in_memory(source) and is_in_memory(target))
    shares: list[ReadWindow] = []
    if job.is_fused:
        read, shares = _fused(job, keys, read, neighbours, settings)
        neighbours = []
    if job.color:
        plane = (
            luminance_plane(shape, dtype, read, write, settings[0])
            if job.is_by_luminance
            else opponent_plane(shape, dtype, read, write, settings, neighbours, shares)
        )
        return replace(plane, is_stored=is_stored)
    (key,) = keys
    read_mask = None if mask is None else _window_reader(mask, key)
    return Plane(
        shape,
        dtype,
        read[0],
        write[0],
        settings[key.channel],
        read_mask,
        is_stored,
        neighbours=tuple(parts[0] for parts in neighbours),
        share=shares[0] if shares else None,
    )


def _fused(
    job: Job,
    keys: PlaneKeys,
    read: Sequence[ReadWindow],
    neighbours: Sequence[Sequence[ReadWindow]],
    settings: Sequence[ChannelSettings],
) -> tuple[list[ReadWindow], list[ReadWindow]]:
    """Readers of the average of a plane with its neighbours, and of its share of the noise."""
    from napari_rednet.engine.fusion import FusedPlane

    averages: list[ReadWindow] = list(read)
    shares: list[ReadWindow] = []
    for i, key in enumerate(keys):
        noise = settings[key.channel].noise if key.channel < len(settings) else None
        if noise is not None:
            others = [parts[i] for parts in neighbours]
            plane = FusedPlane(read[i], others, job.layout.plane_shape, noise)
            averages[i] = plane.read
            shares.append(plane.share)
    return averages, shares


def _neighbours(
    job: Job, keys: PlaneKeys, source: Any, beside: Sequence[Any] | None
) -> list[tuple[Any, PlaneKeys]]:
    """The array and the keys of each neighbour of a plane; none beyond the ends if averaged."""
    if job.along is None:
        return []
    if beside is not None:
        return [(array, keys) for array in beside]
    axis, length = job.along, job.layout.shape[job.along]
    offsets = job.offsets
    if job.is_fused:
        offsets = [o for o in offsets if 0 <= _position(keys, axis) + o < length]
    return [(source, tuple(key.beside(axis, offset, length) for key in keys)) for offset in offsets]


def _position(keys: PlaneKeys, axis: int) -> int:
    position = keys[0].index[axis]
    return 0 if isinstance(position, slice) else position


def _reader(
    job: Job, source: Any, key: PlaneKey, basis: Basis | None, limits: OutlierLimits | None
) -> ReadWindow:
    """Reads a plane without its outliers, uncounted."""
    read = _window_reader(source, key)
    if basis is not None:
        read = _reader_inside(read, basis)
    if limits is None:
        return read
    return RepairedPlane(read, job.layout.plane_shape, limits, lambda _: None).read


def is_in_memory(array: Any) -> bool:
    """True if reading values needs neither files nor decompression."""
    if isinstance(array, MaskedImage):
        return is_in_memory(array.values)
    return isinstance(array, np.ndarray) and not isinstance(array, np.memmap)


def _limits(job: Job, key: PlaneKey, settings: Sequence[ChannelSettings]) -> OutlierLimits | None:
    """Outlier limits of a plane; None to leave outliers."""
    if not job.color:
        return settings[key.channel].outliers
    if key.channel >= COLORS:  # transparency
        return None
    return settings[0 if job.is_by_luminance else key.channel].outliers


def _bases(
    job: Job, source: Any, keys: PlaneKeys, settings: Sequence[ChannelSettings]
) -> list[Basis | None]:
    """The units of each key's plane: None for all of them, or for none."""
    if not job.color:
        found: list[Basis | None] = [next(iter(settings[keys[0].channel].bases), None)]
    elif job.is_by_luminance:
        found = list(settings[0].bases) or [None] * COLORS
    else:
        found = [next(iter(one.bases), None) for one in settings[:COLORS]]
    found += [None] * (len(keys) - len(found))  # transparency
    if not any(found):
        return found
    same = unchanged_units(np.dtype(source.dtype))
    return [basis or same for basis in found]


def _ends(
    job: Job,
    source: Any,
    target: Any,
    key: PlaneKey,
    basis: Basis | None,
    limits: OutlierLimits | None,
    repairs: Repairs | None,
) -> tuple[ReadWindow, WriteWindow]:
    """Functions that read and write a plane of one channel."""
    from napari_rednet.engine.resampling import read_enlarged

    read, write = _window_reader(source, key), _writer(job, source, target, key)
    if basis is not None:
        dtype = (
            source.working_dtype if isinstance(source, MaskedImage) else job.result_dtype(source)
        )
        write = _writer_outside(write, read, basis, dtype, job.scale)
        read = _reader_inside(read, basis)
    if limits is not None:
        count = Repairs().add if repairs is None else repairs.add
        plane = RepairedPlane(read, job.layout.plane_shape, limits, count)
        read, write = plane.read, plane.counting(write, job.scale)
    if job.scale != 1:
        read = read_enlarged(read, job.layout.plane_shape, job.scale)
    return read, write


def _window_reader(source: Any, key: PlaneKey) -> ReadWindow:
    def read(rows: slice, columns: slice) -> npt.NDArray[Any]:
        return np.asarray(source[key.window(rows, columns)])

    return read


def _reader_inside(read: ReadWindow, basis: Basis) -> ReadWindow:
    def read_inside(rows: slice, columns: slice) -> npt.NDArray[Any]:
        return basis.inside(read(rows, columns))

    return read_inside


def _writer_outside(
    write: WriteWindow, read: ReadWindow, basis: Basis, dtype: np.dtype[Any], scale: int
) -> WriteWindow:
    """Write values of a basis in units of the image; what has not changed keeps every digit."""

    def write_outside(rows: slice, columns: slice, values: npt.NDArray[Any]) -> None:
        found = basis.outside(values, dtype)
        if scale == 1:
            raw = read(rows, columns)
            kept = (basis.inside(raw) == values) | ~np.isfinite(values)
            found = np.where(kept, raw if raw.dtype == dtype else round_to(raw, dtype), found)
        write(rows, columns, found)

    return write_outside


def _writer(job: Job, source: Any, target: Any, key: PlaneKey) -> WriteWindow:
    def write(rows: slice, columns: slice, values: npt.NDArray[Any]) -> None:
        index = key.window(rows, columns)
        if isinstance(source, MaskedImage):
            values = source.finished(index, job.layout.spatial_axes, job.scale, values)
        target[index] = values

    return write


def sample_windows(array: Any, layout: PlaneLayout, channel: int) -> Samples:
    """Windows that represent a channel, in native byte order."""
    source = readable(array)
    return Samples(_native(source[index]) for index in layout.sample_windows(channel))


def readable(array: Any, capacity: int = 0) -> Any:
    """An array to read from; a chunked one with a cache of `capacity` bytes and clear errors."""
    return array if chunks_of(array) is None else ChunkReader(array, capacity)


def all_samples(job: Job, array: Any, mask: Any) -> Iterator[Samples]:
    """Sample windows of each channel, or of the luminance of colours."""
    source = readable(array)
    return (samples_of(job, source, mask, channel) for channel in range(measured_channels(job)))


def samples_of(job: Job, source: Any, mask: Any, channel: int) -> Samples:
    """Sample windows of a channel or colour, or of the luminance of colours."""
    indices = sampled_windows(job, channel)
    covers = [] if mask is None else [mask[i] for i in indices]
    return as_samples([source[i] for i in indices], covers, is_color=job.is_by_luminance)


def measured_channels(job: Job) -> int:
    """How many channels, or colours, are measured by themselves; luminance is one."""
    if not job.color:
        return job.layout.channels
    return 1 if job.is_by_luminance else COLORS


def sampled_windows(job: Job, channel: int) -> list[tuple[int | slice, ...]]:
    """Indices of the sample windows of a channel or colour; of all colours if by luminance."""
    if not job.is_by_luminance:
        return job.layout.sample_windows(channel)
    colors = [job.layout.sample_windows(c) for c in range(COLORS)]
    # The three windows at the same place follow each other.
    return [i for place in zip(*colors, strict=True) for i in place]


def as_samples(parts: Sequence[Any], covers: Sequence[Any], *, is_color: bool) -> Samples:
    """Windows ready to be measured: colours as luminance, missing pixels as NaN."""
    windows = [_native(part) for part in parts]
    if is_color:
        bases = common_bases([find_basis(windows[c::COLORS]) for c in range(COLORS)], windows)
        if bases:
            windows = [bases[i % COLORS].inside(part) for i, part in enumerate(windows)]
        return Samples(windows, _luminance_of, bases=bases)
    pairs = list(zip(windows, covers, strict=True)) if covers else []
    known = [w[~np.asarray(c)] for w, c in pairs] if covers else windows
    basis = find_basis(known)
    if basis is not None:
        windows = [basis.inside(part) for part in windows]
        pairs = list(zip(windows, covers, strict=True)) if covers else []
    if covers:
        windows = [np.where(np.asarray(c), np.nan, w.astype(np.float64)) for w, c in pairs]
    return Samples(windows, bases=() if basis is None else (basis,))


def _luminance_of(parts: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    return [luminance(parts[i : i + COLORS]) for i in range(0, len(parts), COLORS)]


def _native(values: Any) -> npt.NDArray[Any]:
    array = np.asarray(values)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def is_dask(array: Any) -> bool:
    """True for a dask array; does not import dask."""
    dask_array = sys.modules.get("dask.array")
    return dask_array is not None and isinstance(array, dask_array.Array)


class MaskedImage:
    """Read access to a masked array in which masked pixels are NaN."""

    def __init__(self, array: ma.MaskedArray[Any, Any]) -> None:
        self.values: npt.NDArray[Any] = ma.getdata(array)
        self.mask: npt.NDArray[np.bool_] = ma.getmaskarray(array)
        self.dtype, self.shape, self.ndim = self.values.dtype, self.values.shape, self.values.ndim

    @property
    def is_unknown(self) -> bool:
        """True if there are pixels and all of them are masked."""
        return bool(self.mask.size) and bool(self.mask.all())

    @property
    def working_dtype(self) -> np.dtype[Any]:
        """A float dtype that holds its values and NaN."""
        return self.dtype if self.dtype.kind == "f" else np.dtype(working_dtype(self.dtype))

    def __getitem__(self, index: Index) -> npt.NDArray[Any]:
        """A window; of the dtype of the array if none of its pixels is masked."""
        values, mask = self.values[index], self.mask[index]
        if not mask.any():
            return np.asarray(values)
        result = values.astype(self.working_dtype)
        result[mask] = np.nan
        return np.asarray(result)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self[...], dtype)

    def finished(
        self, index: tuple[int | slice, ...], spatial: tuple[int, int], scale: int, result: Any
    ) -> npt.NDArray[Any]:
        """A window of the result in the dtype of the array, with masked pixels unchanged.

        `index` counts in the result, `scale` times larger along the axes `spatial` (Y and X).
        """
        values, mask = (_enlarged(part, index, spatial, scale) for part in (self.values, self.mask))
        known = np.where(mask, 0, result)
        return np.where(mask, values, round_to(known, self.dtype))

    def result(self, values: npt.NDArray[Any], spatial: tuple[int, int], scale: int) -> Any:
        """The result as a masked array with the enlarged mask."""
        mask = self.mask
        for axis in spatial:
            mask = mask.repeat(scale, axis)
        return ma.MaskedArray(values, mask)


def _enlarged(
    array: npt.NDArray[Any],
    index: tuple[int | slice, ...],
    spatial: tuple[int, int],
    scale: int,
) -> npt.NDArray[Any]:
    """A window of the array as if each pixel were repeated `scale` x `scale` times."""
    small: list[int | slice] = []
    inner: list[slice] = []
    for axis, part in enumerate(index):
        if isinstance(part, slice) and axis in spatial:
            start = part.start // scale
            small.append(slice(start, -(-part.stop // scale)))
            inner.append(slice(part.start - start * scale, part.stop - start * scale))
        else:
            small.append(part)
    found = array[tuple(small)]
    if scale == 1:
        return np.asarray(found)
    return np.asarray(found.repeat(scale, 0).repeat(scale, 1)[tuple(inner)])
