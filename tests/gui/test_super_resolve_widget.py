"""The Super-resolve widget: above all, where its result lies."""

import dask.array as da
import numpy as np
import pytest
from skimage import data

import napari_rednet as nr

PLACES = {
    "plain": {},
    "scaled": {"scale": (3.0, 0.2, 0.5), "translate": (5.0, -7.0, 11.0)},
    "rotated": {"scale": (1.0, 0.2, 0.5), "translate": (1.0, 2.0, 3.0), "rotate": (20, 30, 40)},
    "sheared": {"scale": (2.0, 0.3, 0.4), "shear": (0.1, 0.2, 0.3), "rotate": (0, 0, 30)},
    "affine": {
        "scale": (2.0, 0.3, 0.4),
        "rotate": (0, 0, 30),
        "affine": [[1, 0, 0, 5], [0.1, 2, 0.3, 6], [0, -0.2, 1, 7], [0, 0, 0, 1]],
    },
}


@pytest.fixture
def widget(dock):
    return dock("Super-resolve")


@pytest.fixture
def image():
    return data.camera()[100:132, 180:220]


@pytest.fixture
def colours():
    return data.astronaut()[:32, 200:240]


def enlarged_positions(positions, scale):
    """Where the pixels of a result are that lie at positions of its source."""
    large = np.array(positions, float)
    large[..., -2:] = (large[..., -2:] + 0.5) * scale - 0.5
    return large


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_the_result_lies_where_its_source_lies(viewer, widget, run, image, place):
    source = viewer.add_image(np.stack([image, image[::-1]]), name="cells", **place)
    widget.option["scale"].value = 3
    run(widget)
    result = viewer.layers["cells super-resolved"]
    assert result.data.shape == (2, 96, 120)
    np.testing.assert_allclose(result.scale, source.scale / (1, 3, 3))
    positions = [(0, 0, 0), (1, 31, 39), (0.5, 7, 20)]
    for small, large in zip(positions, enlarged_positions(positions, 3), strict=True):
        np.testing.assert_allclose(
            result.data_to_world(large), source.data_to_world(small), atol=1e-9
        )


def test_it_covers_what_its_source_covers(viewer, widget, run, image):
    source = viewer.add_image(image, scale=(0.3, 0.2), translate=(4, 5))
    widget.option["scale"].value = 4
    run(widget)
    outer = [layer.extent.world + np.outer([-0.5, 0.5], layer.scale) for layer in viewer.layers]
    np.testing.assert_allclose(*outer)
    np.testing.assert_array_equal(source.scale, (0.3, 0.2))


def test_it_gives_what_the_function_gives(viewer, widget, run, image):
    viewer.add_image(np.uint16(16 * image), name="cell")
    widget.option["scale"].value = 3
    run(widget)
    result = viewer.layers[-1]
    assert result.data.dtype == np.uint16
    np.testing.assert_array_equal(result.data, nr.super_resolve(np.uint16(16 * image), 3))
    told = {"source": "cell", "verb": "super_resolve", "model": "sr-fast", "scale": 3}
    assert result.metadata["napari_rednet"].items() >= told.items()


def test_colours(viewer, widget, run, colours):
    viewer.add_image(colours, rgb=True, scale=(0.5, 0.5))
    run(widget)
    result = viewer.layers[-1]
    assert result.rgb
    np.testing.assert_array_equal(result.scale, (0.25, 0.25))
    np.testing.assert_array_equal(result.data, nr.super_resolve(colours, 2, rgb=True))


@pytest.mark.parametrize("lazy", [False, True])
def test_transparency_is_enlarged_along(viewer, widget, run, colours, lazy):
    alpha = np.zeros((*colours.shape[:2], 1), np.uint8)
    alpha[:, :20] = 200
    image = np.concatenate([colours, alpha], axis=-1)
    viewer.add_image(da.from_array(image, chunks=20) if lazy else image, rgb=True)
    run(widget)
    result = np.asarray(viewer.layers[-1].data)
    np.testing.assert_array_equal(result[..., :3], nr.super_resolve(colours, 2, rgb=True))
    np.testing.assert_array_equal(result[:, :30, 3], 200)
    np.testing.assert_array_equal(result[:, 50:, 3], 0)


def test_multiscale_gives_its_full_resolution_enlarged(viewer, widget, run, image):
    viewer.add_image([image, image[::2, ::2]], multiscale=True, scale=(0.5, 0.5))
    run(widget)
    result = viewer.layers[-1]
    np.testing.assert_array_equal(result.data, nr.super_resolve(image))
    np.testing.assert_array_equal(result.scale, (0.25, 0.25))


def test_another_scale_chosen_during_the_run_does_not_count(viewer, widget, wait, image):
    viewer.add_image(image)
    widget.option["scale"].value = 4
    widget.run.native.click()
    widget.option["scale"].value = 2
    wait(widget)
    assert viewer.layers[-1].data.shape == (128, 160)
    np.testing.assert_array_equal(viewer.layers[-1].scale, (0.25, 0.25))
