"""Find the files of a batch, and the paths of their results."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path

from napari_rednet.errors import ImageFileError
from napari_rednet.io import (
    NAMES,
    ZARR_SUFFIX,
    check_source,
    count_images,
    first_file,
    has_image_name,
    images_in,
    is_image,
    result_name,
)
from napari_rednet.io.sources import Reading

_MAGIC = set("*?[")
AS_TOLD = Reading()
"""The first image of a file, which is taken for what the file tells."""


@dataclass(frozen=True)
class BatchFile:
    """A file to restore; `name` is the result's path, with ``/``, in the folder of the results.

    `reading` says which of the file's images is meant, and what it is taken for. `compression` is
    that of the result, None for that of the source.
    """

    source: Path
    result: Path
    name: str
    reading: Reading = AS_TOLD
    compression: str | None = None


def plan_batch(sources: Sequence[Path], out: Path, reading: Reading = AS_TOLD) -> list[BatchFile]:
    """Find the files to restore and the paths of their results; nothing is written.

    Parameters
    ----------
    sources : sequence of Path
        Images, of which the files of one OME-TIFF image are one; folders, for all images below
        them; and patterns such as ``folder/**/*.tif``, where ``**`` is any number of folders.
        Hidden files and folders, whose names begin with a dot, are left out, and so is the folder
        of the results.
    out : Path
        The folder of the results. Results keep their path below the given folder, or below the
        fixed part of the pattern; a single file keeps its name.
    reading : Reading
        Which image of each file, and what it is taken for. If all of them are wanted, those of a
        file with several go into results whose names end in their numbers, such as ``cells-0.tif``.

    Raises
    ------
    ImageFileError
        If there is nothing to restore, if two results would be the same file, or if one would
        overwrite a source.
    """
    images = [image for source in sources for image in _images_of(source.expanduser(), out)]
    places = {_place(path) for path, _ in images}
    found = {}
    for path, name in images:
        if _is_part(path, places):
            continue
        for number, own in _numbers_and_names(path, name, reading.series):
            one = replace(reading, series=number)
            found[_place(path), own] = BatchFile(path, out / own, own, one)
    files = list(found.values())
    _refuse_clashes(files)
    _refuse_overwriting(files)
    return files


def _is_part(path: Path, places: set[Path]) -> bool:
    """True for a file of an image that is restored from its first file, which reads the others."""
    first = first_file(path)
    return first.name != path.name and _place(first) in places


def _numbers_and_names(path: Path, name: str, series: int | None) -> list[tuple[int, str]]:
    """Which images of a file to restore, and the names of the results."""
    if series is not None:
        return [(series, name)]
    try:
        count = count_images(path)
    except ImageFileError:  # which its restoration will tell
        count = 1
    return [(number, numbered(name, number, count)) for number in range(count)]


def numbered(name: str, number: int, count: int) -> str:
    """Name of the result of one of several images: its number comes before the suffix."""
    if count == 1:
        return name
    stem, _, _ = name.rpartition(".")
    if stem.lower().endswith(".ome"):
        stem = stem[: -len(".ome")]
    return f"{stem}-{number}{name[len(stem) :]}"


def _images_of(source: Path, out: Path) -> list[tuple[Path, str]]:
    if is_image(source):
        return _with_images_in(source, _result_name(source))
    if source.is_dir():
        found = list(_below(source, out))
        return _named(found, source, f"there are no images ({NAMES}) in {source}")
    if source.exists():
        check_source(source)  # which tells why not
    if not is_pattern(source):
        raise ImageFileError(f"there is no file {source}")
    root, parts = _split(source)
    depth = None if "**" in parts else len(parts)
    matching = [p for p in _below(root, out, depth) if _matches(p.relative_to(root).parts, parts)]
    return _named(matching, root, f"no images ({NAMES}) match {source}")


def _result_name(source: Path) -> str:
    """Name of a single image's result; an image inside a Zarr has no suffix of its own."""
    name = source.name if source.name not in ("", "..") else source.resolve().name
    if not source.is_dir():
        return result_name(name)
    return name if has_image_name(Path(name), is_folder=True) else name + ZARR_SUFFIX


def _named(found: Sequence[Path], root: Path, otherwise: str) -> list[tuple[Path, str]]:
    if not found:
        raise ImageFileError(otherwise)
    names = (path.relative_to(root) for path in found)
    return [
        pair
        for path, name in zip(found, names, strict=True)
        for pair in _with_images_in(path, name.with_name(result_name(name.name)).as_posix())
    ]


def _with_images_in(path: Path, name: str) -> list[tuple[Path, str]]:
    """A file and the name of its result, or the images that a Zarr holds and theirs."""
    inside = images_in(path)
    if len(inside) < 2:
        return [(path, name)]
    return [(path / place, f"{name}/{place}") for place in inside]


def is_pattern(path: Path) -> bool:
    """True if a path has wildcards."""
    return not _MAGIC.isdisjoint(str(path))


def _split(pattern: Path) -> tuple[Path, tuple[str, ...]]:
    root, parts = Path(pattern.anchor), pattern.relative_to(pattern.anchor).parts
    for i, part in enumerate(parts):
        # A folder's name may contain wildcards, as in "cells [2]".
        if is_pattern(Path(part)) and not (root / part).is_dir():
            return root, parts[i:]
        root /= part
    return root, ()


def _matches(names: tuple[str, ...], patterns: tuple[str, ...]) -> bool:
    if not patterns:
        return not names
    if patterns == ("**",):
        # As in Python's own patterns, a final "**" needs at least one name.
        return bool(names)
    if patterns[0] == "**":
        return any(_matches(names[i:], patterns[1:]) for i in range(len(names) + 1))
    return bool(names) and fnmatch(names[0], patterns[0]) and _matches(names[1:], patterns[1:])


def _below(
    folder: Path, out: Path, depth: int | None = None, above: frozenset[Path] = frozenset()
) -> Iterator[Path]:
    """Images in a folder and its subfolders, at most `depth` levels deep; follows links."""
    real = folder.resolve()
    if real in above or depth == 0:
        return
    deeper = None if depth is None else depth - 1
    for path, is_folder in _listed(folder):
        if has_image_name(path, is_folder=is_folder):
            yield path
        elif is_folder and path.resolve() != out.resolve():
            yield from _below(path, out, deeper, above | {real})


def _listed(folder: Path) -> list[tuple[Path, bool]]:
    """Entries of a folder, sorted by name, and True for those that are folders."""
    try:
        with os.scandir(folder) as entries:
            found = [(e.name, e.is_dir()) for e in entries if not e.name.startswith(".")]
    except FileNotFoundError as error:
        raise ImageFileError(f"there is no folder {folder}") from error
    except OSError as error:
        raise ImageFileError(f"{folder} cannot be searched: {error.strerror or error}") from error
    return [(folder / name, is_folder) for name, is_folder in sorted(found)]


def _refuse_clashes(files: Sequence[BatchFile]) -> None:
    taken: dict[Path, BatchFile] = {}
    for file in files:
        other = taken.setdefault(_place(file.result), file)
        if other is not file:
            raise ImageFileError(
                f"{other.source} and {file.source} would both be written to {file.result}; name "
                'the folder above them, or a pattern in quotes such as "folder/**/*.tif"'
            )


def _refuse_overwriting(files: Sequence[BatchFile]) -> None:
    """Results must not be sources, nor lie in them or contain them: Zarrs are folders."""
    sources = {_place(file.source): file.source for file in files}
    results = {_place(file.result) for file in files}
    for file in files:
        place = _place(file.result)
        for path in (place, *place.parents):
            if path in sources:
                _refuse(file, sources[path])
    for place, source in sources.items():
        if not results.isdisjoint(place.parents):
            raise ImageFileError(f"{source} lies in the place of a result; {_ELSEWHERE}")


_ELSEWHERE = "choose another folder for the results"


def _refuse(file: BatchFile, source: Path) -> None:
    raise ImageFileError(
        f"the result of {file.source} would overwrite or change {source}; {_ELSEWHERE}"
    )


def _place(path: Path) -> Path:
    """Resolved path, so that two names of one file are not taken for two files."""
    real = path.resolve()
    # File systems of these platforms usually ignore case.
    return Path(str(real).casefold()) if sys.platform in ("win32", "darwin") else real
