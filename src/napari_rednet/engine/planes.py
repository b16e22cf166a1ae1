"""A plane to restore: how to read it, how to present it to the network, where to write it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_rednet.engine.intensity import IntensityRange
from napari_rednet.engine.noise_model import NoiseModel

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


class PlaneRestorer(Protocol):
    """Whatever restores planes one by one."""

    def restore(self, plane: Plane) -> Iterator[int]:
        """Restore a plane, yielding now and then how many of its pixels are finished."""
