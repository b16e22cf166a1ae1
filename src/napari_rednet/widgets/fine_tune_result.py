"""What can be done with a model that has been fine-tuned: use it, save it, export it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from napari.utils.notifications import show_info
from napari.viewer import Viewer
from qtpy.compat import isalive
from qtpy.QtWidgets import QHBoxLayout, QWidget

from napari_rednet.widgets import model_events
from napari_rednet.widgets.dialogs import ask_path, confirm, make_button, shown_errors
from napari_rednet.widgets.fine_tune_controls import LABELS
from napari_rednet.widgets.worker import Steps, start_worker

if TYPE_CHECKING:
    from napari_rednet.models import Model

_MODEL_FILES = "Models (*.safetensors)"
_EXPORTS = "bioimage.io package (*.zip);;ONNX (*.onnx)"


class ResultButtons(QWidget):
    """Buttons for what can be done with a model.

    Parameters
    ----------
    viewer : Viewer
        In whose windows the model is used.
    take_model : callable
        Returns the model, under the name that it is to have.
    """

    def __init__(self, viewer: Viewer, take_model: Callable[[], Model]) -> None:
        super().__init__()
        self._viewer = viewer
        self._take_model = take_model
        self._is_ready = self._is_exporting = False
        self._kept: WeakSet[Any] = WeakSet()  # networks: the names of models may change
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
        """Say whether there is a model."""
        self._is_ready = is_ready
        for button in (self.use, self.save):
            button.setEnabled(is_ready)
        self.export.setEnabled(is_ready and not self._is_exporting)

    def has_kept(self, model: Model) -> bool:
        """Whether a model is among the user's or in a file, so that it can be found again."""
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
            model_events.chosen.emit(model.task, model.name)

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
    return {info.name for info in model_events.known_models() if info.origin == "user"}


def _export_steps(model: Any, path: Path) -> Steps:
    yield 0, 0
    model.export(path)
