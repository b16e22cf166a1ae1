"""Where the windows open beside each other in a real window of napari."""

import pytest
from napari._app_model import get_app_model
from qtpy.QtWidgets import QWidget

HIGH, LOW = 1120, 720


@pytest.fixture
def open_docks(make_napari_viewer, qtbot, noisy):
    """Open docks one after the other in a window of some height; return it and them."""

    def open_all(height, *names, at_once=False):
        viewer = make_napari_viewer(show=True)
        viewer.add_image(noisy)
        window = viewer.window._qt_window
        window.resize(1400, height)
        qtbot.wait(200)
        docks = []
        for name in names:
            if not at_once:
                qtbot.wait(200)
            docks.append(viewer.window.add_plugin_dock_widget("napari-rednet", name)[0])
        qtbot.wait(200)
        return window, docks

    return open_all


@pytest.mark.parametrize("names", [("Denoise", "Compare"), ("Compare", "Denoise")])
def test_with_room_they_lie_below_each_other_in_full(open_docks, names):
    window, (first, second) = open_docks(HIGH, *names)
    assert window.tabifiedDockWidgets(second) == []
    assert second.y() > first.y() + first.height()
    for dock in (first, second):
        assert dock.height() >= 0.9 * dock.sizeHint().height()  # hints are a little too high


@pytest.mark.parametrize("names", [("Denoise", "Compare"), ("Fine-tune", "Denoise")])
def test_without_room_the_second_is_a_tab_on_top(open_docks, names):
    window, (first, second) = open_docks(LOW, *names)
    assert window.tabifiedDockWidgets(second) == [first]
    assert not second.visibleRegion().isEmpty()
    assert second.height() >= 0.9 * second.sizeHint().height()
    assert window.height() == LOW


def test_two_that_are_opened_at_once_are_no_higher_than_the_window(open_docks):
    window, (first, second) = open_docks(LOW, "Fine-tune", "Denoise", at_once=True)
    assert window.tabifiedDockWidgets(second) == [first]
    assert window.height() == LOW


def test_docks_of_others_are_left_alone(make_napari_viewer, qtbot):
    viewer = make_napari_viewer(show=True)
    viewer.window._qt_window.resize(1400, LOW)
    other = QWidget()
    other.setMinimumHeight(400)
    viewer.window.add_dock_widget(other, name="other")
    qtbot.wait(200)
    dock, _ = viewer.window.add_plugin_dock_widget("napari-rednet", "Compare")
    qtbot.wait(200)
    assert viewer.window._qt_window.tabifiedDockWidgets(dock) == []


def test_a_tab_that_is_chosen_in_a_menu_comes_to_the_front(make_napari_viewer, qtbot):
    """napari's menus would hide the one behind, and show it behind again."""
    viewer = make_napari_viewer(show=True)
    viewer.window._qt_window.resize(1400, LOW)
    docks = {}

    def choose(name):
        qtbot.wait(200)
        get_app_model().commands.execute_command(f"napari-rednet.{name}").result()
        docks.setdefault(name, list(viewer.window.dock_widgets.values())[-1].native.parent())

    def is_in_front(name):
        return not docks[name].visibleRegion().isEmpty()

    for name in ("inpaint", "deblock", "inpaint"):
        choose(name)
        qtbot.waitUntil(lambda name=name: is_in_front(name))
    assert viewer.window._qt_window.tabifiedDockWidgets(docks["inpaint"]) == [docks["deblock"]]
    assert not is_in_front("deblock")
    choose("inpaint")  # it has a tick in the menu
    qtbot.waitUntil(docks["inpaint"].isHidden)
    choose("inpaint")
    qtbot.waitUntil(lambda: is_in_front("inpaint"))
    viewer.window.remove_dock_widget(docks["deblock"])  # from behind
    qtbot.wait(200)
    assert viewer.window._qt_window.tabifiedDockWidgets(docks["inpaint"]) == []
