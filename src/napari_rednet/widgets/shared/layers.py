"""Image layers as arrays, in memory or lazy, and results as layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Layer
from napari.layers.utils.layer_utils import calc_data_range
from napari.utils.transforms import Affine
from napari.viewer import Viewer

from napari_rednet.engine.channel import PERCENTILES
from napari_rednet.execution import is_dask
from napari_rednet.execution.reading import chunks_of
from napari_rednet.provenance import Call, Crop, Origin, find_origin

# Transform and looks of a layer.
_COVERING = ("opaque", "translucent", "translucent_no_depth")
_KEPT = (
    *("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels"),
    *("contrast_limits", "colormap", "gamma", "blending", "opacity"),
    *("interpolation2d", "interpolation3d", "rendering", "depiction", "projection_mode"),
    *("attenuation", "iso_threshold"),
)
_CHANNEL_LABELS = ("c", "ch", "channel", "channels")
_LOOK = ("contrast_limits", "colormap", "gamma", "blending", "opacity")
# Side of the largest texture of usual graphics cards, in pixels; napari draws larger planes
# coarsely, unless they are multiscale.
_LARGEST_TEXTURE = 8192
_DARK = 0.5  # share of the contrast that hardly any pixel makes use of
_MOST_LOOKED_AT = 500_000  # pixels of a plane
_REFUSED = {
    "b": "yes or no (bool) values. To fill what it marks in an image, choose it as the mask of "
    "Inpaint, as a Labels layer; to restore it, convert it to numbers",
    "c": "complex numbers. Restore its real and imaginary parts, or its magnitude, as layers of "
    "their own",
}
TEMPORARY = "napari_rednet_temporary"
"""Key in the metadata of layers that a window adds and removes itself."""


@dataclass(frozen=True)
class LayerImage:
    """The part of a layer to restore.

    `data` is (..., Y, X), or (..., Y, X, 3 or 4) if `rgb`, in full resolution, without what `crop`
    leaves out of the layer; None if it leaves out nothing. Axes are kept. `channel` is the axis of
    channels that are no colours. The noise of the part is that of `whole`, if it is given.
    """

    data: Any
    rgb: bool = False
    crop: Crop | None = None
    channel: int | None = None
    whole: LayerImage | None = None

    @property
    def array(self) -> Any:
        """The data without alpha."""
        return self._samples(slice(0, 3)) if self.rgb else self.data

    @property
    def alpha(self) -> Any:
        """Alpha, (..., Y, X, 1); None without."""
        return self._samples(slice(3, 4)) if self.has_alpha else None

    @property
    def has_alpha(self) -> bool:
        """True if there is an alpha channel."""
        return self.rgb and self.data.shape[-1] == 4

    @property
    def channel_axis(self) -> int | None:
        """Axis of the colours or other channels; None if there are none."""
        return -1 if self.rgb else self.channel

    @property
    def colours(self) -> dict[str, Any]:
        """What functions that know colours are told of the channels."""
        return {"rgb": self.rgb, "channel_axis": self.channel_axis}

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels; a single empty one if there are none."""
        if self.rgb:
            return "red", "green", "blue"
        return (
            ("",) if self.channel is None else tuple(f"channel {i}" for i in self.channel_numbers)
        )

    @property
    def channel_numbers(self) -> range:
        """Which channels of the layer are in it."""
        if self.rgb or self.channel is None:
            return range(3 if self.rgb else 1)
        part = None if self.crop is None else self.crop[self.channel]
        return range(*part) if part else range(self.data.shape[self.channel])

    @property
    def is_plane(self) -> bool:
        """True if it has been cut to a single plane."""
        return self.crop is not None and all(
            part is not None and part[1] - part[0] == 1 for part in self.crop[:-2]
        )

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """Shape without the colours."""
        shape: tuple[int, ...] = tuple(self.data.shape)
        return shape[:-1] if self.rgb else shape

    @property
    def plane_shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self.spatial_shape[-2:]
        return rows, columns

    def part(self, place: tuple[int, ...], rows: slice, columns: slice) -> LayerImage:
        """Rows and columns of one plane."""
        return LayerImage(self.data[(*place, rows, columns)], self.rgb)

    def with_alpha(self, restored: Any) -> Any:
        """Append the alpha of the layer to a restored array, unless it has its own."""
        alpha = self.alpha
        if alpha is None or restored.shape[-1] == self.data.shape[-1]:
            return restored
        if is_dask(restored):
            import dask.array as da

            return da.concatenate([restored, alpha], axis=-1)
        return np.concatenate([restored, np.asarray(alpha)], axis=-1)

    def _samples(self, which: slice) -> Any:
        if isinstance(self.data, PlanesOnDemand):
            return self.data.samples(which)
        return self.data[..., which]


@dataclass(frozen=True)
class LayerSource:
    """Where the data of a layer come from: file (or None), full-resolution shape and dtype."""

    name: str
    path: str | None
    shape: tuple[int, ...]
    dtype: Any

    def find_origin(self) -> Origin:
        """The origin of the data; reads the file, which may take a while."""
        return find_origin(self.name, self.path, self.shape, self.dtype)


def layer_source(layer: Layer) -> LayerSource:
    """The source of an Image or Labels layer."""
    data, path = full_resolution(layer), layer.source.path
    return LayerSource(layer.name, None if path is None else str(path), data.shape, data.dtype)


def image_layers(viewer: Viewer) -> list[Image]:
    """The image layers of a viewer, without temporary ones."""
    return [
        layer
        for layer in viewer.layers
        if isinstance(layer, Image) and not layer.metadata.get(TEMPORARY)
    ]


def made_by(layer: Layer | None) -> Call | None:
    """The call that made a layer; None if the layer is not a result."""
    record = {} if layer is None else layer.metadata.get("napari_rednet", {})
    return Call.from_record(record["call"]) if "call" in record else None


def axis_name(layer: Image, axis: int) -> str:
    """The label of an axis, or its number where it has none."""
    labels = layer.axis_labels
    label = str(labels[axis]) if axis < len(labels) else ""
    # napari calls the axes of unlabelled layers -3, -2, -1.
    is_named = label and not label.startswith("axis ") and not label.lstrip("-").isdecimal()
    return label if is_named else f"axis {axis}"


def plane_axes(layer: Image | None) -> list[tuple[int, str]]:
    """Axes before Y and X along which a layer has several planes, with their names and numbers."""
    if layer is None:
        return []
    counts = enumerate(full_resolution(layer).shape[: layer.ndim - 2])
    return [(axis, f"{axis_name(layer, axis)} ({n})") for axis, n in counts if n > 1]


def known_channels(layer: Image) -> int | None:
    """The axis of channels by the layer itself: how it was made, or its labels."""
    call = made_by(layer)
    if call is not None:
        return call.channel_axis
    names = [axis_name(layer, a).lower() for a in range(layer.ndim - 2)]
    return next((a for a, name in enumerate(names) if name in _CHANNEL_LABELS), None)


def insert_quietly(viewer: Viewer, index: int, layer: Image) -> None:
    """Insert a layer without selecting it, and without events of the selection."""
    layers = viewer.layers
    selected = [one for one in layers if one in layers.selection]
    with layers.selection.events.blocker_all():
        layers.insert(index, layer)
        layers.selection.clear()
        layers.selection.update(selected)


def full_resolution(layer: Layer) -> Any:
    """The data of a layer; of a multiscale layer, the finest level."""
    return layer.data[0] if layer.multiscale else layer.data


def check_restorable(layer: Image) -> None:
    """Raise `ValueError`, worded for the user, if the values of a layer cannot be restored."""
    kind = np.dtype(full_resolution(layer).dtype).kind
    if kind not in "iuf":
        holds = _REFUSED.get(kind, "no real numbers")
        raise ValueError(f"the layer {layer.name!r} holds {holds}")


def slices(crop: Crop) -> tuple[slice, ...]:
    """The index that cuts an array to a crop."""
    return tuple(slice(None) if part is None else slice(*part) for part in crop)


def first_pixel(crop: Crop | None) -> tuple[int, ...] | None:
    """Index of the first pixel of a crop; None without one."""
    return None if crop is None else tuple(0 if part is None else part[0] for part in crop)


def layer_image(
    layer: Image,
    crop: Crop | None = None,
    *,
    lazily: bool | None = None,
    channel: int | None = None,
) -> LayerImage:
    """The image of a layer in full resolution, or a part of it.

    Data that are not in memory become a dask array if `lazily` is True, so that the result is lazy,
    and are computed plane by plane if it is False. If it is None, data of all of it stay as they
    are. `channel` is the axis of channels that are no colours.
    """
    data = full_resolution(layer)
    if not is_in_memory(data) and (crop is not None or lazily is not None):
        data = as_lazy(data)
    if crop is not None:
        data = data[slices(crop)]
    if not is_in_memory(data) and lazily is False:
        data = PlanesOnDemand(data, 3 if layer.rgb else 2)
    return LayerImage(data, layer.rgb, crop, channel)


def shown_plane(layer: Image, point: Sequence[float]) -> tuple[int, ...]:
    """Index of the plane that is shown when the sliders are at a point of the world."""
    position = layer.world_to_data(np.asarray(point, float)[-layer.ndim :])[:-2]
    counts = full_resolution(layer).shape[: layer.ndim - 2]
    return tuple(int(np.clip(np.round(x), 0, n - 1)) for x, n in zip(position, counts, strict=True))


def layer_options(layer: Image, crop: Crop | None = None) -> dict[str, Any]:
    """Arguments of `add_image` that place and show an image like `layer`, or like a part of it."""
    state = layer.as_layer_data_tuple()[1]
    options = {name: state[name] for name in _KEPT} | {"rgb": layer.rgb}
    return options if crop is None else options | finer_grid(layer, 1, first_pixel(crop))


def look_of(layer: Image) -> dict[str, Any]:
    """Arguments of `add_image` for the present contrast and colours of a layer."""
    state = layer.as_layer_data_tuple()[1]
    return {name: state[name] for name in _LOOK}


def brighten(layer: Image) -> None:
    """Give a layer a contrast by percentiles, if that of napari leaves it dark.

    napari's goes from the least to the highest value, so that a hot pixel makes all else black, in
    the result as well, which has the contrast of its layer. One that users have set stays.
    """
    data = full_resolution(layer)
    if layer.rgb or not is_in_memory(data) or data.dtype.kind not in "iuf" or not data.size:
        return
    low, high = layer.contrast_limits
    if not np.allclose((low, high), calc_data_range(data)):
        return
    limits = likely_contrast(data)
    if limits is not None and limits[1] - limits[0] < _DARK * (high - low):
        layer.contrast_limits = limits


def likely_contrast(data: Any) -> tuple[float, float] | None:
    """Percentiles of three planes of an array; None where they hold nothing to be told apart."""
    counts = data.shape[:-2]
    places = {tuple(0 for n in counts), tuple(n // 2 for n in counts), tuple(n - 1 for n in counts)}
    step = max(1, round((np.prod(data.shape[-2:]) / _MOST_LOOKED_AT) ** 0.5))
    seen = np.concatenate([np.asarray(data[at][::step, ::step]).ravel() for at in places])
    seen = seen[np.isfinite(seen)]
    low, high = np.percentile(seen, PERCENTILES).tolist() if len(seen) else (0.0, 0.0)
    return (low, high) if low < high else None


def is_seen_through(layer: Image) -> bool:
    """True if what lies below a layer is seen through it, as below additive channels."""
    return layer.blending not in _COVERING or layer.opacity < 1


def finer_grid(layer: Image, factor: int, first: Sequence[float] | None = None) -> dict[str, Any]:
    """Scale and translation for `factor` times as many rows and columns in the same place.

    `first` is the pixel of the layer that the image begins at, by default the layer's first.
    """
    scale = np.array(layer.scale, float)
    scale[-2:] /= factor
    start = np.zeros(layer.ndim) if first is None else np.array(first, float)
    # Pixel positions are their centres; that of the first small one lies before the large one's.
    start[-2:] += (1 - factor) / (2 * factor)
    placed = Affine(layer.scale, layer.translate, rotate=layer.rotate, shear=layer.shear)
    return {"scale": scale, "translate": placed(start)}


def as_shown(image: Any, *, rgb: bool) -> dict[str, Any]:
    """Arguments `data` and `multiscale` of `add_image`; large images get a pyramid."""
    rows, columns = (-3, -2) if rgb else (-2, -1)
    levels = [image]
    half = tuple(slice(None, None, 2 if a in (rows, columns) else 1) for a in range(-image.ndim, 0))
    while max(levels[-1].shape[rows], levels[-1].shape[columns]) > _LARGEST_TEXTURE:
        levels.append(levels[-1][half])
    if len(levels) == 1:
        return {"data": image}
    return {"data": levels, "multiscale": True}


def is_in_memory(array: Any) -> bool:
    """True if an array is in memory, or memory-mapped."""
    return isinstance(array, np.ndarray)


def as_lazy(array: Any) -> Any:
    """A stored array as a dask array of the same chunks; dask arrays stay as they are."""
    import dask.array as da

    if is_dask(array):
        return array
    # By itself dask joins chunks: all of them would be read for each plane that is shown.
    return da.from_array(array, chunks=chunks_of(array) or "auto", name=False)


class PlanesOnDemand:
    """A dask array that is computed plane by plane when it is read; the last plane is cached.

    A restoration reads a plane in bands, which need the same chunks. This is no dask array, so
    that restoring it is not lazy. `plane_axes` is 2, or 3 with colours as the last axis.
    """

    def __init__(self, array: Any, plane_axes: int) -> None:
        self.shape, self.dtype = tuple(array.shape), np.dtype(array.dtype)
        self.ndim = len(self.shape)
        self._array = array
        self._leading = self.ndim - plane_axes
        self._kept: tuple[Any, npt.NDArray[Any]] | None = None

    def __getitem__(self, index: tuple[int | slice, ...]) -> npt.NDArray[Any]:
        """The values of a window in one plane, or in several."""
        plane, window = index[: self._leading], index[self._leading :]
        if any(isinstance(i, slice) for i in plane):
            return np.asarray(self._array[index])
        values: npt.NDArray[Any] = self._plane(plane)[window]
        return values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self._array, dtype)

    def samples(self, which: slice) -> PlanesOnDemand:
        """The array with only some of its colours."""
        return PlanesOnDemand(self._array[..., which], self.ndim - self._leading)

    def _plane(self, plane: tuple[int | slice, ...]) -> npt.NDArray[Any]:
        kept = self._kept  # another thread may replace it
        if kept is None or kept[0] != plane:
            kept = self._kept = plane, np.asarray(self._array[plane])
        return kept[1]
