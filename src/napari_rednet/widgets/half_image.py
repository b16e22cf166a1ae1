"""An image of which only one side of a line is there: what the split view shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class HalfPlane:
    """The points p of an image with ``slopes @ p + offset > 0``.

    Parameters
    ----------
    slopes : (D,) ndarray
        For each axis of the image, colours apart.
    offset : float
        At the first pixel.
    """

    slopes: FloatArray
    offset: float

    def mask(self, key: tuple[Any, ...], shape: tuple[int, ...], steps: FloatArray) -> Any:
        """Which pixels of ``image[key]`` lie in it.

        Parameters
        ----------
        key : tuple of int or slice
            For each axis of the image.
        shape : tuple of int
            Of the image.
        steps : (D,) ndarray
            How many pixels of the full resolution a pixel of the image spans along each axis.
        """
        first = (steps - 1) / 2  # pixels are where their centres are
        total: Any = self.offset + self.slopes @ first
        cuts = [axis for axis, index in enumerate(key) if isinstance(index, slice)]
        for axis, index in enumerate(key):
            places = np.arange(shape[axis])[index] * (self.slopes[axis] * steps[axis])
            if axis in cuts:
                places = places.reshape(-1, *(1,) * (len(cuts) - 1 - cuts.index(axis)))
            total = total + places
        return total > 0


class HalfImage:
    """A view of an image, computed plane by plane, that is transparent in a half-plane.

    Gray values become NaN there, which napari does not draw, colours get an alpha of 0. The shape
    is that of the image, whatever the half-plane, so that moving it is only drawing again.

    Parameters
    ----------
    data : array
        The image, or a level of its pyramid.
    rgb : bool
        Whether its last axis holds colours.
    steps : sequence of float
        Pixels of the full resolution that one of its pixels spans, for each axis.
    """

    def __init__(self, data: Any, rgb: bool, steps: Any) -> None:
        self._data, self._rgb = data, rgb
        self._steps = np.asarray(steps, float)
        self.hidden = HalfPlane(np.zeros(len(self._steps)), -1.0)
        kind = np.dtype(data.dtype)
        self.dtype = kind if rgb else np.dtype(np.float32)
        self.shape = (*data.shape[:-1], 4) if rgb else tuple(data.shape)
        self.ndim = len(self.shape)
        self.size = int(np.prod(self.shape))

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        axes = len(self._steps)
        keys = _all_axes(key, axes)
        values = np.asarray(self._data[keys])
        hidden = self.hidden.mask(keys, self.shape[:axes], self._steps)
        if self._rgb:
            return _with_alpha(values, hidden)
        return np.where(hidden, np.float32(np.nan), values.astype(np.float32))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self[()], dtype)


def _all_axes(key: Any, axes: int) -> tuple[Any, ...]:
    """Indices of all axes but the colours."""
    keys = key if isinstance(key, tuple) else (key,)
    return (*keys, *(slice(None),) * axes)[:axes]


def _with_alpha(values: npt.NDArray[Any], hidden: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    opaque = np.iinfo(values.dtype).max if values.dtype.kind in "iu" else 1
    given = values[..., 3] if values.shape[-1] == 4 else opaque
    alpha = np.where(hidden, 0, given).astype(values.dtype)
    return np.concatenate([values[..., :3], alpha[..., None]], axis=-1)
