"""Random sequences of what users do in a window: no exception, no worker, no bar that is left.

What may be done in the windows is drawn from their controls. No action keeps the event loop from
its other work for longer than users notice.
"""

import gc
import threading
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from magicgui.widgets import CheckBox, ComboBox, FloatSpinBox, SpinBox
from napari.utils.progress import progress
from qtpy.QtWidgets import QApplication
from superqt.utils import WorkerBase
from tests.conftest import few, small_model

from napari_rednet.models import add_model

WINDOWS = ("Denoise", "Super-resolve", "Deblock", "Deblur", "Inpaint")
ACTIONS = (
    "run", "run", "cancel", "wait", "add image", "add image", "add labels", "remove", "select",
    "rename", "change", "change", "change", "move", "reset",
)  # fmt: skip
LONG = 60_000
# Processor time of the thread of the event loop, which a busy machine does not lengthen.
_MOST_BLOCKED = 0.3


def image(lot):
    shape = [(40, 50), (3, 40, 50), (40, 50, 3), (2, 3, 33, 21), (1, 1), (64, 64)][lot.integers(6)]
    dtype = [np.uint8, np.uint16, np.float32][lot.integers(3)]
    return (lot.normal(100, 10, shape).clip(0, 255)).astype(dtype)


def controls(widget):
    """Controls with values that can be changed."""
    kinds = (CheckBox, ComboBox, FloatSpinBox, SpinBox)
    found = [c for c in vars(widget).values() if isinstance(c, kinds)]
    common = getattr(widget, "common", None)
    return found + [c for c in vars(common).values() if isinstance(c, kinds)] if common else found


def change(control, lot):
    if isinstance(control, CheckBox):
        control.value = not control.value
    elif isinstance(control, ComboBox):
        choices = [c for c in control.choices if "file" not in str(c).lower()]
        if choices:
            control.value = choices[lot.integers(len(choices))]
    else:
        control.value = lot.choice([control.min, min(control.max, 1.0 * control.min + 1)])


def act(action, viewer, widget, lot, qtbot):
    layers = viewer.layers
    some = layers[int(lot.integers(len(layers)))] if len(layers) else None
    button = {"run": widget.run, "cancel": widget.cancel}.get(action)
    if button is not None:
        button.native.click()  # of no effect if it is not enabled
    elif action == "wait":
        qtbot.wait(int(lot.integers(1, 60)))
    elif action == "add image" and len(layers) < 6:
        pixels = image(lot)
        viewer.add_image(pixels, rgb=pixels.shape[-1] == 3 and lot.random() < 0.7)
    elif action == "add labels" and len(layers) < 6:
        viewer.add_labels((lot.random((40, 50)) < 0.1).astype(np.uint8))
    elif action == "change":
        known = controls(widget)
        change(known[lot.integers(len(known))], lot)
    elif action == "reset":
        viewer.dims.set_point(0, 0)
    elif some is not None:
        on_layer(action, layers, some, lot)


def on_layer(action, layers, layer, lot):
    if action == "remove":
        layers.remove(layer)
    elif action == "select":
        layers.selection = {layer}
    elif action == "rename":
        layer.name = f"-{lot.integers(9)}"
    elif action == "move":
        layers.reverse()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", WINDOWS)
def test_no_sequence_ends_in_an_exception(name, viewer, dock, qtbot, notifications):
    task = {"Deblur": "denoise"}.get(name, name.lower().replace("-", "_"))
    add_model(small_model(task), "tiny")
    widget = dock(name)
    viewer.add_image(image(np.random.default_rng(0)))
    qtbot.wait(200)  # what is imported once is not the subject
    failed, slow = [], {}
    threading.excepthook, before = lambda told: failed.append(told.exc_value), threading.excepthook

    @settings(max_examples=5 * few(), deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.sampled_from(ACTIONS), max_size=25), st.integers(0, 2**31))
    def check(actions, seed):
        lot = np.random.default_rng(seed)
        viewer.layers.clear()
        for action in actions:
            gc.disable()  # which goes through all of napari, whoever's turn it is
            begun = time.thread_time()
            act(action, viewer, widget, lot, qtbot)
            QApplication.processEvents()
            spent = time.thread_time() - begun
            gc.enable()
            if action != "wait":
                slow[action] = max(slow.get(action, 0.0), spent)
        if widget.cancel.enabled:
            widget.cancel.native.click()
        qtbot.waitUntil(lambda: not widget.is_running, timeout=LONG)
        assert not failed

    try:
        check()
    finally:
        gc.enable()
        threading.excepthook = before
    qtbot.waitUntil(lambda: not WorkerBase._worker_set, timeout=LONG)
    assert not progress._all_instances
    assert {a: t for a, t in slow.items() if t > _MOST_BLOCKED} == {}
    errors = [told for told in notifications() if "Traceback" in told or "Error" in told]
    assert not errors
