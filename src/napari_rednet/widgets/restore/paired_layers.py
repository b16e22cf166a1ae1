"""Layers that belong to an image: companions in its sample, masks, regions to measure noise in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
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
    TEMPORARY,
    LayerImage,
    LayerSource,
    layer_image,
    layer_source,
    shown_plane,
    slices,
)
from napari_rednet.widgets.shared.worker import WorkerSteps

FloatArray = npt.NDArray[np.float64]
_ELLIPSE_VERTICES = 128


FOUND = "dead and hot pixels"
"""The mask that no layer holds."""


class Companion:
    """Chooses the layer that belongs to the chosen image, unless the user makes a choice.

    When another image is chosen, or the layer is removed, the choice is reverted. Values
    remembered from the last run are no choice, as they are set before `begin`.

    `role` is that of the layer in the metadata of samples; `layers` offers such layers. The user
    chooses with `controls`, and `chosen` returns the layer that they say, if any. `choose` sets a
    layer, or reverts the choice if it is None. `otherwise` finds a layer for images that come from
    no sample. `layer` is what was chosen automatically.
    """

    def __init__(
        self,
        role: str,
        image: ChoiceBox,
        layers: ChoiceBox,
        controls: Sequence[ValueWidget],
        chosen: Callable[[], Any],
        choose: Callable[[Layer | None], None],
        otherwise: Callable[[Image | None], Layer | None] = lambda _: None,
    ) -> None:
        self._otherwise = otherwise
        self._role, self._image, self._layers = role, image, layers
        self._controls, self._chosen, self._choose = controls, chosen, choose
        self._known: Any = None
        self._is_free = False
        self.layer: Layer | None = None

    def begin(self) -> None:
        """Start choosing."""
        self._known, self._is_free = self._chosen(), True
        for control in self._controls:
            control.changed.connect(self._notice)
        self._image.changed.connect(self.update)
        self.update()

    def update(self) -> None:
        """Choose what fits now; to be called when layers were added or removed."""
        image = self._image.value
        found = find_companion(image, self._role, self._layers.choices) or self._otherwise(image)
        if self._is_free and found is not self.layer:
            self._choose(found)
            self.layer, self._known, self._is_free = found, self._chosen(), True

    @contextmanager
    def left_alone(self) -> Iterator[None]:
        """What is chosen meanwhile is no choice of the user's."""
        was_free, self._is_free = self._is_free, False
        try:
            yield
        finally:
            self._known, self._is_free = self._chosen(), was_free

    def _notice(self) -> None:
        """Leave the choice to users who changed it; a removed layer is no change of theirs."""
        known, self._known = self._known, self._chosen()
        if self._known == known:
            return
        self._is_free = known is None or (
            isinstance(known, Layer) and known not in self._layers.choices
        )
        if not self._is_free:
            self.layer = None


def find_companion(image: Image | None, role: str, layers: Iterable[Any]) -> Layer | None:
    """The layer with a role in the sample that an image, or the source of a result, comes from."""
    sample = None if image is None else image.metadata.get(SAMPLE)
    if sample is None:
        return None
    layers = (layer for layer in layers if isinstance(layer, Layer) and layer is not image)
    wanted = {SAMPLE: sample, ROLE: role}.items()
    return next((layer for layer in layers if wanted <= layer.metadata.items()), None)


def only_labels(image: Image | None, layers: Iterable[Layer]) -> Labels | None:
    """The one Labels layer of the size of an image; None if there are other images or labels.

    Previews and results are not counted: they come of the image.
    """
    layers = [layer for layer in layers if not {TEMPORARY, "napari_rednet"} & layer.metadata.keys()]
    images = [layer for layer in layers if isinstance(layer, Image)]
    labels = [layer for layer in layers if isinstance(layer, Labels)]
    if image is None or len(images) > 1 or len(labels) != 1:
        return None
    shape, planes = labels[0].data.shape, layer_image(image)
    fits = shape in (planes.plane_shape, tuple(image.data.shape[: image.ndim]))
    return labels[0] if fits else None


@dataclass(frozen=True)
class LayerMask:
    """Snapshot of the pixels that a layer marks: bool, (Y, X) or (..., Y, X).

    `source` is only known for Labels layers.
    """

    name: str
    missing: Any
    source: LayerSource | None = None

    def of(self, image: LayerImage) -> Any:
        """The mask of an image, which may be a part of the layer."""
        shape = self.missing.shape
        if image.crop is None:
            return self.missing
        crop = list(image.crop)
        if image.channel is not None and len(shape) == len(crop) - 1 > 2:
            del crop[image.channel]  # the mask is that of all channels
        own = zip(crop[len(crop) - len(shape) :], shape, strict=True)
        return self.missing[slices(tuple(None if n == 1 else part for part, n in own))]

    def record(self) -> dict[str, Any]:
        """The mask in JSON types; its file is only named if it still holds the same mask."""
        return {**asdict(self._origin()), "shape": list(self.missing.shape)}

    def _origin(self) -> Origin:
        if self.source is None or is_dask(self.missing):
            return Origin(self.name)
        origin = self.source.find_origin()
        same = origin.path is not None and np.array_equal(read_array(origin) != 0, self.missing)
        return origin if same else Origin(self.name)


def layer_mask(
    layer: Labels | Shapes, image: Image, role: str = "which is to be the mask"
) -> LayerMask:
    """The pixels of an image that a layer marks; `role` completes the error message.

    Labels are taken pixel by pixel, wherever their layer lies. Shapes are taken where they are
    seen on the image, for all of its planes. A `ValueError`, worded for the user, is raised if
    nothing is marked.
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
    # Under an anisotropic transform, strokes get their mean width.
    pixels_per_unit = np.sqrt(abs(np.linalg.det(matrix[:, -2:])))
    mask = np.zeros(layer_image(image).plane_shape, bool)
    for vertices, kind, width in zip(
        shapes.data, shapes.shape_type, shapes.edge_width, strict=True
    ):
        for outline in _outlines(vertices @ matrix.T + offset, kind, width * pixels_per_unit):
            mask[draw.polygon(*outline.T, mask.shape)] = True
    return mask


def _to_pixels(shapes: Shapes, image: Image) -> tuple[FloatArray, FloatArray]:
    """Matrix and offset from coordinates of `shapes` to rows and columns of an image."""

    def pixel(position: FloatArray) -> FloatArray:
        return np.asarray(image.world_to_data(shapes.data_to_world(position)))[-2:]

    offset = pixel(np.zeros(shapes.ndim))
    return np.stack([pixel(unit) - offset for unit in np.eye(shapes.ndim)], axis=1), offset


def _outlines(vertices: FloatArray, kind: str, width: float) -> Iterable[FloatArray]:
    """Polygons that a shape covers: itself, or the strokes of a line."""
    if kind in ("line", "path"):
        return _strokes(vertices, max(width, 1))
    return [_ellipse(vertices) if kind == "ellipse" else vertices]


def _strokes(path: FloatArray, width: float) -> Iterator[FloatArray]:
    """A rectangle per segment, longer by half the width at both ends to fill the bends."""
    for start, end in pairwise(path):
        length = np.hypot(*(end - start))
        along = width / 2 * ((end - start) / length if length else np.array([1.0, 0.0]))
        across = along[::-1] * (1, -1)
        first, last = start - along, end + along
        yield np.stack([first - across, first + across, last + across, last - across])


def _ellipse(corners: FloatArray) -> FloatArray:
    """Polygon of the ellipse inscribed in a parallelogram."""
    angles = np.linspace(0, 2 * np.pi, _ELLIPSE_VERTICES, endpoint=False)[:, None]
    one_axis, other_axis = (corners[1] - corners[0]) / 2, (corners[2] - corners[1]) / 2
    centre = (corners[0] + corners[2]) / 2
    outline: FloatArray = centre + np.cos(angles) * one_axis + np.sin(angles) * other_axis
    return outline


@dataclass(frozen=True)
class Place:
    """Where to measure noise: in shapes (None: the whole image), in the shown plane or in all."""

    shapes: Shapes | None = None
    shown_only: bool = False


WHOLE = Place()


@dataclass(frozen=True)
class Region:
    """Snapshot of a place: marked pixels, (Y, X), and index of the plane; None for all."""

    marked: npt.NDArray[np.bool_] | None = None
    plane: tuple[int, ...] | None = None


def label_of(place: Place) -> str:
    """The label of a place."""
    if place.shapes is None:
        return "shown plane" if place.shown_only else "whole layer"
    return f"{place.shapes.name}, shown plane" if place.shown_only else str(place.shapes.name)


def places(layer: Image | None, shapes: Iterable[Shapes]) -> list[tuple[str, Place]]:
    """Labels and values of the places on offer."""
    drawn = [Place(one) for one in shapes]
    found = [WHOLE, *drawn]
    if layer is not None and layer.ndim > 2:
        found[1:1] = [replace(WHOLE, shown_only=True)]
        found += [replace(place, shown_only=True) for place in drawn]
    return [(label_of(place), place) for place in found]


class PlaceBox(ChoiceBox):
    """Choice of the place to measure noise in.

    2-D layers offer no choice of planes; "shown plane" is remembered for the next stack.
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
        """Label of the chosen place, as for a stack."""
        return label_of(replace(self.value, shown_only=self._shown_only))

    def want(self, label: Any) -> None:
        """Choose the place with a label from `wanted`, if it is offered."""
        for shapes in [place.shapes for place in self._places]:
            for shown_only in (False, True):
                if label_of(Place(shapes, shown_only)) == label:
                    self._shown_only = shown_only
                    self.value = self._offered(shapes)

    def reset_choices(self, *_: Any) -> None:
        """Refresh the places; called by napari when layers are added, removed or renamed."""
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
        """The place on offer for a Shapes layer, or for the whole image if that layer is gone."""
        drawn = [place for place in self._places if place.shapes is shapes]
        found = drawn or [place for place in self._places if place.shapes is None]
        return next((place for place in found if place.shown_only == self._shown_only), found[0])

    def _notice(self) -> None:
        if any(place.shown_only for place in self._places):
            self._shown_only = self.value.shown_only


def find_region(place: Place, layer: Image, point: Sequence[float]) -> Region:
    """Snapshot of a place while the viewer is at `point`, in world coordinates.

    A `ValueError`, worded for the user, is raised if nothing of the image is marked.
    """
    marked = None
    if place.shapes is not None:
        marked = layer_mask(place.shapes, layer, "where noise is to be measured").missing
    return Region(marked, shown_plane(layer, point) if place.shown_only else None)


def measure_steps(
    image: LayerImage, region: Region, prepare: Callable[[], None] | None = None
) -> WorkerSteps:
    """Call `prepare`, then measure: yield (done, total), return `NoiseLevels` for each channel."""
    if prepare is not None:
        prepare()
    from napari_rednet.restoration.noise_estimate import noise_levels_steps

    whole = image.whole or image
    array, axis = whole.array, whole.channel_axis
    # An image of a single plane holds just the plane that is shown.
    if region.plane is not None and not whole.is_plane:
        # All channels of the plane, each with noise of its own.
        plane = (i if a != whole.channel else None for a, i in enumerate(region.plane))
        array = array[slices(tuple(None if i is None else (i, i + 1) for i in plane))]
    return (yield from noise_levels_steps(array, channel_axis=axis, region=region.marked))
