"""Colour planes restored together: by their luminance, or as mean and colour differences.

Red, green and blue are luminance plus terms of the two chroma signals, so whatever is added to the
luminance is added to all three.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from enum import Enum, auto

import numpy as np
import numpy.typing as npt

from napari_rednet.engine.channel import IntensityRange, NoiseModel, round_to, working_dtype
from napari_rednet.engine.planes import ChannelSettings, Plane, ReadWindow, WriteWindow

COLORS = 3
"""Red, green and blue; a fourth plane is transparency."""
# ITU-R BT.601.
_WEIGHTS = (0.299, 0.587, 0.114)


class ColorMode(Enum):
    """How colours are restored together."""

    LUMINANCE = auto()
    """Only the luminance is restored; chroma stays as it is."""
    OPPONENT = auto()
    """Mean and two colour differences are restored; see `engine.inference.to_opponent`."""


def luminance(red_green_blue: Sequence[npt.NDArray[np.generic]]) -> npt.NDArray[np.floating]:
    """Weighted sum of the first three planes; float32, or float64 for wide dtypes."""
    wide = working_dtype(red_green_blue[0].dtype)
    parts = [wide(w) * np.asarray(p, wide) for w, p in zip(_WEIGHTS, red_green_blue, strict=False)]
    with np.errstate(invalid="ignore"):  # infinities of both signs
        result: npt.NDArray[np.floating] = parts[0] + parts[1] + parts[2]
    return result


def luminance_plane(
    shape: tuple[int, int],
    dtype: np.dtype[np.generic],
    read: Sequence[ReadWindow],
    write: Sequence[WriteWindow],
    settings: ChannelSettings,
) -> Plane:
    """The luminance of three colours as one plane to restore, of the result's shape and dtype.

    `read` and `write` have one function per colour; a fourth, transparency, is written as it is
    read.
    """

    def read_luminance(rows: slice, columns: slice) -> npt.NDArray[np.floating]:
        return luminance([np.asarray(part(rows, columns)) for part in read[:COLORS]])

    def write_colors(rows: slice, columns: slice, values: npt.NDArray[np.floating]) -> None:
        colors = [np.asarray(part(rows, columns)) for part in read]
        light = luminance(colors)
        # A colour that is not finite leaves the two others as they are.
        added = np.subtract(values, light, out=np.zeros_like(light), where=np.isfinite(light))
        for i, (put, color) in enumerate(zip(write, colors, strict=True)):
            put(rows, columns, round_to(color + added if i < COLORS else color, dtype))

    wide = np.dtype(working_dtype(dtype))
    return Plane(shape, wide, read_luminance, write_colors, settings)


def _doubt(colors: Sequence[ChannelSettings]) -> tuple[float, tuple[float, ...]]:
    """`most_noise` and `flat` of colours together: what one of them can hold is believed.

    A colour that is constant can hold none, and says nothing of the others; it stays 0.
    """
    varying = [one for one in colors if not one.is_constant[0]]
    if not varying or not all(one.flat for one in varying):
        return math.inf, ()
    levels = tuple(one.flat[0] if one.flat else 0.0 for one in colors)
    return max(one.most_noise for one in varying), levels


def opponent_plane(
    shape: tuple[int, int],
    dtype: np.dtype[np.generic],
    read: Sequence[ReadWindow],
    write: Sequence[WriteWindow],
    settings: Sequence[ChannelSettings],
    neighbours: Sequence[Sequence[ReadWindow]] = (),
    shares: Sequence[ReadWindow] = (),
) -> Plane:
    """A plane of three colours to restore together; `settings` has one entry per colour.

    `neighbours` read the colours of the planes before and after it, `shares` the share of the noise
    of each colour that averages have.
    """

    def reading(parts: Sequence[ReadWindow]) -> ReadWindow:
        def read_colors(rows: slice, columns: slice) -> npt.NDArray[np.generic]:
            return np.stack([np.asarray(part(rows, columns)) for part in parts[:COLORS]])

        return read_colors

    def write_colors(rows: slice, columns: slice, values: npt.NDArray[np.generic]) -> None:
        for put, color in zip(write, values, strict=False):
            put(rows, columns, color)
        for put, part in zip(write[COLORS:], read[COLORS:], strict=True):
            put(rows, columns, np.asarray(part(rows, columns)))

    ranges = [one.scale for one in settings[:COLORS]]
    # One range for the three: their differences have to mean something.
    dark = min(r.low for r in ranges)
    scale = IntensityRange(dark, max(r.high for r in ranges)).above(dark)
    noises = tuple(one.noise or NoiseModel() for one in settings[:COLORS])
    most, flat = _doubt(settings[:COLORS])
    common = replace(
        settings[0],
        scale=scale,
        noise=None,
        most_noise=most,
        flat=flat,
        is_constant=tuple(one.is_constant[0] for one in settings[:COLORS]),
    )
    beside = tuple(reading(parts) for parts in neighbours)
    return Plane(
        shape,
        dtype,
        reading(read),
        write_colors,
        common,
        colors=noises,
        neighbours=beside,
        share=reading(shares) if shares else None,
    )
