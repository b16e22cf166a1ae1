"""A dock that has been closed leaves nothing behind."""

import gc
import os
import subprocess
import sys
import weakref

import pytest
import torch
from npe2 import PluginManifest
from qtpy.compat import isalive

from napari_rednet.widgets import DenoiseWidget

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


@pytest.mark.window
def test_deleted_windows_that_somebody_holds_follow_no_layers(viewer, dock, noisy, qtbot):
    """A worker holds its window until it ends, and napari tells it of layers all the while."""
    widgets = [dock(w.display_name) for w in MANIFEST.contributions.widgets]
    natives = [getattr(widget, "native", widget) for widget in widgets]
    for native in natives:
        viewer.window.remove_dock_widget(native)
        native.deleteLater()
    qtbot.waitUntil(lambda: not any(map(isalive, natives)))
    layer = viewer.add_image(noisy)
    layer.name = "renamed"
    viewer.layers.remove(layer)
    for widget in widgets:
        if hasattr(type(widget), "reset_choices"):
            widget.reset_choices()  # as napari before 0.9 does


def test_a_script_may_end_while_a_worker_runs():
    command = [sys.executable, "-c", END_WHILE_A_WORKER_RUNS]
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "begun\n", "")


def failing(how):
    """Steps that end with an error, by themselves or while another one is handled."""

    def steps(self, image, **arguments):
        yield 1, 2
        try:
            torch.device("none")
        except RuntimeError as error:
            if how == "an unexpected error":
                raise KeyError(self.verb) from error
            raise

    return steps


def use(sequence, widget, viewer, qtbot):
    """Do something with the window, and wait until it is done."""

    def until(is_done):
        qtbot.waitUntil(is_done, timeout=LONG)

    until(lambda: widget.status.value.startswith("Takes"))
    if sequence == "preview":
        widget.preview.toggle.value = True
        until(lambda: not widget.preview.is_busy)
    elif sequence == "plot":
        widget.noise.panel.button.native.click()
        until(lambda: widget.noise.has_levels)
    else:
        widget.run.native.click()
    if sequence == "cancelled":
        widget.cancel.native.click()
    if sequence == "a removed layer":
        viewer.layers.clear()
    until(lambda: not widget.is_running)


@pytest.mark.window
@pytest.mark.parametrize(
    "sequence",
    [
        "run",
        "a failed run",
        "an unexpected error",
        "cancelled",
        pytest.param("preview", marks=pytest.mark.slow),
        pytest.param("a removed layer", marks=pytest.mark.slow),
        pytest.param("plot", marks=pytest.mark.slow),
    ],
)
def test_a_window_is_gone_whatever_it_has_done(viewer, dock, noisy, qtbot, sequence, monkeypatch):
    viewer.add_image(noisy)
    widget = dock("Denoise")
    if sequence in ("a failed run", "an unexpected error"):
        monkeypatch.setattr(DenoiseWidget, "steps", failing(sequence))
    use(sequence, widget, viewer, qtbot)
    is_there = weakref.ref(widget)
    viewer.window.remove_dock_widget(widget.native)
    del widget

    def is_gone():
        gc.collect()
        assert is_there() is None

    qtbot.waitUntil(is_gone, timeout=LONG)
