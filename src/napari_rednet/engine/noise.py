"""Poisson-Gaussian noise: how the standard deviation grows with the signal."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

LEAST_CORRELATION = 0.1
"""Weaker correlations of neighbours cannot be told from white noise, and are told as 0."""
_LEAST_GRAIN = 1e-3
_MOST_CORRELATION = 0.999

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
