"""A user who only reads: finds menus, buttons and fields by the words on them, and clicks.

What cannot be found is an error, so that a tutorial whose words are wrong cannot be played.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import napari
from qtpy.QtCore import QPoint, Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QApplication,
    QFileDialog,
    QLabel,
    QLineEdit,
    QMenu,
    QWidget,
)
from windows import process_events

LEFT = Qt.MouseButton.LeftButton
Kind = TypeVar("Kind", bound=QWidget)


def choose(viewer: napari.Viewer, path: str) -> None:
    """Choose from the menus, such as "File → Open Sample"."""
    bar = main_window(viewer).menuBar()
    *menus, last = path.split(" → ")
    found: Any = bar
    for words in menus:
        found = action_of(found, words).menu()
        found.aboutToShow.emit()  # napari fills and enables its menus only then
    action = action_of(found, last)
    if not action.isEnabled():
        raise LookupError(f"{path} is gray")
    action.trigger()
    process_events(1)


def action_of(menu: Any, words: str) -> Any:
    """The entry of a menu that has these words; napari adds the name of the plugin in brackets."""
    names = {action.text().replace("&", ""): action for action in menu.actions()}
    names |= {name.partition(" (RED-Net")[0]: action for name, action in names.items()}
    if words not in names:
        raise LookupError(f"{words!r} is not among {', '.join(filter(None, names))}")
    return names[words]


def press(viewer: napari.Viewer, words: str) -> None:
    """Click the button with these words."""
    click(one(viewer, QAbstractButton, lambda button: button.text() == words, words))


def click(widget: QWidget) -> None:
    """Click the left part of a widget, where boxes to tick have their box."""
    if not widget.isEnabled():
        raise LookupError(f"{widget} is gray")
    place = QPoint(min(10, widget.width() // 2), widget.height() // 2)
    QTest.mouseClick(widget, LEFT, pos=place)
    process_events(0.5)


def type_into(viewer: napari.Viewer, label: str, text: str) -> None:
    """Type into the field beside a label."""
    field = beside(viewer, label, QAbstractSpinBox, QLineEdit)
    field.setFocus()
    field.selectAll()
    QTest.keyClicks(field, text)
    QTest.keyClick(field, Qt.Key.Key_Return)
    process_events(0.5)


def beside(viewer: napari.Viewer, label: str, *kinds: type[Any]) -> Any:
    """The field to the right of a label."""
    name = one(viewer, QLabel, lambda found: found.text() == label, label)
    middle = name.mapToGlobal(name.rect().center())

    def is_beside(field: QWidget) -> bool:
        place = field.mapToGlobal(field.rect().center())
        return abs(place.y() - middle.y()) < 8 and place.x() > middle.x()

    fields = [field for kind in kinds for field in seen(viewer, kind) if is_beside(field)]
    if not fields:
        raise LookupError(f"there is no field beside {label!r}")
    return min(fields, key=lambda field: field.mapToGlobal(QPoint()).x())


def one(viewer: napari.Viewer, kind: type[Kind], fits: Callable[[Kind], bool], words: str) -> Kind:
    """The last widget that can be seen and fits: the one that was docked last."""
    found = [widget for widget in seen(viewer, kind) if fits(widget)]
    if not found:
        raise LookupError(f"nothing says {words!r}")
    return found[-1]


def seen(viewer: napari.Viewer, kind: type[Kind]) -> Iterator[Kind]:
    """The widgets of a kind that can be seen."""
    return (widget for widget in main_window(viewer).findChildren(kind) if widget.isVisible())


def says(viewer: napari.Viewer, words: str) -> bool:
    """Whether some text that can be seen has these words."""
    return any(words in label.text() for label in seen(viewer, QLabel))


def save_selected(viewer: napari.Viewer, path: str) -> None:
    """Save the selected layer, typing its name into the dialog of files."""
    QTimer.singleShot(1500, lambda: answer(path))
    choose(viewer, "File → Save Selected Layers...")
    process_events(1)


def answer(path: str) -> None:
    """Type a path into the dialog that is open."""
    dialog = QApplication.activeModalWidget()
    if dialog is None or not isinstance(dialog, QFileDialog):
        raise LookupError(f"no dialog of files is open but {dialog}")
    QTest.keyClicks(dialog.findChild(QLineEdit), path)
    QTest.keyClick(dialog.findChild(QLineEdit), Qt.Key.Key_Return)


def main_window(viewer: napari.Viewer) -> Any:
    """Qt's side of the window."""
    return viewer.window._qt_window  # noqa: SLF001 - the menus are the point


def menu_of(viewer: napari.Viewer, path: str) -> QMenu:
    """A menu, to be shown."""
    found: Any = main_window(viewer).menuBar()
    for words in path.split(" → "):
        found = action_of(found, words).menu()
        found.aboutToShow.emit()
    return found
