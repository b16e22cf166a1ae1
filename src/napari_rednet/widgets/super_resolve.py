"""The widget that enlarges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magicgui.widgets.bases import ValueWidget, Widget
from napari.layers import Image

from napari_rednet.arguments import SCALES
from napari_rednet.widgets.base import RestoreWidget
from napari_rednet.widgets.controls import ChoiceBox
from napari_rednet.widgets.layers import LayerImage, finer_grid

if TYPE_CHECKING:
    from napari_rednet.execution import Restoration


class SuperResolveWidget(RestoreWidget):
    """Enlarge an image layer; the result covers the same part of the world with more pixels."""

    verb = "super_resolve"

    def extra_controls(self) -> list[Widget]:
        """The scale."""
        self.scale = ChoiceBox(
            name="scale",
            label="Scale",
            choices=[(f"×{scale}", scale) for scale in SCALES],
            tooltip="How many pixels each pixel becomes along Y and along X. "
            "The result lies where the layer lies: its pixels are smaller.",
        )
        return [self.scale]

    def remembered(self) -> list[ValueWidget]:
        """The scale as well."""
        return [*super().remembered(), self.scale]

    def arguments_for(self, layer: Image | None) -> dict[str, Any]:
        """The scale as well."""
        return {**super().arguments_for(layer), "scale": self.scale.value}

    def prepare(self, image: LayerImage, **arguments: Any) -> Restoration:
        """Enlarge; transparency is enlarged along."""
        from napari_rednet.restoration import prepare_super_resolve

        return prepare_super_resolve(image.data, rgb=image.rgb, **arguments)

    def result_options(self, source: Image, record: dict[str, Any]) -> dict[str, Any]:
        """Pixels as much smaller as there are more of them."""
        first = None if record["plane"] is None else (*record["plane"], 0, 0)
        return super().result_options(source, record) | finer_grid(source, record["scale"], first)
