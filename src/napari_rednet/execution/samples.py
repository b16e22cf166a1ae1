"""Parts of an array that represent a channel, and what is measured in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

import numpy.typing as npt

from napari_rednet.engine.intensity import IntensityRange, dark_level, measure_range
from napari_rednet.engine.noise_model import NoiseModel
from napari_rednet.noise import fit_noise


class Samples:
    """Sample windows of a channel. What is measured in them is measured when it is needed, once.

    Parameters
    ----------
    windows : iterable of (Y, X) ndarray
        The windows, in native byte order; what a mask covers is NaN.
    """

    def __init__(self, windows: Iterable[npt.NDArray[Any]]) -> None:
        self.windows = list(windows)

    def __iter__(self) -> Iterator[npt.NDArray[Any]]:
        return iter(self.windows)

    def __len__(self) -> int:
        return len(self.windows)

    @cached_property
    def range(self) -> IntensityRange:
        """The robust range of their values."""
        return measure_range(self.windows)

    @cached_property
    def dark(self) -> float:
        """The level of their darkest places."""
        return dark_level(self.windows)

    @cached_property
    def noise(self) -> NoiseModel:
        """Their noise."""
        return fit_noise(self.windows)
