"""The widget that fills missing pixels."""

from __future__ import annotations

from typing import Any

from magicgui.widgets.bases import Widget
from napari.layers import Labels, Shapes

from napari_rednet.widgets.base import RestoreWidget
from napari_rednet.widgets.controls import ChoiceBox
from napari_rednet.widgets.layers import LayerImage
from napari_rednet.widgets.mask_layers import LayerMask, layer_mask
from napari_rednet.widgets.worker import Steps

FOUND = "dead and hot pixels"


class InpaintWidget(RestoreWidget):
    """Fill missing pixels of an image layer."""

    verb = task = "inpaint"
    suffix = " inpainted"
    doing = "Inpainting"

    def extra_controls(self) -> list[Widget]:
        """The mask."""
        self.mask = ChoiceBox(
            name="mask",
            label="Mask",
            choices=self._masks,
            tooltip="What to fill: the dead and hot pixels and lines of the camera, found in the "
            "image itself, or what is painted in a Labels layer or drawn in a Shapes layer.",
        )
        return [self.mask]

    def arguments(self) -> dict[str, Any]:
        """The mask as well, as it is now; None if defects are to be found."""
        chosen = self.mask.value
        mask = None if chosen == FOUND else layer_mask(chosen, self.common.image.value)
        return {**super().arguments(), "mask": mask}

    def steps(self, image: LayerImage, *, mask: LayerMask | None = None, **arguments: Any) -> Steps:
        """Fill; transparency stays as it is. The mask is recorded by its name."""
        from napari_rednet.restoration import inpaint_steps

        missing, name = (None, None) if mask is None else (mask.missing, mask.name)
        steps = inpaint_steps(image.array, missing, channel_axis=image.channel_axis, **arguments)
        return image.with_alpha((yield from steps)), {"mask": name}

    def _masks(self, *_: Any) -> list[Any]:
        layers = [layer for layer in self.viewer.layers if isinstance(layer, (Labels, Shapes))]
        return [FOUND, *layers]
