"""Live preview of a restoration: the visible part of the layer, restored."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from magicgui.widgets import CheckBox
from magicgui.widgets.bases import Widget
from napari.layers import Image
from napari.viewer import Viewer
from qtpy.compat import isalive
from qtpy.QtCore import QTimer

from napari_rednet.widgets.restore.preview_run import Order, Previewer
from napari_rednet.widgets.restore.preview_view import Previewed, PreviewLayer, View, view_of
from napari_rednet.widgets.shared.controls import make_status, show_status
from napari_rednet.widgets.shared.layers import LayerImage, check_restorable, full_resolution
from napari_rednet.widgets.shared.worker import StepsWorker, start_worker

# Debounce: a drag is one change and the canvas can be drawn, and it still feels live.
_REST_MS = 40
_SLOW_SECONDS = 0.5
_PLACED_BY = ("data", "scale", "translate", "rotate", "shear", "affine", "visible")


class Preview:
    """Check box and status line of a preview, and its temporary layer while it is on.

    `source` returns the chosen layer or None, and `image_of` the part of it to restore.
    `arguments` returns the values of the controls, or raises `ValueError`, worded for the user.
    """

    def __init__(
        self,
        viewer: Viewer,
        source: Callable[[], Image | None],
        image_of: Callable[[Image], LayerImage],
        arguments: Callable[[], Mapping[str, Any]],
        previewer: Previewer,
        remark: str = "",
    ) -> None:
        self._viewer, self._source, self._image_of = viewer, source, image_of
        self._arguments, self._previewer = arguments, previewer
        self._remark = remark
        self._known: Mapping[str, Any] | None = None
        self._layer: PreviewLayer | None = None
        self._worker: StepsWorker | None = None
        self._running: Order | None = None
        self._order: Order | None = None
        self._shown: tuple[Order, View] | None = None
        self._last_place: tuple[int, ...] | None = None
        self._ahead: Order | None = None
        self.toggle = CheckBox(
            name="preview",
            label="",
            text="Preview",
            tooltip="Restore what is seen of the layer, as you zoom, move and change values. "
            f"It is shown in a layer that goes when this is switched off. {remark}".strip(),
        )
        self.status = make_status("What is previewed, or why nothing is.")
        self._timer = QTimer(self.toggle.native)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_REST_MS)
        self._timer.timeout.connect(self._update)
        self.toggle.changed.connect(self._switch)
        self._say("")

    @property
    def widgets(self) -> list[Widget]:
        """The controls, from top to bottom."""
        return [self.toggle, self.status]

    @property
    def is_busy(self) -> bool:
        """True while a preview is computed or scheduled."""
        return self._worker is not None or bool(self._timer.isActive())

    @property
    def is_on(self) -> bool:
        """True if the preview is on and the window is open."""
        return bool(isalive(self.toggle.native)) and bool(self.toggle.value)

    def switch_off(self) -> None:
        """Uncheck the box, which removes the preview."""
        if self.is_on:
            self.toggle.value = False

    def parameters_changed(self) -> None:
        """Read the arguments again, and update."""
        self._known = None
        self._request()

    def models_changed(self) -> None:
        """Load the model again, and update."""
        self._previewer.forget_models()
        self.parameters_changed()

    # Switching -----------------------------------------------------------------------------

    def _switch(self) -> None:
        if self.toggle.value:
            self._open()
        else:
            self._close()

    def _open(self) -> None:
        source = self._source()
        if source is None:
            self._say("Preview: choose an image layer.")
            return
        self._layer = PreviewLayer(self._viewer, source)
        self._previewer.forget_measures()
        for signal, callback in self._signals(source):
            signal.connect(callback)
        self.parameters_changed()

    def _close(self) -> None:
        self._timer.stop()
        self._quit()
        self._say("")
        if self._layer is None:
            return
        for signal, callback in self._signals(self._layer.source):
            signal.disconnect(callback)
        layer, self._layer = self._layer, None
        self._order = self._shown = self._last_place = self._ahead = None
        layer.close()
        self._previewer.forget_measures()

    def _signals(self, source: Image) -> list[tuple[Any, Callable[..., None]]]:
        """Signals that change the view or the layers, and their callbacks."""
        camera = getattr(self._viewer, "scene", self._viewer).camera  # no scene in older napari
        dims, layers = self._viewer.dims.events, self._viewer.layers.events
        moved = [camera.events.center, camera.events.zoom, dims.point, dims.ndisplay, dims.order]
        if hasattr(self._viewer, "canvas"):  # not in older napari
            moved.append(self._viewer.canvas.events.size)
        return [
            *((signal, self._request) for signal in moved),
            *((getattr(source.events, name), self._show_anew) for name in _PLACED_BY),
            (source.events.data, self._forget_measures),
            (layers.removed, self._follow_removal),
        ]

    def _show_anew(self) -> None:
        self._shown = None
        self._request()

    def _forget_measures(self) -> None:
        self._previewer.forget_measures()
        self._running = None  # stale, even if the array is the same object

    def _follow_removal(self, event: Any) -> None:
        if self._layer is None:
            return
        if event.value is self._layer.source or self._layer.is_shown_in(event.value):
            self.switch_off()

    # Updating ------------------------------------------------------------------------------

    def _request(self) -> None:
        """Schedule a debounced update."""
        if self.is_on and self._layer is not None:
            self._timer.start()

    def _update(self) -> None:
        """Restore the current view; a stale run is cancelled, and its end calls this again."""
        if not self.is_on or self._layer is None:
            return
        self._order = None
        try:
            order = self._make_order(self._layer.source)
        except ValueError as error:
            self._quit()
            self._refuse(error)
            return
        if self._worker is not None:
            if self._running is not None and self._running.serves(order):
                self._order = self._running
            else:
                self._quit()
        elif self._is_shown(order):
            self._order = order
            self._say(self._told(order.view))
        else:
            self._order = order
            if not self._previewer.has_measured(order):
                self._say("Preview: measuring the layer…")
            self._start(order)

    def _start(self, order: Order) -> None:
        self._running, self._ahead = order, None
        self._worker = start_worker(
            partial(self._previewer.steps, order),
            None,
            on_progress=partial(self._follow, order, time.monotonic()),
            on_result=partial(self._take, order),
            on_error=partial(self._fail, order),
            on_end=self._end,
        )

    def _make_order(self, source: Image) -> Order:
        check_restorable(source)
        if self._known is None:
            self._known = self._arguments()
        view = view_of(self._viewer, source)
        return Order(full_resolution(source), self._image_of(source), view, self._known)

    def _is_shown(self, order: Order) -> bool:
        """True if the layer shows this view already, as after zooming in."""
        if self._shown is None:
            return False
        last, view = self._shown
        return last.is_under_same_conditions(order) and view.covers(order.view)

    def _is_wanted(self, order: Order) -> bool:
        return order is self._order and self._layer is not None and self.is_on

    def _follow(self, order: Order, begun: float, progress: tuple[int, int] | Previewed) -> None:
        if not self._is_wanted(order) or self._layer is None:
            return
        if isinstance(progress, Previewed):
            self._layer.show(progress)
            self._shown = None
        elif progress[1] and time.monotonic() - begun > _SLOW_SECONDS:
            self._say("Preview: restoring…")

    def _take(self, order: Order, previewed: Previewed) -> None:
        self._running = None
        if self._is_wanted(order) and self._layer is not None:
            self._layer.show(previewed)
            self._shown = order, previewed.view
            self._ahead = self._after(order)
            self._last_place = order.view.place
            self._say(self._told(previewed.view))

    def _after(self, order: Order) -> Order | None:
        """The next plane in the direction of the last step; None if that was not a single step."""
        if self._last_place is None or len(self._last_place) != len(order.view.place):
            return None
        steps = [n - m for n, m in zip(order.view.place, self._last_place, strict=True)]
        return order.moved_by(steps) if sum(map(abs, steps)) == 1 else None

    def _fail(self, order: Order, error: Exception) -> None:
        self._running = None
        if self._is_wanted(order):
            self._refuse(error)

    def _end(self) -> None:
        stale = self._worker is not None and self._worker.abort_requested
        self._worker = self._running = None
        if stale:
            self._update()
        elif self._ahead is not None and self.is_on:
            self._start(self._ahead)  # shown at once if the next step goes on

    def _refuse(self, error: Exception) -> None:
        if self._layer is not None and self.is_on:
            self._layer.clear()
            self._shown = None
            self._say(f"No preview: {str(error).rstrip('.')}.")

    def _quit(self) -> None:
        if self._worker is not None:
            self._worker.quit()

    def _told(self, view: View) -> str:
        rows, columns = view.shape
        if view.is_cut:
            what = f"Preview of the middle {columns} × {rows} pixels; zoom in for a whole view."
        else:
            what = f"Preview of {columns} × {rows} pixels."
        return f"{what} {self._remark}".strip()

    def _say(self, text: str) -> None:
        if isalive(self.status.native):
            show_status(self.status, text)
