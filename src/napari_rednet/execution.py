"""Run a model over all planes of an array, at once or lazily, step by step."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_rednet.engine.images import PlaneKey, PlaneLayout

if TYPE_CHECKING:
    from napari_rednet.engine.planes import ChannelSettings, Plane, PlaneRestorer

Progress = Callable[[int, int], None]
Steps = Generator[tuple[int, int], None, Any]
"""A run that yields (pixels done, pixels in all) and returns the restored image."""

SettingsOf = Callable[[Sequence[npt.NDArray[Any]], int], "ChannelSettings"]
"""From the sample windows of a channel, and its number, to its settings."""

MakeRestorer = Callable[[], "PlaneRestorer"]
"""Makes a runner; called where the work is done, which may be another process."""


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
    array: Any, layout: PlaneLayout, make_restorer: MakeRestorer, settings_of: SettingsOf, out: Any
) -> Steps:
    """Restore all planes of `array` into `out`, or into a new array; lazily for dask arrays."""
    if is_dask(array):
        return _lazy_steps(array, layout, make_restorer, settings_of, out)
    return _eager_steps(array, layout, make_restorer, settings_of, out)


def _eager_steps(
    array: Any, layout: PlaneLayout, make_restorer: MakeRestorer, settings_of: SettingsOf, out: Any
) -> Steps:
    if out is None:
        out = np.empty(array.shape, array.dtype)
    if math.prod(array.shape) == 0:
        return out
    settings = [settings_of(sample_windows(array, layout, c), c) for c in range(layout.channels)]
    restorer = make_restorer()
    total = math.prod(array.shape)
    before = 0
    for key in layout.planes():
        plane = as_plane(array, out, key, layout, settings[key.channel])
        for pixels in restorer.restore(plane):
            yield before + pixels, total
        before += math.prod(layout.plane_shape)
    return out


def as_plane(
    source: Any, target: Any, key: PlaneKey, layout: PlaneLayout, settings: ChannelSettings
) -> Plane:
    """A plane of an array, to be restored into the same place of another."""
    from napari_rednet.engine.planes import Plane

    def read(rows: slice, columns: slice) -> npt.NDArray[Any]:
        return np.asarray(source[key.window(rows, columns)])

    def write(rows: slice, columns: slice, values: npt.NDArray[Any]) -> None:
        target[key.window(rows, columns)] = values

    return Plane(layout.plane_shape, np.dtype(source.dtype), read, write, settings)


def sample_windows(array: Any, layout: PlaneLayout, channel: int) -> list[npt.NDArray[Any]]:
    """Parts of a channel that represent it, in native byte order."""
    found = [np.asarray(array[index]) for index in layout.sample_windows(channel)]
    return [w.astype(w.dtype.newbyteorder("="), copy=False) for w in found]


def is_dask(array: Any) -> bool:
    """Whether an array is a dask array, without importing dask."""
    dask_array = sys.modules.get("dask.array")
    return dask_array is not None and isinstance(array, dask_array.Array)


def _lazy_steps(
    array: Any, layout: PlaneLayout, make_restorer: MakeRestorer, settings_of: SettingsOf, out: Any
) -> Steps:
    """A dask array's planes as the blocks of a new one, under settings that are lazy as well."""
    import dask
    import dask.array as da

    if math.prod(array.shape) == 0:
        return array if out is None else out
    settings = [
        dask.delayed(settings_of)([array[i] for i in layout.sample_windows(c)], c)
        for c in range(layout.channels)
    ]
    whole = {a: -1 if a in layout.spatial_axes else 1 for a in range(array.ndim)}
    restored = da.map_blocks(
        _restore_block,
        array.rechunk(whole),
        layout=layout,
        make_restorer=make_restorer,
        settings=settings,
        dtype=array.dtype,
        meta=np.empty((0,) * array.ndim, array.dtype),
    )
    if out is None:
        return restored
    da.store(restored, out)
    yield math.prod(array.shape), math.prod(array.shape)
    return out


def _restore_block(
    block: npt.NDArray[Any],
    layout: PlaneLayout,
    make_restorer: MakeRestorer,
    settings: Sequence[ChannelSettings],
    block_info: Any = None,
) -> npt.NDArray[Any]:
    """Restore one plane of a dask array."""
    position = block_info[0]["array-location"]
    axis = layout.channel_axis
    channel = 0 if axis is None else position[axis][0]
    part = PlaneLayout(block.shape, axis)
    target = np.empty_like(block)
    restorer = make_restorer()
    for key in part.planes():
        for _ in restorer.restore(as_plane(block, target, key, part, settings[channel])):
            pass
    return target
