"""The Compare widget: figures, and the residual with its verdict."""

import dask.array as da
import numpy as np
import pytest
from qtpy.QtWidgets import QAbstractButton, QComboBox, QProgressBar, QWidget
from superqt.utils import WorkerBase

import napari_rednet as nr
from napari_rednet import quality
from napari_rednet.widgets.compare.measures import STACK
from napari_rednet.widgets.shared.layers import image_layers

LONG = 60_000


@pytest.fixture
def compare(viewer, dock, clean, noisy):
    """A noisy stack, its denoised copies of strength 1 and 3, and the clean one, compared."""
    stack = np.stack([noisy, noisy[::-1]])
    noise = nr.estimate_noise(stack)
    viewer.add_image(np.stack([clean, clean[::-1]]) + 100, name="clean", scale=(5, 1, 1))
    viewer.add_image(stack, name="noisy", scale=(5, 1, 1))
    for strength in (1.0, 3.0):
        record = {"source": "noisy", "verb": "denoise", "noise": [noise], "model": "denoise-fast"}
        viewer.add_image(
            nr.denoise(stack, noise=noise, strength=strength),
            name=f"strength {strength:g}",
            scale=(5, 1, 1),
            metadata={"napari_rednet": {**record, "strength": strength, "ensemble": False}},
        )
    widget = dock("Compare")
    widget.pair.after.value = viewer.layers["strength 1"]
    return widget


def close(viewer, widget, qtbot):
    """Close the dock, and wait for what it still does in the background."""
    viewer.window.remove_dock_widget(widget)
    widget.deleteLater()
    qtbot.waitUntil(lambda: not WorkerBase._worker_set, timeout=LONG)


@pytest.fixture
def measure(wait):
    """Press Measure, wait, and return what is shown as plain text."""

    def press(widget):
        widget.measures.start.click()
        wait(widget)
        return widget.measures.figures.text()

    return press


def test_figures_are_those_of_the_plane_that_is_shown_or_of_the_stack(viewer, compare, measure):
    clean, noisy, after = (viewer.layers[n].data for n in ("clean", "noisy", "strength 1"))
    compare.measures.reference.value = viewer.layers["clean"]
    viewer.dims.set_point(0, 5)
    shown = measure(compare)
    assert "plane 1" in shown
    for image in (noisy[1], after[1]):
        scores = quality.score(image, clean[1])
        for figure in (f"{scores.psnr:.2f}", f"{scores.ssim:.4f}", f"{scores.invariant_psnr:.2f}"):
            assert figure in shown
    compare.measures.extent.value = STACK
    assert compare.measures.figures.text() == ""
    shown = measure(compare)
    assert "whole stack" in shown
    assert f"{quality.score(after, clean).psnr:.2f}" in shown


def test_a_source_of_another_size_has_no_figures(viewer, compare, measure):
    viewer.layers["noisy"].data = viewer.layers["noisy"].data[:, ::2, ::2]
    compare.measures.reference.value = viewer.layers["clean"]
    shown = measure(compare)
    scores = quality.score(viewer.layers["strength 1"].data[1], viewer.layers["clean"].data[1])
    assert "–" in shown
    assert "before" in shown
    assert f"{scores.psnr:.1f}"[:2] in shown


def test_without_a_reference_the_gain_is_estimated(viewer, compare, measure):
    compare.measures.extent.value = STACK
    shown = measure(compare)
    gain = float(shown.partition("about ")[2].partition(" dB")[0])
    clean, noisy, after = (viewer.layers[n].data for n in ("clean", "noisy", "strength 1"))
    true = quality.score(after, clean).psnr - quality.score(noisy, clean).psnr
    assert gain == pytest.approx(true, abs=3)


def test_what_cannot_be_measured_is_said(viewer, compare, measure):
    small = viewer.add_image(np.zeros((8, 8)), name="small")
    compare.measures.reference.value = small
    assert "The reference has the shape 8 × 8" in measure(compare)
    compare.measures.reference.value = None
    compare.pair.before.value = viewer.layers["clean"]
    assert "Choose a reference" in measure(compare)
    viewer.layers.clear()
    assert not compare.measures.start.isEnabled()


@pytest.mark.window
def test_measuring_is_cancelled_by_the_button_the_layer_and_the_window(
    viewer, compare, wait, qtbot
):
    slow = da.from_array(np.zeros((400, 64, 64)), chunks=(1, 64, 64))
    for name in "ab":
        viewer.add_image(slow, name=name, contrast_limits=(0, 1))
    compare.pair.before.value, compare.pair.after.value = (viewer.layers[n] for n in "ab")
    compare.measures.reference.value = viewer.layers["a"]
    compare.measures.extent.value = STACK

    def started():
        compare.measures.start.click()
        assert compare.is_running
        assert compare.measures.figures.text() == "Measuring: whole stack…"
        return compare._worker

    worker = started()
    compare.measures.cancel.click()
    assert worker.abort_requested
    wait(compare)
    assert compare.measures.figures.text() == ""
    worker = started()
    viewer.layers.remove(viewer.layers["b"])
    assert worker.abort_requested
    wait(compare)
    compare.measures.reference.value = None
    compare.pair.after.value = viewer.layers["strength 1"]
    worker = started()
    close(viewer, compare, qtbot)
    assert worker.abort_requested


def test_it_fits_a_narrow_dock_and_every_control_explains_itself(viewer, compare):
    viewer.layers["noisy"].name = "a very long name " * 5
    for control in compare.findChildren(QWidget):
        if isinstance(control, (QAbstractButton, QComboBox, QProgressBar)):
            control.show()
            assert control.toolTip(), control
    for setting in (compare.show_as.divider, compare.show_as.rate):
        setting.visible = True
        assert setting.tooltip
    assert compare.minimumSizeHint().width() <= 320


@pytest.mark.window
def test_the_residual_is_shown_judged_and_taken_away(viewer, compare, qtbot):
    names = [layer.name for layer in viewer.layers]
    selected = set(viewer.layers.selection)
    verdict = compare.residual.verdict

    def judged(words):
        qtbot.waitUntil(lambda: words in verdict.text(), timeout=LONG)

    compare.residual.box.click()
    judged("looks like noise")
    layer = compare.residual.layer
    noise = viewer.layers["strength 1"].metadata["napari_rednet"]["noise"][0]
    expected = quality.residual(
        viewer.layers["noisy"].data[1], viewer.layers["strength 1"].data[1], noise
    )
    np.testing.assert_allclose(layer.data[1], expected, rtol=1e-5)
    assert layer.contrast_limits == [-3, 3]
    assert layer not in image_layers(viewer)
    assert set(viewer.layers.selection) == selected
    compare.pair.after.value = viewer.layers["strength 3"]
    judged("strength too high")
    assert layer not in viewer.layers
    viewer.layers.remove(compare.residual.layer)
    assert not compare.residual.box.isChecked()
    compare.residual.box.click()
    close(viewer, compare, qtbot)
    assert [layer.name for layer in viewer.layers] == names


def test_colours_and_other_results_have_a_residual(viewer, dock, noisy_colours, qtbot):
    noise = nr.estimate_noise(noisy_colours, channel_axis=-1)
    restored = nr.denoise(noisy_colours, noise=noise, rgb=True)
    record = {"source": "colours", "verb": "denoise", "noise": noise}
    viewer.add_image(noisy_colours, rgb=True, name="colours")
    viewer.add_image(restored, rgb=True, name="a", metadata={"napari_rednet": record})
    other = {"napari_rednet": {"source": "colours", "verb": "deblock"}}
    viewer.add_image(restored, rgb=True, name="b", metadata=other)
    viewer.add_image(restored[::2, ::2], rgb=True, name="c", metadata=other)
    widget = dock("Compare")
    widget.residual.box.click()
    assert "same shape" in widget.residual.verdict.text()
    widget.pair.after.value = viewer.layers["b"]
    assert "Only the residual of a denoised" in widget.residual.verdict.text()
    assert widget.residual.layer.data.shape == noisy_colours.shape
    widget.pair.after.value = viewer.layers["a"]
    expected = [
        0.5 + quality.residual(noisy_colours[..., i], restored[..., i], noise[i]) / 6
        for i in range(3)
    ]
    shown = widget.residual.layer.data[()]
    np.testing.assert_allclose(shown, np.clip(np.stack(expected, -1), 0, 1), atol=1e-5)
    qtbot.waitUntil(lambda: "noise" in widget.residual.verdict.text(), timeout=LONG)


def test_what_was_taken_out_of_one_colour_has_that_colour(make_napari_viewer, qtbot):
    viewer = make_napari_viewer(show=True)
    before = np.full((40, 60, 3), 100, np.uint8)
    after = before.copy()
    before[:, 27:33, 0] += 30  # the mean over the colours is 0
    after[:, 27:33, 2] += 30
    viewer.add_image(before, rgb=True, name="colours")
    other = {"napari_rednet": {"source": "colours", "verb": "deblock"}}
    viewer.add_image(after, rgb=True, name="result", metadata=other)
    _, widget = viewer.window.add_plugin_dock_widget("napari-rednet", "Compare")
    widget.residual.box.click()
    assert widget.residual.layer.rgb
    qtbot.wait(200)
    picture = viewer.screenshot(canvas_only=True, flash=False)
    row, width = picture[picture.shape[0] // 2, :, :3].astype(int), picture.shape[1]
    red, _, blue = row[width // 2]
    gray = row[width // 2 - width // 5]
    assert np.ptp(gray) == 0
    assert red > gray[0] + 20
    assert blue < gray[0] - 20
