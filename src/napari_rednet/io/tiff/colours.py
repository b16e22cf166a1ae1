"""What the samples of a TIFF page mean, and whether they are intensities that can be restored."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from napari_rednet.io.tiff.image import ORIENTATION

_JPEG = (6, 7, 33007, 34892)
_INTENSITIES = ("minisblack", "miniswhite", "rgb")
_ADVICE = "convert it to gray or RGB"
# How far the colours of a display palette may be from one straight line through black.
_ONE_COLOUR = 0.02


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


_NAMES = {
    "ycbcr": "YCbCr without JPEG",
    "separated": "inks (CMYK)",
    "cielab": "CIELab",
    "icclab": "ICCLab",
    "itulab": "ITULab",
    "cfa": "a mosaic (CFA) of a camera",
}


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
