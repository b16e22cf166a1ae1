"""Which images a TIFF file has, and which of their planes are really there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree as ET

import numpy as np
import numpy.typing as npt
import tifffile

Missing = Literal["error", "skip"]
"""What to do about planes that a file declares and does not hold: fail, or leave them out."""
# How many bytes one byte can stand for: as bits, by deflate, LZW and PackBits, and by others.
_MOST_COMPRESSED = {1: 8, 8: 1100, 32946: 1100, 5: 2800, 32773: 64}
_MOST_BY_OTHERS = 2**16
_FEW, _MANY = 2**16, 2**28
_MOST_NAMED = 3
# More planes than this are not believed if a file does not hold them.
_MOST_PLANES = 2**20
# Pictures that scanners of slides store beside the image.
_BESIDE = ("Thumbnail", "Label", "Macro", "Map", "Overview")


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
    end = page.parent.filehandle.size
    if page.is_contiguous:
        return bool(page.dataoffsets[0] + page.nbytes <= end)
    parts = math.prod(page.chunked)
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
