"""Corruptions of clean images as batched, seeded torch code that runs on any device.

Images are float tensors (N, 1, Y, X) whose values are of the order of 1. Every function takes a
`torch.Generator` of the same device, so that a seed gives the same corruption every time.
Training, sample data, tests and benchmarks share them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_rednet.engine.noise_map import poisson_gaussian_std, smooth_signal


def add_noise(clean: Tensor, std: Tensor | float, generator: torch.Generator) -> Tensor:
    """Add Gaussian noise of a standard deviation that may differ from pixel to pixel."""
    return clean + std * _normal(clean, generator)


def blur(clean: Tensor, psf: Tensor) -> Tensor:
    """Convolve with a PSF (H, W) of odd sides; borders are replicated."""
    rows, columns = (side // 2 for side in psf.shape)
    padded = F.pad(clean, (columns, columns, rows, rows), mode="replicate")
    return F.conv2d(padded, psf.flip(0, 1)[None, None].to(clean.dtype))


def smooth_field(
    like: Tensor, generator: torch.Generator, low: float, high: float, knots: int = 3
) -> Tensor:
    """Smooth random fields between `low` and `high`, one for each image of a batch."""
    shape = (like.shape[0], 1, knots, knots)
    field = torch.rand(shape, generator=generator, device=like.device, dtype=like.dtype)
    smooth = F.interpolate(field, like.shape[-2:], mode="bicubic", align_corners=True)
    return low + (high - low) * smooth.clamp(0, 1)


@dataclass(frozen=True)
class NoiseCorruption:
    """Noise for training a denoiser that is told the noise level of every pixel.

    Each image of a batch gets, at random, Gaussian noise of one level, Gaussian noise of a level
    that varies smoothly over the image, or photon noise with read noise.

    Parameters
    ----------
    max_std : float
        Largest Gaussian standard deviation, as a fraction of the image range.
    poisson_share, varying_share : float
        Probabilities of photon noise and of a smoothly varying level.
    map_error : float
        Standard deviation of the error, in log units, of the noise map that the network is
        told for photon noise: the map comes from an estimate in practice.
    """

    max_std: float = 75 / 255
    poisson_share: float = 0.3
    varying_share: float = 0.1
    map_error: float = 0.1

    def __call__(self, clean: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Corrupt a batch.

        Returns
        -------
        noisy, std : (N, 1, Y, X) Tensor
            The noisy images, and the noise map to tell the network.
        """
        level = self.max_std * _uniform(clean, generator)
        varying = level * smooth_field(clean, generator, 0.2, 1.0)
        photon_level = self.max_std * _uniform(clean, generator)
        gain, read_noise = photon_level**2, 0.4 * photon_level * _uniform(clean, generator)
        kind = _uniform(clean, generator)
        is_photon, is_varying = kind < self.poisson_share, kind > 1 - self.varying_share
        std = torch.where(is_varying, varying, level)
        std = torch.where(is_photon, poisson_gaussian_std(clean, gain, read_noise), std)
        noisy = add_noise(clean, std, generator)
        # A microscopist's map is read at the smoothed noisy image, with estimated parameters.
        estimate = poisson_gaussian_std(smooth_signal(noisy), gain, read_noise)
        estimate = estimate * torch.exp(self.map_error * _normal(level, generator))
        return noisy, torch.where(is_photon, estimate, std)


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)


def _uniform(like: Tensor, generator: torch.Generator) -> Tensor:
    """One number in [0, 1) for each image of a batch."""
    shape = (like.shape[0], 1, 1, 1)
    return torch.rand(shape, generator=generator, device=like.device, dtype=like.dtype)
