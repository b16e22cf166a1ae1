"""Which layers and planes a run restores, and when it computes what is not in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from magicgui.widgets import CheckBox
from magicgui.widgets.bases import Widget
from napari.layers import Image
from napari.viewer import Viewer

from napari_rednet.widgets.controls import ChoiceBox
from napari_rednet.widgets.layers import (
    LayerImage,
    full_resolution,
    image_layers,
    layer_image,
    shown_plane,
)
from napari_rednet.widgets.on_demand import is_in_memory


class ExtentControls:
    """Controls of how much is restored; each is hidden where there is nothing to choose.

    Parameters
    ----------
    viewer : Viewer
        Whose layers may be selected, and whose sliders show a plane.
    chosen : callable
        Returns the layer that is to be restored in any case; None if there is none.
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
        self.planes = ChoiceBox(
            name="planes",
            label="Planes",
            choices=[("all", False), ("only the one shown", True)],
            visible=False,
            tooltip="All planes (z, time, channels), or the one that the sliders show now: its "
            "result lies where it lies.",
        )
        self.lazily = ChoiceBox(
            name="lazily",
            label="Result",
            choices=[("as you scroll", True), ("all at once", False)],
            visible=False,
            tooltip="The layer is not in memory. Its result can be computed plane by plane, as "
            "they are shown, or all at once, with progress, to be kept in memory.",
        )
        viewer.layers.selection.events.changed.connect(self.update)

    @property
    def widgets(self) -> list[Widget]:
        """All controls, from top to bottom."""
        return [self.others, self.planes, self.lazily]

    def layers(self) -> list[Image]:
        """The layers to restore, the chosen one first."""
        chosen = self._chosen()
        if chosen is None:
            return []
        return [chosen, *(self._others() if self.others.value else [])]

    def image(self, layer: Image) -> LayerImage:
        """What of a layer is restored."""
        return layer_image(layer, self._plane(layer), lazily=self.lazily.value)

    def previewed(self, layer: Image) -> LayerImage:
        """The same, to be read in parts."""
        return layer_image(layer, self._plane(layer))

    def update(self, *_: Any) -> None:
        """Show what there is to choose, now that other layers are selected or chosen."""
        chosen, others = self._chosen(), self._others()
        self.others.visible = bool(others)
        self.others.value = self.others.value and bool(others)
        layers = "layer" if len(others) == 1 else "layers"
        self.others.text = f"and {len(others)} other selected {layers}"
        self.planes.visible = chosen is not None and chosen.ndim > 2
        self.lazily.visible = chosen is not None and not is_in_memory(full_resolution(chosen))

    def _plane(self, layer: Image) -> tuple[int, ...] | None:
        only_shown = self.planes.value and layer.ndim > 2
        return shown_plane(layer, self._viewer.dims.point) if only_shown else None

    def _others(self) -> list[Image]:
        """The selected layers besides the chosen one; none unless several are selected."""
        selected = self._viewer.layers.selection
        images = [layer for layer in image_layers(self._viewer) if layer in selected]
        return [layer for layer in images if layer is not self._chosen()] if len(images) > 1 else []
