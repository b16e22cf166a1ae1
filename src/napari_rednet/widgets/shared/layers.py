"""Image layers as arrays to restore, in memory or still to be computed; results as layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Layer
from napari.utils.transforms import Affine
from napari.viewer import Viewer

from napari_rednet.execution import is_dask
from napari_rednet.provenance import Origin, find_origin

# How a layer lies in the world and how it is shown. Names that an older napari does not know
# are left out.
_KEPT = (
    *("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels"),
    *("contrast_limits", "colormap", "gamma", "blending", "opacity"),
    *("interpolation2d", "interpolation3d", "rendering", "depiction", "projection_mode"),
    *("attenuation", "iso_threshold"),
)
# Pixels along a side up to which graphics cards show a plane as it is; napari draws larger ones
# coarsely, unless they come with smaller copies.
_LARGEST_TEXTURE = 8192
_REFUSED = {
    "b": "yes or no (bool) values. To fill what it marks in an image, choose it as the mask of "
    "Inpaint, as a Labels layer; to restore it, convert it to numbers",
    "c": "complex numbers. Restore its real and imaginary parts, or its magnitude, as layers of "
    "their own",
}
TEMPORARY = "napari_rednet_temporary"
"""In the metadata of layers that come and go with a window."""


@dataclass(frozen=True)
class LayerImage:
    """What of a layer is restored.

    Parameters
    ----------
    data : (..., Y, X), (..., Y, X, 3) or (..., Y, X, 4) array
        The full resolution, with the transparency of an RGBA layer.
    rgb : bool
        Whether the last axis holds colours. Any other axis of a layer counts planes.
    plane : tuple of int, optional
        Where in the layer the data lie, along the axes before Y and X, which are of length 1
        then; None if the data are everything.
    """

    data: Any
    rgb: bool = False
    plane: tuple[int, ...] | None = None

    @property
    def array(self) -> Any:
        """The data without transparency."""
        return self._samples(slice(0, 3)) if self.rgb else self.data

    @property
    def alpha(self) -> Any:
        """Transparency, (..., Y, X, 1); None without."""
        return self._samples(slice(3, 4)) if self.has_alpha else None

    @property
    def has_alpha(self) -> bool:
        """Whether there is transparency."""
        return self.rgb and self.data.shape[-1] == 4

    @property
    def channel_axis(self) -> int | None:
        """Axis of the colours."""
        return -1 if self.rgb else None

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels; a single empty one without a channel axis."""
        return ("red", "green", "blue") if self.rgb else ("",)

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """Pixels along each axis of the layer, which colours are none of."""
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
        """A restored array with the untouched transparency of the layer, unless it has its own."""
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
    """What tells where the data of a layer come from, once it is asked for.

    Parameters
    ----------
    name : str
        Of the layer.
    path : str or None
        The file that it was opened from.
    shape : tuple of int
        Of its full resolution.
    dtype : dtype
        Of its data.
    """

    name: str
    path: str | None
    shape: tuple[int, ...]
    dtype: Any

    def find_origin(self) -> Origin:
        """Look into the file, which may take a while."""
        return find_origin(self.name, self.path, self.shape, self.dtype)


def layer_source(layer: Layer) -> LayerSource:
    """The source of an Image or Labels layer."""
    data, path = full_resolution(layer), layer.source.path
    return LayerSource(layer.name, None if path is None else str(path), data.shape, data.dtype)


def image_layers(viewer: Viewer) -> list[Image]:
    """The image layers of a viewer that can be worked on."""
    return [
        layer
        for layer in viewer.layers
        if isinstance(layer, Image) and not layer.metadata.get(TEMPORARY)
    ]


def insert_quietly(viewer: Viewer, index: int, layer: Image) -> None:
    """Insert a layer without selecting it; nobody hears of another selection in between."""
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
    """Raise `ValueError`, in words for the user, if there is no restoring the values of a layer."""
    kind = np.dtype(full_resolution(layer).dtype).kind
    if kind not in "iuf":
        holds = _REFUSED.get(kind, "no real numbers")
        raise ValueError(f"the layer {layer.name!r} holds {holds}")


def layer_image(
    layer: Image, plane: Sequence[int] | None = None, *, lazily: bool | None = None
) -> LayerImage:
    """The image of a layer; of a multiscale layer, the level of full resolution.

    Parameters
    ----------
    layer : Image
        The layer.
    plane : sequence of int, optional
        A position along the axes before Y and X, which are of length 1 then; everything if None.
    lazily : bool, optional
        For what is not in memory: whether it becomes a dask array, so that its result is lazy, or
        an array that is computed plane by plane. It stays as it is if None.
    """
    data = full_resolution(layer)
    if not is_in_memory(data) and (plane is not None or lazily is not None):
        data = as_lazy(data)
    if plane is not None:
        data = data[tuple(slice(i, i + 1) for i in plane)]
    if not is_in_memory(data) and lazily is False:
        data = PlanesOnDemand(data, 3 if layer.rgb else 2)
    return LayerImage(data, layer.rgb, None if plane is None else tuple(plane))


def shown_plane(layer: Image, point: Sequence[float]) -> tuple[int, ...]:
    """Where the plane lies that is shown when the sliders are at a point of the world."""
    position = layer.world_to_data(np.asarray(point, float)[-layer.ndim :])[:-2]
    counts = full_resolution(layer).shape[: layer.ndim - 2]
    return tuple(int(np.clip(np.round(x), 0, n - 1)) for x, n in zip(position, counts, strict=True))


def layer_options(layer: Image, plane: Sequence[int] | None = None) -> dict[str, Any]:
    """Keyword arguments of `add_image` that place and show an image like the one of `layer`.

    With `plane`, the image has the axes of the layer and is of length 1 along those before Y and X.
    """
    state = layer.as_layer_data_tuple()[1]
    options = {name: state[name] for name in _KEPT if name in state} | {"rgb": layer.rgb}
    return options if plane is None else options | finer_grid(layer, 1, (*plane, 0, 0))


def finer_grid(layer: Image, factor: int, first: Sequence[float] | None = None) -> dict[str, Any]:
    """Keyword arguments of `add_image` for `factor` times as many rows and columns in its place.

    `first` is the pixel of the layer that the image begins at, if it is not the layer's first.
    """
    scale = np.array(layer.scale, float)
    scale[-2:] /= factor
    start = np.zeros(layer.ndim) if first is None else np.array(first, float)
    # Pixels are where their centres are: the first small one lies before that of the large one.
    start[-2:] += (1 - factor) / (2 * factor)
    placed = Affine(layer.scale, layer.translate, rotate=layer.rotate, shear=layer.shear)
    return {"scale": scale, "translate": placed(start)}


def as_shown(image: Any, *, rgb: bool) -> dict[str, Any]:
    """An image as the arguments `data` and `multiscale` of `add_image`: large ones in levels."""
    rows, columns = (-3, -2) if rgb else (-2, -1)
    levels = [image]
    half = tuple(slice(None, None, 2 if a in (rows, columns) else 1) for a in range(-image.ndim, 0))
    while max(levels[-1].shape[rows], levels[-1].shape[columns]) > _LARGEST_TEXTURE:
        levels.append(levels[-1][half])
    if len(levels) == 1:
        return {"data": image}
    return {"data": levels, "multiscale": True}


def is_in_memory(array: Any) -> bool:
    """Whether the values of an array are there, or mapped into memory."""
    return isinstance(array, np.ndarray)


def as_lazy(array: Any) -> Any:
    """A stored array as a dask array of the same chunks; dask arrays stay as they are."""
    import dask.array as da

    return array if is_dask(array) else da.from_array(array, name=False)


class PlanesOnDemand:
    """A dask array that is computed plane by plane, each when it is first looked at.

    A restoration reads a plane band by band, and bands of one plane need the same chunks: the
    last plane is kept. It is no dask array: a restoration of it is not lazy.

    Parameters
    ----------
    array : dask array
        With the axes of a plane last.
    plane_axes : int
        How many these are: 2, or 3 with colours.
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
        """Some of the colours."""
        return PlanesOnDemand(self._array[..., which], self.ndim - self._leading)

    def _plane(self, plane: tuple[int | slice, ...]) -> npt.NDArray[Any]:
        kept = self._kept  # another thread may replace it
        if kept is None or kept[0] != plane:
            kept = self._kept = plane, np.asarray(self._array[plane])
        return kept[1]
