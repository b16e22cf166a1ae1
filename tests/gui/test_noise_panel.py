"""The noise controls: the plot, typing, where noise is measured."""

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication
from skimage import data

import napari_rednet as nr
from napari_rednet.noise import NoiseLevels
from napari_rednet.widgets.restore.noise_panel import describe_fit

LONG = 60_000
TRUTH = nr.NoiseModel(gain=20, offset=100, read_noise=20)
NARROW = 320


@pytest.fixture
def open_plot(dock, qtbot):
    """Dock Denoise, press Plot, wait for what is measured."""

    def open_it(**chosen):
        widget = dock()
        if "layer" in chosen:
            widget.common.image.value = chosen["layer"]
        widget.noise.panel.button.native.click()
        until_measured(qtbot, widget)
        return widget

    return open_it


@pytest.fixture
def halves():
    """Noise of 10 on the left half and of 40 on the right one."""
    clean = data.moon()[:200, :240]
    deviation = np.where(np.arange(240) < 120, 10, 40)
    return clean + np.random.default_rng(0).normal(0, 1, clean.shape) * deviation


def until_measured(qtbot, widget):
    qtbot.waitUntil(lambda: widget.noise.has_levels and not widget.is_running, timeout=LONG)


def choose_place(qtbot, widget, label):
    """As users do; the labels are those that they see."""
    box = widget.noise.place.native
    assert box.findText(label) >= 0
    box.setCurrentIndex(box.findText(label))
    assert not widget.noise.has_levels
    until_measured(qtbot, widget)


def line_of(model, plot):
    return model.variance(plot.line[:, 0])


def values(widget):
    return {name: field.value for name, field in widget.noise.fields.items()}


def type_in(qtbot, widget, name, text):
    """Replace what a field holds, key by key."""
    native = widget.noise.fields[name].native
    native.selectAll()
    qtbot.keyClicks(native, text)


# The plot ------------------------------------------------------------------------------------


def test_the_plot_shows_what_is_measured_and_its_fit(viewer, open_plot, noisy):
    viewer.add_image(noisy)
    plot = open_plot().noise.panel.plot
    levels = nr.noise_levels(noisy)
    np.testing.assert_allclose(plot.points, np.stack([levels.signal, levels.variance], axis=1))
    np.testing.assert_allclose(plot.line[:, 1], line_of(nr.estimate_noise(noisy), plot))
    signal = plot.points[:, 0]
    assert plot.line[0, 0] < signal.min() < signal.max() < plot.line[-1, 0]
    bright = plot.points[signal > 500]
    np.testing.assert_allclose(np.sqrt(bright[:, 1]), TRUTH.std(bright[:, 0]), rtol=0.25)


def test_it_is_closed_at_first_and_needs_no_matplotlib(make_napari_viewer, qtbot, noisy):
    viewer = make_napari_viewer(show=True)
    viewer.add_image(noisy)
    _, widget = viewer.window.add_plugin_dock_widget("napari-rednet", "Denoise")
    noise = widget.noise
    qtbot.waitUntil(lambda: widget.run.visible)
    height = widget.native.minimumSizeHint().height()
    assert not noise.panel.box.visible
    assert not noise.place.visible
    assert not noise.panel.plot.children()[1:]  # nothing but its layout
    qtbot.mouseClick(noise.panel.button.native, Qt.MouseButton.LeftButton)
    until_measured(qtbot, widget)
    assert noise.panel.box.visible
    assert noise.place.visible
    assert noise.panel.plot.width() > 0.9 * widget.controls.native.width()
    assert widget.native.minimumSizeHint().width() <= NARROW
    qtbot.keyClick(noise.panel.button.native, Qt.Key.Key_Space)
    assert not noise.panel.box.visible
    qtbot.waitUntil(lambda: widget.native.minimumSizeHint().height() == height, timeout=LONG)


def test_what_a_run_estimates_is_plotted(viewer, dock, run, noisy):
    viewer.add_image(noisy)
    widget = dock()
    run(widget)
    widget.noise.panel.button.native.click()
    assert not widget.is_running
    plot = widget.noise.panel.plot
    np.testing.assert_allclose(plot.line[:, 1], line_of(nr.estimate_noise(noisy), plot))


def test_a_channel_has_its_own_levels_and_line(viewer, open_plot, noisy_colours):
    widget = open_plot(layer=viewer.add_image(noisy_colours, rgb=True))
    plot = widget.noise.panel.plot
    levels = nr.noise_levels(noisy_colours, channel_axis=-1)
    for channel, one in zip(("red", "green", "blue"), levels, strict=True):
        widget.noise.channel.value = channel
        np.testing.assert_allclose(plot.points[:, 1], one.variance)
        np.testing.assert_allclose(plot.line[:, 1], line_of(one.fit(), plot))


def test_another_layer_is_measured_while_the_plot_is_open(viewer, open_plot, qtbot, noisy):
    first, second = viewer.add_image(noisy), viewer.add_image(noisy / 10)
    widget = open_plot(layer=first)
    widget.common.image.value = second
    assert not len(widget.noise.panel.plot.points)
    until_measured(qtbot, widget)
    plot = widget.noise.panel.plot
    np.testing.assert_allclose(plot.points[:, 0], nr.noise_levels(noisy / 10).signal)


def test_levels_of_another_layer_are_not_shown(viewer, dock, wait, noisy, noisy_colours):
    """Which was chosen while they were measured."""
    gray, colours = viewer.add_image(noisy), viewer.add_image(noisy_colours, rgb=True)
    widget = dock()
    widget.common.image.value = gray
    widget.noise.estimate.native.click()
    widget.common.image.value = colours
    wait(widget)
    assert not widget.noise.has_levels
    assert set(values(widget).values()) == {""}


def test_another_place_is_measured_though_one_is_being_measured(viewer, dock, qtbot, halves):
    viewer.add_image(np.stack([halves, 3 * halves]))
    viewer.dims.set_point(0, 1)
    widget = dock()
    widget.noise.panel.button.native.click()
    assert widget.is_running
    choose_place(qtbot, widget, "shown plane")
    assert widget.noise.shown_models() == [nr.estimate_noise(3 * halves)]


def test_the_plot_follows_the_theme(viewer, open_plot, noisy):
    viewer.add_image(noisy)
    viewer.theme = "dark"
    figure = open_plot().noise.panel.plot._curve.figure
    dark = figure.get_facecolor(), figure.axes[0].lines[0].get_color()
    viewer.theme = "light"
    light = figure.get_facecolor(), figure.axes[0].lines[0].get_color()
    assert np.mean(dark[0][:3]) < 0.3
    assert np.mean(light[0][:3]) > 0.7
    assert dark[1] != light[1]


# Typing --------------------------------------------------------------------------------------


def test_typing_moves_the_line_and_chooses_manual(viewer, open_plot, qtbot, noisy):
    viewer.add_image(noisy)
    widget = open_plot()
    plot, found = widget.noise.panel.plot, nr.estimate_noise(noisy)
    points = plot.points
    type_in(qtbot, widget, "gain", "55.5")
    assert widget.noise.mode.value == "manual"
    typed = nr.NoiseModel(55.5, found.offset, found.read_noise)
    assert widget.noise.models() == [typed]
    np.testing.assert_allclose(plot.line[:, 1], line_of(typed, plot))
    np.testing.assert_array_equal(plot.points, points)
    assert "less noise than the line says" in widget.noise.panel.words.value


def test_the_cursor_stays_where_users_type(viewer, dock, qtbot, noisy):
    viewer.add_image(noisy)
    native = dock().noise.fields["offset"].native
    qtbot.keyClicks(native, "15")
    native.setCursorPosition(1)
    qtbot.keyClicks(native, "23")
    assert native.text() == "1235"


def test_what_is_no_number_takes_the_line_away_and_is_explained(viewer, open_plot, qtbot, noisy):
    viewer.add_image(noisy)
    widget = open_plot()
    type_in(qtbot, widget, "read_noise", "much")
    assert not len(widget.noise.panel.plot.line)
    assert "Read noise must be a number, got 'much'" in widget.noise.panel.words.value
    type_in(qtbot, widget, "read_noise", "-3")
    assert "read_noise must not be negative" in widget.noise.panel.words.value
    type_in(qtbot, widget, "read_noise", "3")
    assert len(widget.noise.panel.plot.line)


def test_automatic_shows_the_estimate_and_manual_what_was_typed(viewer, dock, wait, qtbot, noisy):
    viewer.add_image(noisy)
    widget = dock()
    widget.noise.estimate.native.click()
    wait(widget)
    estimated = values(widget)
    type_in(qtbot, widget, "gain", "7")
    typed = values(widget)
    widget.noise.mode.value = "automatic"
    assert values(widget) == estimated
    assert widget.noise.models() is None
    widget.noise.mode.value = "manual"
    assert values(widget) == typed
    widget.noise.estimate.native.click()
    wait(widget)
    assert values(widget) == estimated
    assert widget.noise.models() == [nr.estimate_noise(noisy)]


def test_the_plot_leaves_typed_noise_alone(viewer, dock, qtbot, noisy):
    viewer.add_image(noisy)
    widget = dock()
    type_in(qtbot, widget, "read_noise", "40")
    widget.noise.panel.button.native.click()
    until_measured(qtbot, widget)
    assert widget.noise.models() == [nr.NoiseModel(read_noise=40)]
    np.testing.assert_allclose(widget.noise.panel.plot.line[:, 1], 1600)


def test_noise_that_is_missing_in_a_channel_is_asked_for(
    viewer, dock, run, qtbot, notifications, noisy_colours
):
    viewer.add_image(noisy_colours, rgb=True)
    widget = dock()
    type_in(qtbot, widget, "read_noise", "10")
    run(widget)
    assert any("Read noise of green must be a number" in text for text in notifications())


def test_the_noise_is_copied_as_text(viewer, dock, wait, notifications, noisy, noisy_colours):
    viewer.add_image(noisy)
    widget = dock()
    widget.noise.panel.copy.native.click()
    assert "press Estimate noise" in notifications()[-1]
    for image, axis in ((noisy, None), (noisy_colours, -1)):
        widget.common.image.value = viewer.add_image(image, rgb=axis is not None)
        widget.noise.estimate.native.click()
        wait(widget)
        widget.noise.panel.copy.native.click()
        copied = eval(QApplication.clipboard().text(), {"NoiseModel": nr.NoiseModel})
        assert copied == nr.estimate_noise(image, channel_axis=axis)


# Where it is measured ------------------------------------------------------------------------


SHAPES = {
    "rectangle": [[20, 130], [20, 230], [180, 230], [180, 130]],
    "ellipse": [[20, 130], [20, 230], [180, 230], [180, 130]],
    "polygon": [[20, 130], [90, 235], [190, 225], [150, 135]],
}


@pytest.mark.parametrize("kind", SHAPES)
def test_noise_is_measured_in_shapes(viewer, open_plot, qtbot, run, halves, kind):
    """However image and shapes are placed: what is seen is measured."""
    image = viewer.add_image(halves, scale=(0.5, 0.5), translate=(30, -20))
    corners = np.array(SHAPES[kind]) * 0.5 + (30, -20)  # in the world
    viewer.add_shapes((corners - 10) / 2, shape_type=kind, scale=(2, 2), translate=(10, 10))
    widget = open_plot(layer=image)
    whole = nr.estimate_noise(halves)
    assert widget.noise.shown_models() == [whole]
    choose_place(qtbot, widget, "Shapes")
    (found,) = widget.noise.shown_models()
    assert found.std(110.0) == pytest.approx(40, rel=0.15)
    assert found.std(110.0) > 1.2 * whole.std(110.0)
    run(widget)
    assert viewer.layers[-1].metadata["napari_rednet"]["noise"] == [vars(found)]


def test_the_shown_plane_alone_is_measured(viewer, open_plot, qtbot, halves):
    stack = np.stack([halves, 3 * halves, 9 * halves])
    image = viewer.add_image(stack, scale=(5, 1, 1))
    widget = open_plot(layer=image)
    viewer.dims.set_point(0, 5)
    choose_place(qtbot, widget, "shown plane")
    assert widget.noise.shown_models() == [nr.estimate_noise(stack[1])]
    viewer.dims.set_point(0, 10)
    viewer.add_shapes([SHAPES["rectangle"]], shape_type="rectangle", name="cells")
    choose_place(qtbot, widget, "cells, shown plane")
    assert widget.noise.shown_models()[0].std(990.0) == pytest.approx(9 * 40, rel=0.15)
    region = np.zeros(halves.shape, bool)
    region[20:181, 130:231] = True
    choose_place(qtbot, widget, "cells")
    assert widget.noise.shown_models()[0].std(330.0) == pytest.approx(
        nr.estimate_noise(stack, region=region).std(330.0), rel=0.05
    )


def test_a_region_that_is_gone_gives_way_to_the_whole_layer(viewer, open_plot, qtbot, halves):
    image = viewer.add_image(halves)
    shapes = viewer.add_shapes([SHAPES["polygon"]], shape_type="polygon")
    widget = open_plot(layer=image)
    choose_place(qtbot, widget, "Shapes")
    widget.noise.panel.button.native.click()  # closed
    viewer.layers.remove(shapes)
    assert widget.noise.place.current_choice == "whole layer"
    assert not widget.noise.has_levels
    assert set(values(widget).values()) == {""}


def test_regions_that_cannot_be_used_are_explained(viewer, dock, run, notifications, halves):
    image = viewer.add_image(halves)
    viewer.add_shapes(name="empty")
    viewer.add_shapes([[[5, 5], [5, 9], [9, 9], [9, 5]]], name="tiny")
    widget = dock()
    widget.common.image.value = image
    widget.noise.place.native.setCurrentText("empty")
    run(widget)
    assert "nothing is drawn on the image in the layer 'empty', where noise" in notifications()[-1]
    widget.noise.place.native.setCurrentText("tiny")
    run(widget)
    assert any("region has too few pixels" in text for text in notifications())
    assert len(viewer.layers) == 3


# Words ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def measured():
    """Levels of a gain of 4 over a black level of 100."""
    rng = np.random.default_rng(0)
    return nr.noise_levels(
        100 + 4.0 * rng.poisson(data.camera() / 4) + rng.normal(0, 5, (512, 512))
    )


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (nr.NoiseModel(4, 100, 5), "Good fit"),
        (nr.NoiseModel(5.5, 100, 6), "Fair fit"),
        (nr.NoiseModel(16, 100, 10), "less noise than the line says, which smooths too much"),
        (nr.NoiseModel(1, 100, 3), "more noise than the line says, which smooths too little"),
        (nr.NoiseModel(0, 0, 20), "off the line on average"),
        (nr.NoiseModel(), "there is noise where the line is at 0"),
    ],
)
def test_the_fit_is_told_in_words(measured, model, words):
    assert words in describe_fit(measured, model)


def test_doubts_are_told_in_words(measured):
    fit = measured.fit()
    assert "uncertain" not in describe_fit(measured, fit)
    region = np.zeros((512, 512), bool)
    region[20:100, 20:120] = True
    sky = 100 + 4.0 * np.random.default_rng(1).poisson(np.full((512, 512), 40))
    bland = nr.noise_levels(sky, region=region)
    assert "gain is uncertain" in describe_fit(bland, bland.fit())
    clipped = NoiseLevels(measured.signal, measured.variance, measured.count, 100.0, 0.12)
    assert "12% of the pixels are saturated" in describe_fit(clipped, fit)
    few = NoiseLevels(*(a[::12] for a in (measured.signal, measured.variance, measured.count)), 0)
    assert "few levels" in describe_fit(few, fit)
    far = measured.variance * np.where(np.arange(len(measured.variance)) == 10, 3, 1)
    outlier = NoiseLevels(measured.signal, far, measured.count, 100.0)
    assert f"1 of {len(far)} levels" in describe_fit(outlier, nr.NoiseModel(4, 100, 5))
    for image, words in ((np.full((99, 99), 255), "saturated?"), (np.zeros((3, 3)), "Too few")):
        levels = nr.noise_levels(image)
        assert words in describe_fit(levels, levels.fit())


@pytest.mark.parametrize(
    ("value", "text"),
    [(1004.3, "1004"), (100.34, "100"), (20.613, "20.6"), (0.012345, "0.0123"), (0.0, "0")],
)
def test_no_more_digits_are_shown_than_are_known(viewer, dock, value, text):
    noise = dock("Denoise").noise
    noise.show([nr.NoiseModel(gain=value, read_noise=1.0)])
    assert noise.fields["gain"].value == text
    assert noise.shown_models()[0].gain == value


@pytest.mark.window
def test_what_the_preview_measured_is_shown(viewer, dock, qtbot, noisy):
    pair = np.stack([noisy, noisy // 4])
    viewer.add_image(pair, axis_labels=("c", "y", "x"))
    widget = dock()
    widget.preview.toggle.value = True
    qtbot.waitUntil(lambda: not widget.preview.is_busy, timeout=LONG)
    expected = nr.estimate_noise(pair, channel_axis=0)
    for channel, found in zip(("channel 0", "channel 1"), expected, strict=True):
        widget.noise.channel.value = channel
        shown = {name: float(value) for name, value in values(widget).items()}
        assert shown == pytest.approx(vars(found), rel=5e-3)
    assert widget.noise.mode.value == "automatic"
    assert not widget.noise.has_levels


def test_what_is_typed_is_not_replaced_by_what_the_preview_measures(viewer, dock, qtbot, noisy):
    viewer.add_image(noisy)
    widget = dock()
    widget.noise.fields["read_noise"].value = "33"
    before = values(widget)
    widget.preview.toggle.value = True
    qtbot.waitUntil(lambda: not widget.preview.is_busy, timeout=LONG)
    assert values(widget) == before


@pytest.mark.window
def test_the_panel_says_that_it_measures(viewer, dock, wait, qtbot, noisy):
    viewer.add_image(noisy)
    widget = dock()
    widget.noise.panel.button.native.click()
    qtbot.waitUntil(lambda: widget.is_running, timeout=LONG)  # opening it measures
    assert widget.noise.panel.words.value == "Measuring…"
    widget.cancel.native.click()
    assert "Nothing is measured" in widget.noise.panel.words.value
    widget.run.native.click()
    assert widget.noise.panel.words.value == "Measuring…"
    wait(widget)
    assert "fit" in widget.noise.panel.words.value


@pytest.mark.parametrize(
    ("grain", "words"),
    [((0, 0), ""), ((1, 1), "Neighbouring pixels"), ((0, 1), "in a row"), ((1, 0), "in a column")],
)
def test_grain_is_put_in_words(grain, words):
    noisy = 100 + np.random.default_rng(0).normal(0, 5, (200, 200))
    levels = nr.noise_levels(noisy)
    told = describe_fit(levels, nr.NoiseModel(0, 0, 5, *grain))
    assert ("share noise" in told) == bool(words)
    assert words in told


@pytest.mark.window
def test_nothing_moves_under_the_mouse(viewer, dock, qtbot, wait, noisy):
    """Neither while noise is measured, nor for what is told of previews and runs."""
    viewer.window._qt_window.resize(1366, 768)
    viewer.window._qt_window.show()
    viewer.add_image(noisy)
    widget = dock()
    qtbot.waitUntil(lambda: widget.status.value.startswith("Takes"), timeout=LONG)
    buttons = [widget.run, widget.cancel, widget.preview.toggle, widget.noise.panel.button]

    def places():
        qtbot.wait(50)
        for _ in range(10):  # one layout asks for the next, also on a machine that is busy
            QApplication.processEvents()
        return [b.native.mapTo(widget.native, b.native.rect().topLeft()).y() for b in buttons]

    before = places()
    widget.preview.toggle.native.click()
    assert places() == before
    qtbot.waitUntil(lambda: not widget.preview.is_busy, timeout=LONG)
    assert places() == before
    widget.run.native.click()
    assert places() == before
    wait(widget)
    assert places() == before
    widget.noise.panel.button.native.click()
    buttons.append(widget.noise.panel.copy)
    while_measuring = places()
    qtbot.waitUntil(lambda: widget.noise.has_levels, timeout=LONG)
    assert places() == while_measuring
    # What was asked for is in sight.
    for part in (widget.noise.panel.plot, widget.noise.panel.copy.native):
        assert part.visibleRegion().boundingRect().size() == part.size()
