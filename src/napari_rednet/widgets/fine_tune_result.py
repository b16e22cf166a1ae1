"""What can be done with a model that has been fine-tuned: use it, save it, export it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error, show_info
from napari.viewer import Viewer
from qtpy.compat import isalive
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QMessageBox, QPushButton, QWidget

from napari_rednet.errors import RednetError
from napari_rednet.widgets import model_events
from napari_rednet.widgets.fine_tune_controls import TASKS
from napari_rednet.widgets.worker import Steps, start_worker

if TYPE_CHECKING:
    from napari_rednet.zoo import Model

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

    def _use(self) -> None:
        from napari_rednet.zoo import add_model

        with shown_errors():
            model = self._take_model()
            is_taken = model.name in _own_names()
            if is_taken and not confirm_replacing(self, model.name):
                return
            add_model(model, overwrite=is_taken)
            self._open_window(model.task)
            model_events.chosen.emit(model.task, model.name)

    def _open_window(self, task: str) -> None:
        """Open or raise the window that restores with models of a task."""
        dock, _ = self._viewer.window.add_plugin_dock_widget(
            "napari-rednet", TASKS[task], tabify=True
        )
        dock.show()
        dock.raise_()

    def _save(self) -> None:
        with shown_errors():
            model = self._take_model()
            path = ask_path(self, "Save the model", f"{model.name}.safetensors", _MODEL_FILES)
            if path is not None:
                model.save(path)
                show_info(f"{model.name} is saved to {path}")

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
            on_result=lambda _: show_info(f"{model.name} is exported to {path}"),
            on_end=self._end_export,
        )

    def _end_export(self) -> None:
        self._is_exporting = False
        if isalive(self):
            self.set_ready(self._is_ready)


def ask_path(parent: QWidget, title: str, suggested: str, filters: str) -> Path | None:
    """Where the user wants a file, with a suffix of the filter; None if the dialog is cancelled."""
    path, chosen = QFileDialog.getSaveFileName(parent, title, suggested, filters)
    return with_suffix(Path(path), chosen) if path else None


def with_suffix(path: Path, chosen: str) -> Path:
    """A path with the suffix of the chosen filter, such as "ONNX (*.onnx)", unless it has one."""
    suffix = chosen.rpartition("*")[2].rstrip(")")
    known = (".safetensors", ".zip", ".onnx")
    return path if path.suffix in known else path.with_name(path.name + suffix)


def confirm_replacing(parent: QWidget, name: str) -> bool:
    """Whether the user really wants to replace a model."""
    question = f"There is a model “{name}” among yours already. Replace it?"
    answer = QMessageBox.question(parent, "Use a model", question)
    return bool(answer == QMessageBox.StandardButton.Yes)


@contextmanager
def shown_errors() -> Iterator[None]:
    """Show what went wrong, in words."""
    try:
        yield
    except (RednetError, ValueError) as error:
        show_error(str(error))


def make_button(text: str, tooltip: str) -> QPushButton:
    """A button that explains itself."""
    button = QPushButton(text)
    button.setToolTip(tooltip)
    return button


def _own_names() -> set[str]:
    return {info.name for info in model_events.known_models() if info.origin == "user"}


def _export_steps(model: Any, path: Path) -> Steps:
    yield 0, 0
    model.export(path)
