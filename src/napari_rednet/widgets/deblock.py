"""The widget that removes the blocks of JPEG coding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_rednet.widgets.base import RestoreWidget
from napari_rednet.widgets.layers import LayerImage

if TYPE_CHECKING:
    from napari_rednet.execution import Restoration


class DeblockWidget(RestoreWidget):
    """Remove the blocks and ringing of JPEG coding from an image layer."""

    verb = "deblock"

    def prepare(self, image: LayerImage, **arguments: Any) -> Restoration:
        """Remove the artefacts; transparency stays as it is."""
        from napari_rednet.restoration import prepare_deblock

        return prepare_deblock(image.data, rgb=image.rgb, **arguments)
