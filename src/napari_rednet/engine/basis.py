"""Units in which values that are far from 0, or all but equal, can be computed with.

Floats of 64 bits count to 2^53, and their squares reach from 1e-308 to 1e308. Images may have
values beyond: counters near 2^63, a signal of 1 on an offset of 1e11, a range of 1e-200. Relative
to an origin and a unit of their own, they are as good as any others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_rednet.engine.channel import PERCENTILES, NoiseModel
from napari_rednet.engine.images import round_to

# Offsets are far if values need more digits than this for the offset alone: rounding errors of
# sums of squares would show.
_FAR = 2.0**20
_LEAST_SPREAD, _MOST_SPREAD = 2.0**-40, 2.0**40
_ENOUGH = 2**16
_LARGEST = 2.0**64 - 2.0**11


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
