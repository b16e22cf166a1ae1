"""The residual of a restoration: noise alone, or structure as well."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_rednet.arguments import Noise, as_image, noise_per_channel
from napari_rednet.engine.channel import Basis, NoiseModel, basis_of
from napari_rednet.execution import sample_windows
from napari_rednet.grain import measure_grain
from napari_rednet.quality.scores import unit_of

FloatArray = npt.NDArray[np.float64]
Verdict = Literal["noise", "correlated noise", "structure", "noise left", "outliers"]

_NEAR = ((0, 1), (1, 0))
_WIDE = (*_NEAR, (1, 1), (1, -1), (0, 2), (2, 0))
_SURE = 4.0
_LEAST = 0.004
_OUTLIER = 4.0
_MOST_MORE = 0.1
_HOT = 12.0
_ALONE = 3.0
_NEIGHBOURS = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]])
_PATCH = 4.0
# Limits of correlation and power, to be met together: a noise model may be wrong by a
# factor, and images may be full of texture.
_NOISE_LEFT = ((-0.2, 0.5), (-0.15, 0.4), (-0.1, 0.3))
# Power of what looks like noise that neighbours share, below which most of the noise is left.
_LITTLE = 0.25


@dataclass(frozen=True)
class ResidualReport:
    """Composition of a residual, the image minus its restored copy.

    Parameters
    ----------
    correlation : float
        Of neighbouring pixels of the residual; about 0 for white noise.
    significance : float
        Correlation of near pixels in standard errors; the larger one of 2 and of 6 neighbours.
    power : float
        Mean square of the residual in units of the noise variance; NaN without a noise model.
    verdict : {'noise', 'correlated noise', 'structure', 'noise left', 'outliers'}
        Only noise was removed, which may be correlated; or structure, too; or only a part of the
        noise; or the surroundings of hot pixels were changed.
    """

    correlation: float
    significance: float
    power: float
    verdict: Verdict

    @property
    def text(self) -> str:
        """The verdict in words, with what to do next."""
        return _TEXTS[self.verdict]

    @property
    def is_fine(self) -> bool:
        """True if there is nothing to do."""
        return self.verdict in ("noise", "correlated noise")


_TEXTS: dict[Verdict, str] = {
    "noise": "The residual looks like noise: no sign that structure was removed.",
    "correlated noise": "The residual looks like noise that neighbouring pixels share, as in "
    "images that were resized, turned, filtered or scanned: no sign that structure was removed.",
    "structure": "The residual shows structure: strength too high. Try a lower one.",
    "noise left": "Much of the noise is left in the result: strength too low. Try a higher one.",
    "outliers": "Patches around hot pixels were changed. Let denoise repair them, or fill them "
    "with inpaint first.",
}


def residual(
    image: npt.NDArray[Any], restored: npt.NDArray[Any], noise: NoiseModel | None = None
) -> FloatArray:
    """The residual: what was removed from an image.

    Parameters
    ----------
    image, restored : (..., Y, X) ndarray
        Before and after, of any real dtype.
    noise : NoiseModel, optional
        If given, the residual is divided by the standard deviation of the noise at each
        pixel, read at the restored signal.

    Returns
    -------
    residual : (..., Y, X) ndarray
        ``image - restored``, in units of the noise or of the image.
    """
    # Relative to an origin, which is an integer for integers, however large they are.
    basis = Basis(basis_of(np.asarray(restored)).origin)
    before, after = (basis.inside(np.asarray(values)) for values in (image, restored))
    with np.errstate(invalid="ignore", over="ignore"):  # both may be infinite
        difference: FloatArray = before - after
    if noise is None:
        return difference
    std = basis.told(noise).std(after)
    typical = float(np.nanmedian(std)) if std.size else 0.0
    scaled: FloatArray = difference / np.maximum(std, 1e-3 * typical or 1.0)
    return scaled


def residual_report(
    image: Any,
    restored: Any,
    *,
    noise: Noise | Sequence[Noise] | None = None,
    channel_axis: int | None = None,
) -> ResidualReport:
    """Judge a denoised image by what was removed from it.

    For the best estimate under white noise, the covariance of two residual pixels is minus that of
    their errors, and errors of neighbours are similar. So where nothing but noise is removed,
    neighbours in the residual are slightly anticorrelated. If they are positively correlated,
    structure has been removed. If much noise is left, they are strongly anticorrelated, as the
    residual is only the roughest part of the noise. Neither depends on the level of the noise.

    Noise may be correlated itself, as after interpolation. Correlation that the noise model has, or
    that flat places show, does not count as structure.

    Parameters
    ----------
    image, restored : (..., Y, X) array
        Before and after, of the same shape. Large stacks are represented by windows.
    noise : float, NoiseModel, or a sequence of one of them per channel, optional
        Noise of the image. With it, pixels of all brightnesses count alike, and remaining noise
        can be detected.
    channel_axis : int, optional
        Axis of the channels.

    Returns
    -------
    report : ResidualReport
        The mean correlation with 2 or with 6 near neighbours counts as structure if it is
        above 0 by more than 4 standard errors and by more than 0.004. Noise is left if that of the
        2 nearest is below -0.2 and the residual has less than half of the noise's variance, or
        below -0.1 and less than 0.3 of it. Outliers are reported if the mean square of the residual
        around single pixels of twelve times its usual size is four times that further away.

    Notes
    -----
    Ten of scikit-image's images under five noises each, Gaussian and photon noise, estimated and
    removed by `denoise`: at strength 1, none of the 50 was flagged; at strength 2, 38 were said to
    lack structure (most of the others had lost less than 1 dB against strength 1), at strength
    3 all 50; at strength 0.5, noise was said to be left in all 50. With the true noise instead of
    an estimate, 2 of 50, pictures of grass, were said to hold too much noise, although a higher
    strength would have removed texture. On 24 real micrographs, strength 1 was never flagged,
    0.5 always, 2 and 3 in 6 and 12 cases (`benchmarks.without_reference`). A Gaussian blur is
    flagged where it costs structure, and not where there is none.

    Raises
    ------
    TypeError, ValueError
        If the arrays do not hold real numbers or have different shapes.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import ndimage
    >>> from skimage import data
    >>> clean = data.camera()[:256, :256].astype(float)
    >>> noisy = clean + np.random.default_rng(0).normal(0, 15, clean.shape)
    >>> residual_report(noisy, clean).verdict
    'noise'
    >>> residual_report(noisy, ndimage.gaussian_filter(noisy, 2)).verdict
    'structure'
    >>> residual_report(noisy, ndimage.gaussian_filter(noisy, 0.4), noise=15).verdict
    'noise left'
    """
    array, layout = as_image(image, channel_axis)
    after, after_layout = as_image(restored, channel_axis)
    if layout.shape != after_layout.shape:
        raise ValueError(
            f"restored must have the shape of the image, {layout.shape}, got {after_layout.shape}"
        )
    given = noise_per_channel(noise, layout.channels)
    noises = [None] * layout.channels if given is None else given
    expected, removed = 0.0, []
    for channel, model in enumerate(noises):
        windows = (sample_windows(a, layout, channel) for a in (array, after))
        expected = max(expected, *(model.correlation if model else ()), 0.0)
        pairs = zip(*windows, strict=True)
        removed += [residual(before, now, model) for before, now in pairs]
    # Squares of tiny or huge values are no numbers.
    largest = [np.abs(left[np.isfinite(left)]).max(initial=0.0) for left in removed]
    sums = _Sums(unit_of(np.array(largest)), expected)
    for left in removed:
        sums.add(left / sums.unit)
    return sums.report(has_noise=noise is not None)


@dataclass
class _Sums:
    """Products of near pixels, their squares, and squares of the pixels, over all windows."""

    unit: float
    expected: float
    products: dict[tuple[int, int], FloatArray] = field(
        default_factory=lambda: {lag: np.zeros(3) for lag in _WIDE}
    )
    power: float = 0.0
    power_clipped: float = 0.0
    count: int = 0
    planes: list[FloatArray] = field(default_factory=list)

    def add(self, plane: FloatArray) -> None:
        known = plane[np.isfinite(plane)]
        self.planes.append(plane)
        self.power += float(np.square(known).sum())
        self.count += known.size
        # Hot pixels and the like must not dominate.
        limit = _OUTLIER * 1.4826 * float(np.median(np.abs(known))) if known.size else 0.0
        clipped = np.where(np.isfinite(plane), plane.clip(-limit, limit), 0) if limit else plane
        self.power_clipped += float(np.square(np.nan_to_num(clipped)).sum())
        for lag in _WIDE:
            product = _product(np.nan_to_num(clipped), *lag)
            self.products[lag] += (product.sum(), np.square(product).sum(), product.size)

    def report(self, *, has_noise: bool) -> ResidualReport:
        is_known = has_noise and self.count
        # A product is infinite where a power would be an error.
        power = self.unit * self.unit * self.power / self.count if is_known else math.nan
        if self.power_clipped == 0:
            # Nothing was removed. Without noise there was nothing to remove.
            return ResidualReport(0.0, 0.0, power, "noise left" if has_noise else "noise")
        near, near_error = self._correlation(_NEAR)
        wide, wide_error = self._correlation(_WIDE)
        is_structure = any(
            value > max(_SURE * error, _LEAST)
            for value, error in ((near, near_error), (wide, wide_error))
        )
        significance = max(near / near_error, wide / wide_error)
        verdict: Verdict = "noise"
        if any(near < roughness and power < little for roughness, little in _NOISE_LEFT):
            verdict = "noise left"
        elif any(_has_patches(plane) for plane in self.planes):
            verdict = "outliers"
        elif is_structure:
            is_shared = near < self._noise_correlation()
            verdict = "structure"
            if is_shared:
                verdict = "noise left" if power < _LITTLE else "correlated noise"
        return ResidualReport(near, significance, power, verdict)

    def _noise_correlation(self) -> float:
        """The strongest correlation of neighbours that noise alone explains; 0 for white noise."""
        planes = [np.nan_to_num(plane) for plane in self.planes]
        grain = measure_grain(planes, [np.isfinite(plane) for plane in self.planes])
        variance = self.power / max(1, self.count)
        shared = max(self.expected, *grain.correlations(variance))
        return shared + _MOST_MORE if shared > 0 else 0.0

    def _correlation(self, lags: Sequence[tuple[int, int]]) -> tuple[float, float]:
        """Mean correlation over some lags, and its standard error for white noise."""
        variance = self.power_clipped / self.count
        total, squares, count = np.sum([self.products[lag] for lag in lags], axis=0)
        count = max(count, 1)
        return total / count / variance, max(math.sqrt(squares) / count / variance, 1e-12)


def _has_patches(plane: FloatArray) -> bool:
    """True if the residual is larger close to single very large values than further away."""
    values = np.nan_to_num(plane)
    size = np.abs(values)
    limit = _HOT * 1.4826 * float(np.median(size))
    around = ndimage.maximum_filter(size, footprint=_NEIGHBOURS)
    single = (size > limit) & (size > _ALONE * around)
    if limit == 0 or not single.any():
        return False
    squares = values.clip(-limit, limit) ** 2
    near, far = (squares[_ring(single, *sides)] for sides in ((3, 7), (13, 19)))
    return bool(len(far) and near.mean() > _PATCH * far.mean())


def _ring(places: npt.NDArray[np.bool_], inner: int, outer: int) -> npt.NDArray[np.bool_]:
    wide = ndimage.binary_dilation(places, np.ones((outer, outer)))
    ring: npt.NDArray[np.bool_] = wide & ~ndimage.binary_dilation(places, np.ones((inner, inner)))
    return ring


def _product(plane: FloatArray, down: int, right: int) -> FloatArray:
    rows, columns = plane.shape
    first = plane[: rows - down, max(0, -right) : columns - max(0, right)]
    second = plane[down:, max(0, right) : columns - max(0, -right)]
    product: FloatArray = first * second
    return product
