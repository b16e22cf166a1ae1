"""A part of some planes, restored as the whole array would be, without restoring the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_rednet.execution.job import Job, all_samples, plane_of
from napari_rednet.execution.restoration import Restoration
from napari_rednet.execution.samples import Samples
from napari_rednet.execution.steps import Steps


@dataclass(frozen=True)
class Measured:
    """What is measured in an array as a whole; it takes longer than a window.

    Parameters
    ----------
    samples : sequence of Samples
        Of each channel, or of the luminance of colours.
    mask : array or None
        Which pixels are missing.
    """

    samples: Sequence[Samples]
    mask: Any = None


def measure(restoration: Restoration) -> Measured:
    """Take the samples of an array and find its missing pixels.

    The result serves any restoration of the same array with the same mask and colours.
    """
    mask = restoration.mask()
    return Measured(list(all_samples(restoration.job, restoration.array, mask)), mask)


def window_steps(
    restoration: Restoration,
    measured: Measured,
    place: Sequence[int],
    rows: slice,
    columns: slice,
) -> Steps:
    """Restore a part of the planes at one place, reading no more than it depends on.

    Parameters
    ----------
    restoration : Restoration
        Of the whole array.
    measured : Measured
        In the whole array, whose range and noise the part is restored under.
    place : sequence of int
        Which planes: an index for each axis but Y, X and channel.
    rows, columns : slice
        Which part, counted in the result, with both ends inside of it.

    Returns
    -------
    steps : generator
        Yields (pixels done, pixels in all); returns the part, (Y, X), with the channel axis where
        the array has it among these. It equals that part of the whole result, to the rounding,
        but for deblurring.
    """
    job, array = restoration.job, restoration.array
    settings = [job.settings_of(samples, c) for c, samples in enumerate(measured.samples)]
    target = _Target(job, rows, columns, np.dtype(array.dtype))
    restorer = job.make_restorer()
    keys = job.layout.planes_at(place)
    groups = [keys] if job.color else [(key,) for key in keys]
    size = (rows.stop - rows.start) * (columns.stop - columns.start)
    for number, group in enumerate(groups):
        plane = plane_of(job, group, array, target, settings, measured.mask)
        yield number * size, len(groups) * size
        for _ in restorer.restore_window(plane, rows, columns):
            yield number * size, len(groups) * size
    return target.values


class _Target:
    """A part of an array, written to as if it were the whole."""

    def __init__(self, job: Job, rows: slice, columns: slice, dtype: np.dtype[Any]) -> None:
        y, x = job.layout.spatial_axes
        self._first = {y: rows.start, x: columns.start}
        self._channel = job.layout.channel
        sides = {y: rows.stop - rows.start, x: columns.stop - columns.start}
        if self._channel is not None:
            sides[self._channel] = job.layout.channels
        self.values: npt.NDArray[Any] = np.empty([sides[a] for a in sorted(sides)], dtype)

    def __setitem__(self, index: Sequence[int | slice], values: npt.NDArray[Any]) -> None:
        place: list[int | slice] = []
        for axis, part in enumerate(index):
            if isinstance(part, slice):
                first = self._first[axis]
                place.append(slice(part.start - first, part.stop - first))
            elif axis == self._channel:
                place.append(part)
        self.values[tuple(place)] = values
