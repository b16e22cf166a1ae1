"""Runs that are cancelled, fail, or lose their layer, widget or viewer."""

import threading

import numpy as np
import pytest
from napari.utils.progress import progress
from qtpy.QtCore import QThreadPool
from superqt.utils import WorkerBase

import napari_rednet as nr
from napari_rednet.widgets import DenoiseWidget
from napari_rednet.widgets.controls import FROM_FILE

denoise_steps = DenoiseWidget.steps


@pytest.fixture
def endless(monkeypatch):
    """Denoising that never ends by itself; gives the event of its being closed."""
    closed = threading.Event()

    def steps(self, image, **arguments):
        try:
            yield from denoise_steps(self, image, **arguments)
            while not closed.wait(0.01):
                yield 99, 100
        finally:
            closed.set()

    monkeypatch.setattr(DenoiseWidget, "steps", steps)
    return closed


@pytest.fixture
def running(viewer, dock, qtbot, noisy, endless):
    """A widget in the middle of a run."""
    viewer.add_image(noisy, name="cell")
    widget = dock()
    widget.run.native.click()
    qtbot.waitUntil(lambda: widget.progress.value == 99, timeout=60_000)
    return widget


def test_progress_is_shown_in_the_widget_and_in_the_activity_dock(running, wait, qtbot):
    (bar,) = progress._all_instances
    assert bar.desc.startswith("Denoising cell")
    qtbot.waitUntil(lambda: bar.n == 99)
    assert not running.run.enabled
    assert not running.noise.estimate.enabled
    assert running.cancel.enabled
    running.cancel.native.click()
    wait(running)
    assert not progress._all_instances


def test_cancel_leaves_no_layer_and_the_widget_runs_again(
    viewer, running, endless, wait, run, monkeypatch, notifications
):
    running.cancel.native.click()
    wait(running)
    assert endless.is_set()
    assert len(viewer.layers) == 1
    assert notifications() == []
    monkeypatch.setattr(DenoiseWidget, "steps", denoise_steps)
    run(running)
    assert len(viewer.layers) == 2


def test_a_result_on_its_way_is_dropped_by_cancel(viewer, dock, wait, noisy, monkeypatch):
    viewer.add_image(noisy)
    widget = dock()

    def steps(self, image, **arguments):
        yield 1, 1
        return image.array, {"noise": [nr.NoiseModel()]}

    monkeypatch.setattr(DenoiseWidget, "steps", steps)
    widget.run.native.click()
    QThreadPool.globalInstance().waitForDone()
    widget.cancel.native.click()
    wait(widget)
    assert len(viewer.layers) == 1


def test_a_second_click_does_not_start_a_second_run(running, wait):
    worker = running.runs._worker
    running.run.changed.emit(True)
    running.noise.estimate.changed.emit(True)
    assert running.runs._worker is worker
    running.cancel.native.click()
    wait(running)


def test_removing_the_layer_cancels(viewer, running, endless, wait, notifications):
    viewer.layers.remove("cell")
    wait(running)
    assert endless.is_set()
    assert len(viewer.layers) == 0
    assert not running.run.enabled
    assert notifications() == []


def test_removing_another_layer_does_not_cancel(viewer, running, endless, wait, noisy):
    viewer.add_image(noisy, name="other")
    viewer.layers.remove("other")
    assert not running.runs._worker.abort_requested
    running.cancel.native.click()
    wait(running)


def test_closing_the_widget_cancels(viewer, running, endless, qtbot, notifications):
    viewer.window.remove_dock_widget(running.native)
    qtbot.waitUntil(lambda: not WorkerBase._worker_set, timeout=60_000)
    assert endless.is_set()
    assert len(viewer.layers) == 1
    assert notifications() == []


def test_closing_the_viewer_cancels(viewer, running, endless, qtbot, notifications):
    viewer.close()
    qtbot.waitUntil(lambda: not WorkerBase._worker_set, timeout=60_000)
    assert endless.is_set()
    assert notifications() == []


def test_a_damaged_model_is_reported_and_another_run_works(
    viewer, dock, run, noisy, tmp_path, notifications
):
    path = tmp_path / "damaged.safetensors"
    nr.load_model("denoise-fast").save(path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    viewer.add_image(noisy)
    widget = dock()
    widget.common.model.value = FROM_FILE
    widget.common.model_file.value = path
    run(widget)
    assert [message for message in notifications() if "checksum" in message]
    assert len(viewer.layers) == 1
    widget.common.model.value = "fast"
    run(widget)
    assert len(viewer.layers) == 2


@pytest.mark.parametrize("name", ["Denoise", "Deblur", "Super-resolve", "Deblock", "Inpaint"])
def test_a_mask_is_refused_in_words(viewer, dock, run, noisy, notifications, name):
    viewer.add_image(noisy > 500)
    widget = dock(name)
    run(widget)
    (message,) = notifications()
    assert "bool" in message
    assert len(viewer.layers) == 1
    assert widget.run.enabled


@pytest.mark.parametrize("name", ["Super-resolve", "Deblock", "Inpaint"])
def test_a_model_of_another_task_is_refused_in_words(
    viewer, dock, run, noisy, tmp_path, notifications, name
):
    nr.load_model("denoise-fast").save(tmp_path / "denoiser.safetensors")
    viewer.add_image(noisy)
    widget = dock(name)
    widget.common.model.value = FROM_FILE
    widget.common.model_file.value = tmp_path / "denoiser.safetensors"
    run(widget)
    (message,) = notifications()
    assert "was made for denoise" in message
    assert len(viewer.layers) == 1


def test_a_runtime_error_is_not_swallowed(viewer, dock, run, noisy, monkeypatch, notifications):
    def failing(self, image, **arguments):
        yield 1, 100
        raise RuntimeError("CUDA error: device-side assert triggered")

    viewer.add_image(noisy)
    widget = dock()
    with monkeypatch.context() as patch:
        patch.setattr(DenoiseWidget, "steps", failing)
        run(widget)
    assert any("device-side assert" in message for message in notifications())
    run(widget)
    assert len(viewer.layers) == 2


def test_warnings_are_notifications(viewer, dock, run, noisy, notifications):
    """A shape that looks like colours, in a layer that is not shown as such."""
    viewer.add_image(np.stack([noisy[:32, :32]] * 3, axis=-1), rgb=False)
    widget = dock()
    run(widget)
    assert any("looks like colours" in message for message in notifications())


@pytest.mark.parametrize(
    ("typed", "expected"),
    [("", "Read noise must be a number"), ("2,5", "got '2,5'"), ("-1", "must not be negative")],
)
def test_typed_noise_that_is_none_is_refused(
    viewer, dock, run, noisy, notifications, typed, expected
):
    viewer.add_image(noisy)
    widget = dock()
    widget.noise.mode.value = "manual"
    widget.noise.fields["read_noise"].value = typed
    run(widget)
    (message,) = notifications()
    assert expected in message
    widget.noise.fields["read_noise"].value = "2.5"
    run(widget)
    assert len(viewer.layers) == 2


def test_a_file_must_be_chosen(viewer, dock, run, noisy, notifications):
    viewer.add_image(noisy)
    widget = dock()
    widget.common.model.value = FROM_FILE
    run(widget)
    (message,) = notifications()
    assert ".safetensors" in message
    assert not widget.is_running
