"""What a zarr group holds that is not an image itself, in words, and the package that reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from napari_rednet.errors import ImageFileError

_MISSING = "OME-Zarr needs more packages: pip install 'napari-rednet[zarr]'"


_KINDS = {
    "plate": "is a plate of wells (HCS)",
    "well": "is a well of a plate (HCS)",
    "bioformats2raw.layout": "is a collection of images (bioformats2raw)",
    "labels": "is a group of labels",
}
_MOST_NAMED = 5


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


def ome_attributes(group: Any) -> Mapping[str, Any]:
    """The metadata of OME in a group, wherever its version keeps them."""
    attributes = dict(group.attrs)
    inner = attributes.get("ome")
    return inner if isinstance(inner, Mapping) else attributes


def describe_contents(path: Path, group: Any) -> str:
    """Why a group cannot be restored, and which of its parts can."""
    attributes = ome_attributes(group)
    kind = next((_KINDS[key] for key in _KINDS if key in attributes), "is a group without an image")
    found = list(islice(_images(group), _MOST_NAMED + 1)) or sorted(n for n, _ in group.arrays())
    if not found:
        return f"{path} {kind}, and there is none below it"
    named = ", ".join(str(path / name) for name in found[:_MOST_NAMED])
    more = " and more" if len(found) > _MOST_NAMED else ""
    return f"{path} {kind}; name one of the images in it: {named}{more}"


def _images(group: Any, prefix: str = "") -> Iterator[str]:
    for name, child in sorted(group.groups(), key=lambda pair: (len(pair[0]), pair[0])):
        if "multiscales" in ome_attributes(child):
            yield prefix + name
        else:
            yield from _images(child, f"{prefix}{name}/")
