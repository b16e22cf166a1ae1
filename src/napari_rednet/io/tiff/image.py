"""A TIFF's image: its pixels, axes and colours, its metadata, and the file written from it."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self
from xml.etree import ElementTree as ET

import numpy as np
import numpy.typing as npt
import tifffile

from napari_rednet.errors import ImageFileError
from napari_rednet.files import replaced

_ALPHA: tuple[list[str], ...] = ([], ["assocalpha"], ["unassalpha"])
ORIENTATION = 274
"""The tag that says how rows and columns are to be shown."""
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


@dataclass(frozen=True)
class TiffImage:
    """The image of a TIFF file, and its metadata.

    `data` is memory-mapped where possible; large compressed images are a zarr array that decodes on
    access, if zarr is installed. `axes` has tifffile's letters: T, Z, C, Y, X, S (samples of a
    pixel: colours or channels), Q. `options` are arguments of tifffile's writer that give a new
    file the same description. `remarks` are for users, a clause each.
    """

    data: Any
    axes: str
    options: Mapping[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

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
        return TiffDescription(tuple(shape), self.data.dtype, _finer(self.options, scale))


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
        metadata = dict(finer["metadata"])
        for key in ("PhysicalSizeX", "PhysicalSizeY"):
            if key in metadata:
                metadata[key] /= scale
        finer["metadata"] = metadata
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
    if renamed.get("imagej") and not _fits_imagej(axes, renamed, is_8_bit="S" not in axes):
        del renamed["imagej"]
        renamed["metadata"] = {}
    if renamed.get("ome") and not set(axes) <= set("TCZYXS"):
        del renamed["ome"]
        renamed["metadata"] = {}
    left_out = ("Channel",) if ("C" in axes) != ("C" in before) else ()
    kept = {key: value for key, value in renamed["metadata"].items() if key not in left_out}
    renamed["metadata"] = {**kept, "axes": axes}
    return renamed


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
    options = colour_options(page)
    tags = page.tags
    if "XResolution" in tags and "YResolution" in tags:
        options["resolution"] = (tags["XResolution"].value, tags["YResolution"].value)
        options["resolutionunit"] = tags["ResolutionUnit"].value if "ResolutionUnit" in tags else 1
    if file.is_imagej and _fits_imagej(axes, options, is_8_bit=series.dtype.char == "B"):
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


def _fits_imagej(axes: str, options: Mapping[str, Any], *, is_8_bit: bool) -> bool:
    """True if ImageJ has a place for the axes, and for samples, which must be 8-bit colours."""
    is_colour = options["photometric"] == "rgb" and options.get("planarconfig") == "contig"
    if "S" in axes and not (is_colour and is_8_bit):
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


@contextmanager
def tiff_writer(
    path: Path, like: TiffImage, scale: int = 1, *, overwrite: bool = True
) -> Iterator[npt.NDArray[Any]]:
    """Give a memory-mapped array to fill, which becomes the file `path` if there is no error.

    Dtype, axes, metadata and shape are those of `like`, with Y and X `scale` times longer. The file
    is renamed from beside `path`, which is whole or untouched; its space is reserved first, so that
    a full disk is noticed before any work. Unless `overwrite`, a file that appears meanwhile stays.
    Raises `ImageFileError` if it cannot be written, and `BusyError` if another job writes it.
    """
    try:
        with replaced(path, overwrite=overwrite) as beside:
            target = _create(beside, like.enlarged(scale))
            yield target
            target.flush()
            del target
    except OSError as error:
        raise ImageFileError(f"{path} cannot be written: {error.strerror or error}") from error


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
