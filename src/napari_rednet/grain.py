"""Correlation of the noise of neighbouring pixels (grain), measured where an image is flat.

White noise has all spatial frequencies alike. Enlarging, turning, filtering, demosaicing and
scanning make noise smoother, so that a high-pass sees only a part of it: a tenth in an enlarged
image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np
import numpy.typing as npt

from napari_rednet.engine.channel import LEAST_CORRELATION

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

_BLOCK = 16
_FEWEST_BLOCKS = 8
_STEPS = (1, 2, 3)
_FLATTEST_SHARE = 0.1
# From this correlation on, a high-pass with a step of 2 pixels misses a part of the noise.
_SMOOTH = 0.55
# Share of a block's variance that the polynomial removes for each further pixel sharing its noise.
_LOST = 0.03
# The flattest blocks are also those whose noise happens to be weak, and overestimates do less harm
# than underestimates.
_CAUTION = 1.08
# The finest high-pass misses a part of correlated noise. The natural logarithm of the variance over
# the variance seen, per unit of correlation, is at least this; a little less for weak correlation,
# more for strong. Measured: 1.65 to 3.6 in processed images; in textures under white noise 1.1 to
# 1.6, and 1.8 to 2.1 where their correlation is strong.
_MISSED, _MISSED_IF_WEAK = 1.6, 1.25
_STRONG, _MISSED_IF_STRONG = 0.52, 4.0
# Variance over that of rounding from which on there is other noise, and the most that rounding may
# be of what the finest high-pass sees.
_ABOVE_ROUNDING, _MOST_ROUNDED = 2.0, 0.8
_STRIPS = 4
_SURE = 12.0
_LEAST_LINE_SHARE = 0.01
_CLIP = 3.0


@dataclass(frozen=True)
class Grain:
    """Correlation of the noise of neighbouring pixels, 0 for white noise.

    `step` is the step in pixels with which a high-pass sees all of the noise, and `factor` the
    variance over that of `high_pass` with this step. `rows` and `columns` are the standard
    deviations of the offsets of whole lines; `along_y` and `along_x` are without these.
    """

    along_y: float = 0.0
    along_x: float = 0.0
    step: int = 1
    factor: float = 1.0
    rows: float = 0.0
    columns: float = 0.0

    @property
    def of_lines(self) -> float:
        """Variance of the noise of whole lines."""
        return self.rows**2 + self.columns**2

    def correlations(self, variance: float) -> tuple[float, float]:
        """Correlations along y and x in noise of this total variance, including that of lines."""
        if variance <= 0:
            return 0.0, 0.0
        single = max(0.0, variance - self.of_lines)
        shared = (self.columns**2, self.rows**2)  # a column is shared along y
        y, x = (
            (along * single + lines) / variance
            for along, lines in zip((self.along_y, self.along_x), shared, strict=True)
        )
        return _told(y), _told(x)


WHITE = Grain()
"""The grain of white noise."""


def _told(correlation: float) -> float:
    return 0.0 if correlation < LEAST_CORRELATION else min(correlation, 1.0)


def high_pass(values: FloatArray, step: int = 1) -> FloatArray:
    """Second differences along both axes, which ignore planes; white noise keeps its variance.

    J. Immerkaer, "Fast noise variance estimation", 1996, for a step of 1.
    """
    if not values.size:
        return values
    padded = np.pad(values, step, mode="symmetric")
    rows = padded[2 * step :] + padded[: -2 * step] - 2 * padded[step:-step]
    return (rows[:, 2 * step :] + rows[:, : -2 * step] - 2 * rows[:, step:-step]) / 6


def measure_grain(
    images: Sequence[FloatArray], usable: Sequence[BoolArray], rounding: float = 0.0
) -> Grain:
    """Measure the grain of several (Y, X) images of one detector.

    A paraboloid is subtracted from each block of 16 x 16 pixels. The blocks with the least variance
    relative to that of a high-pass are flat, so what is left in them is noise of all scales that
    matter. Images must be finite; `usable` is a mask of pixels that are neither clipped nor
    outliers. `rounding` is the variance of the rounding error, which is white, whatever the noise.
    """
    rows = _line_std(images)
    columns = _line_std([image.T for image in images])
    has_rows, has_columns = rows > 0, columns > 0
    blocks = [_Blocks.of(*pair, has_rows, has_columns) for pair in zip(images, usable, strict=True)]
    joined = _Blocks.joined(blocks)
    flat = joined.flattest()
    if flat is None:
        return Grain(rows=rows, columns=columns)
    variance = flat.variance.sum()
    along_y, along_x = (float(part.sum() / variance) for part in (flat.along_y, flat.along_x))
    lost = _LOST * (_correlated_pixels(along_y, along_x) - 1)
    along_y, along_x = ((along + lost) / (1 + lost) for along in (along_y, along_x))
    # If there are few blocks, all of them may hold some structure.
    is_weak = max(along_y, along_x) < LEAST_CORRELATION + len(joined.variance) ** -0.5
    if is_weak or flat.are_structured(rounding):
        return Grain(rows=rows, columns=columns)
    step = 2 if max(along_y, along_x) < _SMOOTH else 3
    seen = flat.seen[:, step - 1].sum()
    factor = float(_CAUTION * (1 + lost) * variance / seen)
    return Grain(max(0.0, along_y), max(0.0, along_x), step, factor, rows, columns)


def _correlated_pixels(along_y: float, along_x: float) -> float:
    """Number of pixels that share noise of Gaussian correlation, 1 for white noise."""
    sizes = (0.5 / np.sqrt(-np.log(np.clip(along, 1e-6, 0.99))) for along in (along_y, along_x))
    # The lower limit of the size makes the area of white noise 1.
    area = np.prod([max(size, 0.282) for size in sizes])
    return float(4 * np.pi * area)


@dataclass(frozen=True)
class _Blocks:
    """Variances and neighbour products of blocks; `seen` by high-passes of steps 1 to 3."""

    variance: FloatArray
    along_y: FloatArray
    along_x: FloatArray
    seen: FloatArray

    @classmethod
    def of(cls, image: FloatArray, usable: BoolArray, has_rows: bool, has_columns: bool) -> _Blocks:
        """The blocks of an image whose pixels are all usable."""
        whole = _cut(usable).all((1, 2))
        values = _cut(image)[whole]
        basis = _smooth_basis(has_rows, has_columns)
        flat = values.reshape(-1, _BLOCK**2)
        flat = flat - flat.mean(1, keepdims=True)
        rest = (flat - (flat @ basis) @ basis.T).reshape(values.shape)
        count = _BLOCK**2
        return cls(
            (rest**2).sum((1, 2)) / (count - basis.shape[1]),
            (rest[:, 1:] * rest[:, :-1]).sum((1, 2)) / (count - _BLOCK),
            (rest[:, :, 1:] * rest[:, :, :-1]).sum((1, 2)) / (count - _BLOCK),
            np.stack([_cut(high_pass(image, s) ** 2)[whole].mean((1, 2)) for s in _STEPS], 1),
        )

    @classmethod
    def joined(cls, parts: Sequence[_Blocks]) -> _Blocks:
        columns = [(p.variance, p.along_y, p.along_x, p.seen) for p in parts]
        return cls(*(np.concatenate(column) for column in zip(*columns, strict=True)))

    def flattest(self) -> _Blocks | None:
        """The blocks with the least structure; None if there are too few."""
        # Blocks without any noise are of no use.
        noisy = np.flatnonzero((self.variance > 0) & (self.seen > 0).all(1))
        if len(noisy) < _FEWEST_BLOCKS:
            return None
        # Structure adds more to the variance than to that of a high-pass.
        score = self.variance[noisy] ** 2 / self.seen[noisy, 1]
        order = noisy[np.argsort(score)]
        kept = order[: max(_FEWEST_BLOCKS, int(_FLATTEST_SHARE * len(order)))]
        return _Blocks(self.variance[kept], self.along_y[kept], self.along_x[kept], self.seen[kept])

    def are_structured(self, rounding: float) -> bool:
        """True if what looks like grain is structure under white noise.

        The finest high-pass sees all of white noise and little of structure; of correlated noise,
        it sees the less the stronger the correlation.
        """
        variance, seen = self.variance.mean(), self.seen[:, 0].mean()
        # Of smooth noise of about a gray level, the finest high-pass sees the rounding alone.
        if variance > _ABOVE_ROUNDING * rounding:
            seen -= min(rounding, _MOST_ROUNDED * seen)
        missed = np.log(variance / seen)
        expected = 0.0
        for part in (self.along_y, self.along_x):
            along = max(0.0, float(part.mean() / variance))
            expected += along * min(_MISSED_IF_WEAK + along, _MISSED)
            expected += _MISSED_IF_STRONG * max(0.0, along - _STRONG)
        return bool(missed < expected)


def _cut(image: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    rows, columns = (n // _BLOCK for n in image.shape)
    whole = image[: rows * _BLOCK, : columns * _BLOCK].reshape(rows, _BLOCK, columns, _BLOCK)
    return whole.swapaxes(1, 2).reshape(-1, _BLOCK, _BLOCK)


@lru_cache(maxsize=4)
def _smooth_basis(has_rows: bool, has_columns: bool) -> FloatArray:
    """Orthonormal paraboloids over a block, and its lines if they have offsets."""
    line = np.linspace(-1, 1, _BLOCK)
    one = np.ones(_BLOCK)
    parts = [np.outer(line**i, line**j).ravel() for i, j in _powers()]
    lines = list(np.eye(_BLOCK))
    parts += [np.outer(row, one).ravel() for row in lines] if has_rows else []
    parts += [np.outer(one, column).ravel() for column in lines] if has_columns else []
    left, sizes, _ = np.linalg.svd(np.stack(parts, 1), full_matrices=False)
    basis: FloatArray = left[:, sizes > 1e-9]
    return basis


def _powers() -> list[tuple[int, int]]:
    return [(i, j) for i in range(3) for j in range(3 - i)]


def _line_std(images: Sequence[FloatArray]) -> float:
    """Standard deviation of the offsets of rows, 0 if they have none.

    An offset of a row is the same in its left and right parts; noise and structure differ.
    """
    found = [_line_products(image) for image in images if min(image.shape) >= 2 * _BLOCK]
    if not found:
        return 0.0
    products, powers, noise = (np.concatenate(column) for column in zip(*found, strict=True))
    variance = products.mean()
    doubt = powers.mean() / np.sqrt(products.size)
    is_sure = variance > max(_SURE * doubt, _LEAST_LINE_SHARE * noise.mean())
    # A row minus the mean of its two neighbours has 1.5 times the variance.
    return float(np.sqrt(variance / 1.5)) if is_sure else 0.0


def _line_products(image: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Products of row means of pairs of strips, squares of these means, and squares of pixels."""
    second = image[1:-1] - (image[:-2] + image[2:]) / 2
    second = _limited(second, second[::3, ::3])
    width = second.shape[1] // _STRIPS
    means = second[:, : width * _STRIPS].reshape(len(second), _STRIPS, width).mean(2)
    means = _limited(means, means)
    pairs = [means[:, i] * means[:, j] for i, j in combinations(range(_STRIPS), 2)]
    return np.stack(pairs).ravel(), (means**2).ravel(), (second[::3, ::3] ** 2).ravel()


def _limited(values: FloatArray, some: FloatArray) -> FloatArray:
    """Values clipped at three robust standard deviations, so that edges do not count as noise."""
    limit = _CLIP * 1.4826 * np.median(np.abs(some))
    return values.clip(-limit, limit) if limit > 0 else values
