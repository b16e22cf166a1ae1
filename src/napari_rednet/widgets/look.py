"""How the windows look in any font: one size for all texts, and room for them in narrow docks."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QLabel, QWidget

from napari_rednet.widgets.keyboard import FOCUS_STYLE

ALIGNED_LABELS = "QLabel { min-width: 5.4em; }"
"""A style sheet that aligns fields; magicgui measures labels without napari's larger font."""

# napari's boxes leave little for the text.
_ROOM = "QComboBox { padding: 3px 0px 3px 6px; } QComboBox::drop-down { width: 18px; }"


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
