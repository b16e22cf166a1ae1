"""What of layers is measured: the plane that is shown, or all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image
from napari.viewer import Viewer

from napari_rednet.engine.images import evenly
from napari_rednet.widgets.layers import layer_image

_MOST_PLANES, _MOST_PIXELS = 8, 1024


@dataclass(frozen=True)
class Part:
    """A part of the image of a layer; nothing is read before it is asked for.

    Parameters
    ----------
    data : array
        All of the image.
    index : tuple of int
        Its plane; empty for all planes.
    channel_axis : int or None
        Of colours.
    """

    data: Any
    index: tuple[int, ...]
    channel_axis: int | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the part."""
        return tuple(self.data.shape[len(self.index) :])

    @property
    def array(self) -> Any:
        """The part itself, of the kind of the data."""
        return self.data[self.index] if self.index else self.data

    def sample(self) -> npt.NDArray[Any]:
        """The middle of some of its planes, evenly spaced, in memory."""
        behind = 2 if self.channel_axis is None else 3
        leading = self.shape[: len(self.shape) - behind]
        middle = tuple(_middle(n) for n in self.shape[len(leading) :][:2])
        if not leading:
            return np.asarray(self.data[(*self.index, *middle)])
        chosen = evenly(list(np.ndindex(*leading)), _MOST_PLANES)
        return np.stack([np.asarray(self.data[(*self.index, *i, *middle)]) for i in chosen])


def _middle(length: int) -> slice:
    """At most so many pixels in the middle of an axis."""
    first = max((length - _MOST_PIXELS) // 2, 0)
    return slice(first, first + min(length, _MOST_PIXELS))


def part_of(layer: Image, viewer: Viewer, *, whole: bool) -> Part:
    """The shown plane of a layer, or the whole of it."""
    image = layer_image(layer)
    index = () if whole else shown_index(layer, viewer)
    return Part(image.array, index, image.channel_axis)


def shown_index(layer: Image, viewer: Viewer) -> tuple[int, ...]:
    """Where the sliders are, for all axes of a layer but rows and columns."""
    world = np.array(viewer.dims.point)[-layer.ndim :]
    place = np.rint(layer.world_to_data(world)).astype(int)
    shape = layer_image(layer).data.shape[: layer.ndim]
    return tuple(int(np.clip(p, 0, n - 1)) for p, n in zip(place[:-2], shape[:-2], strict=True))
