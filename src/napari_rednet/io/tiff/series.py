"""Which images a TIFF file has."""

from __future__ import annotations

import math
from collections.abc import Iterator
from xml.etree import ElementTree as ET

import tifffile

from napari_rednet.io.tiff.planes import check_count

# Pictures that scanners of slides store beside the image.
_BESIDE = ("Thumbnail", "Label", "Macro", "Map", "Overview")


def images_of(file: tifffile.TiffFile) -> list[tifffile.TiffPageSeries]:
    """Images of a file in full resolution, without masks and small copies.

    A file that has nothing else, such as a camera's raw file, has its image in a SubIFD. Raises
    `ValueError` if the file has no image.
    """
    # tifffile makes a list of all planes that an OME description counts.
    check_count(max(_plane_counts(file.ome_metadata or ""), default=0))
    if not file.series:
        raise ValueError("it has no image")
    full = [series for series in file.series if not _is_beside(series)]
    own = [series for series in full if not series.keyframe.is_subifd]
    images = own or full or list(file.series)
    # Each file of a set describes all its images: those that begin here are meant.
    return [series for series in images if _begins_in(file, series)] or images


def _begins_in(file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> bool:
    if not series.is_multifile and series.keyframe.parent is file:
        return True
    first = next(page for page in series if page is not None)
    return bool(first.parent.filehandle.path == file.filehandle.path)


def _is_beside(series: tifffile.TiffPageSeries) -> bool:
    page = series.keyframe
    is_picture = series.kind != "ome" and series.name in _BESIDE
    return page.is_reduced or page.is_mask or is_picture


def _plane_counts(xml: str) -> Iterator[int]:
    """How many planes each part of an OME description declares."""
    try:
        root = ET.fromstring(xml)  # noqa: S314 (tifffile parses it as well)
    except ET.ParseError:
        return
    for pixels in root.findall("{*}Image/{*}Pixels"):
        yield math.prod(int(pixels.get(f"Size{axis}", 1)) for axis in "ZCT")
        for data in pixels.findall("{*}TiffData"):
            yield int(data.get("PlaneCount") or data.get("NumPlanes") or 1)
