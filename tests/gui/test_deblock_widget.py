"""The Deblock widget."""

import io

import numpy as np
import pytest
from PIL import Image
from skimage import data

import napari_rednet as nr


@pytest.fixture
def widget(dock):
    return dock("Deblock")


def coded(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=15)
    return np.asarray(Image.open(file))


@pytest.fixture
def colours():
    return coded(data.astronaut()[:64, 200:264])


def test_it_gives_what_the_function_gives(viewer, widget, run):
    image = coded(data.camera()[100:164, 180:244])
    source = viewer.add_image(image, name="cell", scale=(0.2, 0.3), translate=(4, 5))
    run(widget)
    result = viewer.layers["cell deblocked"]
    assert result.data.dtype == np.uint8
    np.testing.assert_array_equal(result.data, nr.deblock(image))
    np.testing.assert_array_equal(result.extent.world, source.extent.world)
    told = {"source": "cell", "verb": "deblock", "model": "deblock-fast", "ensemble": False}
    assert result.metadata["napari_rednet"].items() >= told.items()


def test_colours(viewer, widget, run, colours):
    viewer.add_image(colours, rgb=True)
    run(widget)
    result = viewer.layers[-1]
    assert result.rgb
    np.testing.assert_array_equal(result.data, nr.deblock(colours, rgb=True))
    assert (result.data != colours).any()


def test_transparency_is_kept(viewer, widget, run, colours):
    alpha = np.random.default_rng(2).integers(0, 255, (64, 64, 1), np.uint8)
    viewer.add_image(np.concatenate([colours, alpha], axis=-1), rgb=True)
    run(widget)
    result = viewer.layers[-1].data
    np.testing.assert_array_equal(result[..., 3:], alpha)
    np.testing.assert_array_equal(result[..., :3], nr.deblock(colours, rgb=True))
