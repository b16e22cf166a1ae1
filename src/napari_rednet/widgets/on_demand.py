"""Arrays that are stored or still to be computed, as images to restore."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from napari_rednet.execution import is_dask


def is_in_memory(array: Any) -> bool:
    """Whether the values of an array are there, or mapped into memory."""
    return isinstance(array, np.ndarray)


def as_lazy(array: Any) -> Any:
    """A stored array as a dask array of the same chunks; dask arrays stay as they are."""
    import dask.array as da

    return array if is_dask(array) else da.from_array(array, name=False)


class PlanesOnDemand:
    """A dask array that is computed plane by plane, each when it is first looked at.

    A restoration reads a plane band by band, and bands of one plane need the same chunks: the
    last plane is kept. It is no dask array: a restoration of it is not lazy.

    Parameters
    ----------
    array : dask array
        With the axes of a plane last.
    plane_axes : int
        How many these are: 2, or 3 with colours.
    """

    def __init__(self, array: Any, plane_axes: int) -> None:
        self.shape, self.dtype = tuple(array.shape), np.dtype(array.dtype)
        self.ndim = len(self.shape)
        self._array = array
        self._leading = self.ndim - plane_axes
        self._kept: tuple[Any, npt.NDArray[Any]] | None = None

    def __getitem__(self, index: tuple[int | slice, ...]) -> npt.NDArray[Any]:
        """The values of a window in one plane, or in several."""
        plane, window = index[: self._leading], index[self._leading :]
        if any(isinstance(i, slice) for i in plane):
            return np.asarray(self._array[index])
        values: npt.NDArray[Any] = self._plane(plane)[window]
        return values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self._array, dtype)

    def samples(self, which: slice) -> PlanesOnDemand:
        """Some of the colours."""
        return PlanesOnDemand(self._array[..., which], self.ndim - self._leading)

    def _plane(self, plane: tuple[int | slice, ...]) -> npt.NDArray[Any]:
        kept = self._kept  # another thread may replace it
        if kept is None or kept[0] != plane:
            kept = self._kept = plane, np.asarray(self._array[plane])
        return kept[1]
