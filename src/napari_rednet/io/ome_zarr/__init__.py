"""OME-Zarr in and out: versions 0.4 (zarr v2) and 0.5 (zarr v3), and zarr arrays without metadata.

Nothing here imports zarr or ome_zarr before a file is read or written.
"""

from napari_rednet.io.ome_zarr.conversion import (
    as_ome_tiff,
    as_tiff_description,
    as_zarr_description,
)
from napari_rednet.io.ome_zarr.image import ZarrImage
from napari_rednet.io.ome_zarr.metadata import copy_groups, images_in
from napari_rednet.io.ome_zarr.reading import SUFFIX, is_zarr, missing_chunks, read_ome_zarr
from napari_rednet.io.ome_zarr.writing import zarr_writer

__all__ = [
    "SUFFIX",
    "ZarrImage",
    "as_ome_tiff",
    "as_tiff_description",
    "as_zarr_description",
    "copy_groups",
    "images_in",
    "is_zarr",
    "missing_chunks",
    "read_ome_zarr",
    "zarr_writer",
]
