"""The part of the Compare window that chooses how a pair is viewed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from magicgui.widgets import Container, FloatSlider, FloatSpinBox
from napari.layers import Image
from napari.viewer import Viewer
from qtpy.compat import isalive
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_rednet.widgets.compare.pair import NEEDS_PAIR
from napari_rednet.widgets.compare.split_view import Blink, PairView, SideBySide, Split
from napari_rednet.widgets.shared.docks import set_needs
from napari_rednet.widgets.shared.style import ALIGNED_LABELS, make_button, make_label

SPLIT, BLINK, BESIDE = "Split", "Blink", "Side by side"
_TOOLTIPS = {
    SPLIT: "Before on the left of a line, after on its right. Drag the line with the mouse.",
    BLINK: "Before and after in turns, in the same place.",
    BESIDE: "Before and after beside each other; they move and zoom together.",
}
_IN_3D = "Before and after are compared in 2-D: leave the 3-D view (Ctrl+Y) first."
_RATE, _LOWEST_RATE, _HIGHEST_RATE = 1.5, 0.5, 3.0  # faster flicker can harm some people


class ShowControls(QWidget):
    """Toggle buttons for the views of a pair, and the settings of the split and blinking views."""

    def __init__(self, viewer: Viewer, pair: Callable[[], tuple[Image, Image] | None]) -> None:
        super().__init__()
        self._viewer, self._pair = viewer, pair
        self._view: PairView | None = None
        self.buttons = {name: _make_way(name) for name in _TOOLTIPS}
        self.divider = FloatSlider(
            name="divider",
            label="Divider",
            value=0.5,
            max=1,
            step=0.01,
            readout=False,
            tooltip="Where the line is: drag it in the image, or use this with the arrow keys.",
        )
        self.rate = FloatSpinBox(
            name="rate",
            label="Changes / s",
            value=_RATE,
            min=_LOWEST_RATE,
            max=_HIGHEST_RATE,
            step=0.5,
            tooltip="How often before and after change places.",
        )
        self.hint = make_label("What is missing for a comparison.")
        self._arrange()
        self._connect()
        self._show()

    @property
    def way(self) -> str | None:
        """Name of the chosen view; None if there is none."""
        return next((name for name, b in self.buttons.items() if b.isChecked()), None)

    @property
    def view(self) -> PairView | None:
        """The current view; None if there is none."""
        return self._view

    def stop(self) -> None:
        """End the view, and show the layers as they were."""
        for button in self.buttons.values():
            button.setChecked(False)
        self._end()
        self._show()

    def renew(self) -> None:
        """View the current pair in the same way; end the view if there is no pair."""
        way = self.way
        self._end()
        if way is not None:
            self._begin(way)
        self._show()

    def offer(self, *, has_pair: bool) -> None:
        """Enable the buttons if there is a pair."""
        for button in self.buttons.values():
            set_needs(button, NEEDS_PAIR, missing=not has_pair)

    def _press(self, name: str) -> None:
        self._end()
        is_on = self.buttons[name].isChecked()
        for other, button in self.buttons.items():
            button.setChecked(is_on and other == name)
        if is_on:
            self._begin(name)
        self._show()

    def _begin(self, name: str) -> None:
        is_in_3d = self._viewer.dims.ndisplay != 2
        self.hint.setText(_IN_3D if is_in_3d else "")
        pair = self._pair()
        if pair is None or is_in_3d:
            self.buttons[name].setChecked(False)
            return
        self._view = self._make_view(name, *pair)
        self._view.start()

    def _end(self) -> None:
        self.hint.clear()
        view, self._view = self._view, None  # cleared first: removing its layer would end it again
        if view is not None:
            view.stop()

    def _make_view(self, name: str, before: Image, after: Image) -> PairView:
        if name == SPLIT:
            return Split(self._viewer, before, after, self.divider.value, self._follow_mouse)
        if name == BLINK:
            return Blink(self._viewer, before, after, self.rate.value, self)
        return SideBySide(self._viewer, before, after)

    def _follow_mouse(self, position: float) -> None:
        with self.divider.changed.blocked():
            self.divider.value = position

    def _move_divider(self, position: float) -> None:
        if isinstance(self._view, Split):
            self._view.position = position

    def _set_rate(self, rate: float) -> None:
        if isinstance(self._view, Blink):
            self._view.rate = rate

    def _leave_3d(self, _event: Any) -> None:
        if isalive(self) and self.way is not None and self._viewer.dims.ndisplay != 2:
            self.stop()
            self.hint.setText(_IN_3D)
            self._show()

    def _arrange(self) -> None:
        row = QHBoxLayout()
        for button in self.buttons.values():
            row.addWidget(button)
        self._settings = Container(widgets=[self.divider, self.rate])
        self._settings.native.setStyleSheet(ALIGNED_LABELS)
        self._settings.margins = (0, 0, 0, 0)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(row)
        layout.addWidget(self._settings.native)
        layout.addWidget(self.hint)

    def _connect(self) -> None:
        for name, button in self.buttons.items():
            button.clicked.connect(lambda *_, name=name: self._press(name))
        self.divider.changed.connect(self._move_divider)
        self.rate.changed.connect(self._set_rate)
        self._viewer.dims.events.ndisplay.connect(self._leave_3d)

    def _show(self) -> None:
        self.divider.visible = self.way == SPLIT
        self.rate.visible = self.way == BLINK
        self.hint.setVisible(bool(self.hint.text()))


def _make_way(name: str) -> QPushButton:
    button = make_button(name, _TOOLTIPS[name])
    button.setCheckable(True)
    return button
