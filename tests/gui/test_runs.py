"""Runs that are cancelled, fail, or lose their layer, widget or viewer."""

import threading

import numpy as np
import pytest
import tifffile
from napari.layers import Image
from napari.utils.progress import progress
from qtpy.compat import isalive
from qtpy.QtCore import QThreadPool
from superqt.utils import WorkerBase

import napari_rednet as nr
from napari_rednet.widgets import DenoiseWidget
from napari_rednet.widgets.restore import run_control
from napari_rednet.widgets.shared.controls import FROM_FILE
from napari_rednet.widgets.shared.worker import compute_in_background

LONG = 60_000

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
def one_processor():
    """As many threads as Qt allows where there is one."""
    pool = QThreadPool.globalInstance()
    allowed = pool.maxThreadCount()
    pool.setMaxThreadCount(1)
    yield
    pool.setMaxThreadCount(allowed)


@pytest.fixture
def running(viewer, dock, qtbot, noisy, endless):
    """A widget in the middle of a run."""
    viewer.add_image(noisy, name="cell")
    widget = dock()
    widget.run.native.click()
    qtbot.waitUntil(lambda: widget.progress.value == 99, timeout=LONG)
    return widget


def test_progress_is_shown_in_the_widget_and_in_the_activity_dock(running, wait, qtbot):
    (bar,) = progress._all_instances
    assert bar.desc.startswith("Denoising cell")
    qtbot.waitUntil(lambda: bar.n == 99)
    assert not running.run.enabled
    assert not running.noise.estimate.enabled
    assert running.cancel.enabled
    running.cancel.native.click()
    qtbot.waitUntil(lambda: not progress._all_instances, timeout=LONG)


def test_a_run_keeps_no_other_work_waiting(one_processor, running, qtbot):
    done = []
    compute_in_background(lambda: "done", done.append)
    qtbot.waitUntil(lambda: done == ["done"], timeout=LONG)
    assert running.is_running
    running.cancel.native.click()


def test_cancel_leaves_no_layer_and_the_widget_runs_again(
    viewer, running, endless, qtbot, run, monkeypatch, notifications
):
    running.cancel.native.click()
    assert not running.is_running
    qtbot.waitUntil(endless.is_set, timeout=LONG)
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
    present = running.runs._run
    running.run.changed.emit(True)
    running.noise.estimate.changed.emit(True)
    assert running.runs._run is present
    running.cancel.native.click()
    wait(running)


def test_removing_the_layer_cancels(viewer, running, endless, qtbot, notifications):
    viewer.layers.remove("cell")
    assert not running.is_running
    qtbot.waitUntil(endless.is_set, timeout=LONG)
    assert len(viewer.layers) == 0
    assert not running.run.enabled
    assert notifications() == []


def test_removing_another_layer_does_not_cancel(viewer, running, endless, wait, noisy):
    viewer.add_image(noisy, name="other")
    viewer.layers.remove("other")
    assert not running.runs._run.abort_requested
    running.cancel.native.click()
    wait(running)


@pytest.mark.window
def test_closing_the_widget_cancels(viewer, running, endless, qtbot, notifications):
    viewer.window.remove_dock_widget(running.native)
    qtbot.waitUntil(lambda: not WorkerBase._worker_set, timeout=LONG)
    assert endless.is_set()
    assert len(viewer.layers) == 1
    assert notifications() == []
    native = running.native  # which only the fixture still holds
    native.deleteLater()
    qtbot.waitUntil(lambda: not isalive(native))


@pytest.mark.window
def test_closing_the_viewer_cancels(viewer, running, endless, qtbot, notifications):
    viewer.close()
    qtbot.waitUntil(lambda: not WorkerBase._worker_set, timeout=LONG)
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


# Waiting and times ---------------------------------------------------------------------------


def test_a_second_window_waits_for_the_first(viewer, running, dock, wait, qtbot):
    second = dock("Deblock")
    second.run.native.click()
    assert second.status.value == "Waiting for: Denoising cell"
    assert second.cancel.enabled
    assert not second.run.enabled
    qtbot.wait(300)
    assert [layer.name for layer in viewer.layers] == ["cell"]
    running.cancel.native.click()
    wait(second)
    assert [layer.name for layer in viewer.layers] == ["cell", "cell deblocked"]


@pytest.mark.window
def test_a_run_that_waits_can_be_cancelled_or_lose_its_layer_or_window(
    viewer, running, endless, dock, noisy, wait
):
    other = viewer.add_image(noisy, name="other")
    widgets = [dock(name) for name in ("Deblock", "Inpaint", "Super-resolve")]
    for widget in widgets:
        widget.common.image.value = other
        widget.run.native.click()
        assert "Waiting" in widget.status.value
    cancelled, without_window, without_layer = widgets
    cancelled.cancel.native.click()
    viewer.window.remove_dock_widget(without_window.native)
    viewer.layers.remove(other)
    assert not any(widget.is_running for widget in (cancelled, without_layer))
    assert running.is_running
    assert not endless.is_set()
    running.cancel.native.click()
    last = dock("Deblock")
    last.run.native.click()
    wait(last)
    assert [layer.name for layer in viewer.layers] == ["cell", "cell deblocked"]


def test_the_next_run_waits_until_a_cancelled_one_has_stopped(viewer, dock, wait, noisy, qtbot):
    stop = threading.Event()

    def deaf(self, image, **arguments):
        yield 1, 100
        stop.wait(LONG)
        yield 2, 100

    viewer.add_image(noisy, name="cell")
    widget = dock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DenoiseWidget, "steps", deaf)
        widget.run.native.click()
        qtbot.waitUntil(lambda: widget.progress.value == 1, timeout=LONG)
    widget.cancel.native.click()
    assert widget.run.enabled
    widget.run.native.click()
    assert widget.status.value == "Waiting for: Denoising cell"
    stop.set()
    wait(widget)
    assert [layer.name for layer in viewer.layers] == ["cell", "cell denoised"]


def test_batches_and_fine_tunings_wait_as_well(running, dock, wait, tmp_path, noisy, qtbot):
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "a.tif", noisy)
    batch = dock("Batch")
    batch.controls.source.value, batch.controls.results.value = tmp_path / "in", tmp_path / "out"
    qtbot.waitUntil(batch.run_button.isEnabled, timeout=LONG)
    batch.run_button.click()
    assert batch.text.text() == "Waiting for: Denoising cell"
    running.cancel.native.click()
    wait(batch)
    assert (tmp_path / "out" / "a.tif").exists()


def test_the_remaining_time_is_told_in_words(viewer, dock, qtbot, noisy, monkeypatch):
    ended = threading.Event()

    def slow(self, image, **arguments):
        for done in range(1000):
            if not ended.wait(0.05):
                yield done, 1000
        return image.array, {"noise": [nr.NoiseModel()]}

    monkeypatch.setattr(DenoiseWidget, "steps", slow)
    viewer.add_image(noisy)
    widget = dock()
    widget.run.native.click()
    qtbot.waitUntil(lambda: widget.status.value.endswith(" left."), timeout=LONG)
    assert "… About " in widget.status.value
    ended.set()
    qtbot.waitUntil(lambda: not widget.is_running, timeout=LONG)
    assert "left" not in widget.status.value


def test_the_time_is_estimated_before_the_run(viewer, dock, qtbot, noisy, monkeypatch):
    monkeypatch.setattr(run_control, "_speeds", {})
    viewer.add_image(noisy)
    widget = dock()
    told = []
    monkeypatch.setattr(widget.estimate, "_tell", told.append)
    widget.estimate.request()
    qtbot.waitUntil(lambda: bool(told), timeout=LONG)
    assert told[-1] > 0
    viewer.add_image(np.stack([noisy] * 50), name="long")
    widget.common.image.value = viewer.layers["long"]
    before = len(told)
    qtbot.waitUntil(lambda: len(told) > before, timeout=LONG)
    assert told[-1] > 10 * told[0]
    assert len(run_control._speeds) == 1


def test_the_estimate_is_told_beside_run(viewer, dock, noisy):
    viewer.add_image(noisy)
    widget = dock()
    widget.runs.tell_estimate(200)
    assert widget.status.value == "Takes about 3 minutes."
    widget.common.image.value = viewer.add_image(noisy)
    assert widget.status.value == ""


@pytest.mark.window
@pytest.mark.parametrize("name", ["Denoise", "Super-resolve"])
def test_a_layer_that_gets_other_data_keeps_the_result_of_the_former(
    viewer, dock, wait, noisy, name
):
    """Place, axes and scale are those of the data that were restored."""
    layer = viewer.add_image(noisy[:40, :48], scale=(2, 3), translate=(5, 6), name="cell")
    expected = Image(noisy[:40, :48], scale=(2, 3), translate=(5, 6))
    widget = dock(name)
    widget.run.native.click()
    layer.data = np.stack([noisy, noisy])
    layer.contrast_limits = (3, 77)
    wait(widget)
    result = viewer.layers[-1]
    assert result.name == f"cell {widget.row.result}"
    factor = result.data.shape[0] // 40
    assert result.data.shape == (40 * factor, 48 * factor)
    corners = np.array([[-0.5, -0.5], [39.5, 47.5]])
    np.testing.assert_allclose(
        [result.data_to_world(corner * factor + (factor - 1) / 2) for corner in corners],
        [expected.data_to_world(corner) for corner in corners],
    )
    assert tuple(result.contrast_limits) == (3, 77)
