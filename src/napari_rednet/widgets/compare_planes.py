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

    def planes(self, most: int) -> npt.NDArray[Any]:
        """At most so many of its planes, evenly spaced, in memory."""
        array = self.array
        leading = array.shape[: array.ndim - (2 if self.channel_axis is None else 3)]
        if not leading:
            return np.asarray(array)
        chosen = evenly(list(np.ndindex(*leading)), most)
        return np.stack([np.asarray(array[index]) for index in chosen])


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
