"""Point spread functions: generated ones, and checks of user-supplied ones.

Generated ones are (Y, X) float64 arrays of odd sides, non-negative, of sum 1, centred in the middle
pixel.
"""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy import ndimage, special

from napari_rednet.engine.channel import finite
from napari_rednet.engine.images import PointSpread

FloatArray = npt.NDArray[np.float64]

Center = Literal["array", "mass"]
"""What to take as the centre of a PSF: the centre of its array, or its centre of mass."""
CENTERS: tuple[Center, ...] = get_args(Center)

_SUPERSAMPLING = 8
_AIRY_RINGS = 5.0
# Offsets below this are rounding errors and count as 0.
_LEAST_OFFSET = 1e-6
_WORTH_SAYING = 0.5  # pixels
# A pedestal of 1 % of the peak holds as much light as a bead, if its array is wide.
_MOST_PEDESTAL = 0.05
# Smaller arrays are synthetic kernels, not images of beads.
_SMALLEST_BEAD = 7
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
    _check_positive("sigma", sigma)
    radius = _reach(4 * float(sigma))
    x = np.arange(-radius, radius + 1)
    line = np.exp(-0.5 * (x / max(float(sigma), _SMALLEST)) ** 2)
    return _normalized(np.outer(line, line))


def disk(radius: float) -> FloatArray:
    """An evenly filled disk: a lens out of focus.

    Parameters
    ----------
    radius : float
        In pixels; pixels on the rim count by the share of their area that lies inside.
    """
    _check_positive("radius", radius)
    y, x = _fine_grid(_reach(float(radius) + 0.5))
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
    turn = math.radians(finite("angle", angle))
    radius = _reach(float(length) / 2 + 1)
    y, x = _fine_grid(radius)
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
    # Logarithms, since the product of absurd numbers overflows.
    aperture, pixel, wave = (
        math.log(float(part)) for part in (numerical_aperture, pixel_size, wavelength)
    )
    size = min(max(aperture + pixel - wave, -_LARGEST_LOG), _LARGEST_LOG)
    scale = 2 * math.pi * math.exp(size)
    # The n-th dark ring lies near a phase of (n + 1/4) pi.
    y, x = _fine_grid(_reach((_AIRY_RINGS + 0.25) * math.pi / scale))
    phase = np.maximum(scale * np.hypot(y, x), 1e-9)
    return _normalized(_binned((2 * special.j1(phase) / phase) ** 2))


def as_psf(psf: Any, plane_shape: tuple[int, int], center: str = "array") -> PointSpread:
    """Check a PSF, normalise it, and find its centre.

    Parameters
    ----------
    psf : (H, W) array
        Non-negative, of any scale.
    plane_shape : tuple of int
        Rows and columns of the blurred planes.
    center : {'array', 'mass'}
        What to take as its centre: that of its array, which lies between pixels where a side is
        even, or its centre of mass.

    Raises
    ------
    TypeError, ValueError
        If it is not a 2-D array of finite, non-negative numbers with a positive sum, or if it
        is larger than the planes; or if `center` is unknown.
    """
    check_center(center)
    array = _checked(psf)
    lit = tuple(int(np.ptp(places)) + 1 for places in array.nonzero())
    if any(p > n for p, n in zip(lit, plane_shape, strict=True)):
        raise ValueError(
            f"psf must not be larger than the planes of {plane_shape} pixels, got {lit}"
        )
    scaled = array / array.max()  # sums of large values would overflow
    return _placed(scaled / scaled.sum(), _center_of(scaled, center))


def check_center(center: Any) -> Center:
    """Return the kind of centre, or raise `ValueError` if it is unknown."""
    if center not in CENTERS:
        raise ValueError(f"center must be 'array' or 'mass', got {center!r}")
    return CENTERS[CENTERS.index(center)]


def center_remark(psf: Any, center: str = "array") -> str:
    """A remark for users if the two centres of a PSF differ; else an empty string.

    Parameters
    ----------
    psf, center :
        As for `as_psf`.
    """
    array = _checked(psf)
    apart = np.subtract(_center_of(array, "mass"), _center_of(array, "array"))
    if np.hypot(*apart) <= _WORTH_SAYING:
        return ""
    y, x = apart
    places = f"{y:+.1f} pixels in y and {x:+.1f} in x from the centre of its array"
    if center == "mass":
        return (
            f"the PSF is centred on its centre of mass, {places}; choose 'array' as center if its "
            "array was centred on purpose"
        )
    return (
        f"the centre of mass of the PSF lies {places}, which is taken as its centre; choose 'mass' "
        "as center if it was measured off centre"
    )


def rim_remark(psf: Any) -> str:
    """Advice for users if a PSF does not fall to 0 at its rim; else an empty string.

    Parameters
    ----------
    psf : (H, W) array
        As for `as_psf`.
    """
    array = _checked(psf)
    largest = array.max()
    array = array / largest  # sums of large values would overflow
    rim = np.concatenate([array[0], array[-1], array[1:-1, 0], array[1:-1, -1]])
    level = float(np.median(rim))
    is_box = level >= array[array > 0].mean()  # a blur of its own
    is_dark = level * array.size <= _MOST_PEDESTAL * array.sum()
    if min(array.shape) < _SMALLEST_BEAD or is_box or is_dark:
        return ""
    return (
        f"the PSF does not fall to 0: the median of its rim is {level:.1%} of its peak, and "
        "light that no bead sends so far is undone as if it were blur. Subtract its background, "
        f"(psf - {level * largest:.4g}).clip(0), or cut out a larger part"
    )


def _checked(psf: Any) -> FloatArray:
    array = np.asarray(psf)
    if array.dtype.kind not in "iufb":
        raise TypeError(f"psf must hold real numbers, got {array.dtype}")
    if array.ndim != 2:
        raise ValueError(f"psf must have the two axes Y and X, got shape {array.shape}")
    with np.errstate(over="ignore"):
        array = array.astype(np.float64)
    if not np.isfinite(array).all() or (array < 0).any():
        raise ValueError("psf must be finite and must not be negative")
    if not array.any():
        raise ValueError("psf must not be zero everywhere")
    return array


def _center_of(array: FloatArray, center: str) -> tuple[float, float]:
    array = array / array.max()  # sums of large values would overflow
    y, x = ndimage.center_of_mass(array) if center == "mass" else ((n - 1) / 2 for n in array.shape)
    return float(y), float(x)


def _placed(array: FloatArray, center: tuple[float, float]) -> PointSpread:
    """Pad with zeros so that the pixel nearest to the centre becomes the middle pixel."""
    nearest = [math.floor(c + 0.5) for c in center]
    reach = [max(c, n - 1 - c) for c, n in zip(nearest, array.shape, strict=True)]
    widths = [(r - c, r - (n - 1 - c)) for r, c, n in zip(reach, nearest, array.shape, strict=True)]
    y, x = (c - n for c, n in zip(center, nearest, strict=True))
    offset = tuple(0.0 if abs(o) < _LEAST_OFFSET else o for o in (y, x))
    return PointSpread(_without_zero_borders(np.pad(array, widths)), (offset[0], offset[1]))


def _without_zero_borders(array: FloatArray) -> FloatArray:
    """Crop zeros symmetrically, so that the middle pixel stays the middle."""
    cuts = []
    for places, length in zip(array.nonzero(), array.shape, strict=True):
        cut = int(min(places.min(), length - 1 - places.max()))
        cuts.append(slice(cut, length - cut))
    return array[tuple(cuts)]


def _fine_grid(radius: int) -> tuple[FloatArray, FloatArray]:
    """Coordinates of the subpixels of the pixels from -radius to radius."""
    side = (2 * radius + 1) * _SUPERSAMPLING
    line = (np.arange(side) + 0.5) / _SUPERSAMPLING - radius - 0.5
    y, x = np.meshgrid(line, line, indexing="ij")
    return y, x


def _binned(fine: FloatArray) -> FloatArray:
    """Sums over the subpixels of each pixel."""
    side = len(fine) // _SUPERSAMPLING
    shape = (side, _SUPERSAMPLING, side, _SUPERSAMPLING)
    sums: FloatArray = fine.reshape(shape).sum((1, 3))
    return sums


def _normalized(array: FloatArray) -> FloatArray:
    """The array with the sum 1; a blur that is too small to be seen is a point."""
    total = float(array.sum())
    if total == 0:
        array, total = np.zeros_like(array), 1.0
        array[len(array) // 2, len(array) // 2] = 1
    return array / total


def _reach(radius: float) -> int:
    """Pixels to each side; raises `ValueError` for sizes that no image has."""
    if radius > _MOST_REACH:
        raise ValueError(
            f"a PSF may reach at most {_MOST_REACH} pixels to each side; this one reaches "
            f"{radius:.3g}"
        )
    return math.ceil(radius)


def _check_positive(name: str, value: Any) -> None:
    if finite(name, value) <= 0:
        raise ValueError(f"{name} must be positive, got {value}")
