"""Checks of point spread functions that users hand over, and remarks on them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_rednet.engine.images import PointSpread

FloatArray = npt.NDArray[np.float64]

Center = Literal["array", "mass"]
"""What to take as the centre of a PSF: the centre of its array, or its centre of mass."""
CENTERS: tuple[Center, ...] = get_args(Center)
_ARGUMENTS = MappingProxyType({name: f"'{name}' as center" for name in CENTERS})

# Offsets below this are rounding errors and count as 0.
_LEAST_OFFSET = 1e-6
_WORTH_SAYING = 0.5  # pixels
# A pedestal of 1 % of the peak holds as much light as a bead, if its array is wide.
_MOST_PEDESTAL = 0.05
# Smaller arrays are synthetic kernels, not images of beads.
_SMALLEST_BEAD = 7


def as_psf(psf: Any, shape: tuple[int, ...], center: str = "array") -> PointSpread:
    """Check a PSF, normalise it, and find its centre.

    Parameters
    ----------
    psf : (H, W) or (D, H, W) array
        Non-negative, of any scale.
    shape : tuple of int
        Rows and columns of the blurred planes; before them, for a PSF of three axes, how many
        planes a volume has. Of a PSF of three axes, what reaches further than from one end of a
        volume to the other is left out.
    center : {'array', 'mass'}
        What to take as its centre: that of its array, which lies between pixels where a side is
        even, or its centre of mass.

    Raises
    ------
    TypeError, ValueError
        If it is not an array of two or three axes of finite, non-negative numbers with a positive
        sum; if one of two axes is larger than the planes, or nothing of one of three axes is within
        a volume; or if `center` is unknown.
    """
    check_center(center)
    array = _checked(psf)
    lit = tuple(int(np.ptp(places)) + 1 for places in array.nonzero())
    if array.ndim == 2 and any(p > n for p, n in zip(lit, shape, strict=True)):
        raise ValueError(f"psf must not be larger than the planes of {shape} pixels, got {lit}")
    scaled = array / array.max()  # sums of large values would overflow
    placed = _placed(scaled / scaled.sum(), _center_of(scaled, center))
    return placed if array.ndim == 2 else _within(placed, shape)


def check_center(center: Any) -> Center:
    """Return the kind of centre, or raise `ValueError` if it is unknown."""
    if center not in CENTERS:
        raise ValueError(f"center must be 'array' or 'mass', got {center!r}")
    return CENTERS[CENTERS.index(center)]


def center_remark(psf: Any, center: str = "array", names: Mapping[str, str] = _ARGUMENTS) -> str:
    """A remark for users if the two centres of a PSF differ; else an empty string.

    Parameters
    ----------
    psf, center :
        As for `as_psf`.
    names : mapping
        What users are told to choose for each of `CENTERS`.
    """
    array = _checked(psf)
    apart = np.subtract(_center_of(array, "mass"), _center_of(array, "array"))
    if np.linalg.norm(apart) <= _WORTH_SAYING:
        return ""
    *depth, y, x = apart
    in_z = "".join(f"{z:+.1f} planes in z, " for z in depth)
    places = f"{in_z}{y:+.1f} pixels in y and {x:+.1f} in x from the centre of its array"
    if center == "mass":
        return (
            f"the PSF is centred on its centre of mass, {places}; choose {names['array']} if "
            "its array was centred on purpose"
        )
    return (
        f"the centre of mass of the PSF lies {places}, which is taken as its centre; choose "
        f"{names['mass']} if it was measured off centre"
    )


def reach_remark(psf: Any, shape: tuple[int, ...]) -> str:
    """A remark if a PSF of three axes reaches further than an image; else an empty string.

    Parameters
    ----------
    psf, shape :
        As for `as_psf`.
    """
    array = _checked(psf)
    if array.ndim == 2:
        return ""
    lit = tuple(int(np.ptp(places)) + 1 for places in array.nonzero())
    told = [
        f"in {2 * n - 1} of its {side} {name} at most"
        for name, side, n in zip(("planes", "rows", "columns"), lit, shape, strict=True)
        if side > 2 * n - 1
    ]
    if not told:
        return ""
    image = " × ".join(map(str, shape))
    return (
        f"the light of the PSF is seen in an image of {image} {' and '.join(told)}; the others are "
        "left out"
    )


def rim_remark(psf: Any) -> str:
    """Advice for users if a PSF does not fall to 0 at its rim; else an empty string.

    Parameters
    ----------
    psf : (H, W) or (D, H, W) array
        As for `as_psf`. Of three axes, the brightest plane counts: out of focus, light may well
        reach the rim.
    """
    array = _checked(psf)
    if array.ndim == 3:
        array = array[int(np.argmax(array.max((1, 2))))]
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
    if array.ndim not in (2, 3):
        raise ValueError(
            f"psf must have the two axes Y and X, or Z, Y and X, got shape {array.shape}"
        )
    with np.errstate(over="ignore"):
        array = array.astype(np.float64)
    if not np.isfinite(array).all() or (array < 0).any():
        raise ValueError("psf must be finite and must not be negative")
    if not array.any():
        raise ValueError("psf must not be zero everywhere")
    return array


def _within(psf: PointSpread, shape: tuple[int, ...]) -> PointSpread:
    """The middle of a PSF, as far as light goes from one end of a volume to the other."""
    sides = zip(psf.values.shape, shape, strict=True)
    spare = [max(0, side - (2 * n - 1)) // 2 for side, n in sides]
    values = psf.values[
        tuple(slice(s, n - s) for s, n in zip(spare, psf.values.shape, strict=True))
    ]
    if not values.any():
        raise ValueError(
            f"all light of psf goes further than from one end to the other of {shape} pixels"
        )
    return replace(psf, values=values / values.sum())


def _center_of(array: FloatArray, center: str) -> tuple[float, ...]:
    array = array / array.max()  # sums of large values would overflow
    if center == "mass":
        return tuple(map(float, ndimage.center_of_mass(array)))
    return tuple((n - 1) / 2 for n in array.shape)


def _placed(array: FloatArray, center: tuple[float, ...]) -> PointSpread:
    """Pad with zeros so that the pixel nearest to the centre becomes the middle pixel."""
    nearest = [math.floor(c + 0.5) for c in center]
    reach = [max(c, n - 1 - c) for c, n in zip(nearest, array.shape, strict=True)]
    widths = [(r - c, r - (n - 1 - c)) for r, c, n in zip(reach, nearest, array.shape, strict=True)]
    offsets = (c - n for c, n in zip(center, nearest, strict=True))
    offset = tuple(0.0 if abs(o) < _LEAST_OFFSET else o for o in offsets)
    return PointSpread(_without_zero_borders(np.pad(array, widths)), offset)


def _without_zero_borders(array: FloatArray) -> FloatArray:
    """Crop zeros symmetrically, so that the middle pixel stays the middle."""
    cuts = []
    for places, length in zip(array.nonzero(), array.shape, strict=True):
        cut = int(min(places.min(), length - 1 - places.max()))
        cuts.append(slice(cut, length - cut))
    return array[tuple(cuts)]
