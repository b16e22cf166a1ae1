"""Reads images of TIFF files, some of them spread over several files, and what is really there."""

from __future__ import annotations

import logging
import math
import operator
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import numpy.typing as npt
import tifffile

from napari_rednet.errors import ImageFileError
from napari_rednet.io.sources import Missing, check_spatial, told_axes
from napari_rednet.io.tiff.description import ome_source, writer_options
from napari_rednet.io.tiff.image import TiffImage, storage_of

_COMPANION = ".companion.ome"
# Compressed images up to this size in bytes are decoded at once.
_MOST_DECODED = 2**28
# How many bytes one byte can stand for: as bits, by deflate, LZW and PackBits, and by others.
_MOST_COMPRESSED = {1: 8, 8: 1100, 32946: 1100, 5: 2800, 32773: 64}
_MOST_BY_OTHERS = 2**16
_FEW, _MANY = 2**16, 2**28
_MOST_NAMED = 3
# More planes than this are not believed if a file does not hold them.
_MOST_PLANES = 2**20
# Flags of tifffile, and whose descriptions of axes they stand for.
_WORDS = {"is_ome": "OME", "is_imagej": "ImageJ", "is_shaped": "tifffile"}
# Pictures that scanners of slides store beside the image.
_BESIDE = ("Thumbnail", "Label", "Macro", "Map", "Overview")


def open_tiff(path: Path, *, alone: bool = False) -> tifffile.TiffFile:
    """Open a TIFF file; one that only refers to a description of its image, with that.

    Raises `ValueError` if the description is missing, unless the file may be taken `alone`.
    """
    with tifffile.TiffFile(path) as file:
        name = _described_in(file.ome_metadata)
    if name is None:
        return _with_valid_words(path)
    place = path.parent / name
    if not place.is_file():
        if alone:
            return tifffile.TiffFile(path)
        raise ValueError(
            f"the file that describes the image is missing: {name}; missing='skip' "
            "(--missing skip) takes this file for itself"
        )
    if place.name.lower().endswith(_COMPANION):
        return tifffile.TiffFile(path, omexml=place.read_text(encoding="utf-8"))
    return tifffile.TiffFile(place)  # the first of the files, which has pixels as well


def _with_valid_words(path: Path) -> tifffile.TiffFile:
    """Open a TIFF file; without descriptions that make no sense, which are not what it holds."""
    file = tifffile.TiffFile(path)
    if not any(getattr(file, kind) for kind in _WORDS):
        return file
    try:
        if max(_plane_counts(file.ome_metadata or ""), default=0) <= _MOST_PLANES:
            for series in file.series:  # kept by the file
                tuple(map(operator.index, series.shape))
    except Exception:  # noqa: BLE001 (as many kinds as there are damages)
        file.close()
        ignored: dict[str, Any] = dict.fromkeys(_WORDS, False)
        return tifffile.TiffFile(path, **ignored)
    return file


def _left_out(file: tifffile.TiffFile) -> tuple[str, ...]:
    """A remark on descriptions that the file was opened without."""
    first = file.pages.first
    kinds = [name for kind, name in _WORDS.items() if getattr(first, kind) > getattr(file, kind)]
    return tuple(f"its description by {name} makes no sense, and is left out" for name in kinds)


def _described_in(xml: str | None) -> str | None:
    """Name of the file with the description, if an OME description only refers to it."""
    only = None if not xml or "BinaryOnly" not in xml else _root(xml).find("{*}BinaryOnly")
    return None if only is None else only.get("MetadataFile")


def _root(xml: str) -> ET.Element:
    try:
        return ET.fromstring(xml)  # noqa: S314 (tifffile parses it as well)
    except ET.ParseError:
        return ET.Element("OME")


def first_file(path: Path) -> Path:
    """The first file there is of the image that a TIFF file is a part of; often the file itself.

    A file in which one of several images begins is the first of that image.
    """
    try:
        with open_tiff(path, alone=True) as file:
            firsts = list(_first_files(file.ome_metadata or "", path.parent))
    except Exception:  # noqa: BLE001 (damaged files are told when they are restored)
        return path
    names = {first.name for first in firsts}
    return path if not firsts or path.name in names else firsts[0]


def _first_files(xml: str, folder: Path) -> Iterator[Path]:
    """For each image of an OME description, the first of its files that is there."""
    for image in _root(xml).findall("{*}Image"):
        parts = image.iterfind("{*}Pixels/{*}TiffData/{*}UUID")
        places = (folder / str(part.get("FileName")) for part in parts)
        first = next((place for place in places if place.is_file()), None)
        if first is not None:
            yield first


def other_files(path: Path) -> list[Path]:
    """The other files there are of the images that a TIFF file is a part of, and what tells so."""
    try:
        with tifffile.TiffFile(path) as file:
            names = [_described_in(file.ome_metadata)]
        with open_tiff(path, alone=True) as file:
            root = _root(file.ome_metadata or "")
    except Exception:  # noqa: BLE001 (damaged files are told when they are restored)
        return []
    for image in root.findall("{*}Image"):
        parts = [part.get("FileName") for part in image.iterfind("{*}Pixels/{*}TiffData/{*}UUID")]
        names += parts if path.name in parts else []
    places = dict.fromkeys(path.parent / name for name in names if name)
    return [place for place in places if place.name != path.name and place.is_file()]


def read_tiff(
    path: Path,
    series: int = 0,
    missing: Missing = "error",
    axes: str | None = None,
    channel_axis: int | None = None,
) -> TiffImage:
    """Read an image of a TIFF file, in full resolution.

    Parameters
    ----------
    path : Path
        The file.
    series : int
        Which of its images, counted from 0. Small copies, such as thumbnails and the levels of a
        pyramid, do not count.
    missing : {'error', 'skip'}
        What to do if planes are missing which the file declares: fail, or leave them out.
    axes, channel_axis : str, int, optional
        What the axes are, if not what the file tells (`told_axes`).

    Raises
    ------
    ImageFileError
        If the file is missing or damaged, if it does not hold all that it declares, if its samples
        are not intensities, or if its last axes are not Y and X.
    """
    with _named(path), _lost_pages_told(missing), ExitStack() as files:
        file = files.enter_context(open_tiff(path, alone=missing == "skip"))
        images = images_of(file)
        if series not in range(len(images)):
            raise ValueError(f"it has {len(images)} images, counted from 0, and none is {series}")
        planes = whole_planes(file, images[series], missing)
        options = writer_options(file, images[series], planes.series.axes, planes.kept)
        remarks = (*_left_out(file), *planes.remarks)
        if len(images) > 1:
            told = f"image {series} of {len(images)}, counted from 0; --series takes others"
            remarks = (told, *remarks)
        ome = ome_source(file, images[series], planes.series, planes.kept)
        data, storage = _pixels(planes.series, files), storage_of(images[series].keyframe)
        image = TiffImage(data, planes.series.axes, options, remarks, ome, storage)
    image = image.with_axes(told_axes(image.axes, image.data.shape, axes, channel_axis))
    check_spatial(image.axes, str(path))
    return image


def check_header(path: Path) -> None:
    """Raise `ImageFileError` if a file is missing, or has no first page of a TIFF file."""
    with _named(path), tifffile.TiffFile(path) as file:
        if not file.pages:
            raise ValueError("it has no image")


def count_images(path: Path) -> int:
    """Number of images in a TIFF file; raises `ImageFileError` if it cannot be read."""
    with _named(path), _lost_pages_told("skip"), open_tiff(path, alone=True) as file:
        return len(images_of(file))


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn any error into an `ImageFileError` that names the file."""
    try:
        yield
    except FileNotFoundError as error:
        raise ImageFileError(f"there is no file {path}") from error
    except Exception as error:  # damaged files make tifffile and its codecs raise many kinds
        advice = ": pip install imagecodecs" if "'imagecodecs' package" in str(error) else ""
        raise ImageFileError(f"{path} cannot be read as TIFF: {error}{advice}") from error


@contextmanager
def _lost_pages_told(missing: Missing) -> Iterator[None]:
    """Raise for truncated files, which tifffile only logs, unless planes may be missing."""
    handler = _LostPages()
    tifffile.logger().addHandler(handler)
    try:
        yield
    finally:
        tifffile.logger().removeHandler(handler)
    if handler.messages and missing == "error":
        raise ValueError(
            f"pages are missing, the file may be cut off ({handler.messages[0]}); missing='skip' "
            "(--missing skip) takes those that are there"
        )


class _LostPages(logging.Handler):
    """Collects tifffile's messages on missing pages."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "invalid page offset" in record.getMessage():
            self.messages.append(record.getMessage())


def _pixels(series: tifffile.TiffPageSeries, files: ExitStack) -> Any:
    """Pixels in bytes; those of 1, 2 or 4 bits become as bright as they look."""
    bits = series.keyframe.bitspersample
    if bits not in (1, 2, 4):
        return _data(series, files)
    return np.asarray(_data(series, files)).astype(np.uint8) * np.uint8(255 // (2**bits - 1))


def _data(series: tifffile.TiffPageSeries, files: ExitStack) -> Any:
    """Pixels: mapped, decoded now, or decoded on access if they are many."""
    if series.dataoffset is not None:
        file = series.keyframe.parent
        dtype = np.dtype(file.byteorder + series.dtype.char)
        place = file.filehandle.path
        return np.memmap(place, dtype, "r", series.dataoffset, series.shape)
    if series.nbytes > _MOST_DECODED:
        with suppress(ImportError):
            import zarr

            array = zarr.open_array(series.aszarr(level=0), mode="r")
            weakref.finalize(array, files.pop_all().close)
            return array
    try:
        return np.asarray(series.asarray())
    except MemoryError:
        raise
    except Exception as error:  # codecs raise all kinds
        raise ValueError(f"{_damaged_place(series)}{error}") from error


def _damaged_place(series: tifffile.TiffPageSeries) -> str:
    """Where decoding fails, as the beginning of a message; empty if it cannot be found."""
    for number, page in enumerate(series):
        part, done = ("tile" if series.keyframe.is_tiled else "strip"), 0
        # Uncompressed pixels may be there whatever is told of their strips, which would be read.
        if page is None or not _has_parts(page):
            continue
        try:
            for _ in page.segments(maxworkers=1):
                done += 1
        except Exception:  # noqa: BLE001 (codecs raise all kinds)
            place = f"{part} {done} of {math.prod(series.keyframe.chunked)} of page {number}"
            return f"{place} is damaged, counted from 0: "
    return ""


@dataclass(frozen=True)
class WholePlanes:
    """An image of which all planes are there.

    `kept` has the indices that are left of the axis along which planes were missing; `remarks` are
    for users.
    """

    series: tifffile.TiffPageSeries
    kept: Mapping[str, Sequence[int]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Stack:
    """The planes that a description declares: axes before those of a page, and the pages.

    `pages` are None where there is none. They are empty if planes follow each other from
    `offset` on.
    """

    axes: str
    shape: tuple[int, ...]
    page: tifffile.TiffPage
    pages: Sequence[Any] = ()
    offset: int | None = None


def whole_planes(
    file: tifffile.TiffFile, series: tifffile.TiffPageSeries, missing: Missing
) -> WholePlanes:
    """The planes of an image that the file holds, by its size and not by what it declares.

    Raises `ValueError`, which names what is missing, if there are not all planes and `missing` is
    'error', or if there is not one complete plane.
    """
    stack = _declared(file, series)
    present = _present(stack)
    if present.all():
        _check_size(series, stack)
        return WholePlanes(_as_series(series, stack), {}, _empty_parts(stack))
    told = _missing_words(file, stack, present)
    if missing == "error":
        advice = "; missing='skip' (--missing skip) leaves them out" if present.any() else ""
        raise ValueError(told + advice)
    axis, kept = _complete(present)
    if not kept:
        raise ValueError(f"{told}; nothing is complete")
    letter = stack.axes[axis]
    left = _without_others(stack, axis, kept)
    rest = f"{len(kept)} of {present.shape[axis]} along {letter} are complete and were taken"
    return WholePlanes(_as_series(series, left), {letter: kept}, (told, rest))


def _declared(file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> _Stack:
    page = series.keyframe
    count = _leading(series, page)
    axes, shape = series.axes[:count], series.shape[:count]
    more_axes, more = _imagej_counts(file, page)
    if math.prod(more) > math.prod(shape):
        axes, shape = more_axes, more
        if len(file.pages) == 1 and page.is_final:
            return _Stack(axes, shape, page, offset=page.dataoffsets[0])
    elif series.dataoffset is not None:
        return _Stack(axes, shape, page, offset=series.dataoffset)
    pages = list(_pages(series))
    if len(pages) > math.prod(shape):  # the description does not add up
        axes, shape = "Z" if file.is_imagej else "I", (len(pages),)
    check_count(math.prod(shape))
    pages += [None] * (math.prod(shape) - len(pages))
    return _Stack(axes, shape, page, pages)


def _leading(series: tifffile.TiffPageSeries, page: tifffile.TiffPage) -> int:
    """How many axes of a series come before those of its pages."""
    likely = min(series.axes.index(letter) for letter in page.axes if letter in series.axes)
    for count in (likely, *range(len(series.shape))):
        if math.prod(series.shape[count:]) == page.size:
            return int(count)
    return 0


def _imagej_counts(file: tifffile.TiffFile, page: tifffile.TiffPage) -> tuple[str, tuple[int, ...]]:
    """Axes and counts of planes in an ImageJ header, which tifffile corrects without a word."""
    found = file.imagej_metadata if page.index == 0 else None
    if not found:
        return "", ()
    counts = {"T": "frames", "Z": "slices", "C": "channels"}
    sizes = {letter: int(found.get(name, 1)) for letter, name in counts.items()}
    if sizes["C"] == page.samplesperpixel:
        sizes["C"] = 1
    order = str(found.get("order", "czt")).upper()[::-1]
    axes = "".join(letter for letter in order if sizes.get(letter, 1) > 1)
    if axes:
        return axes, tuple(sizes[letter] for letter in axes)
    images = int(found.get("images", 1))
    return ("Z", (images,)) if images > 1 else ("", ())


def _pages(series: tifffile.TiffPageSeries) -> Iterator[Any]:
    try:
        yield from series
    except IndexError:  # fewer pages than the description counts
        return


def _present(stack: _Stack) -> npt.NDArray[np.bool_]:
    """True for planes whose bytes lie within the file."""
    if stack.offset is not None:
        held = (stack.page.parent.filehandle.size - stack.offset) // max(stack.page.nbytes, 1)
        if held >= math.prod(stack.shape):
            return np.broadcast_to(np.True_, stack.shape)
        check_count(math.prod(stack.shape))
        found = np.arange(math.prod(stack.shape)) < held
    else:
        found = np.array([_is_held(page) for page in stack.pages], bool)
    return found.reshape(stack.shape)


def check_count(planes: int) -> None:
    """Raise `ValueError` for absurd numbers of planes, which would take memory to count."""
    if planes > _MOST_PLANES:
        raise ValueError(f"it declares {planes} planes, and does not hold them")


def _is_held(page: Any) -> bool:
    if page is None or not page.dataoffsets:
        return False
    if page.is_contiguous:
        return bool(page.dataoffsets[0] + page.nbytes <= page.parent.filehandle.size)
    return _has_parts(page)


def _has_parts(page: Any) -> bool:
    """True if all strips or tiles of a page are listed, and lie within the file."""
    parts, end = math.prod(page.chunked), page.parent.filehandle.size
    offsets, counts = page.dataoffsets, page.databytecounts
    if min(len(offsets), len(counts)) < parts or not any(counts):
        return False
    return all(o + n <= end for o, n in zip(offsets, counts, strict=False))


def _check_size(series: tifffile.TiffPageSeries, stack: _Stack) -> None:
    """Raise if so few bytes cannot be decoded to so many pixels."""
    held = sum(sum(page.databytecounts) for page in stack.pages)
    if stack.page.compression in _MOST_COMPRESSED:
        most = max(_FEW, _MOST_COMPRESSED[stack.page.compression] * held)
    else:
        most = max(_MANY, _MOST_BY_OTHERS * held)
    # Tiles may be larger than the image, and are decoded whole.
    parts = math.prod(stack.page.chunked) * math.prod(stack.page.chunks)
    declared = max(series.nbytes, len(stack.pages) * parts * series.dtype.itemsize)
    if stack.pages and declared > most:
        raise ValueError(f"it declares {declared} bytes of pixels, and holds {held}")


def _empty_parts(stack: _Stack) -> tuple[str, ...]:
    """A remark on strips or tiles that are left out since they have no pixels but zeros."""
    pages = [page for page in stack.pages if not page.is_contiguous]
    empty = sum(page.databytecounts.count(0) for page in pages)
    total = sum(len(page.databytecounts) for page in pages)
    return (f"{empty} of {total} strips or tiles are missing; they are read as zeros",) * bool(
        empty
    )


def _complete(present: npt.NDArray[np.bool_]) -> tuple[int, list[int]]:
    """The outermost axis along which there are indices with all planes, and these."""
    for axis in range(present.ndim):
        others = tuple(other for other in range(present.ndim) if other != axis)
        kept = np.flatnonzero(present.all(axis=others))
        if kept.size:
            return axis, [int(index) for index in kept]
    return 0, []


def _without_others(stack: _Stack, axis: int, kept: Sequence[int]) -> _Stack:
    shape = (*stack.shape[:axis], len(kept), *stack.shape[axis + 1 :])
    if stack.offset is not None:  # planes are missing at the end only
        return _Stack(stack.axes, shape, stack.page, offset=stack.offset)
    numbers = np.arange(len(stack.pages)).reshape(stack.shape).take(kept, axis)
    pages = [stack.pages[int(number)] for number in numbers.flat]
    return _Stack(stack.axes, shape, stack.page, pages)


def _as_series(series: tifffile.TiffPageSeries, stack: _Stack) -> tifffile.TiffPageSeries:
    """The stack as a series of tifffile; the series itself, if that has the same planes."""
    shape, axes = (*stack.shape, *stack.page.shape), stack.axes + stack.page.axes
    if math.prod(shape) == series.size and stack.axes == series.axes[: len(stack.axes)]:
        return series
    is_virtual = stack.offset is not None
    return tifffile.TiffPageSeries(
        [stack.page] if is_virtual else stack.pages,
        shape,
        series.dtype,
        axes,
        parent=series.parent,
        name=series.name,
        kind=series.kind,
        truncated=is_virtual,
        multifile=series.is_multifile,
        squeeze=False,
        transform=series.transform,
    )


def _missing_words(file: tifffile.TiffFile, stack: _Stack, present: npt.NDArray[np.bool_]) -> str:
    """What is missing: the files, or else the planes."""
    files = _missing_files(file)
    if files:
        more = ", …" if len(files) > _MOST_NAMED else ""
        return f"files of the same image are missing: {', '.join(files[:_MOST_NAMED])}{more}"
    if not stack.shape:
        size = stack.page.parent.filehandle.size
        return f"it is cut off, or declares more than it holds: {size} bytes are not all its pixels"
    first = np.argwhere(~present)[0]
    place = ", ".join(f"{a} {i}" for a, i in zip(stack.axes, first, strict=True))
    count = present.size - np.count_nonzero(present)
    return f"{count} of {present.size} planes are missing, the first at {place}"


def _missing_files(file: tifffile.TiffFile) -> list[str]:
    """Other files of an OME image that are not there."""
    if not file.ome_metadata:
        return []
    root = ET.fromstring(file.ome_metadata)  # noqa: S314 (tifffile has parsed it already)
    folder = Path(file.filehandle.dirname)
    names = dict.fromkeys(part.get("FileName") for part in root.iter() if part.get("FileName"))
    return [name for name in names if name and not (folder / name).exists()]


def images_of(file: tifffile.TiffFile) -> list[tifffile.TiffPageSeries]:
    """Images of a file in full resolution, without masks and small copies.

    A file that has nothing else, such as a camera's raw file, has its image in a SubIFD. Raises
    `ValueError` if the file has no image.
    """
    # tifffile makes a list of all planes that an OME description counts.
    check_count(max(_plane_counts(file.ome_metadata or ""), default=0))
    if not file.series:
        raise ValueError("it has no image")
    full = [series for series in file.series if not _is_beside(series)]
    own = [series for series in full if not series.keyframe.is_subifd]
    images = own or full or list(file.series)
    # Each file of a set describes all its images: those that begin here are meant.
    return [series for series in images if _begins_in(file, series)] or images


def _begins_in(file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> bool:
    if not series.is_multifile and series.keyframe.parent is file:
        return True
    first = next(page for page in series if page is not None)
    return bool(first.parent.filehandle.path == file.filehandle.path)


def _is_beside(series: tifffile.TiffPageSeries) -> bool:
    page = series.keyframe
    is_picture = series.kind != "ome" and series.name in _BESIDE
    return page.is_reduced or page.is_mask or is_picture


def _plane_counts(xml: str) -> Iterator[int]:
    """How many planes each part of an OME description declares."""
    try:
        root = ET.fromstring(xml)  # noqa: S314 (tifffile parses it as well)
    except ET.ParseError:
        return
    for pixels in root.findall("{*}Image/{*}Pixels"):
        yield math.prod(int(pixels.get(f"Size{axis}", 1)) for axis in "ZCT")
        for data in pixels.findall("{*}TiffData"):
            yield int(data.get("PlaneCount") or data.get("NumPlanes") or 1)
