"""Masks that users pass, and masks of the dead and hot pixels and lines of a camera."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_rednet.engine.channel import find_basis
from napari_rednet.engine.outliers import REACH, OutlierLimits, find_outliers
from napari_rednet.engine.planes import PlaneLayout
from napari_rednet.execution import Samples, is_dask

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
_RADIUS = 2
_BAND_PIXELS = 2**18
# Single pixels that differ less from their neighbours, relative to the range, may be detail.
_SHARE_OF_RANGE = 0.25
# An odd line stands out from both of its sides by this many spreads more than lines usually do, and
# in the same direction in most of its pixels.
_LEAST_LINE_SCORE = 20.0
_LEAST_LINE_SHARE_OF_RANGE = 0.01
_LEAST_AGREEMENT = 0.6
# Largest step between its neighbours and the lines beyond, relative to how far it stands out.
_MOST_SLOPE = 0.3


def as_mask(mask: Any, layout: PlaneLayout, name: str = "mask") -> Any:
    """Check a mask of missing pixels, called `name`; return it as bool, of the shape of the image.

    Raises `TypeError` if it holds neither bool nor integers, and `ValueError` if it has another
    shape or covers a whole plane.
    """
    cover = _as_marks(name, mask, layout)
    covered = cover.all(layout.spatial_axes)
    if math.prod(layout.shape) and bool(np.asarray(covered).any()):
        which = "the whole plane" if covered.size == 1 else "at least one whole plane"
        raise ValueError(f"{name} covers {which}; it must leave some pixels to go by")
    return broadcast_mask(cover, layout)


def as_region(region: Any, layout: PlaneLayout) -> Any:
    """Check a region to measure in, as `as_mask`; raises `ValueError` if it marks nothing."""
    marks = _as_marks("region", region, layout)
    if not bool(np.asarray(marks.any())):
        raise ValueError("region marks no pixel of the image")
    return broadcast_mask(marks, layout)


def _as_marks(name: str, marks: Any, layout: PlaneLayout) -> Any:
    """Check an argument that marks pixels; return it as bool, with all axes of the image."""
    array = marks if is_dask(marks) else np.asarray(marks)
    if np.dtype(array.dtype).kind not in "biu":
        raise TypeError(f"{name} must hold bool or integers, got {array.dtype}")
    full = _with_all_axes(tuple(array.shape), layout)
    if full is None:
        without = tuple(n for a, n in enumerate(layout.shape) if a != layout.channel)
        names = dict.fromkeys((layout.plane_shape, without, layout.shape))
        raise ValueError(
            f"{name} must have the shape {' or '.join(map(str, names))}, got {tuple(array.shape)}"
        )
    whole = array.reshape(full)
    return whole if whole.dtype == bool else whole != 0


def _with_all_axes(shape: tuple[int, ...], layout: PlaneLayout) -> tuple[int, ...] | None:
    """The shape with 1 for the axes of the image that it lacks; None if it does not fit."""
    image, spatial = layout.shape, layout.spatial_axes
    if shape == layout.plane_shape:
        return tuple(n if a in spatial else 1 for a, n in enumerate(image))
    if len(shape) == len(image):
        fits = all(
            s == n or (s == 1 and a not in spatial)
            for a, (s, n) in enumerate(zip(shape, image, strict=True))
        )
        return shape if fits else None
    if shape == tuple(n for a, n in enumerate(image) if a != layout.channel):
        return tuple(1 if a == layout.channel else n for a, n in enumerate(image))
    return None


def broadcast_mask(mask: Any, layout: PlaneLayout) -> Any:
    """Broadcast a bool mask of any shape that `as_mask` takes to the image's shape, as a view."""
    full = _with_all_axes(tuple(mask.shape), layout)
    if is_dask(mask):
        import dask.array as da

        return da.broadcast_to(mask.reshape(full), layout.shape)
    return np.broadcast_to(mask.reshape(full), layout.shape)


def defects_of(planes: Iterable[npt.NDArray[np.generic]]) -> BoolArray:
    """Mask (Y, X) of the pixels that stand out in at least half of the planes of one channel.

    Planes are taken one by one, so that they may be read one by one.
    """
    votes, count = np.zeros((), np.int32), 0
    for plane in planes:
        votes, count = votes + _outliers(np.asarray(plane)), count + 1
    defects: BoolArray = 2 * votes >= count
    return defects & (votes > 0)


def _outliers(plane: npt.NDArray[np.generic]) -> BoolArray:
    if plane.size == 0:
        return np.zeros(plane.shape, bool)
    windows = [np.asarray(plane[i]) for i in PlaneLayout(plane.shape).sample_windows(0)]
    basis = find_basis(windows)
    if basis is not None:
        plane, windows = basis.inside(plane), [basis.inside(window) for window in windows]
    samples = Samples(windows).without_outliers(_SHARE_OF_RANGE)
    limits = replace(samples.limits or OutlierLimits(), noise=samples.noise)
    found = _single_pixels(plane, limits)
    least_line = _LEAST_LINE_SHARE_OF_RANGE * samples.range.span
    rows, columns = _odd_lines(plane, least_line), _odd_lines(plane.T, least_line)
    found |= rows[:, None] | columns[None, :]
    return found


def _single_pixels(plane: npt.NDArray[np.generic], limits: OutlierLimits) -> BoolArray:
    """Outliers, found band by band, since the search needs more memory than the plane."""
    height, width = plane.shape
    found = np.zeros(plane.shape, bool)
    for start in range(0, height, step := max(1, _BAND_PIXELS // width)):
        first = max(0, start - REACH)
        band = plane[first : start + step + REACH]
        inner = slice(start - first, min(start + step, height) - first)
        there = find_outliers(band, limits).within(inner, slice(0, width))
        found[start : start + step] = there.mask((inner.stop - inner.start, width))
    return found


def _odd_lines(plane: npt.NDArray[np.generic], least: float) -> BoolArray:
    measured = [_line_scores(band) for band in _bands(plane)]
    scores, shares = (np.concatenate(parts) for parts in zip(*measured, strict=True))
    usual = np.median(scores)
    spread = np.median(np.abs(scores - usual)) / 0.6745
    enough = usual + _LEAST_LINE_SCORE * max(spread, 0.05 * usual)
    odd: BoolArray = (scores > max(least, enough)) & (shares >= _LEAST_AGREEMENT)
    return odd


def _line_scores(band: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean height of each row above, or below, the rows on both of its sides.

    Also the share of its pixels that stand out in the same direction.
    """
    inner = slice(_RADIUS, -_RADIUS)
    rows = band[inner, inner]
    above = rows - (band[1:-3, inner] + band[:-4, inner]) / 2
    below = rows - (band[3:-1, inner] + band[4:, inner]) / 2
    nearer = np.where(np.abs(above) < np.abs(below), above, below)
    beyond = np.where(np.sign(above) == np.sign(below), nearer, 0)
    shares = np.maximum((beyond > 0).mean(1), (beyond < 0).mean(1))
    scores = np.abs(beyond).mean(1)
    # A ridge in the image has slopes on both sides. (At the border, one side mirrors the line.)
    slopes = [
        np.abs(_mean_known(band[near, inner] - band[far, inner]))
        for near, far in ((slice(1, -3), slice(0, -4)), (slice(3, -1), slice(4, None)))
    ]
    is_steep = np.minimum(*slopes) > _MOST_SLOPE * scores
    return np.where(is_steep, 0, scores), shares.astype(np.float32)


def _mean_known(rows: FloatArray) -> FloatArray:
    return np.asarray(np.where(np.isfinite(rows), rows, 0).mean(1))


def _bands(plane: npt.NDArray[np.generic]) -> Iterator[FloatArray]:
    """Bands of rows with a margin of rows and columns, mirrored beyond the border.

    Non-finite pixels become NaN, whose comparisons are all false.
    """
    rows, columns = (np.pad(np.arange(n), _RADIUS, mode="symmetric") for n in plane.shape)
    height = max(1, _BAND_PIXELS // plane.shape[1])
    for start in range(0, plane.shape[0], height):
        seen = rows[start : start + height + 2 * _RADIUS]
        band = np.asarray(plane[seen][:, columns], np.float32)
        yield np.where(np.isfinite(band), band, np.float32(np.nan))
