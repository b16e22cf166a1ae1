"""A dock that has been closed leaves nothing behind."""

import gc
import weakref

import pytest
from npe2 import PluginManifest

MANIFEST = PluginManifest.from_distribution("napari-rednet")
LONG = 60_000


@pytest.mark.parametrize("name", [w.display_name for w in MANIFEST.contributions.widgets])
def test_a_closed_window_is_gone(name, viewer, noisy, qtbot):
    """napari lists the workers of a session for ever, and with them whoever listens to one."""
    viewer.add_image(noisy)
    widget = viewer.window.add_plugin_dock_widget("napari-rednet", name)[1]
    is_there = weakref.ref(widget)
    qtbot.wait(1500)  # models, devices and the time of a run are found out
    viewer.window.remove_dock_widget(getattr(widget, "native", widget))
    del widget

    def is_gone():
        gc.collect()
        return is_there() is None

    qtbot.waitUntil(is_gone, timeout=LONG)
