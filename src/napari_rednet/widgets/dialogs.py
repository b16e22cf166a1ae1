"""What the windows ask the user, and how they show what went wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from napari.utils.notifications import show_error
from qtpy.QtWidgets import QFileDialog, QInputDialog, QMessageBox, QPushButton, QWidget

from napari_rednet.errors import RednetError

_DIALOG_WIDTH = 360


def ask_file(parent: QWidget) -> Path | None:
    """A model file that the user chooses; None if the dialog is cancelled."""
    path, _ = QFileDialog.getOpenFileName(parent, "Add a model", "", "Models (*.safetensors)")
    return Path(path) if path else None


def ask_name(parent: QWidget, title: str, suggested: str) -> str | None:
    """A name that the user types; None if the dialog is cancelled."""
    dialog = QInputDialog(parent)
    dialog.setWindowTitle(title)
    dialog.setLabelText("Name:")
    dialog.setTextValue(suggested)
    dialog.resize(_DIALOG_WIDTH, dialog.sizeHint().height())
    accepted = bool(dialog.exec())
    dialog.deleteLater()
    return dialog.textValue().strip() if accepted else None


def ask_path(parent: QWidget, title: str, suggested: str, filters: str) -> Path | None:
    """Where the user wants a file, with a suffix of the filter; None if the dialog is cancelled."""
    path, chosen = QFileDialog.getSaveFileName(parent, title, suggested, filters)
    return with_suffix(Path(path), chosen) if path else None


def with_suffix(path: Path, chosen: str) -> Path:
    """A path with the suffix of the chosen filter, such as "ONNX (*.onnx)", unless it has one."""
    suffix = chosen.rpartition("*")[2].rstrip(")")
    known = (".safetensors", ".zip", ".onnx")
    return path if path.suffix in known else path.with_name(path.name + suffix)


def confirm(parent: QWidget, title: str, question: str) -> bool:
    """Whether the user really wants what cannot be undone."""
    answer = QMessageBox.question(parent, title, question)
    return bool(answer == QMessageBox.StandardButton.Yes)


@contextmanager
def shown_errors() -> Iterator[None]:
    """Show what went wrong, in words."""
    try:
        yield
    except (RednetError, ValueError) as error:
        show_error(str(error))


def set_needs(control: QWidget, needs: str, *, missing: bool) -> None:
    """Disable a control as long as it needs something, which its tooltip says meanwhile."""
    tooltip = control.toolTip().replace(f"\n{needs}", "")  # keys may follow it
    control.setToolTip(f"{tooltip}\n{needs}" if missing else tooltip)
    control.setEnabled(not missing)


def make_button(text: str, tooltip: str) -> QPushButton:
    """A button that explains itself."""
    button = QPushButton(text)
    button.setToolTip(tooltip)
    return button
