"""Views of two layers: blinking, side by side, or split by a line that the mouse moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from napari.components.overlays import TextOverlay
from napari.experimental import link_layers, unlink_layers
from napari.layers import Image, Layer
from napari.viewer import Viewer
from qtpy.QtCore import QObject, QTimer

from napari_rednet.widgets.shared.layers import TEMPORARY, insert_quietly

FloatArray = npt.NDArray[np.float64]
_NAME_LETTERS = 28
DIVIDED = "compare: before"
"""Name of the layer that the split view adds."""
_LOOKS = ("contrast_limits", "colormap", "gamma", "interpolation2d")
_LINE = "rednet_divider"
_REACH = 8


@dataclass(frozen=True)
class HalfPlane:
    """The points p of an image with ``slopes @ p + offset > 0``.

    `p` and `slopes` have an entry per axis, colours excluded; p is in pixels of full resolution.
    """

    slopes: FloatArray
    offset: float

    def mask(self, key: tuple[Any, ...], shape: tuple[int, ...], steps: FloatArray) -> Any:
        """True for the pixels of ``image[key]`` that lie in it.

        `key` has an int or slice for each axis of an image of the given `shape`. `steps` is, for
        each axis, the number of pixels of full resolution that a pixel of the image spans.
        """
        first = (steps - 1) / 2  # centre of the first pixel, in full resolution
        total: Any = self.offset + self.slopes @ first
        cuts = [axis for axis, index in enumerate(key) if isinstance(index, slice)]
        for axis, index in enumerate(key):
            places = np.arange(shape[axis])[index] * (self.slopes[axis] * steps[axis])
            if axis in cuts:
                places = places.reshape(-1, *(1,) * (len(cuts) - 1 - cuts.index(axis)))
            total = total + places
        return total > 0


class HalfImage:
    """A view of an image, computed plane by plane, that is transparent in the half-plane `hidden`.

    Gray values become NaN there, which napari does not draw; colours get an alpha of 0. The shape
    does not depend on the half-plane, so that moving it only takes a redraw. `steps` is that of
    `HalfPlane.mask`.
    """

    def __init__(self, data: Any, rgb: bool, steps: Any) -> None:
        self._data, self._rgb = data, rgb
        self._steps = np.asarray(steps, float)
        self.hidden = HalfPlane(np.zeros(len(self._steps)), -1.0)
        kind = np.dtype(data.dtype)
        self.dtype = kind if rgb else np.dtype(np.float32)
        self.shape = (*data.shape[:-1], 4) if rgb else tuple(data.shape)
        self.ndim = len(self.shape)
        self.size = int(np.prod(self.shape))

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        axes = len(self._steps)
        keys = _all_axes(key, axes)
        values = np.asarray(self._data[keys])
        hidden = self.hidden.mask(keys, self.shape[:axes], self._steps)
        if self._rgb:
            return _with_alpha(values, hidden)
        return np.where(hidden, np.float32(np.nan), values.astype(np.float32))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self[()], dtype)


def _all_axes(key: Any, axes: int) -> tuple[Any, ...]:
    """Complete an index to all axes but that of the colours."""
    keys = key if isinstance(key, tuple) else (key,)
    return (*keys, *(slice(None),) * axes)[:axes]


def _with_alpha(values: npt.NDArray[Any], hidden: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    opaque = np.iinfo(values.dtype).max if values.dtype.kind in "iu" else 1
    given = values[..., 3] if values.shape[-1] == 4 else opaque
    alpha = np.where(hidden, 0, given).astype(values.dtype)
    return np.concatenate([values[..., :3], alpha[..., None]], axis=-1)


class PairView:
    """A view of two layers that hides the others of type `hides`; `stop` restores the viewer."""

    hides: ClassVar[type[Layer]] = Image  # other layers may mark what to look at

    def __init__(self, viewer: Viewer, before: Image, after: Image) -> None:
        self.viewer, self.before, self.after = viewer, before, after
        self._borrowed = Borrowed()
        self._overlays: list[str] = []

    @property
    def layers(self) -> tuple[Image, ...]:
        """The layers whose removal ends the view."""
        return self.before, self.after

    def start(self) -> None:
        """Show the pair."""
        for layer in self.viewer.layers:
            if isinstance(layer, self.hides):
                self._borrowed.set(layer, "visible", layer in (self.before, self.after))

    def stop(self) -> None:
        """Restore the viewer."""
        for name in self._overlays:
            self.viewer.canvas.overlays.pop(name, None)
        self._overlays.clear()
        self._borrowed.give_back()

    def _write(self, side: str, layer: Image) -> None:
        """Write the name of a layer onto the canvas, at its top left or right."""
        overlays, name, text = self.viewer.canvas.overlays, f"rednet_{side}", _short(layer.name)
        if name in self._overlays:
            overlays[name].text = text
            return
        overlays[name] = TextOverlay(text=text, position=f"top_{side}", visible=True)
        self._overlays.append(name)


class SideBySide(PairView):
    """Both layers in napari's grid, before on the left."""

    hides = Layer  # each visible layer takes a cell of the grid

    def start(self) -> None:
        """Show the pair, each with its name."""
        super().start()
        layers, grid = self.viewer.layers, self.viewer.canvas.grid
        for layer in (self.before, self.after):
            self._borrowed.set(layer.name_overlay, "visible", True)
        in_order = layers.index(self.before) < layers.index(self.after)
        for name, value in (
            ("stride", 1 if in_order else -1),
            ("shape", (1, 2)),
            ("enabled", True),
        ):
            self._borrowed.set(grid, name, value)
        self.viewer.fit_to_view()


class Blink(PairView):
    """One layer after the other, in the same place; the timer belongs to `window`."""

    def __init__(
        self, viewer: Viewer, before: Image, after: Image, rate: float, window: QObject
    ) -> None:
        super().__init__(viewer, before, after)
        self._timer = QTimer(window)
        self._timer.timeout.connect(self._turn)
        self.rate = rate

    @property
    def rate(self) -> float:
        """Changes per second."""
        return 1000 / float(self._timer.interval())

    @rate.setter
    def rate(self, rate: float) -> None:
        self._timer.setInterval(round(1000 / rate))

    def start(self) -> None:
        """Show `before` and start the timer."""
        super().start()
        self._show(self.before)
        self._timer.start()

    def stop(self) -> None:
        """Stop the timer and restore the viewer."""
        self._timer.stop()
        self._timer.deleteLater()
        super().stop()

    def _turn(self) -> None:
        self._show(self.before if self.after.visible else self.after)

    def _show(self, shown: Image) -> None:
        for layer in (self.before, self.after):
            self._borrowed.set(layer, "visible", layer is shown)
        self._write("left", shown)


def _short(name: str) -> str:
    """A layer name, shortened in its middle: its end says what was done, such as "denoised"."""
    half = _NAME_LETTERS // 2
    return name if len(name) <= _NAME_LETTERS else f"{name[: half - 1]}…{name[-half:]}"


class Borrowed:
    """Sets attributes and later restores them, unless the user has changed them meanwhile."""

    def __init__(self) -> None:
        self._settings: dict[tuple[int, str], _Setting] = {}

    def set(self, owner: Any, name: str, value: Any) -> None:
        """Set an attribute that is to be restored; this may be repeated."""
        setting = self._settings.setdefault((id(owner), name), _Setting(owner, name))
        setting.change(value)

    def give_back(self) -> None:
        """Restore all attributes, the last one first."""
        for setting in reversed(self._settings.values()):
            setting.put_back()
        self._settings.clear()


class _Setting:
    """An attribute, its original value, and the value it was set to."""

    def __init__(self, owner: Any, name: str) -> None:
        self._owner, self._name = owner, name  # a reference, so that its id is not reused
        self._before = self._ours = getattr(owner, name)

    def change(self, value: Any) -> None:
        setattr(self._owner, self._name, value)
        # Read back, as the owner may convert it to another type.
        self._ours = getattr(self._owner, self._name)

    def put_back(self) -> None:
        if getattr(self._owner, self._name) == self._ours:
            setattr(self._owner, self._name, self._before)


class Split(PairView):
    """Before on the left of a line over the canvas, after on its right.

    napari 0.9 cannot clip images in 2-D: its clipping planes are for other layers and for volumes.
    Cropping the data at the line would change the shape of the layer, and with it the sliders, at
    each move, and could only cut along the axes. So a layer above `after` shows `before` as a
    `HalfImage`, which is transparent on the right of the line. This works for multiscale and lazy
    data too, and with rotated or rolled axes. The line and the names are overlays of the canvas, in
    its pixels. All of it is napari's public interface.

    `moved` is called with the new position when the mouse has moved the line.
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
        """The pair, and the layer of the half image."""
        return *super().layers, self.layer

    @property
    def position(self) -> float:
        """Position of the line, from 0 at the left of the canvas to 1 at its right."""
        return self._position

    @position.setter
    def position(self, position: float) -> None:
        self._position = min(max(position, 0.0), 1.0)
        self._draw()

    def start(self) -> None:
        """Add the half layer and the line."""
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
        """Remove the half layer and the line, and restore the viewer."""
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
        """Events that move the image under the line."""
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
        # A zoom box without width: no other overlay of napari's can be placed freely.
        from napari.components.overlays import ZoomOverlay  # which older versions lack

        if _LINE in self._overlays:
            self.viewer.canvas.overlays[_LINE].position = ends
        else:
            self.viewer.canvas.overlays[_LINE] = ZoomOverlay(position=ends, visible=True)
            self._overlays.append(_LINE)

    def _right_of(self, x: float) -> HalfPlane:
        """The half-plane of `before` that lies on the right of column `x` of the canvas."""
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
        """Change the cursor near the line, to show that it can be moved."""
        style = "pointing" if self._near(event) else "standard"
        if self.viewer.cursor.style in ("pointing", "standard"):
            self._borrowed.set(self.viewer.cursor, "style", style)


def _half_images(layer: Image) -> list[HalfImage]:
    """A half image for each resolution level of a layer, the finest first."""
    levels = list(layer.data) if layer.multiscale else [layer.data]
    fine = np.array(levels[0].shape[: layer.ndim], float)
    return [HalfImage(level, layer.rgb, fine / level.shape[: layer.ndim]) for level in levels]


def _half_layer(layer: Image, halves: list[HalfImage]) -> Image:
    """A layer of half images, with the transform and the looks of `layer`."""
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
