"""Zarrs that hold several images: plates of wells, and what bioformats2raw makes of a file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_V2, _V3 = (".zgroup", ".zattrs"), "zarr.json"
_OME = "OME"
_MARKS = (".zarray", ".zgroup", _V3)
_CONSOLIDATED = "consolidated_metadata"


def images_in(path: Path) -> list[str]:
    """Places in a Zarr of the images it holds, in the order of rows, columns and numbers.

    Empty if the Zarr is an image itself, or holds none. Only small files are read.
    """
    if not path.is_dir() or _is_leaf(path):
        return []
    return [place.relative_to(path).as_posix() for place in _below(path)]


def _below(folder: Path) -> Iterator[Path]:
    children = (child for child in folder.iterdir() if child.is_dir())
    for child in sorted(children, key=lambda place: (len(place.name), place.name)):
        if child.name.startswith(".") or not any((child / mark).is_file() for mark in _MARKS):
            continue
        if not _is_leaf(child):
            yield from _below(child)
        elif "multiscales" in _attributes(child):
            yield child


def _is_leaf(folder: Path) -> bool:
    """True for an image, labels or an array, which hold no other images."""
    if (folder / ".zarray").is_file() or _json(folder / _V3).get("node_type") == "array":
        return True
    return not {"multiscales", "image-label", "labels"}.isdisjoint(_attributes(folder))


def _attributes(folder: Path) -> Mapping[str, Any]:
    """Attributes of a group, those of OME among them."""
    found = _json(folder / ".zattrs") or _json(folder / _V3).get("attributes", {})
    inner = found.get("ome")
    return inner if isinstance(inner, Mapping) else found


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none, or damaged
        return {}
    return found if isinstance(found, dict) else {}


def copy_groups(source: Path, target: Path, place: str, *, with_sizes: bool) -> None:
    """Copy what a Zarr tells of the groups around one of its images, into the Zarr of the result.

    `place` is that of the image in both. With `with_sizes`, the OME-XML that bioformats2raw keeps
    comes along, which tells the numbers of pixels.
    """
    parts = Path(place).parts[:-1]
    for depth in range(len(parts) + 1):
        _copy_group(source.joinpath(*parts[:depth]), target.joinpath(*parts[:depth]))
    if (source / _OME).is_dir():
        (target / _OME).mkdir(exist_ok=True)
        _copy_group(source / _OME, target / _OME)
        for told in (source / _OME).glob("*.xml") if with_sizes else ():
            shutil.copyfile(told, target / _OME / told.name)


def _copy_group(source: Path, target: Path) -> None:
    for name in _V2:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
    told = _json(source / _V3)
    if told:
        # Which describes arrays and groups below as they were.
        told.pop(_CONSOLIDATED, None)
        (target / _V3).write_text(json.dumps(told), encoding="utf-8")
