"""The widget that undoes a known blur."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magicgui.widgets import SpinBox
from magicgui.widgets.bases import ValueWidget, Widget
from napari.layers import Image

from napari_rednet.sample_data import PSF
from napari_rednet.tasks import VERBS
from napari_rednet.widgets.companion import Companion
from napari_rednet.widgets.layers import LayerImage
from napari_rednet.widgets.noise_aware import NoiseAwareWidget
from napari_rednet.widgets.psf_controls import ChosenPsf, PsfControls

if TYPE_CHECKING:
    from napari_rednet.execution import Restoration


class DeblurWidget(NoiseAwareWidget):
    """Undo a known blur of an image layer."""

    verb = "deblur"
    preview_remark = "Near edges it may differ a little from the result."
    companion: Companion

    def extra_controls(self) -> list[Widget]:
        """The PSF, the noise, the strength and the iterations."""
        self.iterations = SpinBox(
            name="iterations",
            label="Iterations",
            value=VERBS[self.verb].options["iterations"],
            min=1,
            max=100,
            tooltip="How often data and prior take turns; the time is proportional to it.",
        )
        self.psf = psf = PsfControls(self._image_layers)
        self.companion = Companion(
            PSF, self.common.image, psf.layer, psf.widgets, psf.chosen, psf.choose
        )
        return [*psf.widgets, *super().extra_controls(), self.iterations]

    def remembered(self) -> list[ValueWidget]:
        """The iterations and the generated PSF as well."""
        return [*super().remembered(), self.iterations, *self.psf.remembered]

    def parameters(self) -> dict[str, Any]:
        """The PSF as well, unless it came with the image."""
        kept = super().parameters()
        came = self.companion.layer is not None
        return kept | {self.psf.kind.name: self.psf.generated} if came else kept

    def arguments_for(self, layer: Image | None) -> dict[str, Any]:
        """The PSF, its centre and the iterations as well."""
        chosen = self.psf.psf()
        return {
            **super().arguments_for(layer),
            "psf": chosen,
            "center": chosen.center,
            "iterations": self.iterations.value,
        }

    def prepare(self, image: LayerImage, **arguments: Any) -> Restoration:
        """Deblur, each colour by itself; transparency is left alone."""
        from napari_rednet.restoration import prepare_deblur

        psf: ChosenPsf = arguments.pop("psf")
        axis = image.channel_axis
        return prepare_deblur(image.array, psf.array, channel_axis=axis, **arguments)
