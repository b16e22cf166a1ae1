"""Generated point spread functions of a stack, for microscopes that see light of other planes.

They are (Z, Y, X) float64 arrays of odd sides, non-negative, of sum 1, centred in the middle pixel.
Light is scalar, the aperture evenly lit, and the sample has the refractive index of the immersion
medium, so that there is no spherical aberration.

References
----------
.. [1] M. Born, E. Wolf, "Principles of Optics", section 8.8, there for small apertures.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from napari_rednet.psf.generated import (
    SUPERSAMPLING,
    FloatArray,
    binned,
    check_positive,
    fine_grid,
    normalized,
    reach,
    widefield,
)

# Dark points on the optical axis to each side of the focus, in the planes of a default depth.
_AXIAL_RINGS = 3.0
_CONFOCAL_RINGS = 1.5
# Airy rings around the cone of light.
_RINGS_BESIDE = 3.0
# Radius of the first dark ring, in wavelengths over the aperture.
_AIRY = 0.61
# Of immersion oil.
_OIL = 1.515
_MOST_PLANES = 999
# No medium has as much.
_MOST_INDEX = 10.0
# Radians across the widest PSF are fewer if a pixel is not longer than a wavelength.
_MOST_TURNS = 5000.0


@np.errstate(all="ignore")  # what overflows reaches further than a PSF may
def widefield3d(
    numerical_aperture: float,
    wavelength: float,
    pixel_size: float,
    z_step: float,
    refractive_index: float = _OIL,
    planes: int | None = None,
) -> FloatArray:
    """The PSF of a widefield microscope, in focus and out of it.

    Parameters
    ----------
    numerical_aperture : float
        Of the objective.
    wavelength, pixel_size, z_step : float
        Wavelength of the emitted light, side of a pixel in the sample and distance of the planes,
        in the same unit.
    refractive_index : float
        Of the immersion medium.
    planes : int, optional
        How many planes it has, an odd number. Light is spread over all of them alike, so that any
        number is an approximation; by default, the third dark point on the axis is in the last.

    Examples
    --------
    >>> widefield3d(0.8, 0.52, 0.2, 1.0, refractive_index=1.0, planes=7).shape[0]
    7
    """
    aperture, wave, pixel, step, index = _checked(
        numerical_aperture, wavelength, pixel_size, z_step, refractive_index
    )
    z = _depths(planes, _AXIAL_RINGS, aperture, wave, step, index)
    radius = _radius(aperture, wave, pixel, index, z[-1])
    distance = pixel * np.hypot(*fine_grid(radius))[_corner(radius)]
    light = _Light(aperture, wave, index, float(distance.max()))
    return _mirrored([binned(light.at(distance, depth)) for depth in z[len(z) // 2 :]])


@np.errstate(all="ignore")  # what overflows reaches further than a PSF may
def confocal3d(
    numerical_aperture: float,
    wavelength: float,
    excitation: float,
    pixel_size: float,
    z_step: float,
    refractive_index: float = _OIL,
    pinhole: float = 1.0,
    planes: int | None = None,
) -> FloatArray:
    """The PSF of a confocal microscope: what is lit, times what is seen through the pinhole.

    Parameters
    ----------
    numerical_aperture : float
        Of the objective.
    wavelength, excitation, pixel_size, z_step : float
        Wavelengths of the emitted and of the exciting light, side of a pixel in the sample and
        distance of the planes, in the same unit.
    refractive_index : float
        Of the immersion medium.
    pinhole : float
        Diameter in Airy units: 1 ends at the first dark ring.
    planes : int, optional
        How many planes it has, an odd number; by default, all that are not almost dark.
    """
    aperture, wave, pixel, step, index = _checked(
        numerical_aperture, wavelength, pixel_size, z_step, refractive_index
    )
    exciting = check_positive("excitation", excitation)
    z = _depths(planes, _CONFOCAL_RINGS, aperture, wave, step, index)
    ring = _AIRY * wave / aperture
    hole = check_positive("pinhole", pinhole) * ring
    radius = reach(2 * _RINGS_BESIDE * ring / pixel)
    distance, corner = pixel * np.hypot(*fine_grid(radius)), _corner(radius)
    farthest = float(distance.max())
    lit = _Light(aperture, exciting, index, farthest)
    seen = _Light(aperture, wave, index, farthest)
    fine = pixel / SUPERSAMPLING
    edge = min(math.ceil(min(hole, farthest) / fine), len(distance) // 2 - 1)
    line = fine * np.arange(-edge, edge + 1)
    disk = (np.hypot(line[:, None], line) <= hole).astype(np.float64)
    from scipy.signal import fftconvolve  # which takes as long as all else that opens a window

    found = []
    for depth in z[len(z) // 2 :]:
        through = fftconvolve(seen.at(distance, depth), disk, "same").clip(0)
        found.append(binned(lit.at(distance[corner], depth) * through[corner]))
    return _mirrored(found)


@dataclass(frozen=True)
class Microscope:
    """Settings of a microscope, for its PSF; None is taken from the image, or by default.

    A refractive index or a distance of planes asks for a PSF of three axes, and a wavelength of the
    exciting light for that of a confocal microscope. If it `prefers_image`, sizes of pixels that an
    image tells count, and those given here where it tells none.
    """

    numerical_aperture: float
    wavelength: float
    pixel_size: float | None = None
    z_step: float | None = None
    refractive_index: float | None = None
    excitation: float | None = None
    pinhole: float | None = None
    prefers_image: bool = False

    def psf(self, sizes: Mapping[str, float]) -> FloatArray:
        """The PSF for an image with these sizes of its pixels along Z and X, in micrometres.

        Raises `ValueError` if a size is neither told nor known.
        """
        pixel_size = self._size(self.pixel_size, sizes.get("X"))
        z_step = self._size(self.z_step, sizes.get("Z"))
        if pixel_size is None:
            raise ValueError("the image does not tell the size of its pixels; give --pixel-size")
        optics, index = (self.numerical_aperture, self.wavelength), self.refractive_index
        if (self.z_step, index, self.excitation) == (None, None, None):
            return widefield(*optics, pixel_size)
        if z_step is None:
            raise ValueError("the image does not tell the distance of its planes; give --z-step")
        lengths = (pixel_size, z_step, _OIL if index is None else index)
        if self.excitation is None:
            return widefield3d(*optics, *lengths)
        pinhole = 1.0 if self.pinhole is None else self.pinhole
        return confocal3d(*optics, self.excitation, *lengths, pinhole)

    def _size(self, own: float | None, of_image: float | None) -> float | None:
        return of_image or own if self.prefers_image else own or of_image


class _Light:
    """Intensity at a distance from the optical axis and from the focus."""

    def __init__(
        self, aperture: float, wavelength: float, refractive_index: float, farthest: float
    ) -> None:
        self._wave = 2 * math.pi / wavelength
        self._index, self._farthest = refractive_index, farthest
        turns = self._wave * aperture * farthest
        if not turns <= _MOST_TURNS:
            raise ValueError(
                f"a wavelength of {wavelength:g} is too short for pixels of such a size; are all "
                "lengths in the same unit?"
            )
        count = 64 + math.ceil(turns)
        nodes, weights = np.polynomial.legendre.leggauss(count)
        rho = (nodes + 1) / 2
        self._slope = np.sqrt(refractive_index**2 - (aperture * rho) ** 2) - refractive_index
        self._radii = np.linspace(0, farthest, 16 + math.ceil(8 * turns))
        rings = scipy.special.j0(self._wave * aperture * np.outer(self._radii, rho))
        self._rings = rings * (weights * rho)

    def at(self, distance: FloatArray, depth: float) -> FloatArray:
        """Intensity at distances from the axis, `depth` away from the focus."""
        field = self._rings @ np.exp(1j * self._wave * depth * self._slope)
        return np.asarray(np.interp(distance, self._radii, np.abs(field) ** 2))


def _checked(
    numerical_aperture: Any,
    wavelength: Any,
    pixel_size: Any,
    z_step: Any,
    refractive_index: Any,
) -> list[np.float64]:
    """The arguments as numbers that overflow in silence; raises if they are no microscope's."""
    given = {
        "numerical_aperture": numerical_aperture,
        "wavelength": wavelength,
        "pixel_size": pixel_size,
        "z_step": z_step,
        "refractive_index": refractive_index,
    }
    found = [np.float64(check_positive(name, value)) for name, value in given.items()]
    if found[-1] > _MOST_INDEX:
        raise ValueError(f"refractive_index must be at most {_MOST_INDEX:g}, got {found[-1]:g}")
    if found[0] >= found[-1]:
        raise ValueError(
            f"numerical_aperture must be below the refractive index of the immersion medium, got "
            f"{numerical_aperture} in {refractive_index}"
        )
    return found


def _depths(
    planes: Any, rings: float, aperture: float, wavelength: float, z_step: float, index: float
) -> FloatArray:
    """Distances of the planes from the focus."""
    if planes is None:
        # Dark points on the axis, where light of rim and centre differs by whole waves.
        longer = 2 * index * np.sin(np.arcsin(aperture / index) / 2) ** 2
        half = reach(rings * wavelength / longer / z_step)
    else:
        half = _half(planes)
    return z_step * np.arange(-half, half + 1, dtype=np.float64)


def _half(planes: Any) -> int:
    """Planes to each side of the focus."""
    try:
        count = operator.index(planes)
    except TypeError:
        raise TypeError(f"planes must be an integer, got {type(planes).__name__}") from None
    if count % 2 != 1 or not 1 <= count <= _MOST_PLANES:
        raise ValueError(f"planes must be an odd number from 1 to {_MOST_PLANES}, got {planes}")
    return count // 2


def _radius(
    aperture: float, wavelength: float, pixel_size: float, index: float, depth: float
) -> int:
    """Pixels to each side that hold the cone of light, and rings around it."""
    cone = depth * np.tan(np.arcsin(aperture / index))
    return reach((cone + _RINGS_BESIDE * _AIRY * wavelength / aperture) / pixel_size)


def _corner(radius: int) -> tuple[slice, slice]:
    """The subpixels of the pixels that lie neither left of the middle nor above it."""
    own = slice(radius * SUPERSAMPLING, None)
    return own, own


def _mirrored(planes: list[FloatArray]) -> FloatArray:
    """All of a PSF, from what is not left of the middle, nor above, nor before the focus."""
    found = np.stack(planes)
    for axis in range(3):
        other = np.flip(np.delete(found, 0, axis), axis)
        found = np.concatenate([other, found], axis)
    return normalized(found)
