"""A plane to restore: how to read it, how to present it to the network, where to write it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_rednet.engine.intensity import IntensityRange
from napari_rednet.engine.noise_model import NoiseModel
from napari_rednet.engine.outliers import OutlierLimits
from napari_rednet.engine.tiling import NOT_CUT, Cuts, Strip, whole

ReadWindow = Callable[[slice, slice], npt.NDArray[Any]]
ReadMask = Callable[[slice, slice], npt.NDArray[np.bool_]]
WriteWindow = Callable[[slice, slice, npt.NDArray[Any]], None]


@dataclass(frozen=True)
class ChannelSettings:
    """How the planes of one channel are presented to the network.

    Parameters
    ----------
    scale : IntensityRange
        The values that become 0 and 1.
    noise : NoiseModel, optional
        Noise in image units; None for a network that is not told the noise.
    strength : float
        Factor on the noise standard deviation.
    noise_level : float
        Standard deviation of the noise that is typical of the channel, for what needs a single one.
    outliers : OutlierLimits, optional
        What hot and dead pixels exceed, which are repaired before the network sees them; None to
        leave them as they are.
    """

    scale: IntensityRange
    noise: NoiseModel | None = None
    strength: float = 1.0
    noise_level: float = 0.0
    outliers: OutlierLimits | None = None


@dataclass(frozen=True)
class Plane:
    """A plane to restore: its size and dtype, how to read it and where to write the result.

    `read` and `write` take slices of rows and columns. `write` may be called again for rows that
    it has had, with final values for them, after a band had to be repeated. `mask`, if there is
    one, reads which pixels are missing. `is_stored` tells whether reading and writing have to do
    with files or compression. `colors` is the noise of red, green and blue, in image units, if
    what is read and written are these three, (3, rows, columns), to be restored together. `cuts`
    tells which sides are no borders of the image: nothing near to them is kept.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    read: ReadWindow
    write: WriteWindow
    settings: ChannelSettings
    mask: ReadMask | None = None
    is_stored: bool = False
    colors: tuple[NoiseModel, ...] = ()
    cuts: Cuts = NOT_CUT

    @property
    def is_told_noise(self) -> bool:
        """Whether the network is told the noise of the plane, or of its colours."""
        return bool(self.colors) or self.settings.noise is not None


def rows_of(plane: Plane, rows: Strip) -> Plane:
    """Some rows of a plane, with the margin around them, as a plane of its own."""
    return part_of(plane, rows, whole(plane.shape[1]))


def part_of(plane: Plane, rows: Strip, columns: Strip) -> Plane:
    """Some rows and columns of a plane, with the margin around them, as a plane of its own."""
    if (rows, columns) == (whole(plane.shape[0]), whole(plane.shape[1])):
        return plane

    def write(part_rows: slice, part_columns: slice, values: npt.NDArray[Any]) -> None:
        y, inner_rows = _kept(rows, part_rows)
        x, inner_columns = _kept(columns, part_columns)
        if y.start < y.stop and x.start < x.stop:
            plane.write(y, x, values[..., inner_rows, inner_columns])

    mask = None if plane.mask is None else _moved(plane.mask, rows, columns)
    shape = (rows.width, columns.width)
    read = _moved(plane.read, rows, columns)
    cuts = plane.cuts.within(plane.shape, rows, columns)
    return replace(plane, shape=shape, read=read, write=write, mask=mask, cuts=cuts)


def _kept(strip: Strip, part: slice) -> tuple[slice, slice]:
    """What is kept of a part of what is read: in the plane, and in the part; it may be empty."""
    first = strip.read.start + part.start
    start = max(strip.keep.start, first)
    stop = min(strip.keep.stop, strip.read.start + part.stop)
    return slice(start, stop), slice(start - first, stop - first)


def _moved(read: ReadWindow, rows: Strip, columns: Strip) -> ReadWindow:
    """Reads windows that are counted from the first pixel that strips read."""
    y, x = rows.read.start, columns.read.start

    def read_moved(rows: slice, columns: slice) -> npt.NDArray[Any]:
        return read(
            slice(rows.start + y, rows.stop + y), slice(columns.start + x, columns.stop + x)
        )

    return read_moved


class PlaneRestorer(Protocol):
    """Whatever restores planes one by one."""

    @property
    def row_margin(self) -> int | None:
        """Rows beyond those kept that their result depends on; None if it needs whole planes."""

    def restore(self, plane: Plane) -> Iterator[int]:
        """Restore a plane, yielding now and then how many of its pixels are finished."""

    def restore_window(self, plane: Plane, rows: slice, columns: slice) -> Iterator[int]:
        """Restore a part of a plane, reading no more of it than the result depends on."""
