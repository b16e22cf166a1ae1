"""Poisson-Gaussian noise with grain: its model, and the maps of it that networks are told."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

LEAST_CORRELATION = 0.1
"""Weaker correlations of neighbours cannot be told from white noise, and are told as 0."""
_LEAST_GRAIN = 1e-3
_MOST_CORRELATION = 0.999
SIGMA = 2.0
RADIUS = 6
"""Rows and columns around a pixel that its map value depends on."""
MOST_CHANGE = 6.0
"""Standard deviations of its noise by which a pixel may be changed."""
OWN_ERROR = 0.003
"""Error of a network's own, as a fraction of the values around a pixel."""


Signal = TypeVar("Signal", float, npt.NDArray[np.floating])


@dataclass(frozen=True)
class NoiseModel:
    r"""Noise of a camera or photomultiplier, in image units.

    The variance at a signal s is ``gain * max(s - offset, 0) + read_noise ** 2``.

    Parameters
    ----------
    gain : float
        Image units per detected photon (0 for purely Gaussian noise).
    offset : float
        Signal without light (black level).
    read_noise : float
        Standard deviation without light.
    grain_y, grain_x : float
        Size in pixels of the grain of the noise along y and along x: 0 for white noise. It is the
        standard deviation of the Gaussian filter that would make neighbours of white noise as
        alike as they are. Enlarging, turning, filtering and demosaicing make noise grainy.

    Examples
    --------
    >>> NoiseModel(gain=2.0, offset=100.0, read_noise=3.0).std(120.0)
    7.0
    """

    gain: float = 0.0
    offset: float = 0.0
    read_noise: float = 0.0
    grain_y: float = 0.0
    grain_x: float = 0.0

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self)):
            value = getattr(self, name)
            if not math.isfinite(value):
                raise ValueError(f"{name} must be a finite number, got {value}")
            if name != "offset" and value < 0:
                raise ValueError(f"{name} must not be negative, got {value}")

    def variance(self, signal: Signal) -> Signal:
        """Noise variance at `signal`, a number or an array in image units."""
        light = np.maximum(np.subtract(signal, self.offset), 0)
        variance: Any = self.gain * light + self.read_noise**2
        result: Signal = variance if isinstance(signal, np.ndarray) else float(variance)
        return result

    def std(self, signal: Signal) -> Signal:
        """Noise standard deviation at `signal`, a number or an array in image units."""
        deviation: Any = np.sqrt(self.variance(signal))
        result: Signal = deviation if isinstance(signal, np.ndarray) else float(deviation)
        return result

    def normalized(self, low: float, span: float) -> NoiseModel:
        """The model of ``(image - low) / span``."""
        return replace(
            self,
            gain=self.gain / span,
            offset=(self.offset - low) / span,
            read_noise=self.read_noise / span,
        )

    @property
    def correlation(self) -> tuple[float, float]:
        """Correlation of the noise of neighbours along y and along x: 0, or from 0.1 to 1."""
        return _correlation(self.grain_y), _correlation(self.grain_x)


def grain_of(correlation: float) -> float:
    """Grain in pixels of noise of which neighbours are so alike; 0 where they are not."""
    if correlation <= 0:
        return 0.0
    return 0.5 / math.sqrt(-math.log(min(correlation, _MOST_CORRELATION)))


def noise_words(noise: NoiseModel) -> str:
    """A noise model in words and digits."""
    grain = f", grain {noise.grain_y:.3g} x {noise.grain_x:.3g} pixels"
    return (
        f"gain {noise.gain:.4g}, offset {noise.offset:.4g}, read noise {noise.read_noise:.4g}"
        f"{grain if noise.correlation != (0.0, 0.0) else ''}"
    )


def _correlation(grain: float) -> float:
    """Correlation of neighbours in white noise under a Gaussian filter."""
    found = math.exp(-0.25 / grain**2) if grain > _LEAST_GRAIN else 0.0
    return found if found >= LEAST_CORRELATION else 0.0


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
