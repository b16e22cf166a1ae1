"""Look of the windows: style sheets, shortcuts, plots, and a hint while there is no image."""

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
# napari's combo boxes leave little room for the text.
_ROOM = "QComboBox { padding: 3px 0px 3px 6px; } QComboBox::drop-down { width: 18px; }"
_TEXT = "No image yet: drop a file on the window, or try this on a real micrograph."
_TO_CONTROLS = 12
RUN_KEYS, CANCEL_KEYS = "Ctrl+Return", "Escape"
# Contrast of 3:1 in napari's dark theme and in its light one; neither shows the focus itself.
_FOCUS = "1px solid #2a86d2"
_FOCUSABLE = (
    *("QPushButton", "QComboBox", "QLineEdit", "QAbstractSpinBox", "QCheckBox::indicator"),
    *("QAbstractItemView", "QSlider"),
)
FOCUS_STYLE = ", ".join(f"{kind}:focus" for kind in _FOCUSABLE) + f" {{ border: {_FOCUS}; }}"
"""A style sheet that frames the focused control."""
# Contrast of 3:1 in the dark theme and in the light one, if opaque.
BLUE, ORANGE = "#2a7fc9", "#c9681f"
FONT_SIZE = 7.5
_OPAQUE = 0.55


def set_look(window: QWidget, style: str = "") -> None:
    """Set the style sheet of a window; `style` has rules of its own."""
    window.setStyleSheet(style + _ROOM + FOCUS_STYLE)
    _FontOfLabels(window)


class _FontOfLabels(QObject):
    """Gives a window the font of its labels, whose size users choose in napari's settings.

    napari's style sets the size for labels, buttons and lists, but not for text fields and tables.
    """

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self._label = QLabel(window)  # never shown
        self._label.hide()
        window.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """Copy the font of the labels when the style changes; called by Qt."""
        styled = (QEvent.Type.Polish, QEvent.Type.StyleChange)
        if event.type() in styled and isinstance(watched, QWidget):
            self._label.ensurePolished()
            watched.setFont(self._label.font())
        return False


class SampleHint(QWidget):
    """Line and button that offer a sample, shown while there is no image.

    Made before the other controls of its window, the button is the first that Tab reaches. `key`
    is that of the sample in the manifest; `use` is called with the layers of the opened sample.
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
    """Let a shortcut click a button while the window has the focus; the tooltip names it."""
    sequence = QKeySequence(keys)
    shortcut = QShortcut(sequence, window)
    shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
    shortcut.activated.connect(button.click)
    told = sequence.toString(QKeySequence.SequenceFormat.NativeText)
    button.setToolTip(f"{button.toolTip()} ({told})")


@contextmanager
def focus_kept(*others: QWidget) -> Iterator[None]:
    """Move the focus to the first enabled one of `others` if its widget gets disabled within.

    Qt would move it to the next enabled control: the button that hides the dock.
    """
    holder = QApplication.focusWidget()
    yield
    if holder is not None and not holder.isEnabled():
        for other in [other for other in others if other.isEnabled()][:1]:
            other.setFocus()


def import_plots() -> None:
    """Import matplotlib; doing so in the GUI thread would freeze the window."""
    import_module("matplotlib.backends.backend_qtagg")


def make_canvas(inches: tuple[float, float], lowest: int) -> tuple[Any, Any]:
    """A figure and its canvas, of any width and at least `lowest` pixels high."""
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
    """Give a figure the colours of a theme; redraw the canvas afterwards."""
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
    """Colour and opacity of guide lines; the theme's own line colour is too faint."""
    return str(get_theme(name).text), _OPAQUE


def make_label(tooltip: str) -> QLabel:
    """A label of several lines, with a tooltip."""
    label = QLabel()
    label.setWordWrap(True)
    label.setToolTip(tooltip)
    return label


def make_button(text: str, tooltip: str) -> QPushButton:
    """A button with a tooltip."""
    button = QPushButton(text)
    button.setToolTip(tooltip)
    return button
