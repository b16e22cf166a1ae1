"""Restorations as steps that can be watched and cancelled."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_rednet.execution.chunks import ChunkReader, chunks_of, written_chunks_of
from napari_rednet.execution.job import Job, all_samples, is_dask, plane_of
from napari_rednet.execution.outputs import Output, output_for
from napari_rednet.execution.parts import Part, parts_of

if TYPE_CHECKING:
    from napari_rednet.engine.planes import ChannelSettings, PlaneRestorer

Progress = Callable[[int, int], None]
Steps = Generator[tuple[int, int], None, Any]
"""A run that yields (pixels done, pixels in all) and returns the restored image."""

_READ_BYTES = 2**27
"""Chunks of the source that are kept for the next band."""


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
    output = output_for(job, out)
    run = _Run(job, array, mask, output)
    done = 0
    for number, part in enumerate(parts_of(job, output.chunks)):
        if output.has(number, part):
            yield done + run.pixels_of(part), total
        else:
            for pixels in run.restore(part):
                yield done + pixels, total
            output.finish(number)
        done += run.pixels_of(part)
    return out


class _Run:
    """Restores part after part."""

    def __init__(self, job: Job, array: Any, mask: Any, output: Output) -> None:
        self._job, self._mask, self._output = job, mask, output
        samples = enumerate(all_samples(job, array, mask))
        self._settings: Sequence[ChannelSettings] = [job.settings_of(w, c) for c, w in samples]
        self._restorer: PlaneRestorer = job.make_restorer()
        self._source = array if chunks_of(array) is None else ChunkReader(array, _READ_BYTES)

    def pixels_of(self, part: Part) -> int:
        """How many pixels of the result a part has."""
        width = self._job.layout.enlarged(self._job.scale).plane_shape[1]
        return sum(map(len, part.planes)) * part.rows.kept * width

    def restore(self, part: Part) -> Iterator[int]:
        """Restore a part, yielding how many of its pixels are done."""
        from napari_rednet.engine.planes import rows_of

        share = self.pixels_of(part) // max(1, len(part.planes))
        for number, keys in enumerate(part.planes):
            plane = plane_of(
                self._job, keys, self._source, self._output.target, self._settings, self._mask
            )
            segment = rows_of(plane, part.rows)
            size = math.prod(segment.shape)
            for pixels in self._restorer.restore(segment):
                yield number * share + share * pixels // size


def _lazy_steps(job: Job, array: Any, out: Any, mask: Any) -> Steps:
    import dask.array as da

    from napari_rednet.execution.lazy import restored_lazily

    total = math.prod(job.shape)
    if total == 0:
        return da.zeros(job.shape, dtype=array.dtype) if out is None else out
    chunks = None if out is None else written_chunks_of(out)
    restored = restored_lazily(job, array, mask, chunks)
    if out is None:
        return restored
    # Blocks that end where chunks end can be written side by side, by other processes as well.
    da.store(restored, out, lock=chunks is None)
    yield total, total
    return out
