"""OME-TIFF images that are spread over several files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import tifffile

_COMPANION = ".companion.ome"


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
