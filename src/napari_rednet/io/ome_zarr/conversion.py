"""Convert descriptions of images between TIFF and OME-Zarr."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from napari_rednet.errors import ImageFileError
from napari_rednet.io.ome_zarr.image import ZarrImage, described_axis
from napari_rednet.io.tiff import TiffImage
from napari_rednet.io.tiff.description import microns_per_pixel
from napari_rednet.io.tiff.image import Storage
from napari_rednet.io.tiff.ome import colour_number

_PREFIXES = {
    "yocto": "y", "zepto": "z", "atto": "a", "femto": "f", "pico": "p", "nano": "n", "micro": "µ",
    "milli": "m", "centi": "c", "deci": "d", "": "", "hecto": "h", "kilo": "k", "mega": "M",
    "giga": "G", "tera": "T", "peta": "P", "exa": "E", "zetta": "Z", "yotta": "Y",
}  # fmt: skip
_SYMBOLS = {
    **{f"{name}meter": f"{prefix}m" for name, prefix in _PREFIXES.items()},
    **{f"{name}second": f"{prefix}s" for name, prefix in _PREFIXES.items()},
    "angstrom": "Å", "inch": "in", "foot": "ft", "yard": "yd", "mile": "mi", "parsec": "pc",
    "minute": "min", "hour": "h", "day": "d",
}  # fmt: skip
# ImageJ and its users write the micrometre in many ways: with a micro sign, a Greek letter...
_SPELLINGS = {
    "um": "micrometer", "μm": "micrometer", "\\u00B5m": "micrometer", "micron": "micrometer",
    "microns": "micrometer", "us": "microsecond", "μs": "microsecond", "sec": "second",
}  # fmt: skip
_NAMES = {
    **{symbol: name for name, symbol in _SYMBOLS.items()},
    **{name: name for name in _SYMBOLS},
    **_SPELLINGS,
}
_ORDER = "TCZYX"
LIKELY = "ZTC"
"""Letters for axes without a label, the likeliest first."""
_CHUNK = 512
_COLORS = {"Red": "FF0000", "Green": "00FF00", "Blue": "0000FF"}
_OPAQUE = 0xFFFFFFFF
# TIFF tags give the resolution per inch or per centimetre: convert to micrometres.
_MICROMETERS = {2: 25400.0, 3: 10000.0}
_PIXEL = "pixel"  # OME-TIFF's unit for lengths without a known unit
_OME_TIFF_DTYPES = (
    "int8", "int16", "int32", "uint8", "uint16", "uint32",
    "float32", "float64", "complex64", "complex128",
)  # fmt: skip


def unit_name(unit: str | None) -> str | None:
    """The name of a unit in OME-Zarr, or None if it is not one of length or time."""
    return _NAMES.get((unit or "").strip())


def unit_symbol(unit: str | None) -> str | None:
    """The symbol of a unit in OME-TIFF, or None if it has none."""
    return _SYMBOLS.get(unit_name(unit) or "")


def likely_letters(found: Sequence[str], likely: str = LIKELY) -> list[str]:
    """Letters of the axes before Y and X, "" where there is no label: those that are likely.

    One axis is Z, two are T and Z, three T, C and Z, in the order of OME-Zarr. Raises
    `ImageFileError` if OME has no place for so many.
    """
    free = [letter for letter in likely if letter not in found][: list(found).count("")]
    if len(free) < list(found).count(""):
        raise ImageFileError("OME has time, channels, Z, Y and X; the image has more axes")
    free.sort(key=_ORDER.index)
    return [letter or free.pop(0) for letter in found]


def as_ome_tiff(image: TiffImage) -> TiffImage:
    """Describe an image for OME-TIFF, with its pixel sizes and its description.

    Axes without a letter of OME get likely ones. Raises `ImageFileError` if OME has no place for
    the pixels or the axes.
    """
    if image.data.dtype.name not in _OME_TIFF_DTYPES:
        raise ImageFileError(
            f"OME-TIFF has no pixels of the type {image.data.dtype}; write a .tif or .zarr file"
        )
    if image.options.get("ome"):
        return image
    own = [axis if axis in f"{_ORDER}S" else "" for axis in image.axes]
    plane = min(image.axes.index(axis) for axis in "YXS" if axis in image.axes)
    axes = "".join([*likely_letters(own[:plane]), *own[plane:]])
    metadata: dict[str, Any] = {"axes": axes}
    for axis, (size, unit) in _calibration(image.options).items():
        metadata |= _size_in_ome(axis, size, unit) if axis in axes else {}
    options = {k: v for k, v in image.options.items() if k not in ("imagej", "description")}
    told = image.options.get("description") or (image.options.get("metadata") or {}).get("Info")
    if told:
        text = told.decode(errors="replace") if isinstance(told, bytes) else str(told)
        metadata["Description"] = _valid_in_xml(text)
    channels = _imagej_channels(image)
    colours = [colour_number(channel["color"]) for channel in channels if "color" in channel]
    if len(colours) == len(channels) and "S" not in axes:
        metadata["Channel"] = {"Color": colours}
    return replace(image, axes=axes, options={**options, "ome": True, "metadata": metadata})


def as_zarr_description(like: ZarrImage | TiffImage) -> ZarrImage:
    """Describe an image for OME-Zarr; raises `ImageFileError` if it has no place for an axis.

    For a TIFF file, `data` is a view with the axes in the order of OME-Zarr, colours as channels.
    """
    if isinstance(like, ZarrImage):
        return like
    letters = _letters(like)
    axes = "".join(sorted(letters, key=_ORDER.index))
    data = np.transpose(upright(like), [letters.index(axis) for axis in axes])
    calibration = _calibration(like.options)
    pixels = [calibration.get(axis, (1.0, None)) for axis in axes]
    return ZarrImage(
        data,
        axes,
        scale=tuple(scale for scale, _ in pixels),
        translation=(0.0,) * len(axes),
        axes_metadata=tuple(_axis(a, unit) for a, (_, unit) in zip(axes, pixels, strict=True)),
        version="0.5",
        zarr_format=3,
        chunks=(1,) * (data.ndim - 2) + tuple(min(_CHUNK, n) for n in data.shape[-2:]),
        storage={"dimension_names": list(axes.lower())},
        omero=_omero(like),
        is_rgb=like.is_rgb,
    )


def _letters(like: TiffImage) -> str:
    if like.options.get("photometric") == "miniswhite":
        raise ImageFileError("OME-Zarr cannot say that zero is white; write a .tif file")
    is_alpha = like.is_rgb and like.data.shape[like.axes.index("S")] != 3
    if is_alpha or {*"SC"} <= {*like.axes}:
        raise ImageFileError(
            "colours with transparency, or with channels besides, cannot become OME-Zarr; "
            "write a .tif file"
        )
    letters = like.axes.replace("S", "C")
    unknown = [letter for letter in letters if letter not in _ORDER]
    if unknown:
        raise ImageFileError(
            f"OME-Zarr has axes for time, channels, Z, Y and X only, and the TIFF file has the "
            f"axes {like.axes}; write a .tif file, or name its axes first, for instance in Fiji"
        )
    return letters


# Of each value of TIFF's orientation: are Y and X exchanged, then which of them are reversed?
_TURNS = {
    1: (False, ""), 2: (False, "X"), 3: (False, "YX"), 4: (False, "Y"),
    5: (True, ""), 6: (True, "X"), 7: (True, "YX"), 8: (True, "Y"),
}  # fmt: skip


def upright(image: TiffImage) -> Any:
    """A view of the pixels with rows and columns as they are to be shown.

    Raises `ImageFileError` if pixels are decoded on access, of which there is no such view.
    """
    exchanged, reverse = _TURNS[image.orientation]
    if (exchanged or reverse) and not isinstance(image.data, np.ndarray):
        raise ImageFileError(
            "a large compressed TIFF file that is turned by its orientation tag cannot become "
            "OME-Zarr here; write a .tif file"
        )
    y, x = image.axes.index("Y"), image.axes.index("X")
    data = np.swapaxes(image.data, y, x) if exchanged else image.data
    axes = tuple(image.axes.index(letter) for letter in reverse)
    return np.flip(data, axes) if axes else data


def _axis(letter: str, unit: str | None) -> dict[str, str]:
    axis = described_axis(letter)
    return {**axis, "unit": unit} if unit else axis


def _calibration(options: Mapping[str, Any]) -> dict[str, tuple[float, str | None]]:
    metadata = options.get("metadata") or {}
    found = _valid(_other_calibration(options, metadata))
    return {**found, **_valid(_ome_calibration(metadata))} if options.get("ome") else found


def _valid(sizes: Mapping[str, tuple[Any, str | None]]) -> dict[str, tuple[float, str | None]]:
    return {axis: (float(n), unit) for axis, (n, unit) in sizes.items() if _is_size(n)}


def _is_size(number: Any) -> bool:
    return isinstance(number, int | float) and math.isfinite(number) and number > 0


def _ome_calibration(metadata: Mapping[str, Any]) -> dict[str, tuple[Any, str | None]]:
    found = {}
    for axis in "XYZ":
        unit = metadata.get(f"PhysicalSize{axis}Unit", "µm")
        found[axis] = (metadata.get(f"PhysicalSize{axis}"), unit_name(unit))
    unit = metadata.get("TimeIncrementUnit", "s")
    return {**found, "T": (metadata.get("TimeIncrement"), unit_name(unit))}


def _other_calibration(
    options: Mapping[str, Any], metadata: Mapping[str, Any]
) -> dict[str, tuple[Any, str | None]]:
    """Pixel sizes from ImageJ's metadata and from resolution tags (fractions, pixels per unit)."""
    unit, length = unit_name(metadata.get("unit")), 1.0
    if unit is None and options.get("resolutionunit") in _MICROMETERS:
        unit, length = "micrometer", _MICROMETERS[options["resolutionunit"]]
    sizes = {
        axis: (length * below / above if above else None, unit)
        for axis, (above, below) in zip("XY", options.get("resolution", ()), strict=False)
    }
    described = options.get("description")
    microns = microns_per_pixel(described) if isinstance(described, bytes) else None
    if microns:
        sizes = dict.fromkeys("XY", (microns, "micrometer"))
    stack = {"Z": (metadata.get("spacing"), unit), "T": (metadata.get("finterval"), "second")}
    return {**sizes, **stack}


def _omero(like: TiffImage) -> dict[str, Any] | None:
    """Channel names; colours get the whole range of the dtype as window, as in TIFF."""
    if like.is_rgb:
        top = float(np.iinfo(like.data.dtype).max) if like.data.dtype.kind in "iu" else 1.0
        window = {"min": 0.0, "max": top, "start": 0.0, "end": top}
        colors = _COLORS.items()
        return {"channels": [{"label": n, "color": c, "window": window} for n, c in colors]}
    channels = _imagej_channels(like) if like.options.get("imagej") else _ome_channels(like)
    return {"channels": channels} if any(channels) else None


def _ome_channels(like: TiffImage) -> list[dict[str, Any]]:
    """Names and colours of channels in OME-TIFF."""
    told = (like.options.get("metadata") or {}).get("Channel", {})
    names, colours = told.get("Name", ()), told.get("Color", ())
    channels: list[dict[str, Any]] = [{} for _ in range(max(len(names), len(colours)))]
    for channel, name in zip(channels, names, strict=False):
        channel["label"] = name
    for channel, colour in zip(channels, colours, strict=False):
        channel["color"] = f"{(colour & _OPAQUE) >> 8:06X}"
    return channels


def _imagej_channels(like: TiffImage) -> list[dict[str, Any]]:
    """Colours (the brightest of each display table) and windows of channels in ImageJ."""
    metadata = like.options.get("metadata") or {}
    axis = like.channel_axis
    count = 1 if axis is None or like.is_rgb else like.data.shape[axis]
    channels: list[dict[str, Any]] = [{} for _ in range(count)]
    for channel, table in zip(channels, metadata.get("LUTs", ()), strict=False):
        channel["color"] = "".join(f"{int(value):02X}" for value in np.asarray(table)[:, -1])
    ranges = [float(n) for n in metadata.get("Ranges", ())]
    if not ranges and {"min", "max"} <= metadata.keys():
        ranges = [float(metadata["min"]), float(metadata["max"])] * count
    for channel, low, high in zip(channels, ranges[::2], ranges[1::2], strict=False):
        if low < high:
            channel["window"] = {"min": low, "max": high, "start": low, "end": high}
    return channels


def _valid_in_xml(text: str) -> str:
    """Text without the control characters that XML has no place for."""
    return "".join(c for c in text if c in "\t\n\r" or c >= " ")


def as_tiff_description(image: ZarrImage) -> TiffImage:
    """Describe an image for TIFF (OME-TIFF, if axes and dtype allow it); the translation is lost.

    Channels behind Y and X become samples of a pixel.

    Raises `ImageFileError` if the pixels are not numbers.
    """
    if image.data.dtype.kind not in "iufc":
        raise ImageFileError(f"pixels of the type {image.data.dtype} cannot become TIFF here")
    axes = image.axes.replace("C", "S") if image.axes.endswith("YXC") else image.axes
    options = {**_sample_options(image, axes), "metadata": {"axes": axes}}
    if _fits_ome(axes) and image.data.dtype.name in _OME_TIFF_DTYPES:
        options.update(ome=True, metadata={**_ome_metadata(image), "axes": axes})
    storage = Storage("deflate", predictor=True) if image.compressors else Storage()
    return TiffImage(image.data, axes, options, storage=storage)


def _fits_ome(axes: str) -> bool:
    """True if OME has a place for the axes, and rows and columns come last, but for samples."""
    return set(axes) <= set(_ORDER + "S") and axes.replace("S", "").endswith("YX")


def _sample_options(image: ZarrImage, axes: str) -> dict[str, Any]:
    """What a TIFF tells of several samples a pixel: colours, if users say so, else channels."""
    options: dict[str, Any] = {"photometric": "rgb" if "S" in image.axes else "minisblack"}
    if "S" not in axes:
        return options
    samples = image.data.shape[axes.index("S")]
    if "S" in image.axes:
        extra = ["unassalpha"] * (samples - 3)
    else:
        extra = ["unspecified"] * (samples - 1)
    place = "contig" if axes.endswith("S") else "separate"
    return {**options, "planarconfig": place, "extrasamples": extra}


def _size_in_ome(axis: str, scale: float, unit: str | None) -> dict[str, Any]:
    """Attributes of OME-XML for the size of pixels along an axis, none if it is not positive."""
    key = {"T": "TimeIncrement", "C": None}.get(axis, f"PhysicalSize{axis}")
    # Without a unit, OME-TIFF would assume micrometres and seconds.
    symbol = unit_symbol(unit) or (None if axis == "T" else _PIXEL)
    if key and symbol and _is_size(scale) and (symbol != _PIXEL or scale != 1):
        return {key: scale, f"{key}Unit": symbol}
    return {}


def _ome_metadata(image: ZarrImage) -> dict[str, Any]:
    metadata: dict[str, Any] = {"axes": image.axes}
    for axis, scale, unit in zip(image.axes, image.scale, image.units, strict=True):
        metadata |= _size_in_ome(axis, scale, unit)
    axis_c = image.channel_axis
    if len(image.channels) == (1 if axis_c is None else image.data.shape[axis_c]):
        colours = [colour_number(colour) for colour in image.channel_colors if colour]
        metadata["Channel"] = {"Name": [n or f"{i}" for i, n in enumerate(image.channel_names)]}
        if len(colours) == len(image.channels):
            metadata["Channel"]["Color"] = colours
    return {**metadata, "Name": image.name} if image.name else metadata
