"""A dock that has been closed leaves nothing behind."""

import gc
import os
import subprocess
import sys
import weakref

import pytest
from npe2 import PluginManifest

MANIFEST = PluginManifest.from_distribution("napari-rednet")
LONG = 60_000

END_WHILE_A_WORKER_RUNS = """
import time
from qtpy.QtWidgets import QApplication
app = QApplication([])
from napari_rednet.widgets.shared.worker import start_worker

def steps():
    print("begun", flush=True)
    for i in range(100):
        time.sleep(0.1)
        yield i, 100

ignore = lambda *result: None
start_worker(steps, None, on_result=ignore, on_end=ignore)
time.sleep(0.5)
"""


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


def test_a_script_may_end_while_a_worker_runs():
    command = [sys.executable, "-c", END_WHILE_A_WORKER_RUNS]
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "begun\n", "")
