"""Deconvolution of counted photons: light is not negative, and a denoiser is the prior.

As in `deconvolution`, data and denoiser take turns. But the data term is the likelihood of counted
photons, and a sharp image has no values below the level without light. This is what restores
frequencies that a widefield microscope does not transmit: where a stack is dark, all of them are
known. Where a PSF has three axes, it is worth more than all else.

The data term is increased by multiplications, as Richardson and Lucy do, with the denoiser's image
as a prior (a quadratic equation at each pixel), and accelerated by extrapolation. Pixels that are
not known, or beyond the borders, count nothing.

References
----------
.. [1] A. R. De Pierro, "A modified expectation maximization algorithm for penalized likelihood
   estimation in emission tomography", IEEE Transactions on Medical Imaging 1995.
.. [2] D. S. C. Biggs, M. Andrews, "Acceleration of iterative image restoration algorithms", Applied
   Optics 1997.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from napari_rednet.engine.deconvolution import BlurredImage, Denoise, ImageNoise, Operator
from napari_rednet.engine.network import smooth_signal
from napari_rednet.engine.planes import PointSpread

# Multiplications before the denoiser first sees the image: until what was seen is explained as well
# as its noise allows, which takes the more of them, the more a microscope blurs; more of them would
# explain noise. Strong noise is explained before there is an image: from a level on, there are at
# least as many, and nearly as many if few turns of the denoiser follow.
_AT_LEAST, _AT_MOST = 20, 40
_STRONG_NOISE, _ENOUGH_TURNS = 0.055, 8
# Those between two turns: so many for each of the first ones, within limits.
_BETWEEN, _FEWEST_BETWEEN, _MOST_BETWEEN = 1.5, 8, 15
# Weight of the prior in the data term. With much noise it is that at a level of 1 times the fourth
# power of the level; with little noise the less, the more multiplications the first image took. It
# grows from turn to turn, the more the higher the noise.
_TRUST, _MOST_TRUST = 666.0, 0.1
_SHARED_TRUST, _LEAST_SHARE, _LARGEST_SHARE = 8e-3, 5e-4, 6e-3
_HIGH_NOISE = 0.06
# Weights by which the noise left in the image is told: in the first one, and at least.
_FIRST_TOLD, _LEAST_TOLD = 0.005, 0.0015
_MOST_AHEAD = 0.9
# Pixels of which less was seen keep their value.
_LEAST_SEEN = 1e-3
_TINY = 1e-6
# Nothing that is multiplied leaves zero.
_DARKEST = 1e-5


@dataclass(frozen=True)
class Counting:
    """How photons became values: `dark` without light, `gain` each, and `read_noise` besides."""

    dark: float
    gain: float
    read_noise: float


class CountedImage(BlurredImage):
    """An observed image whose noise is that of counted photons; values of light start at 0."""

    def __init__(
        self,
        observed: Tensor,
        psf: PointSpread,
        noise: ImageNoise,
        counting: Counting,
        is_known: Tensor | None = None,
    ) -> None:
        super().__init__(observed, psf, noise, is_known)
        self._known = (self._counts > 0).to(observed)
        # Read noise counts as that of light which is the same everywhere.
        self._even = counting.read_noise**2 / counting.gain
        self._seen = self._known * (self.start - counting.dark + self._even).clamp(min=0)
        self._weight = self._gathered(self._known)
        self._gain = counting.gain

    def flat(self) -> Tensor:
        """Light that is the same everywhere."""
        light = (self._seen - self._even * self._known).sum() / self._known.sum().clamp(min=1)
        return torch.full_like(self._seen, max(float(light), _DARKEST))

    def likely(self, light: Tensor, least: int) -> tuple[Tensor, int]:
        """Light that explains what was seen, and after how many rounds, of `least` or more."""
        is_seen = self._weight > _LEAST_SEEN
        weight = self._weight.clamp(min=_LEAST_SEEN)

        def improve(x: Tensor) -> Tensor:
            return torch.where(is_seen, x * self._ratio(x) / weight, x)

        better = accelerated(improve, light)
        found, rounds = next(better), 1
        while rounds < _AT_MOST and (rounds < least or self._misfit() > 1):
            found, rounds = next(better), rounds + 1
        return found, rounds

    def agreed(self, light: Tensor, prior: Tensor, weight: float, rounds: int) -> Tensor:
        """Light that explains better what was seen, and is close to the prior.

        `weight` is that of deviations from the prior relative to those from the observed image.
        """
        trust = self._gain * weight / (self._relative * self._level) ** 2
        shift = trust * prior - self._weight

        def improve(x: Tensor) -> Tensor:
            root = torch.sqrt(shift**2 + 4 * trust * x * self._ratio(x))
            return (shift + root) / (2 * trust)

        return next(islice(accelerated(improve, light.clamp(min=_DARKEST)), rounds - 1, None))

    def _ratio(self, light: Tensor) -> Tensor:
        self._expected = (self._blurred(light) + self._even).clamp(min=_TINY)
        return self._gathered(self._seen / self._expected)

    def _misfit(self) -> float:
        """Mean of squared deviations from what was expected last, 1 if they are noise."""
        squares = self._known * (self._seen - self._expected) ** 2 / self._expected
        return float(squares.sum() / (self._gain * self._known.sum().clamp(min=1)))

    def _gathered(self, x: Tensor) -> Tensor:
        return self._filtered(x, self._transfer.conj()).clamp(min=0)


def accelerated(improve: Operator, x: Tensor) -> Iterator[Tensor]:
    """Improve values that are not negative, again and again, each time from a point further on."""
    before, change, last_change = x, None, None
    while True:
        ahead = 0.0
        if change is not None and last_change is not None:
            common = (change * last_change).sum() / last_change.square().sum().clamp(min=1e-30)
            ahead = min(max(float(common), 0.0), _MOST_AHEAD)
        start = (x + ahead * (x - before)).clamp(min=0)
        before, x = x, improve(start)
        change, last_change = x - start, change
        yield x


def deblur_light_steps(
    observed: Tensor,
    psf: PointSpread,
    noise: ImageNoise,
    counting: Counting,
    denoise: Denoise,
    iterations: int = 8,
    is_known: Tensor | None = None,
) -> Iterator[Tensor]:
    """Deblur an image of counted photons, yielding the estimate of each iteration.

    Arguments are those of `deconvolution.deblur_steps`.
    """
    blurred = CountedImage(observed, psf, noise, counting, is_known)
    told = blurred.told_left(_FIRST_TOLD)
    trust = min(_TRUST * noise.level**4, _MOST_TRUST)
    fewer = min(1 - min((noise.level / _STRONG_NOISE) ** 2, 1), (iterations - 1) / _ENOUGH_TURNS)
    light, rounds = blurred.likely(blurred.flat(), round(_AT_LEAST * (1 - fewer)))
    between = round(min(max(_BETWEEN * rounds, _FEWEST_BETWEEN), _MOST_BETWEEN))
    trust = max(trust, min(max(_SHARED_TRUST / rounds, _LEAST_SHARE), _LARGEST_SHARE))
    growth = 1 + (noise.level / _HIGH_NOISE) ** 3  # the noisier, the more is left to the prior
    for turn in range(iterations):
        prior = light + detail(denoise(light + counting.dark, told) - counting.dark - light)
        prior = prior.clamp(min=0)
        yield blurred.cut(prior + counting.dark)
        if turn < iterations - 1:
            light = blurred.agreed(light, prior, trust * growth**turn, between)
            told = blurred.told_left(max(trust, _LEAST_TOLD))


def detail(change: Tensor) -> Tensor:
    """A change of planes, (..., Y, X), without what it does to the mean around each pixel.

    A denoiser that is told more noise than is left shifts the mean, by up to a seventh of what it
    is told, and the turns would add that up. Of the noise, hardly any is in means over many pixels.
    """
    return change - smooth_signal(change)
