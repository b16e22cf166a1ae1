"""Reads images of TIFF files, OME-TIFF images that are spread over several files among them."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import tifffile

from napari_rednet.errors import ImageFileError
from napari_rednet.io.tiff.image import TiffImage, writer_options
from napari_rednet.io.tiff.planes import Missing, images_of, whole_planes

_COMPANION = ".companion.ome"
# Compressed images up to this size in bytes are decoded at once.
_MOST_DECODED = 2**28


def open_tiff(path: Path, *, alone: bool = False) -> tifffile.TiffFile:
    """Open a TIFF file; one that only refers to a description of its image, with that.

    Raises `ValueError` if the description is missing, unless the file may be taken `alone`.
    """
    with tifffile.TiffFile(path) as file:
        name = _described_in(file.ome_metadata)
    if name is None:
        return tifffile.TiffFile(path)
    place = path.parent / name
    if not place.is_file():
        if alone:
            return tifffile.TiffFile(path)
        raise ValueError(
            f"the file that describes the image is missing: {name}; missing='skip' "
            "(--missing skip) takes this file for itself"
        )
    if place.name.lower().endswith(_COMPANION):
        return tifffile.TiffFile(path, omexml=place.read_text(encoding="utf-8"))
    return tifffile.TiffFile(place)  # the first of the files, which has pixels as well


def _described_in(xml: str | None) -> str | None:
    """Name of the file with the description, if an OME description only refers to it."""
    only = None if not xml or "BinaryOnly" not in xml else _root(xml).find("{*}BinaryOnly")
    return None if only is None else only.get("MetadataFile")


def _root(xml: str) -> ET.Element:
    try:
        return ET.fromstring(xml)  # noqa: S314 (tifffile parses it as well)
    except ET.ParseError:
        return ET.Element("OME")


def first_file(path: Path) -> Path:
    """The first file there is of the image that a TIFF file is a part of; often the file itself.

    A file in which one of several images begins is the first of that image.
    """
    try:
        with open_tiff(path, alone=True) as file:
            firsts = list(_first_files(file.ome_metadata or "", path.parent))
    except Exception:  # noqa: BLE001 (damaged files are told when they are restored)
        return path
    names = {first.name for first in firsts}
    return path if not firsts or path.name in names else firsts[0]


def _first_files(xml: str, folder: Path) -> Iterator[Path]:
    """For each image of an OME description, the first of its files that is there."""
    for image in _root(xml).findall("{*}Image"):
        parts = image.iterfind("{*}Pixels/{*}TiffData/{*}UUID")
        places = (folder / str(part.get("FileName")) for part in parts)
        first = next((place for place in places if place.is_file()), None)
        if first is not None:
            yield first


def read_tiff(path: Path, series: int = 0, missing: Missing = "error") -> TiffImage:
    """Read an image of a TIFF file, in full resolution.

    Parameters
    ----------
    path : Path
        The file.
    series : int
        Which of its images, counted from 0. Small copies, such as thumbnails and the levels of a
        pyramid, do not count.
    missing : {'error', 'skip'}
        What to do if planes are missing which the file declares: fail, or leave them out.

    Raises
    ------
    ImageFileError
        If the file is missing or damaged, if it does not hold all that it declares, if its samples
        are not intensities, or if its last axes are not Y and X.
    """
    with _named(path), _lost_pages_told(missing), ExitStack() as files:
        file = files.enter_context(open_tiff(path, alone=missing == "skip"))
        images = images_of(file)
        if series not in range(len(images)):
            raise ValueError(f"it has {len(images)} images, counted from 0, and none is {series}")
        planes = whole_planes(file, images[series], missing)
        options = writer_options(file, images[series], planes.series.axes, planes.kept)
        remarks = planes.remarks
        if len(images) > 1:
            told = f"image {series} of {len(images)}, counted from 0; --series takes others"
            remarks = (told, *remarks)
        image = TiffImage(_data(planes.series, files), planes.series.axes, options, remarks)
    spatial = image.axes.replace("S", "").replace("C", "")
    if not spatial.endswith("YX"):
        raise ImageFileError(f"{path} has the axes {image.axes}; its last ones must be Y and X")
    return image


def count_images(path: Path) -> int:
    """Number of images in a TIFF file; raises `ImageFileError` if it cannot be read."""
    with _named(path), _lost_pages_told("skip"), open_tiff(path, alone=True) as file:
        return len(images_of(file))


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn any error into an `ImageFileError` that names the file."""
    try:
        yield
    except FileNotFoundError as error:
        raise ImageFileError(f"there is no file {path}") from error
    except Exception as error:  # damaged files make tifffile and its codecs raise many kinds
        advice = ": pip install imagecodecs" if "'imagecodecs' package" in str(error) else ""
        raise ImageFileError(f"{path} cannot be read as TIFF: {error}{advice}") from error


@contextmanager
def _lost_pages_told(missing: Missing) -> Iterator[None]:
    """Raise for truncated files, which tifffile only logs, unless planes may be missing."""
    handler = _LostPages()
    tifffile.logger().addHandler(handler)
    try:
        yield
    finally:
        tifffile.logger().removeHandler(handler)
    if handler.messages and missing == "error":
        raise ValueError(
            f"pages are missing, the file may be cut off ({handler.messages[0]}); missing='skip' "
            "(--missing skip) takes those that are there"
        )


class _LostPages(logging.Handler):
    """Collects tifffile's messages on missing pages."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "invalid page offset" in record.getMessage():
            self.messages.append(record.getMessage())


def _data(series: tifffile.TiffPageSeries, files: ExitStack) -> Any:
    """Pixels: mapped, decoded now, or decoded on access if they are many."""
    if series.dataoffset is not None:
        file = series.keyframe.parent
        dtype = np.dtype(file.byteorder + series.dtype.char)
        place = file.filehandle.path
        return np.memmap(place, dtype, "r", series.dataoffset, series.shape)
    if series.nbytes > _MOST_DECODED:
        with suppress(ImportError):
            import zarr

            array = zarr.open_array(series.aszarr(level=0), mode="r")
            weakref.finalize(array, files.pop_all().close)
            return array
    return np.asarray(series.asarray())
