"""Generated point spread functions of a plane.

They are (Y, X) float64 arrays of odd sides, non-negative, of sum 1, centred in the middle pixel.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

from napari_rednet.engine.channel import finite

FloatArray = npt.NDArray[np.float64]

SUPERSAMPLING = 8
"""Subpixels of a pixel along each axis."""
_AIRY_RINGS = 5.0
_MOST_REACH = 500
# A Gaussian of this standard deviation in pixels is a point.
_SMALLEST = 1e-3
_LARGEST_LOG = 300.0


def gaussian(sigma: float) -> FloatArray:
    """A Gaussian, cut off beyond four standard deviations.

    Parameters
    ----------
    sigma : float
        Standard deviation in pixels.

    Examples
    --------
    >>> gaussian(1.6).shape
    (15, 15)
    """
    check_positive("sigma", sigma)
    radius = reach(4 * float(sigma))
    x = np.arange(-radius, radius + 1)
    line = np.exp(-0.5 * (x / max(float(sigma), _SMALLEST)) ** 2)
    return normalized(np.outer(line, line))


def disk(radius: float) -> FloatArray:
    """An evenly filled disk: a lens out of focus.

    Parameters
    ----------
    radius : float
        In pixels; pixels on the rim count by the share of their area that lies inside.
    """
    check_positive("radius", radius)
    y, x = fine_grid(reach(float(radius) + 0.5))
    return normalized(binned((np.hypot(y, x) <= radius).astype(np.float64)))


def motion(length: float, angle: float = 0.0) -> FloatArray:
    """A straight line: uniform motion during the exposure.

    Parameters
    ----------
    length : float
        In pixels.
    angle : float
        In degrees, anticlockwise from the X axis.
    """
    check_positive("length", length)
    turn = math.radians(finite("angle", angle))
    radius = reach(float(length) / 2 + 1)
    y, x = fine_grid(radius)
    along = x * math.cos(turn) - y * math.sin(turn)
    across = x * math.sin(turn) + y * math.cos(turn)
    inside = (np.abs(along) <= length / 2) & (np.abs(across) <= 0.5)
    return normalized(binned(inside.astype(np.float64)))


def widefield(numerical_aperture: float, wavelength: float, pixel_size: float) -> FloatArray:
    """The Airy pattern of a widefield microscope in focus.

    Parameters
    ----------
    numerical_aperture : float
        Of the objective.
    wavelength, pixel_size : float
        Wavelength of the emitted light and side of a pixel in the sample, in the same unit.

    References
    ----------
    .. [1] M. Born, E. Wolf, "Principles of Optics", section 8.5.2.
    """
    for name, value in (
        ("numerical_aperture", numerical_aperture),
        ("wavelength", wavelength),
        ("pixel_size", pixel_size),
    ):
        check_positive(name, value)
    # Logarithms, since the product of absurd numbers overflows.
    aperture, pixel, wave = (
        math.log(float(part)) for part in (numerical_aperture, pixel_size, wavelength)
    )
    size = min(max(aperture + pixel - wave, -_LARGEST_LOG), _LARGEST_LOG)
    scale = 2 * math.pi * math.exp(size)
    # The n-th dark ring lies near a phase of (n + 1/4) pi.
    y, x = fine_grid(reach((_AIRY_RINGS + 0.25) * math.pi / scale))
    phase = np.maximum(scale * np.hypot(y, x), 1e-9)
    return normalized(binned((2 * scipy.special.j1(phase) / phase) ** 2))


def fine_grid(radius: int) -> tuple[FloatArray, FloatArray]:
    """Coordinates of the subpixels of the pixels from -radius to radius."""
    side = (2 * radius + 1) * SUPERSAMPLING
    line = (np.arange(side) + 0.5) / SUPERSAMPLING - radius - 0.5
    y, x = np.meshgrid(line, line, indexing="ij")
    return y, x


def binned(fine: FloatArray) -> FloatArray:
    """Sums over the subpixels of each pixel."""
    side = len(fine) // SUPERSAMPLING
    shape = (side, SUPERSAMPLING, side, SUPERSAMPLING)
    sums: FloatArray = fine.reshape(shape).sum((1, 3))
    return sums


def normalized(array: FloatArray) -> FloatArray:
    """The array with the sum 1; a blur that is too small to be seen is a point."""
    total = float(array.sum())
    if total == 0:
        array, total = np.zeros_like(array), 1.0
        array[tuple(side // 2 for side in array.shape)] = 1
    return array / total


def reach(radius: float) -> int:
    """Pixels to each side; raises `ValueError` for sizes that no image has."""
    if not radius <= _MOST_REACH:
        raise ValueError(
            f"a PSF may reach at most {_MOST_REACH} pixels to each side; this one reaches "
            f"{radius:.3g}"
        )
    return math.ceil(radius)


def check_positive(name: str, value: Any) -> float:
    """An argument as a float; raises if it is not a positive, finite number."""
    number = finite(name, value)
    if number <= 0:
        raise ValueError(f"{name} must be positive, got {value}")
    return number
