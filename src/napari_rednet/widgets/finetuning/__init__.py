"""The Fine-tune window: adapts a model to the user's images."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from napari.layers import Image, Layer
from napari.viewer import Viewer
from qtpy.compat import isalive
from qtpy.QtWidgets import (
    QGridLayout,
    QProgressBar,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_rednet.widgets.finetuning.controls import FineTuneControls
from napari_rednet.widgets.finetuning.run import (
    FineTuningRun,
    best_gain,
    outcome_text,
    progress_text,
)
from napari_rednet.widgets.finetuning.view import FineTuneView, ResultButtons
from napari_rednet.widgets.shared import models_changed
from napari_rednet.widgets.shared.controls import Choices, find_choices
from napari_rednet.widgets.shared.docks import RunningWidget, Scrolling, confirm, shown_errors
from napari_rednet.widgets.shared.layers import image_layers
from napari_rednet.widgets.shared.style import (
    RUN_KEYS,
    SampleHint,
    add_shortcut,
    focus_kept,
    make_button,
    make_label,
)
from napari_rednet.widgets.shared.worker import PER_MILLE, compute_in_background

if TYPE_CHECKING:
    from napari_rednet.models import Model

_NARROW = 3


class FineTuneWidget(RunningWidget):
    """Adapt a model to image layers, watch it improve, use and share the result.

    Parameters
    ----------
    napari_viewer : Viewer
        The viewer whose layers are learnt from; napari passes it.

    Attributes
    ----------
    controls : FineTuneControls
        Images, task, base model, method and length.
    start_button, pause_button, stop_button : QPushButton
        Start, pause and stop a run.
    result : ResultButtons
        Use, save or export the new model.
    view : FineTuneView
        Curves and pictures.
    way : QLabel
        How the model will learn.
    text : QLabel
        Progress of a run, or its outcome.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self._run: FineTuningRun | None = None
        self._sources: list[Image] = []
        self._model: Model | None = None
        self._has_choices = False
        self.hint = SampleHint(self, napari_viewer, "chromosomes", self._use_sample)
        self.controls = FineTuneControls(self._image_layers)
        self.start_button = make_button("Start", "Learn from the chosen images.")
        self.pause_button = make_button("Pause", "Rest, or go on.")
        self.stop_button = make_button(
            "Stop and keep best", "End now. The best model so far is kept."
        )
        self.way = make_label("How the new model will learn.")
        self.progress = QProgressBar()
        self.progress.setToolTip("How much is done.")
        self.text = make_label("How far it is, how much better it has become, the time left.")
        self.result = ResultButtons(napari_viewer, self._take_model)
        self.view = FineTuneView()
        # Takes what is left of a high window until there are plots; texts would, and float in it.
        self._room = QWidget()
        self._room.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Expanding)
        self._arrange()
        self._connect()
        self._follow_theme()
        self._choose_active_layer()
        self._show_idle()
        self._find_choices()

    def _find_layers(self) -> None:
        self.controls.reset_choices()
        self._show_what_can_be_done()

    # Runs ----------------------------------------------------------------------------------

    def _start(self) -> None:
        with shown_errors():
            run = FineTuningRun(self.controls.arguments())
            if not self._may_drop_model():
                return
            self._sources, self._model, self._run = self.controls.layers, None, run
            self._start_run(
                run.steps,
                f"Fine-tuning {self.controls.model_name.value}",
                on_wait=self._show_text,
                on_progress=self._follow,
                on_result=self._take_result,
                on_end=self._end,
            )
            self._show_running()

    def _pause(self) -> None:
        if self._run is None or self._worker is None:
            return
        if self._run.is_paused:
            self._run.resume()
            self._worker.go_on()
        else:
            self._run.pause()
            self._worker.rest()
        self._show_what_can_be_done()
        self._show_text()

    def _stop(self) -> None:
        if self._waiting_text:
            self._quit()
        elif self._run is not None and self.is_running:
            self._run.stop()
            self._show_what_can_be_done()
            self._show_text()

    def _follow(self, progress: tuple[int, int]) -> None:
        done, total = progress
        self.progress.setMaximum(total)
        self.progress.setValue(done)
        self._show_text()
        self._show_plots()

    def _take_result(self, model: Model) -> None:
        self._model = model

    def _end(self) -> None:
        self._worker, self._sources = None, []
        self._show_plots(now=True)
        self._show_idle()

    def _show_plots(self, *, now: bool = False) -> None:
        if self._run is not None:
            self.view.show_run(self._run, now=now)
            self._room.setVisible(self.view.isHidden())

    def _stop_if_removed(self, event: Any) -> None:
        # Stopping keeps the best model so far; cancelling would lose it.
        if isalive(self) and event.value in self._sources:
            self._stop()

    # The result ----------------------------------------------------------------------------

    def _take_model(self) -> Model:
        """The new model, under the name typed in the controls."""
        if self._model is None:
            raise ValueError("there is no new model yet")
        from napari_rednet.models.registry import check_name

        return replace(self._model, name=check_name(self.controls.model_name.value.strip()))

    @property
    def _has_better_model(self) -> bool:
        return self._model is not None and best_gain(self._run) > 0

    def _may_drop_model(self) -> bool:
        model = self._model
        if model is None or not self._has_better_model or self.result.has_kept(model):
            return True
        question = (
            f"Start again? The model “{model.name}” has not been saved or used, and will be lost."
        )
        return confirm(self, "Fine-tune", question)

    # The window ----------------------------------------------------------------------------

    def _arrange(self) -> None:
        buttons = QGridLayout()  # one row would be too wide for a narrow dock in a large font
        buttons.setSpacing(_NARROW)
        buttons.addWidget(self.start_button, 0, 0)
        buttons.addWidget(self.pause_button, 0, 1)
        buttons.addWidget(self.stop_button, 1, 0, 1, 2)
        layout = QVBoxLayout(self)
        layout.addWidget(self.hint)
        layout.addWidget(Scrolling(self.controls.native))
        layout.addWidget(self.way)
        layout.addLayout(buttons)
        for widget in (self.progress, self.text, self.view, self.result):
            layout.addWidget(widget)
        layout.addWidget(self._room)
        add_shortcut(self, self.start_button, RUN_KEYS)

    def _use_sample(self, layers: list[Layer]) -> None:
        self.controls.images.value = layers

    def _connect(self) -> None:
        self.start_button.clicked.connect(self._start)
        self.pause_button.clicked.connect(self._pause)
        self.stop_button.clicked.connect(self._stop)
        self.controls.changed.connect(self._show_what_can_be_done)
        self.controls.task.changed.connect(self._find_choices)
        self.viewer.layers.events.removed.connect(self._stop_if_removed)
        self.viewer.events.theme.connect(self._follow_theme)
        models_changed.connect(self._find_choices)

    def _find_choices(self) -> None:
        if not isalive(self):
            models_changed.disconnect(self._find_choices)
        elif "torch" in sys.modules:
            self._offer(find_choices(self.controls.task.value))
        else:
            # Importing torch would keep the window from opening for seconds.
            find = partial(_find_choices_and_ways, self.controls.task.value)
            compute_in_background(find, partial(self._if_open, self._offer))

    def _offer(self, choices: Choices) -> None:
        self._has_choices = True
        self.controls.offer(choices)
        self._show_what_can_be_done()

    def _image_layers(self) -> list[Image]:
        return image_layers(self.viewer)

    def _choose_active_layer(self) -> None:
        active = self.viewer.layers.selection.active
        if isinstance(active, Image):
            self.controls.images.value = [active]

    def _follow_theme(self) -> None:
        if isalive(self):
            self.view.set_theme(self.viewer.theme)
            self.controls.set_theme(self.viewer.theme)

    def _show_what_can_be_done(self) -> None:
        self.way.setText(self.controls.way)
        running, run = self.is_running, self._run
        goes_on = running and run is not None and not run.is_stopped
        with focus_kept(self.start_button, self.stop_button, self):
            self.start_button.setEnabled(self._has_choices and not running and self.controls.fits)
            self.pause_button.setEnabled(goes_on)
            self.stop_button.setEnabled(goes_on)
            self.controls.native.setEnabled(not running)
        paused = goes_on and run is not None and run.is_paused
        self.pause_button.setText("Resume" if paused else "Pause")
        self.result.set_ready(not running and self._has_better_model)
        self.hint.setVisible(not self._image_layers())

    def _show_running(self) -> None:
        self.progress.setMaximum(0)  # busy, of unknown length
        self.progress.show()
        self._show_what_can_be_done()
        self._show_text()

    def _show_idle(self) -> None:
        self.progress.hide()
        self.progress.setMaximum(PER_MILLE)
        self._show_what_can_be_done()
        self._show_text()

    def _show_text(self) -> None:
        if self._run is not None:
            has_model = self._model is not None
            self.text.setText(
                self._waiting_text or progress_text(self._run)
                if self.is_running
                else outcome_text(self._run, has_model)
            )
        self.text.setVisible(self._run is not None)  # an empty line would be a gap


def _find_choices_and_ways(task: str) -> Choices:
    """Find models and devices, and import the module that chooses the method."""
    import napari_rednet.finetuning.methods  # noqa: F401

    return find_choices(task)
