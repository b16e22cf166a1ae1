"""What a TIFF file says of its image, as arguments of tifffile's writer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree as ET

import tifffile

from napari_rednet.io.tiff.colours import colour_options

_CALIBRATION = ("PhysicalSize", "TimeIncrement")
# Entries that ImageJ writes itself, or that only describe the file that was read.
_IMAGEJ_COUNTS = ("ImageJ", "images", "channels", "slices", "frames", "hyperstack", "Properties")
# Entries with a part for each plane or each channel.
_IMAGEJ_PARTS = ("Labels", "Ranges", "LUTs")
# Entries that do not stand in the header, but in a tag of their own.
_IMAGEJ_UNICODE = ("Info", "Labels")
_DESCRIPTION = 270


def writer_options(
    file: tifffile.TiffFile,
    series: tifffile.TiffPageSeries,
    axes: str,
    kept: Mapping[str, Sequence[int]],
) -> dict[str, Any]:
    """Arguments of tifffile's writer that give a new file the same description.

    `axes` are those of the planes that are there, `kept` the indices that are left of the axis
    along which others are missing.
    """
    page = series.keyframe
    options = colour_options(page)
    tags = page.tags
    if "XResolution" in tags and "YResolution" in tags:
        options["resolution"] = (tags["XResolution"].value, tags["YResolution"].value)
        options["resolutionunit"] = tags["ResolutionUnit"].value if "ResolutionUnit" in tags else 1
    if file.is_imagej and _fits_imagej(series, axes, options):
        return {
            **options,
            "imagej": True,
            "metadata": {"axes": axes, **_imagej_metadata(file, kept)},
        }
    if file.ome_metadata and series.kind == "ome":
        return {
            **options,
            "ome": True,
            "metadata": {"axes": axes, **_ome_metadata(file, series, kept)},
        }
    told = _raw_description(file, page)
    if told and not (file.shaped_metadata or file.is_imagej or file.is_ome):
        return {**options, "description": told, "metadata": None}
    return {**options, "metadata": {"axes": axes}}


def _fits_imagej(series: tifffile.TiffPageSeries, axes: str, options: Mapping[str, Any]) -> bool:
    """True if ImageJ has a place for the axes, and for samples, which must be 8-bit colours."""
    is_colour = options["photometric"] == "rgb" and options.get("planarconfig") == "contig"
    if "S" in axes and not (is_colour and series.dtype.char == "B"):
        return False
    places = ["TZCYXS".find(letter) for letter in axes]
    return places[0] >= 0 and places == sorted(places)


def _raw_description(file: tifffile.TiffFile, page: tifffile.TiffPage) -> bytes:
    """The bytes of a description, since they need not be valid text."""
    tag = page.tags.get(_DESCRIPTION)
    if tag is None:
        return b""
    file.filehandle.seek(tag.valueoffset)
    return bytes(file.filehandle.read(tag.count)).rstrip(b"\0")


def _imagej_metadata(file: tifffile.TiffFile, kept: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    left_out = (*_IMAGEJ_COUNTS, *(_IMAGEJ_PARTS if kept else ()))
    found = {k: v for k, v in (file.imagej_metadata or {}).items() if k not in left_out}
    return {k: v if k in _IMAGEJ_UNICODE else _escaped(v) for k, v in found.items()}


def _escaped(value: Any) -> Any:
    r"""Text of an ImageJ header in ASCII, as ImageJ does it: \u00B5 for the micro sign."""
    if not isinstance(value, str):
        return value
    return "".join(c if c.isascii() else f"\\u{ord(c):04X}" for c in value)


def _ome_metadata(
    file: tifffile.TiffFile,
    series: tifffile.TiffPageSeries,
    kept: Mapping[str, Sequence[int]],
) -> dict[str, Any]:
    """Calibration and channel names of the OME description; tifffile rewrites the rest."""
    metadata: dict[str, Any] = {}
    pixels = ome_pixels(file, series)
    if pixels is None:
        return metadata
    for key, value in pixels.attrib.items():
        if key.startswith(_CALIBRATION):
            metadata[key] = value if key.endswith("Unit") else float(value)
    names = [channel.get("Name") for channel in pixels.findall("{*}Channel")]
    if "C" in series.axes and all(names):
        chosen = kept.get("C", range(len(names)))
        metadata["Channel"] = {"Name": [names[index] for index in chosen]}
    return metadata


def ome_pixels(file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> ET.Element | None:
    """What the OME description says of one image of the file."""
    root = ET.fromstring(file.ome_metadata or "<OME/>")  # noqa: S314 (tifffile has parsed it)
    images = root.findall("{*}Image")
    if len(images) == len(file.series):
        images = [images[file.series.index(series)]]
    named = [image for image in images if image.get("Name") == series.name]
    for image in named or images:
        return image.find("{*}Pixels")
    return None
