"""What outliers of a channel exceed: measured in windows that represent it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_rednet.engine.intensity import IntensityRange, measure_range
from napari_rednet.engine.outliers import OutlierLimits, Outliers, find_outliers

Windows = Sequence[npt.NDArray[Any]]

# Integers may be counted photons, whatever noise was measured.
_MOST_COUNTS = 15.0
# In ranges of the channel: cosmic rays are far brighter than what is bright in an image of lines.
_STREAK = 2.0
# Few sensors have so many defects. Where there are more points than that, or any in the dark, and
# they are not much brighter than all else, they are photons, grains, sparks.
_MANY, _MANY_IN_STREAKS, _FEWEST = 2.5e-3, 2e-4, 8
_ALL_ELSE, _TYPICAL = 4.0, 6.0
# In standard deviations of the noise: the range of an image of few photons, and of its darker half.
_DARK, _DARKER_HALF = 16.0, 3.3


def without_outliers(
    windows: Windows, share: float, scale: IntensityRange | None = None
) -> tuple[Windows, OutlierLimits]:
    """Windows without their outliers, and the limits of these before noise is known.

    Parameters
    ----------
    windows : sequence of (Y, X) ndarray
        Windows of a channel, or of several of the same range.
    share : float
        Outliers exceed so much of the range.
    scale : IntensityRange, optional
        The range of the windows, if it is known.
    """
    limits = _limits(windows, scale or measure_range(windows), share)
    found = [find_outliers(window, limits) for window in windows]
    if not any(map(len, found)):
        return windows, limits
    # They may have widened the range.
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
    """The other pixels, and NaN."""
    return np.where(outliers.mask(window.shape), np.nan, window)


def _limits(windows: Windows, scale: IntensityRange, share: float) -> OutlierLimits:
    counts = any(window.dtype.kind in "iu" for window in windows)
    least = max(share * scale.span, _MOST_COUNTS if counts else 0.0)
    return OutlierLimits(low=scale.low, least=least, streak=max(_STREAK * scale.span, least))


def _sparing(
    found: Sequence[Outliers], rest: Windows, limits: OutlierLimits, scale: IntensityRange
) -> OutlierLimits:
    """Limits that spare points and lines of which an image is made."""
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
    """Whether points of such heights are what the image shows."""
    if len(points) < _FEWEST:
        return False
    typical = float(np.median(points))
    brightest = float(np.nanmax(np.concatenate([w.ravel() for w in rest]))) - scale.low
    if 0 < brightest <= typical / _ALL_ELSE:
        return False
    noise = _noise(rest)
    if noise == 0:  # where all is equal but for points, percentiles say nothing
        return True
    are_many = len(points) > _MANY * pixels or _is_dark(rest, scale, noise)
    return are_many and typical < _ALL_ELSE * scale.span


def _is_dark(windows: Windows, scale: IntensityRange, noise: float) -> bool:
    """Whether there is little but noise in at least half of the pixels."""
    half = float(np.nanmedian(np.concatenate([window.ravel() for window in windows])))
    return scale.span <= _DARK * noise and half - scale.low <= _DARKER_HALF * noise


def _noise(windows: Windows) -> float:
    """Standard deviation of white noise; more where there is structure everywhere."""
    steps = np.abs(np.concatenate([np.diff(window, axis=1).ravel() for window in windows]))
    steps = steps[np.isfinite(steps)]
    return float(np.median(steps)) / 0.6745 / 2**0.5 if len(steps) else 0.0
