"""What a widget says while there is no image: what to do, and a sample to try it on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari.layers import Layer
from napari.viewer import Viewer
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_rednet.widgets.dialogs import make_button
from napari_rednet.widgets.fine_tune_parts import make_label

_TEXT = "No image yet: drop a file on the window, or try this on a real micrograph."
_TO_CONTROLS = 12


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
