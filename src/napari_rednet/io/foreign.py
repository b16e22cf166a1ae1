"""Files of microscopes' own formats, by bioio and its readers, if they are installed."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_rednet.errors import ImageFileError
from napari_rednet.io.sources import check_spatial, told_axes
from napari_rednet.io.tiff.image import TiffImage
from napari_rednet.io.tiff.ome import OmeSource

SUFFIXES = (".czi", ".nd2", ".lif", ".dv", ".r3d", ".sldy", ".oib", ".oif", ".ims", ".vsi")
"""Suffixes that folders are searched for; others may be named."""
ADVICE = "CZI, ND2, LIF and others need: pip install 'napari-rednet[bioio]'"
_MICROMETRE = {"PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm", "PhysicalSizeZUnit": "µm"}


class PlanesOfFile:
    """A dask array that is computed where it is read, and read plane by plane."""

    def __init__(self, path: Path, array: Any, samples: int) -> None:
        self.shape = tuple(int(n) for n in array.shape)
        self.dtype, self.ndim = np.dtype(array.dtype), len(self.shape)
        self.chunks = tuple(
            n if i >= self.ndim - 2 - samples else 1 for i, n in enumerate(self.shape)
        )
        self._path, self._array, self._samples = path, array, samples

    def __getitem__(self, index: Any) -> npt.NDArray[Any]:
        try:
            return np.asarray(self._array[index].compute())
        except MemoryError:
            raise
        except Exception as error:  # readers raise all kinds
            raise ImageFileError(f"{self._path} cannot be read by bioio: {error}") from error

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self[...], dtype)

    def transpose(self, axes: Sequence[int]) -> PlanesOfFile:
        """The same with its axes in another order; nothing is read."""
        samples = self._samples if axes[-1] == self.ndim - 1 else 0
        return PlanesOfFile(self._path, self._array.transpose(axes), samples)


def is_installed() -> bool:
    """True if bioio is installed; which formats it reads depends on its readers."""
    return find_spec("bioio") is not None


def is_readable(path: Path) -> bool:
    """True if bioio is installed and one of its readers takes a file."""
    try:
        return is_installed() and _opened(path) is not None
    except ImageFileError:
        return False


def count_images(path: Path) -> int:
    """Number of images (scenes, positions) in a file; `ImageFileError` if it cannot be read."""
    return _count(path, _opened(path))


def read_foreign(
    path: Path, series: int = 0, axes: str | None = None, channel_axis: int | None = None
) -> TiffImage:
    """Open an image of a file that bioio reads, described as the OME-TIFF that it could be.

    `series` is which of its scenes, counted from 0. Pixels are read where they are used. Raises
    `ImageFileError` if bioio, or a reader for the format, is missing, or if the file is damaged.
    """
    file = _opened(path)
    count = _count(path, file)
    if series not in range(count):
        raise ImageFileError(f"{path} has {count} images, counted from 0, and none is {series}")
    try:
        file.set_scene(series)
        image = _described(path, file, series)
    except Exception as error:  # readers raise all kinds
        raise ImageFileError(f"{path} cannot be read by bioio: {error}") from error
    image = image.with_axes(told_axes(image.axes, image.data.shape, axes, channel_axis))
    check_spatial(image.axes, str(path))
    return image


def _opened(path: Path) -> Any:
    if not path.exists():
        raise ImageFileError(f"there is no file {path}")
    try:
        from bioio import BioImage
    except ImportError as error:
        raise ImageFileError(f"{path} cannot be read: {ADVICE}") from error
    try:
        return BioImage(path)
    except Exception as error:  # readers raise all kinds
        told = "bioio has no reader for it: pip install bioio-czi, or another of its readers"
        known = type(error).__name__ == "UnsupportedFileFormatError"
        raise ImageFileError(f"{path} cannot be read: {told if known else error}") from error


def _count(path: Path, file: Any) -> int:
    try:
        return len(file.scenes)
    except Exception as error:  # readers raise all kinds, some of them not before they are asked
        raise ImageFileError(f"{path} cannot be read by bioio: {error}") from error


def _described(path: Path, file: Any, series: int) -> TiffImage:
    array, order = _array(file), str(file.dims.order)
    kept = [i for i, letter in enumerate(order) if letter in "YXS" or array.shape[i] > 1]
    array = array[tuple(slice(None) if i in kept else 0 for i in range(array.ndim))]
    axes = "".join(order[i] for i in kept)
    samples = array.shape[-1] if axes.endswith("S") else 1
    options: dict[str, Any] = {"photometric": "rgb" if samples in (3, 4) else "minisblack"}
    if samples > 1:
        options["planarconfig"] = "contig"
        extra = samples - (3 if samples in (3, 4) else 1)
        options["extrasamples"] = ["unassalpha" if samples == 4 else "unspecified"] * extra
    options |= {"ome": True, "metadata": {"axes": axes, **_metadata(file, axes)}}
    count = len(file.scenes)
    told = f"image {series} of {count}, counted from 0; --series takes others"
    data = PlanesOfFile(path, array, int(samples > 1))
    ome = _ome(file, series, axes, data)
    return TiffImage(data, axes, options, (told,) * (count > 1), ome)


def _array(file: Any) -> Any:
    """Pixels, colours from red to blue.

    The reader of CZI gives colours as they are stored, blue first; and blue for each of them,
    unless they are read at once.
    """
    reader = type(getattr(file, "reader", None))
    if reader.__module__.partition(".")[0] != "bioio_czi" or "S" not in file.dims.order:
        return file.dask_data
    import dask.array as da

    return da.from_array(file.data[..., ::-1], chunks=-1)


def _metadata(file: Any, axes: str) -> dict[str, Any]:
    """Pixel sizes and names of channels; bioio tells lengths in micrometres."""
    sizes = {f"PhysicalSize{a}": getattr(file.physical_pixel_sizes, a) for a in "XYZ" if a in axes}
    found: dict[str, Any] = {}
    for key, size in sizes.items():
        if size is not None and size > 0:
            found |= {key: float(size), f"{key}Unit": _MICROMETRE[f"{key}Unit"]}
    names = file.channel_names
    if "C" in axes and names:
        found["Channel"] = {"Name": [str(name) for name in names]}
    return found


def _ome(file: Any, series: int, axes: str, data: PlanesOfFile) -> OmeSource | None:
    """What the reader translates to OME; few do, and not all that they make is valid."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of values that are not translated
            xml = file.ome_metadata.to_xml()
        source = OmeSource(xml, series, axes, data.shape, data.dtype)
        whole = source.described(axes, data.shape, data.dtype, 1)
    except Exception:  # noqa: BLE001 (what is not told is no fault)
        return None
    return source if whole is not None else None
