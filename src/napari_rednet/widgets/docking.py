"""Where the windows open: below each other, or as tabs if there is not enough room."""

from __future__ import annotations

from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, QSize, Qt, QTimer
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

WINDOW_MARK = "napari_rednet_window"
"""Property that tells the windows of this package from others."""
_ENOUGH = 0.9  # of what docks want; hints are a few pixels too high


class TabIfCrowded(QObject):
    """Makes the dock of a window a tab of another one of ours, if there is no room for both.

    napari puts docks below each other. Qt squeezes those that scroll, and lets the window grow
    beyond the screen for those that do not. This acts once, when the dock is opened; from then on
    it lies where users put it.

    Parameters
    ----------
    window : QWidget
        What is docked.
    """

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self._size = QSize()
        self._heights: dict[QDockWidget, int] = {}
        window.setProperty(WINDOW_MARK, True)
        window.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """Follow the window into its dock, and the dock into its place; called by Qt."""
        if event.type() == QEvent.Type.ParentChange:
            if isinstance(watched, QDockWidget):
                self._remember(watched.parent())
            elif isinstance(watched.parent(), QDockWidget):
                watched.removeEventFilter(self)
                watched.parent().installEventFilter(self)
        elif event.type() == QEvent.Type.Show and isinstance(watched, QDockWidget):
            watched.removeEventFilter(self)
            ToFrontWhenChosen(watched)
            self._find_place(watched)
            self.deleteLater()
        return False

    def _remember(self, main: QObject | None) -> None:
        """How the docks lie before there is another one."""
        if isinstance(main, QMainWindow) and main.isVisible():
            self._size = main.size()
            docks = main.findChildren(QDockWidget)
            self._heights = {d: d.height() for d in docks if not d.visibleRegion().isEmpty()}

    def _find_place(self, dock: QDockWidget) -> None:
        main, known, self._heights = dock.parent(), self._heights, {}
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


class ToFrontWhenChosen(QObject):
    """Brings a dock to the front of its tabs when it is chosen in a menu.

    napari's menus hide a dock that is shown, even if it is behind another tab, and show it where
    it was. So choosing one behind would close it, and choosing it again would put it behind.

    Parameters
    ----------
    dock : QDockWidget
        The dock.
    """

    def __init__(self, dock: QDockWidget) -> None:
        super().__init__(dock)
        self._dock = dock
        self._is_behind = self._was_hidden = False
        dock.visibilityChanged.connect(self._follow_tabs)
        dock.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """Follow menus that hide and show the dock; called by Qt, which is not done yet."""
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


def _is_ours(dock: QDockWidget) -> bool:
    return dock.widget() is not None and bool(dock.widget().property(WINDOW_MARK))
