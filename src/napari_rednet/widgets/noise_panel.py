"""The part of the noise controls that opens: the plot, and how good the fit is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from magicgui.widgets import Container, Label, PushButton
from napari.utils.notifications import show_info
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QSizePolicy

from napari_rednet.widgets.dialogs import shown_errors
from napari_rednet.widgets.noise_plot import NoisePlot
from napari_rednet.widgets.noise_text import describe_fit

if TYPE_CHECKING:
    from napari_rednet.engine.noise import NoiseModel
    from napari_rednet.noise import NoiseLevels

_NOTHING = "Nothing is measured yet; Estimate noise does it."


class NoisePanel:
    """A button that opens a plot of the noise, words about it, and a way to take it elsewhere.

    Parameters
    ----------
    models : callable
        Returns the noise model of each channel, as shown; raises `ValueError` if it cannot.

    Attributes
    ----------
    button : PushButton
        Opens and closes it.
    box : Container
        What opens.
    plot : NoisePlot
        The measured noise and the model.
    words : Label
        How well they fit.
    copy : PushButton
        Copies the models as text.
    """

    def __init__(self, models: Callable[[], Sequence[NoiseModel]]) -> None:
        self._models = models
        self.button = PushButton(
            text="Plot", tooltip="Show or hide the measured noise and how well the values fit it."
        )
        self.button.native.setCheckable(True)
        self.plot = NoisePlot()
        self.words = _make_words()
        self.copy = PushButton(
            text="Copy for scripts",
            tooltip="Copy the noise, such as NoiseModel(gain=…), to paste it into a script.",
        )
        self.box = Container(widgets=[self.words, self.copy], labels=False, visible=False)
        self.box.margins = (0, 0, 0, 0)
        self.box.native.layout().insertWidget(0, self.plot)
        self.copy.changed.connect(self._copy)
        self.button.changed.connect(self._open_or_close)

    @property
    def is_open(self) -> bool:
        """Whether the plot is to be seen."""
        return bool(self.button.native.isChecked())

    def show_noise(
        self, levels: NoiseLevels | None, model: NoiseModel | None, problem: str = ""
    ) -> None:
        """Draw and describe what there is, or say what the problem is."""
        if not self.is_open:
            return
        self.plot.show_noise(levels, model)
        if levels is None or problem:
            self.words.value = problem or _NOTHING
        elif model is not None:
            self.words.value = describe_fit(levels, model)

    def _open_or_close(self) -> None:
        self.box.visible = self.is_open

    def _copy(self) -> None:
        with shown_errors():
            models = list(self._models())
            text = repr(models[0] if len(models) == 1 else models)
            QApplication.clipboard().setText(text)
            show_info(f"Copied: {text}")


def _make_words() -> Label:
    words = Label(value=_NOTHING, tooltip="How well the line fits the measured noise.")
    words.native.setWordWrap(True)
    words.native.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
    words.native.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
    return words
