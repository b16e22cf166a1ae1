"""Properties of a channel: its intensity range, dark level and noise model."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from scipy import ndimage

PERCENTILES = (0.5, 99.8)
"""Percentiles of an image that become 0 and 1."""
_BRIGHTEST = 4.0
_BLOCK = 4
MOST_NOISE = 0.5
"""Strongest noise that networks are told, as a share of the range of a channel, or of the values
around a pixel. They were trained with half of that, but extrapolate to it."""
LEAST_CORRELATION = 0.1
"""Weaker correlations of neighbours cannot be told from white noise and count as 0."""
_LEAST_GRAIN = 1e-3
_MOST_CORRELATION = 0.999
Signal = TypeVar("Signal", float, npt.NDArray[np.floating])


@dataclass(frozen=True)
class IntensityRange:
    """The image values that become 0 and 1.

    `width`, if given, is ``high - low`` without the rounding error of a large offset.
    """

    low: float = 0.0
    high: float = 1.0
    width: float | None = None

    @property
    def span(self) -> float:
        """Image units per network unit."""
        return self.high - self.low if self.width is None else self.width

    def above(self, dark: float) -> IntensityRange:
        """A range that begins at a dark level; its span is this one rounded up to a power of 2.

        Networks without biases scale with their input, exactly so for powers of 2: results do not
        depend on the exact span that was measured.
        """
        span = 2.0 ** math.ceil(math.log2(self.span))
        return IntensityRange(dark, dark + span, span)


def measure_range(images: Sequence[npt.NDArray[np.generic]]) -> IntensityRange:
    """Robust range of the finite values of several (Y, X) images of any real dtype.

    Noise and hot pixels hardly widen it. Bright structures, however small, stay below four times
    its upper end.
    """
    values: npt.NDArray[Any] = np.concatenate(
        [*[_finite(image) for image in images], np.zeros(0, np.bool_)]
    )
    if not len(values):
        return IntensityRange()
    low, high = _percentiles(values, PERCENTILES)
    limit = low + _BRIGHTEST * (high - low)
    if float(values.max()) > limit:  # else nothing smooth is brighter either
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
    """Level of the darkest places of several (Y, X) images, free of their noise.

    It is the 0.5th percentile of the means of 4 x 4 blocks, which neither noise nor bright pixels
    or frames shift.
    """
    values = np.concatenate([_block_means(image) for image in images] or [np.zeros(0)])
    return float(np.quantile(values, PERCENTILES[0] / 100)) if len(values) else 0.0


def _block_means(image: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    """Means of the finite pixels of 4 x 4 blocks, without blocks that have few of them."""
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
    """The finite values, in their own dtype: small types sort fastest."""
    values: npt.NDArray[Any] = np.ravel(image)
    return values[np.isfinite(values)] if values.dtype.kind == "f" else values


def _percentiles(values: npt.NDArray[Any], shares: Sequence[float]) -> list[float]:
    """Linearly interpolated percentiles; values become floats before they are subtracted."""
    last = len(values) - 1
    places = [share / 100 * last for share in shares]
    around = [(int(place), min(int(place) + 1, last)) for place in places]
    ordered = np.partition(values, sorted({i for pair in around for i in pair}))
    return [
        float(np.interp(place - pair[0], (0, 1), ordered[list(pair)].astype(np.float64)))
        for place, pair in zip(places, around, strict=True)
    ]


def _brightest_structure(image: npt.NDArray[np.generic]) -> float:
    """Maximum after a Gaussian blur, which suppresses single bright pixels."""
    finite = np.isfinite(image)
    if not finite.any():
        return -np.inf
    values = np.where(finite, image, image[finite].min()).astype(np.float64)
    return float(ndimage.gaussian_filter(values, 2.0).max())


def finite(name: str, value: Any, kind: str = "finite") -> float:
    """An argument as a float; raises `TypeError` or `ValueError` if it is no finite number."""
    number = value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
    if isinstance(number, (bool, np.bool_)) or not isinstance(number, numbers.Real):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}")
    try:
        found = float(number)
    except OverflowError:  # Python's integers and fractions have no end
        raise ValueError(f"{name} must be at most {np.finfo(np.float64).max:.2g}") from None
    if not math.isfinite(found):
        raise ValueError(f"{name} must be {kind}, got {value}")
    return found


@dataclass(frozen=True)
class NoiseModel:
    r"""Noise of a camera or photomultiplier, in image units.

    The variance at a signal s is ``gain * max(s - offset, 0) + read_noise ** 2``.

    Parameters
    ----------
    gain : float
        Image units per detected photon (0 for purely Gaussian noise).
    offset : float
        Signal without light (black level).
    read_noise : float
        Standard deviation without light.
    grain_y, grain_x : float
        Size in pixels of the grain of the noise along y and along x: 0 for white noise. It is the
        standard deviation of the Gaussian filter that would make neighbours of white noise as
        alike as they are. Enlarging, turning, filtering and demosaicing make noise grainy.

    Examples
    --------
    >>> NoiseModel(gain=2.0, offset=100.0, read_noise=3.0).std(120.0)
    7.0
    """

    gain: float = 0.0
    offset: float = 0.0
    read_noise: float = 0.0
    grain_y: float = 0.0
    grain_x: float = 0.0

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self)):
            value = finite(name, getattr(self, name))
            if name != "offset" and value < 0:
                raise ValueError(f"{name} must not be negative, got {value}")

    def variance(self, signal: Signal) -> Signal:
        """Noise variance at `signal`, a number or an array in image units."""
        light = np.maximum(np.subtract(signal, self.offset), 0)
        with np.errstate(over="ignore"):
            variance: Any = self.gain * light + np.square(self.read_noise)
        result: Signal = variance if isinstance(signal, np.ndarray) else float(variance)
        return result

    def std(self, signal: Signal) -> Signal:
        """Noise standard deviation at `signal`, a number or an array in image units."""
        light = np.maximum(np.subtract(signal, self.offset), 0)
        # Squares of large numbers would overflow.
        deviation: Any = np.hypot(np.sqrt(self.gain) * np.sqrt(light), self.read_noise)
        result: Signal = deviation if isinstance(signal, np.ndarray) else float(deviation)
        return result

    def normalized(self, low: float, span: float) -> NoiseModel:
        """The model of ``(image - low) / span``."""
        return replace(
            self,
            gain=self.gain / span,
            offset=(self.offset - low) / span,
            read_noise=self.read_noise / span,
        )

    def times(self, factor: float) -> NoiseModel:
        """The model of noise whose standard deviation is `factor` times as large."""
        return replace(self, gain=factor**2 * self.gain, read_noise=factor * self.read_noise)

    @property
    def correlation(self) -> tuple[float, float]:
        """Correlation of the noise of neighbours along y and along x: 0, or from 0.1 to 1."""
        return _correlation(self.grain_y), _correlation(self.grain_x)


def grain_of(correlation: float) -> float:
    """Grain in pixels of noise with a given correlation of neighbours; 0 for white noise."""
    if correlation <= 0:
        return 0.0
    return 0.5 / math.sqrt(-math.log(min(correlation, _MOST_CORRELATION)))


def noise_words(noise: NoiseModel) -> str:
    """A noise model as text."""
    grain = f", grain {noise.grain_y:.3g} x {noise.grain_x:.3g} pixels"
    return (
        f"gain {noise.gain:.4g}, offset {noise.offset:.4g}, read noise {noise.read_noise:.4g}"
        f"{grain if noise.correlation != (0.0, 0.0) else ''}"
    )


def _correlation(grain: float) -> float:
    """Correlation of neighbours in Gaussian-filtered noise; 0 if below `LEAST_CORRELATION`."""
    found = math.exp(-((0.5 / grain) ** 2)) if grain > _LEAST_GRAIN else 0.0
    return found if found >= LEAST_CORRELATION else 0.0
