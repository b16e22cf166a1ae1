"""Told noise: the channels that tell networks the noise's standard deviation and grain."""

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


def told_noise(std: Tensor, along_y: Tensor | float, along_x: Tensor | float) -> Tensor:
    """Channels (N, 3, Y, X) that tell a network the noise.

    `std` is (N, 1, Y, X). `along_y` and `along_x` are the correlations, 0 to 1, of the noise of
    neighbours in a column and in a row. They are told times `std`, so that all inputs scale with
    the image.
    """
    return torch.cat([std, std * along_y, std * along_x], 1)


MOST_CHANGE = 6.0
"""Largest change of a pixel, in standard deviations of its noise."""
OWN_ERROR = 0.003
"""Error of the network itself, as a fraction of the values around a pixel."""


def limited_residual(inputs: Tensor, residual: Tensor) -> Tensor:
    """A network's residual, limited to what the noise can explain.

    Where the noise is as weak as the network's own error, only a part of the residual is added,
    weighted like a Wiener filter for two errors of known variances, so that images with hardly any
    noise do not get worse. Non-finite residuals are kept, so that an overflow is noticed.

    `inputs`, (N, 1 + 3 + 1, Y, X), has the image, its told noise, and the `amplitude`.
    """
    std = inputs[:, 1:2]
    own = OWN_ERROR * inputs[:, 4:]
    share = std.square() / (std.square() + own.square()).clamp(min=torch.finfo(std.dtype).tiny)
    limited = share * residual.clamp(-MOST_CHANGE * std, MOST_CHANGE * std)
    return torch.where(torch.isfinite(residual), limited, residual)


def amplitude(rows: Tensor) -> Tensor:
    """Largest absolute value around each pixel of a band that comes with `RADIUS` more rows."""
    side = 2 * RADIUS + 1
    return F.max_pool2d(rows.abs(), side, 1, (0, RADIUS))


def smooth_signal(image: Tensor) -> Tensor:
    """Gaussian blur (N, 1, Y, X), the signal estimate of the noise map; borders are replicated."""
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
