"""Which two layers are compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from magicgui.widgets import Container, PushButton
from napari.layers import Image

from napari_rednet.widgets.compare_record import source_of
from napari_rednet.widgets.controls import ChoiceBox
from napari_rednet.widgets.dialogs import set_needs
from napari_rednet.widgets.look import ALIGNED_LABELS

NEEDS_PAIR = "Choose two image layers, before and after."
"""What nothing can be compared without."""


class PairControls(Container):
    """The layers before and after; a result is paired with its source.

    Parameters
    ----------
    layers : callable
        Returns the layers to choose from.
    """

    def __init__(self, layers: Callable[[], list[Image]]) -> None:
        super().__init__()
        self.native.setStyleSheet(ALIGNED_LABELS)
        self.margins = (0, 0, 0, 0)
        self._layers = layers
        self.before = ChoiceBox(
            name="before",
            label="Before",
            choices=lambda _: layers(),
            tooltip="The layer that was restored, or any other.",
        )
        self.after = ChoiceBox(
            name="after",
            label="After",
            choices=lambda _: layers(),
            tooltip="The result. The layer that it was made from is put under Before.",
        )
        self.swap = PushButton(text="Swap", tooltip="Exchange before and after.")
        self.extend([self.before, self.after, self.swap])
        self.after.changed.connect(self._find_source)
        self.swap.changed.connect(self._swap)
        self.choose_latest()

    @property
    def pair(self) -> tuple[Image, Image] | None:
        """Before and after; None unless they are two layers."""
        before, after = self.before.value, self.after.value
        return None if before is None or after is None or before is after else (before, after)

    def offer(self, *, has_pair: bool) -> None:
        """Let the two be exchanged, if there are two."""
        set_needs(self.swap.native, NEEDS_PAIR, missing=not has_pair)

    def choose_latest(self, *_: Any) -> None:
        """Choose the latest result, or the two topmost layers."""
        self.reset_choices()
        layers = self._layers()
        results = [layer for layer in layers if source_of(layer, layers) is not None]
        if results:
            self.after.value = results[-1]
        elif len(layers) > 1:
            self.before.value, self.after.value = layers[-2:]
        self._find_source()

    def _find_source(self, *_: Any) -> None:
        source = source_of(self.after.value, self._layers())
        if source is not None:
            self.before.value = source

    def _swap(self) -> None:
        before, after = self.before.value, self.after.value
        # Both at once; a result would otherwise ask for its source.
        with self.before.changed.blocked(), self.after.changed.blocked():
            self.before.value, self.after.value = after, before
        self.changed.emit(self)
