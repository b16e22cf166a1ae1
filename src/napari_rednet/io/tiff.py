"""TIFF and OME-TIFF in and out, with axes, resolution and metadata."""

from __future__ import annotations

import logging
import math
import os
import shutil
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import numpy.typing as npt
import tifffile

from napari_rednet.errors import ImageFileError

SUFFIXES = (".tif", ".tiff")
# Compressed images up to this size in bytes are decoded at once.
_MOST_DECODED = 2**28
_CALIBRATION = ("PhysicalSize", "TimeIncrement")
# Entries that ImageJ writes itself, or that only describe the file that was read.
_IMAGEJ_COUNTS = ("ImageJ", "images", "channels", "slices", "frames", "hyperstack", "Properties")


@dataclass(frozen=True)
class TiffImage:
    """The image of a TIFF file, and its metadata.

    `data` is memory-mapped where possible; large compressed images are a zarr array that decodes on
    access, if zarr is installed. `axes` has tifffile's letters: T, Z, C, Y, X, S (colour samples),
    Q. `options` are arguments of tifffile's writer that give a new file the same description.
    """

    data: Any
    axes: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def channel_axis(self) -> int | None:
        """Position of the colour samples, or else of the channels."""
        for letter in "SC":
            if letter in self.axes:
                return self.axes.index(letter)
        return None

    @property
    def is_rgb(self) -> bool:
        """True if the channels are colours."""
        return "S" in self.axes

    def enlarged(self, scale: int) -> TiffDescription:
        """Description of the file with `scale` times more pixels along Y and X."""
        shape = (
            n * scale if a in "YX" else n for a, n in zip(self.axes, self.data.shape, strict=True)
        )
        return TiffDescription(tuple(shape), self.data.dtype, _finer(self.options, scale))


@dataclass(frozen=True)
class TiffDescription:
    """A file to write: shape, dtype, and arguments of tifffile's writer."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    options: Mapping[str, Any]


def read_tiff(path: Path) -> TiffImage:
    """Read the first image series of a TIFF file, in full resolution.

    Raises `ImageFileError` if the file is missing, damaged, or its last axes are not Y and X.
    """
    try:
        with _all_pages_or_error(), tifffile.TiffFile(path) as file:
            series = file.series[0]
            image = TiffImage(_data(file, series), series.axes, _options(file, series))
    except FileNotFoundError as error:
        raise ImageFileError(f"there is no file {path}") from error
    except Exception as error:  # damaged files make tifffile and its codecs raise many kinds
        raise ImageFileError(f"{path} cannot be read as TIFF: {error}") from error
    spatial = image.axes.replace("S", "").replace("C", "")
    if not spatial.endswith("YX"):
        raise ImageFileError(f"{path} has the axes {image.axes}; its last ones must be Y and X")
    return image


@contextmanager
def _all_pages_or_error() -> Iterator[None]:
    """Raise for truncated files, which tifffile only logs."""
    handler = _LostPages()
    tifffile.logger().addHandler(handler)
    try:
        yield
    finally:
        tifffile.logger().removeHandler(handler)
    if handler.messages:
        raise ValueError(f"pages are missing, the file may be cut off ({handler.messages[0]})")


class _LostPages(logging.Handler):
    """Collects tifffile's messages on missing pages."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "invalid page offset" in record.getMessage():
            self.messages.append(record.getMessage())


def _data(file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> Any:
    if _photometric(file) == "palette":
        raise ValueError("its pixels are numbers of colours (palette); convert it to gray or RGB")
    if series.dataoffset is None:
        return _decoded(file, series)
    end = series.dataoffset + series.size * series.dtype.itemsize
    if end > file.filehandle.size:
        raise ValueError(f"it is cut off: {end} bytes expected, {file.filehandle.size} found")
    return tifffile.memmap(file.filehandle.path, series=0, mode="r")


def _decoded(file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> Any:
    """Compressed or tiled pixels: decoded now, or on access if they are many."""
    if series.size * series.dtype.itemsize > _MOST_DECODED:
        with suppress(ImportError):
            import zarr

            store = tifffile.imread(file.filehandle.path, aszarr=True, series=0, level=0)
            array = zarr.open_array(store, mode="r")
            weakref.finalize(array, store.close)
            return array
    return np.asarray(series.asarray())


def _photometric(file: tifffile.TiffFile) -> str:
    return tifffile.PHOTOMETRIC(file.pages.first.photometric).name.lower()


def _options(file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> dict[str, Any]:
    page = file.pages.first
    options: dict[str, Any] = {"photometric": _photometric(file)}
    tags = page.tags
    if "XResolution" in tags and "YResolution" in tags:
        options["resolution"] = (tags["XResolution"].value, tags["YResolution"].value)
        options["resolutionunit"] = tags["ResolutionUnit"].value if "ResolutionUnit" in tags else 1
    if page.extrasamples:
        options["extrasamples"] = [
            tifffile.EXTRASAMPLE(sample).name.lower() for sample in page.extrasamples
        ]
    if file.is_imagej:
        return {**options, "imagej": True, "metadata": _imagej_metadata(file, series)}
    if file.ome_metadata:
        return {**options, "ome": True, "metadata": _ome_metadata(file.ome_metadata, series)}
    if page.description and not file.shaped_metadata:
        return {**options, "description": page.description, "metadata": None}
    return {**options, "metadata": {"axes": series.axes}}


def _imagej_metadata(file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> dict[str, Any]:
    found = {k: v for k, v in (file.imagej_metadata or {}).items() if k not in _IMAGEJ_COUNTS}
    return {"axes": series.axes, **found}


def _ome_metadata(xml: str, series: tifffile.TiffPageSeries) -> dict[str, Any]:
    """Calibration and channel names of the OME description; tifffile rewrites the rest."""
    metadata: dict[str, Any] = {"axes": series.axes}
    pixels = ET.fromstring(xml).find(".//{*}Pixels")  # noqa: S314 (tifffile has parsed it already)
    if pixels is None:
        return metadata
    for key, value in pixels.attrib.items():
        if key.startswith(_CALIBRATION):
            metadata[key] = value if key.endswith("Unit") else float(value)
    names = [channel.get("Name") for channel in pixels.findall("{*}Channel")]
    if "C" in series.axes and all(names):
        metadata["Channel"] = {"Name": names}
    return metadata


def _finer(options: Mapping[str, Any], scale: int) -> dict[str, Any]:
    """Options of a file with `scale` times more pixels along Y and X for the same length."""
    if scale == 1:
        return dict(options)
    finer = dict(options)
    if "resolution" in finer:
        finer["resolution"] = tuple((scale * n, d) for n, d in finer["resolution"])
    if finer.get("metadata"):
        metadata = dict(finer["metadata"])
        for key in ("PhysicalSizeX", "PhysicalSizeY"):
            if key in metadata:
                metadata[key] /= scale
        finer["metadata"] = metadata
    return finer


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
    target = tifffile.memmap(
        path, shape=like.shape, dtype=like.dtype.newbyteorder("="), **like.options
    )
    # Writing to a memory map of a sparse file would kill the process on a full disk.
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return target
