"""Images of so few photons that each of them can be told: their noise is known from that.

Where most pixels hold none, the spread of the others says little; but what a single photon adds is
seen at once, and photons come as Poisson has it.
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
# Of several photons beside one, over what Poisson has: fewer around small bright spots, but in
# masks none; more around bright things with edges. Other noise hardly comes in coarse steps.
_LEAST, _MOST, _MOST_IF_COARSE = 0.05, 1.6, 15.0
_USUAL, _MOST_EXCESS = 1.5, 2.0
_LIT, _LOW = 0.3, 0.1
# Of the variance that photons have: with much less, what comes in steps is something else.
_LEAST_EXCESS = 0.3
_ROUNDING = 0.01


@dataclass(frozen=True)
class Counts:
    """What counted photons look like.

    Parameters
    ----------
    none : float
        Value of a pixel without a photon.
    one : float
        What a photon adds.
    """

    none: float
    one: float

    def model(self, signal: FloatArray, variance: FloatArray) -> NoiseModel:
        """The noise of photons that are counted; more where they were multiplied at random.

        At random, each photon becomes twice as noisy at most; structure may look like more.
        """
        excess = self._excess(signal, variance, _LOW)
        return NoiseModel(
            self.one * (1.0 if excess < _USUAL else min(excess, _MOST_EXCESS)), self.none
        )

    def are_possible(self, signal: FloatArray, variance: FloatArray) -> bool:
        """Whether there is as much noise as photons have; a few gray levels look like them."""
        excess = self._excess(signal, variance, 0.5)
        return excess == 0 or excess > _LEAST_EXCESS  # where none is seen, there are too few levels

    def _excess(self, signal: FloatArray, variance: FloatArray, share: float) -> float:
        """Measured variance over that of photons: a quantile of the levels."""
        photons = (signal - self.none) / self.one
        lit = photons > _LIT
        if not lit.any():
            return 1.0
        # Structure only adds to the variance of some levels.
        ratios = variance[lit] / (photons[lit] * self.one**2)
        return float(np.quantile(ratios, share))


def count_photons(images: Sequence[npt.NDArray[np.generic]]) -> Counts | None:
    """What a photon counts for in 2-D images of one detector; None if there is no telling.

    All values are multiples of a step above the lowest one, which many pixels share, and in the
    dark two photons are as frequent as Poisson has it. Where a camera's noise is cut off at black,
    the next levels are about as frequent as the first.
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
    """Whether, where it is dark, several photons are as rare beside one as they should be."""
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
