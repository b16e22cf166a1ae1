"""Measured point spread functions: checks of those that users hand over, and those of beads."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import scipy

from napari_rednet.engine.planes import PointSpread

FloatArray = npt.NDArray[np.float64]

Center = Literal["array", "mass"]
"""Choices for the centre of a PSF: the centre of its array, or its centre of mass."""
CENTERS: tuple[Center, ...] = get_args(Center)
_ARGUMENTS: Mapping[str, str] = MappingProxyType(
    {str(name): f"'{name}' as center" for name in CENTERS}
)

# Offsets below this are rounding errors and count as 0.
_LEAST_OFFSET = 1e-6
_WORTH_SAYING = 0.5  # pixels
# A pedestal of 1 % of the peak holds as much light as a bead, if its array is wide.
_MOST_PEDESTAL = 0.05
# Smaller arrays are synthetic kernels, not images of beads.
_SMALLEST_BEAD = 7
# Of the brightest bead, above the background; dimmer ones are dirt or noise.
_LEAST_PEAK = 0.3
# Beads that are brighter than most by this factor are two or more that touch.
_MOST_PEAK = 2.0
_SMOOTHING = 1.0
# A default size in standard deviations of the brightest bead to each side.
_REACH = 6.0
_ROUNDS = 10
_CENTRED = 0.01  # pixels
# Of the peak: what is dimmer does not count for the centre.
_CORE = 0.2
_SMALLEST = 3
# What is fainter than this many standard deviations of the noise may be noise.
_FAINT = 2.0


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
        return tuple(map(float, scipy.ndimage.center_of_mass(array)))
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


def from_beads(stack: Any, size: Sequence[int] | None = None) -> FloatArray:
    """The mean image of several beads, for `deblur`.

    Beads are found by their brightness, shifted to a common centre by parts of a pixel, averaged,
    and freed of the background. Those at a border, with a neighbour, or much brighter than most are
    left out.

    Parameters
    ----------
    stack : (Z, Y, X) or (Y, X) array
        An image of beads that are smaller than what the microscope resolves.
    size : sequence of int, optional
        Planes, rows and columns of the result, odd numbers; by default, six standard deviations of
        the brightest bead to each side, as far as the stack goes.

    Returns
    -------
    psf : array
        As many axes as `stack`, odd sides, not negative, of sum 1, the point in the middle pixel.

    Raises
    ------
    TypeError, ValueError
        If `stack` does not hold real, finite numbers along two or three axes; if `size` does not
        fit; or if there is no bead that stands alone.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import ndimage
    >>> stack = np.zeros((15, 40, 60))
    >>> stack[7, 20, [15, 45]] = 1000
    >>> from_beads(5 + ndimage.gaussian_filter(stack, 1.5), (9, 9, 9)).shape
    (9, 9, 9)
    """
    image = _checked_stack(stack)
    light = image - np.median(image)
    smooth = scipy.ndimage.gaussian_filter(light, _SMOOTHING)
    brightest = np.unravel_index(int(smooth.argmax()), smooth.shape)
    sides = _sides(size, light, brightest)
    cut = [_centred(light, place, sides) for place in _lone_beads(smooth, sides)]
    beads = [bead / bead.sum() for bead in cut if bead.sum() > 0]
    found = _mean(beads) if beads else np.zeros(sides)
    if not found.any():
        raise ValueError(
            f"stack of shape {image.shape} has no bead that stands alone with "
            f"{' × '.join(map(str, sides))} pixels around it; give a smaller size, or an image of "
            "fewer beads"
        )
    return np.asarray(found / found.sum())


def _mean(beads: Sequence[FloatArray]) -> FloatArray:
    """Of beads, without background; nothing if no light is left in the middle."""
    mean = np.mean(beads, axis=0)
    return _without_noise(mean - _rim(mean))


def _checked_stack(stack: Any) -> FloatArray:
    array = np.asarray(stack)
    if array.dtype.kind not in "iufb":
        raise TypeError(f"stack must hold real numbers, got {array.dtype}")
    if array.ndim not in (2, 3):
        raise ValueError(f"stack must have the axes Y and X, or Z, Y and X, got {array.shape}")
    if not np.isfinite(array).all() or not array.size or array.min() == array.max():
        raise ValueError("stack must be finite, and must not be the same everywhere")
    return array.astype(np.float64)


def _sides(
    size: Sequence[int] | None, light: FloatArray, brightest: Sequence[Any]
) -> tuple[int, ...]:
    """Odd sides of the result."""
    if size is not None:
        sides = tuple(size)
        fits = len(sides) == light.ndim and all(
            n >= s >= 1 and s % 2 for s, n in zip(sides, light.shape, strict=True)
        )
        if not fits:
            raise ValueError(
                f"size must be {light.ndim} odd numbers, none larger than the stack of shape "
                f"{light.shape}, got {sides}"
            )
        return sides
    found = []
    for axis, place in enumerate(brightest):
        index = tuple(slice(None) if a == axis else i for a, i in enumerate(brightest))
        reach = max(_SMALLEST, int(np.ceil(_REACH * _width(light[index], int(place)))))
        length = light.shape[axis]
        # Room for the beads to lie apart from the middle.
        reach = min(reach, int(place), length - 1 - int(place), (length - 1) // 2)
        found.append(2 * max(reach, 0) + 1)
    return tuple(found)


def _width(line: npt.NDArray[np.float64], peak: int) -> float:
    """Standard deviation of a line through a bead, from its full width at half maximum."""
    above = line > line[peak] / 2
    left = peak - int(np.argmin(above[peak::-1])) if not above[: peak + 1].all() else 0
    right = peak + int(np.argmin(above[peak:])) if not above[peak:].all() else len(line) - 1
    return max(right - left - 1, 1) / 2.355


def _lone_beads(smooth: FloatArray, sides: Sequence[int]) -> list[tuple[int, ...]]:
    """Places of beads that are far enough from borders and from each other."""
    peaks = smooth == scipy.ndimage.maximum_filter(smooth, 3)
    bright = np.argwhere(peaks & (smooth > _LEAST_PEAK * smooth.max()))
    half = np.asarray(sides) // 2
    alone = [
        place
        for place in bright
        if sum((np.abs(bright - place) <= half).all(1)) == 1
        and (place >= half).all()
        and (place + half < smooth.shape).all()
    ]
    heights = [smooth[tuple(place)] for place in alone]
    return [
        tuple(int(i) for i in place)
        for place, height in zip(alone, heights, strict=True)
        if height <= _MOST_PEAK * float(np.median(heights))
    ]


def _centred(light: FloatArray, place: tuple[int, ...], sides: Sequence[int]) -> FloatArray:
    """A bead with its centre of mass in the middle pixel."""
    around = _around(place, [side + 2 for side in sides])
    part = light[around]
    part = part - _rim(part)
    middle = [p - a.start for p, a in zip(place, around, strict=True)]
    shift = np.zeros(len(sides))
    for _ in range(_ROUNDS):
        moved = scipy.ndimage.shift(part, shift, order=3, mode="nearest")
        core = _core(moved, middle, sides)
        if not core.any():  # darker than its surroundings
            break
        apart = np.subtract(middle, scipy.ndimage.center_of_mass(core))
        shift += apart
        if np.abs(apart).max() < _CENTRED:
            break
    moved = scipy.ndimage.shift(part, shift, order=3, mode="nearest")
    return np.asarray(moved[_around(middle, sides)])


def _without_noise(mean: FloatArray) -> FloatArray:
    """A mean bead without the noise around it, whose positive half would add up to much light."""
    smooth = scipy.ndimage.gaussian_filter(mean, _SMOOTHING)
    rim = _rim_values(smooth)
    noise = float(np.median(np.abs(rim - np.median(rim)))) / 0.6745
    regions, _ = scipy.ndimage.label(smooth > _FAINT * noise)
    middle = tuple(side // 2 for side in mean.shape)
    of_bead = regions == (regions[middle] or -1)
    return np.asarray(np.where(of_bead, mean, 0).clip(0))


def _core(part: FloatArray, middle: Sequence[int], sides: Sequence[int]) -> FloatArray:
    """The bright middle of a bead, of which noise does not move the centre."""
    core = np.zeros(part.shape)
    near = _around(middle, sides)
    core[near] = (part[near] - _CORE * part.max()).clip(0)
    return core


def _rim(part: FloatArray) -> float:
    """The background of a bead."""
    return float(np.median(_rim_values(part)))


def _rim_values(part: FloatArray) -> FloatArray:
    """The rows and columns around, of all planes."""
    rim = [part[..., 0, :], part[..., -1, :], part[..., 0], part[..., -1]]
    return np.concatenate([one.ravel() for one in rim])


def _around(middle: Sequence[int], sides: Sequence[int]) -> tuple[slice, ...]:
    pairs = zip(middle, sides, strict=True)
    return tuple(slice(max(0, m - s // 2), m + s // 2 + 1) for m, s in pairs)
