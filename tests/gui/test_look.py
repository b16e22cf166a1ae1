"""What the widget looks like and how it opens."""

from itertools import permutations

import numpy as np
import pytest
from magicgui.widgets import Container
from napari._qt.qt_resources import get_stylesheet
from npe2 import PluginManifest
from qtpy.QtCore import QPoint
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QLabel,
    QLineEdit,
    QScrollArea,
    QTableView,
    QWidget,
)

from napari_rednet.widgets.shared.controls import FROM_FILE

NARROW = 320
LARGE = 14
WIDGETS = ["Denoise", "Deblur", "Super-resolve", "Deblock", "Inpaint"]
MANAGING = ["Compare", "Models", "Fine-tune", "Batch"]


def all_controls(widget):
    """Controls of a widget, those that scroll and those in rows of buttons included."""
    for control in [*getattr(widget, "controls", ()), *widget]:
        yield from all_controls(control) if isinstance(control, Container) else [control]


def test_the_widgets_are_in_the_menus():
    manifest = PluginManifest.from_distribution("napari-rednet")
    assert [w.display_name for w in manifest.contributions.widgets] == [*WIDGETS, *MANAGING]
    titles = [f"{w.display_name} ({manifest.display_name})" for w in manifest.contributions.widgets]
    assert max(map(len, titles)) < 25  # as docks and tabs are narrow
    items = manifest.contributions.menus["napari/layers/filter"]
    commands = [widget.command for widget in manifest.contributions.widgets]
    assert [item.command for item in items] == commands[: len(WIDGETS)]


@pytest.mark.slow
def test_all_fit_a_narrow_dock_in_a_large_font(make_napari_viewer, qtbot):
    viewer = make_napari_viewer(show=True)
    set_font_size(viewer, LARGE)
    viewer.add_image(np.zeros((32, 32, 3), np.uint8), rgb=True, name="a very long name " * 5)
    viewer.add_labels(np.zeros((32, 32), np.uint8), name="another very long name " * 5)
    layers = [viewer.add_image(np.zeros((2, 32, 32)), name="long name " * 9) for _ in range(3)]
    for name in [*WIDGETS, *MANAGING]:
        viewer.layers.selection.active = layers[0]
        _, widget = viewer.window.add_plugin_dock_widget("napari-rednet", name)
        viewer.layers.selection = set(layers)
        window = widget if isinstance(widget, QWidget) else widget.native
        qtbot.waitUntil(window.isVisible)
        if window is not widget:
            for control in all_controls(widget):
                control.visible = True
        assert window.minimumSizeHint().width() <= NARROW, name
        viewer.window.remove_dock_widget(window)


def set_font_size(viewer, points):
    font = {"font_size": f"{points}pt"}
    viewer.window._qt_window.setStyleSheet(get_stylesheet("dark", extra_variables=font))


def test_fields_and_tables_have_the_size_of_labels(make_napari_viewer, qtbot):
    viewer = make_napari_viewer(show=True)
    for name in ("Denoise", "Models", "Fine-tune", "Batch"):
        set_font_size(viewer, LARGE)
        _, widget = viewer.window.add_plugin_dock_widget("napari-rednet", name)
        window = getattr(widget, "native", widget)
        qtbot.waitUntil(window.isVisible)
        texts = [*window.findChildren(QLineEdit), *window.findChildren(QTableView)]
        texts = [text for text in texts if not isinstance(text.parent(), QAbstractSpinBox)]
        texts += [table.horizontalHeader() for table in window.findChildren(QTableView)]
        assert texts, name
        for points in (LARGE, LARGE - 4):
            set_font_size(viewer, points)
            expected = window.findChild(QLabel).font().pointSize()
            assert expected > points, name
            assert {text.font().pointSize() for text in texts} == {expected}, name
        viewer.window.remove_dock_widget(window)


def test_fields_are_aligned(make_napari_viewer, qtbot):
    viewer = make_napari_viewer(show=True)
    _, widget = viewer.window.add_plugin_dock_widget("napari-rednet", "Denoise")
    fields = [widget.common.image, widget.common.device, widget.option["strength"]]
    fields += widget.noise.fields.values()  # one of which has the longest label
    for points in (LARGE - 5, LARGE):
        set_font_size(viewer, points)
        qtbot.waitUntil(widget.native.isVisible)
        qtbot.wait(100)
        lefts = {field.native.mapTo(widget.native, QPoint()).x() for field in fields}
        assert len(lefts) == 1, points


@pytest.mark.parametrize("task", ["denoise", "deblur", "inpaint"])
def test_fields_of_a_batch_are_aligned(make_napari_viewer, qtbot, task):
    viewer = make_napari_viewer(show=True)
    _, widget = viewer.window.add_plugin_dock_widget("napari-rednet", "Batch")
    widget.controls.task.value = task
    for points in (LARGE - 5, LARGE):
        set_font_size(viewer, points)
        qtbot.waitUntil(widget.isVisible)
        qtbot.wait(100)
        fields = [one.native for one in widget.controls if one.native.isVisible()]
        fields = [one for one in fields if not isinstance(one, QAbstractButton)]
        assert len(fields) >= 10
        assert len({field.mapTo(widget, QPoint()).x() for field in fields}) == 1, points


def test_the_status_of_a_file_has_room_in_a_large_font(make_napari_viewer, qtbot):
    viewer = make_napari_viewer(show=True)
    _, widget = viewer.window.add_plugin_dock_widget("napari-rednet", "Batch")
    qtbot.waitUntil(widget.isVisible)
    set_font_size(viewer, LARGE)
    table = widget.table
    assert table.columnWidth(1) > table.fontMetrics().horizontalAdvance("running 100 %")
    assert table.verticalHeader().defaultSectionSize() > table.fontMetrics().height()


def test_there_is_no_gap_where_nothing_is_said_yet(make_napari_viewer, qtbot):
    viewer = make_napari_viewer(show=True)
    for name in ("Batch", "Fine-tune"):
        _, widget = viewer.window.add_plugin_dock_widget("napari-rednet", name)
        qtbot.waitUntil(widget.isVisible)
        above = widget.run_button if name == "Batch" else widget.stop_button
        below = widget.table if name == "Batch" else widget.result
        gap = below.geometry().top() - above.geometry().bottom() - 1
        assert 0 <= gap <= 2 * widget.layout().spacing(), name  # less than a line
        viewer.window.remove_dock_widget(widget)


def test_sentences_stay_beside_what_they_are_about_in_a_high_window(laptop, qtbot):
    laptop.layers.clear()
    _, widget = laptop.window.add_plugin_dock_widget("napari-rednet", "Fine-tune")
    laptop.window.resize(1000, 1000)
    qtbot.waitUntil(lambda: widget.height() > 800)
    lines = widget.way.fontMetrics().lineSpacing()
    for sentence in (widget.hint.text, widget.way):
        assert sentence.height() < 4 * lines, sentence.text()


@pytest.mark.parametrize("name", WIDGETS)
def test_every_control_explains_itself(dock, name):
    controls = list(all_controls(dock(name)))
    assert len(controls) >= 8
    assert [control.name or control.text for control in controls if not control.tooltip] == []


def test_fields_that_do_not_matter_are_hidden(make_napari_viewer, qtbot, noisy):
    viewer = make_napari_viewer(show=True)
    viewer.add_image(noisy)
    _, widget = viewer.window.add_plugin_dock_widget("napari-rednet", "Denoise")
    sometimes = [widget.common.model_file, widget.noise.channel, widget.progress]
    qtbot.waitUntil(lambda: widget.run.visible)
    assert not any(control.visible for control in sometimes)
    widget.common.model.value = FROM_FILE
    assert widget.common.model_file.visible
    colours = viewer.add_image(np.zeros((32, 32, 3), np.uint8), rgb=True)
    widget.common.image.value = colours
    assert widget.noise.channel.visible


SCREEN = (1366, 768)


@pytest.fixture
def laptop(make_napari_viewer, noisy):
    """A viewer as high as the screens of small laptops."""
    viewer = make_napari_viewer(show=True)
    viewer.window._qt_window.resize(*SCREEN)
    viewer.add_image(np.stack([noisy, noisy]))
    return viewer


def open_with_plot(viewer, name):
    dock, widget = viewer.window.add_plugin_dock_widget("napari-rednet", name)
    if hasattr(widget, "noise") and not widget.noise.panel.is_open:
        widget.noise.panel.button.native.click()
    return dock


@pytest.mark.parametrize("size", [9, pytest.param(LARGE, marks=pytest.mark.slow)])
def test_all_windows_together_are_no_higher_than_a_small_screen(laptop, qtbot, size):
    set_font_size(laptop, size)
    for name in [*WIDGETS, *MANAGING]:
        open_with_plot(laptop, name)
        qtbot.wait(100)
        window = laptop.window._qt_window
        assert max(window.height(), window.minimumSizeHint().height()) <= SCREEN[1], name


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("size", [9, LARGE])
def test_no_two_windows_are_higher_than_a_small_screen(laptop, qtbot, size, theme):
    laptop.theme = theme
    set_font_size(laptop, size)
    for pair in permutations([*WIDGETS, *MANAGING], 2):
        docks = [open_with_plot(laptop, name) for name in pair]
        qtbot.wait(50)
        window = laptop.window._qt_window
        assert max(window.height(), window.minimumSizeHint().height()) <= SCREEN[1], pair
        for dock in docks:
            laptop.window.remove_dock_widget(dock)


def test_controls_take_the_room_of_a_high_window(laptop, qtbot):
    window = laptop.window._qt_window
    heights = []
    for height in (768, 1000):
        window.resize(1366, height)
        dock = open_with_plot(laptop, "Denoise")
        area = dock.findChild(QScrollArea)
        qtbot.waitUntil(lambda area=area: area.height() > 300)
        qtbot.wait(200)
        heights.append(area.height())
        assert window.height() == height
        # Nothing is left over while there is more to see.
        assert area.verticalScrollBar().maximum() == 0 or area.height() > height - 320
    assert heights[1] > heights[0] + 150
