"""What a widget says while there is no image, and the sample that it offers."""

import numpy as np
import pytest
from napari.layers import Image
from npe2 import PluginManifest
from qtpy.QtCore import Qt

from napari_rednet import sample_data
from napari_rednet.widgets.restore.psf_controls import LAYER

PLUGIN = "napari-rednet"
SAMPLES = {
    "Denoise": sample_data.chromosomes_layer,
    "Deblur": sample_data.blurred,
    "Super-resolve": sample_data.small,
    "Deblock": sample_data.jpeg,
    "Inpaint": sample_data.holes,
}


@pytest.mark.parametrize("name", SAMPLES)
def test_one_click_opens_the_sample_of_the_task(viewer, dock, qtbot, name):
    widget = dock(name)
    assert widget.hint.isVisibleTo(widget.native)
    assert not widget.run.enabled
    qtbot.mouseClick(widget.hint.open_button, Qt.MouseButton.LeftButton)
    assert not widget.hint.isVisibleTo(widget.native)
    expected = SAMPLES[name]()
    assert [layer.name for layer in viewer.layers] == [
        options["name"] for _, options, _ in expected
    ]
    chosen = widget.common.image.value
    assert chosen is viewer.layers[0] is viewer.layers.selection.active
    np.testing.assert_array_equal(chosen.data, expected[0][0])
    assert widget.run.enabled
    widget.arguments()  # nothing is missing
    if name == "Deblur":
        assert (widget.psf.kind.value, widget.psf.layer.value) == (LAYER, viewer.layers[1])
    if name == "Inpaint":
        assert widget.mask.value is viewer.layers["missing"]


def test_the_sample_can_be_run_at_once(viewer, dock, run):
    widget = dock("Deblock")
    widget.hint.open_button.click()
    run(widget)
    assert viewer.layers[-1].metadata["napari_rednet"]["verb"] == "deblock"
    assert "CC-BY 4.0" in viewer.layers[-1].metadata["source"]


def test_the_hint_comes_and_goes_with_the_images(viewer, dock, noisy):
    widget = dock()
    viewer.add_labels(np.ones((8, 8), int))
    assert widget.hint.isVisibleTo(widget.native)
    viewer.add_image(noisy)
    assert not widget.hint.isVisibleTo(widget.native)
    viewer.layers.clear()
    assert widget.hint.isVisibleTo(widget.native)


def test_opened_on_a_layer_it_offers_that_layer(viewer, dock, noisy):
    viewer.add_image(noisy, name="first")
    second = viewer.add_image(noisy, name="second")
    viewer.add_image(noisy, name="third")
    viewer.layers.selection.active = second
    assert dock().common.image.value is second


@pytest.mark.parametrize(("name", "sample"), [("Denoise", "noisy"), ("Deblur", "blurred")])
def test_opened_on_a_sample_it_offers_what_is_seen(viewer, dock, name, sample):
    shown, hidden = viewer.open_sample("napari-rednet", sample)
    assert viewer.layers.selection.active is hidden
    assert dock(name).common.image.value is shown


def test_of_two_channels_inpaint_starts_with_the_one_that_shows_the_hot_pixel(viewer, dock):
    layers = viewer.open_sample("napari-rednet", "epithelium")
    chosen = dock("Inpaint").common.image.value
    row, column = np.unravel_index(chosen.data.argmax(), chosen.data.shape)
    brightness = {
        layer: np.median(layer.data[row - 1 : row + 2, column - 1 : column + 2])
        / layer.contrast_limits[1]
        for layer in layers
    }
    assert chosen is min(brightness, key=brightness.get)
    assert brightness[chosen] < 0.5 < max(brightness.values())


def test_compare_opens_a_pair(viewer, dock, qtbot):
    widget = dock("Compare")
    assert widget.hint.isVisibleTo(widget)
    assert not widget.measures.start.isEnabled()
    qtbot.mouseClick(widget.hint.open_button, Qt.MouseButton.LeftButton)
    assert not widget.hint.isVisibleTo(widget)
    assert widget.pair.pair == tuple(viewer.layers[:2])
    assert widget.measures.start.isEnabled()
    viewer.layers.clear()
    assert widget.hint.isVisibleTo(widget)


@pytest.mark.slow
@pytest.mark.window
def test_samples_open_in_their_middle_and_are_bright(viewer):
    """As the tutorial says; one hot pixel, or one scratch, makes nothing else dark."""
    keys = [one.key for one in PluginManifest.from_distribution(PLUGIN).contributions.sample_data]
    for key in keys:
        viewer.layers.clear()
        viewer.open_sample(PLUGIN, key)
        shown = [layer for layer in viewer.layers if isinstance(layer, Image) and layer.visible]
        assert shown, key
        for layer in shown:
            pixels, high = np.asarray(layer.data), layer.contrast_limits[1]
            assert 0 < np.mean(pixels >= high) < 0.05, layer.name
            rest = pixels[pixels < pixels.max()]  # without scratches
            assert high < 1.5 * np.percentile(rest, 99.8), layer.name
        if viewer.dims.ndim > 2:
            middle = (viewer.dims.nsteps[0] - 1) / 2
            assert abs(viewer.dims.current_step[0] - middle) < 1, key
