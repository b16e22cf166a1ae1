"""The packages of the extra `zarr`, imported when a file is read or written."""

from __future__ import annotations

from typing import Any

from napari_rednet.errors import ImageFileError


def zarr_package() -> Any:
    """The package zarr, once it is sure that ome_zarr is there as well.

    Raises
    ------
    ImageFileError
        If one of them is missing, or too old for zarr v3.
    """
    try:
        import ome_zarr  # noqa: F401
        import zarr
    except ImportError as error:
        raise ImageFileError(_MISSING) from error
    if int(zarr.__version__.partition(".")[0]) < 3:
        raise ImageFileError(f"{_MISSING} (zarr {zarr.__version__} is too old)")
    return zarr


_MISSING = "OME-Zarr needs more packages: pip install 'napari-rednet[zarr]'"
