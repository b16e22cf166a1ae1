"""Writes TIFF files: their description first, then pixels into a memory map."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from napari_rednet.errors import ImageFileError
from napari_rednet.io.tiff.image import TiffDescription, TiffImage


@contextmanager
def tiff_writer(path: Path, like: TiffImage, scale: int = 1) -> Iterator[npt.NDArray[Any]]:
    """Give a memory-mapped array to fill, which becomes the file `path` if there is no error.

    Dtype, axes, metadata and shape are those of `like`, with Y and X `scale` times longer. The file
    is renamed from beside `path`, which is whole or untouched; its space is reserved first, so that
    a full disk is noticed before any work. Raises `ImageFileError` if it cannot be written.
    """
    beside = path.with_name(f".{path.name}.part")
    try:
        target = _create(beside, like.enlarged(scale))
        yield target
        target.flush()
        del target
        beside.replace(path)
    except OSError as error:
        raise ImageFileError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        beside.unlink(missing_ok=True)


def _create(path: Path, like: TiffDescription) -> np.memmap[Any, Any]:
    needed = math.prod(like.shape) * like.dtype.itemsize
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise OSError(None, f"{needed} bytes are needed, {free} are free")
    options = _with_room_for(like.dtype, like.options)
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
