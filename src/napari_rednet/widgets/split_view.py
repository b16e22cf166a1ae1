"""Two layers split by a line that the mouse moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from napari.experimental import link_layers, unlink_layers
from napari.layers import Image
from napari.viewer import Viewer

from napari_rednet.widgets.half_image import HalfImage, HalfPlane
from napari_rednet.widgets.layers import TEMPORARY, insert_quietly
from napari_rednet.widgets.pair_views import PairView

DIVIDED = "compare: before"
"""Name of the layer that the split view adds."""

_LOOKS = ("contrast_limits", "colormap", "gamma", "interpolation2d")
_LINE = "rednet_divider"
_REACH = 8


class Split(PairView):
    """Before on the left of a line over the canvas, after on its right.

    napari 0.9 clips no images in 2-D: its clipping planes are for other layers and for volumes. A
    layer whose data is cut at the line would change its shape, and with it the sliders, at each
    move, and could not be cut aslant. So a layer over `after` shows `before` as a `HalfImage`,
    whose other half is transparent: of one shape, for pyramids and for data that is not in memory
    as well, under rotated or rolled axes. Line and names are overlays of the canvas, in its
    pixels. All of it is napari's public interface.

    Parameters
    ----------
    position : float
        Where the line is, from 0 at the left of the canvas to 1 at its right.
    moved : callable
        Called with the position when the mouse has moved the line.
    """

    def __init__(
        self,
        viewer: Viewer,
        before: Image,
        after: Image,
        position: float,
        moved: Callable[[float], None],
    ) -> None:
        super().__init__(viewer, before, after)
        self._position, self._moved = position, moved
        self._halves = _half_images(before)
        self.layer = _half_layer(before, self._halves)

    @property
    def layers(self) -> tuple[Image, ...]:
        """The pair, and the layer that shows a half."""
        return *super().layers, self.layer

    @property
    def position(self) -> float:
        """Where the line is, as a part of the width of the canvas."""
        return self._position

    @position.setter
    def position(self, position: float) -> None:
        self._position = min(max(position, 0.0), 1.0)
        self._draw()

    def start(self) -> None:
        """Add the layer and the line."""
        super().start()
        self._borrowed.set(self.before, "visible", False)
        self._borrowed.set(self.after, "opacity", 1.0)
        insert_quietly(self.viewer, self.viewer.layers.index(self.after) + 1, self.layer)
        link_layers([self.before, self.layer], _LOOKS)
        self._write("left", self.before)
        self._write("right", self.after)
        self._draw()
        for event in self._moves():
            event.connect(self._draw)
        self.viewer.mouse_drag_callbacks.append(self._drag)
        self.viewer.mouse_move_callbacks.append(self._point)

    def stop(self) -> None:
        """Take the layer and the line away."""
        for event in self._moves():
            event.disconnect(self._draw)
        for callbacks in (self.viewer.mouse_drag_callbacks, self.viewer.mouse_move_callbacks):
            for own in (self._drag, self._point):
                if own in callbacks:
                    callbacks.remove(own)
        unlink_layers([self.before, self.layer])
        if self.layer in self.viewer.layers:
            self.viewer.layers.remove(self.layer)
        super().stop()

    def _moves(self) -> Iterator[Any]:
        """Events after which the line lies elsewhere in the image."""
        camera, dims = self.viewer.scene.camera.events, self.viewer.dims.events
        yield from (camera.center, camera.zoom, camera.orientation, dims.order)
        yield self.viewer.canvas.events.size
        for name in ("scale", "translate", "rotate", "shear", "affine"):
            yield getattr(self.before.events, name)

    def _draw(self) -> None:
        rows, columns = self.viewer.canvas.size
        x = self._position * columns
        self._draw_line(((0, x), (rows, x)))
        hidden = self._right_of(x)
        for half in self._halves:
            half.hidden = hidden
        self.layer.refresh(thumbnail=False, extent=False)

    def _draw_line(self, ends: tuple[tuple[float, float], tuple[float, float]]) -> None:
        # A rectangle without width: napari's box to zoom into is the one that can be placed freely.
        from napari.components.overlays import ZoomOverlay  # which older versions lack

        if _LINE in self._overlays:
            self.viewer.canvas.overlays[_LINE].position = ends
        else:
            self.viewer.canvas.overlays[_LINE] = ZoomOverlay(position=ends, visible=True)
            self._overlays.append(_LINE)

    def _right_of(self, x: float) -> HalfPlane:
        """Where the image `before` lies on the right of a column of the canvas."""
        camera, dims = self.viewer.scene.camera, self.viewer.dims
        side = 1 if camera.orientation2d[1] == "right" else -1
        middle = self.viewer.canvas.size[1] / 2
        world_x = camera.center[-1] + side * (x - middle) / camera.zoom
        axis, ndim = dims.displayed[-1] - dims.ndim, self.before.ndim
        if -axis > ndim:  # the layer does not extend along the columns of the canvas
            return HalfPlane(np.zeros(ndim), -1.0)
        origin = self.before.data_to_world(np.zeros(ndim))[axis]
        slopes = np.array([self.before.data_to_world(e)[axis] - origin for e in np.eye(ndim)])
        return HalfPlane(side * slopes, side * (origin - world_x))

    def _near(self, event: Any) -> bool:
        return bool(abs(event.pos[0] - self._position * self.viewer.canvas.size[1]) <= _REACH)

    def _drag(self, _viewer: Viewer, event: Any) -> Iterator[None]:
        """Move the line; called by napari when a mouse button is pressed."""
        if not self._near(event):
            return
        event.handled = True  # or the image would move as well
        yield
        while event.type == "mouse_move":
            event.handled = True
            self.position = float(event.pos[0]) / self.viewer.canvas.size[1]
            self._moved(self._position)
            yield

    def _point(self, _viewer: Viewer, event: Any) -> None:
        """Show that the line can be moved."""
        style = "pointing" if self._near(event) else "standard"
        if self.viewer.cursor.style in ("pointing", "standard"):
            self._borrowed.set(self.viewer.cursor, "style", style)


def _half_images(layer: Image) -> list[HalfImage]:
    """The levels of a layer, the finest first; a single one without a pyramid."""
    levels = list(layer.data) if layer.multiscale else [layer.data]
    fine = np.array(levels[0].shape[: layer.ndim], float)
    return [HalfImage(level, layer.rgb, fine / level.shape[: layer.ndim]) for level in levels]


def _half_layer(layer: Image, halves: list[HalfImage]) -> Image:
    """A layer that shows half images where and as `layer` shows its own."""
    placed = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
    options = {name: getattr(layer, name) for name in (*placed, *_LOOKS)}
    return Image(
        halves if layer.multiscale else halves[0],
        name=DIVIDED,
        rgb=layer.rgb,
        multiscale=layer.multiscale,
        cache=False,
        metadata={TEMPORARY: True},
        blending="translucent_no_depth",
        **options,
    )
