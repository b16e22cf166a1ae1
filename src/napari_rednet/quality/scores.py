"""Similarity of an image to a reference."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_rednet.arguments import as_image, check_number
from napari_rednet.engine.channel import Basis, basis_of
from napari_rednet.engine.planes import PlaneLayout
from napari_rednet.execution import drain

FloatArray = npt.NDArray[np.float64]

# sigma 1.5 cut off at 3.5 sigma is the window of 11 × 11 pixels of the paper.
_MARGIN = 5
_WINDOW = 2 * _MARGIN + 1
_BAND_PIXELS = 4_000_000
_LEAST_ROWS = 64
_BYTE_RANGE = 255.0
# Ranges of the reference. So far from 0, brightness is alike to six digits, and variances, which
# are differences of squares, keep ten; farther away they lose them.
_FARTHEST = 1000.0
# The square of a range must be a number, and so must the fourth power of values.
_LEAST_RANGE = 1e-100
_LEAST_UNIT = 1e-50


@dataclass(frozen=True)
class Scores:
    """Similarity of an image to a reference.

    Parameters
    ----------
    psnr : float
        Peak signal-to-noise ratio in dB; infinite if nothing differs.
    ssim : float
        Mean structural similarity, at most 1. Planes smaller than its window of 11 pixels are
        mirrored at their borders.
    invariant_psnr : float
        PSNR in dB after the factor and offset that bring the image closest to the reference.
    data_range : float
        Range of values that the PSNRs relate to, in units of the reference.
    """

    psnr: float
    ssim: float
    invariant_psnr: float
    data_range: float


def score(
    image: Any, reference: Any, *, channel_axis: int | None = None, data_range: float | None = None
) -> Scores:
    """Compare an image with a reference of the same shape.

    Parameters
    ----------
    image, reference : (..., Y, X) array
        Any real dtypes: numpy, dask, zarr or memory-mapped. They are read some rows at a time.
        Pixels that are not finite in one of them do not count.
    channel_axis : int, optional
        Axis of the channels, which count alike.
    data_range : float, optional
        Largest minus smallest possible value. If None, 255 for a reference in uint8, else the
        largest minus the smallest value of the reference.

    Returns
    -------
    scores : Scores
        PSNR over all pixels, mean SSIM [1]_ over all planes with Gaussian weights of sigma 1.5.
        The scale-invariant PSNR allows for one factor and one offset for the whole array, by
        least squares: microscopes have no absolute intensities.

    Raises
    ------
    TypeError, ValueError
        If the arrays do not hold real numbers or have different shapes.

    References
    ----------
    .. [1] Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image quality assessment: from
       error visibility to structural similarity", IEEE Trans. Image Process. 13 (2004).

    Examples
    --------
    >>> import numpy as np
    >>> from skimage import data
    >>> clean = data.camera()
    >>> noisy = clean + np.random.default_rng(0).normal(0, 25.5, clean.shape)
    >>> scores = score(noisy, clean)
    >>> round(scores.psnr, 1)
    20.0
    >>> round(score(2 * noisy + 100, clean).psnr, 1) < 10
    True
    >>> score(2 * noisy + 100, clean).invariant_psnr >= scores.psnr
    True
    """
    steps = score_steps(image, reference, channel_axis=channel_axis, data_range=data_range)
    scores: Scores = drain(steps, False, "score")
    return scores


def score_steps(
    image: Any, reference: Any, *, channel_axis: int | None = None, data_range: float | None = None
) -> Generator[tuple[int, int], None, Scores]:
    """`score`, step by step: arguments are checked at once, the work is done by iterating.

    Returns
    -------
    steps : generator
        Yields (pixels done, pixels in all) and returns the scores. Closing it cancels.
    """
    array, layout = as_image(image, channel_axis)
    wanted, wanted_layout = as_image(reference, channel_axis)
    if layout.shape != wanted_layout.shape:
        raise ValueError(
            f"reference must have the shape of the image, {layout.shape}, got {wanted_layout.shape}"
        )
    if data_range is not None:
        check_number("data_range", data_range)
        if not (data_range == 0 or _LEAST_RANGE < float(data_range) < 1 / _LEAST_RANGE):
            raise ValueError(
                f"data_range must lie between {_LEAST_RANGE:g} and {1 / _LEAST_RANGE:g}, got "
                f"{data_range:g}"
            )
    return _steps(array, wanted, layout, None if data_range is None else float(data_range))


def _steps(
    array: Any, wanted: Any, layout: PlaneLayout, data_range: float | None
) -> Generator[tuple[int, int], None, Scores]:
    total, done = 2 * math.prod(layout.shape), 0
    sums, basis = _Sums(), Basis(0.0)
    for number, rows in enumerate(_bands(layout, margin=0)):
        if number == 0:
            basis = basis_of(np.asarray(wanted[rows.index]))
        sums.add(*_pair(array, wanted, rows, basis))
        done += rows.pixels
        yield done, total
    unit = sums.unit * basis.unit
    if data_range is None:
        data_range = _BYTE_RANGE if np.dtype(wanted.dtype) == np.uint8 else sums.span * unit
    span = data_range / unit
    farthest = _FARTHEST * sums.span
    origin = min(max(float(basis.origin) / unit, -farthest), farthest)
    similar = _Similarity()
    for rows in _bands(layout, margin=_MARGIN):
        pair = _pair(array, wanted, rows, basis)
        # What is not finite in one is the same in both.
        image, reference = (np.nan_to_num(part) / sums.unit + origin for part in pair)
        similar.add(image, reference, span, layout.plane_shape)
        done += rows.pixels
        yield done, total
    psnr, invariant = (_psnr(e, span) for e in (sums.error, sums.invariant_error))
    return Scores(psnr, similar.mean, invariant, data_range)


@dataclass(frozen=True)
class _Rows:
    """Index of some rows of a plane to read, and the number of pixels that they stand for."""

    index: tuple[int | slice, ...]
    pixels: int


def _bands(layout: PlaneLayout, margin: int) -> Iterator[_Rows]:
    """Bands of rows of all planes; with a margin, whose windows are used only where complete."""
    height, width = layout.plane_shape
    step = max(_LEAST_ROWS, _BAND_PIXELS // max(width, 1))
    for key in layout.planes():
        for first in range(0, height, step):
            last = min(first + step, height)
            read = slice(max(first - margin, 0), min(last + margin, height))
            yield _Rows(key.window(read, slice(None)), (last - first) * width)


def _pair(array: Any, wanted: Any, rows: _Rows, basis: Basis) -> tuple[FloatArray, FloatArray]:
    """Some rows of both; where one is not finite, 0 in the image and NaN in the reference."""
    image, reference = (basis.inside(np.asarray(a[rows.index])) for a in (array, wanted))
    known = np.isfinite(image) & np.isfinite(reference)
    return np.where(known, image, 0), np.where(known, reference, np.nan)


@dataclass
class _Sums:
    """Moments of an image and its reference, from which both errors follow.

    They are relative to the first band's means, to avoid cancellation, and in a unit whose powers
    are numbers.
    """

    count: float = 0.0
    first: tuple[float, float] | None = None
    unit: float = 1.0
    means: FloatArray = field(default_factory=lambda: np.zeros(2))
    products: FloatArray = field(default_factory=lambda: np.zeros((2, 2)))
    squares: float = 0.0
    low: float = math.inf
    high: float = -math.inf

    def add(self, image: FloatArray, reference: FloatArray) -> None:
        known = np.isfinite(reference)
        values = np.stack([image[known], reference[known]])
        if not values.size:
            return
        if self.first is None:
            self.unit = unit_of(values)
            means = (values / self.unit).mean(1)
            self.first = (float(means[0]), float(means[1]))
        values /= self.unit
        self.low, self.high = min(self.low, values[1].min()), max(self.high, values[1].max())
        self.squares += float(np.square(values[0] - values[1]).sum())
        centred = values - np.array(self.first)[:, None]
        self.count += values.shape[1]
        self.means += centred.sum(1)
        self.products += centred @ centred.T

    @property
    def span(self) -> float:
        """Largest minus smallest value of the reference, in units."""
        return max(float(self.high - self.low), 0.0)

    @property
    def error(self) -> float:
        """Mean squared difference."""
        return self.squares / self.count if self.count else math.nan

    @property
    def invariant_error(self) -> float:
        """Mean squared difference after the best factor and offset."""
        if not self.count:
            return math.nan
        means = self.means / self.count
        variances = self.products / self.count - np.outer(means, means)
        explained = variances[0, 1] ** 2 / variances[0, 0] if variances[0, 0] > 0 else 0.0
        return max(float(variances[1, 1] - explained), 0.0)


def unit_of(values: FloatArray) -> float:
    """A power of 2 near the largest value, or 1 if its powers are numbers as it is."""
    most = float(np.abs(values).max(initial=0.0))
    if most == 0 or _LEAST_UNIT < most < 1 / _LEAST_UNIT:
        return 1.0
    return math.ldexp(0.5, math.frexp(most)[1])


def _psnr(error: float, data_range: float) -> float:
    if math.isnan(error) or data_range == 0:
        return math.nan
    return math.inf if error == 0 else 20 * math.log10(data_range) - 10 * math.log10(error)


@dataclass
class _Similarity:
    """Sum of the structural similarity at all pixels whose window lies within the image.

    In planes that are narrower than a window, all pixels count.
    """

    total: float = 0.0
    count: int = 0

    def add(
        self,
        image: FloatArray,
        reference: FloatArray,
        data_range: float,
        plane_shape: tuple[int, int],
    ) -> None:
        from skimage.metrics import structural_similarity

        # Planes narrower than a window are mirrored, as no window lies within them.
        wide = [(_MARGIN, _MARGIN) if n < _WINDOW else (0, 0) for n in plane_shape]
        if not image.size or data_range == 0:
            return
        image, reference = (np.pad(part, wide, mode="symmetric") for part in (image, reference))
        if min(image.shape) < _WINDOW:  # the rest of a plane, of which other bands have the windows
            return
        options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        _, found = structural_similarity(
            image, reference, data_range=data_range, full=True, **options
        )
        inner = found[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
        self.total += float(inner.sum())
        self.count += inner.size

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else math.nan
