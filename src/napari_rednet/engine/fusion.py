"""Planes that show the same as a plane, averaged with it where they do.

The average has less noise, and a denoiser that is told how much less makes more of it. Each pixel
of each neighbour counts by the inverse of its expected squared error: its noise, what its details
differ by all over the plane, as a share of their power around the pixel, and what it differs from
the plane beyond this and the noise of both, in a small and in a large window. So what moves,
appears or vanishes is left out where it does, and what is out of focus counts little. Brightness
may differ slowly over the image, as by bleaching or by light from out of focus: of a neighbour only
the detail counts, and its low frequencies are those of the plane. Planes whose details have nothing
to do with each other are not averaged at all; drift is undone, to fractions of pixels.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_rednet.engine.channel import NoiseModel
from napari_rednet.engine.planes import ReadWindow

FloatArray = npt.NDArray[np.float32]

_BOX, _SMOOTH, _NEAR_SMOOTH, _TRUNCATE = 17, 2.0, 3.0, 3.0
# Pixels around a pixel that its average depends on: twice what the low frequencies depend on.
_REACH = 4 * (_BOX // 2)
# Differences fluctuate: below these excesses over the noise they say nothing, in the small and in
# the large window, and above they count several times: no denoiser removes what is systematic.
_NEAR, _NEAR_CAUTION = 0.2, 12.0
_FAR, _FAR_CAUTION = 0.1, 48.0
# What details differ by, over their power: so much by chance, and no more than the second.
_UNLIKE_BY_CHANCE, _MOST_UNLIKE, _UNLIKE_CAUTION = 0.1, 4.0, 100.0
# Ratios of local brightness, and correlations of details, at which a neighbour counts and does not.
_AS_BRIGHT, _TOO_UNEQUAL = 0.7, 0.4
_SAME, _DIFFERENT = 0.6, 0.3
_WINDOW, _MOST_DRIFT = 512, 16
_LEAST_SHOWN = 0.3
# Less drift than this is within the error of its measurement, and costs less than interpolation.
_LEAST_DRIFT = 0.15
# Of the interpolation, to each side of a pixel: noise stays nearly white.
_TAPS = 8


@dataclass
class FusedPlane:
    """A plane averaged with others; `noise` is in the units of what is read.

    `read` and `share` take windows of the plane, and give the average, and its noise as a share of
    that of the plane, whatever windows they are asked for.
    """

    plane: ReadWindow
    others: Sequence[ReadWindow]
    shape: tuple[int, int]
    noise: NoiseModel
    _last: tuple[Any, FloatArray, FloatArray] | None = field(default=None, init=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False)

    def read(self, rows: slice, columns: slice) -> FloatArray:
        """The average."""
        return self._fused(rows, columns)[0]

    def share(self, rows: slice, columns: slice) -> FloatArray:
        """The standard deviation of its noise over that of the plane."""
        return self._fused(rows, columns)[1]

    def _fused(self, rows: slice, columns: slice) -> tuple[FloatArray, FloatArray]:
        with self._lock:
            key = rows.start, rows.stop, columns.start, columns.stop
            if self._last is None or self._last[0] != key:
                self._last = key, *self._fuse(rows, columns)
            return self._last[1:]

    def _fuse(self, rows: slice, columns: slice) -> tuple[FloatArray, FloatArray]:
        wide = [
            slice(max(0, part.start - _REACH), min(side, part.stop + _REACH))
            for part, side in zip((rows, columns), self.shape, strict=True)
        ]
        inner = tuple(
            slice(part.start - w.start, part.stop - w.start)
            for part, w in zip((rows, columns), wide, strict=True)
        )
        middle = np.asarray(self.plane(wide[0], wide[1]), np.float32)
        others = [
            self._moved(read, wide, match)
            for read, match in zip(self.others, self._matches, strict=True)
            if match.trust > 0
        ]
        average, share = fuse(middle, others, self.noise)
        return average[inner], share[inner]

    @cached_property
    def _matches(self) -> list[Match]:
        """How each of the others goes with the plane, judged by the middle of the image."""
        middle = [slice(max(0, n - _WINDOW) // 2, (n + min(n, _WINDOW)) // 2) for n in self.shape]
        window = np.asarray(self.plane(middle[0], middle[1]), np.float32)
        plane = _Plane(window, self.noise)
        found = []
        for read in self.others:
            other = np.asarray(read(middle[0], middle[1]), np.float32)
            one = match(window, other, self.noise)
            if one.trust > 0 and plane.is_noisy:
                moved = self._moved(read, middle, one)
                one = replace(one, unlike=unlikeness(plane, moved, self.noise))
            found.append(one)
        return found

    def _moved(self, read: ReadWindow, window: Sequence[slice], match: Match) -> Neighbour:
        """A window of another plane, drift undone; NaN beyond its borders."""
        whole = [round(by) for by in match.drift]
        kernels = [_kernel(by - n) for by, n in zip(match.drift, whole, strict=True)]
        wanted = [
            slice(part.start + by - len(kernel) // 2, part.stop + by + len(kernel) // 2)
            for part, by, kernel in zip(window, whole, kernels, strict=True)
        ]
        there = [
            slice(min(max(part.start, 0), side), max(min(part.stop, side), 0))
            for part, side in zip(wanted, self.shape, strict=True)
        ]
        values = np.asarray(read(there[0], there[1]), np.float32)
        around = [(t.start - w.start, w.stop - t.stop) for t, w in zip(there, wanted, strict=True)]
        if any(map(any, around)):
            values = np.pad(values, around, constant_values=np.nan)
        for axis, kernel in enumerate(kernels):
            if len(kernel) > 1:
                inner = (slice(None),) * axis + (slice(_TAPS, -_TAPS),)
                values = ndimage.correlate1d(values, kernel, axis)[inner]
        return Neighbour(values, match.trust, match.unlike)


def _kernel(by: float) -> npt.NDArray[np.float64]:
    """Lanczos' kernel, which reads a line so many pixels further; a 1 if none.

    Not a spline of SciPy's, which depends on all of a line, so that windows would differ.
    """
    if by == 0:
        return np.ones(1)
    x = np.arange(-_TAPS, _TAPS + 1) - by
    taps = np.sinc(x) * np.sinc(x / _TAPS) * (np.abs(x) < _TAPS)
    found: npt.NDArray[np.float64] = taps / taps.sum()
    return found


class Neighbour(NamedTuple):
    """Values (Y, X) of another plane, and their worth, 0 to 1.

    `unlike` is the mean square that its details differ by, over that of the details. Interpolation
    takes the highest frequencies from noise, to half a pixel a twelfth of its variance along each
    axis. This is not told: what is left is as strong as before where structure has its frequencies.
    """

    values: FloatArray
    worth: float = 1.0
    unlike: float = 0.0


@dataclass(frozen=True)
class Match:
    """How another plane goes with a plane.

    What is at a pixel of the plane is `drift` pixels further along y and x in the other one.
    `trust`, 0 to 1, is what details of the other one are worth; `unlike` as in `Neighbour`.
    """

    drift: tuple[float, float] = (0, 0)
    trust: float = 1.0
    unlike: float = 0.0


def match(middle: FloatArray, other: FloatArray, noise: NoiseModel) -> Match:
    """Compare two windows (Y, X) of planes; those without visible details match as they are."""
    one, two = (np.where(np.isfinite(x), x, np.float32(noise.offset)) for x in (middle, other))
    if min(middle.shape) < 2 * _BOX:
        return Match()
    details = _blurred(one) - _low(one), _blurred(two) - _low(two)
    left = [
        float(np.mean(_variance(_low(x), noise))) / (4 * np.pi * _SMOOTH**2) for x in (one, two)
    ]
    if any(x.var() < (1 + _LEAST_SHOWN) * rest for x, rest in zip(details, left, strict=True)):
        return Match()
    drift = _drift(*details)
    whole = round(drift[0]), round(drift[1])
    likeness = _correlation(*details, (0, 0), left)
    if whole != (0, 0):
        moved = _correlation(*details, whole, left)
        drift, likeness = (drift, moved) if moved > likeness else ((0, 0), likeness)
    return Match(drift, float(np.clip((likeness - _DIFFERENT) / (_SAME - _DIFFERENT), 0, 1)))


def _drift(one: FloatArray, other: FloatArray) -> tuple[float, float]:
    """The shift at which two images are most alike."""
    product = np.fft.rfft2(one).conj() * np.fft.rfft2(other)
    surface = np.fft.irfft2(product, s=one.shape)
    reach = min(_MOST_DRIFT, min(one.shape) // 4)
    near = np.roll(surface, (reach, reach), (0, 1))[: 2 * reach + 1, : 2 * reach + 1]
    y, x = np.unravel_index(int(near.argmax()), near.shape)
    whole = int(y) - reach, int(x) - reach
    beyond = _summit(np.roll(surface, (1 - whole[0], 1 - whole[1]), (0, 1))[:3, :3])
    drift = [w + b if abs(b) >= _LEAST_DRIFT else w for w, b in zip(whole, beyond, strict=True)]
    return drift[0], drift[1]


def _summit(values: npt.NDArray[np.floating]) -> tuple[float, float]:
    """Where a paraboloid through 3 x 3 values has its maximum, from their middle; 0 if nowhere."""
    dy, dx = (values[2, 1] - values[0, 1]) / 2, (values[1, 2] - values[1, 0]) / 2
    yy, xx = (values[0, 1] + values[2, 1], values[1, 0] + values[1, 2]) - 2 * values[1, 1]
    yx = (values[0, 0] + values[2, 2] - values[0, 2] - values[2, 0]) / 4
    if yy >= 0 or yy * xx <= yx**2:
        return 0.0, 0.0
    y, x = np.linalg.solve([[yy, yx], [yx, xx]], [-dy, -dx]).clip(-0.5, 0.5)
    return float(y), float(x)


def _correlation(
    one: FloatArray, other: FloatArray, drift: tuple[int, int], noise: Sequence[float]
) -> float:
    """Correlation of what two images show, without what noise adds to their variances."""
    parts = []
    for image, sign in ((one, -1), (other, 1)):
        index = tuple(
            slice(max(0, sign * by), image.shape[axis] + min(0, sign * by))
            for axis, by in enumerate(drift)
        )
        parts.append(image[index] - image[index].mean())
    shown = [float(p.var()) - rest for p, rest in zip(parts, noise, strict=True)]
    if min(shown) <= 0:
        return 0.0
    return float(np.mean(parts[0] * parts[1])) / math.sqrt(shown[0] * shown[1])


def fuse(
    middle: FloatArray, others: Sequence[Neighbour], noise: NoiseModel
) -> tuple[FloatArray, FloatArray]:
    """Average a plane with its neighbours, all (Y, X); `noise` is in their units.

    Returns the average, and its noise as a share of that of the plane, at every pixel. Pixels of
    neighbours that are not finite do not count; those of the plane stay.
    """
    plane = _Plane(middle, noise)
    if not plane.is_noisy:
        return middle, np.ones_like(middle)
    variance, dark = plane.variance, np.float32(noise.offset)
    deviation = np.sqrt(variance)
    total, weights, squares = plane.base / variance, 1 / variance, 1 / variance
    for other in others:
        pair = _Pair(plane, other, noise)
        unlike = np.float32(other.unlike) * np.maximum(_low(pair.products), 0)
        excess = pair.excess - unlike
        near = _blurred(excess, _NEAR_SMOOTH) - _NEAR * pair.expected
        far = _low(excess) - _FAR * pair.expected
        error = pair.own + _UNLIKE_CAUTION * unlike
        error += _NEAR_CAUTION * np.maximum(near, 0) + _FAR_CAUTION * np.maximum(far, 0)
        lights = [np.maximum(x - dark, 0) + deviation for x in (plane.broad, pair.broad)]
        likeness = np.minimum(lights[0] / lights[1], lights[1] / lights[0])
        trust = np.clip((likeness - _TOO_UNEQUAL) / (_AS_BRIGHT - _TOO_UNEQUAL), 0, 1) * pair.known
        weight = np.float32(other.worth) * trust / error
        total, weights = total + weight * pair.detail, weights + weight
        squares = squares + weight**2 * pair.own
    share = np.sqrt(squares / variance) / weights
    return (
        np.asarray(np.where(plane.known, total / weights, middle), np.float32),
        np.asarray(np.where(plane.known, share, 1), np.float32),
    )


def unlikeness(plane: _Plane, other: Neighbour, noise: NoiseModel) -> float:
    """What the details of another plane differ by, squared, over their power; 0 if by chance.

    What squares of differences exceed the told noise by is explained by a share of it, which it is
    wrong by, and by a share of the power of what both show, fitted to all pixels. No window around
    a pixel could tell a tenth of the noise from nothing, which costs much once noise is removed.
    """
    pair = _Pair(plane, other, noise)
    parts = (pair.excess, pair.expected, pair.products)
    excess, told, power = (_blocks(np.where(pair.known, part, 0)) for part in parts)
    is_there = told > 0
    excess, power = (part[is_there] / told[is_there] for part in (excess, power))
    both, count = power.sum(), len(power)
    matrix, sums = [[count, both], [both, (power**2).sum()]], [excess.sum(), (power * excess).sum()]
    share = np.linalg.lstsq(matrix, sums)[0][1]
    return float(np.clip(share - _UNLIKE_BY_CHANCE, 0, _MOST_UNLIKE))


def _blocks(image: FloatArray) -> npt.NDArray[np.float64]:
    """Means of blocks of about `_BOX` pixels squared."""
    counts = [max(side // _BOX, 1) for side in image.shape]
    sides = [side // count for side, count in zip(image.shape, counts, strict=True)]
    image = image[: counts[0] * sides[0], : counts[1] * sides[1]]
    blocks = image.reshape(counts[0], sides[0], counts[1], sides[1])
    return np.asarray(blocks.mean((1, 3)), np.float64)


class _Plane:
    """What the neighbours of a plane (Y, X) are compared with."""

    def __init__(self, middle: FloatArray, noise: NoiseModel) -> None:
        self.known = np.isfinite(middle)
        self.base = np.where(self.known, middle, np.float32(noise.offset))
        blurred = _blurred(self.base)
        variance = _variance(blurred, noise)
        self.is_noisy = bool(variance.max() > 0)
        self.variance = np.maximum(variance, variance.max() * np.float32(1e-6))
        self.broad = _low(self.base)
        self.shown = blurred - self.broad


class _Pair:
    """A neighbour beside a plane: `excess` is what squares of differences exceed the noise by."""

    def __init__(self, plane: _Plane, other: Neighbour, noise: NoiseModel) -> None:
        self.known = np.isfinite(other.values)
        there = np.where(self.known, other.values, plane.base)
        blurred = _blurred(there)
        # A neighbour that is darker is not believed to be better.
        self.own = np.maximum(_variance(blurred, noise), plane.variance)
        self.broad = _low(there)
        self.detail = there + (plane.broad - self.broad)
        self.expected = plane.variance + self.own
        self.excess = (self.detail - plane.base) ** 2 - self.expected
        # Their means are the power of what both show: noise of the two is independent.
        self.products = plane.shown * (blurred - self.broad)


def _variance(level: FloatArray, noise: NoiseModel) -> FloatArray:
    return np.asarray(noise.variance(level), np.float32)


def _blurred(image: FloatArray, by: float = _SMOOTH) -> FloatArray:
    found: FloatArray = ndimage.gaussian_filter(image, by, mode="nearest", truncate=_TRUNCATE)
    return found


def _low(image: FloatArray) -> FloatArray:
    once = ndimage.uniform_filter(image, _BOX, mode="nearest")
    found: FloatArray = ndimage.uniform_filter(once, _BOX, mode="nearest")
    return found
