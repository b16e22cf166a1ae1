"""The widget that removes noise."""

from __future__ import annotations

from typing import Any

from napari_rednet.widgets.noise_aware import NoiseAwareWidget
from napari_rednet.widgets.worker import Steps


class DenoiseWidget(NoiseAwareWidget):
    """Remove noise from an image layer."""

    verb = task = "denoise"
    suffix = " denoised"
    doing = "Denoising"

    def noise_steps(self, array: Any, **arguments: Any) -> Steps:
        """Remove the noise."""
        from napari_rednet.restoration import denoise_steps

        return denoise_steps(array, **arguments)
