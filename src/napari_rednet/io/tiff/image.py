"""A TIFF's image: its pixels, axes and colours, and the file written from it."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import tifffile

from napari_rednet.errors import ImageFileError
from napari_rednet.files import beside, create_anew, replaced
from napari_rednet.io.tiff import storage
from napari_rednet.io.tiff.ome import OmeSource
from napari_rednet.io.tiff.storage import Storage, storage_remark
from napari_rednet.io.tiff.tags import finer_description, finer_tags, lost_tags

BIG = ".btf"
"""Suffix of files that are BigTIFF, whatever their size."""
PLAIN = Storage()
"""Uncompressed, as nothing is known of a file."""
_ALPHA: tuple[list[str], ...] = ([], ["assocalpha"], ["unassalpha"])
ORIENTATION = 274
"""The tag that says how rows and columns are to be shown."""
# Places in pixels, and what is drawn over the image.
_IMAGEJ_ORIGINS = ("xorigin", "yorigin")
_IMAGEJ_DRAWN = ("ROI", "Overlays")


@dataclass(frozen=True)
class TiffImage:
    """The image of a TIFF file, and its metadata.

    `data` is memory-mapped where possible; large compressed images are a zarr array that decodes on
    access, if zarr is installed. `axes` has tifffile's letters: T, Z, C, Y, X, S (samples of a
    pixel: colours or channels), Q. `options` are arguments of tifffile's writer that give a new
    file the same description. `remarks` are for users, a clause each. `ome` is the OME description
    of the file, which is edited for a new one; `storage` is how its pixels are stored.
    """

    data: Any
    axes: str
    options: Mapping[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    ome: OmeSource | None = None
    storage: Storage = PLAIN

    @property
    def channel_axis(self) -> int | None:
        """Position of the samples, or else of the channels."""
        for letter in "SC":
            if letter in self.axes:
                return self.axes.index(letter)
        return None

    @property
    def is_rgb(self) -> bool:
        """True if the channels are colours, with transparency or without.

        Samples that are not said to be colours are channels, and so are all samples of a pixel that
        has more than colours and transparency, such as near infrared.
        """
        is_colour = self.options.get("photometric") == "rgb"
        return "S" in self.axes and is_colour and self.options.get("extrasamples", []) in _ALPHA

    @property
    def orientation(self) -> int:
        """How rows and columns are to be shown (TIFF tag 274): 1 is as they are stored."""
        for code, _, _, value, *_ in self.options.get("extratags", ()):
            if code == ORIENTATION:
                return int(value)
        return 1

    def with_axes(self, axes: str) -> Self:
        """The same image with other letters of its axes.

        Samples of a pixel that are told to be channels stay samples, without colours. What ImageJ
        or OME have no place for is written without their descriptions.
        """
        if axes == self.axes:
            return self
        was_samples = self.axes.find("S")
        if was_samples >= 0 and axes[was_samples] == "C":
            axes = axes.replace("C", "S")
            return replace(self, axes=axes, options=_as_channels(self.options))
        return replace(self, axes=axes, options=_renamed(self.options, self.axes, axes))

    def enlarged(self, scale: int) -> TiffDescription:
        """Description of the file with `scale` times more pixels along Y and X."""
        shape = (
            n * scale if a in "YX" else n for a, n in zip(self.axes, self.data.shape, strict=True)
        )
        described = TiffDescription(tuple(shape), self.data.dtype, _finer(self.options, scale))
        edited = self._edited_ome(described, scale)
        if edited is None:
            return described
        own = {**described.options, "ome": False, "metadata": None, "description": edited}
        return replace(described, options=own)

    def _edited_ome(self, described: TiffDescription, scale: int) -> bytes | None:
        if self.ome is None or not self.options.get("ome"):
            return None
        return self.ome.described(self.axes, described.shape, described.dtype, scale)

    def stored(self, scale: int) -> Storage:
        """How a result is stored, with `scale` times more pixels along Y and X.

        ImageJ reads no BigTIFF, but what lies uncompressed behind the first page.
        """
        size = math.prod(self.data.shape) * np.dtype(self.data.dtype).itemsize * scale**2
        return PLAIN if self.options.get("imagej") and size > storage.CLASSIC else self.storage

    def written_remarks(self, scale: int) -> tuple[str, ...]:
        """What users should know of a TIFF file that is written from the image, a clause each."""
        told = [storage_remark(self.storage)]
        if self.stored(scale) != self.storage:
            told = ["is not compressed: ImageJ has no compressed files of more than 4 GB"]
        if scale != 1:
            metadata = self.options.get("metadata") or {}
            drawn = any(name in metadata for name in _IMAGEJ_DRAWN)
            lost = lost_tags(self.options.get("extratags", ()))
            drawn |= self.ome is not None and bool(self.options.get("ome")) and self.ome.has_rois
            lost += ["regions of interest"] * drawn
            told += [f"told in pixels of before, and left out: {', '.join(lost)}"] * bool(lost)
        return tuple(filter(None, told))


@dataclass(frozen=True)
class TiffDescription:
    """A file to write: shape, dtype, and arguments of tifffile's writer."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    options: Mapping[str, Any]


def _finer(options: Mapping[str, Any], scale: int) -> dict[str, Any]:
    """Options of a file with `scale` times more pixels along Y and X for the same length."""
    if scale == 1:
        return dict(options)
    finer = dict(options)
    if "resolution" in finer:
        finer["resolution"] = tuple((scale * n, d) for n, d in finer["resolution"])
    if finer.get("metadata"):
        finer["metadata"] = _finer_metadata(finer["metadata"], scale)
    if "extratags" in finer:
        finer["extratags"] = finer_tags(finer["extratags"], scale)
    if isinstance(finer.get("description"), bytes):
        finer["description"] = finer_description(finer["description"], scale)
    return finer


def _finer_metadata(metadata: Mapping[str, Any], scale: int) -> dict[str, Any]:
    factors = {
        **dict.fromkeys(("PhysicalSizeX", "PhysicalSizeY"), 1 / scale),
        **dict.fromkeys(_IMAGEJ_ORIGINS, scale),
    }
    finer = {key: value for key, value in metadata.items() if key not in _IMAGEJ_DRAWN}
    for key, factor in factors.items():
        if isinstance(finer.get(key), int | float):
            finer[key] *= factor
    return finer


def _as_channels(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of samples that are no colours, whatever the file calls them."""
    if options.get("photometric") != "rgb":
        return dict(options)
    beyond = ["unspecified"] * 2 + list(options.get("extrasamples", ()))
    kept = {key: value for key, value in options.items() if key != "imagej"}
    return {**kept, "photometric": "minisblack", "extrasamples": beyond}


def _renamed(options: Mapping[str, Any], before: str, axes: str) -> dict[str, Any]:
    """Options of a file whose axes have other letters than `before`."""
    renamed = dict(options)
    if "S" in axes and "S" not in before:
        is_last = axes.endswith("S")
        renamed |= {"photometric": "rgb", "planarconfig": "contig" if is_last else "separate"}
    if renamed.get("metadata") is None:  # a description of its own, which names no axes
        return renamed
    if renamed.get("imagej") and not fits_imagej(axes, renamed, is_8_bit="S" not in axes):
        del renamed["imagej"]
        renamed["metadata"] = {}
    if renamed.get("ome") and not set(axes) <= set("TCZYXS"):
        del renamed["ome"]
        renamed["metadata"] = {}
    left_out = ("Channel",) if ("C" in axes) != ("C" in before) else ()
    kept = {key: value for key, value in renamed["metadata"].items() if key not in left_out}
    renamed["metadata"] = {**kept, "axes": axes}
    return renamed


def fits_imagej(axes: str, options: Mapping[str, Any], *, is_8_bit: bool) -> bool:
    """True if ImageJ has a place for the axes, and for samples, which must be 8-bit colours."""
    is_colour = options["photometric"] == "rgb" and options.get("planarconfig") == "contig"
    if "S" in axes and not (is_colour and is_8_bit):
        return False
    places = ["TZCYXS".find(letter) for letter in axes]
    return places[0] >= 0 and places == sorted(places)


@contextmanager
def tiff_writer(
    path: Path, like: TiffImage, scale: int = 1, *, overwrite: bool = True
) -> Iterator[npt.NDArray[Any]]:
    """Give a memory-mapped array to fill, which becomes the file `path` if there is no error.

    Dtype, axes, metadata, compression and shape are those of `like`, with Y and X `scale` times
    longer. The file is renamed from beside `path`, which is whole or untouched, and not replaced if
    another one appeared there meanwhile unless `overwrite`; its space is reserved first, so that a
    full disk is noticed before any work. Raises `ImageFileError` if it cannot be written.
    """
    described, stored = like.enlarged(scale), like.stored(scale)
    is_big = path.suffix.lower() == BIG
    try:
        with replaced(path, overwrite=overwrite) as part:
            raw = part if stored.is_plain else beside(path, "raw")
            try:
                create_anew(raw)
                target = _create(raw, described, stored, is_big=is_big)
                yield target
                target.flush()
                if not stored.is_plain:
                    options = _with_room_for(described.dtype, described.options)
                    storage.store(part, target, stored, options, is_big=is_big)
                del target
            finally:
                if not stored.is_plain:
                    raw.unlink(missing_ok=True)
    except OSError as error:
        raise ImageFileError(f"{path} cannot be written: {error.strerror or error}") from error


def _create(
    path: Path, like: TiffDescription, stored: Storage, *, is_big: bool
) -> np.memmap[Any, Any]:
    # What is compressed lies beside its uncompressed form, and how small it gets is not known.
    twice = 1 if stored.is_plain else 2
    needed = twice * math.prod(like.shape) * like.dtype.itemsize
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        advice = "" if stored.is_plain else "; --compression none needs half as many"
        raise OSError(None, f"{needed} bytes are needed, {free} are free{advice}")
    options = _with_room_for(like.dtype, like.options)
    if is_big:
        options["bigtiff"] = True
    target = tifffile.memmap(path, shape=like.shape, dtype=like.dtype.newbyteorder("="), **options)
    # Writing to a memory map of a sparse file would kill the process on a full disk.
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return target


def _with_room_for(dtype: np.dtype[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Options without the colormap if the pixels are no longer its 8-bit numbers."""
    if options.get("photometric") != "palette" or dtype == np.uint8:
        return dict(options)
    others = {name: value for name, value in options.items() if name != "colormap"}
    return {**others, "photometric": "minisblack"}
