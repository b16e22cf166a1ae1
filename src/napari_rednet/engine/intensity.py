"""The intensity range of an image, and what to do to reach the network's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

PERCENTILES = (0.5, 99.8)
"""Of the values of an image, those that become 0 and 1."""

_BRIGHTEST = 4.0
_BLOCK = 4


@dataclass(frozen=True)
class IntensityRange:
    """The values that the network sees as 0 and 1.

    `width`, if given, lies between them to the last digit, of which a large offset leaves less.
    """

    low: float = 0.0
    high: float = 1.0
    width: float | None = None

    @property
    def span(self) -> float:
        """Image units per network unit."""
        return self.high - self.low if self.width is None else self.width

    def above(self, dark: float) -> IntensityRange:
        """A range of about the same span, a power of 2, that begins at a dark level.

        Networks without biases scale with their input; with powers of 2 they do so to the last
        digit, whatever span was measured.
        """
        span = 2.0 ** math.ceil(math.log2(self.span))
        return IntensityRange(dark, dark + span, span)


def measure_range(images: Sequence[npt.NDArray[np.generic]]) -> IntensityRange:
    """Robust range of the finite values of several 2-D images.

    Noise and hot pixels do not widen it much; bright structures, however small, are kept below
    four times its upper end.

    Parameters
    ----------
    images : sequence of (Y, X) ndarray
        Images of any real dtype and of any sizes.
    """
    values: npt.NDArray[Any] = np.concatenate(
        [*[_finite(image) for image in images], np.zeros(0, np.bool_)]
    )
    if not len(values):
        return IntensityRange()
    low, high = _percentiles(values, PERCENTILES)
    limit = low + _BRIGHTEST * (high - low)
    if values.max() > limit:  # else nothing smooth is brighter either
        brightest = max(_brightest_structure(image) for image in images)
        high = max(high, low + (brightest - low) / _BRIGHTEST)
    if high <= low:
        low, high = float(values.min()), float(values.max())
    # Even a constant image needs a span, and one that its own float format can resolve.
    size = max(abs(low), abs(high))
    if high - low <= max(1e-9 * size, float(np.finfo(np.float32).tiny)):
        high = low + max(1.0, 1e-3 * size)
    return IntensityRange(low, high)


def dark_level(images: Sequence[npt.NDArray[np.generic]]) -> float:
    """Level of the darkest places of several 2-D images, free of their noise.

    It is the 0.5th percentile of the means of blocks of 4 x 4 pixels: neither noise nor bright
    pixels or frames shift it.
    """
    values = np.concatenate([_block_means(image) for image in images] or [np.zeros(0)])
    return float(np.quantile(values, PERCENTILES[0] / 100)) if len(values) else 0.0


def _block_means(image: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    """Means of the finite pixels of blocks, or all finite pixels if there is no whole block.

    Blocks of hardly any finite pixels, whose noise does not average out, are left out.
    """
    rows, columns = (n // _BLOCK for n in image.shape)
    if not rows or not columns:
        return _finite(image).astype(np.float64)
    whole = image[: rows * _BLOCK, : columns * _BLOCK]
    blocks: npt.NDArray[Any] = whole.reshape(rows, _BLOCK, columns, _BLOCK)
    known = np.isfinite(blocks)
    counts = known.sum((1, 3))
    sums = blocks.sum((1, 3), dtype=np.float64, where=known)
    enough = counts >= max(1, counts.max() / 2)
    return np.asarray(sums[enough] / counts[enough])


def _finite(image: npt.NDArray[np.generic]) -> npt.NDArray[Any]:
    """The finite values, as they are: sorting is fastest in small types."""
    values: npt.NDArray[Any] = np.ravel(image)
    return values[np.isfinite(values)] if values.dtype.kind == "f" else values


def _percentiles(values: npt.NDArray[Any], shares: Sequence[float]) -> list[float]:
    """Percentiles; neighbours in the order of values become floats before they are subtracted."""
    last = len(values) - 1
    places = [share / 100 * last for share in shares]
    around = [(int(place), min(int(place) + 1, last)) for place in places]
    ordered = np.partition(values, sorted({i for pair in around for i in pair}))
    return [
        float(np.interp(place - pair[0], (0, 1), ordered[list(pair)].astype(np.float64)))
        for place, pair in zip(places, around, strict=True)
    ]


def _brightest_structure(image: npt.NDArray[np.generic]) -> float:
    """Maximum of the image once single bright pixels are taken away."""
    finite = np.isfinite(image)
    if not finite.any():
        return -np.inf
    values = np.where(finite, image, image[finite].min()).astype(np.float64)
    return float(ndimage.gaussian_filter(values, 2.0).max())
