"""OME descriptions in TIFF files, edited: what a result changes, and all else as it was."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np

LETTERS = "TCZYXS"
"""Axes that OME has a place for; S are the samples of a pixel."""
_TYPES = {
    "float32": "float", "float64": "double",
    "complex64": "complex", "complex128": "double-complex",
}  # fmt: skip
_SIZES = {"PhysicalSizeX": 1, "PhysicalSizeY": 1}
# What only says how the pixels of the old file were stored.
_STORAGE = ("BinData", "TiffData", "MetadataOnly")
_NOT_KEPT = ("BigEndian", "Interleaved")
_WHITE = 0xFFFFFFFF


@dataclass(frozen=True)
class OmeSource:
    """The OME description of a file, and which part of it is meant.

    `number` is that of the image among those it describes; `axes` and `shape` are what it says of
    the pixels that are there, `dtype` their type. `kept` has the indices that are left along an
    axis, if others are missing in the file.
    """

    xml: str
    number: int
    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    kept: Mapping[str, Sequence[int]] = field(default_factory=dict)

    @property
    def has_rois(self) -> bool:
        """True if the image has regions of interest."""
        root, image = self._parsed()
        return image.find(f"{_space(root)}ROIRef") is not None

    def described(
        self, axes: str, shape: Sequence[int], dtype: np.dtype[Any], scale: int
    ) -> bytes | None:
        """The description of a file with these pixels; None if OME has no place for its axes.

        With `scale`, Y and X have that many pixels for each one of before, and the sizes of pixels
        are smaller; regions of interest, which are told in pixels, are left out.
        """
        order = [letter for letter in reversed(axes) if letter != "S"]
        if order[:2] != ["X", "Y"] or not set(axes) <= set(LETTERS):
            return None
        root, image = self._parsed()
        space = _space(root)
        _leave_out_others(root, image, space)
        pixels = image.find(f"{space}Pixels")
        if pixels is None:
            return None
        self._resize(pixels, axes, shape, order)
        self._retype(pixels, dtype)
        if scale != 1:
            _refine(pixels, scale)
            _leave_out_rois(root, image, space)
        self._fill(pixels, space, axes == self.axes)
        return _as_bytes(root, space)

    def _parsed(self) -> tuple[ET.Element, ET.Element]:
        root = ET.fromstring(self.xml)  # noqa: S314 (tifffile has parsed it already)
        return root, root.findall(f"{_space(root)}Image")[self.number]

    def _resize(
        self, pixels: ET.Element, axes: str, shape: Sequence[int], order: list[str]
    ) -> None:
        sizes = dict(zip(axes, shape, strict=True))
        sizes["C"] = sizes.get("C", 1) * sizes.pop("S", 1)
        before = [letter for letter in pixels.get("DimensionOrder", "XYZCT") if letter not in order]
        pixels.set("DimensionOrder", "".join(order + before))
        for letter in "XYZCT":
            pixels.set(f"Size{letter}", str(sizes.get(letter, 1)))

    def _retype(self, pixels: ET.Element, dtype: np.dtype[Any]) -> None:
        name = _TYPES.get(dtype.name, dtype.name)
        for key in ("Type", "PixelType"):  # as old versions of OME call it
            if key in pixels.attrib:
                pixels.set(key, name)
        left_out = (*_NOT_KEPT, *(("SignificantBits",) if dtype != self.dtype else ()))
        for key in left_out:
            pixels.attrib.pop(key, None)

    def _fill(self, pixels: ET.Element, space: str, is_same: bool) -> None:
        """Channels and planes that are there, and one place for all pixels between them."""
        for tag in _STORAGE:
            for element in pixels.findall(f"{space}{tag}"):
                pixels.remove(element)
        channels = pixels.findall(f"{space}Channel")
        samples = [int(channel.get("SamplesPerPixel", 1)) for channel in channels]
        kept = self.kept.get("C", range(len(channels)))
        left = [channels[i] for i in kept if i < len(channels)]
        if sum(samples[i] for i in kept if i < len(samples)) != int(pixels.get("SizeC", 1)):
            left = []
        for channel in channels:
            if not any(channel is other for other in left):
                pixels.remove(channel)
        planes = pixels.findall(f"{space}Plane")
        for plane in planes:
            if not is_same or not self._keep(plane, space):
                pixels.remove(plane)
        total = math.prod(int(pixels.get(f"Size{letter}", 1)) for letter in "ZCT")
        total //= max(samples[:1], default=1) if left else self._samples
        place = ET.Element(f"{space}TiffData", {"IFD": "0", "PlaneCount": str(total)})
        pixels.insert(len(left), place)

    @property
    def _samples(self) -> int:
        return self.shape[self.axes.index("S")] if "S" in self.axes else 1

    def _keep(self, plane: ET.Element, space: str) -> bool:
        """Number a plane anew if others are missing; False if it is one of these."""
        for letter, kept in self.kept.items():
            number = int(plane.get(f"The{letter}", 0))
            if number not in kept:
                return False
            plane.set(f"The{letter}", str(list(kept).index(number)))
        for checksum in plane.findall(f"{space}HashSHA1"):
            plane.remove(checksum)
        return True


def _space(root: ET.Element) -> str:
    """The namespace of a description, in ElementTree's braces."""
    return root.tag.partition("}")[0] + "}" if "}" in root.tag else ""


def _leave_out_others(root: ET.Element, image: ET.Element, space: str) -> None:
    """Leave out other images and what refers to them, and what says that the file is one of many.

    What is referred to by its place (`BinaryOnly`) or its identity is not this file any more.
    """
    own = image.get("ID")
    for other in root.findall(f"{space}Image"):
        if other is not image:
            root.remove(other)
    for parent in root.iter():
        for reference in parent.findall(f"{space}ImageRef"):
            if reference.get("ID") != own:
                parent.remove(reference)
    root.attrib.pop("UUID", None)


def _refine(pixels: ET.Element, scale: int) -> None:
    for key in _SIZES:
        if key in pixels.attrib:
            pixels.set(key, repr(float(pixels.attrib[key]) / scale))


def _leave_out_rois(root: ET.Element, image: ET.Element, space: str) -> None:
    references = image.findall(f"{space}ROIRef")
    named = {reference.get("ID") for reference in references}
    for reference in references:
        image.remove(reference)
    for roi in root.findall(f"{space}ROI"):
        if roi.get("ID") in named:
            root.remove(roi)


def _as_bytes(root: ET.Element, space: str) -> bytes:
    """The description as text, with OME's own names without a prefix where that can be."""
    is_own = all(
        element.tag.startswith("{") for element in root.iter() if isinstance(element.tag, str)
    )
    if space:
        ET.register_namespace("" if is_own else "OME", space.strip("{}"))
    return bytes(ET.tostring(root, encoding="UTF-8", xml_declaration=True))


def channel_colour(channel: ET.Element) -> str | None:
    """The colour of a channel as RRGGBB; None if it has none."""
    try:
        return f"{(int(channel.attrib['Color']) & _WHITE) >> 8:06X}"
    except (KeyError, ValueError):
        return None


def colour_number(colour: str) -> int:
    """The number of a colour RRGGBB in OME: signed, with 255 for opaque."""
    number = int(colour, 16) << 8 | 0xFF
    return number - (1 << 32) if number >> 31 else number
