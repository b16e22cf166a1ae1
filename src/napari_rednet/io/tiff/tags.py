"""Tags that a result keeps of its file, and those among them that say how large pixels are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import tifffile

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
