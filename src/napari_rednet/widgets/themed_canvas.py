"""Matplotlib in the colours of napari's themes."""

from __future__ import annotations

from importlib import import_module
from typing import Any, cast

from napari.utils.theme import get_theme
from qtpy.QtWidgets import QSizePolicy

# 3:1 against the background of the dark theme and of the light one, if opaque.
BLUE, ORANGE = "#2a7fc9", "#c9681f"
FONT_SIZE = 7.5
_OPAQUE = 0.55


def import_plots() -> None:
    """Import what draws; in the window's thread, the window would stand still."""
    import_module("matplotlib.backends.backend_qtagg")


def make_canvas(inches: tuple[float, float], lowest: int) -> tuple[Any, Any]:
    """A figure and its canvas, as wide as there is room and at least `lowest` pixels high."""
    from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    spaces = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03, wspace=0.02, hspace=0.02)
    figure = cast("Any", Figure(inches, layout=spaces))
    canvas = FigureCanvasQTAgg(figure)
    canvas.setMinimumSize(0, lowest)
    canvas.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Expanding)
    return figure, canvas


def set_theme(figure: Any, name: str) -> None:
    """Give a figure the colours of a theme; its canvas has to be drawn afterwards."""
    theme = get_theme(name)
    text, background, line = str(theme.text), str(theme.background), line_colour(name)
    for part in (figure, *figure.subfigs):
        part.set_facecolor(background)
    for axes in figure.get_axes():
        axes.set_facecolor(background)
        axes.title.set_color(text)
        axes.tick_params(colors=text, which="both")
        for label in (axes.xaxis.label, axes.yaxis.label):
            label.set_color(text)
        for spine in axes.spines.values():
            spine.set_color(line)


def line_colour(name: str) -> tuple[str, float]:
    """The colour of lines that guide the eye, and how opaque; the theme's own is too faint."""
    return str(get_theme(name).text), _OPAQUE
