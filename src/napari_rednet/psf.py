"""Point spread functions: generated ones, and the check of those that users bring.

All are (Y, X) float64 arrays of odd sides, non-negative, of sum 1, centred in the middle pixel.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage, special

FloatArray = npt.NDArray[np.float64]

_SUPERSAMPLING = 8
_AIRY_RINGS = 5.0


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
    _check_positive("sigma", sigma)
    radius = math.ceil(4 * sigma)
    x = np.arange(-radius, radius + 1)
    line = np.exp(-0.5 * (x / sigma) ** 2)
    return _normalized(np.outer(line, line))


def disk(radius: float) -> FloatArray:
    """An evenly filled disk: a lens out of focus.

    Parameters
    ----------
    radius : float
        In pixels; pixels on the rim count by the part of them that lies inside.
    """
    _check_positive("radius", radius)
    y, x = _fine_grid(math.ceil(radius + 0.5))
    return _normalized(_binned((np.hypot(y, x) <= radius).astype(np.float64)))


def motion(length: float, angle: float = 0.0) -> FloatArray:
    """A straight line: uniform motion during the exposure.

    Parameters
    ----------
    length : float
        In pixels.
    angle : float
        In degrees, anticlockwise from the X axis.
    """
    _check_positive("length", length)
    if not math.isfinite(angle):
        raise ValueError(f"angle must be finite, got {angle}")
    radius = math.ceil(length / 2 + 1)
    y, x = _fine_grid(radius)
    turn = math.radians(angle)
    along = x * math.cos(turn) - y * math.sin(turn)
    across = x * math.sin(turn) + y * math.cos(turn)
    inside = (np.abs(along) <= length / 2) & (np.abs(across) <= 0.5)
    return _normalized(_binned(inside.astype(np.float64)))


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
        _check_positive(name, value)
    scale = 2 * math.pi * numerical_aperture / wavelength * pixel_size
    # The n-th dark ring lies near a phase of (n + 1/4) pi.
    y, x = _fine_grid(math.ceil((_AIRY_RINGS + 0.25) * math.pi / scale))
    phase = np.maximum(scale * np.hypot(y, x), 1e-9)
    return _normalized(_binned((2 * special.j1(phase) / phase) ** 2))


def as_psf(psf: Any, plane_shape: tuple[int, int]) -> FloatArray:
    """Check a PSF and bring it into the form of this module.

    It is padded so that its centre of mass lies in the middle: a PSF measured off centre does
    not shift the image.

    Raises
    ------
    TypeError, ValueError
        If it is not a 2-D array of finite, non-negative numbers with a positive sum, or if it
        is larger than the planes.
    """
    array = np.asarray(psf)
    if array.dtype.kind not in "iufb":
        raise TypeError(f"psf must hold real numbers, got {array.dtype}")
    if array.ndim != 2:
        raise ValueError(f"psf must have the two axes Y and X, got shape {array.shape}")
    if not np.isfinite(array).all() or (array < 0).any():
        raise ValueError("psf must be finite and must not be negative")
    if not array.any():
        raise ValueError("psf must not be zero everywhere")
    used = _without_zero_borders(array.astype(np.float64))
    if any(p > n for p, n in zip(used.shape, plane_shape, strict=True)):
        raise ValueError(
            f"psf must not be larger than the planes of {plane_shape} pixels, got {used.shape}"
        )
    return _normalized(_centred(used))


def _without_zero_borders(array: FloatArray) -> FloatArray:
    rows, columns = (np.flatnonzero(array.any(axis)) for axis in (1, 0))
    return array[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _centred(array: FloatArray) -> FloatArray:
    """Pad with zeros until the middle pixel is the one nearest to the centre of mass."""
    centre = [round(float(c)) for c in ndimage.center_of_mass(array)]
    reach = [max(c, n - 1 - c) for c, n in zip(centre, array.shape, strict=True)]
    widths = [(r - c, r - (n - 1 - c)) for r, c, n in zip(reach, centre, array.shape, strict=True)]
    return np.pad(array, widths)


def _fine_grid(radius: int) -> tuple[FloatArray, FloatArray]:
    """Coordinates of the parts of the pixels from -radius to radius."""
    side = (2 * radius + 1) * _SUPERSAMPLING
    line = (np.arange(side) + 0.5) / _SUPERSAMPLING - radius - 0.5
    y, x = np.meshgrid(line, line, indexing="ij")
    return y, x


def _binned(fine: FloatArray) -> FloatArray:
    """Sums over the parts of each pixel."""
    side = len(fine) // _SUPERSAMPLING
    shape = (side, _SUPERSAMPLING, side, _SUPERSAMPLING)
    sums: FloatArray = fine.reshape(shape).sum((1, 3))
    return sums


def _normalized(array: FloatArray) -> FloatArray:
    normalized: FloatArray = array / array.sum()
    return normalized


def _check_positive(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}")
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be positive, got {value}")
