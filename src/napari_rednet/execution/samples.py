"""Parts of an array that represent a channel, and what is measured in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy.typing as npt

from napari_rednet.engine.intensity import IntensityRange, dark_level, measure_range
from napari_rednet.engine.noise_model import NoiseModel
from napari_rednet.engine.outlier_limits import without_outliers
from napari_rednet.engine.outliers import OutlierLimits
from napari_rednet.noise import fit_noise

Parts = Sequence[npt.NDArray[Any]]


class Samples:
    """Sample windows of a channel. What is measured in them is measured when it is needed, once.

    Parameters
    ----------
    parts : iterable of (Y, X) ndarray
        Parts of the array, in native byte order; what a mask covers is NaN.
    windows_of : callable
        Makes windows of the parts, such as the luminance of colours; the parts are the windows if
        there is none.

    Attributes
    ----------
    limits : OutlierLimits or None
        What outliers exceed, where the windows are without them; nothing is known of noise.
    """

    def __init__(
        self,
        parts: Iterable[npt.NDArray[Any]],
        windows_of: Callable[[Parts], Parts] = list,
        limits: OutlierLimits | None = None,
    ) -> None:
        self._parts, self._windows_of, self.limits = list(parts), windows_of, limits
        self._without: dict[float, Samples] = {}

    def __iter__(self) -> Iterator[npt.NDArray[Any]]:
        return iter(self.windows)

    def __len__(self) -> int:
        return len(self.windows)

    def without_outliers(self, share: float) -> Samples:
        """The same windows, without pixels that exceed this share of the range as outliers do."""
        if share not in self._without:
            scale = self.range if self._windows_of is list else None
            parts, limits = without_outliers(self._parts, share, scale)
            without = Samples(parts, self._windows_of, limits)
            if parts is self._parts and scale is not None:
                without.range = scale
            self._without[share] = without
        return self._without[share]

    @cached_property
    def windows(self) -> Parts:
        """The windows."""
        return self._windows_of(self._parts)

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
