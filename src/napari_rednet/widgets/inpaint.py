"""The widget that fills missing pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magicgui.widgets.bases import ValueWidget, Widget
from napari.layers import Image, Labels, Layer, Shapes

from napari_rednet.sample_data import MASK
from napari_rednet.widgets.base import RestoreWidget
from napari_rednet.widgets.companion import Companion
from napari_rednet.widgets.controls import ChoiceBox
from napari_rednet.widgets.layers import LayerImage
from napari_rednet.widgets.mask_layers import LayerMask, layer_mask

if TYPE_CHECKING:
    from napari_rednet.execution import Restoration

FOUND = "dead and hot pixels"


class InpaintWidget(RestoreWidget):
    """Fill missing pixels of an image layer."""

    verb = "inpaint"
    companion: Companion

    def extra_controls(self) -> list[Widget]:
        """The mask."""
        self.mask = ChoiceBox(
            name="mask",
            label="Mask",
            choices=self._masks,
            tooltip="What to fill: the dead and hot pixels and lines of the camera, found in the "
            "image itself, or what is painted in a Labels layer or drawn in a Shapes layer.",
        )
        self._watched: Labels | Shapes | None = None
        self.mask.changed.connect(self._watch_mask)
        self.companion = Companion(
            MASK, self.common.image, self.mask, [self.mask], self.mask.get_value, self._choose
        )
        return [self.mask]

    def remembered(self) -> list[ValueWidget]:
        """The mask as well, by its name."""
        return [*super().remembered(), self.mask]

    def parameters(self) -> dict[str, Any]:
        """The mask as well, unless it came with the image."""
        kept = super().parameters()
        return kept if self.companion.layer is None else kept | {self.mask.name: FOUND}

    def arguments_for(self, layer: Image | None) -> dict[str, Any]:
        """The mask as well, as it is now; None if defects are to be found."""
        chosen = self.mask.value
        mask = None if chosen == FOUND else layer_mask(chosen, layer)
        return {**super().arguments_for(layer), "mask": mask}

    def prepare(
        self, image: LayerImage, *, mask: LayerMask | None = None, **arguments: Any
    ) -> Restoration:
        """Fill; transparency stays as it is."""
        from napari_rednet.restoration import prepare_inpaint

        missing = None if mask is None else mask.of_plane(image.plane)
        return prepare_inpaint(image.array, missing, channel_axis=image.channel_axis, **arguments)

    def _choose(self, layer: Layer | None) -> None:
        self.mask.value = FOUND if layer is None else layer

    def _watch_mask(self) -> None:
        """Preview what is painted or drawn when it is."""
        chosen = self.mask.value
        if self._watched is not None:
            for signal in _edits(self._watched):
                signal.disconnect(self._follow_mask)
        self._watched = None if chosen == FOUND else chosen
        if self._watched is not None:
            for signal in _edits(self._watched):
                signal.connect(self._follow_mask)

    def _follow_mask(self) -> None:
        if self.preview.is_on:
            self.preview.parameters_changed()

    def _masks(self, *_: Any) -> list[Any]:
        layers = [layer for layer in self.viewer.layers if isinstance(layer, (Labels, Shapes))]
        return [FOUND, *layers]


def _edits(layer: Labels | Shapes) -> list[Any]:
    """What tells that a mask has been edited."""
    events = layer.events
    return [events.data] if isinstance(layer, Shapes) else [events.data, events.paint]
