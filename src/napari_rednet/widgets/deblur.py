"""The widget that undoes a known blur."""

from __future__ import annotations

from typing import Any

from magicgui.widgets.bases import Widget

from napari_rednet.widgets.noise_aware import NoiseAwareWidget
from napari_rednet.widgets.psf_controls import PsfControls
from napari_rednet.widgets.worker import Steps


class DeblurWidget(NoiseAwareWidget):
    """Undo a known blur of an image layer."""

    verb = "deblur"
    task = "denoise"  # a denoiser is the prior
    suffix = " deblurred"
    doing = "Deblurring"

    def extra_controls(self) -> list[Widget]:
        """The PSF, the noise and the strength."""
        self.psf = PsfControls(self._image_layers)
        return [*self.psf.widgets, *super().extra_controls()]

    def arguments(self) -> dict[str, Any]:
        """The PSF as well."""
        return {**super().arguments(), "psf": self.psf.psf()}

    def noise_steps(self, array: Any, **arguments: Any) -> Steps:
        """Deblur."""
        from napari_rednet.restoration import deblur_steps

        return deblur_steps(array, **arguments)
