"""Where of an image layer the noise is measured: everywhere, or in what users have drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Shapes

from napari_rednet.widgets.layers import LayerImage, shown_plane
from napari_rednet.widgets.mask_layers import layer_mask
from napari_rednet.widgets.worker import Steps


@dataclass(frozen=True)
class Place:
    """What users choose: which shapes, which planes.

    Parameters
    ----------
    shapes : Shapes or None
        The layer that they have drawn in; None for the whole image.
    shown_only : bool
        Whether to measure in the plane that is shown, or in all of them.
    """

    shapes: Shapes | None = None
    shown_only: bool = False


WHOLE = Place()


@dataclass(frozen=True)
class Region:
    """A place as it was when it was asked for; it does not change when the layers do.

    Parameters
    ----------
    marked : (Y, X) ndarray of bool or None
        The pixels; None for all.
    plane : tuple of int or None
        Where the plane lies along the axes before Y and X; None for all planes.
    """

    marked: npt.NDArray[np.bool_] | None = None
    plane: tuple[int, ...] | None = None


def places(layer: Image | None, shapes: Iterable[Shapes]) -> list[tuple[str, Place]]:
    """What there is to choose from, by its label."""
    drawn = [(one.name, Place(one)) for one in shapes]
    if layer is None or layer.ndim == 2:
        return [("whole layer", WHOLE), *drawn]
    shown = [(f"{label}, shown plane", Place(place.shapes, True)) for label, place in drawn]
    return [("whole layer", WHOLE), ("shown plane", Place(shown_only=True)), *drawn, *shown]


def find_region(place: Place, layer: Image, point: Sequence[float]) -> Region:
    """The pixels and the plane of a place.

    Parameters
    ----------
    point : sequence of float
        What the viewer shows, in world coordinates.

    Raises
    ------
    ValueError
        In words for the user, if nothing of the image is marked.
    """
    marked = None
    if place.shapes is not None:
        marked = layer_mask(place.shapes, layer, "where noise is to be measured").missing
    return Region(marked, shown_plane(layer, point) if place.shown_only else None)


def measure_steps(
    image: LayerImage, region: Region, prepare: Callable[[], None] | None = None
) -> Steps:
    """Measure: yield (done, total), return the `NoiseLevels` of each channel.

    `prepare` is called before: what takes time, too, and is better not done by the window.
    """
    if prepare is not None:
        prepare()
    from napari_rednet.restoration import noise_levels_steps

    # The plane that is restored alone is the one that is shown.
    whole = region.plane is None or image.plane is not None
    array = image.array if whole else image.array[region.plane]
    return (
        yield from noise_levels_steps(array, channel_axis=image.channel_axis, region=region.marked)
    )
