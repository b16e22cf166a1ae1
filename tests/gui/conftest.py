"""What the window tests share: a viewer with the widget docked, and ways to drive both."""

import gc
import inspect

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.settings import get_settings
from napari.utils.notifications import notification_manager
from npe2 import PluginManager
from qtpy.compat import isalive
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication
from skimage import data
from superqt.utils import WorkerBase

from napari_rednet.widgets.shared.docks import WINDOW_MARK

LONG = 60_000
PLUGIN = "napari-rednet"


@pytest.fixture(scope="session", autouse=True)
def _imported_objects_are_not_collected():
    """Closing a viewer collects garbage several times, each of them through all of napari."""
    import torch  # noqa: F401

    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _the_plugin_is_known():
    """As it is once there has been a window."""
    PluginManager.instance().discover()


@pytest.fixture
def is_shown():
    """Whether the viewer is on the screen, which modules may override: drawing takes time."""
    return False


@pytest.fixture
def viewer(request, qtbot, is_shown):
    """A viewer: in a window of napari for tests marked so, which costs as much as many a run.

    The others drive the widgets on what is behind such a window, the layers and the dims.
    """
    before = set(QApplication.topLevelWidgets())
    if request.node.get_closest_marker("window"):
        viewer = request.getfixturevalue("make_napari_viewer")(show=is_shown)
    else:
        get_settings().reset()
        viewer = ViewerModel()
    yield viewer
    for worker in list(WorkerBase._worker_set):  # of a test that failed
        worker.quit()
    qtbot.waitUntil(lambda: not WorkerBase._worker_set, timeout=LONG)
    free_closed_windows(qtbot)
    if not hasattr(viewer, "window"):  # of which napari looks for what is left
        assert set(QApplication.topLevelWidgets()) <= before


def free_closed_windows(qtbot):
    """Let them go before napari looks for windows that are left, and collects young garbage only.

    What their last workers have sent holds them until it has been delivered. Some are in the
    hands of the test itself, so that there is an end to it.
    """
    for _ in range(20):
        if not any(widget.property(WINDOW_MARK) for widget in QApplication.topLevelWidgets()):
            break
        gc.collect()
        qtbot.wait(50)


@pytest.fixture
def dock(viewer):
    """Open a widget as the Plugins menu does: in a dock, or by itself if there is no window."""
    opened = []

    def open_widget(name="Denoise", viewer=viewer):
        if hasattr(viewer, "window"):
            return viewer.window.add_plugin_dock_widget(PLUGIN, name)[1]
        widget = open_without_window(name, viewer)
        opened.append(getattr(widget, "native", widget))
        return widget

    yield open_widget
    for native in opened:
        if isalive(native):
            native.close()
            native.deleteLater()
    opened.clear()
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


def open_without_window(name, viewer):
    """What napari does with a widget before it docks it."""
    contributed = PluginManager.instance().get_manifest(PLUGIN).contributions.widgets
    (make,) = [widget.get_callable() for widget in contributed if widget.display_name == name]
    takes_viewer = "napari_viewer" in inspect.signature(make.__init__).parameters
    widget = make(viewer) if takes_viewer else make()
    if hasattr(widget, "reset_choices"):
        events = viewer.layers.events
        for event in (events.inserted, events.removed, events.reordered, events.renamed):
            event.connect(widget.reset_choices)
    return widget


@pytest.fixture
def wait(qtbot):
    """Wait until a run has ended."""

    def wait_until_idle(widget):
        qtbot.waitUntil(lambda: not widget.is_running, timeout=LONG)

    return wait_until_idle


@pytest.fixture
def run(wait):
    """Press Run, wait for the end."""

    def press_run(widget):
        widget.run.native.click()
        wait(widget)

    return press_run


@pytest.fixture
def notifications():
    """Messages of napari's notifications since the test began."""
    notification_manager.records.clear()
    return lambda: [record.message for record in notification_manager.records]


@pytest.fixture
def clean():
    return data.camera()[100:196, 180:308] * 8.0


@pytest.fixture
def noisy(clean):
    """A noisy 12-bit camera image in uint16."""
    rng = np.random.default_rng(0)
    photons = rng.poisson(clean / 20)
    return np.uint16(np.clip(100 + 20 * photons + rng.normal(0, 20, clean.shape), 0, 4095))


@pytest.fixture
def noisy_colours():
    rng = np.random.default_rng(1)
    clean = data.astronaut()[:80, 200:296]
    return np.uint8(np.clip(clean + rng.normal(0, (10, 20, 30), clean.shape), 0, 255))
