"""An OME-Zarr image as its metadata describe it, whatever file it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from napari_rednet.errors import ImageFileError

_TYPES = {"T": "time", "C": "channel"}
_SPACE = "ZYX"


def described_axis(letter: str) -> dict[str, str]:
    """Name and type of an axis in OME-Zarr."""
    return {"name": letter.lower(), "type": _TYPES.get(letter, "space")}


def _described(letter: str, own: str, told: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is told of an axis, for another letter; planes that are just others stay what they were.

    A unit is left out if the letter makes it an axis of another kind.
    """
    if letter == own or (letter == "Q" and own != "C"):
        return told
    if letter == "Q":
        return {"name": "q"}
    is_length = {letter, own} <= set(_SPACE)
    kept = told if is_length else {key: told[key] for key in told if key != "unit"}
    return {**kept, **described_axis(letter)}


_COMPRESSIONS = ("none", "deflate", "zstd")


def _codec(compression: str, zarr_format: int) -> Any:
    """As `zarr.create_array` takes it."""
    if compression == "none":
        return None
    if zarr_format == 2:
        import numcodecs

        return numcodecs.Zstd() if compression == "zstd" else numcodecs.Zlib()
    from zarr.codecs import GzipCodec, ZstdCodec

    return ZstdCodec() if compression == "zstd" else GzipCodec()


@dataclass(frozen=True)
class Grid:
    """The pixels of one resolution: their number and positions along each axis.

    `scale` is the distance of pixel centres and `translation` the position of the first one.
    """

    shape: tuple[int, ...]
    scale: tuple[float, ...]
    translation: tuple[float, ...]

    def finer(self, factors: Sequence[int]) -> Grid:
        """The same field with every pixel divided into `factors` along each axis."""
        shape = (n * f for n, f in zip(self.shape, factors, strict=True))
        return self._with(shape, (s / f for s, f in zip(self.scale, factors, strict=True)))

    def coarser(self, factors: Sequence[int]) -> Grid:
        """The grid of means of blocks; the last block of an axis may be smaller."""
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
    """An image in, or for, OME-Zarr, and its metadata.

    Parameters
    ----------
    data : array
        The highest resolution: a zarr array, not read into memory, or the array of another file.
    axes : str
        One letter per axis: T, C, Z, Y, X, or Q for any other.
    scale, translation : tuple of float
        Distance of pixel centres, and position of the first, along each axis in its unit.
    axes_metadata : tuple of mapping
        Name, type and unit of each axis as in OME-Zarr; empty for a bare array.
    version : str or None
        Version of OME-Zarr; None for a bare array.
    storage : mapping
        Further arguments of `zarr.create_array`, such as compressors.
    factors : tuple of tuple of int
        For each lower level of the pyramid, how many pixels of the level before become one.
    is_rgb : bool
        True if the channels are colours, which only converted TIFF files and users tell.
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
        """Position of the channels, or of the colours."""
        letter = next((letter for letter in "SC" if letter in self.axes), None)
        return None if letter is None else self.axes.index(letter)

    @property
    def units(self) -> tuple[str | None, ...]:
        """The unit of each axis, as OME-Zarr names it."""
        return tuple(axis.get("unit") for axis in self.axes_metadata) or (None,) * len(self.axes)

    @property
    def levels(self) -> int:
        """Number of resolutions."""
        return 1 + len(self.factors)

    @property
    def compressors(self) -> tuple[Any, ...]:
        """Compressors of the chunks; empty for none, or for zarr's default."""
        return tuple(self.storage.get("compressors") or ())

    def compressed(self, compression: str) -> ZarrImage:
        """The same image with another compression; `ImageFileError` if Zarr has none such."""
        if compression not in _COMPRESSIONS:
            raise ImageFileError(
                f"a Zarr is compressed by {' or '.join(_COMPRESSIONS)}, not by {compression}"
            )
        codec = _codec(compression, self.zarr_format)
        return replace(self, storage={**self.storage, "compressors": codec})

    @property
    def channels(self) -> list[dict[str, Any]]:
        """Metadata of each channel."""
        return list((self.omero or {}).get("channels", ()))

    @property
    def channel_names(self) -> list[str | None]:
        """Names of the channels, None where unknown."""
        return [channel.get("label") for channel in self.channels]

    @property
    def channel_colors(self) -> list[str | None]:
        """Colours of the channels as RRGGBB, None where unknown."""
        return [channel.get("color") for channel in self.channels]

    @property
    def grid(self) -> Grid:
        """The pixels of the highest resolution."""
        return Grid(tuple(self.data.shape), self.scale, self.translation)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the pixels in the file; in zarr v3, a codec defines the byte order."""
        dtype: np.dtype[Any] = np.dtype(self.data.dtype)
        return dtype if self.zarr_format == 2 else dtype.newbyteorder("=")

    def with_axes(self, axes: str) -> ZarrImage:
        """The same image with other letters of its axes; units stay where the kind does."""
        if axes == self.axes:
            return self
        described = tuple(
            _described(letter, own, told)
            for letter, own, told in zip(axes, self.axes, self.axes_metadata, strict=False)
        )
        is_rgb = self.is_rgb or "S" in axes
        return replace(self, axes=axes, axes_metadata=described, is_rgb=is_rgb)

    def enlarged(self, scale: int) -> Grid:
        """The grid with `scale` times more pixels along Y and X."""
        return self.grid.finer([scale if axis in "YX" else 1 for axis in self.axes])
