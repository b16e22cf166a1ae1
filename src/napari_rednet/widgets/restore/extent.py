"""The controls of what a run restores: layers, planes, a region, and which axis has channels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from magicgui.widgets import CheckBox, SpinBox
from magicgui.widgets.bases import Widget
from napari.layers import Image, Shapes
from napari.viewer import Viewer

from napari_rednet.io import MICROMETRES
from napari_rednet.io.ome_zarr.conversion import unit_name
from napari_rednet.provenance import Crop
from napari_rednet.widgets.restore.paired_layers import layer_mask
from napari_rednet.widgets.restore.preview_view import view_of
from napari_rednet.widgets.shared.controls import ChannelChoice, ChoiceBox
from napari_rednet.widgets.shared.layers import (
    LayerImage,
    axis_name,
    full_resolution,
    image_layers,
    is_in_memory,
    is_seen_through,
    known_channels,
    layer_image,
    made_by,
    plane_axes,
    shown_plane,
)

ALL, SHOWN = "all", "shown"
"""Which planes: all, or the one that is shown. A range is named by its axis, an integer."""
WHOLE_PLANES, VIEW = "whole planes", "what is seen"
_LABELS = {"z": ("z", "depth"), "t": ("t", "time", "frame", "frames")}


class ExtentControls:
    """Controls of how much is restored; each is hidden where there is nothing to choose.

    Parameters
    ----------
    viewer : Viewer
        Whose view, sliders and shapes count.
    chosen : callable
        Returns the chosen layer, or None.
    """

    def __init__(self, viewer: Viewer, chosen: Callable[[], Image | None]) -> None:
        self._viewer, self._chosen = viewer, chosen
        self.others = CheckBox(
            name="others",
            label="",
            visible=False,
            tooltip="Restore all image layers that are selected in the layer list, one after the "
            "other; each gets a result of its own.",
        )
        self.channels = ChannelChoice(chosen)
        self.planes = ChoiceBox(
            name="planes",
            label="Restore",
            choices=self._plane_choices,
            visible=False,
            tooltip="All planes (z, time, channels), the one that the sliders show now, or some of "
            "them. The result lies where they lie.",
        )
        self.first = _plane_number("first", "From", "The first plane, counted as sliders count.")
        self.last = _plane_number("last", "To", "The last plane, which is restored as well.")
        self.region = ChoiceBox(
            name="region",
            label="Region",
            choices=lambda _: [WHOLE_PLANES, VIEW, *self._shapes()],
            visible=False,
            tooltip="Whole planes, what is seen of them now, or the rectangle around all that is "
            "drawn in a Shapes layer. The noise is still that of whole planes.",
        )
        self.lazily = ChoiceBox(
            name="lazily",
            label="Result",
            choices=[("as you scroll", True), ("all at once", False)],
            visible=False,
            tooltip="The layer is not in memory. Its result can be computed plane by plane, as "
            "they are shown, or all at once, with progress, to be kept in memory.",
        )
        self._layer: Image | None = None
        self._has_others = False
        self.channels.changed.connect(self._follow_channels)
        self.planes.changed.connect(self._show_range)
        self.first.changed.connect(self._keep_order)
        self.last.changed.connect(self._keep_order)
        viewer.layers.selection.events.changed.connect(self.update)

    @property
    def widgets(self) -> list[Widget]:
        """All controls, from top to bottom."""
        return [
            self.others,
            self.channels,
            self.planes,
            self.first,
            self.last,
            self.region,
            self.lazily,
        ]

    def layers(self) -> list[Image]:
        """The layers to restore, the chosen one first."""
        chosen = self._chosen()
        if chosen is None:
            return []
        return [chosen, *(self._others() if self.others.value else [])]

    def left_out(self) -> list[Image]:
        """Channels that are shown over the chosen layer, and that are not restored with it."""
        taken, chosen = self.layers(), self._chosen()
        if chosen is None or not is_seen_through(chosen):
            return []
        shape = full_resolution(chosen).shape
        return [
            layer
            for layer in image_layers(self._viewer)
            if layer.visible and layer not in taken and made_by(layer) is None
            if is_seen_through(layer) and full_resolution(layer).shape == shape
        ]

    def image(self, layer: Image) -> LayerImage:
        """The part of a layer to restore; a `ValueError`, if there is none, is for the user."""
        make = partial(
            layer_image, layer, lazily=self.lazily.value, channel=self.channels.axis_of(layer)
        )
        shown = self._shown_plane(layer)
        part = self._part(layer, shown)
        whole = make(shown)
        if part == shown:
            return whole
        part_image = make(part)
        return LayerImage(part_image.data, layer.rgb, part, part_image.channel, whole)

    def previewed(self, layer: Image) -> LayerImage:
        """The planes of a layer to restore, for previews, which read pieces of it."""
        return layer_image(layer, self._shown_plane(layer), channel=self.channels.axis_of(layer))

    def count(self, layer: Image, axis: int) -> int:
        """How many planes of a layer are restored along an axis."""
        part = self._planes(layer, self._shown_plane(layer))[axis]
        return full_resolution(layer).shape[axis] if part is None else part[1] - part[0]

    def part_in_words(self) -> str:
        """The part of the chosen layer to restore, such as "planes 3 to 5"; empty for all of it."""
        planes, region = self.planes.value, self.region.value
        told = []
        if planes == SHOWN and self.planes.visible:
            told.append("the plane that is shown")
        elif planes not in (ALL, SHOWN, None) and (self.first.value, self.last.max) != (
            0,
            self.last.value,
        ):
            told.append(f"planes {self.first.value} to {self.last.value}")
        if region == VIEW:
            told.append("what is seen")
        elif region not in (None, WHOLE_PLANES):
            told.append(f"what is drawn in {region.name!r}")
        return " and ".join(told)

    def update(self, *_: Any) -> None:
        """Show what there is to choose after another layer was chosen or selected."""
        chosen, others = self._chosen(), self._others()
        self.others.visible = bool(others)
        if bool(others) != self._has_others:
            # Who selects several wants all of them, unless they say otherwise.
            self.others.value = self._has_others = bool(others)
        layers = "layer" if len(others) == 1 else "layers"
        self.others.text = f"and {len(others)} other selected {layers}"
        if chosen is not self._layer:
            self._layer = chosen
            self.channels.begin()
            self.planes.reset_choices()
        self.planes.visible = chosen is not None and chosen.ndim > 2
        self.region.visible = chosen is not None
        self.lazily.visible = chosen is not None and not is_in_memory(full_resolution(chosen))

    # Planes and regions --------------------------------------------------------------------

    def _follow_channels(self) -> None:
        self.planes.reset_choices()  # each channel has noise of its own, so that none is left out

    def _plane_choices(self, _: Any) -> list[tuple[str, Any]]:
        axes = [(a, name) for a, name in plane_axes(self._chosen()) if a != self.channels.value]
        ranges = [(f"some along {name}", a) for a, name in axes]
        return [("all planes", ALL), ("only the one shown", SHOWN), *ranges]

    def _show_range(self) -> None:
        axis, layer = self.planes.value, self._chosen()
        is_range = layer is not None and axis not in (ALL, SHOWN, None)
        if layer is not None and is_range:
            count = full_resolution(layer).shape[axis]
            for box in (self.first, self.last):
                box.max = count - 1
            self.first.value, self.last.value = 0, count - 1
        self.first.visible = self.last.visible = is_range

    def _keep_order(self) -> None:
        """Move the other end of the range along, rather than leave it empty."""
        self.last.value = max(self.last.value, self.first.value)

    def _shown_plane(self, layer: Image) -> Crop | None:
        if self.planes.value != SHOWN or layer.ndim <= 2:
            return None
        plane = shown_plane(layer, self._viewer.dims.point)
        return (*((i, i + 1) for i in plane), None, None)

    def _part(self, layer: Image, shown: Crop | None) -> Crop | None:
        """The part to restore; None for all of the layer."""
        part = [*self._planes(layer, shown)[:-2], *self._rectangle(layer)]
        return None if all(one is None for one in part) else tuple(part)

    def _planes(self, layer: Image, shown: Crop | None) -> list[tuple[int, int] | None]:
        part: list[tuple[int, int] | None] = list(shown or (None,) * layer.ndim)
        axis = self.planes.value
        if axis not in (ALL, SHOWN, None) and self._has_planes_of_chosen(layer):
            part[axis] = self.first.value, self.last.value + 1
        return part

    def _has_planes_of_chosen(self, layer: Image) -> bool:
        """True for the chosen layer, and for others with as many planes, such as its channels."""
        chosen = self._chosen()
        return chosen is not None and _plane_counts(layer) == _plane_counts(chosen)

    def _rectangle(self, layer: Image) -> list[tuple[int, int] | None]:
        region = self.region.value
        if region in (None, WHOLE_PLANES):
            return [None, None]
        if region == VIEW:
            view = view_of(self._viewer, layer)
            return [(view.rows.start, view.rows.stop), (view.columns.start, view.columns.stop)]
        marked = layer_mask(region, layer, "around which is to be restored").missing
        places = (marked.any(axis).nonzero()[0] for axis in (1, 0))
        return [(int(found[0]), int(found[-1]) + 1) for found in places]

    def _shapes(self) -> list[Shapes]:
        return [layer for layer in self._viewer.layers if isinstance(layer, Shapes)]

    def _others(self) -> list[Image]:
        """The other selected layers; none unless several are selected."""
        selected = self._viewer.layers.selection
        images = [layer for layer in image_layers(self._viewer) if layer in selected]
        return [layer for layer in images if layer is not self._chosen()] if len(images) > 1 else []


def _plane_number(name: str, label: str, tooltip: str) -> SpinBox:
    return SpinBox(name=name, label=label, tooltip=tooltip, min=0, max=0, visible=False)


def _plane_counts(layer: Image) -> tuple[int, ...]:
    return tuple(full_resolution(layer).shape[: layer.ndim - 2])


def plane_axis(layer: Image, name: str | None, channel: int | None = None) -> int | None:
    """The axis of z or t by the layer's labels; else t comes first, z last, before Y and X.

    `channel` is the axis of channels.

    Raises a `ValueError` for the user if there is none.
    """
    if name is None:
        return None
    axes = [a for a in range(layer.ndim - 2) if a not in (channel, known_channels(layer))]
    names = {a: axis_name(layer, a).lower() for a in axes}
    for axis, label in names.items():
        if label in _LABELS[name]:
            return axis
    free = [a for a, label in names.items() if label.startswith("axis ")]
    if not free or (len(free) == 1 and len(axes) > 1 and name == "t"):
        raise ValueError(f"{layer.name} has no axis {name}: Planes: each by itself, or another")
    return free[0] if name == "t" else free[-1]


def pixel_sizes(layer: Image, channel: int | None = None) -> dict[str, float]:
    """Sizes of the pixels along X, and along Z if there are planes, in µm, as the layer tells."""
    factors = [MICROMETRES.get(unit_name(str(unit)) or "") for unit in layer.units]
    sizes = {}
    axes = [a for a in range(layer.ndim - 2) if a != channel]
    # Volumes lie along the last axis of planes.
    name = axis_name(layer, axes[-1]).lower() if axes else ""
    is_depth = name in _LABELS["z"] or name.startswith("axis ")
    for letter, axis in {"X": layer.ndim - 1, **({"Z": axes[-1]} if is_depth else {})}.items():
        factor = factors[axis] if axis < len(factors) else None
        if factor is not None:
            sizes[letter] = float(factor * abs(layer.scale[axis]))
    return sizes
