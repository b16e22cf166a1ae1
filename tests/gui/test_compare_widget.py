"""The Compare widget: before and after, seen in three ways, and put back."""

import dask.array as da
import numpy as np
import pytest
from napari.layers import Image
from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_rednet.widgets.compare.show import BESIDE, BLINK, SPLIT
from napari_rednet.widgets.shared.layers import image_layers

DARK, BRIGHT = 20, 220
MOVE = QEvent.Type.MouseMove
PRESS, RELEASE = QEvent.Type.MouseButtonPress, QEvent.Type.MouseButtonRelease
NO_BUTTON, LEFT = Qt.MouseButton.NoButton, Qt.MouseButton.LeftButton


def add_pair(viewer, before, after, **options):
    """A layer and what looks like a result of ours; dark and bright, so that they can be told."""
    for name, data, more in (
        ("noisy", before, {}),
        ("noisy denoised", after, {"metadata": {"napari_rednet": {"source": "noisy"}}}),
    ):
        viewer.add_image(data, name=name, contrast_limits=(0, 255), **options, **more)
    return viewer.layers["noisy"], viewer.layers["noisy denoised"]


def plain(value, shape=(64, 80)):
    return np.full(shape, value, np.uint8)


@pytest.fixture
def shown(make_napari_viewer):
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(900, 600)
    return viewer


@pytest.fixture
def compare(shown):
    def dock():
        return shown.window.add_plugin_dock_widget("napari-rednet", "Compare")[1]

    return dock


def press(widget, way):
    widget.show_as.buttons[way].click()


def send_mouse(canvas, kind, x, held=NO_BUTTON):
    """A mouse event, which says of a move that a button is held; qtbot's does not."""
    place, button = QPointF(x, 100), NO_BUTTON if kind == MOVE else LEFT
    event = QMouseEvent(kind, place, place, button, held, Qt.KeyboardModifier.NoModifier)
    QApplication.sendEvent(canvas, event)
    QTest.qWait(30)  # vispy drops moves that follow too soon


def drawn(viewer, qtbot):
    """Brightness of the middle row of the canvas."""
    qtbot.wait(100)
    picture = viewer.screenshot(canvas_only=True, flash=False)
    return picture[picture.shape[0] // 2, :, :3].mean(axis=-1)


def state(viewer):
    layers = [(layer.name, layer.visible, layer.opacity) for layer in viewer.layers]
    grid = viewer.canvas.grid
    settings = (grid.enabled, grid.stride, grid.shape)
    names = [layer.name_overlay.visible for layer in viewer.layers]
    overlays = set(viewer.canvas.overlays)
    return layers, settings, names, overlays, set(viewer.layers.selection), viewer.cursor.style


def test_a_result_is_paired_with_its_source(viewer, dock):
    viewer.add_image(plain(0), name="other")
    before, after = add_pair(viewer, plain(DARK), plain(BRIGHT))
    viewer.add_image(plain(1), name="another")
    widget = dock("Compare")
    assert widget.pair.pair == (before, after)
    widget.pair.before.value = viewer.layers["other"]
    widget.pair.after.value = viewer.layers["another"]
    assert widget.pair.pair == (viewer.layers["other"], viewer.layers["another"])
    widget.pair.after.value = after
    assert widget.pair.pair == (before, after)
    widget.pair.swap.native.click()
    assert widget.pair.pair == (after, before)


def test_a_new_result_is_chosen_unless_a_pair_is_being_watched(viewer, dock):
    widget = dock("Compare")
    assert widget.pair.pair is None
    pair = add_pair(viewer, plain(DARK), plain(BRIGHT))
    assert widget.pair.pair == pair
    press(widget, BLINK)
    record = {"napari_rednet": {"source": "noisy"}}
    latest = viewer.add_image(plain(3), name="again", metadata=record)
    assert widget.pair.pair == pair
    press(widget, BLINK)
    viewer.add_image(plain(4), name="once more", metadata=record)
    assert widget.pair.pair == (pair[0], viewer.layers["once more"])
    assert latest in widget.pair.after.choices


def add_kind(viewer, kind):
    """A pair of a kind of layers."""
    shape = {
        "stack": (3, 64, 80),
        "rolled": (40, 64, 80),
        "colours": (64, 80, 3),
        "lazy pyramid": (512, 640),
    }
    before, after = (plain(v, shape.get(kind, (64, 80))) for v in (DARK, BRIGHT))
    options = {
        "colours": {"rgb": True},
        "additive": {"blending": "additive", "opacity": 0.5},
        "turned": {"rotate": 90, "scale": (0.5, 0.5), "translate": (3, -4)},
    }.get(kind, {})
    if kind == "lazy pyramid":
        before, after = (
            [da.from_array(v[::s, ::s], chunks=64) for s in (1, 2, 4)] for v in (before, after)
        )
    _, result = add_pair(viewer, before, after, **options)
    if kind == "enlarged":
        result.data, result.scale = plain(BRIGHT, (128, 160)), (0.5, 0.5)
        result.translate = (-0.25, -0.25)


@pytest.mark.parametrize(
    "kinds",
    [
        ("stack", "colours", "turned", "enlarged"),
        pytest.param(("plain", "lazy pyramid", "additive", "rolled"), marks=pytest.mark.slow),
    ],
)
def test_left_of_the_line_is_before_right_of_it_after(shown, compare, qtbot, kinds):
    widget = compare()
    for kind in kinds:
        add_kind(shown, kind)
        if kind == "rolled":
            shown.dims.order = (2, 1, 0)
        shown.reset_view()
        press(widget, SPLIT)
        for position in (0.5, 0.4):
            widget.show_as.divider.value = position
            row = drawn(shown, qtbot)
            line = round(position * len(row))
            near = len(row) // 16  # pixels of the pyramid's coarse level are large
            left, right = row[line - 3 * near : line - near], row[line + near : line + 3 * near]
            assert np.median(left) == pytest.approx(DARK, abs=2), kind
            assert np.median(right) == pytest.approx(BRIGHT, abs=2), kind
        press(widget, SPLIT)
        shown.layers.clear()


def test_the_line_stays_while_the_image_moves_below_it(shown, compare, qtbot):
    add_pair(shown, plain(DARK), plain(BRIGHT))
    widget = compare()
    press(widget, SPLIT)
    shown.scene.camera.zoom *= 3
    shown.scene.camera.center = (20, 30)
    row = drawn(shown, qtbot)
    line = len(row) // 2
    assert np.median(row[line - 60 : line - 20]) == pytest.approx(DARK, abs=2)
    assert np.median(row[line + 20 : line + 60]) == pytest.approx(BRIGHT, abs=2)


def test_the_mouse_moves_the_line_and_not_the_image(shown, compare, qtbot):
    add_pair(shown, plain(DARK), plain(BRIGHT))
    widget = compare()
    press(widget, SPLIT)
    qtbot.wait(100)
    canvas = shown.window._qt_viewer.canvas.native
    middle, target = canvas.width() / 2, canvas.width() / 4
    center = shown.scene.camera.center
    send_mouse(canvas, MOVE, middle + 60)
    assert shown.cursor.style == "standard"
    send_mouse(canvas, MOVE, middle)
    assert shown.cursor.style == "pointing"
    send_mouse(canvas, PRESS, middle, LEFT)
    send_mouse(canvas, MOVE, (middle + target) / 2, LEFT)
    send_mouse(canvas, MOVE, target, LEFT)
    send_mouse(canvas, RELEASE, target)
    assert widget.show_as.divider.value == pytest.approx(0.25, abs=0.01)
    assert widget.show_as.view.position == pytest.approx(0.25, abs=0.01)
    assert shown.scene.camera.center == center
    row = drawn(shown, qtbot)
    assert np.median(row[round(0.3 * len(row)) : round(0.6 * len(row))]) == pytest.approx(
        BRIGHT, abs=2
    )


def test_a_plane_may_be_compared_with_a_stack_whatever_axes_are_shown(viewer, dock):
    add_pair(viewer, plain(DARK), plain(BRIGHT, (5, 64, 80)))
    widget = dock("Compare")
    press(widget, SPLIT)
    half = widget.show_as.view.layer
    assert np.isnan(half.data[()]).mean() == pytest.approx(0.5, abs=0.1)
    viewer.dims.order = (1, 2, 0)
    widget.show_as.divider.value = 0.3
    assert not np.isnan(half.data[()]).any()


def test_the_half_follows_the_contrast_of_its_layer(viewer, dock):
    before, _ = add_pair(viewer, plain(DARK), plain(BRIGHT))
    widget = dock("Compare")
    press(widget, SPLIT)
    before.contrast_limits = (0, 50)
    before.colormap = "magma"
    half = widget.show_as.view.layer
    assert list(half.contrast_limits) == [0, 50]
    assert half.colormap.name == "magma"
    assert half not in image_layers(viewer)
    press(widget, SPLIT)
    before.contrast_limits = (0, 99)
    assert list(half.contrast_limits) == [0, 50]


@pytest.mark.window
def test_blinking_shows_one_layer_at_a_time(viewer, dock, qtbot):
    before, after = add_pair(viewer, plain(DARK), plain(BRIGHT))
    widget = dock("Compare")
    widget.show_as.rate.value = 3
    press(widget, BLINK)
    seen = set()

    def both_seen():
        assert before.visible != after.visible
        seen.add(before.visible)
        assert seen == {True, False}

    qtbot.waitUntil(both_seen, timeout=60_000)
    timer = widget.show_as.view._timer
    viewer.window.remove_dock_widget(widget)
    assert not isalive(timer) or not timer.isActive()
    assert before.visible
    assert after.visible


@pytest.mark.window
def test_closing_the_viewer_ends_what_is_shown(viewer, dock, qtbot):
    add_pair(viewer, plain(DARK), plain(BRIGHT))
    widget = dock("Compare")
    press(widget, BLINK)
    timer = widget.show_as.view._timer
    viewer.close()
    qtbot.waitUntil(lambda: not isalive(timer), timeout=60_000)


def test_side_by_side_has_before_on_the_left_whatever_the_order(shown, compare, qtbot):
    before, _ = add_pair(shown, plain(DARK), plain(BRIGHT))
    shown.add_labels(np.ones((64, 80), int), name="cells")
    widget = compare()
    for _ in range(2):
        press(widget, BESIDE)
        row = drawn(shown, qtbot)
        width = len(row)
        assert np.median(row[width // 8 : 3 * width // 8]) == pytest.approx(DARK, abs=2)
        assert np.median(row[5 * width // 8 : 7 * width // 8]) == pytest.approx(BRIGHT, abs=2)
        press(widget, BESIDE)
        shown.layers.move(shown.layers.index(before), 2)
    assert shown.layers["cells"].visible


@pytest.mark.parametrize("way", [SPLIT, BLINK, BESIDE])
def test_everything_is_put_back(viewer, dock, way):
    viewer.add_image(plain(7), name="hidden", visible=False)
    viewer.add_image(plain(9), name="seen", opacity=0.7)
    add_pair(viewer, plain(DARK, (2, 64, 80)), plain(BRIGHT, (2, 64, 80)), opacity=0.9)
    viewer.layers.selection = {viewer.layers["seen"]}
    widget = dock("Compare")
    before = state(viewer)

    def start():
        press(widget, way)
        assert state(viewer)[0] != before[0]
        assert not viewer.layers["seen"].visible
        assert set(viewer.layers.selection) == {viewer.layers["seen"]}

    start()
    press(widget, way)
    assert state(viewer) == before
    start()
    for _ in range(2):
        press(widget, BLINK if way == SPLIT else SPLIT)
    assert state(viewer) == before
    start()
    viewer.dims.ndisplay = 3
    assert "3-D" in widget.show_as.hint.text()
    viewer.dims.ndisplay = 2
    assert state(viewer) == before
    start()
    viewer.layers.remove(viewer.layers["noisy denoised"])
    assert widget.show_as.way is None
    assert state(viewer)[0] == before[0][:-1]


@pytest.mark.window
def test_everything_is_put_back_when_the_dock_is_closed(viewer, dock):
    viewer.add_image(plain(9), name="seen", opacity=0.7)
    add_pair(viewer, plain(DARK), plain(BRIGHT), opacity=0.9)
    for way in (SPLIT, BLINK, BESIDE):
        widget = dock("Compare")
        before = state(viewer)
        press(widget, way)
        assert state(viewer)[0] != before[0], way
        viewer.window.remove_dock_widget(widget)
        assert state(viewer) == before, way


def test_the_residual_is_seen_instead_of_a_split(viewer, dock):
    before, _ = add_pair(viewer, plain(DARK), plain(BRIGHT))
    widget = dock("Compare")
    press(widget, SPLIT)
    widget.residual.box.click()
    assert widget.show_as.way is None
    assert widget.residual.layer.visible
    assert before.visible
    press(widget, SPLIT)
    assert not widget.residual.layer.visible
    widget.residual.box.click()
    assert widget.show_as.way == SPLIT
    assert widget.residual.layer is None


def test_the_user_may_meddle_meanwhile(viewer, dock):
    _, after = add_pair(viewer, plain(DARK), plain(BRIGHT), opacity=0.5)
    widget = dock("Compare")
    before = state(viewer)
    press(widget, SPLIT)
    viewer.layers.remove(widget.show_as.view.layer)
    assert widget.show_as.way is None
    assert state(viewer)[:4] == before[:4]
    press(widget, SPLIT)
    after.opacity = 0.8
    press(widget, SPLIT)
    assert after.opacity == 0.8


def test_what_needs_two_layers_is_disabled_and_says_so_until_there_are_two(viewer, dock):
    widget = dock("Compare")
    needy = [
        *(widget.pair.swap.native, *widget.show_as.buttons.values()),
        *(widget.residual.box, widget.measures.start),
    ]
    explained = [control.toolTip() for control in needy]

    def assert_needed(is_needed):
        for control, told in zip(needy, explained, strict=True):
            assert control.isEnabled() != is_needed
            assert ("two image layers" in control.toolTip()) == is_needed
            assert told.splitlines()[0] in control.toolTip()

    assert_needed(True)
    only = viewer.add_image(plain(7), name="only")
    assert_needed(True)
    before, after = add_pair(viewer, plain(DARK), plain(BRIGHT))
    assert_needed(False)
    press(widget, SPLIT)
    assert widget.show_as.divider.native.isVisibleTo(widget)
    widget.pair.after.value = before
    assert_needed(True)
    assert widget.show_as.way is None
    assert not widget.show_as.divider.native.isVisibleTo(widget)
    widget.pair.after.value = after
    assert_needed(False)
    widget.residual.box.click()
    widget.pair.after.value = before
    assert not widget.residual.box.isChecked()
    assert list(viewer.layers) == [only, before, after]
    viewer.layers.clear()
    assert_needed(True)


def test_in_3d_it_says_what_to_do(viewer, dock):
    add_pair(viewer, plain(DARK), plain(BRIGHT))
    widget = dock("Compare")
    viewer.dims.ndisplay = 3
    for way in (SPLIT, BLINK, BESIDE):
        press(widget, way)
        assert widget.show_as.way is None
        assert "3-D" in widget.show_as.hint.text()
    assert all(isinstance(layer, Image) and layer.visible for layer in viewer.layers)
