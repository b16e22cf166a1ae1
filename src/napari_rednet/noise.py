"""Estimate the noise model of an image from the image alone.

Where most pixels hold no photon, the spread of the others says little. But the step that one photon
makes is visible, and photon counts have Poisson statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import scipy

from napari_rednet.engine.channel import Basis, NoiseModel, grain_of
from napari_rednet.grain import WHITE, Grain, high_pass, measure_grain

__all__ = ["NoiseLevels", "NoiseModel", "fit_noise", "measure_noise"]
Done = TypeVar("Done")
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
_SMOOTHING = 2.0
_CLIP = 4.0
_LONELY = 10.0
_CLIPPED_SHARE = 0.15
_BLOCK = 16
_FEWEST_BLOCKS = 8
_FLAT = 0.1
_LEAST_CUT, _MOST_CUT = 0.1, 0.95
_LEAST_CLIPPED = 0.05
_LEVELS = 24
_FEWEST_PIXELS = 60
_MOST_STEPS = 256
_ENOUGH_PIXELS = 500
_SAMPLE = 50_000
_LINE_STEPS, _SYMMETRIC_STEPS = 12, 3
_STRUCTURED, _NOISELESS = 1.6, 0.1
_TINY = np.finfo(np.float64).tiny
# More threads would need memory for more windows, but save little time.
_THREADS = 4
_LEAST_SHARE_WITHOUT = 0.02
_MOST_LEVELS = 4096
_WHOLE = 0.995
_FEWEST_SINGLE = 20
_NEIGHBOURHOOD = 5
_DARK = 1.8
# Limits for pixels of several photons relative to the Poisson expectation. There are fewer around
# small bright spots (in masks none) and more around bright objects with edges. Coarse steps allow
# more, since other noise hardly has them.
_LEAST, _MOST, _MOST_IF_COARSE = 0.05, 1.6, 15.0
_USUAL, _MOST_EXCESS = 1.5, 2.0
_LIT, _LOW = 0.3, 0.1
# Least variance relative to that of photons; steps with less are something else.
_LEAST_EXCESS = 0.3
# Those with several times more are other noise, over a background of a few whole numbers.
_IMPOSSIBLE_EXCESS = 5.0
_ROUNDING = 0.01


@dataclass(frozen=True)
class NoiseLevels:
    """Measured noise: its variance at several signal levels.

    Over the signal, the variance of a camera is a line, its photon transfer curve.

    Parameters
    ----------
    signal, variance, count : (L,) ndarray
        Of each level: mean signal in image units, noise variance in their square, and number of
        pixels measured. Empty if there were too few pixels.
    floor : float
        Signal of the darkest regions.
    clipped : float
        Share of the pixels, from 0 to 1, that were left out because too many around them are
        saturated, or clipped at black.
    grain : Grain
        Correlation of the noise of neighbours, and noise of whole rows and columns.
    counts : Counts, optional
        Values of zero and of one photon, if the image holds few photons.
    at_black : float
        Standard deviation of noise whose darker half is clipped at black; 0 if none is.
    rounding : float
        Variance of the rounding error, if the image has few distinct values.
    model : NoiseModel, optional
        What `fit` returns, if the levels are too large or too small for it as they are.
    """

    signal: FloatArray
    variance: FloatArray
    count: FloatArray
    floor: float
    clipped: float = 0.0
    grain: Grain = WHITE
    counts: Counts | None = None
    at_black: float = 0.0
    rounding: float = 0.0
    model: NoiseModel | None = None

    def fit(self) -> NoiseModel:
        """Fit the Poisson-Gaussian line to the levels."""
        if self.model is not None:
            return self.model
        if not len(self.signal):
            return NoiseModel()
        if self.counts is not None:
            return self.counts.model(self.signal, self.variance)
        # Noise below a rounding step does not show at some levels.
        variance = (
            np.maximum(self.variance, self.rounding) if self.variance.any() else self.variance
        )
        slope, at_floor = _fit_line(self.signal - self.floor, variance, self.count)
        typical = float(np.average(self.variance, weights=np.minimum(self.count, 2000.0)))
        along_y, along_x = self.grain.correlations(typical)
        return NoiseModel(
            slope,
            self.floor,
            float(np.sqrt(at_floor)) or self.at_black,
            grain_of(along_y),
            grain_of(along_x),
        )

    def outside(self, basis: Basis) -> NoiseLevels:
        """Levels measured in units of a basis in those of the image; the fit keeps its digits."""
        unit, counts, grain = basis.unit, self.counts, self.grain
        with np.errstate(over="ignore"):
            square = float(np.square(unit))
        if counts is not None:
            counts = Counts(counts.none * unit + basis.origin, counts.one * unit)
        return replace(
            self,
            signal=self.signal * unit + float(basis.origin),
            variance=self.variance * square,
            floor=self.floor * unit + basis.origin,
            grain=replace(grain, rows=grain.rows * unit, columns=grain.columns * unit),
            counts=counts,
            at_black=self.at_black * unit,
            rounding=self.rounding * square,
            model=basis.told_outside(self.fit()),
        )

    def deviation(self, model: NoiseModel) -> FloatArray:
        """Relative deviation of the measured noise from a model at each level; negative if below.

        Parameters
        ----------
        model : NoiseModel
            Fitted to these levels, or any other.

        Returns
        -------
        deviation : (L,) ndarray
            Measured standard deviation over that of the model, minus 1.
        """
        measured, expected = np.sqrt(self.variance), model.std(self.signal)
        otherwise = np.where(measured > 0, np.inf, 1.0)
        ratio = np.divide(measured, expected, out=otherwise, where=expected > 0)
        return np.asarray(ratio - 1)


@dataclass(frozen=True)
class _Pixels:
    signal: FloatArray
    noise: FloatArray
    structure: FloatArray
    clipped: int

    @classmethod
    def joined(cls, parts: Sequence[_Pixels]) -> _Pixels:
        columns = [(part.signal, part.noise, part.structure) for part in parts]
        signal, noise, structure = (np.concatenate(column) for column in zip(*columns, strict=True))
        return cls(signal, noise, structure, sum(part.clipped for part in parts))

    @property
    def clipped_share(self) -> float:
        """Share of clipped pixels among clipped and usable ones."""
        return self.clipped / max(1, self.clipped + len(self.signal))


def fit_noise(images: Sequence[npt.NDArray[np.generic]]) -> NoiseModel:
    """Estimate one noise model from several (Y, X) images of the same detector."""
    return measure_noise(images).fit()


def measure_noise(
    images: Sequence[npt.NDArray[np.generic]], regions: Sequence[BoolArray] | None = None
) -> NoiseLevels:
    """Measure the noise variance over the signal in (Y, X) images, or in regions of them.

    A blurred image is the local signal, a high-passed one the noise. Pixels are grouped by signal,
    without those on structures, at non-finite values and at clipped ones. In each group, outliers
    beyond four standard deviations, which are edges rather than noise, are removed before the
    variance is taken. `regions` are masks of where to measure; None for everywhere.
    """
    chosen = [None] * len(images) if regions is None else regions
    counted = count_photons(images)
    levels = _measure(images, chosen, counted)
    if counted is not None and not counted.are_possible(levels.signal, levels.variance):
        return _measure(images, chosen, None)
    return levels


def _measure(
    images: Sequence[npt.NDArray[np.generic]],
    chosen: Sequence[BoolArray | None],
    counted: Counts | None,
) -> NoiseLevels:
    limits = _clipping_limits(images)
    if counted is not None:
        limits = (-np.inf, limits[1])  # pixels without a photon are valid counts
    prepared = _prepared_images(images, chosen, limits)
    pixels = _usable_pixels(prepared)
    cut_share = pixels.clipped_share
    if len(pixels.signal) < (_ENOUGH_PIXELS if cut_share > 0.5 else _FEWEST_PIXELS):
        # In images of few photons, most pixels share the lowest value without being clipped.
        prepared = _prepared_images(images, chosen, (-np.inf, np.inf))
        pixels = _usable_pixels(prepared)
    signal = pixels.signal
    if len(signal) < _FEWEST_PIXELS:
        nothing = np.zeros(0)
        return NoiseLevels(nothing, nothing, nothing, signal.mean() if len(signal) else 0.0)
    rounding = _step([one.values[one.usable] for one in prepared]) ** 2 / 12
    usable = [one.usable for one in prepared]
    grain = measure_grain([one.values for one in prepared], usable, rounding)
    if grain.step > 1:
        pixels = _usable_pixels(prepared, grain.step)
        signal = pixels.signal
    rows = [
        (signal[group].mean(), _clipped_variance(pixels.noise[group]), len(group))
        for group in _flat_groups(signal, pixels.structure)
    ]
    level, variance, count = np.array(rows).T
    levels = NoiseLevels(level, variance, count, 0.0, pixels.clipped_share, grain, counted)
    if counted is not None:
        return replace(levels, floor=counted.none)
    floor, black = float(np.quantile(signal, 0.005)), limits[0]
    measured = grain.factor * variance + grain.of_lines
    levels = replace(levels, variance=measured, floor=floor, rounding=rounding)
    if not np.isfinite(black):
        return levels
    # Clipping at black makes the darkest signal that is left too bright.
    levels = replace(levels, floor=float(min(floor, black)))
    if cut_share < _LEAST_CLIPPED:
        return levels
    return replace(levels, at_black=black_noise([one.values for one in prepared], black))


def _clipping_limits(images: Sequence[npt.NDArray[np.generic]]) -> tuple[float, float]:
    """Values at and beyond which the detector clipped: extremes that many pixels share."""
    finite = [image[np.isfinite(image)] for image in images]
    values = np.concatenate([v.astype(np.float64) for v in finite])
    if not len(values):
        return -np.inf, np.inf
    low, high = values.min(), values.max()
    often = max(3.0, 2e-4 * len(values))
    return (
        low if (values == low).sum() > often else -np.inf,
        high if (values == high).sum() > often else np.inf,
    )


@dataclass(frozen=True)
class _Prepared:
    """An image without outliers; `region` is where to measure, None for everywhere."""

    values: FloatArray
    usable: BoolArray
    clipped: BoolArray
    region: BoolArray | None

    def pixels(self, step: int) -> _Pixels:
        """The usable pixels of the region; filters also see the pixels around it."""
        signal = scipy.ndimage.gaussian_filter(self.values, _SMOOTHING)
        noise = high_pass(self.values, step)
        structure = np.hypot(scipy.ndimage.sobel(signal, 0), scipy.ndimage.sobel(signal, 1))
        side = 2 * step + 1
        kept = scipy.ndimage.binary_erosion(self.usable, np.ones((side, side)), border_value=1)
        kept[:step] = kept[-step:] = kept[:, :step] = kept[:, -step:] = False
        clipped = self.clipped
        if self.region is not None:
            kept, clipped = kept & self.region, clipped & self.region
        return _Pixels(signal[kept], noise[kept], structure[kept], int(clipped.sum()))


def _prepared_images(
    images: Sequence[npt.NDArray[np.generic]],
    regions: Sequence[BoolArray | None],
    limits: tuple[float, float],
) -> list[_Prepared]:
    return _side_by_side(partial(_prepared, limits=limits), images, regions)


def _side_by_side(work: Callable[..., Done], *arguments: Sequence[Any]) -> list[Done]:
    """`map` in threads: the filters release Python's lock; a single image needs none."""
    if len(arguments[0]) == 1:
        return [work(*one) for one in zip(*arguments, strict=True)]
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(work, *arguments))


def black_noise(images: Sequence[FloatArray], black: float) -> float:
    """Standard deviation of noise that is partly clipped at black.

    For Gaussian noise, the share of clipped pixels gives the distance of the signal from black in
    standard deviations, and the mean of the others then gives the standard deviation. Structure
    increases the result, so the blocks with the lowest results count.
    """
    found = []
    # With rounding, signals up to half a step brighter become black as well.
    half = _step(images) / 2
    for image in images:
        rows, columns = (n // _BLOCK for n in image.shape)
        whole = image[: rows * _BLOCK, : columns * _BLOCK] - black
        parts = whole.reshape(rows, _BLOCK, columns, _BLOCK).swapaxes(1, 2)
        blocks = parts.reshape(-1, _BLOCK**2)
        cut = (blocks <= 0).mean(1)
        partly = (cut > _LEAST_CUT) & (cut < _MOST_CUT)
        distance = scipy.special.ndtri(1 - cut[partly])
        shown = np.exp(-0.5 * distance**2) / np.sqrt(2 * np.pi) + distance * (1 - cut[partly])
        seen = blocks[partly].mean(1) - half * (1 - cut[partly])
        found.append(seen.clip(min=0) / shown)
    widths = np.concatenate([*found, np.zeros(0)])
    return float(np.quantile(widths, _FLAT)) if len(widths) >= _FEWEST_BLOCKS else 0.0


def _step(values: Sequence[FloatArray]) -> float:
    """Least difference of two values of images with few distinct values; else 0."""
    some = [one.ravel()[:: 1 + one.size // _SAMPLE] for one in values]
    levels = np.unique(np.concatenate(some))
    is_coarse = 1 < len(levels) < _MOST_STEPS
    return float(np.diff(levels).min()) if is_coarse else 0.0


def _usable_pixels(prepared: Sequence[_Prepared], step: int = 1) -> _Pixels:
    return _Pixels.joined(_side_by_side(lambda one: one.pixels(step), prepared))


def _prepared(
    image: npt.NDArray[np.generic], region: BoolArray | None, limits: tuple[float, float]
) -> _Prepared:
    finite = np.isfinite(image)
    values = _filled(image, finite)
    is_clipped = finite & ((values <= limits[0]) | (values >= limits[1]))
    # Only where many pixels are clipped. Leaving out each clipped pixel would cut the tails of the
    # noise everywhere, most of all for few, coarse values.
    crowded = scipy.ndimage.uniform_filter(is_clipped.astype(np.float64), 5) >= _CLIPPED_SHARE
    typical = _median(values)
    is_lonely = _lonely(values - typical)
    values = np.where(is_lonely, typical, values)
    return _Prepared(values, finite & ~crowded & ~is_lonely, finite & crowded, region)


def _filled(image: npt.NDArray[np.generic], finite: BoolArray) -> FloatArray:
    """The image with the local mean at non-finite pixels, so that these make no edges."""
    values = np.where(finite, image, 0).astype(np.float64)
    if finite.all():
        return values
    share = scipy.ndimage.gaussian_filter(finite.astype(np.float64), _SMOOTHING)
    mean = scipy.ndimage.gaussian_filter(values, _SMOOTHING) / np.maximum(share, _TINY)
    return np.where(finite, values, mean)


def _median(values: FloatArray) -> FloatArray:
    """`scipy.ndimage.median_filter` of 3 x 3 pixels, seven times as fast: by sorting in threes."""
    if not values.size:
        return values
    padded = np.pad(values, 1, mode="symmetric")
    rows, columns = values.shape
    lowest, middle, highest = _sorted(*(padded[i : i + rows] for i in range(3)))
    of_columns = [slice(i, i + columns) for i in range(3)]
    # The median of nine, in columns sorted by themselves: that of the largest of the lowest, the
    # median of the middle ones, and the least of the highest.
    low = np.maximum.reduce([lowest[:, part] for part in of_columns])
    mean = _sorted(*(middle[:, part] for part in of_columns))[1]
    high = np.minimum.reduce([highest[:, part] for part in of_columns])
    return _sorted(low, mean, high)[1]


def _sorted(
    a: FloatArray, b: FloatArray, c: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    less, more = np.minimum(a, b), np.maximum(a, b)
    rest = np.minimum(more, c)
    return np.minimum(less, rest), np.maximum(less, rest), np.maximum(more, c)


def _lonely(deviation: FloatArray) -> BoolArray:
    """Mask of hot and dead pixels: deviations far beyond all others in their neighbourhood.

    A single outlier exceeds the root mean square of its neighbourhood, itself included, by 21
    times; noise, and even single photons in one of a hundred pixels, by less than 10 times.
    """
    # Two moving averages are nearly a Gaussian filter of 8 pixels, at less than half of its time.
    once = scipy.ndimage.uniform_filter(deviation**2, 19)
    power = scipy.ndimage.uniform_filter(once, 21)
    around = np.sqrt(power.clip(min=0))
    lonely: BoolArray = np.abs(deviation) > _LONELY * around
    return lonely


def _flat_groups(signal: FloatArray, structure: FloatArray) -> list[npt.NDArray[np.intp]]:
    """Indices of pixels of similar signal, without the more structured half of each group."""
    steps = np.linspace(0, 1, _LEVELS + 1)
    some = signal[:: 1 + len(signal) // _SAMPLE]
    low, high = np.quantile(some, (0.0005, 0.9995))
    edges = np.unique(np.concatenate([np.quantile(some, steps), low + (high - low) * steps]))
    which = np.searchsorted(edges[1:-1], signal, side="right").astype(np.uint8)
    order = np.argsort(which, kind="stable")  # a radix sort for bytes
    groups = np.split(order, np.cumsum(np.bincount(which))[:-1])
    flat = [_flatter_half(group, structure) for group in groups if len(group) >= _FEWEST_PIXELS]
    return flat or [order]


def _flatter_half(group: npt.NDArray[np.intp], structure: FloatArray) -> npt.NDArray[np.intp]:
    found = structure[group]
    half: npt.NDArray[np.intp] = group[found <= np.median(found)]
    return half


def _clipped_variance(noise: FloatArray) -> float:
    size = np.abs(noise)
    # With few photons the median is 0: use the root mean square instead.
    limit = _CLIP * (1.4826 * np.median(size) or np.sqrt(np.mean(noise**2)))
    for _ in range(3):
        kept = noise[size <= limit]
        limit = _CLIP * np.sqrt(np.mean(kept**2)) if len(kept) else 0.0
    return float(np.mean(kept**2)) if len(kept) else 0.0


def _fit_line(light: FloatArray, variance: FloatArray, count: FloatArray) -> tuple[float, float]:
    """Nonnegative slope and intercept of a line through the levels.

    The error of a measured variance is proportional to it, so weights are relative; they saturate
    with the count, so that the many background pixels do not outvote the rest. Structure only adds
    variance, so levels far above the line have little weight.
    """
    typical = max(float(np.median(variance)), 1e-3 * float(variance.max()))
    if typical <= 0:
        return 0.0, 0.0
    model = np.maximum(variance, 1e-3 * typical)
    trust = np.sqrt(np.minimum(count, 2000.0))
    slope, at_zero = 0.0, typical
    for step in range(_LINE_STEPS):
        weight = trust / model
        if step >= _SYMMETRIC_STEPS:
            ratio = variance / model
            weight *= np.minimum(1.0, _STRUCTURED / np.maximum(ratio, _STRUCTURED)) ** 2
            weight *= np.minimum(1.0, ratio / _NOISELESS)
        slope, at_zero = _nonnegative_line(light, variance, weight)
        model = np.maximum(slope * np.maximum(light, 0) + at_zero, 1e-3 * typical)
    return slope, at_zero


def _nonnegative_line(x: FloatArray, y: FloatArray, weight: FloatArray) -> tuple[float, float]:
    from scipy.optimize import nnls

    columns = np.stack([x, np.ones_like(x)], axis=1)
    scale = np.maximum(np.abs(columns).max(0), _TINY)
    (slope, at_zero), _ = nnls(columns / scale * weight[:, None], y * weight)
    return float(slope / scale[0]), float(at_zero / scale[1])


@dataclass(frozen=True)
class Counts:
    """Photon counts: `none` is the value of a pixel without a photon, `one` what a photon adds."""

    none: float
    one: float

    def model(self, signal: FloatArray, variance: FloatArray) -> NoiseModel:
        """Noise model of the counts, with up to twice the gain for random multiplication.

        Random multiplication at most doubles the variance; structure may look like more.
        """
        excess = self._excess(signal, variance, _LOW)
        return NoiseModel(
            self.one * (1.0 if excess < _USUAL else min(excess, _MOST_EXCESS)), self.none
        )

    def are_possible(self, signal: FloatArray, variance: FloatArray) -> bool:
        """True if the noise is about as strong as that of photons.

        That of a few gray levels is weaker, that of a camera much stronger.
        """
        excess = self._excess(signal, variance, 0.5)
        is_enough = excess == 0 or excess > _LEAST_EXCESS  # 0: too few gray levels to show noise
        return is_enough and self._excess(signal, variance, _LOW) < _IMPOSSIBLE_EXCESS

    def _excess(self, signal: FloatArray, variance: FloatArray, share: float) -> float:
        photons = (signal - self.none) / self.one
        lit = photons > _LIT
        if not lit.any():
            return 1.0
        # Structure only adds to the variance of some levels.
        ratios = variance[lit] / (photons[lit] * self.one**2)
        return float(np.quantile(ratios, share))


def count_photons(images: Sequence[npt.NDArray[np.generic]]) -> Counts | None:
    """Photon counts of (Y, X) images of one detector; None if the values are not counts.

    For counts, all values are multiples of a step above the lowest value, which many pixels share,
    and pixels of several photons in dark places are as frequent as in Poisson statistics. Camera
    noise clipped at black has about as many pixels at the next levels as at the first.
    """
    finite = [image[np.isfinite(image)].astype(np.float64).ravel() for image in images]
    values = np.concatenate([*finite, np.zeros(0)])
    if len(values) == 0:
        return None
    levels, found = np.unique(values, return_counts=True)
    if not 1 < len(levels) < _MOST_LEVELS or found[0] < _LEAST_SHARE_WITHOUT * len(values):
        return None
    none, one = float(levels[0]), float(levels[1] - levels[0])
    photons = (levels - none) / one
    whole = np.abs(photons - np.rint(photons)) < _ROUNDING
    if found[whole].sum() < _WHOLE * len(values):
        return None
    return Counts(none, one) if _is_poisson(images, none, one) else None


def _is_poisson(images: Sequence[npt.NDArray[np.generic]], none: float, one: float) -> bool:
    """True if dark places have as few pixels of several photons as Poisson statistics predict."""
    singles = several = expected = 0.0
    for image in images:
        photons = (np.where(np.isfinite(image), image, none).astype(np.float64) - none) / one
        rate = scipy.ndimage.uniform_filter(photons, _NEIGHBOURHOOD)
        dark = photons[rate < _DARK]
        single = np.abs(dark - 1) < _ROUNDING
        around = rate[rate < _DARK][single]
        singles += single.sum()
        expected += (np.expm1(around) / around - 1).sum()
        several += (dark > 1.5).sum()
    doubt = np.sqrt(singles)
    most = _MOST if one == 1 else _MOST_IF_COARSE
    is_usual = _LEAST * expected - doubt < several < most * expected + doubt
    return bool(singles >= _FEWEST_SINGLE and is_usual)
