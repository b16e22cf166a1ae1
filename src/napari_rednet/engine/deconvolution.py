"""Deblurring with any point spread function: an exact data term, and a denoiser as the prior.

Half-quadratic splitting alternates between two demands on the sharp image: that it looks like the
observed image once blurred (the data term), and that it looks noise-free to the denoiser (the
prior). The denoiser's noise level falls from a high one to that of the image.

The data term is a weighted least-squares problem. Deviations from the observed image count in units
of the local noise. Deviations from the denoiser's image count in units of the local denoising
level, which is the noise times a factor common to all pixels. Unknown pixels have no weight.
Conjugate gradients solve it, preconditioned by the solution in the Fourier domain for noise that is
the same everywhere.

The noise left in the solution is known. It is coarse, because fine noise was blurred away with the
fine structure. The denoiser is told its level and grain: if it took the noise for white, it would
find structure in it, so that bars become beads and false arcs appear.

References
----------
.. [1] K. Zhang et al., "Plug-and-play image restoration with deep denoiser prior", IEEE TPAMI 2022,
   for the schedule.
.. [2] M. S. C. Almeida, M. A. T. Figueiredo, "Deconvolving images with unknown boundaries using the
   alternating direction method of multipliers", IEEE TIP 2013, for the borders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy.fft import next_fast_len
from torch import Tensor

from napari_rednet.engine.network import told_noise
from napari_rednet.engine.planes import PointSpread

_FIRST_STD = 49 / 255
# The schedule starts above the image's noise, however strong that is.
_FIRST_RATIO = 4.0
_TRADE_OFF = 0.3
_ROUNDS = 3
_NOISE_SHARE = 0.5
# Lower limit of a pixel's noise, relative to the typical noise.
_LEAST_NOISE = 0.1
# Lower limit of the noise power at any frequency, relative to the mean.
_LEAST_POWER = 0.03
# Coarser noise is the same everywhere in an image.
_MOST_GRAIN = 1e6
_TINY = 1e-30  # avoids division by 0 once the solution is exact


Denoise = Callable[[Tensor, Tensor], Tensor]
"""Maps an image (1, 1, Y, X) and its told noise (1, 3, Y, X) to the denoised image.

Of an image (1, 1, Z, Y, X), and (1, 3, Z, Y, X), it denoises each plane."""


Operator = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class ImageNoise:
    """Noise of an observed image.

    `level` is its typical standard deviation; `std`, of the image's shape, that at every pixel,
    None if it is uniform. `grain` is along y and x in pixels, as in `NoiseModel`.
    """

    level: float
    std: Tensor | None = None
    grain: tuple[float, float] = (0.0, 0.0)


class BlurredImage:
    """An observed image (1, 1, Y, X) or (1, 1, Z, Y, X), and what is known of the sharp one.

    The sharp image is larger by the reach of the PSF, since pixels beyond the border have been
    blurred into the observed one. Pixels beyond the border, and those that are False in `is_known`,
    are ignored by the data term, so that no ringing enters from there; they hold a first guess.
    """

    def __init__(
        self,
        observed: Tensor,
        psf: PointSpread,
        noise: ImageNoise,
        is_known: Tensor | None = None,
    ) -> None:
        self._corner, self._shape = psf.reach, tuple(observed.shape[2:])
        sides = [n + 2 * m for n, m in zip(self._shape, self._corner, strict=True)]
        self._padded = tuple(map(next_fast_len, sides))
        self.start = self._pad(observed)
        known = torch.ones_like(observed) if is_known is None else is_known.to(observed)
        relative = torch.ones_like(observed) if noise.std is None else noise.std / noise.level
        self._relative = self._pad(relative.clamp(min=_LEAST_NOISE))
        self._counts = self._pad(known, "constant") / self._relative
        self._transfer = transfer_function(psf, self._padded).to(observed.device)
        self._noise_power = _noise_power(noise.grain, self._padded).to(observed.device)
        self._signal_power = self._transfer.abs() ** 2 / self._noise_power
        self._is_grainy = any(noise.grain)
        self._level = noise.level

    def solve(self, estimate: Tensor, weight: float) -> Tensor:
        """The image that best agrees with the observed one, once blurred, and with `estimate`.

        `weight` is that of deviations from the estimate relative to those from the observed image.
        """
        trust = weight / self._relative**2
        inverse = 1 / (self._signal_power + weight)

        def apply(x: Tensor) -> Tensor:
            return self._back(self._blurred(x)) + trust * x

        def precondition(x: Tensor) -> Tensor:
            return self._relative * self._filtered(self._relative * x, inverse)

        downhill = self._back(self.start - self._blurred(estimate))
        return estimate + conjugate_gradients(apply, downhill, precondition, _ROUNDS)

    def told(self, level: float, weight: float) -> Tensor:
        """Told noise, of three channels, of a solution, for the denoiser of planes.

        The schedule's level stands for all errors of the solution, of which the noise is a part; a
        geometric mean of both works best.
        """
        noise, along_y, along_x = self._left(weight)
        std = level ** (1 - _NOISE_SHARE) * noise**_NOISE_SHARE * self._relative
        return told_noise(std, along_y, along_x)

    def told_left(self, weight: float) -> Tensor:
        """Told noise of what the noise alone leaves in a solution."""
        noise, along_y, along_x = self._left(weight)
        return told_noise(noise * self._relative, along_y, along_x)

    def _left(self, weight: float) -> tuple[float, float, float]:
        """Noise that a solution has, and its correlation in columns and in rows."""
        left = self._signal_power / (self._signal_power + weight) ** 2
        covariance = torch.fft.irfftn(left, s=self._padded)
        # That of planes, whose noise is told plane by plane.
        covariance = covariance.reshape(-1, *self._padded[-2:])[0]
        variance = float(covariance[0, 0])
        neighbors = covariance[1 % self._padded[-2], 0], covariance[0, 1 % self._padded[-1]]
        along_y, along_x = (max(0.0, float(one) / variance) for one in neighbors)
        return self._level * variance**0.5, along_y, along_x

    def cut(self, x: Tensor) -> Tensor:
        """The part of a sharp image that belongs to the observed pixels."""
        sides = zip(self._corner, self._shape, strict=True)
        return x[:, :, *(slice(first, first + length) for first, length in sides)]

    def _pad(self, x: Tensor, mode: str = "replicate") -> Tensor:
        widths: list[int] = []
        for first, length, padded in zip(self._corner, self._shape, self._padded, strict=True):
            widths = [first, padded - length - first, *widths]
        return F.pad(x, widths, mode=mode)

    def _blurred(self, x: Tensor) -> Tensor:
        return self._filtered(x, self._transfer)

    def _back(self, deviation: Tensor) -> Tensor:
        """Adjoint of the blur, applied to deviations weighted by the inverse noise."""
        counted = self._counts * deviation
        if self._is_grainy:
            counted = self._filtered(counted, 1 / self._noise_power)
        return self._filtered(self._counts * counted, self._transfer.conj())

    def _filtered(self, x: Tensor, response: Tensor) -> Tensor:
        axes = tuple(range(-len(self._padded), 0))
        spectrum = torch.fft.rfftn(x, dim=axes).mul_(response)
        filtered: Tensor = torch.fft.irfftn(spectrum, s=self._padded, dim=axes)
        return filtered


def conjugate_gradients(
    apply: Operator, right: Tensor, precondition: Operator, rounds: int
) -> Tensor:
    """Nearly solve ``apply(x) = right``, starting at 0.

    `apply` is a symmetric positive operator; `precondition`, too, approximates its inverse.
    """
    x, direction, residual = torch.zeros_like(right), torch.zeros_like(right), right
    before = right.new_tensor(torch.inf)
    for _ in range(rounds):
        ahead = precondition(residual)
        slope = (residual * ahead).sum()
        direction = ahead + slope / before * direction
        applied = apply(direction)
        step = slope / (direction * applied).sum().clamp(min=_TINY)
        x, residual = x + step * direction, residual - step * applied
        before = slope.clamp(min=_TINY)
    return x


def transfer_function(psf: PointSpread, shape: tuple[int, ...]) -> Tensor:
    """Fourier transform of a PSF for `torch.fft.rfftn`, with the point shifted to the origin."""
    placed = np.zeros(shape)
    placed[tuple(slice(0, side) for side in psf.values.shape)] = psf.values
    axes = range(len(shape))
    shifted = np.roll(placed, [-n for n in psf.reach], tuple(axes))
    spectrum = np.fft.rfftn(shifted)
    for axis, offset, frequencies in zip(axes, psf.offset, _frequencies(shape), strict=True):
        places = [-1 if a == axis else 1 for a in axes]
        spectrum *= _shift(offset, frequencies).reshape(places)
    return torch.from_numpy(spectrum.astype(np.complex64))


def _frequencies(shape: tuple[int, ...]) -> list[npt.NDArray[np.float64]]:
    """The frequencies along each axis of a real Fourier transform, in cycles per pixel."""
    lines = [*map(np.fft.fftfreq, shape[:-1]), np.fft.rfftfreq(shape[-1])]
    return [np.asarray(line, np.float64) for line in lines]


def _shift(offset: float, frequencies: np.ndarray) -> np.ndarray:
    """Phase factors that move the point at an offset to the origin."""
    phase = np.exp(2j * np.pi * frequencies * offset)
    # The Nyquist frequency also stands for its negative: the sum of both is real.
    return np.where(np.abs(frequencies) == 0.5, phase.real, phase)


def _noise_power(grain: tuple[float, float], shape: tuple[int, ...]) -> Tensor:
    """Power of noise at each frequency, 1 on average; planes have a noise of their own."""
    rows, columns = _frequencies(shape)[-2:]
    y, x = (min(one, _MOST_GRAIN) for one in grain)
    power = np.exp(-((2 * np.pi * y * rows[:, None]) ** 2) - (2 * np.pi * x * columns) ** 2)
    power /= np.fft.irfft2(power, s=shape[-2:])[0, 0]
    return torch.from_numpy(np.maximum(power, _LEAST_POWER).astype(np.float32))


def deblur_steps(
    observed: Tensor,
    psf: PointSpread,
    noise: ImageNoise,
    denoise: Denoise,
    iterations: int = 8,
    is_known: Tensor | None = None,
) -> Iterator[Tensor]:
    """Deblur an image with values of about 0 to 1, yielding the estimate of each iteration.

    It is (1, 1, Y, X), or (1, 1, Z, Y, X) for a PSF of three axes.
    """
    blurred = BlurredImage(observed, psf, noise, is_known)
    x = blurred.start
    for level in levels(noise.level, iterations):
        weight = _TRADE_OFF * (noise.level / level) ** 2
        x = denoise(blurred.solve(x, weight), blurred.told(level, weight))
        yield blurred.cut(x)


def levels(last: float, iterations: int) -> list[float]:
    """Noise levels for the denoiser, falling geometrically to `last`."""
    first = max(_FIRST_STD, _FIRST_RATIO * last)
    return [float(level) for level in np.geomspace(first, last, iterations)]
