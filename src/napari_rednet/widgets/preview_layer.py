"""The temporary layer that a preview is shown in."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Image
from napari.viewer import Viewer

from napari_rednet.widgets.layers import TEMPORARY, finer_grid, insert_quietly, layer_options
from napari_rednet.widgets.preview_parts import Previewed

_LOOK = ("contrast_limits", "gamma", "colormap", "interpolation2d")


class PreviewLayer:
    """Shows previews of one layer on top of all others, and looks like it.

    Parameters
    ----------
    viewer : Viewer
        Where.
    source : Image
        The layer that is previewed.
    """

    def __init__(self, viewer: Viewer, source: Image) -> None:
        self._viewer, self.source = viewer, source
        self._layer: Image | None = None
        for name in _LOOK:
            getattr(source.events, name).connect(self._copy_look)

    def show(self, previewed: Previewed) -> None:
        """Show a preview in place of the last one."""
        place = finer_grid(self.source, previewed.scale, previewed.view.first)
        if self._layer is None:
            self._layer = self._add(previewed.data, place)
        else:
            self._layer.data = previewed.data
            for name, value in place.items():
                # Each change is drawn, and takes as long as one of the data.
                if not np.array_equal(getattr(self._layer, name), value):
                    setattr(self._layer, name, value)

    def clear(self) -> None:
        """Show nothing until there is another preview."""
        layer, self._layer = self._layer, None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def close(self) -> None:
        """Take the layer away, for good."""
        for name in _LOOK:
            getattr(self.source.events, name).disconnect(self._copy_look)
        self.clear()

    def is_shown_in(self, layer: Any) -> bool:
        """Whether a layer is the one that shows the preview."""
        return layer is not None and layer is self._layer

    def _add(self, data: Any, place: dict[str, Any]) -> Image:
        # What lies below is not to shine through; it would be seen twice.
        opaque = {"blending": "translucent_no_depth", "opacity": 1.0}
        layer = Image(
            data,
            name=f"{self.source.name} (preview)",
            metadata={TEMPORARY: True},
            multiscale=False,
            **{**layer_options(self.source), **opaque, **place},
        )
        insert_quietly(self._viewer, len(self._viewer.layers), layer)
        return layer

    def _copy_look(self) -> None:
        if self._layer is not None:
            for name in _LOOK:
                setattr(self._layer, name, getattr(self.source, name))
