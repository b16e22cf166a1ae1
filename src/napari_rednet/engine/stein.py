"""Stein's formula: how much of the noise of an image passes into what is made of it.

For noise of standard deviation s, the expected product of the noise and the result is s² times the
derivative of the result by the pixel itself. The derivative is found by adding a little more
noise of random signs [1]_.

References
----------
.. [1] S. Ramani, T. Blu, M. Unser, "Monte-Carlo SURE", IEEE Trans. Image Process. 17 (2008).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

Pixels = TypeVar("Pixels", "npt.NDArray[np.floating]", "Tensor")


def nudge(std: Pixels, signs: Pixels, step: float) -> Pixels:
    """A little more noise: `step` times its standard deviation, of random `signs` (1 or -1)."""
    return step * std * signs


def noise_passed(std: Pixels, signs: Pixels, change: Pixels, step: float) -> Pixels:
    """Covariance of noise and result at every pixel, right on average.

    Parameters
    ----------
    std, signs, step
        The nudge that the image was given.
    change : array
        What the result changed by.
    """
    passed: Pixels = std * signs * change / step
    return passed
