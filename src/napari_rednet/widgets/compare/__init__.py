"""The Compare window: shows two layers, before and after, and measures the result."""

from __future__ import annotations

from functools import partial
from typing import Any

from napari.layers import Image, Layer
from napari.viewer import Viewer
from qtpy.compat import isalive
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from napari_rednet.widgets.compare.measures import (
    NO_NOISE,
    Comparison,
    MeasureControls,
    Request,
    UncertaintyControls,
    compare,
    obstacle,
    uncertainty_layer,
    uncertainty_map_steps,
)
from napari_rednet.widgets.compare.pair import (
    ComparedPart,
    PairControls,
    along_of,
    channel_of,
    crop_of,
    noise_of_part,
    part_of,
    settings_of,
    shown_index,
    source_of,
)
from napari_rednet.widgets.compare.residual import ResidualControls
from napari_rednet.widgets.compare.show import ShowControls
from napari_rednet.widgets.shared.docks import RunningWidget, Scrolling
from napari_rednet.widgets.shared.layers import image_layers, insert_quietly
from napari_rednet.widgets.shared.style import (
    CANCEL_KEYS,
    RUN_KEYS,
    SampleHint,
    add_shortcut,
    focus_kept,
)
from napari_rednet.widgets.shared.worker import start_worker


class CompareWidget(RunningWidget):
    """Before and after, seen and measured.

    Parameters
    ----------
    napari_viewer : Viewer
        The viewer whose layers are compared; napari passes it.

    Attributes
    ----------
    hint : SampleHint
        Offers a sample while there is no image.
    pair : PairControls
        Choice of the two layers.
    show_as : ShowControls
        Ways to view them: split, blinking, side by side.
    measures : MeasureControls
        PSNR and SSIM, or an estimated error.
    residual : ResidualControls
        Before minus after, as a layer.
    uncertainty : UncertaintyControls
        How far the result may be off, as a layer.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.hint = SampleHint(self, napari_viewer, "noisy", self._use_sample)
        self.pair = PairControls(lambda: image_layers(napari_viewer))
        self.show_as = ShowControls(napari_viewer, lambda: self.pair.pair)
        self.measures = MeasureControls(lambda: image_layers(napari_viewer))
        self.residual = ResidualControls(napari_viewer, lambda: self.pair.pair)
        self.uncertainty = UncertaintyControls()
        self._arrange()
        self._connect()
        self._offer_sample()
        self._show_what_can_be_done()

    def _find_layers(self) -> None:
        self.pair.reset_choices()
        self.measures.reset_choices()
        self._offer_sample()

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802 - Qt's name
        """Restore the viewer when the dock is closed; called by Qt."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.show_as.stop()
            self.residual.stop()

    # Measuring -----------------------------------------------------------------------------

    def _measure(self) -> None:
        request = self._request()
        if request is None or self.is_running:
            return
        what = self._describe()
        self._worker = start_worker(
            partial(compare, request),
            f"Measuring {self.pair.after.current_choice}",
            on_progress=partial(self._if_open, self.measures.show_progress),
            on_result=partial(self._if_open, self._take, what),
            on_end=partial(self._if_open, self._end),
        )
        self._show_running(f"Measuring: {what}…")

    def _map_uncertainty(self) -> None:
        pair, _ = self._parts()
        if pair is None or self.is_running:
            return
        request, after = self._request_for(pair, None), self.pair.after.value
        if request.noise is None or pair[0].shape != pair[1].shape:
            self.measures.say(NO_NOISE)
            return
        self._worker = start_worker(
            partial(uncertainty_map_steps, request),
            f"Uncertainty of {self.pair.after.current_choice}",
            on_progress=partial(self._if_open, self.measures.show_progress),
            on_result=partial(self._if_open, self._add_uncertainty, after, pair[1].index),
            on_end=partial(self._if_open, self._end),
        )
        self._show_running(f"Mapping the uncertainty: {self._describe()}…")

    def _add_uncertainty(self, after: Image, index: tuple[int, ...], found: Any) -> None:
        is_wanted = self._worker is not None and not self._worker.abort_requested
        if is_wanted and after in self.viewer.layers:
            layers = self.viewer.layers
            insert_quietly(self.viewer, len(layers), uncertainty_layer(after, index, found))

    def _take(self, what: str, measured: Comparison) -> None:
        # The result may already have been on its way when Cancel was clicked.
        if self._worker is not None and not self._worker.abort_requested:
            self.measures.show_figures(measured, what)

    def _show_running(self, doing: str) -> None:
        self.measures.show_running(doing)
        self._show_what_can_be_done()

    def _end(self) -> None:
        self._worker = None
        self._show_what_can_be_done()

    def _parts(self) -> tuple[tuple[ComparedPart, ComparedPart] | None, ComparedPart | None]:
        """The parts of the pair and of the reference to measure."""
        pair, reference = self.pair.pair, self.measures.reference.value
        channel = None if pair is None else channel_of(pair[1])
        whole = self.measures.is_whole
        part = partial(part_of, viewer=self.viewer, whole=whole, channel=channel)
        crop = crop_of(self.pair.after.value) if self._is_result_of_before() else None
        parts = None if pair is None else (part(pair[0], crop=crop), part(pair[1]))
        return parts, None if reference is None else part(reference)

    def _request(self) -> Request | None:
        """The measurement to run; None, after showing the reason, if there is none."""
        pair, reference = self._parts()
        request = None if pair is None else self._request_for(pair, reference)
        has_noise = request is not None and request.noise is not None
        reason = obstacle(pair, reference, has_noise=has_noise)
        if reason:
            self.measures.say(reason)
            return None
        return request

    def _request_for(
        self, pair: tuple[ComparedPart, ComparedPart], reference: ComparedPart | None
    ) -> Request:
        after = self.pair.after.value
        noise = noise_of_part(after, pair[1]) if self._is_result_of_before() else None
        return Request(*pair, reference, noise, settings_of(after), along_of(after))

    def _is_result_of_before(self) -> bool:
        source = source_of(self.pair.after.value, image_layers(self.viewer))
        return source is not None and source is self.pair.before.value

    def _describe(self) -> str:
        """Name of the measured extent: whole stack, plane with its index, or whole image."""
        if self.measures.is_whole:
            return "whole stack"
        index = shown_index(self.pair.after.value, self.viewer)
        return f"plane {', '.join(map(str, index))}" if index else "whole image"

    # The window ----------------------------------------------------------------------------

    def _change_pair(self) -> None:
        self.show_as.renew()
        self.residual.renew()
        self.measures.forget()
        self._show_what_can_be_done()

    def _offer_sample(self) -> None:
        self.hint.setVisible(not image_layers(self.viewer))

    def _use_sample(self, layers: list[Layer]) -> None:
        """Compare the noisy sample with its clean original."""
        self.pair.before.value, self.pair.after.value = layers[:2]

    def _leave_view(self, is_residual_shown: bool) -> None:
        """End the view when the residual is shown, which would cover it."""
        if is_residual_shown:
            self.show_as.stop()

    def _show_what_can_be_done(self) -> None:
        has_pair = self.pair.pair is not None
        with focus_kept(self.measures.cancel, self.pair.before.native):
            for part in (self.pair, self.show_as, self.residual, self.uncertainty):
                part.offer(has_pair=has_pair)
            if self.is_running:
                self.uncertainty.start.setEnabled(False)
            else:
                self.measures.show_idle(has_pair=has_pair)

    def _follow_new_layers(self, _event: Any) -> None:
        if isalive(self) and self.show_as.way is None and self.residual.layer is None:
            self.pair.choose_latest()

    def _stop_if_removed(self, event: Any) -> None:
        if not isalive(self):
            return
        view, pair = self.show_as.view, self.pair.pair or ()
        if view is not None and event.value in view.layers:
            self.show_as.stop()
        if event.value in (self.residual.layer, *pair):
            self.residual.stop()
        if event.value in (*pair, self.measures.reference.value):
            self._quit()

    def _arrange(self) -> None:
        parts = QWidget()
        layout = QVBoxLayout(parts)
        above = (self.hint, self.pair.native, self.show_as, self.residual)
        for part in (*above, self.measures, self.uncertainty):
            layout.addWidget(part)
        layout.addStretch()
        outside = QVBoxLayout(self)
        outside.setContentsMargins(0, 0, 0, 0)
        scrolling = Scrolling(parts)
        scrolling.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        outside.addWidget(scrolling)

    def _connect(self) -> None:
        add_shortcut(self, self.measures.start, RUN_KEYS)
        add_shortcut(self, self.measures.cancel, CANCEL_KEYS)
        self.pair.changed.connect(self._change_pair)
        self.measures.start.clicked.connect(self._measure)
        self.measures.cancel.clicked.connect(self._quit)
        self.uncertainty.start.clicked.connect(self._map_uncertainty)
        self.residual.box.toggled.connect(self._leave_view)
        events = self.viewer.layers.events
        events.inserted.connect(self._follow_new_layers)
        events.removed.connect(self._stop_if_removed)
