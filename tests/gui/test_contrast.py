"""What the windows say and draw can be read in both themes: WCAG's contrast, of what is drawn."""

import re

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.text import Text
from napari.utils.theme import get_theme
from qtpy.QtGui import QImage
from qtpy.QtWidgets import QLabel

import napari_rednet as nr
from napari_rednet.finetuning.session import HeldOutPart
from napari_rednet.widgets.finetuning.view import _Plots
from napari_rednet.widgets.restore.noise_panel import NoisePlot
from napari_rednet.widgets.shared.style import BLUE, FOCUS_STYLE, ORANGE

TEXT, GRAPHICS = 4.5, 3.0
WIDGETS = [
    *("Denoise", "Deblur", "Super-resolve", "Deblock", "Inpaint"),
    *("Compare", "Fine-tune", "Batch"),
]


@pytest.fixture(params=["dark", "light"])
def theme(request):
    return request.param


def luminance(colours):
    """Relative luminance of (..., 3) colours from 0 to 1."""
    colours = np.asarray(colours, float)
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    return linear @ (0.2126, 0.7152, 0.0722)


def contrast(colours, background):
    """The ratio of WCAG 2, from 1 to 21."""
    a, b = luminance(colours), luminance(background)
    return (np.maximum(a, b) + 0.05) / (np.minimum(a, b) + 0.05)


def drawn_contrast(widget):
    """Of the pixel that stands out most against the commonest colour of a widget."""
    image = widget.grab().toImage().convertToFormat(QImage.Format.Format_RGBA8888)
    data = np.frombuffer(image.constBits().asstring(image.sizeInBytes()), np.uint8)
    pixels = data.reshape(image.height(), -1, 4)[:, : image.width()].reshape(-1, 4)
    assert (pixels[:, 3] == 255).all()
    colours, counts = np.unique(pixels[:, :3], axis=0, return_counts=True)
    return contrast(colours / 255, colours[counts.argmax()] / 255).max()


def plotted_contrast(colour, figure):
    """Of a colour of matplotlib's that may let the background through."""
    *colour, alpha = to_rgba(colour)
    background = np.array(to_rgba(figure.get_facecolor())[:3])
    return contrast(alpha * np.array(colour) + (1 - alpha) * background, background)


def labels(widget):
    """Every text of a window, whether there is something to say or not."""
    for label in getattr(widget, "native", widget).findChildren(QLabel):
        label.setText(label.text() or "Something may be said here, <b>or stand out</b>.")
        label.setFixedSize(250, 60)
        yield label


def assert_readable(figure):
    """Texts and lines of a figure stand out from its background."""
    figure.canvas.draw()
    texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    assert len(texts) >= 10
    for text in texts:
        assert plotted_contrast(text.get_color(), figure) >= TEXT, text
    for axes in figure.get_axes():
        for line in [line.get_color() for line in axes.lines]:
            assert plotted_contrast(line, figure) >= GRAPHICS
        for spine in axes.spines.values():
            assert plotted_contrast(spine.get_edgecolor(), figure) >= GRAPHICS
        for points in axes.collections:
            for colour in points.get_facecolors():
                assert plotted_contrast(colour, figure) >= GRAPHICS


def test_the_measure_is_that_of_wcag(qtbot):
    assert contrast((0, 0, 0), (1, 1, 1)) == pytest.approx(21)
    # The lightest gray that is allowed on white, and the next.
    assert contrast((118 / 255,) * 3, (1, 1, 1)) > TEXT > contrast((119 / 255,) * 3, (1, 1, 1))
    for gray, is_readable in (("#767676", True), ("#808080", False)):
        label = QLabel("Texts are drawn in many grays.")
        qtbot.addWidget(label)
        label.setStyleSheet(f"background: white; color: {gray};")
        assert (drawn_contrast(label) >= TEXT) == is_readable


@pytest.mark.window
def test_what_the_windows_say_can_be_read(viewer, dock, theme, noisy):
    viewer.theme = theme
    viewer.add_image(noisy)
    for name in WIDGETS:
        found = list(labels(dock(name)))
        assert found, name
        for label in found:
            assert drawn_contrast(label) >= TEXT, (name, label.text())


@pytest.mark.window
def test_chosen_layers_can_be_read(viewer, dock, theme, noisy):
    viewer.theme = theme
    layer = viewer.add_image(noisy)
    widget = dock("Fine-tune")
    widget.controls.images.value = [layer]
    images = widget.controls.images.native
    box = images.visualItemRect(images.item(0))
    images.resize(box.width() + 4, box.height() + 4)  # little but what is chosen
    assert drawn_contrast(images.viewport()) >= TEXT


def test_what_has_the_focus_can_be_seen(theme):
    frame = re.search("#[0-9a-f]{6}", FOCUS_STYLE)[0]
    background = to_rgba(str(get_theme(theme).background))[:3]
    assert contrast(to_rgba(frame)[:3], background) >= GRAPHICS


def test_the_plot_of_the_noise_can_be_read(qtbot, theme, noisy):
    plot = NoisePlot()
    qtbot.addWidget(plot)
    plot.set_theme(theme)
    levels = nr.noise_levels(noisy * 1000.0)
    model = levels.fit()
    for factor, colour in ((1, BLUE), (9, ORANGE)):  # points on the line, and far off
        plot.show_noise(levels, nr.NoiseModel(factor * model.gain, model.offset, model.read_noise))
        drawn = plot._curve.figure.axes[0].collections[0].get_facecolors()
        assert to_rgba(colour) in [tuple(one) for one in drawn]
        assert_readable(plot._curve.figure)


def test_the_plots_of_a_fine_tuning_can_be_read(qtbot, theme, noisy):
    image = noisy.astype(np.float32)
    plots = _Plots(HeldOutPart(image, image, image, image))
    qtbot.addWidget(plots.canvas)
    plots.set_theme(theme)
    for axes in plots._axes:
        axes.set_ylim(0, 1e6)
    assert_readable(plots.figure)
