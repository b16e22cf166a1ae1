"""What networks are told of the noise: its standard deviation at every pixel, and its grain."""

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
    """The channels beside the image that tell a network of the noise: (N, 3, Y, X).

    Correlations are told times the standard deviation, so that all that the network gets scales
    with the image.

    Parameters
    ----------
    std : (N, 1, Y, X) Tensor
        Standard deviation of the noise.
    along_y, along_x : float or (N, 1, 1, 1) Tensor
        Correlation of the noise of neighbours in a column and in a row, 0 to 1.
    """
    return torch.cat([std, std * along_y, std * along_x], 1)


MOST_CHANGE = 6.0
"""Standard deviations of its noise by which a pixel may be changed."""
OWN_ERROR = 0.003
"""Error of a network's own, as a fraction of the values around a pixel."""


def limited_residual(inputs: Tensor, residual: Tensor) -> Tensor:
    """What a network adds to an image, no more than noise can have taken away.

    Where the noise is as weak as the errors that a network makes by itself, only a part of it is
    added, as Wiener's filter has it for two errors of known variances: an image of hardly any
    noise does not come out worse. What is not finite stays so, that an overflow is noticed.

    Parameters
    ----------
    inputs : (N, 1 + 3 + 1, Y, X) Tensor
        The image, what is told of its noise, and the `amplitude` around each pixel.
    residual : (N, 1, Y, X) Tensor
        What the network adds.
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
