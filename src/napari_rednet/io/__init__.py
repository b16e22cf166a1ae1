"""Image files of all supported formats, distinguished by their names."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_rednet.errors import ImageFileError
from napari_rednet.io import pictures, tiff
from napari_rednet.io.axes import Missing
from napari_rednet.io.tiff import TiffImage

TIFF_SUFFIXES = tiff.SUFFIXES
FILE_SUFFIXES = (*tiff.SUFFIXES, *pictures.SUFFIXES)
ZARR_SUFFIX = ".zarr"
NAMES = ".tif, .tiff, .png, .jpg or .zarr"
"""Suffixes of image files, for messages."""
_OME_SUFFIXES = tuple(f".ome{suffix}" for suffix in TIFF_SUFFIXES)
Plane = npt.NDArray[Any]
_LUMINANCE = np.array([0.299, 0.587, 0.114])
_MOST_PLANES = 24
_MICROMETRES = {"nanometer": 1e-3, "micrometer": 1.0, "millimeter": 1e3, "meter": 1e6}


class OpenImage(Protocol):
    """An open image file of any format."""

    @property
    def data(self) -> Any:
        """The pixels: an array, or an object indexed like one."""

    @property
    def axes(self) -> str:
        """One letter per axis."""

    @property
    def channel_axis(self) -> int | None:
        """Position of the colour axis, or else of the channel axis."""

    @property
    def is_rgb(self) -> bool:
        """True if the channels are colours."""


def has_image_name(path: Path, *, is_folder: bool) -> bool:
    """True if a file is named like an image, or a folder like a Zarr."""
    suffixes = (ZARR_SUFFIX,) if is_folder else FILE_SUFFIXES
    return path.suffix.lower() in suffixes


def names_image(path: Path) -> bool:
    """True if a path has the suffix of an image, whether or not it exists."""
    return path.suffix.lower() in (*FILE_SUFFIXES, ZARR_SUFFIX)


def is_image(path: Path) -> bool:
    """True for an existing image file or Zarr folder, which has the suffix or zarr metadata."""
    if path.is_dir():
        return _is_zarr(path)
    return path.is_file() and has_image_name(path, is_folder=False)


def _is_zarr(path: Path) -> bool:
    from napari_rednet.io.ome_zarr import is_zarr

    return is_zarr(path)


def can_be_continued(path: Path) -> bool:
    """True if an unfinished file of this format can be continued."""
    return path.suffix.lower() == ZARR_SUFFIX


def check_output_name(path: Path) -> None:
    """Raise `ImageFileError` if a file to write has an unknown suffix."""
    if not names_image(path):
        raise ImageFileError(f"the output must be a {NAMES} file, got {path.name}")


def check_target(path: Path) -> None:
    """Raise `ImageFileError` if a file cannot be written for its name, or for what is there."""
    is_zarr = path.suffix.lower() == ZARR_SUFFIX
    if path.is_dir() and not is_zarr:
        raise ImageFileError(
            f"{path} is a folder; name a file to write, or add --out for the results of several "
            "images"
        )
    check_output_name(path)
    if is_zarr and path.exists() and not path.is_dir():
        raise ImageFileError(f"{path} is a file, and a Zarr is a folder; choose another name")


def check_source(path: Path) -> None:
    """Raise `ImageFileError` if a file is missing, or is no image by its name and its header."""
    if path.suffix.lower() in TIFF_SUFFIXES:
        tiff.check_header(path)
    elif not is_image(path):
        read_image(path)  # which tells why not


def read_image(
    path: Path,
    series: int | None = 0,
    missing: Missing = "error",
    axes: str | None = None,
    channel_axis: int | None = None,
) -> OpenImage:
    """Open an image in full resolution.

    `series` is which of a TIFF file's images, counted from 0; None stands for the first. `missing`
    says what to do if the file declares planes that it does not hold: fail ('error'), or leave them
    out ('skip'). `axes` and `channel_axis` say what the axes are, if not what the file tells
    (`Reading`). Raises `ImageFileError` if the image cannot be read.
    """
    if path.suffix.lower() in TIFF_SUFFIXES:
        return tiff.read_tiff(path, series or 0, missing, axes, channel_axis)
    if series:
        raise ImageFileError(f"{path} has one image, number 0")
    if path.suffix.lower() in pictures.SUFFIXES:
        return pictures.read_picture(path, axes, channel_axis)
    if _is_zarr(path):
        from napari_rednet.io.ome_zarr import read_ome_zarr

        return read_ome_zarr(path, axes, channel_axis)
    if not path.exists():
        raise ImageFileError(f"there is no file {path}")
    raise ImageFileError(f"{path} is no image that can be read: it must be a {NAMES} file")


def count_images(path: Path) -> int:
    """Number of images in a file; raises `ImageFileError` if it cannot be read."""
    return tiff.count_images(path) if path.suffix.lower() in TIFF_SUFFIXES else 1


def first_file(path: Path) -> Path:
    """The first file of the image that a file is a part of; mostly the file itself."""
    return tiff.first_file(path) if path.name.lower().endswith(_OME_SUFFIXES) else path


def described_for(path: Path, image: OpenImage) -> OpenImage:
    """The image described for the format of `path`, maybe with reordered axes.

    Raises `ImageFileError` if the format cannot represent the image.
    """
    from napari_rednet.io.ome_zarr import (
        ZarrImage,
        as_ome_tiff,
        as_tiff_description,
        as_zarr_description,
    )

    check_output_name(path)
    if path.suffix.lower() == ZARR_SUFFIX:
        return as_zarr_description(image) if isinstance(image, TiffImage) else image
    if isinstance(image, ZarrImage):
        image = as_tiff_description(image)
    if path.suffix.lower() in pictures.SUFFIXES and isinstance(image, TiffImage):
        return pictures.as_picture(image, path)
    is_ome = path.name.lower().endswith(_OME_SUFFIXES)
    return as_ome_tiff(image) if is_ome and isinstance(image, TiffImage) else image


def pixel_sizes(image: OpenImage) -> dict[str, float]:
    """Sizes of the pixels along the axes of space, in micrometres, where the file tells them."""
    from napari_rednet.io.ome_zarr import as_zarr_description

    described: Any = image
    try:
        found = as_zarr_description(described)
    except ImageFileError:
        return {}
    parts = zip(found.axes, found.scale, found.units, strict=True)
    return {
        axis: _MICROMETRES[unit] * size
        for axis, size, unit in parts
        if axis in "ZYX" and unit in _MICROMETRES
    }


def with_dtype(image: OpenImage, dtype: str) -> OpenImage:
    """Describe a file that is like an image except for its dtype, without pixels."""
    described: Any = image
    data = np.broadcast_to(np.zeros((), dtype), image.data.shape)
    other: OpenImage = replace(described, data=data)
    return other


def image_writer(
    path: Path, like: OpenImage, scale: int = 1, *, keep_unfinished: bool = False
) -> AbstractContextManager[Any]:
    """Give an array to fill, which becomes the file `path` if there is no error.

    Dtype, axes and metadata are those of `like`, as `described_for` the format of `path`; Y and X
    are `scale` times longer. With `keep_unfinished`, an interrupted Zarr is continued the next
    time. Raises `ImageFileError` if the file cannot be written.
    """
    from napari_rednet.io.ome_zarr import zarr_writer

    check_target(path)
    described: Any = described_for(path, like)
    if path.suffix.lower() in pictures.SUFFIXES:
        return pictures.picture_writer(path, described, scale)
    if isinstance(described, TiffImage):
        return tiff.tiff_writer(path, described, scale)
    return zarr_writer(path, described, scale, keep_unfinished=keep_unfinished)


def check_places(source: Path, target: Path) -> None:
    """Raise `ImageFileError` if writing one file would touch the other."""
    from napari_rednet.io.ome_zarr import check_places as check

    check(source, target)


def remark_on(image: OpenImage, target: Path | None = None) -> str:
    """A remark for users on an image that can be read, and is to be written to `target`.

    Empty if there is none.
    """
    from napari_rednet.io.ome_zarr import ZarrImage, missing_chunks

    if target is not None and target.suffix.lower() in pictures.SUFFIXES:
        picture: Any = described_for(target, image)
        told = [remark_on(image), *pictures.picture_remarks(picture, target)]
        return "; ".join(filter(None, told))
    if isinstance(image, TiffImage):
        return "; ".join(image.remarks)
    if not isinstance(image, ZarrImage):
        return ""
    missing, chunks = missing_chunks(image)
    if not missing:
        return ""
    return f"{missing} of {chunks} chunks are missing; they are read as the fill value"


def read_planes(path: Path) -> list[Plane]:
    """At most 24 evenly spaced gray planes of a file; colour becomes luminance (BT.601)."""
    image, is_colour = _read(path)
    if is_colour:
        gray = image[..., :3] @ _LUMINANCE
        rounded = np.rint(gray) if image.dtype.kind == "u" else gray
        image = rounded.astype(image.dtype)
    planes = image.reshape(-1, *image.shape[-2:])
    step = -(-len(planes) // _MOST_PLANES)
    return list(planes[::step])


def _read(path: Path) -> tuple[npt.NDArray[Any], bool]:
    if path.suffix.lower() in TIFF_SUFFIXES:
        found = tiff.read_tiff(path)
        data = np.asarray(found.data)
        if "S" in found.axes:
            data = np.moveaxis(data, found.axes.index("S"), -1 if found.is_rgb else 0)
        return data, found.is_rgb
    from skimage.io import imread

    image = imread(path)
    return image, image.ndim == 3


def read_mask(path: Path) -> Any:
    """The mask in a TIFF, a Zarr, or any other image file.

    Raises
    ------
    ImageFileError
        If it cannot be read.
    """
    from PIL import Image

    if is_image(path) and path.suffix.lower() not in pictures.SUFFIXES:
        return np.asarray(read_image(path).data)
    try:
        with Image.open(path) as file:
            return np.asarray(file)
    except OSError as error:
        raise ImageFileError(f"{path} cannot be read as an image: {error}") from error
