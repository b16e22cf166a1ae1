"""How a channel is presented to a network that is told nothing but the image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_rednet.arguments import check_defects
from napari_rednet.engine.intensity import IntensityRange

if TYPE_CHECKING:
    from napari_rednet.engine.planes import ChannelSettings
    from napari_rednet.execution.samples import Samples


NOISY, SHARP = 0.25, 0.75
"""Shares of the range that hot and dead pixels exceed: of recordings, and of sharp images, in which
single pixels may be detail."""


def outlier_share(defects: Any, share: float) -> float | None:
    """What outliers exceed; None if `defects`, an argument of a verb, says to keep them."""
    return share if check_defects(defects) else None


def by_range(samples: Samples, _channel: int) -> ChannelSettings:
    """Settings with the range that is measured in the sample windows of a channel."""
    from napari_rednet.engine.planes import ChannelSettings

    return ChannelSettings(samples.range)


def as_coded(_samples: Samples, _channel: int) -> ChannelSettings:
    """Settings for 8-bit images: a coder's steps are in gray levels, whatever part is used."""
    from napari_rednet.engine.planes import ChannelSettings

    return ChannelSettings(IntensityRange(0, 255))
