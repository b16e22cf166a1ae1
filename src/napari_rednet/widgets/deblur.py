"""The widget that undoes a known blur."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magicgui.widgets.bases import ValueWidget, Widget
from napari.layers import Image, Layer

from napari_rednet.widgets.layers import LayerImage
from napari_rednet.widgets.noise_aware import NoiseAwareWidget
from napari_rednet.widgets.psf_controls import LAYER, ChosenPsf, PsfControls

if TYPE_CHECKING:
    from napari_rednet.execution import Restoration


class DeblurWidget(NoiseAwareWidget):
    """Undo a known blur of an image layer."""

    verb = "deblur"
    task = "denoise"  # a denoiser is the prior
    suffix = " deblurred"
    doing = "Deblurring"
    preview_remark = "Near edges it may differ a little from the result."
    sample = "blurred"

    def extra_controls(self) -> list[Widget]:
        """The PSF, the noise and the strength."""
        self.psf = PsfControls(self._image_layers)
        return [*self.psf.widgets, *super().extra_controls()]

    def remembered(self) -> list[ValueWidget]:
        """The generated PSF as well."""
        return [*super().remembered(), *self.psf.remembered]

    def arguments_for(self, layer: Image | None) -> dict[str, Any]:
        """The PSF as well."""
        return {**super().arguments_for(layer), "psf": self.psf.psf()}

    def use_sample(self, layers: list[Layer]) -> None:
        """The PSF as well."""
        super().use_sample(layers)
        self.psf.kind.value, self.psf.layer.value = LAYER, layers[1]

    def prepare(self, image: LayerImage, **arguments: Any) -> Restoration:
        """Deblur, each colour by itself; transparency is left alone."""
        from napari_rednet.restoration import prepare_deblur

        psf: ChosenPsf = arguments.pop("psf")
        axis = image.channel_axis
        return prepare_deblur(image.array, psf.array, channel_axis=axis, **arguments)
