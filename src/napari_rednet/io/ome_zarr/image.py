"""An OME-Zarr image as it is described by its metadata, whatever file it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Grid:
    """The pixels of one resolution: how many there are, and where their centres lie.

    Parameters
    ----------
    shape : tuple of int
        Number of pixels along each axis.
    scale : tuple of float
        Distance of their centres, in the unit of the axis.
    translation : tuple of float
        Where the centre of the first one lies.
    """

    shape: tuple[int, ...]
    scale: tuple[float, ...]
    translation: tuple[float, ...]

    def finer(self, factors: Sequence[int]) -> Grid:
        """The same field with every pixel divided into `factors` along each axis."""
        shape = (n * f for n, f in zip(self.shape, factors, strict=True))
        return self._with(shape, (s / f for s, f in zip(self.scale, factors, strict=True)))

    def coarser(self, factors: Sequence[int]) -> Grid:
        """The grid of means of blocks; the last block of an axis may be cut off."""
        shape = (-(-n // f) for n, f in zip(self.shape, factors, strict=True))
        return self._with(shape, (s * f for s, f in zip(self.scale, factors, strict=True)))

    def _with(self, shape: Any, scale: Any) -> Grid:
        scale = tuple(scale)
        # The outer edge of the first pixel, at t - s / 2, stays where it is.
        moved = (
            t + (new - old) / 2
            for t, new, old in zip(self.translation, scale, self.scale, strict=True)
        )
        return Grid(tuple(shape), scale, tuple(moved))


@dataclass(frozen=True)
class ZarrImage:
    """An image in OME-Zarr, or one that is to become OME-Zarr, and what is known of it.

    Parameters
    ----------
    data : array
        Its highest resolution: a zarr array, not read into memory; or the array of another file.
    axes : str
        One letter an axis: T, C, Z, Y, X, or Q for any other.
    scale, translation : tuple of float
        Distance of pixel centres along each axis, and the place of the first, in its unit.
    axes_metadata : tuple of mapping
        Name, type and unit of each axis as OME-Zarr has them; empty for a bare array.
    version : str or None
        Of OME-Zarr; None for a bare array.
    zarr_format, chunks, shards
        How the array is stored.
    storage : mapping
        What else `zarr.create_array` needs for an array like this one: compressors, filters...
    factors : tuple of tuple of int
        For each level of the pyramid below the highest resolution, how many pixels of the level
        before, along each axis, became one.
    omero : mapping or None
        Channels with names, colours and windows.
    name : str or None
        Of the image.
    attributes : mapping
        What others have noted in the file.
    is_rgb : bool
        Whether the channels are colours. Files do not tell; TIFF files that are converted do.
    """

    data: Any
    axes: str
    scale: tuple[float, ...]
    translation: tuple[float, ...]
    axes_metadata: tuple[Mapping[str, Any], ...]
    version: str | None
    zarr_format: int
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None = None
    storage: Mapping[str, Any] = field(default_factory=dict)
    factors: tuple[tuple[int, ...], ...] = ()
    omero: Mapping[str, Any] | None = None
    name: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    is_rgb: bool = False

    @property
    def channel_axis(self) -> int | None:
        """Position of the channels."""
        return self.axes.index("C") if "C" in self.axes else None

    @property
    def units(self) -> tuple[str | None, ...]:
        """The unit of each axis, in the words of OME-Zarr."""
        return tuple(axis.get("unit") for axis in self.axes_metadata) or (None,) * len(self.axes)

    @property
    def levels(self) -> int:
        """Number of resolutions."""
        return 1 + len(self.factors)

    @property
    def compressors(self) -> tuple[Any, ...]:
        """What compresses the chunks; empty if nothing does, or if zarr is to choose."""
        return tuple(self.storage.get("compressors") or ())

    @property
    def channels(self) -> list[dict[str, Any]]:
        """What is known of each channel."""
        return list((self.omero or {}).get("channels", ()))

    @property
    def channel_names(self) -> list[str | None]:
        """Names of the channels, as far as the file tells."""
        return [channel.get("label") for channel in self.channels]

    @property
    def channel_colors(self) -> list[str | None]:
        """Colours of the channels, as RRGGBB."""
        return [channel.get("color") for channel in self.channels]

    @property
    def grid(self) -> Grid:
        """The pixels of the highest resolution."""
        return Grid(tuple(self.data.shape), self.scale, self.translation)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the pixels in the file; zarr v3 has a codec for the order of their bytes."""
        dtype: np.dtype[Any] = np.dtype(self.data.dtype)
        return dtype if self.zarr_format == 2 else dtype.newbyteorder("=")

    def enlarged(self, scale: int) -> Grid:
        """The pixels of an image with `scale` times more of them along Y and X."""
        return self.grid.finer([scale if axis in "YX" else 1 for axis in self.axes])
