"""Whether the integers of a result are fine enough for what is restored."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from napari_rednet.engine.planes import ChannelSettings
    from napari_rednet.execution.samples import Samples

# What is lost are photons if one is about a step, nothing else is noise, and many pixels hold none.
_LEAST_GAIN = 0.75
_LEAST_SHARE_WITHOUT = 0.3


def is_too_coarse(dtype: np.dtype[Any], samples: Samples, settings: ChannelSettings) -> bool:
    """Whether rounding to a dtype takes photons away from a channel, as samples of it show."""
    noise = settings.noise
    if dtype.kind not in "iu" or noise is None:
        return False
    if noise.gain < _LEAST_GAIN or noise.read_noise > 0:
        return False
    dark = noise.offset + noise.gain / 2
    shares = [float(np.mean(window <= dark)) for window in samples if window.size]
    return bool(shares) and float(np.mean(shares)) > _LEAST_SHARE_WITHOUT


def warn_of_rounding() -> None:
    """Warn that photons are lost, and say what keeps them."""
    warnings.warn(
        "many pixels hold less than a photon, and integers as fine as these round it away; "
        "dtype='float32' keeps it",
        stacklevel=2,
    )
