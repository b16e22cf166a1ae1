"""Values of a channel: their range and noise, and the units that they are computed with in."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import scipy

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
# Offsets are far if values need more digits than this for the offset alone: rounding errors of
# sums of squares would show.
_FAR = 2.0**20
_LEAST_SPREAD, _MOST_SPREAD = 2.0**-40, 2.0**40
_ENOUGH = 2**16
_LARGEST = 2.0**64 - 2.0**11


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
    return float(scipy.ndimage.gaussian_filter(values, 2.0).max())


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
        # No photons of an infinite signal are no number.
        with np.errstate(over="ignore", invalid="ignore"):
            light = np.maximum(np.subtract(signal, self.offset), 0)
            variance: Any = self.gain * light + np.square(self.read_noise)
        result: Signal = variance if isinstance(signal, np.ndarray) else float(variance)
        return result

    def std(self, signal: Signal) -> Signal:
        """Noise standard deviation at `signal`, a number or an array in image units."""
        with np.errstate(over="ignore", invalid="ignore"):
            light = np.maximum(np.subtract(signal, self.offset), 0)
            # Squares of large numbers would overflow.
            deviation: Any = np.hypot(np.sqrt(self.gain) * np.sqrt(light), float(self.read_noise))
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


@dataclass(frozen=True)
class Basis:
    """An origin and a unit, a power of 2: inside, a value is ``(value - origin) / unit``.

    The origin of integers is an integer.
    """

    origin: float
    unit: float = 1.0

    def inside(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Values of an image in these units; differences of integers are exact."""
        if values.dtype.kind in "iu" and isinstance(self.origin, int):
            return np.asarray(_difference(values, self.origin) / self.unit)
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(values.astype(np.float64) / self.unit - self.origin / self.unit)

    def outside(self, values: npt.NDArray[np.floating], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """Values in these units as those of an image; rounded and clipped to what `dtype` holds."""
        if dtype.kind in "iu" and isinstance(self.origin, int):
            limits = np.iinfo(dtype)
            if limits.min <= self.origin <= limits.max:
                steps = np.rint(np.asarray(values, np.float64) * self.unit)
                return _moved(self.origin, steps, dtype)
        with np.errstate(over="ignore"):
            found = np.asarray(values, np.float64) * self.unit + float(self.origin)
        # Finite values stay finite.
        found = np.where(np.isinf(found) & np.isfinite(values), np.copysign(_HUGE, found), found)
        return round_to(found, dtype)

    def told(self, noise: NoiseModel) -> NoiseModel:
        """A noise model of the image in these units."""
        return noise.normalized(self.origin, self.unit)

    def told_outside(self, noise: NoiseModel) -> NoiseModel:
        """A noise model in these units as one of the image."""
        return replace(
            noise,
            gain=noise.gain * self.unit,
            offset=noise.offset * self.unit + self.origin,
            read_noise=noise.read_noise * self.unit,
        )


def unchanged_units(dtype: np.dtype[Any]) -> Basis:
    """The basis that leaves values as they are."""
    return Basis(0.0 if dtype.kind == "f" else 0)


def basis_of(*images: npt.NDArray[Any]) -> Basis:
    """A basis for images of one channel, also where none is needed."""
    return find_basis(images) or unchanged_units(images[0].dtype)


def common_bases(
    found: Sequence[Basis | None], images: Sequence[npt.NDArray[Any]]
) -> tuple[Basis, ...]:
    """The bases of colours, with one unit for all of them; empty if none needs one."""
    if not any(found):
        return ()
    unit = max(1.0 if basis is None else basis.unit for basis in found)
    same = unchanged_units(images[0].dtype)
    return tuple(replace(basis or same, unit=unit) for basis in found)


_HUGE = np.finfo(np.float64).max


def find_basis(images: Iterable[npt.NDArray[Any]]) -> Basis | None:
    """A basis for images of one channel; None if they can be computed with as they are."""
    parts = [np.ravel(image) for image in images]
    if not any(np.isfinite(part).any() for part in parts):
        return None
    constant = _constant(parts)
    if constant is not None:
        return Basis(constant)
    if parts[0].dtype.itemsize <= 2:
        return None
    origin, spread = _dark_and_spread(parts)
    far = abs(origin) > _FAR * spread
    is_usual = _LEAST_SPREAD <= spread <= _MOST_SPREAD
    if is_usual and not far:
        return None
    unit = 1.0 if is_usual else 2.0 ** (math.frexp(spread)[1] - 1)
    nothing = 0 if isinstance(origin, int) else 0.0
    return Basis(origin if far else nothing, unit)


def _constant(parts: list[npt.NDArray[Any]]) -> float | None:
    """The value that all finite pixels have; None if they differ, or if there is none."""
    found = None
    for part in parts:
        known = part[np.isfinite(part)] if part.dtype.kind == "f" else part
        if not known.size:
            continue
        found = known[0] if found is None else found
        if not (known == found).all():
            return None
    return None if found is None else _number(found)


def _dark_and_spread(parts: list[npt.NDArray[Any]]) -> tuple[float, float]:
    """Low percentile and robust range, above 0, of some of the values; exact for integers."""
    step = 1 + sum(part.size for part in parts) // _ENOUGH
    values = np.concatenate([part[::step] for part in parts])
    values = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if values.size:
        places = [round(share / 100 * (len(values) - 1)) for share in PERCENTILES]
        ordered = np.partition(values, places)
        low, high = (_number(ordered[place]) for place in places)
        if high > low:
            return low, min(high - low, float(_HUGE))
    finite = [part[np.isfinite(part)] for part in parts]
    low = min(_number(one.min()) for one in finite if one.size)
    high = max(_number(one.max()) for one in finite if one.size)
    return low, min(high - low, float(_HUGE))


def _number(value: Any) -> float:
    return int(value) if value.dtype.kind in "iu" else float(value)


def _difference(values: npt.NDArray[Any], origin: int) -> npt.NDArray[np.float64]:
    """``values - origin`` without overflow: distances fit into 64 bits without a sign."""
    wide = values.astype(np.int64 if values.dtype.kind == "i" else np.uint64)
    limits = np.iinfo(wide.dtype)
    if not limits.min <= origin <= limits.max:
        return np.asarray(wide.astype(np.float64) - float(origin))
    start = wide.dtype.type(origin)
    is_above = wide >= start
    bits, first = wide.view(np.uint64), np.uint64(origin % 2**64)
    return np.where(is_above, bits - first, first - bits).astype(np.float64) * np.where(
        is_above, 1.0, -1.0
    )


def _moved(origin: int, steps: npt.NDArray[np.float64], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """``origin + steps`` as integers, clipped to what they can hold."""
    limits = np.iinfo(dtype)
    first = np.uint64(origin % 2**64)
    up, down = np.uint64(limits.max - origin), np.uint64(origin - int(limits.min))
    distance = np.abs(np.nan_to_num(steps)).clip(0, _LARGEST).astype(np.uint64)
    moved = np.where(
        steps < 0, first - np.minimum(distance, down), first + np.minimum(distance, up)
    )
    return np.asarray(moved.view(np.int64 if dtype.kind == "i" else np.uint64).astype(dtype))


def to_network(
    values: npt.NDArray[Any], scale: IntensityRange
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_] | None]:
    """Normalised values (0 where not finite), and the mask of finite ones, None if all are."""
    wide: Any = working_dtype(values.dtype)
    finite = np.isfinite(values) if values.dtype.kind == "f" else None
    if finite is None or finite.all():
        finite = None
    else:
        values = np.where(finite, values, scale.low)
    normalized = (values.astype(wide) - wide(scale.low)) / wide(scale.span)
    return np.asarray(normalized, np.float32), finite


def from_network(
    values: npt.NDArray[np.float32], scale: IntensityRange, dtype: np.dtype[Any]
) -> npt.NDArray[Any]:
    """Values in image units and dtype; integers are rounded and clipped."""
    wide: Any = working_dtype(dtype)
    return round_to(np.asarray(values, wide) * wide(scale.span) + wide(scale.low), dtype)


def changed(
    image: npt.NDArray[Any],
    change: npt.NDArray[np.float32],
    scale: IntensityRange,
    dtype: np.dtype[Any],
) -> npt.NDArray[Any]:
    """Add `change`, in network units, to an image; pixels with a change of 0 keep their value."""
    wide: Any = working_dtype(image.dtype)
    with np.errstate(invalid="ignore"):  # image and change may be infinite
        added = image.astype(wide) + change.astype(wide) * wide(scale.span)
    kept = image if image.dtype == dtype else round_to(image, dtype)
    return np.where(change == 0, kept, round_to(added, dtype))


def round_to(image: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Float values as a dtype; for integers rounded and clipped, and finite ones stay finite."""
    if dtype.kind not in "iu":
        return _narrowed(np.asarray(image), dtype)
    wide: Any = working_dtype(dtype)
    limits = np.iinfo(dtype)
    # Floats cannot represent the largest 64-bit integers: clip to the nearest float below.
    high = np.nextafter(wide(limits.max), wide(0)) if limits.max > 2**53 else wide(limits.max)
    rounded: npt.NDArray[Any] = np.rint(image).clip(wide(limits.min), high).astype(dtype)
    return rounded


def _narrowed(image: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Floats as shorter ones; what is too large for these becomes the largest of them."""
    if dtype.itemsize >= image.dtype.itemsize:
        return np.asarray(image, dtype)
    with np.errstate(over="ignore"):
        short: npt.NDArray[Any] = np.asarray(image, dtype)
    lost = np.isinf(short) & np.isfinite(image)
    return np.where(lost, np.copysign(np.finfo(dtype).max, short), short) if lost.any() else short


def working_dtype(dtype: np.dtype[Any]) -> Any:
    """Float type for computing with `dtype` without losing precision."""
    return np.float32 if dtype.itemsize <= 2 else np.float64
