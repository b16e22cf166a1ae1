"""Images of few photons, in which single photons can be told: photon counts and their noise.

Where most pixels hold no photon, the spread of the others says little. But the step that one photon
makes is visible, and photon counts have Poisson statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_rednet.engine.channel import NoiseModel

FloatArray = npt.NDArray[np.float64]

_LEAST_SHARE_WITHOUT = 0.02
_MOST_LEVELS = 4096
_WHOLE = 0.995
_FEWEST_SINGLE = 20
_NEIGHBOURHOOD = 5
_DARK = 1.8
# Limits for pixels of several photons relative to the Poisson expectation. There are fewer around
# small bright spots (in masks none) and more around bright objects with edges. Coarse steps allow
# more, since other noise hardly has them.
_LEAST, _MOST, _MOST_IF_COARSE = 0.05, 1.6, 15.0
_USUAL, _MOST_EXCESS = 1.5, 2.0
_LIT, _LOW = 0.3, 0.1
# Least variance relative to that of photons; steps with less are something else.
_LEAST_EXCESS = 0.3
_ROUNDING = 0.01


@dataclass(frozen=True)
class Counts:
    """Photon counts: `none` is the value of a pixel without a photon, `one` what a photon adds."""

    none: float
    one: float

    def model(self, signal: FloatArray, variance: FloatArray) -> NoiseModel:
        """Noise model of the counts, with up to twice the gain for random multiplication.

        Random multiplication at most doubles the variance; structure may look like more.
        """
        excess = self._excess(signal, variance, _LOW)
        return NoiseModel(
            self.one * (1.0 if excess < _USUAL else min(excess, _MOST_EXCESS)), self.none
        )

    def are_possible(self, signal: FloatArray, variance: FloatArray) -> bool:
        """True if the noise is as strong as that of photons, unlike that of a few gray levels."""
        excess = self._excess(signal, variance, 0.5)
        return excess == 0 or excess > _LEAST_EXCESS  # 0: too few gray levels to show noise

    def _excess(self, signal: FloatArray, variance: FloatArray, share: float) -> float:
        photons = (signal - self.none) / self.one
        lit = photons > _LIT
        if not lit.any():
            return 1.0
        # Structure only adds to the variance of some levels.
        ratios = variance[lit] / (photons[lit] * self.one**2)
        return float(np.quantile(ratios, share))


def count_photons(images: Sequence[npt.NDArray[np.generic]]) -> Counts | None:
    """Photon counts of (Y, X) images of one detector; None if the values are not counts.

    For counts, all values are multiples of a step above the lowest value, which many pixels share,
    and pixels of several photons in dark places are as frequent as in Poisson statistics. Camera
    noise clipped at black has about as many pixels at the next levels as at the first.
    """
    finite = [image[np.isfinite(image)].astype(np.float64).ravel() for image in images]
    values = np.concatenate([*finite, np.zeros(0)])
    if len(values) == 0:
        return None
    levels, found = np.unique(values, return_counts=True)
    if not 1 < len(levels) < _MOST_LEVELS or found[0] < _LEAST_SHARE_WITHOUT * len(values):
        return None
    none, one = float(levels[0]), float(levels[1] - levels[0])
    photons = (levels - none) / one
    whole = np.abs(photons - np.rint(photons)) < _ROUNDING
    if found[whole].sum() < _WHOLE * len(values):
        return None
    return Counts(none, one) if _is_poisson(images, none, one) else None


def _is_poisson(images: Sequence[npt.NDArray[np.generic]], none: float, one: float) -> bool:
    """True if dark places have as few pixels of several photons as Poisson statistics predict."""
    singles = several = expected = 0.0
    for image in images:
        photons = (np.where(np.isfinite(image), image, none).astype(np.float64) - none) / one
        rate = ndimage.uniform_filter(photons, _NEIGHBOURHOOD)
        dark = photons[rate < _DARK]
        single = np.abs(dark - 1) < _ROUNDING
        around = rate[rate < _DARK][single]
        singles += single.sum()
        expected += (np.expm1(around) / around - 1).sum()
        several += (dark > 1.5).sum()
    doubt = np.sqrt(singles)
    most = _MOST if one == 1 else _MOST_IF_COARSE
    is_usual = _LEAST * expected - doubt < several < most * expected + doubt
    return bool(singles >= _FEWEST_SINGLE and is_usual)
