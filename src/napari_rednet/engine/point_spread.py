"""A point spread function that is ready to blur with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class PointSpread:
    """The image of a point, and where in it the point is.

    Parameters
    ----------
    values : (H, W) ndarray
        Of odd sides and sum 1.
    offset : tuple of float
        The point, in pixels along y and x from the middle pixel; not further than half a pixel.
    """

    values: npt.NDArray[np.float64]
    offset: tuple[float, float] = (0.0, 0.0)

    @property
    def reach(self) -> tuple[int, int]:
        """Rows and columns on each side of a pixel that light comes from."""
        height, width = self.values.shape
        return height // 2, width // 2
