"""Docks: their place, their dialogs, their scrolling, and runs that end when they are closed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from napari.utils.notifications import show_error
from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, QSize, Qt, QTimer
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QDialog,
    QDockWidget,
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QInputDialog,
    QLabel,
    QMainWindow,
    QMessageBox,
    QPlainTextEdit,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_rednet.about import as_text, describe
from napari_rednet.errors import RednetError
from napari_rednet.widgets.shared.style import make_button, set_look
from napari_rednet.widgets.shared.worker import (
    QueuedRun,
    WorkerSteps,
    compute_in_background,
    queue_run,
)

_SPARE = 8

WINDOW_MARK = "napari_rednet_window"
"""Qt property that marks the windows of this package."""
_ENOUGH = 0.9  # of the size hints of docks, which are a few pixels too high
_DIALOG_WIDTH = 360
_ABOUT = QSize(640, 420)
_WIDEST, _LOWEST, _HIGHEST = 290, 110, 600


class TabIfCrowded(QObject):
    """Makes the dock of a window a tab of another one of ours, if there is no room for both.

    napari puts docks below each other. Qt squeezes those that scroll, and lets the main window grow
    beyond the screen for those that do not. This acts once, when the dock is opened; later it stays
    where users put it.
    """

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self._size = QSize()
        self._heights: dict[QDockWidget, int] = {}
        window.setProperty(WINDOW_MARK, True)
        window.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """Wait until the window has a dock and the dock is shown, then place it; called by Qt."""
        if event.type() == QEvent.Type.ParentChange:
            if isinstance(watched, QDockWidget):
                self._remember(watched.parent())
            elif isinstance(watched.parent(), QDockWidget):
                watched.removeEventFilter(self)
                watched.parent().installEventFilter(self)
        elif event.type() == QEvent.Type.Show and isinstance(watched, QDockWidget):
            watched.removeEventFilter(self)
            ToFrontWhenChosen(watched)
            ShortTitle(watched)
            self._find_place(watched)
            self.deleteLater()
        return False

    def _remember(self, main: QObject | None) -> None:
        """Store the heights of the docks before another one is added."""
        if isinstance(main, QMainWindow) and main.isVisible():
            self._size = main.size()
            self._heights = _heights_of_shown(main)

    def _find_place(self, dock: QDockWidget) -> None:
        main, known, self._heights = dock.parent(), self._heights, {}
        # Others may have been opened at the same time, and be shown just before.
        known = {**_heights_of_shown(main), **known}
        known.pop(dock, None)
        area = main.dockWidgetArea(dock)
        others = [d for d in known if main.dockWidgetArea(d) == area and not d.isFloating()]
        ours = [other for other in others if _is_ours(other)]
        if not ours or main.tabifiedDockWidgets(dock):
            return
        docks = [*others, dock]
        wanted = [d.sizeHint().height() for d in docks]
        if sum(wanted) <= sum(known[other] for other in others):
            if any(d.height() < _ENOUGH * high for d, high in zip(docks, wanted, strict=True)):
                main.resizeDocks(docks, wanted, Qt.Orientation.Vertical)
            return
        main.tabifyDockWidget(ours[-1], dock)
        dock.raise_()
        main.layout().activate()
        main.resize(self._size)


class ShortTitle(QObject):
    """Names a dock as menus name it, and its tab by what it does: napari names the package.

    Tabs of long names find no room beside each other.
    """

    def __init__(self, dock: QDockWidget) -> None:
        super().__init__(dock)
        self._dock, self._long = dock, dock.windowTitle()
        self._short = self._long.replace("(napari-rednet)", "(RED-Net)")
        dock.setWindowTitle(self._short.removesuffix(" (RED-Net)"))
        # napari makes the bar anew when a dock is moved.
        dock.topLevelChanged.connect(self._name)
        dock.dockLocationChanged.connect(self._name)
        self._name()

    def _name(self, *_: object) -> None:
        bar = self._dock.titleBarWidget()
        for label in [] if bar is None else bar.findChildren(QLabel):
            if label.text() == self._long:
                label.setText(self._short)


class ToFrontWhenChosen(QObject):
    """Brings a dock to the front of its tabs when it is chosen in a menu.

    napari's menus hide a dock that is shown, even if it is behind another tab, and show it where
    it was. So choosing one behind would close it, and choosing it again would put it behind.
    """

    def __init__(self, dock: QDockWidget) -> None:
        super().__init__(dock)
        self._dock = dock
        self._is_behind = self._was_hidden = False
        dock.visibilityChanged.connect(self._follow_tabs)
        dock.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """Bring the dock to the front after a menu has hidden or shown it; called by Qt."""
        if event.type() == QEvent.Type.Hide and self._dock.isHidden():
            self._was_hidden = True
            if self._is_behind:
                QTimer.singleShot(0, self._bring_to_front)
        elif event.type() == QEvent.Type.Show and self._was_hidden:
            self._was_hidden = False
            QTimer.singleShot(0, self._bring_to_front)
        return bool(super().eventFilter(watched, event))

    def _follow_tabs(self, can_be_seen: bool) -> None:
        if not self._dock.isHidden():
            self._is_behind = not can_be_seen

    def _bring_to_front(self) -> None:
        if not isalive(self._dock):
            return
        main = self._dock.parent()
        area = main.dockWidgetArea(self._dock) if isinstance(main, QMainWindow) else None
        if area not in (None, Qt.DockWidgetArea.NoDockWidgetArea):  # it has not been removed
            self._dock.show()
            self._dock.raise_()


def _heights_of_shown(main: QMainWindow) -> dict[QDockWidget, int]:
    """Heights of the docks that can be seen; tabs behind others lie outside of the window."""
    docks = [dock for dock in main.findChildren(QDockWidget) if dock.isVisible()]
    return {d: d.height() for d in docks if main.rect().intersects(d.geometry())}


def _is_ours(dock: QDockWidget) -> bool:
    return dock.widget() is not None and bool(dock.widget().property(WINDOW_MARK))


def ask_file(parent: QWidget) -> Path | None:
    """Ask for a model file; None if the dialog is cancelled."""
    path, _ = QFileDialog.getOpenFileName(parent, "Add a model", "", "Models (*.safetensors)")
    return Path(path) if path else None


def ask_name(parent: QWidget, title: str, suggested: str) -> str | None:
    """Ask for a name; None if the dialog is cancelled."""
    dialog = QInputDialog(parent)
    dialog.setWindowTitle(title)
    dialog.setLabelText("Name:")
    dialog.setTextValue(suggested)
    dialog.resize(_DIALOG_WIDTH, dialog.sizeHint().height())
    accepted = bool(dialog.exec())
    dialog.deleteLater()
    return dialog.textValue().strip() if accepted else None


def ask_path(parent: QWidget, title: str, suggested: str, filters: str) -> Path | None:
    """Ask for a file to write, with a suffix of the filter; None if the dialog is cancelled."""
    path, chosen = QFileDialog.getSaveFileName(parent, title, suggested, filters)
    return with_suffix(Path(path), chosen) if path else None


def with_suffix(path: Path, chosen: str) -> Path:
    """Add the suffix of a filter such as "ONNX (*.onnx)" to a path without a known one."""
    suffix = chosen.rpartition("*")[2].rstrip(")")
    known = (".safetensors", ".zip", ".onnx")
    return path if path.suffix in known else path.with_name(path.name + suffix)


def confirm(parent: QWidget, title: str, question: str) -> bool:
    """Ask for confirmation of what cannot be undone."""
    answer = QMessageBox.question(parent, title, question)
    return bool(answer == QMessageBox.StandardButton.Yes)


class Described(QDialog):
    """Tells what `napari-rednet info` prints, with a button to copy it."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("About RED-Net")
        self.text = QPlainTextEdit()
        self.text.setReadOnly(True)
        self.text.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.text.setPlaceholderText("Looking for devices and models…")
        self.copy = make_button("Copy", "Copy all of it, to paste it into an issue.")
        self.copy.setEnabled(False)
        self.copy.clicked.connect(self._copy)
        close = make_button("Close", "Close this window.")
        close.clicked.connect(self.close)
        buttons = QHBoxLayout()
        buttons.addStretch()
        for button in (self.copy, close):
            buttons.addWidget(button)
        layout = QVBoxLayout(self)
        layout.addWidget(self.text)
        layout.addLayout(buttons)
        set_look(self)
        self.resize(_ABOUT)
        # Models are read for their checksums.
        compute_in_background(lambda: as_text(describe()), self._take)
        self.show()

    def _take(self, text: str) -> None:
        if isalive(self):
            self.text.setPlainText(text)
            self.copy.setEnabled(True)

    def _copy(self) -> None:
        QApplication.clipboard().setText(self.text.toPlainText())
        self.copy.setText("Copied")


@contextmanager
def shown_errors() -> Iterator[None]:
    """Show errors to the user instead of raising them."""
    try:
        yield
    except (RednetError, ValueError) as error:
        show_error(str(error))


def set_needs(control: QWidget, needs: str, *, missing: bool) -> None:
    """Disable a control while something is missing, and say so in its tooltip."""
    tooltip = control.toolTip().replace(f"\n{needs}", "")  # its shortcut may follow
    control.setToolTip(f"{tooltip}\n{needs}" if missing else tooltip)
    control.setEnabled(not missing)


class RunningWidget(QWidget):
    """A window that has at most one run at a time, which waits for those of other windows."""

    def __init__(self) -> None:
        super().__init__()
        set_look(self)
        TabIfCrowded(self)
        self._worker: QueuedRun | None = None

    @property
    def is_running(self) -> bool:
        """True while a run works or waits."""
        return self._worker is not None

    @property
    def _waiting_text(self) -> str:
        """Status text while the run waits; empty if it does not."""
        name = "" if self._worker is None else self._worker.waits_for
        return f"Waiting for: {name}" if name else ""

    def _start_run(
        self,
        make_steps: Callable[[], WorkerSteps],
        description: str,
        *,
        on_wait: Callable[[], None],
        on_progress: Callable[[tuple[int, int]], None],
        on_result: Callable[[Any], None],
        on_end: Callable[[], None],
    ) -> None:
        """Run steps in a worker when it is their turn; callbacks are not called once closed."""
        self._worker = queue_run(
            make_steps,
            description,
            is_open=lambda: bool(isalive(self)),
            on_wait=lambda _: self._if_open(on_wait),
            on_progress=partial(self._if_open, on_progress),
            on_result=partial(self._if_open, on_result),
            on_end=partial(self._if_open, on_end),
        )

    def reset_choices(self, *_: Any) -> None:
        """Refresh the layer choices; called by napari when layers are added, removed or renamed.

        Before version 0.9, napari also does so while a run holds a window that has been deleted.
        """
        if isalive(self):
            self._find_layers()

    def _find_layers(self) -> None:
        """Refresh the layer choices."""
        raise NotImplementedError

    def _if_open(self, callback: Any, *arguments: Any) -> None:
        """Call back, or end the run if the window is deleted."""
        if isalive(self):
            callback(*arguments)
        else:
            self._quit()

    def _quit(self) -> None:
        if self._worker is not None:
            self._worker.quit()

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802 - Qt's name
        """Cancel the run when the dock is closed; called by Qt."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self._quit()


def clock(minutes: float) -> str:
    """Minutes as a time such as 3:20 or 1:03:20."""
    seconds = round(60 * minutes)
    hours, rest = divmod(seconds, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


class Scrolling(QScrollArea):
    """Scroll area for controls, which give way to curves and pictures in a low window.

    It asks for a limited height, and grows to that of its controls where there is room.
    """

    def __init__(self, native: QWidget) -> None:
        super().__init__()
        self._highest = _HIGHEST
        self.setWidget(native)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # Tab goes to its controls
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        for kind in (QComboBox, QAbstractSpinBox):
            for control in native.findChildren(kind):
                control.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
                control.installEventFilter(self)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """As high as the controls, within limits, or within what the others leave in a window."""
        return self._fit(self.widget().sizeHint()).boundedTo(QSize(_WIDEST, self._highest))

    def minimumSizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Wide enough for all controls and the scroll bar, high enough for a few."""
        inner = self._fit(self.widget().minimumSizeHint())
        return QSize(inner.width(), min(inner.height(), _LOWEST))

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802 - Qt's name
        """Follow the height of what this lies in; called by Qt."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.ParentChange and self.parentWidget() is not None:
            self.parentWidget().installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """Update the size when controls appear or vanish; called by Qt.

        The wheel scrolls, and changes no value that happens to lie under the mouse.
        """
        if isinstance(watched, (QComboBox, QAbstractSpinBox)):
            is_stray = event.type() == QEvent.Type.Wheel and not watched.hasFocus()
            if is_stray:
                event.ignore()  # so that the area gets it
            return is_stray
        if watched is self.parentWidget():
            if event.type() == QEvent.Type.Resize:
                self._take_room()
            return False
        if event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return bool(super().eventFilter(watched, event))

    def _take_room(self) -> None:
        """Ask for the height that others in the same window leave at least."""
        parent, layout = self.parentWidget(), self.parentWidget().layout()
        if layout is not None:
            others = layout.minimumSize().height() - self.minimumSizeHint().height()
            self._highest = max(_HIGHEST, parent.height() - others)
            self.updateGeometry()

    def _fit(self, inner: QSize) -> QSize:
        bar = self.verticalScrollBar().sizeHint().width()
        # Frames of napari's theme are higher than their size hints.
        return QSize(inner.width() + bar, inner.height() + _SPARE)
