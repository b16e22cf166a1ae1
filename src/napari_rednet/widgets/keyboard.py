"""What the windows offer to users of the keyboard: shortcuts, and where the keys go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QApplication, QPushButton, QWidget

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
