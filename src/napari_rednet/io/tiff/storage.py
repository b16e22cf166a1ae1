"""How the pixels of a TIFF file are stored: compressed or not, in strips or in tiles."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from napari_rednet.errors import ImageFileError

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
