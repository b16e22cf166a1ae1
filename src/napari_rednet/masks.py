"""Checks of arrays that mark pixels: those that are missing, those to measure."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from napari_rednet.engine.images import PlaneLayout
from napari_rednet.execution import is_dask


def as_mask(mask: Any, layout: PlaneLayout, name: str = "mask") -> Any:
    """Check a mask of missing pixels; return it as bool, of the shape of the image.

    Errors call it by its `name`.

    Raises
    ------
    TypeError
        If it holds neither bool nor integers.
    ValueError
        If it has another shape, or leaves nothing of a plane.
    """
    cover = _as_marks(name, mask, layout)
    covered = cover.all(layout.spatial_axes)
    if math.prod(layout.shape) and bool(np.asarray(covered).any()):
        which = "the whole plane" if covered.size == 1 else "at least one whole plane"
        raise ValueError(f"{name} covers {which}; it must leave some pixels to go by")
    return broadcast_mask(cover, layout)


def as_region(region: Any, layout: PlaneLayout) -> Any:
    """Check a region to measure in; return it as bool, of the shape of the image.

    Raises
    ------
    TypeError
        If it holds neither bool nor integers.
    ValueError
        If it has another shape, or marks nothing.
    """
    marks = _as_marks("region", region, layout)
    if not bool(np.asarray(marks.any())):
        raise ValueError("region marks no pixel of the image")
    return broadcast_mask(marks, layout)


def _as_marks(name: str, marks: Any, layout: PlaneLayout) -> Any:
    """Check an argument that marks pixels; return it as bool, with all axes of the image.

    Raises
    ------
    TypeError
        If it holds neither bool nor integers.
    ValueError
        If it has another shape.
    """
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
    """A mask of bool, of any shape that `as_mask` takes, as a view of the image's shape."""
    full = _with_all_axes(tuple(mask.shape), layout)
    if is_dask(mask):
        import dask.array as da

        return da.broadcast_to(mask.reshape(full), layout.shape)
    return np.broadcast_to(mask.reshape(full), layout.shape)
