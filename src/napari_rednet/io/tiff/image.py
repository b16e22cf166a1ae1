"""A TIFF's image: its pixels, axes, colours and compression; the file written from it."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import tifffile

from napari_rednet.errors import ImageFileError
from napari_rednet.files import beside, create_anew, replaced
from napari_rednet.io.tiff.description import (
    ORIENTATION,
    finer_description,
    finer_tags,
    fits_imagej,
    lost_tags,
)
from napari_rednet.io.tiff.ome import OmeSource

COMPRESSIONS = ("none", "deflate", "lzw", "zstd", "lzma", "packbits")
"""Those that lose nothing, by their names on the command line."""
_WRITTEN = {"deflate": "zlib"}
_READ = {
    1: "none", 5: "lzw", 8: "deflate", 32946: "deflate", 32773: "packbits",
    34925: "lzma", 34926: "zstd", 50000: "zstd",
}  # fmt: skip
_PREDICTORS = ("deflate", "lzw", "zstd", "lzma")
CLASSIC = 2**32 - 2**25
"""Bytes of pixels that a classic TIFF file has room for."""
BIG = ".btf"
"""Suffix of files that are BigTIFF, whatever their size."""
_ALPHA: tuple[list[str], ...] = ([], ["assocalpha"], ["unassalpha"])
# Places in pixels, and what is drawn over the image.
_IMAGEJ_ORIGINS = ("xorigin", "yorigin")
_IMAGEJ_DRAWN = ("ROI", "Overlays")


@dataclass(frozen=True)
class Storage:
    """How pixels are stored.

    `compression` is one of `COMPRESSIONS`, `predictor` says whether differences are compressed
    instead of values; `tile` has rows and columns, None for strips. `told` is the name of what the
    file was compressed by, if that cannot be used again.
    """

    compression: str = "none"
    predictor: bool = False
    tile: tuple[int, int] | None = None
    told: str = ""

    @property
    def is_plain(self) -> bool:
        """True if pixels lie in the file as they are, one after the other."""
        return self.compression == "none" and self.tile is None

    def compressed(self, compression: str) -> Storage:
        """The same with another compression; raises `ImageFileError` if it is unknown."""
        if compression not in COMPRESSIONS:
            raise ImageFileError(
                f"a TIFF file is compressed by {', '.join(COMPRESSIONS[:-1])} or "
                f"{COMPRESSIONS[-1]}, not by {compression}"
            )
        return replace(self, compression=compression, predictor=True, told="")

    def options(self, dtype: np.dtype[Any]) -> dict[str, Any]:
        """Arguments of tifffile's writer, for pixels of a type."""
        options: dict[str, Any] = {} if self.tile is None else {"tile": self.tile}
        if self.compression == "none":
            return options
        options["compression"] = _WRITTEN.get(self.compression, self.compression)
        wanted = self.predictor and self.compression in _PREDICTORS and dtype.kind in "iuf"
        for predictor in (True, False) if wanted else (False,):
            if _is_possible(options["compression"], dtype, predictor=predictor):
                return {**options, "predictor": predictor}
        if self.compression == "deflate":  # which needs nothing else
            return options
        raise ImageFileError(f"{self.compression} needs: pip install imagecodecs")


PLAIN = Storage()
"""Uncompressed, as nothing is known of a file."""


def _is_possible(compression: str, dtype: np.dtype[Any], *, predictor: bool) -> bool:
    """Try, since what can be written depends on what is installed."""
    try:
        values = np.zeros((16, 16), dtype)
        tifffile.imwrite(BytesIO(), values, compression=compression, predictor=predictor)
    except Exception:  # noqa: BLE001 (codecs raise all kinds)
        return False
    return True


def storage_of(page: tifffile.TiffPage) -> Storage:
    """How a page is stored, or by what loses nothing instead.

    What was compressed with losses, or in a way that is not written here, is compressed by deflate.
    """
    compression = _READ.get(int(page.compression), "")
    told = "" if compression else _name(page)
    tile = (page.tilelength, page.tilewidth) if page.is_tiled else None
    if tile is not None and any(n % 16 for n in tile):
        tile = None
    storage = Storage(compression or "deflate", page.predictor in (2, 3) or bool(told), tile, told)
    try:
        storage.options(np.dtype(page.dtype or np.uint8))
    except ImageFileError:  # without imagecodecs
        return replace(storage, compression="deflate", told=storage.compression)
    return storage


def _name(page: tifffile.TiffPage) -> str:
    try:
        return tifffile.COMPRESSION(page.compression).name
    except ValueError:
        return f"compression {page.compression}"


def storage_remark(storage: Storage) -> str:
    """What users should know of how a result is stored; empty if it is as it was."""
    return f"was compressed by {storage.told}, and is by {storage.compression}" * bool(storage.told)


def store(
    path: Path,
    pixels: npt.NDArray[Any],
    storage: Storage,
    options: Mapping[str, Any],
    *,
    is_big: bool = False,
) -> None:
    """Write an array that may lie in a file of its own, page by page or tile by tile.

    The file is a BigTIFF if it must be, or if `is_big` says so.
    """
    written = dict(options)
    is_imagej, is_ome = (bool(written.pop(key, False)) for key in ("imagej", "ome"))
    is_big = (is_big or pixels.nbytes > CLASSIC) and not is_imagej
    how = storage.options(pixels.dtype)
    if "tile" in how:
        pieces = _tiles(pixels, how["tile"], written)
    else:
        count = math.prod(pixels.shape[: -_page_axes(written)])
        pieces = iter(pixels.reshape(count, *pixels.shape[-_page_axes(written) :]))
    with tifffile.TiffWriter(path, bigtiff=is_big, imagej=is_imagej, ome=is_ome) as file:
        file.write(pieces, shape=pixels.shape, dtype=pixels.dtype, **written, **how)


def _page_axes(options: Mapping[str, Any]) -> int:
    """How many of the last axes are those of a page."""
    return 3 if "planarconfig" in options else 2


def _tiles(
    pixels: npt.NDArray[Any], tile: tuple[int, int], options: Mapping[str, Any]
) -> Iterator[npt.NDArray[Any]]:
    """Tiles in the order of the file, whole ones at the borders, too."""
    is_contiguous = options.get("planarconfig") == "contig"
    samples = pixels.shape[-1:] if is_contiguous else ()
    height, width = pixels.shape[-3:-1] if is_contiguous else pixels.shape[-2:]
    for plane in pixels.reshape(-1, height, width, *samples):
        for y in range(0, height, tile[0]):
            for x in range(0, width, tile[1]):
                part = plane[y : y + tile[0], x : x + tile[1]]
                missing = [(0, n - m) for n, m in zip(tile, part.shape[:2], strict=True)]
                yield np.pad(part, [*missing, *((0, 0) for _ in samples)])


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
        return PLAIN if self.options.get("imagej") and size > CLASSIC else self.storage

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


@contextmanager
def tiff_writer(
    path: Path, like: TiffImage, scale: int = 1, *, overwrite: bool = True
) -> Iterator[npt.NDArray[Any]]:
    """Give a memory-mapped array to fill, which becomes the file `path` if there is no error.

    Dtype, axes, metadata, compression and shape are those of `like`, with Y and X `scale` times
    longer. The file is renamed from beside `path`, which is whole or untouched, and replaced only
    with `overwrite`; its space is reserved first, so that a full disk is noticed before any work.
    Raises `ImageFileError` if it cannot be written.
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
                    store(part, target, stored, options, is_big=is_big)
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
