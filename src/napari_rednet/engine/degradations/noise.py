"""Gaussian and photon noise, and the noise maps that a network is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_rednet.engine.degradations.draws import normal, smooth_field, uniform
from napari_rednet.engine.noise_map import poisson_gaussian_std, smooth_signal
from napari_rednet.engine.noise_model import NoiseModel


def add_noise(clean: Tensor, std: Tensor | float, generator: torch.Generator) -> Tensor:
    """Add Gaussian noise of a standard deviation that may differ from pixel to pixel."""
    return clean + std * normal(clean, generator)


def evened_weights(std: Tensor) -> Tensor:
    """Weights in the loss that make up for strong noise having large errors: (N, 1, 1, 1)."""
    return 0.1 / (std.mean((1, 2, 3), keepdim=True) + _SMALLEST_MEAN_NOISE).sqrt()


_SMALLEST_MEAN_NOISE = 0.02
# Of the range: 16 million photons at its upper end, whose noise cannot be seen.
_LEAST_GAIN = 2.0**-24


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
    level_power : float
        Power of the evenly drawn level: above 1, weak noise is drawn more often.
    """

    max_std: float = 75 / 255
    poisson_share: float = 0.3
    varying_share: float = 0.1
    map_error: float = 0.1
    level_power: float = 1.0

    def __call__(self, clean: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Corrupt a batch.

        Returns
        -------
        noisy, std : (N, 1, Y, X) Tensor
            The noisy images, and the noise map to tell the network.
        """
        level = self.max_std * uniform(clean, generator) ** self.level_power
        varying = level * smooth_field(clean, generator, 0.2, 1.0)
        photon_level = self.max_std * uniform(clean, generator) ** self.level_power
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


@dataclass(frozen=True)
class CameraNoise:
    """The noise of certain cameras, for training a denoiser for them.

    Each image of a batch gets the noise of one of the models, over a random part of their range.

    Parameters
    ----------
    models : sequence of NoiseModel
        In the units of the normalised noisy images.
    map_error : float
        Standard deviation of the error of the noise map, in log units.
    """

    models: Sequence[NoiseModel]
    map_error: float = 0.1

    def __call__(self, clean: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Corrupt a batch.

        Returns
        -------
        inputs : (N, 2, Y, X) Tensor
            The noisy images and their noise maps.
        targets : (N, 1, Y, X) Tensor
            The images without noise, in the range that they have in the noisy ones.
        """
        values = torch.tensor([(m.gain, m.offset, m.read_noise) for m in self.models])
        drawn = (uniform(clean, generator).flatten() * len(values)).long()
        gain, offset, read_noise = values.to(clean)[drawn].T.reshape(3, -1, 1, 1, 1)
        # The range of a noisy image is wider than that of its signal.
        brightest = 1 - 0.5 * uniform(clean, generator) ** 2
        signal = offset + clean * (brightest - offset).clamp(min=0.1)
        # Photons are counted: their noise is skewed, and a network notices.
        photon = gain.clamp(min=_LEAST_GAIN)
        light = photon * torch.poisson((signal - offset).clamp(min=0) / photon, generator)
        noisy = add_noise(offset + light, read_noise, generator)
        estimate = poisson_gaussian_std(smooth_signal(noisy) - offset, gain, read_noise)
        error = torch.exp(self.map_error * normal(brightest, generator))
        return torch.cat([noisy, estimate * error], 1), signal
