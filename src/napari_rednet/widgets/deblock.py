"""The widget that removes the blocks of JPEG coding."""

from __future__ import annotations

from typing import Any

from napari_rednet.widgets.base import RestoreWidget
from napari_rednet.widgets.layers import LayerImage
from napari_rednet.widgets.worker import Steps


class DeblockWidget(RestoreWidget):
    """Remove the blocks and ringing of JPEG coding from an image layer."""

    verb = task = "deblock"
    suffix = " deblocked"
    doing = "Deblocking"

    def steps(self, image: LayerImage, **arguments: Any) -> Steps:
        """Remove the artefacts; transparency stays as it is."""
        from napari_rednet.restoration import deblock_steps

        return (yield from deblock_steps(image.data, rgb=image.rgb, **arguments)), {}
