"""Image layers as arrays to restore, and restored arrays as layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Image

from napari_rednet.execution import is_dask

# How a layer lies in the world and how it is shown. Names that an older napari does not know
# are left out.
_KEPT = (
    *("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels"),
    *("contrast_limits", "colormap", "gamma", "blending", "opacity"),
    *("interpolation2d", "interpolation3d", "rendering", "depiction", "projection_mode"),
    *("attenuation", "iso_threshold"),
)


@dataclass(frozen=True)
class LayerImage:
    """What of a layer is restored, and what is only carried along.

    Parameters
    ----------
    array : (..., Y, X) or (..., Y, X, 3) array
        The full resolution, without transparency.
    channel_axis : int or None
        -1 for colours. Any other axis of a layer counts planes.
    alpha : (..., Y, X, 1) array or None
        Transparency of an RGBA layer.
    """

    array: Any
    channel_axis: int | None = None
    alpha: Any = None

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels; a single empty one without a channel axis."""
        return ("",) if self.channel_axis is None else ("red", "green", "blue")

    def with_alpha(self, restored: Any) -> Any:
        """A restored array with the untouched transparency of the layer."""
        if self.alpha is None:
            return restored
        if is_dask(restored):
            import dask.array as da

            return da.concatenate([restored, self.alpha], axis=-1)
        return np.concatenate([restored, np.asarray(self.alpha)], axis=-1)


def layer_image(layer: Image) -> LayerImage:
    """The array of a layer; of a multiscale layer, the level of full resolution."""
    data = layer.data[0] if layer.multiscale else layer.data
    if not layer.rgb:
        return LayerImage(data)
    alpha = data[..., 3:] if data.shape[-1] == 4 else None
    return LayerImage(data[..., :3], -1, alpha)


def layer_options(layer: Image) -> dict[str, Any]:
    """Keyword arguments of `add_image` that place and show an image like the one of `layer`."""
    state = layer.as_layer_data_tuple()[1]
    return {name: state[name] for name in _KEPT if name in state} | {"rgb": layer.rgb}
