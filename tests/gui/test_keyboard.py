"""Every widget of the manifest explains itself and can be used without a mouse."""

from itertools import pairwise

from npe2 import PluginManifest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLineEdit,
    QSlider,
    QWidget,
)

LONG = 60_000
KINDS = (QAbstractButton, QAbstractItemView, QAbstractSpinBox, QComboBox, QLineEdit, QSlider)


def window_of(widget):
    return widget if isinstance(widget, QWidget) else widget.native


def is_readout(child):
    """Whether it is the number beside a slider."""
    return isinstance(child, QAbstractSpinBox) and child.parent().findChild(QSlider) is not None


def controls(window):
    """What can be operated, without the parts and the popups that Qt has made of it."""
    children = [c for c in window.findChildren(QWidget) if c.window() is window.window()]
    found = [child for child in children if isinstance(child, KINDS)]
    wholes = [c for c in found if not any(o.isAncestorOf(c) for o in found if o is not c)]
    return [whole for whole in wholes if not is_readout(whole)]


def is_reachable(control):
    tabbed = control.focusPolicy() & Qt.FocusPolicy.TabFocus
    return control.isVisible() and control.isEnabled() and bool(tabbed)


def press_tab_through(qtbot, window, first):
    """Controls that get the focus one after another, until it leaves the window."""
    first.setFocus(Qt.FocusReason.TabFocusReason)
    reached = []
    while window.isAncestorOf(QApplication.focusWidget()):
        reached.append(QApplication.focusWidget())
        qtbot.keyClick(reached[-1], Qt.Key.Key_Tab)
        if QApplication.focusWidget() in reached:  # it stays, or has come round
            break
    return reached


def test_all_widgets_explain_themselves_and_are_reached_by_tab(make_napari_viewer, qtbot, noisy):
    viewer = make_napari_viewer(show=True)
    viewer.add_image(noisy)
    viewer.window._qt_window.activateWindow()
    for contributed in PluginManifest.from_distribution("napari-rednet").contributions.widgets:
        name = contributed.display_name
        dock, widget = viewer.window.add_plugin_dock_widget("napari-rednet", name)
        window = window_of(widget)
        qtbot.waitUntil(
            lambda window=window: any(map(is_reachable, controls(window))), timeout=LONG
        )
        assert [control for control in controls(window) if not control.toolTip()] == [], name
        expected = [control for control in controls(window) if is_reachable(control)]
        top = min(expected, key=lambda c: c.mapTo(window, c.rect().topLeft()).y())
        reached = press_tab_through(qtbot, window, top)
        assert set(expected) <= set(reached), name
        tops = [c.mapTo(window, c.rect().topLeft()).y() for c in reached if c in expected]
        assert all(b > a - 20 for a, b in pairwise(tops)), name
        viewer.window.remove_dock_widget(dock)


def test_keys_run_and_cancel(make_napari_viewer, qtbot, wait, noisy):
    viewer = make_napari_viewer(show=True)
    layer = viewer.add_image(noisy)
    viewer.window._qt_window.activateWindow()
    _, widget = viewer.window.add_plugin_dock_widget("napari-rednet", "Denoise")
    assert "Ctrl+Return" in widget.run.native.toolTip()
    field = widget.option["strength"].native
    field.setFocus()
    qtbot.waitUntil(field.hasFocus, timeout=LONG)
    qtbot.keyClicks(field, "0.5")
    qtbot.keyClick(field, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    assert widget.is_running
    wait(widget)
    assert (
        viewer.layers[-1].metadata["napari_rednet"]["strength"] == widget.option["strength"].value
    )
    assert viewer.layers[0] is layer
    assert len(viewer.layers) == 2
    run, cancel = widget.run.native, widget.cancel.native
    run.setFocus()
    qtbot.keyClick(run, Qt.Key.Key_Space)
    assert cancel.hasFocus()  # not the button beside it, which hides the dock
    qtbot.keyClick(cancel, Qt.Key.Key_Escape)
    wait(widget)
    assert run.hasFocus()
    assert len(viewer.layers) == 2


def test_keys_measure_and_cancel(make_napari_viewer, qtbot, noisy):
    viewer = make_napari_viewer(show=True)
    layers = [viewer.add_image(noisy // part) for part in (1, 2, 3)]
    viewer.window._qt_window.activateWindow()
    _, widget = viewer.window.add_plugin_dock_widget("napari-rednet", "Compare")
    assert "Ctrl+Return" in widget.measures.start.toolTip()
    widget.measures.reference.value = layers[0]
    field = widget.pair.after.native
    field.setFocus()
    qtbot.waitUntil(field.hasFocus, timeout=LONG)
    qtbot.keyClick(field, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    assert widget.is_running
    qtbot.keyClick(field, Qt.Key.Key_Escape)
    qtbot.waitUntil(lambda: not widget.is_running, timeout=LONG)
    assert "PSNR" not in widget.measures.figures.text()


def test_the_hint_is_the_first_that_tab_reaches(make_napari_viewer, qtbot):
    viewer = make_napari_viewer(show=True)
    viewer.window._qt_window.activateWindow()
    _, widget = viewer.window.add_plugin_dock_widget("napari-rednet", "Deblock")
    qtbot.waitUntil(widget.hint.open_button.isVisible, timeout=LONG)
    reached = press_tab_through(qtbot, widget.native, widget.hint.open_button)
    assert reached[:2] == [widget.hint.open_button, widget.common.image.native]
    widget.hint.open_button.setFocus()
    qtbot.keyClick(widget.hint.open_button, Qt.Key.Key_Space)
    assert len(viewer.layers) == 2


def test_the_wheel_changes_only_what_has_the_focus(make_napari_viewer, qtbot, noisy):
    """It is for scrolling, and the mouse happens to be over a control."""
    viewer = make_napari_viewer(show=True)
    viewer.add_image(noisy)
    viewer.window._qt_window.activateWindow()
    _, widget = viewer.window.add_plugin_dock_widget("napari-rednet", "Denoise")
    strength, other = widget.option["strength"], widget.common.device.native
    other.setFocus()
    qtbot.waitUntil(other.hasFocus, timeout=LONG)
    turn_wheel(strength.native)
    assert strength.value == 1
    strength.native.setFocus()
    qtbot.waitUntil(strength.native.hasFocus, timeout=LONG)
    turn_wheel(strength.native)
    assert strength.value > 1


def turn_wheel(control):
    place = QPointF(control.rect().center())
    up, none = QPoint(0, 120), Qt.KeyboardModifier.NoModifier
    buttons, phase = Qt.MouseButton.NoButton, Qt.ScrollPhase.NoScrollPhase
    event = QWheelEvent(
        place, control.mapToGlobal(place), QPoint(), up, buttons, none, phase, False
    )
    QApplication.sendEvent(control, event)
