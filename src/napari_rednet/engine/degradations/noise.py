"""Gaussian and photon noise, and the noise maps that a network is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from napari_rednet.engine.channel import LEAST_CORRELATION, NoiseModel
from napari_rednet.engine.degradations.processing import (
    MARGIN,
    PROCESSES,
    grainy_kernels,
    resample_pair,
    separably_filtered,
)
from napari_rednet.engine.degradations.stacks import with_breaks
from napari_rednet.engine.network import (
    poisson_gaussian_std,
    smooth_signal,
    stack_inputs,
    told_noise,
)
from napari_rednet.engine.rng import normal, smooth_field, uniform


def add_noise(clean: Tensor, std: Tensor | float, generator: torch.Generator) -> Tensor:
    """Add Gaussian noise of a standard deviation that may differ from pixel to pixel."""
    return clean + std * normal(clean, generator)


def evened_weights(std: Tensor) -> Tensor:
    """Loss weights (N, 1, 1, 1) that make up for the large errors of strong noise."""
    return 0.1 / (std.mean((1, 2, 3), keepdim=True) + _SMALLEST_MEAN_NOISE).sqrt()


_SMALLEST_MEAN_NOISE = 0.02
# Factor on the photon variance from multiplication in many stages: M. Robbins, B. Hadwen, "The
# noise performance of electron multiplying charge-coupled devices", IEEE TED 2003.
_EMCCD_EXCESS = 2.0
_LEAST_STD = 1e-6
_FAINTEST = 1e-3
_MOST_CORRELATION = 0.98
# 16 million photons at the upper end of the range, whose noise is invisible.
_LEAST_GAIN = 2.0**-24


@dataclass(frozen=True)
class NoiseCorruption:
    """Noise for training a denoiser that is told the noise level of every pixel and the grain.

    Each image gets Gaussian noise, uniform or smoothly varying, or counted photons with read noise
    or EMCCD multiplication. Some are then processed (see `processing`), clipped at black or white,
    or rounded to few gray levels.

    Parameters
    ----------
    max_std : float
        Largest Gaussian standard deviation, as a fraction of the image range.
    few_photons_share : float
        Share of the photon images with only 0.2 to 20 photons at a value of 1.
    processes : mapping of str to float
        Probabilities of the processes that make noise correlated.
    cut_share : float
        Probability of each: clipping at black, saturation, few gray levels.
    map_error, grain_error : float
        Standard deviations of the error of what the network is told, which is an estimate in
        practice: of the noise map of photon or processed noise, in log units, and of the
        correlation.
    misled_share : float
        Share of the images told 0.5 to 3 times their noise, as `strength` does: nothing else may
        change there than how much is smoothed.
    level_power : float
        Exponent of the uniformly drawn level: above 1, weak noise is drawn more often.
    faint_share : float
        Share of the images whose level is log-uniform, down to a thousandth of the largest.
    """

    max_std: float = 75 / 255
    poisson_share: float = 0.3
    emccd_share: float = 0.0
    varying_share: float = 0.1
    few_photons_share: float = 0.0
    processes: Mapping[str, float] = field(default_factory=dict)
    cut_share: float = 0.0
    dark_share: float = 0.0
    map_error: float = 0.1
    grain_error: float = 0.04
    misled_share: float = 0.0
    level_power: float = 1.0
    faint_share: float = 0.0
    margin: int = MARGIN

    def __post_init__(self) -> None:
        unknown = set(self.processes) - set(PROCESSES)
        if unknown:
            raise ValueError(
                f"processes must be some of {', '.join(PROCESSES)}, got {', '.join(unknown)}"
            )

    def __call__(self, clean: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Corrupt a batch of images (N, 1, Y, X) or stacks (N, P, Y, X); results lack its margin.

        Returns noisy images and told noise, clean images, and weights (N, 1, 1, 1) that make up for
        the large errors of strong noise. Of a stack, the middle plane is to be restored, by the
        same noise in all planes: see `stack_inputs`.
        """
        is_dark = uniform(clean, generator) < self.dark_share
        power = 1 + 5 * uniform(clean, generator)
        clean = torch.where(is_dark, clean.clamp(min=0) ** power, clean)
        count, planes, height, width = clean.shape
        # Planes lie below each other, so that they share all that is drawn for an image.
        clean = clean.reshape(count, 1, planes * height, width)
        which = self._draw_processes(clean, generator)
        source = self._draw_source(clean, which >= 0, generator)
        noisy, clean = source.apply(clean, generator), clean.clone()
        for i, name in enumerate(self.processes):
            chosen = (which == i).nonzero().flatten()
            if len(chosen):
                process = PROCESSES[name]
                if process is resample_pair:
                    process = partial(resample_pair, planes=planes)
                pair = process(noisy[chosen], clean[chosen], generator)
                noisy[chosen], clean[chosen] = pair
        error = noisy - clean
        noisy, clean = self._cut(noisy, clean, source, generator)
        std, *along = self._tell(noisy, error, source, which >= 0, generator)
        noisy, clean, std = (x.view(count, planes, height, width) for x in (noisy, clean, std))
        if planes > 1:
            noisy, std = with_breaks(noisy, clean, std, source.gain > 0, generator)
        rows, columns = (slice(self.margin, n - self.margin) for n in clean.shape[-2:])
        middle = slice(planes // 2, planes // 2 + 1)
        typical = std[:, middle].mean((1, 2, 3), keepdim=True)
        # The estimated dark level has an error of the order of the noise.
        shift = typical * (3.5 * uniform(clean, generator) - 1)
        noisy, clean, std = (x[..., rows, columns] for x in (noisy + shift, clean + shift, std))
        inputs = stack_inputs(noisy, std, *along)
        return inputs, clean[:, middle], evened_weights(std[:, middle])

    def _draw_processes(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """Index (N,) of the process that each image goes through, -1 for none."""
        shares = torch.tensor([0.0, *self.processes.values()], device=clean.device)
        chance = uniform(clean, generator).flatten()
        which = torch.searchsorted(shares.cumsum(0), chance.float(), right=True) - 1
        return torch.where(which < len(self.processes), which, -1)

    def _draw_source(
        self, clean: Tensor, is_processed: Tensor, generator: torch.Generator
    ) -> NoiseSource:
        """Draw the detector noise; it is stronger where a process will smooth it."""
        strongest = self.max_std * torch.where(is_processed, 1.5, 1.0).view(-1, 1, 1, 1)
        level = strongest * uniform(clean, generator) ** self.level_power
        faint = strongest * _FAINTEST ** uniform(clean, generator)
        level = torch.where(uniform(clean, generator) < self.faint_share, faint, level)
        kind = uniform(clean, generator)
        is_emccd = kind < self.emccd_share
        is_photon = kind < self.emccd_share + self.poisson_share
        is_varying = kind > 1 - self.varying_share
        few_photons = 0.2 * 100.0 ** uniform(clean, generator)
        is_few = uniform(clean, generator) < self.few_photons_share
        gain = torch.where(is_few, 1 / few_photons, level**2).clamp(min=_LEAST_GAIN)
        read_noise = 0.4 * gain.sqrt() * uniform(clean, generator)
        read_noise = torch.where(uniform(clean, generator) < 0.3, 0.0, read_noise)
        varying = level * smooth_field(clean, generator, 0.2, 1.0)
        spread = torch.where(is_varying, varying, level.expand_as(clean))
        return NoiseSource(
            torch.where(is_photon, gain, 0.0), torch.where(is_photon, read_noise, spread), is_emccd
        )

    def _cut(
        self, noisy: Tensor, clean: Tensor, source: NoiseSource, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        is_black, is_white, is_coarse = (
            uniform(clean, generator) < self.cut_share for _ in range(3)
        )
        typical = source.std(clean).mean((1, 2, 3), keepdim=True)
        black = typical * (1.5 * uniform(clean, generator) - 1.2)
        noisy = torch.where(is_black, noisy.maximum(black), noisy)
        white = 0.6 + 0.4 * uniform(clean, generator)
        noisy = torch.where(is_white, noisy.minimum(white), noisy)
        clean = torch.where(is_white, clean.minimum(white), clean)
        step = typical * (0.1 + 1.4 * uniform(clean, generator)) + 1e-4
        return torch.where(is_coarse, step * torch.round(noisy / step), noisy), clean

    def _tell(
        self,
        noisy: Tensor,
        error: Tensor,
        source: NoiseSource,
        is_processed: Tensor,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor, Tensor]:
        # As in use: the map comes from the smoothed noisy image, with estimated parameters.
        std = source.std(smooth_signal(noisy))
        factor = (error.square().mean((1, 2, 3), keepdim=True) / _mean_square(std)).sqrt()
        is_processed = is_processed.view(-1, 1, 1, 1)
        # Without any photon there may be neither signal nor noise.
        std = (torch.where(is_processed, factor, 1.0) * std).clamp(min=_LEAST_STD)
        is_estimated = is_processed | (source.gain > 0)
        wrong = torch.exp(self.map_error * normal(factor, generator))
        std = torch.where(is_estimated, wrong, 1.0) * std
        is_misled = uniform(factor, generator) < self.misled_share
        std = torch.where(is_misled, 0.5 * 6 ** uniform(factor, generator), 1.0) * std
        along_y, along_x = (
            torch.where(is_processed, self._told_correlation(error / std, axis, generator), 0.0)
            for axis in (-2, -1)
        )
        return std, along_y, along_x

    def _told_correlation(self, noise: Tensor, axis: int, generator: torch.Generator) -> Tensor:
        count = noise.shape[axis] - 1
        products = noise.narrow(axis, 0, count) * noise.narrow(axis, 1, count)
        found = products.mean((1, 2, 3), keepdim=True) / _mean_square(noise)
        found = (found + self.grain_error * normal(found, generator)).clamp(max=_MOST_CORRELATION)
        # Weaker correlations cannot be told from white noise.
        return torch.where(found < LEAST_CORRELATION, 0.0, found)


@dataclass(frozen=True)
class NoiseSource:
    """Detector noise of each image of a batch.

    `gain`, (N, 1, 1, 1), is in image units per photon, 0 for Gaussian noise alone; `level` is the
    standard deviation of the latter; `is_emccd` is True where photoelectrons are multiplied at
    random.
    """

    gain: Tensor
    level: Tensor
    is_emccd: Tensor

    def apply(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """Add the noise to clean images."""
        noisy = add_noise(clean, self.level, generator)
        counted = (self.gain.flatten() > 0).nonzero().flatten()
        light = clean[counted].clamp(min=0)
        photons = torch.poisson(light / self.gain[counted], generator)
        by_emccd = self.is_emccd[counted].flatten()
        multiplied = photons[by_emccd].clamp(min=1e-6)
        photons[by_emccd] = torch._standard_gamma(multiplied, generator)  # noqa: SLF001
        noisy[counted] += self.gain[counted] * photons - light
        return noisy

    def std(self, signal: Tensor) -> Tensor:
        """Standard deviation of the noise at a signal, (N, 1, Y, X)."""
        excess = torch.where(self.is_emccd, _EMCCD_EXCESS, 1.0)
        return poisson_gaussian_std(signal, excess * self.gain, self.level).clamp(min=_LEAST_STD)


def _mean_square(values: Tensor) -> Tensor:
    return values.square().mean((1, 2, 3), keepdim=True).clamp(min=1e-12)


@dataclass(frozen=True)
class CameraNoise:
    """The noise of certain cameras, over a random part of their range, for training a denoiser.

    `models` are in units of the normalised images; `map_error` is the standard deviation of the
    error of the noise map in log units.
    """

    models: Sequence[NoiseModel]
    map_error: float = 0.1

    def __call__(self, clean: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Corrupt a batch: noisy images with told noise (N, 4, Y, X), and clean ones."""
        parameters = [(m.gain, m.offset, m.read_noise, *m.correlation) for m in self.models]
        values = torch.tensor(parameters).to(clean)
        drawn = (uniform(clean, generator).flatten() * len(values)).long()
        gain, offset, read_noise, *along = values[drawn].T.reshape(-1, len(clean), 1, 1, 1)
        # The range of a noisy image is wider than that of its signal.
        brightest = 1 - 0.5 * uniform(clean, generator) ** 2
        signal = offset + clean * (brightest - offset).clamp(min=0.1)
        # Poisson rather than Gaussian noise: its skewness matters to a network.
        photon = gain.clamp(min=_LEAST_GAIN)
        light = photon * torch.poisson((signal - offset).clamp(min=0) / photon, generator)
        noise = add_noise(offset + light, read_noise, generator) - signal
        if any(m.correlation != (0.0, 0.0) for m in self.models):
            kernels = [grainy_kernels(values.flatten()).to(clean) for values in along]
            noise = separably_filtered(noise, *kernels)
        noisy = signal + noise
        estimate = poisson_gaussian_std(smooth_signal(noisy) - offset, gain, read_noise)
        error = torch.exp(self.map_error * normal(brightest, generator))
        return torch.cat([noisy, told_noise(estimate * error, *along)], 1), signal
