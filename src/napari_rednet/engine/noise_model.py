"""Poisson-Gaussian noise: how the standard deviation grows with the signal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

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

    Examples
    --------
    >>> NoiseModel(gain=2.0, offset=100.0, read_noise=3.0).std(120.0)
    7.0
    """

    gain: float = 0.0
    offset: float = 0.0
    read_noise: float = 0.0

    def __post_init__(self) -> None:
        for name in ("gain", "offset", "read_noise"):
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
        return NoiseModel(self.gain / span, (self.offset - low) / span, self.read_noise / span)
