"""Windows of planes, restored as in the whole result, without restoring the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_rednet.execution.job import Job, all_samples, is_in_memory, plane_of
from napari_rednet.execution.restoration import Restoration, Steps
from napari_rednet.execution.samples import Samples


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

    def at(self, place: Sequence[int], rows: slice, columns: slice) -> Window:
        """A window to restore.

        `place` has an index for each axis but Y, X and channel; `rows` and `columns` count in the
        result.
        """
        return Window(self, place, rows, columns)


class Window:
    """A window of the planes at one place; see `Windows.at`."""

    def __init__(self, windows: Windows, place: Sequence[int], rows: slice, columns: slice) -> None:
        self._windows, self._place = windows, place
        self._rows, self._columns = rows, columns
        self._target = _Target(windows.job, rows, columns, windows.job.result_dtype(windows.array))

    @property
    def values(self) -> npt.NDArray[Any]:
        """The window, (Y, X), with the channel axis where the array has it among these."""
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
        size = (self._rows.stop - self._rows.start) * (self._columns.stop - self._columns.start)
        for number, group in enumerate(groups):
            plane = plane_of(
                whole.job, group, whole.array, self._target, whole.settings, whole.mask
            )
            # The target is in memory, but `plane_of` cannot know that.
            plane = replace(plane, is_stored=not is_in_memory(whole.array))
            yield number * size, len(groups) * size
            for _ in whole.restorer.restore_window(plane, self._rows, self._columns):
                yield number * size, len(groups) * size
        return self.values


class _Target:
    """A window of an array, written to with the indices of the whole array."""

    def __init__(self, job: Job, rows: slice, columns: slice, dtype: np.dtype[Any]) -> None:
        y, x = job.layout.spatial_axes
        self._first = {y: rows.start, x: columns.start}
        self._channel = job.layout.channel
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
