"""Curves and pictures of a fine-tuning run, and buttons for its model."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import numpy as np
import numpy.typing as npt
from napari.utils.notifications import show_info
from napari.viewer import Viewer
from qtpy.compat import isalive
from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QFrame, QHBoxLayout, QScrollArea, QSizePolicy, QWidget

from napari_rednet.widgets.finetuning.controls import LABELS
from napari_rednet.widgets.finetuning.run import Curve, FineTuningRun
from napari_rednet.widgets.shared import known_models, model_chosen
from napari_rednet.widgets.shared.docks import ask_path, confirm, shown_errors
from napari_rednet.widgets.shared.style import (
    BLUE,
    FONT_SIZE,
    ORANGE,
    line_colour,
    make_button,
    make_canvas,
    set_theme,
)
from napari_rednet.widgets.shared.worker import WorkerSteps, start_worker

if TYPE_CHECKING:
    from napari_rednet.finetuning.session import HeldOutPart
    from napari_rednet.models import Model

FloatArray = npt.NDArray[np.float32]
_SECONDS_BETWEEN_DRAWINGS = 1.0
_INCHES = (3.0, 5.4)
_LOWEST = 440
_PER_ROW = 2  # pictures, so that they are large enough to judge in a narrow dock
_MOST_MARKERS = 50
_SIDE = 96
_STEP = 16
_MODEL_FILES = "Models (*.safetensors)"
_EXPORTS = "bioimage.io package (*.zip);;ONNX (*.onnx)"


class FineTuneView(QScrollArea):
    """Plots of gain and loss over minutes, and pictures of a held-out part of an image.

    Hidden until the first run is shown, when matplotlib is imported. In a low window they scroll.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setToolTip(
            "Gain over the base model in dB, and loss, by minutes; below, a part of an image that "
            "is kept from the training: as it is, restored by the base model, and by the new one."
        )
        self._theme = "dark"
        self._plots: _Plots | None = None
        self._run: FineTuningRun | None = None
        self._drawn = -math.inf
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self.hide()

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """High enough for all; called by Qt."""
        return QSize(super().sizeHint().width(), _LOWEST)

    def minimumSizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """High enough for a row of pictures; called by Qt."""
        return QSize(0, _LOWEST // 3)

    def show_run(self, run: FineTuningRun, *, now: bool = False) -> None:
        """Draw the state of a run, at most once a second unless `now` is True."""
        if run.preview is None:
            return
        if run is not self._run:
            self._begin(run, run.preview)
        elif not now and time.monotonic() - self._drawn < _SECONDS_BETWEEN_DRAWINGS:
            return
        if self._plots is not None:
            self._plots.show(run)
        self._drawn = time.monotonic()

    def set_theme(self, theme: str) -> None:
        """Use the colours of a napari theme."""
        self._theme = theme
        if self._plots is not None:
            self._plots.set_theme(theme)

    @property
    def curves(self) -> list[FloatArray]:
        """The drawn points of gain and loss, (N, 2) each."""
        return [] if self._plots is None else self._plots.curves()

    @property
    def titles(self) -> list[str]:
        """Titles of the pictures."""
        return [] if self._plots is None else list(self._plots.pictures)

    def _begin(self, run: FineTuningRun, preview: HeldOutPart) -> None:
        self._run = run
        self._plots = _Plots(preview)
        self._plots.set_theme(self._theme)
        self.setWidget(self._plots.canvas)  # instead of the last one, which Qt deletes
        self.show()


class _Plots:
    """A matplotlib canvas with two curves and three or four pictures."""

    def __init__(self, preview: HeldOutPart) -> None:
        images = _images(preview)
        self.figure, self.canvas = make_canvas(_INCHES, _LOWEST)
        self._part = _busiest(preview.base)
        self._seen: HeldOutPart | None = None
        above, below = self.figure.subfigures(2, 1, height_ratios=[1, 1.4])
        # Without a target, gain is measured against what the base model restored.
        word = "gain (dB)" if preview.target is not None else "estimated\ngain (dB)"
        self._axes, self._lines = _make_curves(above, word)
        self.pictures = _make_pictures(below, images, self._part)

    def curves(self) -> list[FloatArray]:
        """The drawn points of both curves."""
        return [np.asarray(line.get_xydata()) for line in self._lines]

    def show(self, run: FineTuningRun) -> None:
        """Show the current state of a run."""
        for axes, line, curve in zip(self._axes, self._lines, (run.gain, run.loss), strict=True):
            _set_points(axes, line, curve)
        self._axes[0].set_xlim(0, 1.02 * max(run.status.minutes if run.status else 0, 1e-3))
        if run.preview is not None and run.preview is not self._seen:
            self._seen = run.preview
            for name, image in _images(run.preview).items():
                self.pictures[name].set_data(image[self._part])
        self.canvas.draw_idle()

    def set_theme(self, name: str) -> None:
        """Use the colours of a theme."""
        set_theme(self.figure, name)
        self._axes[0].lines[1].set_color(line_colour(name))
        self.canvas.draw_idle()


def _make_curves(figure: Any, word: str) -> tuple[list[Any], list[Any]]:
    gain, loss = figure.subplots(2, 1, sharex=True)
    lines = [
        gain.plot([], [], color=BLUE, markersize=4, linewidth=1.5)[0],
        loss.plot([], [], color=ORANGE, markersize=4, linewidth=1.2)[0],
    ]
    gain.axhline(0, linewidth=0.8)  # the base model
    for axes, label in ((gain, word), (loss, "loss")):
        axes.set_ylabel(label, fontsize=FONT_SIZE)
        axes.tick_params(labelsize=FONT_SIZE, length=2)
        axes.locator_params(axis="y", nbins=4)
        axes.spines[["top", "right"]].set_visible(False)
    gain.tick_params(labelbottom=False)
    loss.set_xlabel("minutes", fontsize=FONT_SIZE)
    loss.ticklabel_format(axis="y", scilimits=(-2, 3), useMathText=True)
    loss.yaxis.get_offset_text().set_fontsize(FONT_SIZE)
    figure.align_ylabels([gain, loss])
    return [gain, loss], lines


def _make_pictures(
    figure: Any, images: dict[str, FloatArray], part: tuple[slice, slice]
) -> dict[str, Any]:
    low, high = np.percentile(images["base"][part], (0.5, 99.5))
    pictures = {}
    cells = figure.subplots(-(-len(images) // _PER_ROW), _PER_ROW).ravel()
    for axes in cells:
        axes.set_axis_off()
    for axes, (name, image) in zip(cells, images.items(), strict=False):
        axes.set_title(name, fontsize=FONT_SIZE + 0.5, pad=3)
        limits = {"vmin": low, "vmax": max(high, low + 1e-6)}
        pictures[name] = axes.imshow(image[part], cmap="gray", **limits)
    return pictures


def _set_points(axes: Any, line: Any, curve: Curve) -> None:
    points = np.array(curve.points).reshape(-1, 2)
    line.set_data(*points.T)
    line.set_marker("." if len(points) < _MOST_MARKERS else "")
    if not len(points):
        return
    low, high = points[:, 1].min(), points[:, 1].max()
    margin = 0.1 * (high - low) or 0.1 * abs(high) or 0.01
    axes.set_ylim(low - margin, high + margin)


def _images(preview: HeldOutPart) -> dict[str, FloatArray]:
    """The pictures by title."""
    images = {"before": preview.before, "base": preview.base, "now": preview.now}
    return images if preview.target is None else {**images, "target": preview.target}


def _busiest(image: FloatArray) -> tuple[slice, slice]:
    """The 96 x 96 pixels of highest standard deviation; all of the image would be too small."""
    places = [
        (slice(y, y + _SIDE), slice(x, x + _SIDE))
        for y in range(0, max(image.shape[0] - _SIDE, 0) + 1, _STEP)
        for x in range(0, max(image.shape[1] - _SIDE, 0) + 1, _STEP)
    ]
    return max(places, key=lambda place: float(image[place].std()))


class ResultButtons(QWidget):
    """Buttons to use, save or export the model that `take_model` returns."""

    def __init__(self, viewer: Viewer, take_model: Callable[[], Model]) -> None:
        super().__init__()
        self._viewer = viewer
        self._take_model = take_model
        self._is_ready = self._is_exporting = False
        self._kept: WeakSet[Any] = WeakSet()  # networks, as models may be renamed
        self.use = make_button(
            "Use now", "Put the model among your models and choose it where they are offered."
        )
        self.save = make_button("Save…", "Write the model to a file, to share it.")
        self.export = make_button(
            "Export…", "Write the model for other programs: bioimage.io (.zip) or ONNX (.onnx)."
        )
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for button, act in (
            (self.use, self._use),
            (self.save, self._save),
            (self.export, self._export),
        ):
            button.clicked.connect(act)
            layout.addWidget(button)
        self.set_ready(False)

    def set_ready(self, is_ready: bool) -> None:
        """Enable the buttons if there is a model."""
        self._is_ready = is_ready
        for button in (self.use, self.save):
            button.setEnabled(is_ready)
        self.export.setEnabled(is_ready and not self._is_exporting)

    def has_kept(self, model: Model) -> bool:
        """True if a model was used, saved or exported, so that it can be found again."""
        return model.network in self._kept

    def _use(self) -> None:
        from napari_rednet.models import add_model

        with shown_errors():
            model = self._take_model()
            is_taken = model.name in _own_names()
            question = f"There is a model “{model.name}” among yours already. Replace it?"
            if is_taken and not confirm(self, "Use a model", question):
                return
            add_model(model, overwrite=is_taken)
            self._kept.add(model.network)
            self._open_window(model.task)
            model_chosen.emit(model.task, model.name)

    def _open_window(self, task: str) -> None:
        """Open or raise the window that restores with models of a task."""
        dock, _ = self._viewer.window.add_plugin_dock_widget(
            "napari-rednet", LABELS[task], tabify=True
        )
        dock.show()
        dock.raise_()

    def _save(self) -> None:
        with shown_errors():
            model = self._take_model()
            path = ask_path(self, "Save the model", f"{model.name}.safetensors", _MODEL_FILES)
            if path is not None:
                model.save(path)
                self._take_note(model, f"saved to {path}")

    def _export(self) -> None:
        with shown_errors():
            model = self._take_model()
            path = ask_path(self, "Export the model", f"{model.name}.zip", _EXPORTS)
            if path is not None:
                self._is_exporting = True
                self.set_ready(self._is_ready)
                self._start_export(model, path)

    def _start_export(self, model: Model, path: Path) -> None:
        start_worker(
            partial(_export_steps, model, path),
            f"Exporting {model.name}",
            on_progress=lambda _: None,
            on_result=lambda _: self._take_note(model, f"exported to {path}"),
            on_end=self._end_export,
        )

    def _take_note(self, model: Model, what: str) -> None:
        self._kept.add(model.network)
        show_info(f"{model.name} is {what}")

    def _end_export(self) -> None:
        self._is_exporting = False
        if isalive(self):
            self.set_ready(self._is_ready)


def _own_names() -> set[str]:
    return {info.name for info in known_models() if info.origin == "user"}


def _export_steps(model: Any, path: Path) -> WorkerSteps:
    yield 0, 0
    model.export(path)
