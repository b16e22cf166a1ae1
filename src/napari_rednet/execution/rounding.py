"""Whether the integers of a result are fine enough for what is restored."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_rednet.engine.planes import ChannelSettings
    from napari_rednet.execution.job import Job

# Where the noise is weaker than about one step, it does not carry the mean of what is restored
# across the rounding; and what is lost are photons if one is about a step, and nothing else is seen.
_LEAST_STEPS = 0.7
_LEAST_GAIN = 0.75


def warn_of_rounding(job: Job, array: Any, settings: Sequence[ChannelSettings]) -> None:
    """Warn if rounding to integers takes photons away."""
    is_rounded = job.result_dtype(array).kind in "iu"
    if is_rounded and any(_is_too_coarse(channel) for channel in settings):
        warnings.warn(
            "dark places hold less than a photon a pixel, and integers as fine as these round it "
            "away; dtype='float32' keeps it",
            stacklevel=2,
        )


def _is_too_coarse(channel: ChannelSettings) -> bool:
    noise = channel.noise
    if noise is None or noise.gain < _LEAST_GAIN or noise.read_noise > 0:
        return False
    return noise.std(channel.scale.low) < _LEAST_STEPS
