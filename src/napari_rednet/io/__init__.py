"""Image files of all supported formats, distinguished by their names."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_rednet.errors import ImageFileError
from napari_rednet.files import part_of
from napari_rednet.io import foreign, pictures, tiff
from napari_rednet.io.sources import Missing, RemotePath, refuse_url
from napari_rednet.io.tiff import TiffImage

TIFF_SUFFIXES = tiff.SUFFIXES
FILE_SUFFIXES = (*tiff.SUFFIXES, *pictures.SUFFIXES)
"""Suffixes of files that can be read and written."""
ZIP_SUFFIX = ".zarr.zip"
_READ_ONLY = (*tiff.READ_ONLY, *foreign.SUFFIXES, ZIP_SUFFIX)
ZARR_SUFFIX = ".zarr"
NAMES = ".tif, .tiff, .png, .jpg or .zarr"
"""Suffixes of image files, for messages."""
_OME_SUFFIXES = tuple(f".ome{suffix}" for suffix in TIFF_SUFFIXES)
Plane = npt.NDArray[Any]
_LUMINANCE = np.array([0.299, 0.587, 0.114])
_MOST_PLANES = 24
MICROMETRES = {"nanometer": 1e-3, "micrometer": 1.0, "millimeter": 1e3, "meter": 1e6}
"""Of the units that files and layers have."""


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
    suffixes = (ZARR_SUFFIX,) if is_folder else (*FILE_SUFFIXES, *_READ_ONLY)
    return path.name.lower().endswith(suffixes)


def result_name(name: str) -> str:
    """The name of the result of an image: its own, or that of a format that can be written."""
    lower = name.lower()
    if lower.endswith(ZIP_SUFFIX):
        return name[: -len(".zip")]
    own = lower.endswith(_READ_ONLY) or not lower.endswith((*FILE_SUFFIXES, ZARR_SUFFIX))
    return f"{name.rpartition('.')[0] or name}.ome.tif" if own else name


def names_image(path: Path) -> bool:
    """True if a path has the suffix of an image, or lies in a Zarr, whether or not it exists."""
    return path.suffix.lower() in FILE_SUFFIXES or _names_zarr(path)


def _names_zarr(path: Path) -> bool:
    """True if a path has the suffix of Zarr, or lies in a folder that has it, as wells do."""
    return any(place.suffix.lower() == ZARR_SUFFIX for place in (path, *path.parents))


def images_in(path: Path) -> list[str]:
    """Places of the images that a Zarr holds; empty if it is one, or is no Zarr."""
    from napari_rednet.io.ome_zarr import images_in as found

    return found(path)


def complete_collection(source: Path, result: Path, name: str, *, is_same_size: bool) -> None:
    """Tell what a Zarr of several images tells of them in the Zarr of their results as well.

    `name` is that of a result in its folder. Nothing is done for an image by itself.
    """
    from napari_rednet.io.ome_zarr import copy_groups

    parts = Path(name).parts
    zarrs = [i for i, part in enumerate(parts[:-1]) if part.lower().endswith(ZARR_SUFFIX)]
    if not zarrs:
        return
    place = Path(*parts[zarrs[0] + 1 :])
    roots = [path.parents[len(place.parts) - 1] for path in (source, result)]
    copy_groups(roots[0], roots[1], place.as_posix(), with_sizes=is_same_size)


def is_image(path: Path) -> bool:
    """True for an existing image file or Zarr folder, which has the suffix or zarr metadata."""
    if path.is_dir():
        return _is_zarr(path)
    if not path.is_file():
        return False
    return has_image_name(path, is_folder=False) or foreign.is_readable(path)


def _is_zarr(path: Path) -> bool:
    from napari_rednet.io.ome_zarr import is_zarr

    return is_zarr(path)


def can_be_continued(path: Path) -> bool:
    """True if an unfinished file of this format can be continued."""
    return path.suffix.lower() not in FILE_SUFFIXES and _names_zarr(path)


def check_output_name(path: Path) -> None:
    """Raise `ImageFileError` if a file to write has an unknown suffix."""
    if not names_image(path):
        raise ImageFileError(f"the output must be a {NAMES} file, got {path.name}")


def check_target(path: Path) -> None:
    """Raise `ImageFileError` if a file cannot be written for its name, or for what is there."""
    refuse_url(path)
    is_zarr = can_be_continued(path)
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
    _refuse_other_urls(path)
    if _is_tiff(path):
        tiff.check_header(path)
    elif _is_foreign(path):
        foreign.count_images(path)
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
    _refuse_other_urls(path)
    if _is_tiff(path):
        return tiff.read_tiff(path, series or 0, missing, axes, channel_axis)
    if _is_foreign(path):
        return foreign.read_foreign(path, series or 0, axes, channel_axis)
    if series:
        raise ImageFileError(f"{path} has one image, number 0")
    if path.suffix.lower() in pictures.SUFFIXES:
        return pictures.read_picture(path, axes, channel_axis)
    if _is_zarr(path):
        from napari_rednet.io.ome_zarr import read_ome_zarr

        inside = images_in(path)
        path = path / inside[0] if len(inside) == 1 else path
        return read_ome_zarr(path, axes, channel_axis)
    if not path.exists():
        raise ImageFileError(f"there is no file {path}")
    raise ImageFileError(
        f"{path} is no image that can be read: it must be a {NAMES} file; {foreign.ADVICE}"
    )


def _refuse_other_urls(path: Path) -> None:
    if isinstance(path, RemotePath) and not _is_zarr(path):
        raise ImageFileError(f"only Zarrs are read from URLs, and {path} is none")


def _is_tiff(path: Path) -> bool:
    return path.suffix.lower() in (*TIFF_SUFFIXES, *tiff.READ_ONLY)


def _is_foreign(path: Path) -> bool:
    """True for a file of another format, if bioio reads it or its name tells that it should."""
    if path.suffix.lower() in foreign.SUFFIXES:
        return True
    is_own = path.is_dir() or path.name.lower().endswith((*FILE_SUFFIXES, ZARR_SUFFIX, ZIP_SUFFIX))
    return not is_own and foreign.is_readable(path)


def count_images(path: Path) -> int:
    """Number of images in a file; raises `ImageFileError` if it cannot be read."""
    if _is_tiff(path):
        return tiff.count_images(path)
    return foreign.count_images(path) if _is_foreign(path) else 1


def first_file(path: Path) -> Path:
    """The first file of the image that a file is a part of; mostly the file itself."""
    return tiff.first_file(path) if path.name.lower().endswith(_OME_SUFFIXES) else path


def other_files(path: Path) -> list[Path]:
    """The other files that an image is read from; mostly none."""
    return tiff.other_files(path) if path.name.lower().endswith(_OME_SUFFIXES) else []


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
    if can_be_continued(path):
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
        axis: MICROMETRES[unit] * size
        for axis, size, unit in parts
        if axis in "ZYX" and unit in MICROMETRES
    }


def with_dtype(image: OpenImage, dtype: str) -> OpenImage:
    """Describe a file that is like an image except for its dtype, without pixels."""
    described: Any = image
    data = np.broadcast_to(np.zeros((), dtype), image.data.shape)
    other: OpenImage = replace(described, data=data)
    return other


def with_compression(image: OpenImage, compression: str, target: Path) -> OpenImage:
    """The image, as `described_for` its target, with another compression than its source has.

    Raises `ImageFileError` if the format of the target has no such compression.
    """
    from napari_rednet.io.ome_zarr import ZarrImage

    if isinstance(image, ZarrImage):
        return image.compressed(compression)
    if target.suffix.lower() in pictures.SUFFIXES or not isinstance(image, TiffImage):
        raise ImageFileError(f"how a {target.suffix} file is compressed cannot be chosen")
    return replace(image, storage=image.storage.compressed(compression))


def image_writer(
    path: Path,
    like: OpenImage,
    scale: int = 1,
    *,
    keep_unfinished: bool = False,
    overwrite: bool = True,
) -> AbstractContextManager[Any]:
    """Give an array to fill, which becomes the file `path` if there is no error.

    Dtype, axes and metadata are those of `like`, as `described_for` the format of `path`; Y and X
    are `scale` times longer. With `keep_unfinished`, an interrupted Zarr is continued the next
    time. Unless `overwrite`, a file that appears meanwhile stays. Raises `ImageFileError` if the
    file cannot be written, and `BusyError` if another job writes it.
    """
    from napari_rednet.io.ome_zarr import zarr_writer

    check_target(path)
    described: Any = described_for(path, like)
    if path.suffix.lower() in pictures.SUFFIXES:
        return pictures.picture_writer(path, described, scale, overwrite=overwrite)
    if isinstance(described, TiffImage):
        return tiff.tiff_writer(path, described, scale, overwrite=overwrite)
    return zarr_writer(path, described, scale, keep_unfinished=keep_unfinished, overwrite=overwrite)


def check_places(source: Path, target: Path) -> None:
    """Raise `ImageFileError` if two paths are the same, or one lies in the other."""
    read, written = source.resolve(), target.resolve()
    if read == written or (source.exists() and target.exists() and source.samefile(target)):
        raise ImageFileError("the output must be another file than the input")
    if read in written.parents:
        raise ImageFileError(f"the output {target} lies in the input {source}")
    for place in (written, part_of(written)):
        if place == read or place in read.parents:
            raise ImageFileError(f"the input {source} lies in {place}, which would be replaced")


def remark_on(image: OpenImage) -> str:
    """A remark for users on an image that can be read; empty if there is none."""
    from napari_rednet.io.ome_zarr import ZarrImage, missing_chunks

    if isinstance(image, TiffImage):
        return "; ".join(image.remarks)
    if not isinstance(image, ZarrImage):
        return ""
    missing, chunks = missing_chunks(image)
    if not missing:
        return ""
    return f"{missing} of {chunks} chunks are missing; they are read as the fill value"


def remark_on_result(image: OpenImage, target: Path, scale: int = 1) -> str:
    """A remark for users on a file that is written from an image, as `described_for` it.

    Y and X are `scale` times longer there. Empty if there is none.
    """
    if isinstance(image, pictures.Picture) and target.suffix.lower() in pictures.SUFFIXES:
        return "; ".join(pictures.picture_remarks(image, target))
    return "; ".join(image.written_remarks(scale)) if isinstance(image, TiffImage) else ""


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
        data = _loaded(found)
        if "S" in found.axes:
            data = np.moveaxis(data, found.axes.index("S"), -1 if found.is_rgb else 0)
        return data, found.is_rgb
    from skimage.io import imread

    image = imread(path)
    return image, image.ndim == 3


def _loaded(image: OpenImage) -> npt.NDArray[Any]:
    """The pixels, not mapped: the system would end the process if the file was cut off later."""
    data = image.data
    if not isinstance(data, np.memmap):
        return np.asarray(data)
    # Of a set of files, the one that has the pixels need not be the one that was opened.
    found = np.fromfile(str(data.filename), data.dtype, data.size, offset=data.offset)
    if len(found) < data.size:
        raise ImageFileError(f"{data.filename} has been cut off while it was read")
    return found.reshape(data.shape)


def read_mask(path: Path) -> Any:
    """The mask in a TIFF, a Zarr, or any other image file.

    Raises
    ------
    ImageFileError
        If it cannot be read.
    """
    from PIL import Image

    if is_image(path) and path.suffix.lower() not in pictures.SUFFIXES:
        return _loaded(read_image(path))
    try:
        with Image.open(path) as file:
            return np.asarray(file)
    except OSError as error:
        raise ImageFileError(f"{path} cannot be read as an image: {error}") from error
