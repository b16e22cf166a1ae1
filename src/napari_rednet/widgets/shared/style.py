"""How the windows look: their style, keys, canvases, and what they say while they are empty."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, cast

from napari.layers import Layer
from napari.utils.theme import get_theme
from napari.viewer import Viewer
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import (
    QApplication,
    QLabel,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

ALIGNED_LABELS = "QLabel { min-width: 5.4em; }"
"""A style sheet that aligns fields; magicgui measures labels without napari's larger font."""
# napari's boxes leave little for the text.
_ROOM = "QComboBox { padding: 3px 0px 3px 6px; } QComboBox::drop-down { width: 18px; }"
_TEXT = "No image yet: drop a file on the window, or try this on a real micrograph."
_TO_CONTROLS = 12
RUN_KEYS, CANCEL_KEYS = "Ctrl+Return", "Escape"
# 3:1 against the background of napari's dark theme and of its light one, which both leave out
# what has the focus.
_FOCUS = "1px solid #2a86d2"
_FOCUSABLE = (
    *("QPushButton", "QComboBox", "QLineEdit", "QAbstractSpinBox", "QCheckBox::indicator"),
    *("QAbstractItemView", "QSlider"),
)
FOCUS_STYLE = ", ".join(f"{kind}:focus" for kind in _FOCUSABLE) + f" {{ border: {_FOCUS}; }}"
"""A style sheet that frames the control that has the focus."""
# 3:1 against the background of the dark theme and of the light one, if opaque.
BLUE, ORANGE = "#2a7fc9", "#c9681f"
FONT_SIZE = 7.5
_OPAQUE = 0.55


def set_look(window: QWidget, style: str = "") -> None:
    """Style a window that may have a style sheet of its own."""
    window.setStyleSheet(style + _ROOM + FOCUS_STYLE)
    _FontOfLabels(window)


class _FontOfLabels(QObject):
    """Gives a window the font of its labels, whose size users choose in napari's settings.

    napari's style sizes labels, buttons and lists, but neither text fields nor tables.
    """

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self._label = QLabel(window)  # never shown
        self._label.hide()
        window.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """Follow the style; called by Qt."""
        styled = (QEvent.Type.Polish, QEvent.Type.StyleChange)
        if event.type() in styled and isinstance(watched, QWidget):
            self._label.ensurePolished()
            watched.setFont(self._label.font())
        return False


class SampleHint(QWidget):
    """A line and a button, to be shown as long as there is no image.

    Parameters
    ----------
    parent : QWidget
        The widget; made before its other controls, the button is the first that Tab reaches.
    viewer : Viewer
        Where the sample is opened.
    key : str
        Of the sample, in the manifest.
    use : callable
        Takes the layers of the sample, once they are open.

    Attributes
    ----------
    text : QLabel
    open_button : QPushButton
    """

    def __init__(
        self, parent: QWidget, viewer: Viewer, key: str, use: Callable[[list[Layer]], Any]
    ) -> None:
        super().__init__(parent)
        self._viewer, self._key, self._use = viewer, key, use
        self.text = make_label("It goes when there is an image.")
        self.text.setText(_TEXT)
        self.open_button = make_button(
            "Open a sample", "Open an image on which this shows what it can do."
        )
        self.open_button.clicked.connect(self._open)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, _TO_CONTROLS)
        layout.addWidget(self.text)
        layout.addWidget(self.open_button)

    def _open(self) -> None:
        layers = self._viewer.open_sample("napari-rednet", self._key)
        self._viewer.layers.selection.active = layers[0]
        self._use(layers)


def add_shortcut(window: QWidget, button: QPushButton, keys: str) -> None:
    """Let keys click a button while the focus is anywhere in a window; its tooltip tells them."""
    sequence = QKeySequence(keys)
    shortcut = QShortcut(sequence, window)
    shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
    shortcut.activated.connect(button.click)
    told = sequence.toString(QKeySequence.SequenceFormat.NativeText)
    button.setToolTip(f"{button.toolTip()} ({told})")


@contextmanager
def focus_kept(*others: QWidget) -> Iterator[None]:
    """Give the focus to the first of others that is enabled, if what has it is disabled within.

    Qt would give it to the next control that is enabled: the one that hides the dock.
    """
    holder = QApplication.focusWidget()
    yield
    if holder is not None and not holder.isEnabled():
        for other in [other for other in others if other.isEnabled()][:1]:
            other.setFocus()


def import_plots() -> None:
    """Import what draws; in the window's thread, the window would stand still."""
    import_module("matplotlib.backends.backend_qtagg")


def make_canvas(inches: tuple[float, float], lowest: int) -> tuple[Any, Any]:
    """A figure and its canvas, as wide as there is room and at least `lowest` pixels high."""
    from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    spaces = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03, wspace=0.02, hspace=0.02)
    figure = cast("Any", Figure(inches, layout=spaces))
    canvas = FigureCanvasQTAgg(figure)
    canvas.setMinimumSize(0, lowest)
    canvas.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Expanding)
    return figure, canvas


def set_theme(figure: Any, name: str) -> None:
    """Give a figure the colours of a theme; its canvas has to be drawn afterwards."""
    theme = get_theme(name)
    text, background, line = str(theme.text), str(theme.background), line_colour(name)
    for part in (figure, *figure.subfigs):
        part.set_facecolor(background)
    for axes in figure.get_axes():
        axes.set_facecolor(background)
        axes.title.set_color(text)
        axes.tick_params(colors=text, which="both")
        for label in (axes.xaxis.label, axes.yaxis.label):
            label.set_color(text)
        for spine in axes.spines.values():
            spine.set_color(line)


def line_colour(name: str) -> tuple[str, float]:
    """The colour of lines that guide the eye, and how opaque; the theme's own is too faint."""
    return str(get_theme(name).text), _OPAQUE


def make_label(tooltip: str) -> QLabel:
    """A text of several lines that explains itself."""
    label = QLabel()
    label.setWordWrap(True)
    label.setToolTip(tooltip)
    return label


def make_button(text: str, tooltip: str) -> QPushButton:
    """A button that explains itself."""
    button = QPushButton(text)
    button.setToolTip(tooltip)
    return button
