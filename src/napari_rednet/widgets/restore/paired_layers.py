"""Layers that go with an image: of its sample, of its mask, of where its noise is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from magicgui.widgets.bases import ValueWidget
from napari.layers import Image, Labels, Layer, Shapes
from skimage import draw

from napari_rednet.execution import is_dask
from napari_rednet.provenance import Origin, read_array
from napari_rednet.sample_data import ROLE, SAMPLE
from napari_rednet.widgets.shared.controls import ChoiceBox
from napari_rednet.widgets.shared.layers import (
    LayerImage,
    LayerSource,
    layer_image,
    layer_source,
    shown_plane,
)
from napari_rednet.widgets.shared.worker import Steps

FloatArray = npt.NDArray[np.float64]
_ELLIPSE_VERTICES = 128


FOUND = "dead and hot pixels"
"""The mask that no layer holds."""


class Companion:
    """Chooses what comes with the chosen image, as long as the user has chosen nothing.

    When another image is chosen, or the layer is removed, the choice is taken back. What a window
    remembers from its last run is no choice: it is there before this begins.

    Parameters
    ----------
    role : str
        What the layer is to the image, in the metadata of samples.
    image : ChoiceBox
        The image.
    layers : ChoiceBox
        Offers such layers.
    controls : sequence of ValueWidget
        All with which users choose.
    chosen : callable
        Returns what they say: the layer, if one is used.
    choose : callable
        Takes the layer; None to take the choice back.

    Attributes
    ----------
    layer : Layer or None
        What has been chosen for the user.
    """

    def __init__(
        self,
        role: str,
        image: ChoiceBox,
        layers: ChoiceBox,
        controls: Sequence[ValueWidget],
        chosen: Callable[[], Any],
        choose: Callable[[Layer | None], None],
    ) -> None:
        self._role, self._image, self._layers = role, image, layers
        self._controls, self._chosen, self._choose = controls, chosen, choose
        self._known: Any = None
        self._is_free = False
        self.layer: Layer | None = None

    def begin(self) -> None:
        """Choose from now on."""
        self._known, self._is_free = self._chosen(), True
        for control in self._controls:
            control.changed.connect(self._notice)
        self._image.changed.connect(self.update)
        self.update()

    def update(self) -> None:
        """Choose what there is now; to be called when layers have come or gone."""
        found = find_companion(self._image.value, self._role, self._layers.choices)
        if self._is_free and found is not self.layer:
            self._choose(found)
            self.layer, self._known, self._is_free = found, self._chosen(), True

    def _notice(self) -> None:
        """Something else is chosen: by the user, unless what was chosen is no longer there."""
        known, self._known = self._known, self._chosen()
        if self._known == known:
            return
        self._is_free = known is None or (
            isinstance(known, Layer) and known not in self._layers.choices
        )
        if not self._is_free:
            self.layer = None


def find_companion(image: Image | None, role: str, layers: Iterable[Any]) -> Layer | None:
    """The layer that has a role to the image of a sample, or to what was made of it."""
    sample = None if image is None else image.metadata.get(SAMPLE)
    if sample is None:
        return None
    layers = (layer for layer in layers if isinstance(layer, Layer) and layer is not image)
    wanted = {SAMPLE: sample, ROLE: role}.items()
    return next((layer for layer in layers if wanted <= layer.metadata.items()), None)


@dataclass(frozen=True)
class LayerMask:
    """What a layer marks as missing.

    Parameters
    ----------
    name : str
        Of the layer.
    missing : (Y, X) or (..., Y, X) array of bool
        A copy: it does not change when the layer does.
    source : LayerSource, optional
        Of a Labels layer.
    """

    name: str
    missing: Any
    source: LayerSource | None = None

    def of_plane(self, plane: Sequence[int] | None) -> Any:
        """What is missing of one plane of the image, or of all."""
        if plane is None or self.missing.ndim == 2:
            return self.missing
        pairs = zip(plane, self.missing.shape, strict=False)
        return self.missing[tuple(slice(0 if n == 1 else i, i + 1) for i, n in pairs)]

    def record(self) -> dict[str, Any]:
        """The mask in plain values; its file is named only if nothing has been painted since."""
        return {**asdict(self._origin()), "planes": list(self.missing.shape[:-2])}

    def _origin(self) -> Origin:
        if self.source is None or is_dask(self.missing):
            return Origin(self.name)
        origin = self.source.find_origin()
        same = origin.path is not None and np.array_equal(read_array(origin) != 0, self.missing)
        return origin if same else Origin(self.name)


def layer_mask(
    layer: Labels | Shapes, image: Image, role: str = "which is to be the mask"
) -> LayerMask:
    """What a layer marks as missing of an image layer, or as whatever its `role` is.

    Labels are taken pixel by pixel, wherever their layer lies. Shapes are taken where they are
    seen on the image, for all of its planes.

    Raises
    ------
    ValueError
        In words for the user, if nothing of the image is marked.
    """
    missing = painted_mask(layer) if isinstance(layer, Labels) else _drawn(layer, image)
    # A lazy mask may take long to compute, and the window would wait.
    if not is_dask(missing) and not missing.any():
        done = "painted" if isinstance(layer, Labels) else "drawn on the image"
        raise ValueError(f"nothing is {done} in the layer {layer.name!r}, {role}")
    source = layer_source(layer) if isinstance(layer, Labels) else None
    return LayerMask(layer.name, missing, source)


def painted_mask(labels: Labels) -> Any:
    """Where anything is painted in a Labels layer: bool, of its shape."""
    data = labels.data[0] if labels.multiscale else labels.data
    return (data if is_dask(data) else np.asarray(data)) != 0


def _drawn(shapes: Shapes, image: Image) -> npt.NDArray[np.bool_]:
    matrix, offset = _to_pixels(shapes, image)
    # Of strokes under a transform that is not the same in all directions, the mean width.
    pixels_per_unit = np.sqrt(abs(np.linalg.det(matrix[:, -2:])))
    mask = np.zeros(layer_image(image).plane_shape, bool)
    for vertices, kind, width in zip(
        shapes.data, shapes.shape_type, shapes.edge_width, strict=True
    ):
        for outline in _outlines(vertices @ matrix.T + offset, kind, width * pixels_per_unit):
            mask[draw.polygon(*outline.T, mask.shape)] = True
    return mask


def _to_pixels(shapes: Shapes, image: Image) -> tuple[FloatArray, FloatArray]:
    """Matrix and offset from coordinates of a layer to rows and columns of an image."""

    def pixel(position: FloatArray) -> FloatArray:
        return np.asarray(image.world_to_data(shapes.data_to_world(position)))[-2:]

    offset = pixel(np.zeros(shapes.ndim))
    return np.stack([pixel(unit) - offset for unit in np.eye(shapes.ndim)], axis=1), offset


def _outlines(vertices: FloatArray, kind: str, width: float) -> Iterable[FloatArray]:
    """The polygons that a shape covers: itself, or the strokes of a line."""
    if kind in ("line", "path"):
        return _strokes(vertices, max(width, 1))
    return [_ellipse(vertices) if kind == "ellipse" else vertices]


def _strokes(path: FloatArray, width: float) -> Iterator[FloatArray]:
    """A rectangle for each segment, longer by half the width at both ends, to fill the bends."""
    for start, end in pairwise(path):
        length = np.hypot(*(end - start))
        along = width / 2 * ((end - start) / length if length else np.array([1.0, 0.0]))
        across = along[::-1] * (1, -1)
        first, last = start - along, end + along
        yield np.stack([first - across, first + across, last + across, last - across])


def _ellipse(corners: FloatArray) -> FloatArray:
    """The ellipse in a parallelogram."""
    angles = np.linspace(0, 2 * np.pi, _ELLIPSE_VERTICES, endpoint=False)[:, None]
    one_axis, other_axis = (corners[1] - corners[0]) / 2, (corners[2] - corners[1]) / 2
    centre = (corners[0] + corners[2]) / 2
    outline: FloatArray = centre + np.cos(angles) * one_axis + np.sin(angles) * other_axis
    return outline


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


def label_of(place: Place) -> str:
    """What a place is called."""
    if place.shapes is None:
        return "shown plane" if place.shown_only else "whole layer"
    return f"{place.shapes.name}, shown plane" if place.shown_only else str(place.shapes.name)


def places(layer: Image | None, shapes: Iterable[Shapes]) -> list[tuple[str, Place]]:
    """What there is to choose from, by its label."""
    drawn = [Place(one) for one in shapes]
    found = [WHOLE, *drawn]
    if layer is not None and layer.ndim > 2:
        found[1:1] = [replace(WHOLE, shown_only=True)]
        found += [replace(place, shown_only=True) for place in drawn]
    return [(label_of(place), place) for place in found]


class PlaceBox(ChoiceBox):
    """A choice of a place.

    That only the shown plane counts is kept while a 2-D layer is chosen, where there is no choice
    of planes, and holds again for the next stack.

    Parameters
    ----------
    places : callable
        Returns labels and values of what there is to choose from.
    """

    def __init__(self, places: Callable[[], list[tuple[str, Place]]]) -> None:
        self._shown_only = False
        super().__init__(
            name="place",
            label="Measure in",
            choices=lambda _: places(),
            tooltip="Where noise is estimated: in the whole layer, in the plane that is shown, or "
            "in what you draw in a Shapes layer, e.g. around background and cells but no "
            "saturated beads.",
            visible=False,
        )
        self.changed.connect(self._notice)

    @property
    def wanted(self) -> str:
        """What is chosen, as it is called for a stack."""
        return label_of(replace(self.value, shown_only=self._shown_only))

    def want(self, label: Any) -> None:
        """Choose what is called so for a stack, unless there is no such place."""
        for shapes in [place.shapes for place in self._places]:
            for shown_only in (False, True):
                if label_of(Place(shapes, shown_only)) == label:
                    self._shown_only = shown_only
                    self.value = self._offered(shapes)

    def reset_choices(self, *_: Any) -> None:
        """Ask again for the places; napari calls it when layers come, go or are renamed."""
        chosen = self.value
        with self.changed.blocked():
            super().reset_choices()
            self.value = self._offered(getattr(chosen, "shapes", None))  # None at first
        if self.value != chosen:
            self.changed.emit(self.value)

    @property
    def _places(self) -> list[Place]:
        return list(self.choices)

    def _offered(self, shapes: Shapes | None) -> Place:
        """What is offered of a Shapes layer, or of the whole if it is gone."""
        drawn = [place for place in self._places if place.shapes is shapes]
        found = drawn or [place for place in self._places if place.shapes is None]
        return next((place for place in found if place.shown_only == self._shown_only), found[0])

    def _notice(self) -> None:
        if any(place.shown_only for place in self._places):
            self._shown_only = self.value.shown_only


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
