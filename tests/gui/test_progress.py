"""What a window tells and shows while it works, and how estimates get better."""

import threading

import numpy as np
import pytest

import napari_rednet as nr
from napari_rednet.widgets.restore import jobs, run_control
from napari_rednet.widgets.restore.jobs import SoFar
from napari_rednet.widgets.shared import worker
from napari_rednet.widgets.shared.layers import TEMPORARY

LONG = 60_000


@pytest.fixture
def stack(noisy):
    return np.stack([noisy[i : i + 40, :48] for i in range(6)])


@pytest.fixture
def told(monkeypatch):
    """All that status lines said, one after the other."""
    texts, show = [], run_control.show_status

    def noting(status, text):
        texts.append(text)
        show(status, text)

    monkeypatch.setattr(run_control, "show_status", noting)
    return texts


@pytest.fixture
def halting(monkeypatch):
    """Runs that halt before their last plane, until the returned event is set."""
    go_on, note = threading.Event(), SoFar.note

    def wait_before_the_end(self, done, total):
        if done > 0.8 * total:
            go_on.wait(LONG / 1000)
        note(self, done, total)

    monkeypatch.setattr(SoFar, "note", wait_before_the_end)
    monkeypatch.setattr(jobs, "_SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr(worker, "_SECONDS_BETWEEN_REPORTS", 0.0)
    yield go_on
    go_on.set()


def shown_so_far(viewer):
    return next((one for one in viewer.layers if one.metadata.get(TEMPORARY)), None)


@pytest.mark.window
@pytest.mark.parametrize(
    ("name", "phases"),
    [
        ("Denoise", ["Starting…", "Loading the model…", "Measuring the noise…", "Restoring…"]),
        ("Deblur", ["Starting…", "Loading the model…", "Measuring the noise…", "Restoring…"]),
        ("Super-resolve", ["Starting…", "Loading the model…", "Restoring…"]),
        (
            "Inpaint",
            ["Starting…", "Loading the model…", "Looking for dead and hot pixels…", "Restoring…"],
        ),
    ],
)
def test_what_is_done_is_named(viewer, dock, run, stack, told, name, phases):
    viewer.add_image(stack[:2])
    widget = dock(name)
    told.clear()
    run(widget)
    assert [text for text in dict.fromkeys(told) if text.endswith("…")] == phases
    assert all(told)  # no state is without words
    assert widget.status.value.startswith("Done in ")


@pytest.mark.window
@pytest.mark.parametrize("name", ["Denoise", "Deblur", "Super-resolve", "Deblock", "Inpaint"])
def test_no_state_is_without_words(viewer, dock, stack, qtbot, name):
    viewer.add_image(stack)
    widget = dock(name)

    def is_told(is_busy, status):
        """Whether the line says something whenever it is looked at."""
        texts = []
        while is_busy():
            qtbot.wait(100)
            texts.append(status.value if not status.native.isHidden() else "")
        return len(texts) > 0 and all(texts)

    widget.preview.toggle.native.click()
    assert is_told(lambda: widget.preview.is_busy, widget.preview.status)
    widget.run.native.click()
    assert is_told(lambda: widget.is_running, widget.status)


@pytest.mark.window
@pytest.mark.parametrize("name", ["Denoise", "Super-resolve", "Inpaint"])
def test_finished_planes_are_shown_while_the_rest_is_restored(
    viewer, dock, wait, stack, halting, qtbot, name
):
    source = viewer.add_image(stack, scale=(3, 2, 2), translate=(1, 2, 3), name="cell")
    widget = dock(name)
    widget.run.native.click()
    qtbot.waitUntil(lambda: shown_so_far(viewer) is not None, timeout=LONG)
    layer = shown_so_far(viewer)
    qtbot.waitUntil(lambda: len(layer.data) == 3, timeout=LONG)
    planes = layer.data.copy()
    first = layer.data_to_world((0, -0.5, -0.5))
    np.testing.assert_allclose(first, source.data_to_world((0, -0.5, -0.5)))
    halting.set()
    wait(widget)
    result = viewer.layers[-1]
    assert [one.name for one in viewer.layers] == ["cell", f"cell {widget.row.result}"]
    np.testing.assert_array_equal(result.data[:3], planes)
    function = {"Denoise": nr.denoise, "Super-resolve": nr.super_resolve, "Inpaint": nr.inpaint}
    np.testing.assert_array_equal(result.data, function[name](stack))


@pytest.mark.window
@pytest.mark.parametrize("end", ["cancel", "its removal", "the source's removal"])
def test_what_is_shown_so_far_goes(viewer, dock, wait, stack, halting, qtbot, end):
    viewer.add_image(stack, name="cell")
    widget = dock()
    widget.run.native.click()
    qtbot.waitUntil(lambda: shown_so_far(viewer) is not None, timeout=LONG)
    if end == "cancel":
        widget.cancel.native.click()
    else:
        viewer.layers.remove(shown_so_far(viewer) if end == "its removal" else "cell")
    assert shown_so_far(viewer) is None
    halting.set()
    wait(widget)
    left = {"cancel": ["cell"], "its removal": ["cell", "cell denoised"]}
    assert [layer.name for layer in viewer.layers] == left.get(end, [])
    stopped = "Stopped, since 'cell' was removed."
    assert (stopped in widget.status.value) == (end == "the source's removal")


def test_channels_that_are_seen_through_are_not_twice_as_bright(
    viewer, dock, wait, stack, halting, qtbot
):
    viewer.add_image(stack, blending="additive")
    widget = dock()
    widget.run.native.click()
    runs = widget.layer_runs
    qtbot.waitUntil(lambda: runs._so_far is not None, timeout=LONG)
    qtbot.waitUntil(lambda: runs._so_far._so_far.finished == 3, timeout=LONG)
    qtbot.wait(50)
    assert shown_so_far(viewer) is None
    halting.set()
    wait(widget)
    assert len(viewer.layers) == 2


@pytest.mark.window
def test_estimates_are_corrected_by_what_runs_took(viewer, dock, stack, qtbot):
    # Planes of one window each, so that measuring takes a sixth as well.
    viewer.add_image(np.tile(stack, (1, 6, 5)))
    widget = dock()
    qtbot.waitUntil(lambda: widget.status.value.startswith("Takes about"), timeout=LONG)
    before = widget.status.value
    try:
        widget.estimate.note_start()
        widget.estimate.learn(3600.0)
        widget.extent.planes.value = "shown"  # a sixth
        qtbot.waitUntil(lambda: widget.status.value == "Takes about 10 minutes.", timeout=LONG)
        # What is soon over tells nothing of what takes long.
        widget.estimate.note_start()
        widget.estimate.learn(0.1)
        qtbot.wait(1000)
        assert widget.status.value == "Takes about 10 minutes."
    finally:
        run_control._corrections.clear()
    assert before not in ("Takes about an hour.", "Takes about 10 minutes.")


@pytest.mark.slow
@pytest.mark.window
def test_what_a_run_took_is_not_told_twice(viewer, dock, run, stack, qtbot):
    viewer.add_image(np.tile(stack, (1, 8, 8)))
    widget = dock()
    qtbot.waitUntil(lambda: widget.status.value.startswith("Takes about"), timeout=LONG)
    run(widget)
    widget.estimate.request()  # as adding the result does
    qtbot.wait(1500)
    assert widget.status.value.startswith("Done in")
    assert "takes about" not in widget.status.value
    widget.extent.planes.value = "shown"
    qtbot.waitUntil(lambda: "The next run takes about" in widget.status.value, timeout=LONG)
    assert widget.status.value.startswith("Done in")
    widget.extent.planes.value = "all"  # of which it has told, so that no other time stays
    qtbot.waitUntil(lambda: "takes about" not in widget.status.value, timeout=LONG)
    assert widget.status.value.startswith("Done in")


def test_what_a_cancelled_run_would_have_taken_is_still_told(viewer, dock, wait, stack, qtbot):
    viewer.add_image(np.tile(stack, (1, 8, 8)))
    widget = dock()
    qtbot.waitUntil(lambda: widget.status.value.startswith("Takes about"), timeout=LONG)
    widget.run.native.click()
    widget.cancel.native.click()
    wait(widget)
    widget.option["strength"].value = 1.5
    qtbot.wait(1500)
    assert widget.status.value.startswith("Cancelled. The next run takes about")


def test_an_estimate_of_other_settings_is_not_told(viewer, dock, noisy, qtbot, monkeypatch):
    viewer.add_image(noisy)
    widget = dock()
    told = []
    monkeypatch.setattr(widget.estimate, "_tell", told.append)
    widget.estimate.request()
    widget.estimate._take((("another", (1, 1)), 50.0))  # which was on its way
    assert told == []
    qtbot.waitUntil(lambda: bool(told), timeout=LONG)
    assert told[-1] < 50
