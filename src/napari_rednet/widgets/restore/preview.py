"""Live preview of a restoration: the visible part of the layer, restored in a worker thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from magicgui.widgets import CheckBox
from magicgui.widgets.bases import Widget
from napari.layers import Image
from napari.viewer import Viewer
from qtpy.compat import isalive
from qtpy.QtCore import QTimer

from napari_rednet.widgets.restore.preview_view import (
    Canvas,
    Kept,
    Previewed,
    PreviewLayer,
    View,
    missing_parts,
    view_of,
)
from napari_rednet.widgets.shared.controls import make_status, show_status
from napari_rednet.widgets.shared.layers import (
    LayerImage,
    brighten,
    check_restorable,
    full_resolution,
)
from napari_rednet.widgets.shared.worker import StepsWorker, WorkerSteps, start_worker

if TYPE_CHECKING:
    from napari_rednet.engine.channel import NoiseModel
    from napari_rednet.execution import Measured, Restoration, Window
    from napari_rednet.models import Model

# Debounce: a drag is one change and the canvas can be drawn, and it still feels live.
_REST_MS = 40
_SLOW_MS = 500
_PLACED_BY = ("data", "scale", "translate", "rotate", "shear", "affine", "visible")
Complete = Callable[[LayerImage, Mapping[str, Any]], WorkerSteps]
Prepare = Callable[..., "Restoration"]
# About 724 x 724 pixels of the result: restored without a delay, and larger than 512 x 512.
MOST_PIXELS = 2**19
# Until the first partial preview; the next ones come after three times the time spent, since
# drawing takes its share of the processor.
_SECONDS_TO_FIRST_ROWS = 0.15
_NEARLY_ALL = 0.75


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
        self._running: PreviewRequest | None = None
        self._requested: PreviewRequest | None = None
        self._shown: tuple[PreviewRequest, View] | None = None
        self._last_place: tuple[int, ...] | None = None
        self._ahead: PreviewRequest | None = None
        self._is_paused = False
        self._doing = ""
        self.on_noise: Callable[[Mapping[int, NoiseModel]], None] | None = None
        self.toggle = CheckBox(
            name="preview",
            label="",
            text="Preview",
            tooltip="Restore what is seen of the layer, as you zoom, move and change values. "
            f"It is shown in a layer that goes when this is switched off. {remark}".strip(),
        )
        self.status = make_status("What is previewed, or why nothing is.", lines=2)
        self._timer = QTimer(self.toggle.native)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_REST_MS)
        self._timer.timeout.connect(self._update)
        self._slow = QTimer(self.toggle.native)
        self._slow.setSingleShot(True)
        self._slow.setInterval(_SLOW_MS)
        self._slow.timeout.connect(self._tell_what_is_done)
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

    def pause(self) -> None:
        """Remove the preview, so that a result is seen, until a value changes."""
        if not self.is_on or self._layer is None:
            return
        self._is_paused = True
        self._timer.stop()
        self._slow.stop()
        self._quit()
        self._layer.clear()
        # What a worker still has to say is no longer wanted.
        self._requested = self._shown = self._ahead = None
        self._say("Preview: paused until a value changes.")

    def parameters_changed(self) -> None:
        """Read the arguments again, and update."""
        self._known = None
        self._is_paused = False
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
        brighten(source)
        self._layer, self._is_paused = PreviewLayer(self._viewer, source), False
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
        self._requested = self._shown = self._last_place = self._ahead = None
        layer.close()
        self._previewer.forget_measures()

    def _signals(self, source: Image) -> list[tuple[Any, Callable[..., None]]]:
        """Signals that change the view or the layers, and their callbacks."""
        camera, dims = self._viewer.scene.camera.events, self._viewer.dims.events
        size, layers = self._viewer.canvas.events.size, self._viewer.layers.events
        moved = [camera.center, camera.zoom, dims.point, dims.ndisplay, dims.order, size]
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
        if self.is_on and self._layer is not None and not self._is_paused:
            self._timer.start()

    def _update(self) -> None:
        """Restore the current view; a stale run is cancelled, and its end calls this again."""
        if not self.is_on or self._layer is None or self._is_paused:
            return
        self._requested = None
        try:
            request = self._make_request(self._layer.source)
        except ValueError as error:
            self._quit()
            self._refuse(error)
            return
        if self._worker is not None:
            if self._running is not None and self._running.serves(request):
                self._requested = self._running
            else:
                self._quit()
        elif self._is_shown(request):
            self._requested = request
            self._say(self._told(request.view))
        else:
            self._requested = request
            if not self._previewer.has_measured(request):
                self._say("Preview: measuring the layer…")
            self._slow.start()
            self._start(request)

    def _start(self, request: PreviewRequest) -> None:
        self._running, self._ahead, self._doing = request, None, "starting"
        self._worker = start_worker(
            partial(self._previewer.steps, request),
            None,
            on_progress=partial(self._follow, request),
            on_result=partial(self._take, request),
            on_error=partial(self._fail, request),
            on_end=self._end,
        )

    def _make_request(self, source: Image) -> PreviewRequest:
        check_restorable(source)
        if self._known is None:
            self._known = self._arguments()
        view = view_of(self._viewer, source)
        return PreviewRequest(full_resolution(source), self._image_of(source), view, self._known)

    def _is_shown(self, request: PreviewRequest) -> bool:
        """True if the layer shows this view already, as after zooming in."""
        if self._shown is None:
            return False
        last, view = self._shown
        return last.is_under_same_conditions(request) and view.covers(request.view)

    def _is_wanted(self, request: PreviewRequest) -> bool:
        return request is self._requested and self._layer is not None and self.is_on

    def _follow(self, request: PreviewRequest, progress: Any) -> None:
        if not self._is_wanted(request) or self._layer is None:
            return
        if isinstance(progress, Previewed):
            self._layer.show(progress)
            self._shown = None
        elif isinstance(progress, dict) and self.on_noise is not None:
            self.on_noise(progress)
        elif isinstance(progress, str):
            self._doing = progress
            if not self._slow.isActive():
                self._tell_what_is_done()

    def _tell_what_is_done(self) -> None:
        """Say what takes so long; what is soon over would only flicker."""
        if self._running is not None and self._is_wanted(self._running):
            self._say(f"Preview: {self._doing}…")

    def _take(self, request: PreviewRequest, previewed: Previewed) -> None:
        self._running = None
        if self._is_wanted(request) and self._layer is not None:
            self._layer.show(previewed)
            self._shown = request, previewed.view
            self._ahead = self._after(request)
            self._last_place = request.view.place
            self._say(self._told(previewed.view))

    def _after(self, request: PreviewRequest) -> PreviewRequest | None:
        """The next plane in the direction of the last step; None if that was not a single step."""
        if self._last_place is None or len(self._last_place) != len(request.view.place):
            return None
        steps = [n - m for n, m in zip(request.view.place, self._last_place, strict=True)]
        return request.moved_by(steps) if sum(map(abs, steps)) == 1 else None

    def _fail(self, request: PreviewRequest, error: Exception) -> None:
        self._running = None
        if self._is_wanted(request):
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


@dataclass(frozen=True)
class PreviewRequest:
    """A preview to compute: full-resolution data of the layer, part to restore, view, arguments."""

    layer_data: Any
    image: LayerImage
    view: View
    arguments: Mapping[str, Any]

    @property
    def place(self) -> tuple[int, ...]:
        """Index of the viewed plane in `image`."""
        return (0,) * len(self.view.place) if self.image.is_plane else self.view.place

    @property
    def place_and_channel(self) -> tuple[tuple[int, ...], int | None]:
        """The place without the channel axis, and the channel; None without such an axis."""
        place, axis = self.place, self.image.channel
        if axis is None:
            return place, None
        return (*place[:axis], *place[axis + 1 :]), place[axis]

    def serves(self, other: PreviewRequest) -> bool:
        """True if its preview contains all that another request asks for."""
        return self.is_under_same_conditions(other) and self.view.covers(other.view)

    def is_under_same_conditions(self, other: PreviewRequest) -> bool:
        """True if at most the view differs."""
        return self.arguments is other.arguments and self.is_of_same_image(other)

    def moved_by(self, steps: Sequence[int]) -> PreviewRequest | None:
        """The same view in a plane some steps further; None if `image` has no such plane."""
        place = tuple(i + n for i, n in zip(self.view.place, steps, strict=True))
        counts = self.image.spatial_shape[:-2]
        if self.image.is_plane or not all(0 <= i < n for i, n in zip(place, counts, strict=True)):
            return None
        return replace(self, view=replace(self.view, place=place))

    def is_of_same_image(self, other: PreviewRequest) -> bool:
        """True if the same pixels would be restored, so that measurements can be shared."""
        return (
            self.layer_data is other.layer_data
            and self.image.crop == other.image.crop
            and self.image.channel == other.image.channel
            and self.arguments.get("mask") is other.arguments.get("mask")
        )


class Previewer:
    """Restores parts of layers, and reuses the model, measurements and previews while valid."""

    def __init__(self, task: str, complete: Complete, prepare: Prepare) -> None:
        self._task, self._complete, self._prepare = task, complete, prepare
        self._completed: tuple[PreviewRequest, Mapping[str, Any]] | None = None
        self._model: tuple[tuple[Any, bool], Model] | None = None
        self._measured: tuple[PreviewRequest, Measured] | None = None
        self._kept: tuple[PreviewRequest, Kept] | None = None
        self._before: tuple[PreviewRequest, Kept] | None = None

    def forget_models(self) -> None:
        """Load the model again next time, as its file may have changed."""
        self._model = None

    def forget_measures(self) -> None:
        """Drop measurements and previews, as the layer may have other values."""
        self._completed = self._measured = self._kept = self._before = None

    def has_measured(self, request: PreviewRequest) -> bool:
        """True if the layer has been measured."""
        return self._measured_in(request) is not None

    def steps(self, request: PreviewRequest) -> Generator[Any, None, Previewed]:
        """Restore in a worker: yield what is done and found, return the complete `Previewed`.

        Yielded are words, the noise of channels by their numbers, (done, total), and partial
        previews. Known pixels of the plane are reused, if results depend on surroundings only.
        """
        from napari_rednet.execution import Windows

        yield "measuring the layer"
        arguments = yield from self._complete_arguments(request)
        yield "loading the model"
        model = self._load(request.arguments)
        restoration = self._prepare(request.image, **{**arguments, "model": model})
        measured = self._measured_in(request)
        if measured is None:
            yield "measuring the layer"
            measured = self._measure(request, restoration)
        yield "restoring"
        scale, kept = restoration.job.scale, self._kept_for(request)
        view = request.view.cut_to(MOST_PIXELS // scale**2)
        known = kept.of(view)
        if known is not None and known.view.covers(view):
            return known
        canvas = Canvas(request.image.part(request.place, view.rows, view.columns), view, scale)
        for other in (self._earlier(request, view), known):
            if other is not None:
                canvas.put_preview(other)
        windows, parts = Windows(restoration, measured), [view]
        numbers = zip(request.image.channel_numbers, windows.settings, strict=False)
        yield {number: one.noise for number, one in numbers if one.noise is not None}
        if known is not None and windows.margin is not None:
            parts = missing_parts(view, known.view, windows.margin / scale)
        place, channel = request.place_and_channel
        todo = [(one, windows.at(place, *one.magnified(scale), channel)) for one in parts]
        yield from _fill(canvas, request, todo)
        previewed = canvas.finish()
        kept.put(previewed)
        return previewed

    def _kept_for(self, request: PreviewRequest) -> Kept:
        """The previews under the same conditions."""
        if self._kept is None or not self._kept[0].is_under_same_conditions(request):
            if self._kept is not None and not self._kept[1].is_empty:
                self._before = self._kept
            self._kept = request, Kept()
        return self._kept[1]

    def _earlier(self, request: PreviewRequest, view: View) -> Previewed | None:
        """A preview of the same plane under the previous conditions."""
        if self._before is None or not self._before[0].is_of_same_image(request):
            return None
        return self._before[1].of(view)

    def _complete_arguments(self, request: PreviewRequest) -> WorkerSteps:
        if self._completed is not None:
            last, arguments = self._completed
            if last.arguments is request.arguments and last.is_of_same_image(request):
                return arguments
        arguments = yield from self._complete(request.image, request.arguments)
        self._completed = request, arguments
        return arguments

    def _load(self, arguments: Mapping[str, Any]) -> Model:
        from napari_rednet.models import model_told

        asked = arguments["model"], arguments.get("along") is None
        if self._model is None or self._model[0] != asked:
            self._model = asked, model_told(self._task, arguments)
        return self._model[1]

    def _measured_in(self, request: PreviewRequest) -> Measured | None:
        if self._measured is None:
            return None
        last, measured = self._measured
        return measured if last.is_of_same_image(request) else None

    def _measure(self, request: PreviewRequest, restoration: Restoration) -> Measured:
        from napari_rednet.execution import measure

        measured = measure(restoration)
        for samples in measured.samples:
            restoration.job.settings(samples, 0)  # fills the cached measurements
        self._measured = request, measured
        return measured


def _fill(
    canvas: Canvas, request: PreviewRequest, todo: Sequence[tuple[View, Window]]
) -> Generator[Any, None, None]:
    """Restore windows, and yield partial previews now and then."""
    begun, due = time.monotonic(), _SECONDS_TO_FIRST_ROWS

    def put(done: View, window: Window) -> None:
        seen = request.image.part(request.place, done.rows, done.columns)
        canvas.put(done, seen.with_alpha(window.values[: done.shape[0] * canvas.scale]))

    for part, window in todo:
        for progress in window.steps():
            rows = window.rows_done // canvas.scale
            is_worth_it = 0 < rows < _NEARLY_ALL * part.shape[0]
            if is_worth_it and time.monotonic() - begun >= due:
                put(part.top(rows), window)
                yield canvas.finish()
                due = 3 * (time.monotonic() - begun)
            else:
                yield progress
        put(part, window)
