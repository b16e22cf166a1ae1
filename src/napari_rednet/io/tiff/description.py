"""What a TIFF file says of its pixels: tags, colours, axes, sizes; as its writer takes it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import numpy.typing as npt
import tifffile

from napari_rednet.io.tiff.ome import LETTERS, OmeSource, channel_colour, colour_number

_JPEG = (6, 7, 33007, 34892)
_INTENSITIES = ("minisblack", "miniswhite", "rgb")
_ADVICE = "convert it to gray or RGB"
# How far the colours of a display palette may be from one straight line through black.
_ONE_COLOUR = 0.02
_NAMES = {
    "ycbcr": "YCbCr without JPEG",
    "separated": "inks (CMYK)",
    "cielab": "CIELab",
    "icclab": "ICCLab",
    "itulab": "ITULab",
    "cfa": "a mosaic (CFA) of a camera",
}
_CALIBRATION = ("PhysicalSize", "TimeIncrement")
# Entries that ImageJ writes itself, or that only describe the file that was read.
_IMAGEJ_COUNTS = ("ImageJ", "images", "channels", "slices", "frames", "hyperstack", "Properties")
# Entries with a part for each plane or each channel.
_IMAGEJ_PARTS = ("Labels", "Ranges", "LUTs")
# Entries that do not stand in the header, but in a tag of their own.
_IMAGEJ_UNICODE = ("Info", "Labels")
_DESCRIPTION = 270
# Descriptions of the shape by tifffile, which does not read its files if they are damaged.
_SHAPED = (b'{"shape"', b"shape=(")
Tag = tuple[int, int, int, Any, bool]
"""As tifffile's writer takes it: code, type, count, value, only for the first page."""
SOFTWARE, ICC_PROFILE = 305, 34675
_KEPT = {
    269: "DocumentName", 271: "Make", 272: "Model", 285: "PageName", 306: "DateTime",
    315: "Artist", 316: "HostComputer", 700: "XMP", 33432: "Copyright",
    33550: "ModelPixelScale", 33723: "IPTC", 33922: "ModelTiepoint", 34118: "CZ_SEM",
    34264: "ModelTransformation", 34377: "Photoshop", 34680: "FEI_SFEG", 34682: "FEI_HELIOS",
    34735: "GeoKeyDirectory", 34736: "GeoDoubleParams", 34737: "GeoAsciiParams",
    42112: "GDAL_METADATA", 42113: "GDAL_NODATA", 51123: "MicroManagerMetadata",
}  # fmt: skip
# What microscopes write of pixels in their own ways, which cannot be scaled here.
_OF_PIXELS = (34118, 34680, 34682, 51123)
_PIXEL_SCALE, _TIEPOINTS, _TRANSFORMATION, _GEO_KEYS = 33550, 33922, 34264, 34735
_RASTER_TYPE, _POINTS = 1025, 2
# Types whose bytes are taken as they are: bytes, text, undefined.
_BYTES = (1, 2, 6, 7)
_MICRONS = re.compile(rb"(\bMPP\s*=\s*)([0-9.]+(?:[eE][-+]?\d+)?)")
_METRE = 1e6  # in micrometres
_MICROMETRES = ("um", "µm", "μm", "micron", "microns", "micrometer", "microns/pixel")
ORIENTATION = 274
"""The tag that says how rows and columns are to be shown."""


def colour_options(page: tifffile.TiffPage) -> dict[str, Any]:
    """Arguments of tifffile's writer on the samples of a page as they are decoded.

    Raises `ValueError` if the samples are not intensities.
    """
    kind = _photometric(page)
    options: dict[str, Any] = {"photometric": kind}
    if kind == "palette":
        options["colormap"] = display_colormap(page)
    if page.samplesperpixel > 1:
        options["planarconfig"] = "separate" if page.planarconfig == 2 else "contig"
        options |= _extra_samples(page, kind)
    if ORIENTATION in page.tags and page.tags[ORIENTATION].value in range(2, 9):
        options["extratags"] = [(ORIENTATION, 3, 1, page.tags[ORIENTATION].value, False)]
    return options


def _photometric(page: tifffile.TiffPage) -> str:
    """Colour space of the decoded samples, by tifffile's name in small letters."""
    try:
        kind = tifffile.PHOTOMETRIC(page.photometric).name.lower()
    except ValueError:
        kind = f"photometric {page.photometric}"
    if kind == "ycbcr" and _decodes_to_rgb(page):
        return "rgb"
    if kind not in (*_INTENSITIES, "palette"):
        raise ValueError(f"its colours are stored as {_NAMES.get(kind, kind)}; {_ADVICE}")
    return kind


def _decodes_to_rgb(page: tifffile.TiffPage) -> bool:
    """True if the JPEG decoder converts luminance and chrominance, which stand in one segment."""
    return page.compression in _JPEG and page.planarconfig == 1 and not page.extrasamples


def _extra_samples(page: tifffile.TiffPage, kind: str) -> dict[str, list[str]]:
    """Names of the samples beyond colours or gray, which the page may leave out."""
    count = page.samplesperpixel - (3 if kind == "rgb" else 1)
    if count == 0:
        return {}
    names = [tifffile.EXTRASAMPLE(sample).name.lower() for sample in page.extrasamples]
    otherwise = "unassalpha" if (kind, count) == ("rgb", 1) else "unspecified"
    return {"extrasamples": (names + [otherwise] * count)[:count]}


def display_colormap(page: tifffile.TiffPage) -> npt.NDArray[np.uint16]:
    """The palette of a page whose 8-bit pixels are intensities, shown in shades of one colour.

    Raises `ValueError` if pixels are numbers of colours.
    """
    colormap = page.colormap
    if colormap is None or page.dtype != np.uint8 or colormap.shape != (3, 256):
        raise ValueError(f"its pixels are numbers of colours (palette); {_ADVICE}")
    if not _shades_of_one_colour(colormap.astype(float) / 65535):
        raise ValueError(f"its pixels are numbers of colours (palette); {_ADVICE}")
    return np.asarray(colormap, np.uint16)


def _shades_of_one_colour(colormap: npt.NDArray[np.float64]) -> bool:
    """True if brightness goes one way and colours differ by brightness only."""
    brightest = colormap[:, np.argmax(colormap.sum(0))]
    length = float(brightest @ brightest)
    if length == 0:
        return False
    shades = brightest @ colormap / length
    steps = np.diff(shades)
    is_ramp = bool((steps >= 0).all() or (steps <= 0).all())
    return is_ramp and bool(np.abs(np.outer(brightest, shades) - colormap).max() < _ONE_COLOUR)


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
    own = vendor_options(file, series, axes)
    if own is not None:
        return own
    options = colour_options(page)
    tags = page.tags
    options["extratags"] = [*options.get("extratags", ()), *kept_tags(page)]
    if SOFTWARE in tags:
        options["software"] = raw_bytes(page, tags[SOFTWARE]).rstrip(b"\0")
    if ICC_PROFILE in tags:
        options["iccprofile"] = raw_bytes(page, tags[ICC_PROFILE])
    if "XResolution" in tags and "YResolution" in tags:
        options["resolution"] = (tags["XResolution"].value, tags["YResolution"].value)
        options["resolutionunit"] = tags["ResolutionUnit"].value if "ResolutionUnit" in tags else 1
    if file.is_imagej and fits_imagej(axes, options, is_8_bit=series.dtype.char == "B"):
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
    told = raw_bytes(page, tags[_DESCRIPTION]).rstrip(b"\0") if _DESCRIPTION in tags else b""
    is_own = any(one.is_imagej or one.is_ome for one in (file, page)) or told.startswith(_SHAPED)
    if told and not is_own:
        return {**options, "description": told, "metadata": None}
    return {**options, "metadata": {"axes": axes}}


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
    found = pixels.findall("{*}Channel")
    chosen = [found[i] for i in kept.get("C", range(len(found))) if i < len(found)]
    names = [channel.get("Name") for channel in chosen]
    colours = [channel_colour(channel) for channel in chosen]
    if "C" in series.axes and chosen:
        told: dict[str, Any] = {"Name": names} if all(names) else {}
        if None not in colours:
            told["Color"] = [colour_number(str(colour)) for colour in colours]
        metadata |= {"Channel": told} if told else {}
    return metadata


def ome_source(
    file: tifffile.TiffFile,
    series: tifffile.TiffPageSeries,
    planes: tifffile.TiffPageSeries,
    kept: Mapping[str, Sequence[int]],
) -> OmeSource | None:
    """The OME description of an image of the file, of which `planes` are there."""
    if series.kind != "ome" or not file.ome_metadata:
        return None
    number = _ome_number(file, series)
    if number is None:
        return None
    shape = tuple(int(n) for n in planes.shape)
    return OmeSource(file.ome_metadata, number, planes.axes, shape, np.dtype(series.dtype), kept)


def _ome_number(file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> int | None:
    """Which of the images of the OME description an image of the file is."""
    root = ET.fromstring(file.ome_metadata or "<OME/>")  # noqa: S314 (tifffile has parsed it)
    images = root.findall("{*}Image")
    if len(images) == len(file.series):
        return file.series.index(series)
    named = [i for i, image in enumerate(images) if image.get("Name") == series.name]
    return next(iter(named or range(len(images))), None)


def ome_pixels(file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> ET.Element | None:
    """What the OME description says of one image of the file."""
    number = _ome_number(file, series)
    root = ET.fromstring(file.ome_metadata or "<OME/>")  # noqa: S314 (tifffile has parsed it)
    return None if number is None else root.findall("{*}Image")[number].find("{*}Pixels")


def kept_tags(page: tifffile.TiffPage) -> list[Tag]:
    """Tags of a page that a result keeps; they follow those on its colours."""
    return [_copied(page, page.tags[code]) for code in _KEPT if code in page.tags]


def raw_bytes(page: tifffile.TiffPage, tag: tifffile.TiffTag) -> bytes:
    """The bytes of a tag, since text need not be valid."""
    file = page.parent.filehandle
    was_closed = file.closed  # as those of a set are, but for one
    if was_closed:
        file.open()
    try:
        file.seek(tag.valueoffset)
        return bytes(file.read(tag.valuebytecount))
    finally:
        if was_closed:
            file.close()


def _copied(page: tifffile.TiffPage, tag: tifffile.TiffTag) -> Tag:
    kind = int(tag.dtype)
    value = raw_bytes(page, tag) if kind in _BYTES else tag.value
    return tag.code, kind, tag.count, value, True


def finer_tags(tags: Sequence[Tag], scale: int) -> list[Tag]:
    """Tags of a file with `scale` times more pixels along Y and X for the same place.

    What microscopes tell of pixels in their own ways is left out (`lost_tags`).
    """
    return list(tags) if scale == 1 else list(_finer(tags, scale))


def lost_tags(tags: Sequence[Tag]) -> list[str]:
    """Names of the tags that a file with smaller pixels cannot keep."""
    return [_KEPT[code] for code, *_ in tags if code in _OF_PIXELS]


def _finer(tags: Sequence[Tag], scale: int) -> Iterator[Tag]:
    shift = (scale - 1) / 2 if _are_points(tags) else 0.0
    for code, kind, count, value, once in tags:
        if code in _OF_PIXELS:
            continue
        numbers = list(value) if isinstance(value, tuple) else value
        if code == _PIXEL_SCALE:
            numbers[:2] = [number / scale for number in numbers[:2]]
        elif code == _TIEPOINTS:
            for start in range(0, len(numbers), 6):
                place = numbers[start : start + 2]
                numbers[start : start + 2] = [scale * number + shift for number in place]
        elif code == _TRANSFORMATION:
            for row in range(0, len(numbers), 4):
                along = [number / scale for number in numbers[row : row + 2]]
                numbers[row : row + 2] = along
                numbers[row + 3] -= shift * sum(along)
        yield code, kind, count, tuple(numbers) if isinstance(value, tuple) else value, once


def _are_points(tags: Sequence[Tag]) -> bool:
    """True if places are those of the centres of pixels (GeoTIFF's PixelIsPoint)."""
    for code, _, _, value, _ in tags:
        if code == _GEO_KEYS:
            keys = [tuple(value[i : i + 4]) for i in range(4, len(value), 4)]
            return (_RASTER_TYPE, 0, 1, _POINTS) in keys
    return False


def finer_description(description: bytes, scale: int) -> bytes:
    """A description of another program with the size of pixels that a result has (Aperio's)."""

    def divided(found: re.Match[bytes]) -> bytes:
        return found[1] + f"{float(found[2]) / scale:.6g}".encode()

    return description if scale == 1 else _MICRONS.sub(divided, description)


def vendor_options(
    file: tifffile.TiffFile, series: tifffile.TiffPageSeries, axes: str
) -> dict[str, Any] | None:
    """Arguments of tifffile's writer for a file that OME can describe; None for other files.

    Samples of LSM files are channels, whatever the tags say of their colours.
    """
    if series.kind == "lsm" and file.lsm_metadata:
        metadata = _lsm(file.lsm_metadata)
    elif series.kind == "stk" and file.stk_metadata:
        metadata = _stk(file.stk_metadata)
    else:
        return None
    options: dict[str, Any] = {"photometric": "minisblack"}
    if not set(axes) <= set(LETTERS):
        return {**options, "metadata": {"axes": axes}}
    if "C" not in axes:
        metadata.pop("Channel", None)
    return {**options, "ome": True, "metadata": {"axes": axes, **metadata}}


def _lsm(told: Mapping[str, Any]) -> dict[str, Any]:
    found = _sizes({axis: _METRE * float(told.get(f"VoxelSize{axis}", 0)) for axis in "XYZ"})
    interval = float(told.get("TimeIntervall", 0))  # as the format spells it
    if interval > 0:
        found |= {"TimeIncrement": interval, "TimeIncrementUnit": "s"}
    channels = told.get("ChannelColors") or {}
    names, colours = channels.get("ColorNames", ()), channels.get("Colors", ())
    if names or colours:
        rgb = ["".join(f"{int(value) & 255:02X}" for value in colour[:3]) for colour in colours]
        numbers = [colour_number(colour) for colour in rgb]
        parts = {"Name": [str(name) for name in names], "Color": numbers}
        found["Channel"] = {key: values for key, values in parts.items() if values}
    return found


def _stk(told: Mapping[str, Any]) -> dict[str, Any]:
    if str(told.get("CalibrationUnits", "")).strip().lower() not in _MICROMETRES:
        return {}
    distances = [abs(float(n)) for n in told.get("ZDistance", ())]
    sizes = {axis: float(told.get(f"{axis}Calibration", 0)) for axis in "XY"}
    return _sizes({**sizes, "Z": distances[0] if distances else 0.0})


def _sizes(sizes: Mapping[str, float]) -> dict[str, Any]:
    """Lengths in micrometres as OME tells them; none if they are not positive."""
    found: dict[str, Any] = {}
    for axis, size in sizes.items():
        if size > 0:
            found |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": "µm"}
    return found


def microns_per_pixel(description: bytes) -> float | None:
    """The size of pixels that a description of Aperio tells; None if it does not."""
    found = _MICRONS.search(description)
    return float(found[2]) if found else None


def fits_imagej(axes: str, options: Mapping[str, Any], *, is_8_bit: bool) -> bool:
    """True if ImageJ has a place for the axes, and for samples, which must be 8-bit colours."""
    is_colour = options["photometric"] == "rgb" and options.get("planarconfig") == "contig"
    if "S" in axes and not (is_colour and is_8_bit):
        return False
    places = ["TZCYXS".find(letter) for letter in axes]
    return places[0] >= 0 and places == sorted(places)
