"""Outliers, which neither noise nor optics explain: hot and dead pixels, hits of cosmic rays.

Optics spread the light of a point over several pixels; defects and particles hit single ones.
Whether a pixel is an outlier depends on the 5 x 5 pixels around it and on limits for the whole
channel, measured in sample windows, so that it is the same in whatever window it is read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_rednet.engine.channel import IntensityRange, NoiseModel, measure_range, round_to

REACH = 2
"""Pixels around a pixel that decide whether it is an outlier."""
# In standard deviations of the noise: exceeded in fewer than one of a billion pixels. The second,
# in photons, is added for the longer tail of few photons.
_MOST_NOISE, _MOST_PHOTONS = 6.5, 15.0
# Largest signal beside an outlier, or beside two that touch, relative to its height. In the image
# of a point the neighbours have a third even if its standard deviation is half a pixel.
_MOST_BESIDE_ONE, _MOST_BESIDE_TWO = 0.2, 0.1
# Noise, in standard deviations, raises these limits up to the second and third number.
_NOISE_BESIDE, _MOST_NOISY_BESIDE_ONE, _MOST_NOISY_BESIDE_TWO = 3.5, 0.35, 0.25
# Least height relative to the level below: in a frame that is far brighter than the channel's
# range, the range says little about its contrasts.
_LEAST_CONTRAST = 0.25
# A pixel of a streak has neighbours as bright as itself; only dark pixels on both sides of the
# streak tell it from structure.
_STREAK_CONTRAST, _STREAK_PHOTONS = 1.0, 40.0
_MOST_BESIDE_STREAK = 0.2
_FEWEST_NEIGHBOURS = 4
_NOT_USUAL = 0.5
_OFFSETS = [
    (y, x) for y in range(-REACH, REACH + 1) for x in range(-REACH, REACH + 1) if (y, x) != (0, 0)
]
_TOUCHING = [i for i, offset in enumerate(_OFFSETS) if max(map(abs, offset)) == 1]
# Pairs of pixels on both sides of a streak, one or two pixels wide, for each direction across it.
_SIDES = [
    (_OFFSETS.index((-near * y, -near * x)), _OFFSETS.index((far * y, far * x)))
    for y, x in ((0, 1), (1, 0), (1, 1), (1, -1))
    for near, far in ((1, 1), (1, 2), (2, 1))
]
# Least height in integer images, which may be photon counts whatever noise was measured.
_MOST_COUNTS = 15.0
# Least height of a streak in ranges of the channel: cosmic rays are far brighter than lines in an
# image.
_STREAK = 2.0
# As shares of the pixels: few sensors have so many defects. More points than that (fewer in dark
# images) that are not much brighter than all else are signal: photons, grains, sparks.
_MANY, _MANY_IN_DARK, _MANY_IN_STREAKS, _FEWEST = 2.5e-3, 2e-4, 2e-4, 8
_ALL_ELSE, _TYPICAL = 4.0, 6.0
# In standard deviations of the noise: the range of a dark image, and that of its darker half.
_DARK, _DARKER_HALF = 16.0, 3.3


FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]
IndexArray = npt.NDArray[np.intp]


@dataclass(frozen=True)
class OutlierLimits:
    """Thresholds for the outliers of a channel, in image units.

    `low` is the level of the darkest places, `least` the least difference from the surroundings,
    and `streak` that of pixels of bright streaks.
    """

    noise: NoiseModel = field(default_factory=NoiseModel)
    low: float = 0.0
    least: float = 0.0
    streak: float = math.inf

    @property
    def floor(self) -> float:
        """Lower bound of the height of all outliers, whatever their surroundings."""
        return max(self.least, float(self.beyond_noise(np.array([-math.inf]))[0]))

    def beyond_noise(self, level: FloatArray, photons: float = _MOST_PHOTONS) -> FloatArray:
        """Largest deviation from a level that noise explains."""
        std = self.noise.std(level.astype(np.float64))
        return np.asarray(_MOST_NOISE * std + photons * self.noise.gain)


@dataclass(frozen=True)
class Outliers:
    """Outliers of a plane, and values to replace them with; all fields are (N,) arrays.

    `excess` is the height above the surroundings, negative below. `expected` is the mean of the
    neighbours that are not outliers, `level` the median of the surroundings, which is a value that
    pixels there have. `in_streak` is True for those found only as part of a streak.
    """

    rows: IndexArray
    columns: IndexArray
    excess: FloatArray
    expected: FloatArray
    level: FloatArray
    in_streak: BoolArray

    def __len__(self) -> int:
        return len(self.rows)

    def within(self, rows: slice, columns: slice) -> Outliers:
        """Those in a window of the plane, counted from its first pixel."""
        kept = (self.rows >= rows.start) & (self.rows < rows.stop)
        kept &= (self.columns >= columns.start) & (self.columns < columns.stop)
        return Outliers(
            self.rows[kept] - rows.start,
            self.columns[kept] - columns.start,
            self.excess[kept],
            self.expected[kept],
            self.level[kept],
            self.in_streak[kept],
        )

    def mask(self, shape: tuple[int, int]) -> BoolArray:
        """Mask that is True at the outliers."""
        found = np.zeros(shape, bool)
        found[self.rows, self.columns] = True
        return found

    def repaired(self, plane: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The plane with `expected` in place of the outliers; the same array if there are none."""
        return self._put(plane, self.expected)

    def levelled(self, plane: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The plane with `level` in place of the outliers, so that counts stay counts."""
        return self._put(plane, self.level)

    def _put(self, plane: npt.NDArray[Any], values: FloatArray) -> npt.NDArray[Any]:
        if not len(self):
            return plane
        result = plane.copy()
        result[self.rows, self.columns] = round_to(values, plane.dtype)
        return result


def find_outliers(plane: npt.NDArray[Any], limits: OutlierLimits) -> Outliers:
    """Outliers of a plane (Y, X), or of a window of one.

    These are single pixels, two that touch, and the pixels of bright streaks one or two pixels
    wide. Pixels beyond the border and non-finite ones are unknown.
    """
    with np.errstate(invalid="ignore"):  # unknown pixels are infinite: their differences may be NaN
        values = _as_float(plane)
        bright, dark = _Seen.of(values), _Seen.of(-values)
        found = [_found(bright, 1, limits), _found(dark, -1, limits)]
        if limits.streak < math.inf:
            found.append(_found(bright, 1, limits, streaks=True))
    index, excess, expected, level = (np.concatenate(parts) for parts in zip(*found, strict=True))
    index, first = np.unique(index, return_index=True)
    rows, columns = np.divmod(index, max(1, plane.shape[1]))
    in_streak = first >= len(found[0][0]) + len(found[1][0])
    return Outliers(rows, columns, excess[first], expected[first], level[first], in_streak)


def _as_float(plane: npt.NDArray[Any]) -> FloatArray:
    """Values in a float type that keeps their differences exact."""
    if plane.dtype.kind == "f" and plane.dtype.itemsize == 4:
        return np.asarray(plane, np.float32)
    return plane.astype(np.float32 if plane.dtype.itemsize <= 2 else np.float64)


@dataclass(frozen=True)
class _Seen:
    """A plane in which outliers are bright, padded by `REACH`; infinite where unknown."""

    padded: FloatArray

    @classmethod
    def of(cls, values: FloatArray) -> _Seen:
        padded = np.full([n + 2 * REACH for n in values.shape], np.inf, values.dtype)
        inner = padded[REACH:-REACH, REACH:-REACH]
        inner[:] = values
        known = np.isfinite(values)
        if not known.all():
            inner[~known] = np.inf
        return cls(padded)

    def shifted(self, y: int, x: int) -> FloatArray:
        height, width = (n - 2 * REACH for n in self.padded.shape)
        return self.padded[REACH + y : REACH + y + height, REACH + x : REACH + x + width]

    def neighbours(self, index: IndexArray) -> FloatArray:
        """The 24 pixels around each of some pixels; NaN where unknown."""
        width = self.padded.shape[1]
        rows, columns = np.divmod(index, width - 2 * REACH)
        centre = (rows + REACH) * width + columns + REACH
        places = centre[:, None] + np.array([y * width + x for y, x in _OFFSETS])
        found = self.padded.ravel()[places].astype(np.float64)
        return np.where(np.isfinite(found), found, np.nan)


_Found = tuple[IndexArray, FloatArray, FloatArray, FloatArray]


def _found(seen: _Seen, sign: int, limits: OutlierLimits, *, streaks: bool = False) -> _Found:
    """Bright outliers: a cheap choice of candidates, then the full test."""
    index = _streak_candidates(seen, limits) if streaks else _candidates(seen, sign, limits)
    around = seen.neighbours(index)
    ordered = np.sort(around, axis=1)  # NaN comes last
    known = np.isfinite(ordered).sum(axis=1)
    many = known >= _FEWEST_NEIGHBOURS
    index, around, ordered, known = index[many], around[many], ordered[many], known[many]
    median = _taken(ordered, (known - 1) // 2)
    excess = seen.shifted(0, 0)[np.divmod(index, seen.shifted(0, 0).shape[1])] - median
    if streaks:
        is_outlier = _is_streak(around, median, excess, limits)
    else:
        std = limits.noise.std(sign * median)
        is_outlier = _is_alone(ordered, known, median, excess, _NOISE_BESIDE * std)
        is_outlier &= _stands_out(sign * median, excess, limits)
    index, around = index[is_outlier], around[is_outlier]
    median, excess = median[is_outlier], excess[is_outlier]
    expected = _expected(around[:, _TOUCHING], median, excess)
    return index, sign * excess, sign * expected, sign * median


def _candidates(seen: _Seen, sign: int, limits: OutlierLimits) -> IndexArray:
    """Pixels brighter than a neighbour to the left or right, and one above or below."""
    centre = seen.shifted(0, 0)
    beside = np.minimum(seen.shifted(0, -1), seen.shifted(0, 1))
    level = np.minimum(seen.shifted(-1, 0), seen.shifted(1, 0))
    np.maximum(level, beside, out=level)
    height = np.subtract(centre, level, out=beside)
    index = _higher(height, limits.floor)
    enough = limits.beyond_noise(sign * level.ravel()[index])
    return index[height.ravel()[index] > enough]


def _streak_candidates(seen: _Seen, limits: OutlierLimits) -> IndexArray:
    """Pixels far brighter than one of their neighbours, and than the darkest places."""
    centre = seen.shifted(0, 0)
    level = np.minimum(seen.shifted(0, -1), seen.shifted(0, 1))
    np.minimum(level, seen.shifted(-1, 0), out=level)
    np.minimum(level, seen.shifted(1, 0), out=level)
    height = np.subtract(centre, level, out=level)
    index = _higher(height, limits.streak)
    above_dark = centre[np.divmod(index, centre.shape[1])] - limits.low
    # Below this, the contrast of a streak is out of reach.
    least = (1 - _MOST_BESIDE_STREAK) / (1 + 1 / _STREAK_CONTRAST)
    return index[height.ravel()[index] > least * above_dark]


def _higher(height: FloatArray, least: float) -> IndexArray:
    index = np.flatnonzero(height > least)
    return index[height.ravel()[index] < np.inf]


def _taken(ordered: FloatArray, place: IndexArray) -> FloatArray:
    return np.take_along_axis(ordered, place[:, None], 1)[:, 0]


def _is_alone(
    ordered: FloatArray,
    known: IndexArray,
    median: FloatArray,
    excess: FloatArray,
    noise: FloatArray,
) -> BoolArray:
    """True if the neighbours show no trace of a pixel, or none but the brightest of them."""
    below = median - ordered[:, 0]
    first, second = (_taken(ordered, known - i) - median for i in (1, 2))
    most_one = np.clip(noise, _MOST_BESIDE_ONE * excess, _MOST_NOISY_BESIDE_ONE * excess)
    most_two = np.clip(noise, _MOST_BESIDE_TWO * excess, _MOST_NOISY_BESIDE_TWO * excess)
    alone: BoolArray = np.maximum(first, below) < most_one
    return alone | (np.maximum(second, below) < most_two)


def _stands_out(level: FloatArray, excess: FloatArray, limits: OutlierLimits) -> BoolArray:
    """True if the excess is larger than that of noise and faint detail."""
    least = np.maximum(limits.least, _LEAST_CONTRAST * np.abs(level - limits.low))
    result: BoolArray = excess > np.maximum(least, limits.beyond_noise(level))
    return result


def _is_streak(
    around: FloatArray, level: FloatArray, excess: FloatArray, limits: OutlierLimits
) -> BoolArray:
    """True if pixels stand out from both sides of a streak through them."""
    beyond_noise = limits.beyond_noise(level, _STREAK_PHOTONS)
    least = np.maximum(limits.streak, _STREAK_CONTRAST * (level - limits.low))
    most = level + _MOST_BESIDE_STREAK * excess
    beside = np.stack([np.maximum(around[:, i], around[:, j]) for i, j in _SIDES])
    result: BoolArray = (excess > np.maximum(least, beyond_noise)) & (beside < most).any(axis=0)
    return result


def _expected(touching: FloatArray, median: FloatArray, excess: FloatArray) -> FloatArray:
    """Mean of the touching neighbours that do not stand out as well; else the median."""
    usual = np.abs(touching - median[:, None]) < _NOT_USUAL * excess[:, None]
    total = np.where(usual, touching, 0).sum(axis=1)
    count = usual.sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), median)


Windows = Sequence[npt.NDArray[Any]]


def without_outliers(
    windows: Windows, share: float, scale: IntensityRange | None = None
) -> tuple[Windows, OutlierLimits]:
    """Windows (Y, X) without their outliers, and the limits used, which do not know the noise yet.

    All windows share a range, measured if `scale` is None; outliers exceed `share` of it.
    """
    limits = _limits(windows, scale or measure_range(windows), share)
    found = [find_outliers(window, limits) for window in windows]
    if not any(map(len, found)):
        return windows, limits
    # The outliers may have widened the range.
    rest = [_without(*pair) for pair in zip(windows, found, strict=True)]
    scale = measure_range(rest)
    limits = _limits(windows, scale, share)
    found = [find_outliers(window, limits) for window in windows]
    sparing = _sparing(found, rest, limits, scale)
    if sparing != limits:
        found = [find_outliers(window, sparing) for window in windows]
    pairs = zip(windows, found, strict=True)
    return [outliers.levelled(window) for window, outliers in pairs], sparing


def _without(window: npt.NDArray[Any], outliers: Outliers) -> npt.NDArray[np.float64]:
    return np.where(outliers.mask(window.shape), np.nan, window)


def _limits(windows: Windows, scale: IntensityRange, share: float) -> OutlierLimits:
    counts = any(window.dtype.kind in "iu" for window in windows)
    least = max(share * scale.span, _MOST_COUNTS if counts else 0.0)
    return OutlierLimits(low=scale.low, least=least, streak=max(_STREAK * scale.span, least))


def _sparing(
    found: Sequence[Outliers], rest: Windows, limits: OutlierLimits, scale: IntensityRange
) -> OutlierLimits:
    """Limits that spare points and lines that are part of the image."""
    points = np.concatenate([np.abs(one.excess[~one.in_streak]) for one in found])
    pixels = sum(window.size for window in rest)
    alone = replace(limits, streak=np.inf)
    if _are_of_the_image(points, pixels, rest, scale):
        return replace(alone, least=max(limits.least, _TYPICAL * float(np.median(points))))
    in_streaks = sum(int(one.in_streak.sum()) for one in found)
    return alone if in_streaks > _MANY_IN_STREAKS * pixels else limits


def _are_of_the_image(
    points: npt.NDArray[np.floating], pixels: int, rest: Windows, scale: IntensityRange
) -> bool:
    """True if points of such heights are image content rather than defects."""
    if len(points) < _FEWEST:
        return False
    typical = float(np.median(points))
    brightest = float(np.nanmax(np.concatenate([w.ravel() for w in rest]))) - scale.low
    if 0 < brightest <= typical / _ALL_ELSE:
        return False
    noise = _noise(rest)
    if noise == 0:  # percentiles say nothing of a constant background
        return True
    most = _MANY_IN_DARK if _is_dark(rest, scale, noise) else _MANY
    return len(points) > most * pixels and typical < _ALL_ELSE * scale.span


def _is_dark(windows: Windows, scale: IntensityRange, noise: float) -> bool:
    half = float(np.nanmedian(np.concatenate([window.ravel() for window in windows])))
    return scale.span <= _DARK * noise and half - scale.low <= _DARKER_HALF * noise


def _noise(windows: Windows) -> float:
    """Standard deviation of white noise; more where there is structure everywhere."""
    steps = np.abs(np.concatenate([np.diff(window, axis=1).ravel() for window in windows]))
    steps = steps[np.isfinite(steps)]
    return float(np.median(steps)) / 0.6745 / 2**0.5 if len(steps) else 0.0
