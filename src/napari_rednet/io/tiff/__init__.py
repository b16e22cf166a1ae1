"""TIFF and OME-TIFF in and out, with axes, resolution and metadata."""

from napari_rednet.io.tiff.description import colour_options
from napari_rednet.io.tiff.image import BIG, TiffDescription, TiffImage, tiff_writer
from napari_rednet.io.tiff.reading import (
    check_header,
    count_images,
    first_file,
    other_files,
    read_tiff,
)

__all__ = [
    "SUFFIXES",
    "TiffDescription",
    "TiffImage",
    "check_header",
    "colour_options",
    "count_images",
    "first_file",
    "other_files",
    "read_tiff",
    "tiff_writer",
]

SUFFIXES = (".tif", ".tiff", BIG)
"""Suffixes of TIFF files; .btf is for those of more than 4 GB."""
READ_ONLY = (".lsm", ".stk", ".svs", ".ndpi", ".scn", ".qptiff")
"""Suffixes of TIFF files of microscopes, which are not written."""
