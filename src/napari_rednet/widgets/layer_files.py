"""Image layers from files, and written to them with pixel sizes, units and axes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image
from napari.viewer import Viewer

from napari_rednet.batch import BatchFile
from napari_rednet.batch.planning import AS_TOLD
from napari_rednet.errors import ImageFileError
from napari_rednet.io import ZARR_SUFFIX, OpenImage, described_for, image_writer, read_image
from napari_rednet.io.ome_zarr import ZarrImage, as_tiff_description, as_zarr_description
from napari_rednet.io.ome_zarr.conversion import LIKELY, likely_letters, unit_name
from napari_rednet.io.sources import Reading
from napari_rednet.io.tiff import TiffImage
from napari_rednet.widgets.shared.layers import (
    as_lazy,
    finer_grid,
    is_in_memory,
    is_seen_through,
    layer_options,
    likely_contrast,
)

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


def write_channels(path: str, layers: Sequence[tuple[Any, Mapping[str, Any], str]]) -> list[str]:
    """Write several image layers as the channels of one OME-TIFF or OME-Zarr; called by napari.

    Each keeps its name, colour and contrast limits. Raises `ImageFileError` if they differ in
    shape, type or place, or have channels or colours already, and as `write_image` does.
    """
    target = Path(path)
    image = _as_channels(target, layers)
    with image_writer(target, image) as written:
        for index in _planes(image):
            written[index] = np.asarray(image.data[index])
    return [path]


def _as_channels(path: Path, layers: Sequence[tuple[Any, Mapping[str, Any], str]]) -> OpenImage:
    """The layers as the channels of one image of the file's format."""
    found = []
    for data, attributes, _ in layers:
        if attributes.get("rgb"):
            raise ImageFileError("layers with colours cannot be channels; save each by itself")
        array = _readable(data[0] if attributes.get("multiscale") else data)
        found.append(_upright(array, attributes))
    arrays, first = [array for array, _ in found], found[0][1]
    if len({(array.shape, np.dtype(array.dtype)) for array in arrays}) > 1:
        raise ImageFileError("the layers differ in shape or type; save each by itself")
    places = [np.concatenate([told["scale"], told["translate"]]) for _, told in found]
    if not all(np.allclose(place, places[0]) for place in places):
        raise ImageFileError("the layers lie in different places; save each by itself")
    letters = _letters(first, arrays[0].ndim, free="ZT")
    if "C" in letters:
        raise ImageFileError("the layers have an axis of channels already; save each by itself")
    stacked = _stacked(arrays)
    image = _placed(TiffImage(stacked, f"C{letters}"), letters, {**first, "name": path.stem})
    channels = [_shown(attributes) for _, attributes in found]
    return described_for(path, replace(image, omero={"channels": channels}))


def _stacked(arrays: Sequence[Any]) -> Any:
    """Arrays along a new first axis; not in memory, if they are not."""
    if all(isinstance(array, np.ndarray) for array in arrays):
        return np.stack(arrays)
    import dask.array as da

    return da.stack([as_lazy(array) for array in arrays])


def _shown(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Name, colour and window of a channel, as OME-Zarr has them."""
    channel: dict[str, Any] = {"label": attributes.get("name") or "0"}
    colours = np.asarray((attributes.get("colormap") or {}).get("colors", ()))
    if colours.size:
        brightest = np.rint(255 * colours[-1, :3]).astype(int)
        channel["color"] = "".join(f"{value:02X}" for value in brightest)
    limits = attributes.get("contrast_limits")
    if limits is not None and limits[0] < limits[1]:
        low, high = map(float, limits)
        channel["window"] = {"min": low, "max": high, "start": low, "end": high}
    return channel


def _readable(data: Any) -> Any:
    """An array that can be cut into planes and channels without reading all of it."""
    return data if is_in_memory(data) else as_lazy(data)


def _described(path: Path, data: Any, attributes: Mapping[str, Any]) -> OpenImage:
    """The layer as an image of the file's format."""
    finest = data[0] if attributes.get("multiscale") else data
    array = _readable(finest)
    if np.dtype(array.dtype).kind not in "iuf":
        raise ImageFileError(f"pixels of the type {array.dtype} cannot be saved here")
    array, attributes = _upright(array, attributes)
    if not attributes.get("rgb"):
        letters = _letters(attributes, array.ndim)
        image = _placed(TiffImage(array, letters), letters, attributes)
        count = 1 if image.channel_axis is None else image.data.shape[image.channel_axis]
        channels = [_shown(attributes)] * count
        return described_for(path, replace(image, omero={"channels": channels}))
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


def _letters(attributes: Mapping[str, Any], count: int, free: str = LIKELY) -> str:
    """One letter per axis, colours excluded: from its label, else a likely one of those `free`."""
    labels = [str(label).lower() for label in attributes.get("axis_labels") or [""] * count]
    found = [_NAMES.get(label, "") for label in labels[: count - 2]]
    if any(found.count(letter) > 1 for letter in "".join(found)):
        found = [""] * len(found)
    return "".join(likely_letters(found, free)) + "YX"


def _planes(image: OpenImage) -> Iterator[tuple[int, ...]]:
    leading = image.axes.index("Y")
    yield from np.ndindex(image.data.shape[:leading])


@dataclass(frozen=True)
class FileImage:
    """What an image file gives a layer.

    Parameters
    ----------
    data : array
        Not read into memory, if the file allows it. Colours are its last axis.
    channel_axis : int or None
        Each of these channels becomes a layer.
    rgb : bool
        Whether there are colours.
    options : mapping
        Arguments of `add_image` that place it: pixel sizes.
    """

    data: Any
    channel_axis: int | None
    rgb: bool
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def channels(self) -> list[Any]:
        """The data of each layer."""
        axis = self.channel_axis
        if axis is None:
            return [self.data]
        before = (slice(None),) * axis
        return [self.data[(*before, i)] for i in range(self.data.shape[axis])]


def read_files(file: BatchFile, *, with_source: bool) -> list[FileImage]:
    """Open the source, if wanted, and the result of a file; for another thread.

    The first of them has a contrast by percentiles: napari's own is dark with a hot pixel, and pale
    with a noisy background.
    """
    source = [read_layer_image(file.source, file.reading)] if with_source else []
    first, *others = [*source, read_layer_image(file.result)]
    limits = [] if first.rgb else [likely_contrast(data) for data in first.channels]
    if limits and None not in limits:
        first.options["contrast_limits"] = limits[0] if first.channel_axis is None else limits
    return [first, *others]


def read_layer_image(path: Path, reading: Reading = AS_TOLD) -> FileImage:
    """Open an image file as it is to be shown.

    Raises
    ------
    ImageFileError
        If it cannot be read.
    """
    image = read_image(path, **vars(reading))
    data, axis, options = _readable(image.data), image.channel_axis, _placing(image)
    if axis is not None and image.is_rgb and data.shape[axis] in (3, 4):
        return FileImage(np.moveaxis(data, axis, -1), None, True, options)
    return FileImage(data, axis, False, options)


def add_files(viewer: Viewer, file: BatchFile, suffix: str, images: list[FileImage]) -> list[Image]:
    """Add what `read_files` returns; a result over its source looks like it, in the same place."""
    *sources, result = images
    name = file.name
    if not sources:
        return _added(viewer, result, name + suffix)
    layers = _added(viewer, sources[0], name)
    factor = result.data.shape[_row_axis(result)] // sources[0].data.shape[_row_axis(sources[0])]
    for layer, data in zip(list(layers), result.channels, strict=False):
        placed = layer_options(layer) | (finer_grid(layer, factor) if factor > 1 else {})
        if is_seen_through(layer):
            layer.visible = False  # or both would be seen at once, twice as bright
        layers.append(viewer.add_image(data, name=layer.name + suffix, **placed))
    return layers


def _added(viewer: Viewer, image: FileImage, name: str) -> list[Image]:
    axis = {} if image.channel_axis is None else {"channel_axis": image.channel_axis}
    rgb = {} if axis else {"rgb": image.rgb}
    added = viewer.add_image(image.data, name=name, **axis, **rgb, **image.options)
    return list(added) if isinstance(added, list) else [added]


def _row_axis(image: FileImage) -> int:
    return -3 if image.rgb else -2


def _placing(image: OpenImage) -> dict[str, Any]:
    """Pixel sizes and units, without those of channels; nothing where the file has none."""
    from napari_rednet.io.ome_zarr import as_zarr_description

    try:
        described = as_zarr_description(image)  # type: ignore[arg-type]
    except ImageFileError:
        return {}
    known = dict(
        zip(
            described.axes,
            zip(described.scale, described.translation, described.units, strict=True),
            strict=True,
        )
    )
    placed = [known[letter] for letter in image.axes if letter not in "CS"]
    scale, translate, units = zip(*placed, strict=True)
    return {"scale": scale, "translate": translate, "units": [unit or "pixel" for unit in units]}
