"""The noise map: the standard deviation of the noise at every pixel, as the networks are told."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SIGMA = 2.0
RADIUS = 6
"""Rows and columns around a pixel that its map value depends on."""


def poisson_gaussian_std(
    signal: Tensor, gain: Tensor | float, read_noise: Tensor | float
) -> Tensor:
    """Standard deviation of photon and read noise at a signal whose black level is 0."""
    return torch.sqrt(gain * signal.clamp(min=0) + torch.as_tensor(read_noise) ** 2)


def smooth_signal(image: Tensor) -> Tensor:
    """Gaussian blur, the estimate of the signal that the noise level is read at.

    Borders are replicated; (N, 1, Y, X) in and out.
    """
    return _blur(F.pad(image, (RADIUS,) * 4, mode="replicate"))


def smooth_band(rows: Tensor) -> Tensor:
    """`smooth_signal` of a band that comes with `RADIUS` more rows above and below."""
    return _blur(F.pad(rows, (RADIUS, RADIUS, 0, 0), mode="replicate"))


def _blur(padded: Tensor) -> Tensor:
    offsets = torch.arange(-RADIUS, RADIUS + 1, dtype=padded.dtype, device=padded.device)
    kernel = torch.exp(-0.5 * (offsets / SIGMA) ** 2)
    kernel = kernel / kernel.sum()
    columns = F.conv2d(padded, kernel.view(1, 1, -1, 1))
    return F.conv2d(columns, kernel.view(1, 1, 1, -1))
