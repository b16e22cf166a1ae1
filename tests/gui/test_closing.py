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


@pytest.mark.window
def test_closed_windows_are_gone(viewer, dock, noisy, qtbot):
    """napari lists the workers of a session for ever, and with them whoever listens to one."""
    viewer.add_image(noisy)
    widgets = {w.display_name: dock(w.display_name) for w in MANIFEST.contributions.widgets}
    are_there = {name: weakref.ref(widget) for name, widget in widgets.items()}
    qtbot.wait(1500)  # models, devices and the time of a run are found out
    while widgets:
        widget = widgets.popitem()[1]
        viewer.window.remove_dock_widget(getattr(widget, "native", widget))
    del widget

    def are_gone():
        gc.collect()
        assert [name for name, is_there in are_there.items() if is_there() is not None] == []

    qtbot.waitUntil(are_gone, timeout=LONG)


def test_a_script_may_end_while_a_worker_runs():
    command = [sys.executable, "-c", END_WHILE_A_WORKER_RUNS]
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "begun\n", "")
