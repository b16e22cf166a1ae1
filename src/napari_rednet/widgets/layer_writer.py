"""Writes image layers with pixel sizes, units and axes, which napari's own TIFF files lack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_rednet.errors import ImageFileError
from napari_rednet.io import ZARR_SUFFIX, OpenImage, described_for, image_writer
from napari_rednet.io.ome_zarr import ZarrImage, as_tiff_description, as_zarr_description
from napari_rednet.io.ome_zarr.conversion import likely_letters, unit_name
from napari_rednet.io.tiff import TiffImage
from napari_rednet.widgets.shared.layers import as_lazy, is_in_memory

# Numbers of a transform that are this small, against its largest, are rounding.
_STRAIGHT = 1e-6
_TIMES = ("second", "minute", "hour", "day")
_NAMES = {"z": "Z", "t": "T", "time": "T", "c": "C", "ch": "C", "channel": "C", "channels": "C"}


def write_image(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write an image layer as OME-TIFF or OME-Zarr; called by napari.

    `path` ends in .tif, .tiff or .zarr. `data` is (..., Y, X) or (..., Y, X, 3 or 4); of a
    multiscale layer, the finest level is written. Arrays that are not in memory are read plane by
    plane. `attributes` are those of the layer data tuple: axes go by their labels, and those
    without one are taken for Z, T and Z, or T, C and Z; where a scale is negative, pixels are
    mirrored. Returns the written paths. Raises `ImageFileError` if the format has no place for the
    axes or the dtype, if the layer is rotated or sheared, or if writing fails.
    """
    target = Path(path)
    image = _described(target, data, attributes)
    with image_writer(target, image) as written:
        for index in _planes(image):
            written[index] = np.asarray(image.data[index])
    return [path]


def _described(path: Path, data: Any, attributes: Mapping[str, Any]) -> OpenImage:
    """The layer as an image of the file's format."""
    finest = data[0] if attributes.get("multiscale") else data
    array = finest if is_in_memory(finest) else as_lazy(finest)
    if np.dtype(array.dtype).kind not in "iuf":
        raise ImageFileError(f"pixels of the type {array.dtype} cannot be saved here")
    array, attributes = _upright(array, attributes)
    if not attributes.get("rgb"):
        letters = _letters(attributes, array.ndim)
        return described_for(path, _placed(TiffImage(array, letters), letters, attributes))
    letters = _letters(attributes, array.ndim - 1)
    if path.suffix.lower() == ZARR_SUFFIX:
        colours = TiffImage(array, f"{letters}S", {"photometric": "rgb"})
        return _placed(colours, letters, attributes)
    return _as_rgb_tiff(array, letters, attributes)


def _upright(array: Any, attributes: Mapping[str, Any]) -> tuple[Any, Mapping[str, Any]]:
    """The pixels as they are shown, with their scale and translation; a negative scale mirrors.

    Raises `ImageFileError` if the layer is rotated or sheared.
    """
    matrix = _matrix(attributes, array.ndim - bool(attributes.get("rgb")))
    scale = np.diag(matrix)[:-1]
    rest = matrix[:-1, :-1] - np.diag(scale)
    if np.abs(rest).max() > _STRAIGHT * np.abs(matrix[:-1, :-1]).max():
        raise ImageFileError(
            "the layer is rotated or sheared, for which the file has no place; save it with "
            "rotate, shear and affine set back, and place it again where it is opened"
        )
    is_mirrored = scale < 0
    steps = tuple(slice(None, None, -1 if mirrored else None) for mirrored in is_mirrored)
    ends = scale * (np.array(array.shape[: len(scale)]) - 1)
    place = {"scale": np.abs(scale), "translate": matrix[:-1, -1] + is_mirrored * ends}
    return array[steps], {**attributes, **place}


def _matrix(attributes: Mapping[str, Any], count: int) -> npt.NDArray[np.float64]:
    """From indices of pixels to places, with a last row and column for the translation."""
    from napari.utils.transforms import Affine

    given = {key: attributes[key] for key in ("rotate", "shear") if attributes.get(key) is not None}
    place = Affine(
        scale=attributes.get("scale", np.ones(count)),
        translate=attributes.get("translate", np.zeros(count)),
        ndim=count,
        **given,
    )
    affine = attributes.get("affine")
    outer = np.eye(count + 1) if affine is None else np.asarray(affine, float)
    matrix: npt.NDArray[np.float64] = outer @ place.affine_matrix
    return matrix


def _as_rgb_tiff(array: Any, letters: str, attributes: Mapping[str, Any]) -> TiffImage:
    """RGB or RGBA as a TIFF with a samples axis, with the metadata of one of its samples."""
    one = as_tiff_description(_placed(TiffImage(array[..., 0], letters), letters, attributes))
    axes = f"{one.axes}S"
    options = {**one.options, "photometric": "rgb"}
    options["metadata"] = {**options["metadata"], "axes": axes}
    if array.shape[-1] > 3:
        options["extrasamples"] = ["unassalpha"]
    order = [letters.index(letter) for letter in one.axes]
    return TiffImage(np.transpose(array, [*order, array.ndim - 1]), axes, options)


def _placed(image: TiffImage, letters: str, attributes: Mapping[str, Any]) -> ZarrImage:
    """OME-Zarr image with the scale, translation, units and name of its layer."""
    described = as_zarr_description(image)
    count = len(letters)
    places = zip(
        letters,
        attributes.get("scale", (1.0,) * count),
        attributes.get("translate", (0.0,) * count),
        attributes.get("units") or (None,) * count,
        strict=True,
    )
    known = {letter: (float(s), float(t), unit) for letter, s, t, unit in places}
    found = [known.get(letter, (1.0, 0.0, None)) for letter in described.axes]
    return replace(
        described,
        scale=tuple(scale for scale, _, _ in found),
        translation=tuple(translation for _, translation, _ in found),
        axes_metadata=tuple(
            _with_unit(axis, unit)
            for axis, (_, _, unit) in zip(described.axes_metadata, found, strict=True)
        ),
        name=attributes.get("name"),
    )


def _with_unit(axis: Mapping[str, Any], unit: Any) -> Mapping[str, Any]:
    """Add a unit to an axis if the kinds agree; napari may give a time axis a unit of length."""
    name = unit_name(str(unit))
    kind = "time" if name and name.endswith(_TIMES) else "space"
    return {**axis, "unit": name} if name and axis["type"] == kind else axis


def _letters(attributes: Mapping[str, Any], count: int) -> str:
    """One letter per axis, colours excluded: from its label, else a likely one."""
    labels = [str(label).lower() for label in attributes.get("axis_labels") or [""] * count]
    found = [_NAMES.get(label, "") for label in labels[: count - 2]]
    if any(found.count(letter) > 1 for letter in "".join(found)):
        found = [""] * len(found)
    return "".join(likely_letters(found)) + "YX"


def _planes(image: OpenImage) -> Iterator[tuple[int, ...]]:
    leading = image.axes.index("Y")
    yield from np.ndindex(image.data.shape[:leading])
