"""Deblurring with any point spread function: an exact data term, and a denoiser as the prior.

Half-quadratic splitting: the sharp image is sought that, blurred, is the observed one, and that
the denoiser finds free of noise. The two demands are met in turn, the denoiser beginning with a
high noise level and ending at that of the image. The first has a closed form in the Fourier domain.

References
----------
.. [1] K. Zhang, Y. Li, W. Zuo, L. Zhang, L. Van Gool, R. Timofte, "Plug-and-play image restoration
   with deep denoiser prior", IEEE TPAMI 2022, for the schedule.
.. [2] M. S. C. Almeida, M. A. T. Figueiredo, "Deconvolving images with unknown boundaries using
   the alternating direction method of multipliers", IEEE TIP 2013, for the borders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy.fft import next_fast_len
from torch import Tensor

_FIRST_STD = 49 / 255
_SMALLEST_STD = 0.5 / 255
_TRADE_OFF = 0.23
_BORDER_ROUNDS = 4

Denoise = Callable[[Tensor, float], Tensor]
"""From an image (1, 1, Y, X) and the standard deviation of its noise to the denoised image."""


class BlurredImage:
    """An observed image, and what is known of the sharp one behind it.

    The sharp image is larger than the observed one by the reach of the PSF, since pixels beyond
    the border have been blurred into it. What the blurred image is out there is unknown: it is
    taken from the current estimate, so that no ringing enters from the borders.

    Parameters
    ----------
    observed : (1, 1, Y, X) Tensor
        The blurred, noisy image.
    psf : (H, W) ndarray
        Of odd sides and sum 1, centred.
    """

    def __init__(self, observed: Tensor, psf: npt.NDArray[np.float64]) -> None:
        self._shape = tuple(observed.shape[-2:])
        self._margins = tuple(side // 2 for side in psf.shape)
        padded = [next_fast_len(n + 2 * m) for n, m in zip(self._shape, self._margins, strict=True)]
        (top, left), (height, width) = self._margins, padded
        below, right = height - self._shape[0] - top, width - self._shape[1] - left
        pads = (left, right, top, below)
        self.start = F.pad(observed, pads, mode="replicate")
        self._is_seen = F.pad(torch.ones_like(observed), pads) > 0
        self._transfer = transfer_function(psf, (height, width)).to(observed.device)
        self._power = self._transfer.abs() ** 2

    def solve(self, estimate: Tensor, weight: float) -> Tensor:
        """The image that agrees best with the observed one, once blurred, and with `estimate`.

        Parameters
        ----------
        estimate : (1, 1, Y', X') Tensor
            Of the size of `start`.
        weight : float
            How much a deviation from the estimate counts against one from the observed image.
        """
        x = estimate
        prior = weight * torch.fft.rfft2(estimate)
        for _ in range(_BORDER_ROUNDS):
            data = torch.where(self._is_seen, self.start, self._blurred(x))
            spectrum = self._transfer.conj() * torch.fft.rfft2(data) + prior
            x = self._image(spectrum / (self._power + weight))
        return x

    def cut(self, x: Tensor) -> Tensor:
        """The part of a sharp image that belongs to the observed pixels."""
        (top, left), (height, width) = self._margins, self._shape
        return x[:, :, top : top + height, left : left + width]

    def _blurred(self, x: Tensor) -> Tensor:
        return self._image(self._transfer * torch.fft.rfft2(x))

    def _image(self, spectrum: Tensor) -> Tensor:
        image: Tensor = torch.fft.irfft2(spectrum, s=self.start.shape[-2:])
        return image


def transfer_function(psf: npt.NDArray[np.float64], shape: tuple[int, int]) -> Tensor:
    """Fourier transform of a centred PSF on a periodic grid, as `torch.fft.rfft2` has it."""
    placed = np.zeros(shape, np.float32)
    placed[: psf.shape[0], : psf.shape[1]] = psf
    shifted = np.roll(placed, [-(side // 2) for side in psf.shape], (0, 1))
    spectrum: Tensor = torch.fft.rfft2(torch.from_numpy(shifted))
    return spectrum


def deblur_steps(
    observed: Tensor,
    psf: npt.NDArray[np.float64],
    std: float,
    denoise: Denoise,
    iterations: int = 8,
) -> Iterator[Tensor]:
    """Deblur an image, yielding the estimate after each iteration; the last one is the result.

    Parameters
    ----------
    observed : (1, 1, Y, X) Tensor
        The blurred, noisy image, of a range of about 0 to 1.
    psf : (H, W) ndarray
        Of odd sides and sum 1, centred.
    std : float
        Standard deviation of the noise.
    denoise : callable
        The prior.
    iterations : int
        How often to alternate.
    """
    blurred = BlurredImage(observed, psf)
    x = blurred.start
    std = max(std, _SMALLEST_STD)
    for level in np.geomspace(max(_FIRST_STD, std), std, iterations):
        weight = _TRADE_OFF * (std / level) ** 2
        x = blurred.solve(x, weight)
        x = denoise(x, float(level))
        yield blurred.cut(x)
