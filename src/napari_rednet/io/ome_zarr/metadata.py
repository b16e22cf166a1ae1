"""OME-Zarr metadata: of images, which are kept and written, and of groups that hold several."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from napari_rednet.errors import ImageFileError
from napari_rednet.io.ome_zarr.image import Grid, ZarrImage

_WINDOW = ("min", "max", "start", "end")
# Defaults for channels without a colour; a single one is white.
_COLORS = ("00FF00", "FF00FF", "00FFFF", "FF0000", "0000FF", "FFFF00")
_MISSING = "OME-Zarr needs more packages: pip install 'napari-rednet[zarr]'"
_KINDS = {
    "plate": "is a plate of wells (HCS)",
    "well": "is a well of a plate (HCS)",
    "bioformats2raw.layout": "is a collection of images (bioformats2raw)",
    "labels": "is a group of labels",
}
_MOST_NAMED = 5
_V2, _V3 = (".zgroup", ".zattrs"), "zarr.json"
_OME = "OME"
_MARKS = (".zarray", ".zgroup", _V3)
_CONSOLIDATED = "consolidated_metadata"


def channels_to_keep(omero: Any) -> dict[str, Any] | None:
    """The valid parts of a channel description; invalid entries are dropped one by one."""
    if not isinstance(omero, Mapping) or not isinstance(omero.get("channels"), list):
        return None
    channels = [_valid(c) for c in omero["channels"] if isinstance(c, Mapping)]
    return {**omero, "channels": channels}


def _valid(channel: Mapping[str, Any]) -> dict[str, Any]:
    kept = dict(channel)
    color, window = kept.get("color"), kept.get("window")
    if not (isinstance(color, str) and len(color) == 6):
        kept.pop("color", None)
    numbers = [window.get(key) for key in _WINDOW] if isinstance(window, Mapping) else [None]
    if not all(isinstance(number, int | float) for number in numbers):
        kept.pop("window", None)
    return kept


def write_metadata(group: Any, image: ZarrImage, grids: Sequence[Grid], name: str) -> None:
    """Describe the levels of a pyramid; windows of channels are measured on the coarsest."""
    from ome_zarr.format import format_from_version
    from ome_zarr.writer import write_multiscales_metadata

    group.attrs.update(image.attributes)
    notes: dict[str, Any] = {"method": "means of blocks"}
    if image.channels:
        channels = _completed(image, group.get(str(len(grids) - 1)))
        notes["omero"] = {**(image.omero or {}), "channels": list(channels)}
    write_multiscales_metadata(
        group,
        datasets=[_dataset(level, grid) for level, grid in enumerate(grids)],
        fmt=format_from_version(image.version),
        axes=[dict(axis) for axis in image.axes_metadata],
        name=image.name or name,
        metadata=notes,
    )


def _dataset(level: int, grid: Grid) -> dict[str, Any]:
    return {
        "path": str(level),
        "coordinateTransformations": [
            {"type": "scale", "scale": list(grid.scale)},
            {"type": "translation", "translation": list(grid.translation)},
        ],
    }


def _completed(image: ZarrImage, coarsest: Any) -> Iterator[dict[str, Any]]:
    """The channels with the colours and windows that the specification requires."""
    colors = cycle(_COLORS if len(image.channels) > 1 else ("FFFFFF",))
    for number, (channel, color) in enumerate(zip(image.channels, colors, strict=False)):
        known = {"color": color, **channel}
        if "window" not in known and coarsest is not None:
            known["window"] = _window(_planes(image, coarsest, number))
        yield known


def _planes(image: ZarrImage, array: Any, channel: int) -> Iterator[Any]:
    """The planes of a channel; all planes if there is no such channel."""
    axis, counts = image.channel_axis, list(array.shape[:-2])
    is_there = axis is not None and channel < counts[axis]
    if axis is not None and is_there:
        counts[axis] = 1
    for index in np.ndindex(*counts):
        of_channel = (channel if is_there and a == axis else i for a, i in enumerate(index))
        yield np.asarray(array[tuple(of_channel)])


def _window(planes: Iterator[Any]) -> dict[str, float]:
    """The range of finite values; never empty, which viewers refuse."""
    finite = (plane[np.isfinite(plane)] for plane in planes)
    extremes = [(float(p.min()), float(p.max())) for p in finite if p.size]
    low = min((low for low, _ in extremes), default=0.0)
    high = max((high for _, high in extremes), default=0.0)
    high = high if high > low else low + 1
    return {"min": low, "max": high, "start": low, "end": high}


def zarr_package() -> Any:
    """The package zarr; raises `ImageFileError` if it or ome_zarr is missing or too old."""
    try:
        import zarr
    except ImportError as error:
        raise ImageFileError(_MISSING) from error
    # Looked for, not imported, which takes as long as all else before work begins.
    if find_spec("ome_zarr") is None:
        raise ImageFileError(_MISSING)
    if int(zarr.__version__.partition(".")[0]) < 3:
        raise ImageFileError(f"{_MISSING} (zarr {zarr.__version__} is too old)")
    return zarr


def ome_attributes(group: Any) -> Mapping[str, Any]:
    """OME metadata of a group of any version."""
    attributes = dict(group.attrs)
    inner = attributes.get("ome")
    return inner if isinstance(inner, Mapping) else attributes


def describe_contents(path: Path, group: Any) -> str:
    """Message on why a group cannot be restored, and which of its parts can."""
    attributes = ome_attributes(group)
    kind = next((_KINDS[key] for key in _KINDS if key in attributes), "is a group without an image")
    found = list(islice(_images(group), _MOST_NAMED + 1)) or sorted(n for n, _ in group.arrays())
    if not found:
        return f"{path} {kind}, and there is none below it"
    named = ", ".join(str(path / name) for name in found[:_MOST_NAMED])
    more = " and more" if len(found) > _MOST_NAMED else ""
    return f"{path} {kind}; --out FOLDER restores all; name one of the images in it: {named}{more}"


def _images(group: Any, prefix: str = "") -> Iterator[str]:
    for name, child in sorted(group.groups(), key=lambda pair: (len(pair[0]), pair[0])):
        if "multiscales" in ome_attributes(child):
            yield prefix + name
        else:
            yield from _images(child, f"{prefix}{name}/")


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
