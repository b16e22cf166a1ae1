"""Image layers as arrays to restore, and restored arrays as layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Image
from napari.utils.transforms import Affine
from napari.viewer import Viewer

from napari_rednet.execution import is_dask

# How a layer lies in the world and how it is shown. Names that an older napari does not know
# are left out.
_KEPT = (
    *("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels"),
    *("contrast_limits", "colormap", "gamma", "blending", "opacity"),
    *("interpolation2d", "interpolation3d", "rendering", "depiction", "projection_mode"),
    *("attenuation", "iso_threshold"),
)

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
    """

    data: Any
    rgb: bool = False

    @property
    def array(self) -> Any:
        """The data without transparency."""
        return self.data[..., :3] if self.rgb else self.data

    @property
    def alpha(self) -> Any:
        """Transparency, (..., Y, X, 1); None without."""
        return self.data[..., 3:] if self.rgb and self.data.shape[-1] == 4 else None

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


def layer_image(layer: Image) -> LayerImage:
    """The image of a layer; of a multiscale layer, the level of full resolution."""
    return LayerImage(layer.data[0] if layer.multiscale else layer.data, layer.rgb)


def layer_options(layer: Image) -> dict[str, Any]:
    """Keyword arguments of `add_image` that place and show an image like the one of `layer`."""
    state = layer.as_layer_data_tuple()[1]
    return {name: state[name] for name in _KEPT if name in state} | {"rgb": layer.rgb}


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
