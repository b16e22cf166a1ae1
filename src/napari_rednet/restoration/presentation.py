"""How a channel is presented to a network that is told nothing but the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_rednet.engine.intensity import IntensityRange, measure_range

if TYPE_CHECKING:
    from napari_rednet.engine.planes import ChannelSettings


def by_range(windows: Sequence[npt.NDArray[np.generic]], _channel: int) -> ChannelSettings:
    """Settings with the range that is measured in the sample windows of a channel."""
    from napari_rednet.engine.planes import ChannelSettings

    return ChannelSettings(measure_range(windows))


def as_coded(_windows: Sequence[npt.NDArray[np.generic]], _channel: int) -> ChannelSettings:
    """Settings for 8-bit images: a coder's steps are in gray levels, whatever part is used."""
    from napari_rednet.engine.planes import ChannelSettings

    return ChannelSettings(IntensityRange(0, 255))
