"""Saves image layers with their pixel sizes, units and axes, which napari's own TIFF files lack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_rednet.errors import ImageFileError
from napari_rednet.io.files import OpenImage, described_for, image_writer
from napari_rednet.io.ome_zarr import ZarrImage
from napari_rednet.io.ome_zarr.units import unit_symbol
from napari_rednet.io.tiff import TiffImage
from napari_rednet.widgets.on_demand import as_lazy, is_in_memory

# What axes without a telling name are taken for, from the innermost out.
_LIKELY = "ZTC"
_NAMES = {"z": "Z", "t": "T", "time": "T", "c": "C", "ch": "C", "channel": "C", "channels": "C"}


def write_image(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write an image layer as OME-TIFF or OME-Zarr; napari calls it.

    Parameters
    ----------
    path : str
        Ends in .tif, .tiff or .zarr.
    data : (..., Y, X) or (..., Y, X, 3 or 4) array, or a list of them
        Of a layer; of several resolutions, the finest is written. Arrays that are not in memory
        are read plane by plane.
    attributes : mapping
        Of the layer, as napari has them: scale, translation, units, axis labels, name.

    Returns
    -------
    paths : list of str
        What has been written.

    Raises
    ------
    ImageFileError
        If the file cannot be written, or its format has no place for the axes or the dtype.
    """
    target = Path(path)
    image = _described(target, data, attributes)
    with image_writer(target, image) as written:
        for index in _planes(image):
            written[index] = np.asarray(image.data[index])
    return [path]


def _described(path: Path, data: Any, attributes: Mapping[str, Any]) -> OpenImage:
    """The layer as the format of the file has it."""
    finest = data[0] if attributes.get("multiscale") else data
    array = finest if is_in_memory(finest) else as_lazy(finest)
    if np.dtype(array.dtype).kind not in "iuf":
        raise ImageFileError(f"pixels of the type {array.dtype} cannot be saved here")
    letters = _letters(attributes, array.ndim - bool(attributes.get("rgb")))
    image = described_for(path, _as_tiff(array, letters, attributes))
    if isinstance(image, ZarrImage):
        # OME-TIFF has no place for it, so the common way has lost it.
        known = dict(zip(letters, attributes.get("translate", ()), strict=False))
        return replace(image, translation=tuple(float(known.get(a, 0)) for a in image.axes))
    return image


def _letters(attributes: Mapping[str, Any], count: int) -> str:
    """One letter for each axis but that of colours: by its label, or else a likely one."""
    labels = [str(label).lower() for label in attributes.get("axis_labels") or [""] * count]
    found = [_NAMES.get(label, "") for label in labels[: count - 2]]
    if any(found.count(letter) > 1 for letter in "".join(found)):
        found = [""] * len(found)
    for position in reversed(range(len(found))):
        free = [letter for letter in _LIKELY if letter not in found]
        if not found[position] and not free:
            raise ImageFileError("OME has time, channels, Z, Y and X; the layer has more axes")
        found[position] = found[position] or free[0]
    return "".join(found) + "YX"


def _as_tiff(array: Any, letters: str, attributes: Mapping[str, Any]) -> TiffImage:
    metadata: dict[str, Any] = dict(_sizes(letters, attributes))
    if name := attributes.get("name"):
        metadata["Name"] = name
    options: dict[str, Any] = {"photometric": "minisblack", "ome": True}
    axes = letters
    if attributes.get("rgb"):
        axes += "S"
        options["photometric"] = "rgb"
        if array.shape[-1] > 3:
            options["extrasamples"] = ["unassalpha"]
    return TiffImage(array, axes, {**options, "metadata": {"axes": axes, **metadata}})


def _sizes(letters: str, attributes: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Size of the pixels along each axis, and its unit, for those that have one."""
    count = len(letters)
    scale: Sequence[float] = attributes.get("scale", np.ones(count))
    units = attributes.get("units") or [None] * count
    for letter, size, unit in zip(letters, scale, units, strict=False):
        symbol = unit_symbol(str(unit))
        if symbol and letter != "C":
            key = "TimeIncrement" if letter == "T" else f"PhysicalSize{letter}"
            yield key, float(size)
            yield f"{key}Unit", symbol


def _planes(image: OpenImage) -> Iterator[tuple[int, ...]]:
    leading = image.axes.index("Y")
    yield from np.ndindex(image.data.shape[:leading])
