"""The Compare widget: the map of uncertainty, and results whose channels have their own noise."""

import re

import numpy as np
import pytest
from superqt.utils import WorkerBase

import napari_rednet as nr
from napari_rednet import quality
from napari_rednet.widgets.compare.measures import NO_NOISE, STACK

LONG = 60_000


@pytest.fixture
def channels(noisy):
    """(Z, C, Y, X): the second channel has ten times the noise of the first."""
    lot = np.random.default_rng(3)
    plain = np.full((48, 64), 1000.0)
    pair = [plain + lot.normal(0, sigma, plain.shape) for sigma in (5, 50)]
    return np.stack([np.stack(pair), np.stack(pair)[:, ::-1]]).astype(np.float32)


@pytest.fixture
def planes(clean):
    """Seven planes that show the same, each with noise of its own."""
    lot = np.random.default_rng(5)
    return (clean + lot.normal(0, 90, (7, *clean.shape))).astype(np.float32)


@pytest.fixture
def compared(viewer, dock, run):
    """Denoise a layer, and open Compare on it and its result."""

    def compare(data, prepare=None, **options):
        viewer.add_image(data, name="cell", **options)
        widget = dock("Denoise")
        if prepare is not None:
            prepare(widget)
        run(widget)
        return dock("Compare")

    return compare


@pytest.fixture
def press(qtbot, wait):
    """Press Uncertainty, and wait until it is there."""

    def press_uncertainty(widget):
        widget.uncertainty.start.click()
        wait(widget)
        qtbot.waitUntil(lambda: not WorkerBase._worker_set, timeout=LONG)
        return next((one for one in widget.viewer.layers if "uncertainty" in one.name), None)

    return press_uncertainty


@pytest.mark.window
def test_the_shown_plane_is_mapped_where_it_lies(viewer, compared, press, noisy):
    stack = np.stack([noisy[:40, :48], noisy[20:60, 30:78]])
    widget = compared(stack, scale=(3, 2, 2), translate=(1, 2, 3))
    viewer.dims.set_current_step(0, 1)
    layer = press(widget)
    noise = nr.estimate_noise(stack)
    expected = quality.uncertainty(
        stack[1], lambda image: nr.denoise(image, noise=noise, dtype="float32"), noise=noise
    )
    np.testing.assert_allclose(layer.data[0], expected, rtol=1e-3)
    after = viewer.layers["cell denoised"]
    np.testing.assert_allclose(layer.data_to_world((0, 0, 0)), after.data_to_world((1, 0, 0)))
    assert viewer.layers.selection.active is not layer


@pytest.mark.slow
@pytest.mark.parametrize("extent", ["this plane", STACK])
def test_planes_that_were_restored_together_are_mapped_as_such(
    viewer, compared, press, planes, extent
):
    widget = compared(planes, prepare=together)
    widget.measures.extent.value = extent
    viewer.dims.set_current_step(0, 3)
    layer = press(widget)
    noise = nr.estimate_noise(planes)
    near = planes if extent == STACK else planes[1:6]
    expected = quality.uncertainty(
        near, lambda image: nr.denoise(image, noise=noise, along=0, dtype="float32"), noise=noise
    )
    found = layer.data if extent == STACK else layer.data[0]
    np.testing.assert_allclose(found, expected if extent == STACK else expected[2], rtol=1e-3)


@pytest.mark.parametrize("extent", ["this plane", STACK])
def test_the_error_of_planes_that_were_restored_together(
    viewer, compared, wait, planes, clean, extent
):
    widget = compared(planes, prepare=together)
    viewer.dims.set_current_step(0, 3)
    widget.measures.extent.value = extent
    widget.measures.start.click()
    wait(widget)
    told = figure(widget.measures.figures.text(), "error left (rms)")
    result = viewer.layers["cell denoised"].data
    off = (result if extent == STACK else result[3]) - clean
    assert told == pytest.approx(np.sqrt(np.mean(off**2)), rel=0.35)


def test_hot_pixels_that_were_kept_are_kept_when_it_is_restored_again(compared, press, noisy):
    hot = noisy[:40, :48].astype(np.float32)
    hot[20, 20] += 3000

    def keep(widget):
        widget.option["defects"].value = False

    found = press(compared(hot, prepare=keep)).data
    noise = nr.estimate_noise(hot)
    repaired, kept = (
        quality.uncertainty(
            hot,
            lambda image, defects=defects: nr.denoise(image, noise=noise, defects=defects),
            noise=noise,
        )
        for defects in ("repair", "keep")
    )
    np.testing.assert_allclose(found, kept, rtol=1e-3)
    assert not np.allclose(found, repaired, rtol=1e-2)


@pytest.mark.parametrize("along", [None, "z"])
def test_a_hot_pixel_that_was_repaired_is_no_error(compared, wait, planes, along):
    """It would outweigh all noise."""
    gains = []
    for value in (0, 60_000):
        stack = planes[:, :64, :80].copy()
        stack[3, 20, 20] += value

        def prepare(widget):
            widget.option["along"].value = along

        widget = compared(stack, prepare=prepare)
        widget.measures.start.click()
        wait(widget)
        gains.append(float(re.search(r"about (\S+) dB", widget.measures.figures.text())[1]))
    assert gains[0] > 3
    assert gains[1] == pytest.approx(gains[0], abs=1)


def test_the_result_of_a_part_is_mapped_where_it_lies(viewer, compared, press, noisy):
    stack = np.stack([noisy, noisy[::-1], noisy[:, ::-1]])

    def choose(widget):
        viewer.add_shapes([[(10, 20), (10, 67), (49, 67), (49, 20)]], name="around")
        widget.reset_choices()
        widget.extent.region.value = viewer.layers["around"]
        widget.extent.planes.value = 0
        widget.extent.first.value = 1

    widget = compared(stack, prepare=choose)
    viewer.dims.set_current_step(0, 2)
    layer = press(widget)
    after = viewer.layers["cell denoised"]
    assert after.data.shape[0] == 2
    assert layer.data.shape == (1, *after.data.shape[1:])
    np.testing.assert_allclose(layer.data_to_world((0, 0, 0)), after.data_to_world((1, 0, 0)))
    noise = nr.NoiseModel(**after.metadata["napari_rednet"]["noise"][0])
    part = stack[2, 10:50, 20:68]
    expected = quality.uncertainty(
        part[: after.data.shape[1], : after.data.shape[2]],
        lambda image: nr.denoise(image, noise=noise, dtype="float32"),
        noise=noise,
    )
    np.testing.assert_allclose(layer.data[0], expected, rtol=1e-3)


def test_a_stack_with_channels_is_mapped_by_the_noise_of_each(viewer, compared, press, channels):
    widget = compared(channels, axis_labels=("z", "c", "y", "x"))
    widget.measures.extent.value = STACK
    layer = press(widget)
    assert layer.data.shape == channels.shape
    assert layer.data[:, 1].mean() > 3 * layer.data[:, 0].mean()


def test_colours_are_mapped_as_a_whole(compared, press, noisy_colours):
    layer = press(compared(noisy_colours[:40, :48], rgb=True))
    assert not layer.rgb
    assert layer.data.shape == (40, 48)


def test_what_was_not_denoised_has_no_map(viewer, dock, noisy, press):
    viewer.add_image(noisy)
    viewer.add_image(noisy // 2)
    widget = dock("Compare")
    assert press(widget) is None
    assert widget.measures.figures.text() == NO_NOISE


def test_cancelled_it_leaves_nothing(viewer, compared, qtbot, noisy, wait):
    widget = compared(noisy)
    before = list(viewer.layers)
    widget.measures.say("figures")
    widget.uncertainty.start.click()
    assert widget.measures.figures.text() == "Mapping the uncertainty: whole image…"
    assert not widget.measures.start.isEnabled()
    assert not widget.uncertainty.start.isEnabled()
    widget.measures.cancel.click()
    wait(widget)
    assert widget.measures.figures.text() == "figures"
    assert widget.uncertainty.start.isEnabled()
    qtbot.waitUntil(lambda: not WorkerBase._worker_set, timeout=LONG)
    assert list(viewer.layers) == before


def test_the_residual_of_each_channel_is_in_units_of_its_noise(viewer, compared, channels):
    widget = compared(channels, axis_labels=("z", "c", "y", "x"))
    widget.residual.box.setChecked(True)
    data = widget.residual.layer.data
    whole = np.asarray(data)
    noise = [nr.NoiseModel(**one) for one in _noise(viewer)]
    before, after = viewer.layers["cell"].data, viewer.layers["cell denoised"].data
    for channel in (0, 1):
        expected = quality.residual(before[:, channel], after[:, channel], noise[channel])
        np.testing.assert_allclose(whole[:, channel], expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(data[:, channel], expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(data[1, channel, :8], expected[1, :8], rtol=1e-4, atol=1e-5)
        assert np.std(expected) == pytest.approx(1, abs=0.2)
    np.testing.assert_array_equal(data[0, :, 3:9, 2], whole[0, :, 3:9, 2])


@pytest.mark.parametrize(("extent", "level"), [(STACK, 35.5), ("this plane", 50.0)])
def test_the_error_is_estimated_under_the_noise_of_each_channel(
    viewer, compared, wait, channels, extent, level
):
    widget = compared(channels, axis_labels=("z", "c", "y", "x"))
    viewer.dims.set_current_step((0, 1), (0, 1))  # the loud one
    widget.measures.extent.value = extent
    widget.measures.start.click()
    wait(widget)
    told = figure(widget.measures.figures.text(), "noise before (rms)")
    assert told == pytest.approx(level, rel=0.1)


def figure(table, name):
    """A figure of the table of figures."""
    return float(table.split(name)[1].split("&nbsp;&nbsp;")[1].split("<")[0])


def together(widget):
    """Restore planes with the help of those next to them."""
    next(control for control in widget.remembered() if control.name == "along").value = "z"


def _noise(viewer):
    return viewer.layers["cell denoised"].metadata["napari_rednet"]["noise"]
