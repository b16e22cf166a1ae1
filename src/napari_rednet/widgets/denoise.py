"""The widget that removes noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_rednet.widgets.layers import LayerImage
from napari_rednet.widgets.noise_aware import NoiseAwareWidget

if TYPE_CHECKING:
    from napari_rednet.execution import Restoration


class DenoiseWidget(NoiseAwareWidget):
    """Remove noise from an image layer."""

    verb = "denoise"

    def prepare(self, image: LayerImage, **arguments: Any) -> Restoration:
        """Remove the noise, each colour having its own; transparency stays as it is."""
        from napari_rednet.restoration import prepare_denoise

        return prepare_denoise(image.data, rgb=image.rgb, **arguments)
