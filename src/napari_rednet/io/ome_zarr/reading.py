"""Read OME-Zarr files: check and describe them, without loading pixels."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from napari_rednet.errors import ImageFileError
from napari_rednet.io.ome_zarr.image import ZarrImage
from napari_rednet.io.ome_zarr.metadata import (
    channels_to_keep,
    describe_contents,
    ome_attributes,
    zarr_package,
)
from napari_rednet.io.sources import check_spatial, store_at, told_axes

SUFFIX = ".zarr"
ZIP_SUFFIX = ".zarr.zip"
_MARKS = (".zattrs", ".zgroup", ".zarray", "zarr.json")
_LETTERS = {"time": "T", "channel": "C"}
# Attributes that are rewritten, or that only describe the file that was read.
_OF_OME = {"ome", "multiscales", "omero", "labels", "image-label", "bioformats2raw.layout"}


def is_zarr(path: Path) -> bool:
    """True if a path has the suffix of zarr, or is a folder with zarr metadata."""
    return path.name.lower().endswith((SUFFIX, ZIP_SUFFIX)) or _has_metadata(path)


def _has_metadata(path: Path) -> bool:
    return any((path / mark).is_file() for mark in _MARKS)


def read_ome_zarr(
    path: Path, axes: str | None = None, channel_axis: int | None = None
) -> ZarrImage:
    """Read the description of an OME-Zarr image, or of a zarr array; no pixels are read.

    `axes` and `channel_axis` say what the axes are, if not what the file tells (`told_axes`).
    Raises `ImageFileError` if it is missing, damaged, of an unknown version, or its last axes are
    not Y and X.
    """
    zarr = zarr_package()
    is_zip = path.name.lower().endswith(ZIP_SUFFIX)
    if path.is_dir() == is_zip:
        kind = "folder" if not is_zip else "file"
        raise ImageFileError(f"{path} is no {kind}" if path.exists() else f"there is no {path}")
    if not is_zip and not _has_metadata(path):
        raise ImageFileError(f"{path} is no zarr: it has no metadata")
    try:
        node = _in_zip(path) if is_zip else zarr.open(store=store_at(path), mode="r")
        image = _bare(node) if isinstance(node, zarr.Array) else _described(path, node)
    except ImageFileError:
        raise
    except Exception as error:  # zarr, its codecs and ome_zarr raise many kinds
        raise ImageFileError(f"{path} cannot be read as OME-Zarr: {_words(error)}") from error
    image = image.with_axes(told_axes(image.axes, image.data.shape, axes, channel_axis))
    check_spatial(image.axes, str(path), channels_anywhere=image.version is None)
    return image


def _in_zip(path: Path) -> Any:
    """What a zip file holds: a Zarr, or a folder that is one."""
    zarr = zarr_package()
    with ZipFile(path) as file:
        names = file.namelist()
    tops = {name.partition("/")[0] for name in names}
    inside = "" if tops & set(_MARKS) else next(iter(tops)) if len(tops) == 1 else ""
    return zarr.open(store=zarr.storage.ZipStore(path, mode="r"), path=inside, mode="r")


def missing_chunks(image: ZarrImage) -> tuple[int, int]:
    """Number of chunks (or shards) that are not stored, and of all of them.

    Missing chunks read as the fill value. Writers leave out chunks that hold nothing else, but a
    chunk may also be missing because it was never copied.
    """
    array = image.data
    if not hasattr(getattr(array, "store", None), "root"):
        return 0, 0  # the array of a TIFF file, or in a zip file
    units = zip(array.shape, image.shards or image.chunks, strict=True)
    counts = tuple(-(-n // unit) for n, unit in units)
    folder = Path(array.store.root) / array.path
    # What there is is counted, not what there might be: an array may have any number of chunks.
    stored = sum(_is_chunk(array, name, counts) for name in _names_below(folder))
    return math.prod(counts) - stored, math.prod(counts)


def _names_below(folder: Path) -> Iterator[str]:
    """Names of all files in a folder, with those of the folders in between."""
    for place, _, names in os.walk(folder):
        between = Path(place).relative_to(folder)
        yield from ((between / name).as_posix() for name in names)


def _is_chunk(array: Any, name: str, counts: tuple[int, ...]) -> bool:
    """True if a file is named like a chunk of an array that has so many along each axis."""
    numbers = [part for part in re.split(r"[/.]", name) if part != "c"]
    if len(numbers) != len(counts) or not all(number.isdecimal() for number in numbers):
        return False
    index = tuple(map(int, numbers))
    is_within = all(i < n for i, n in zip(index, counts, strict=True))
    return is_within and bool(array.metadata.encode_chunk_key(index) == name)


def _words(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error} is missing"
    return str(error) or type(error).__name__


def _bare(array: Any) -> ZarrImage:
    if array.ndim < 2:
        raise ValueError(f"it has the shape {array.shape}, and an image has at least two axes")
    return ZarrImage(
        array,
        "Q" * (array.ndim - 2) + "YX",
        (1.0,) * array.ndim,
        (0.0,) * array.ndim,
        axes_metadata=(),
        version=None,
        **_stored(array),
    )


def _described(path: Path, group: Any) -> ZarrImage:
    ome = ome_attributes(group)
    if "multiscales" not in ome:
        raise ImageFileError(describe_contents(path, group))
    multiscale = ome["multiscales"][0]
    axes, transformations = _checked(multiscale, _version(group, ome, multiscale))
    arrays = [group[dataset["path"]] for dataset in multiscale["datasets"]]
    array = arrays[0]
    if array.ndim != len(axes):
        raise ValueError(f"its {len(axes)} axes do not fit to an array of shape {array.shape}")
    places = [_combined(t, len(axes)) for t in transformations]
    names = [axis["name"] for axis in axes]
    return ZarrImage(
        array,
        "".join(_letter(axis) for axis in axes),
        *places[0],
        axes_metadata=tuple(axes),
        # Older versions are written as 0.4.
        version="0.4" if array.metadata.zarr_format == 2 else "0.5",
        **_stored(array, names),
        factors=_factors([a.shape for a in arrays], [scale for scale, _ in places]),
        omero=channels_to_keep(_as_many(ome.get("omero"), axes, array.shape)),
        name=multiscale.get("name"),
        attributes={k: v for k, v in group.attrs.items() if k not in _OF_OME},
    )


def _as_many(omero: Any, axes: Sequence[Any], shape: Sequence[int]) -> Any:
    """Metadata of the channels that there are: any number of others may be told, to no purpose."""
    channels = omero.get("channels") if isinstance(omero, Mapping) else None
    if not isinstance(channels, list):
        return omero
    lengths = (n for axis, n in zip(axes, shape, strict=True) if _letter(axis) == "C")
    return {**omero, "channels": channels[: next(lengths, 1)]}


def _version(group: Any, ome: Mapping[str, Any], multiscale: Mapping[str, Any]) -> str:
    usual = "0.4" if group.metadata.zarr_format == 2 else "0.5"
    return str(ome.get("version") or multiscale.get("version") or usual)


def _checked(multiscale: Mapping[str, Any], version: str) -> tuple[list[Any], list[list[Any]]]:
    """Axes, and the transformations of each level, validated against the specification."""
    from ome_zarr.axes import Axes
    from ome_zarr.format import format_from_version

    rules = format_from_version(version)
    if "axes" not in multiscale and version not in ("0.1", "0.2"):
        raise ValueError("it names no axes")
    axes = Axes(multiscale.get("axes"), fmt=rules).axes
    levels = [dataset.get("coordinateTransformations") for dataset in multiscale["datasets"]]
    if version in ("0.1", "0.2", "0.3"):
        return axes, [[] for _ in levels]
    rules.validate_coordinate_transformations(len(axes), len(levels), levels)
    common = multiscale.get("coordinateTransformations") or []
    return axes, [level + common for level in levels]


def _combined(
    transformations: Sequence[Mapping[str, Any]], ndim: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The scale and translation that equal all transformations, applied one after the other."""
    scale, translation = [1.0] * ndim, [0.0] * ndim
    for step in transformations:
        if step["type"] == "scale":
            scale = [a * b for a, b in zip(scale, step["scale"], strict=True)]
            translation = [a * b for a, b in zip(translation, step["scale"], strict=True)]
        elif step["type"] == "translation":
            translation = [a + b for a, b in zip(translation, step["translation"], strict=True)]
        elif step["type"] != "identity":
            raise ValueError(f"coordinates of the type {step['type']!r} are not supported")
    return tuple(scale), tuple(translation)


def _letter(axis: Mapping[str, Any]) -> str:
    name = axis["name"].upper()
    return name if name in set("TCZYX") else _LETTERS.get(axis.get("type", ""), "Q")


def _factors(
    shapes: Sequence[Sequence[int]], scales: Sequence[Sequence[float]]
) -> tuple[tuple[int, ...], ...]:
    """How many pixels became one, along each axis, from each level to the next."""
    steps = zip(pairwise(shapes), pairwise(scales), strict=True)
    return tuple(
        tuple(_factor(*axis) for axis in zip(*shape, *scale, strict=True)) for shape, scale in steps
    )


def _factor(before: int, after: int, fine: float, coarse: float) -> int:
    told = max(1, round(coarse / fine))
    # Some programs drop a last block that is not full.
    fits = after in (-(-before // told), before // told)
    return told if fits else max(1, round(before / after))


def _stored(array: Any, names: Sequence[str] | None = None) -> dict[str, Any]:
    storage = {
        "filters": array.filters or None,
        "compressors": array.compressors or None,
        "fill_value": array.fill_value,
        "attributes": dict(array.attrs),
    }
    own = _stored_v2 if array.metadata.zarr_format == 2 else _stored_v3
    return {
        "zarr_format": array.metadata.zarr_format,
        "chunks": tuple(array.chunks),
        "shards": array.shards,
        "storage": {**storage, **own(array.metadata, array, names)},
    }


def _stored_v2(metadata: Any, array: Any, _: Sequence[str] | None) -> dict[str, Any]:
    keys = {"name": "v2", "separator": metadata.dimension_separator}
    return {"order": array.order, "chunk_key_encoding": keys}


def _stored_v3(metadata: Any, array: Any, names: Sequence[str] | None) -> dict[str, Any]:
    return {
        "serializer": array.serializer,
        "chunk_key_encoding": metadata.chunk_key_encoding,
        "dimension_names": metadata.dimension_names or names,
    }
