"""A plane to restore: how to read it, how to present it to the network, where to write it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_rednet.engine.intensity import IntensityRange
from napari_rednet.engine.noise_model import NoiseModel
from napari_rednet.engine.tiling import Strip

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
    """

    scale: IntensityRange
    noise: NoiseModel | None = None
    strength: float = 1.0


@dataclass(frozen=True)
class Plane:
    """A plane to restore: its size and dtype, how to read it and where to write the result.

    `read` and `write` take slices of rows and columns. `write` may be called again for rows that
    it has had, with final values for them, after a band had to be repeated. `mask`, if there is
    one, reads which pixels are missing.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    read: ReadWindow
    write: WriteWindow
    settings: ChannelSettings
    mask: ReadMask | None = None


def rows_of(plane: Plane, rows: Strip) -> Plane:
    """Some rows of a plane, with the margin around them, as a plane of its own."""
    first = rows.read.start
    if first == 0 and rows.keep == rows.read and rows.kept == plane.shape[0]:
        return plane

    def write(part: slice, columns: slice, values: npt.NDArray[Any]) -> None:
        start, stop = (
            max(rows.keep.start, part.start + first),
            min(rows.keep.stop, part.stop + first),
        )
        if start < stop:
            inner = values[start - first - part.start : stop - first - part.start]
            plane.write(slice(start, stop), columns, inner)

    mask = None if plane.mask is None else _moved(plane.mask, first)
    shape = (rows.width, plane.shape[1])
    return replace(plane, shape=shape, read=_moved(plane.read, first), write=write, mask=mask)


def _moved(read: ReadWindow, first: int) -> ReadWindow:
    """Reads the rows that lie `first` rows further down."""

    def read_moved(rows: slice, columns: slice) -> npt.NDArray[Any]:
        return read(slice(rows.start + first, rows.stop + first), columns)

    return read_moved


class PlaneRestorer(Protocol):
    """Whatever restores planes one by one."""

    @property
    def row_margin(self) -> int | None:
        """Rows beyond those kept that their result depends on; None if it needs whole planes."""

    def restore(self, plane: Plane) -> Iterator[int]:
        """Restore a plane, yielding now and then how many of its pixels are finished."""
