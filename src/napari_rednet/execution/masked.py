"""Masked arrays: what is masked is unknown to the network, and stays as it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numpy import ma

from napari_rednet.engine.images import round_to, working_dtype

Index = Any


class MaskedImage:
    """A masked array to read from, a part at a time: what is masked is NaN.

    Parameters
    ----------
    array : masked array
        Of any real dtype.
    """

    def __init__(self, array: ma.MaskedArray[Any, Any]) -> None:
        self.values: npt.NDArray[Any] = ma.getdata(array)
        self.mask: npt.NDArray[np.bool_] = ma.getmaskarray(array)
        self.dtype, self.shape, self.ndim = self.values.dtype, self.values.shape, self.values.ndim

    @property
    def is_unknown(self) -> bool:
        """Whether there are pixels, and all are masked."""
        return bool(self.mask.size) and bool(self.mask.all())

    @property
    def working_dtype(self) -> np.dtype[Any]:
        """A float dtype that its values and NaN fit in."""
        return self.dtype if self.dtype.kind == "f" else np.dtype(working_dtype(self.dtype))

    def __getitem__(self, index: Index) -> npt.NDArray[Any]:
        """A part; of the dtype of the array if nothing of it is masked."""
        values, mask = self.values[index], self.mask[index]
        if not mask.any():
            return np.asarray(values)
        result = values.astype(self.working_dtype)
        result[mask] = np.nan
        return np.asarray(result)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """The whole; called by numpy."""
        return np.asarray(self[...], dtype)

    def finished(
        self, index: tuple[int | slice, ...], spatial: tuple[int, int], scale: int, result: Any
    ) -> npt.NDArray[Any]:
        """A part of the result in the dtype of the array, with the masked pixels as they were.

        Parameters
        ----------
        index : tuple of int or slice
            Which part of the result, which may be enlarged.
        spatial : (int, int)
            The axes Y and X.
        scale : int
            How many times larger they are in the result.
        result : array
            Float; what lies at masked pixels has no meaning.
        """
        values, mask = (_enlarged(part, index, spatial, scale) for part in (self.values, self.mask))
        known = np.where(mask, 0, result)
        return np.where(mask, values, round_to(known, self.dtype))

    def result(self, values: npt.NDArray[Any], spatial: tuple[int, int], scale: int) -> Any:
        """A result with the mask of the array."""
        mask = self.mask
        for axis in spatial:
            mask = mask.repeat(scale, axis)
        return ma.MaskedArray(values, mask)


def _enlarged(
    array: npt.NDArray[Any],
    index: tuple[int | slice, ...],
    spatial: tuple[int, int],
    scale: int,
) -> npt.NDArray[Any]:
    """A part of an array of which each pixel has become as many."""
    small: list[int | slice] = []
    inner: list[slice] = []
    for axis, part in enumerate(index):
        if isinstance(part, slice) and axis in spatial:
            start = part.start // scale
            small.append(slice(start, -(-part.stop // scale)))
            inner.append(slice(part.start - start * scale, part.stop - start * scale))
        else:
            small.append(part)
    found = array[tuple(small)]
    if scale == 1:
        return np.asarray(found)
    return np.asarray(found.repeat(scale, 0).repeat(scale, 1)[tuple(inner)])
