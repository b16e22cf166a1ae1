"""Restorations as steps that can be watched and cancelled."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Generator
from typing import Any

import numpy as np

from napari_rednet.execution.chunks import written_chunks_of
from napari_rednet.execution.job import Job, all_samples, is_dask
from napari_rednet.execution.outputs import ResumableOutput, output_for
from napari_rednet.execution.parts import parts_of
from napari_rednet.execution.repairs import Repairs
from napari_rednet.execution.rounding import is_too_coarse, warn_of_rounding
from napari_rednet.execution.runs import PartRun, one_by_one, side_by_side

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
Steps = Generator[tuple[int, int], None, Any]
"""A run that yields (pixels done, pixels in all) and returns the restored image."""


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
    job: Job, array: Any, out: Any, mask: Any = None, repairs: Repairs | None = None
) -> Steps:
    """Restore all planes of `array` into `out`, or into a new array; lazily for dask arrays.

    Parameters
    ----------
    mask : array, optional
        Bool, of the array's shape: which pixels are missing.
    repairs : Repairs, optional
        Counts the pixels that are repaired; not those of dask arrays, which other processes may
        compute, or nobody.
    """
    if is_dask(array):
        return _lazy_steps(job, array, out, mask)
    return _eager_steps(job, array, out, mask, Repairs() if repairs is None else repairs)


def _eager_steps(job: Job, array: Any, out: Any, mask: Any, repairs: Repairs) -> Steps:
    if out is None:
        out = np.empty(job.shape, job.result_dtype(array))
    total = math.prod(job.shape)
    if total == 0:
        return out
    output = output_for(job, out)
    settings, is_coarse = [], False
    for channel, windows in enumerate(all_samples(job, array, mask)):
        settings.append(job.settings(windows, channel))
        is_coarse |= is_too_coarse(job.result_dtype(array), windows, settings[-1])
    if is_coarse:
        warn_of_rounding()
    runs = [
        PartRun(job, array, mask, settings, output, name, repairs)
        for name in job.devices or (None,)
    ]
    steps = one_by_one if len(runs) == 1 else side_by_side
    for done in steps(runs, list(enumerate(parts_of(job, output.chunks)))):
        yield done, total
    if repairs.count:
        logger.info("%s that noise and optics do not explain (defects='keep' does not)", repairs)
    return out


def _lazy_steps(job: Job, array: Any, out: Any, mask: Any) -> Steps:
    import dask.array as da

    from napari_rednet.execution.lazy import restored_lazily
    from napari_rednet.execution.storing import store_steps

    total = math.prod(job.shape)
    if total == 0:
        return da.zeros(job.shape, dtype=job.result_dtype(array)) if out is None else out
    if out is None:
        return restored_lazily(job, array, mask)
    chunks = written_chunks_of(out.array if isinstance(out, ResumableOutput) else out)
    if chunks is None:
        da.store(restored_lazily(job, array, mask), out, lock=True)
        yield total, total
        return out
    # Blocks that end where chunks end are written side by side, by other processes as well.
    for done in store_steps(restored_lazily(job, array, mask, chunks), out):
        yield done, total
    return out
