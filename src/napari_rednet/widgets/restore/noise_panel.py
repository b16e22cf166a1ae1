"""The panel of the noise controls: the photon transfer curve, and words on the fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from magicgui.widgets import Container, Label, PushButton
from napari.utils.notifications import show_info
from napari.utils.theme import get_theme
from qtpy.compat import isalive
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QApplication, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from napari_rednet.widgets.shared.controls import RoomForLines
from napari_rednet.widgets.shared.docks import shown_errors
from napari_rednet.widgets.shared.style import BLUE, FONT_SIZE, ORANGE, make_canvas, set_theme

if TYPE_CHECKING:
    from napari_rednet.engine.channel import NoiseModel
    from napari_rednet.noise import NoiseLevels

FloatArray = npt.NDArray[np.float64]
_GOOD, _FAIR = 0.1, 0.25
_ONE_SIDED = 0.8
_FEW_LEVELS = 8
_NARROW, _GROWTH = 3.0, 1.5
_ENOUGH_PIXELS = 2000.0
_CLIPPED = 0.01
_INCHES = (3.0, 2.0)
_LOWEST = 170
_SMALLEST, _LARGEST = 6.0, 40.0
_BETWEEN = 0.25  # line width of edges, which tell overlapping points apart
_LINE_POINTS = 200
_NOTHING = "Nothing is measured yet; Estimate noise does it."
_MEASURING = "Measuring…"
_LINES = 4  # of words on a usual fit, so that what is below stays in its place


def is_far_off(deviation: FloatArray) -> npt.NDArray[np.bool_]:
    """True for levels whose standard deviation is more than 25 % off the model."""
    far: npt.NDArray[np.bool_] = np.abs(deviation) > _FAIR
    return far


def describe_fit(levels: NoiseLevels, model: NoiseModel) -> str:
    """Words for the user on how well a model, fitted or typed, matches measured levels."""
    if not len(levels.signal):
        return "Too few pixels to measure noise."
    if not levels.variance.any():
        return "No noise: all measured pixels are like their neighbours. Are they saturated?"
    return " ".join([_fit(levels, model), *_reservations(levels, model)])


def _fit(levels: NoiseLevels, model: NoiseModel) -> str:
    deviation = levels.deviation(model)
    if not np.isfinite(deviation).all():
        return "Poor fit: there is noise where the line is at 0."
    trust = np.minimum(levels.count, _ENOUGH_PIXELS)
    misfit, bias = (float(np.average(d, weights=trust)) for d in (abs(deviation), deviation))
    one_sided = abs(bias) > _ONE_SIDED * misfit
    more = "more" if bias > 0 else "less"
    if misfit <= _GOOD:
        return f"Good fit: noise within {misfit:.0%} of the line on average."
    if misfit <= _FAIR and one_sided:
        return f"Fair fit: {misfit:.0%} {more} noise than the line says."
    if misfit <= _FAIR:
        return f"Fair fit: noise within {misfit:.0%} of the line on average."
    if one_sided:
        so = "too little" if bias > 0 else "too much"
        return f"Poor fit: {misfit:.0%} {more} noise than the line says, which smooths {so}."
    return (
        f"Poor fit: noise {misfit:.0%} off the line on average. Fine structure may pass for "
        "noise: measure in a region without it, or type the values of the camera."
    )


def _reservations(levels: NoiseLevels, model: NoiseModel) -> list[str]:
    """Reasons why the fit is less certain."""
    found = []
    far, count = int(is_far_off(levels.deviation(model)).sum()), len(levels.signal)
    if 0 < far < count / 2:
        found.append(f"Far off (orange): {far} of {count} levels.")
    if count < _FEW_LEVELS:
        found.append("There are few levels: measure in more of the image.")
    elif _is_narrow(levels):
        found.append(
            "All is about equally bright, so the gain is uncertain: include darker and brighter "
            "places."
        )
    grainy = _grain(model)
    if grainy:
        found.append(grainy)
    if levels.clipped > _CLIPPED:
        found.append(f"{levels.clipped:.0%} of the pixels are saturated or black, and left out.")
    return found


def _grain(model: NoiseModel) -> str:
    """What correlated noise comes of; empty if it is white."""
    along_y, along_x = model.correlation
    if along_y and along_x:
        return "Neighbouring pixels share noise: the image was resized, turned or filtered."
    if along_x:
        return "Neighbours in a row share noise: rows have offsets, or were scanned or filtered."
    if along_y:
        return "Neighbours in a column share noise: columns have offsets, or were filtered."
    return ""


def _is_narrow(levels: NoiseLevels) -> bool:
    """True if the signal spans less than 3 noise std, and the variance hardly grows with it."""
    bright = levels.signal > np.median(levels.signal)
    darker, brighter = (
        np.average(levels.variance[half], weights=levels.count[half]) for half in (~bright, bright)
    )
    noise = np.sqrt(np.median(levels.variance))
    return bool(np.ptp(levels.signal) < _NARROW * noise and brighter < _GROWTH * darker)


class NoisePlot(QWidget):
    """Plot of the variance over the signal: measured levels, and the line of a noise model.

    Matplotlib is not imported until there is something to show.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setToolTip(
            "Variance of the noise over the signal. Points: measured, the larger the more pixels "
            "there are; orange ones are far off. Line: Gain, Offset and Read noise as above."
        )
        self._theme = "dark"
        self._curve: _Curve | None = None
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self.setMinimumHeight(_LOWEST)  # of the plot that is still to come

    def show_noise(self, levels: NoiseLevels | None, model: NoiseModel | None) -> None:
        """Draw levels, and the line of a model over their range."""
        if self._curve is None:
            if levels is None:
                return
            self._curve = _Curve()
            self._curve.set_theme(self._theme)
            self.layout().addWidget(self._curve.canvas)
        self._curve.show_noise(levels, model)

    def set_theme(self, theme: str) -> None:
        """Use the colours of a napari theme."""
        self._theme = theme
        if self._curve is not None:
            self._curve.set_theme(theme)

    @property
    def points(self) -> FloatArray:
        """Signal and variance of the drawn points, (L, 2)."""
        return np.zeros((0, 2)) if self._curve is None else self._curve.points

    @property
    def line(self) -> FloatArray:
        """Signal and variance of the drawn line, (N, 2); empty without a model."""
        return np.zeros((0, 2)) if self._curve is None else self._curve.line


class _Curve:
    """A matplotlib canvas with points and a line."""

    def __init__(self) -> None:
        self.figure, self.canvas = make_canvas(_INCHES, _LOWEST)
        self._axes = axes = self.figure.subplots()
        self._points = axes.scatter([], [], color=BLUE, linewidths=_BETWEEN)
        self._line = axes.plot([], [], linewidth=1.2)[0]
        axes.set_xlabel("signal (image units)", fontsize=FONT_SIZE)
        axes.set_ylabel("variance (image units²)", fontsize=FONT_SIZE)
        axes.tick_params(labelsize=FONT_SIZE, length=2)
        axes.locator_params(nbins=5)
        axes.ticklabel_format(scilimits=(-3, 5), useMathText=True)
        for axis in (axes.xaxis, axes.yaxis):
            axis.get_offset_text().set_fontsize(FONT_SIZE)
        axes.spines[["top", "right"]].set_visible(False)

    @property
    def points(self) -> FloatArray:
        return np.asarray(self._points.get_offsets(), float).reshape(-1, 2)

    @property
    def line(self) -> FloatArray:
        return np.asarray(self._line.get_xydata(), float)

    def show_noise(self, levels: NoiseLevels | None, model: NoiseModel | None) -> None:
        self._line.set_data([], [])
        self._points.set_offsets(np.zeros((0, 2)))
        if levels is not None and len(levels.signal):
            self._show_levels(levels, model)
            self._show_limits(levels, model)
        self.canvas.draw_idle()

    def set_theme(self, name: str) -> None:
        set_theme(self.figure, name)
        self._points.set_edgecolors(self.figure.get_facecolor())
        self._line.set_color(str(get_theme(name).text))
        self.canvas.draw_idle()

    def _show_levels(self, levels: NoiseLevels, model: NoiseModel | None) -> None:
        self._points.set_offsets(np.stack([levels.signal, levels.variance], axis=1))
        share = np.sqrt(levels.count / levels.count.max())
        self._points.set_sizes(_SMALLEST + (_LARGEST - _SMALLEST) * share)
        far = np.zeros(len(levels.signal), bool)
        if model is not None:
            far = is_far_off(levels.deviation(model))
        self._points.set_facecolors(np.where(far, ORANGE, BLUE))

    def _show_limits(self, levels: NoiseLevels, model: NoiseModel | None) -> None:
        """Draw the line from edge to edge, and set limits that show everything."""
        low, high = levels.signal.min(), levels.signal.max()
        margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
        signal = np.linspace(low - margin, high + margin, _LINE_POINTS)
        top = levels.variance.max()
        if model is not None:
            variance = model.variance(signal)
            self._line.set_data(signal, variance)
            top = max(top, variance.max())
        self._axes.set_xlim(signal[0], signal[-1])
        self._axes.set_ylim(0, 1.08 * top or 1.0)


class NoisePanel:
    """Button and panel: a plot of the noise, words on the fit, a button that copies the models."""

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
        """True if the panel is open."""
        return bool(self.button.native.isChecked())

    def show_noise(
        self,
        levels: NoiseLevels | None,
        model: NoiseModel | None,
        problem: str = "",
        *,
        is_measuring: bool = False,
    ) -> None:
        """Show levels and model with words on the fit, or the problem."""
        if not self.is_open:
            return
        self.plot.show_noise(levels, model)
        if levels is None or problem:
            self.words.value = problem or (_MEASURING if is_measuring else _NOTHING)
        elif model is not None:
            self.words.value = describe_fit(levels, model)

    def _open_or_close(self) -> None:
        self.box.visible = self.is_open
        if self.is_open:
            QTimer.singleShot(0, self._scroll_to)  # once it has its place

    def _scroll_to(self) -> None:
        """Bring the plot into sight, which in a low window lies below what is seen."""
        above = self.box.native if isalive(self.box.native) else None
        while above is not None and not isinstance(above, QScrollArea):
            above = above.parentWidget()
        if above is not None:
            above.ensureWidgetVisible(self.box.native, 0, 0)

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
    RoomForLines(words.native, _LINES)
    return words
