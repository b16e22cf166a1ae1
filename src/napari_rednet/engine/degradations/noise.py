"""Gaussian and photon noise, and the noise maps that a network is told."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from napari_rednet.engine.degradations.draws import normal, smooth_field, uniform
from napari_rednet.engine.noise_map import poisson_gaussian_std, smooth_signal


def add_noise(clean: Tensor, std: Tensor | float, generator: torch.Generator) -> Tensor:
    """Add Gaussian noise of a standard deviation that may differ from pixel to pixel."""
    return clean + std * normal(clean, generator)


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
        level = self.max_std * uniform(clean, generator)
        varying = level * smooth_field(clean, generator, 0.2, 1.0)
        photon_level = self.max_std * uniform(clean, generator)
        gain, read_noise = photon_level**2, 0.4 * photon_level * uniform(clean, generator)
        kind = uniform(clean, generator)
        is_photon, is_varying = kind < self.poisson_share, kind > 1 - self.varying_share
        std = torch.where(is_varying, varying, level)
        std = torch.where(is_photon, poisson_gaussian_std(clean, gain, read_noise), std)
        noisy = add_noise(clean, std, generator)
        # A microscopist's map is read at the smoothed noisy image, with estimated parameters.
        estimate = poisson_gaussian_std(smooth_signal(noisy), gain, read_noise)
        estimate = estimate * torch.exp(self.map_error * normal(level, generator))
        return noisy, torch.where(is_photon, estimate, std)
