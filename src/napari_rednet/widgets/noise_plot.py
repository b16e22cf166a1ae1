"""The photon transfer curve: measured noise variance over signal, and a model's line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from napari.utils.theme import get_theme
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_rednet.widgets.noise_text import is_far_off
from napari_rednet.widgets.themed_canvas import BLUE, FONT_SIZE, ORANGE, make_canvas, set_theme

if TYPE_CHECKING:
    from napari_rednet.engine.noise import NoiseModel
    from napari_rednet.noise import NoiseLevels

FloatArray = npt.NDArray[np.float64]

_INCHES = (3.0, 2.0)
_LOWEST = 170
_SMALLEST, _LARGEST = 6.0, 40.0
_BETWEEN = 0.25  # wide, so that points that overlap can be told apart
_LINE_POINTS = 200


class NoisePlot(QWidget):
    """Measured levels as points, a noise model as a line.

    It is empty, and matplotlib not imported, until there is something to show.
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

    def show_noise(self, levels: NoiseLevels | None, model: NoiseModel | None) -> None:
        """Draw what there is: levels, and the line of a model through the range of them."""
        if self._curve is None:
            if levels is None:
                return
            self._curve = _Curve()
            self._curve.set_theme(self._theme)
            self.layout().addWidget(self._curve.canvas)
        self._curve.show_noise(levels, model)

    def set_theme(self, theme: str) -> None:
        """Draw in the colours of one of napari's themes."""
        self._theme = theme
        if self._curve is not None:
            self._curve.set_theme(theme)

    @property
    def points(self) -> FloatArray:
        """Signal and variance of the points that are drawn, (L, 2)."""
        return np.zeros((0, 2)) if self._curve is None else self._curve.points

    @property
    def line(self) -> FloatArray:
        """Signal and variance of the line that is drawn, (N, 2); empty without a model."""
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
        """Everything is to be seen, the line from edge to edge."""
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
