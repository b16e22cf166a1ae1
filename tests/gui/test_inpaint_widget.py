"""The Inpaint widget: what is filled, and where masks come from."""

from itertools import pairwise

import dask.array as da
import numpy as np
import pytest
from napari.layers import Image, Labels, Shapes
from scipy import ndimage
from skimage import data

import napari_rednet as nr
from napari_rednet.widgets.restore import FOUND
from napari_rednet.widgets.restore.paired_layers import layer_mask

RECTANGLE = np.array([(9.5, 19.5), (9.5, 39.5), (15.5, 39.5), (15.5, 19.5)])
HIT = (slice(10, 16), slice(20, 40))


@pytest.fixture
def widget(dock):
    return dock("Inpaint")


@pytest.fixture
def image():
    return data.camera()[100:164, 180:244]


@pytest.fixture
def colours():
    return data.astronaut()[:64, 200:264]


def marked(shape, *where):
    mask = np.zeros(shape, np.uint8)
    for index in where:
        mask[index] = 3
    return mask


def record_of(layer):
    return layer.metadata["napari_rednet"]


def check_filled(result, image, mask):
    """Only what is missing has been changed, by what the function gives."""
    assert result.data.dtype == image.dtype
    np.testing.assert_array_equal(result.data[~mask], image[~mask])
    assert (result.data[mask] != image[mask]).any()


# The mask ------------------------------------------------------------------------------------


def test_defects_are_found(viewer, widget, run, image):
    broken = image.copy()
    broken[10, 20], broken[30, 40] = 255, 0
    viewer.add_image(broken, name="cell", scale=(0.2, 0.3))
    assert widget.mask.value == FOUND
    run(widget)
    result = viewer.layers["cell inpainted"]
    np.testing.assert_array_equal(result.data, nr.inpaint(broken))
    np.testing.assert_array_equal(result.scale, (0.2, 0.3))
    told = {"source": "cell", "verb": "inpaint", "model": "inpaint-fast", "mask": None}
    assert record_of(result).items() >= told.items()


def test_painted_labels_are_filled(viewer, widget, run, image):
    viewer.add_image(image)
    labels = viewer.add_labels(marked(image.shape, HIT), name="scratch")
    widget.mask.value = labels
    run(widget)
    result = viewer.layers[-1]
    check_filled(result, image, labels.data != 0)
    np.testing.assert_array_equal(result.data, nr.inpaint(image, labels.data))
    assert record_of(result)["mask"]["name"] == "scratch"
    assert not any(isinstance(value, np.ndarray) for value in record_of(result).values())


def test_painting_during_the_run_does_not_count(viewer, widget, wait, image):
    viewer.add_image(image)
    labels = viewer.add_labels(marked(image.shape, HIT))
    widget.mask.value = labels
    widget.run.native.click()
    labels.data[...] = 1
    wait(widget)
    check_filled(viewer.layers[-1], image, marked(image.shape, HIT) != 0)


@pytest.mark.parametrize("axes", [2, 3])
def test_labels_of_one_plane_or_of_all(viewer, widget, run, image, axes):
    stack = np.stack([image, image[::-1]])
    mask = marked(image.shape, HIT) if axes == 2 else marked(stack.shape, (1, *HIT))
    viewer.add_image(stack)
    widget.mask.value = viewer.add_labels(mask)
    run(widget)
    check_filled(viewer.layers[-1], stack, np.broadcast_to(mask != 0, stack.shape))


@pytest.mark.parametrize("axes", [2, 3])
def test_all_colours_are_filled(viewer, widget, run, colours, axes):
    stack = np.stack([colours, colours[::-1]])
    mask = marked(stack.shape[1:3], HIT) if axes == 2 else marked(stack.shape[:3], (1, *HIT))
    viewer.add_image(stack, rgb=True)
    widget.mask.value = viewer.add_labels(mask)
    run(widget)
    result = viewer.layers[-1]
    assert result.rgb
    check_filled(result, stack, np.broadcast_to(mask != 0, stack.shape[:3]))
    assert (result.data != stack).any((0, 1, 2)).all()


def test_transparency_is_kept(viewer, widget, run, colours):
    alpha = np.random.default_rng(2).integers(0, 255, (64, 64, 1), np.uint8)
    viewer.add_image(np.concatenate([colours, alpha], axis=-1), rgb=True)
    mask = marked((64, 64), HIT)
    widget.mask.value = viewer.add_labels(mask)
    run(widget)
    result = viewer.layers[-1].data
    np.testing.assert_array_equal(result[..., 3:], alpha)
    np.testing.assert_array_equal(result[..., :3], nr.inpaint(colours, mask, channel_axis=-1))


def test_lazy_labels_stay_lazy(image):
    labels = Labels(da.from_array(marked(image.shape, HIT), chunks=32))
    missing = layer_mask(labels, Image(image)).missing
    assert isinstance(missing, da.Array)
    np.testing.assert_array_equal(missing.compute(), labels.data.compute() != 0)


def test_labels_that_do_not_fit_are_refused_in_words(viewer, widget, run, image, notifications):
    viewer.add_image(image)
    widget.mask.value = viewer.add_labels(marked((32, 48), (5, 5)))
    run(widget)
    (message,) = notifications()
    assert "mask" in message
    assert "(64, 64)" in message
    assert "(32, 48)" in message
    assert len(viewer.layers) == 2


def test_a_mask_of_everything_is_refused_in_words(viewer, widget, run, image, notifications):
    viewer.add_image(image)
    widget.mask.value = viewer.add_labels(np.ones((64, 64), int))
    run(widget)
    (message,) = notifications()
    assert "whole plane" in message


@pytest.mark.parametrize("kind", ["labels", "shapes", "shapes elsewhere"])
def test_an_empty_mask_is_refused_in_words(viewer, widget, run, image, notifications, kind):
    viewer.add_image(image)
    if kind == "labels":
        widget.mask.value = viewer.add_labels(np.zeros((64, 64), int), name="mine")
    else:
        shapes = [RECTANGLE + 100, RECTANGLE - 100] if kind == "shapes elsewhere" else None
        widget.mask.value = viewer.add_shapes(shapes, shape_type="polygon", name="mine")
    run(widget)
    (message,) = notifications()
    assert "nothing is" in message
    assert "'mine'" in message
    assert len(viewer.layers) == 2
    widget.mask.value = FOUND
    run(widget)
    assert len(viewer.layers) == 3


def test_labels_and_shapes_are_offered(viewer, widget, image):
    viewer.add_image(image)
    viewer.add_points([[1, 2]])
    labels, shapes = viewer.add_labels(marked(image.shape, HIT)), viewer.add_shapes([RECTANGLE])
    assert widget.mask.choices == (FOUND, labels, shapes)
    widget.mask.value = shapes
    viewer.layers.remove(labels)
    assert widget.mask.value is shapes
    viewer.layers.remove(shapes)
    assert widget.mask.value == FOUND


# Shapes --------------------------------------------------------------------------------------


def test_drawn_shapes_are_filled(viewer, widget, run, image):
    """The shapes' layer is finer than the image and lies elsewhere; what is seen counts."""
    viewer.add_image(image, scale=(2.0, 0.5), translate=(100, 200))
    shapes = viewer.add_shapes(
        [(RECTANGLE * (2.0, 0.5) + (100, 200) - (7, 8)) / 0.1],
        shape_type="polygon",
        scale=(0.1, 0.1),
        translate=(7, 8),
        name="scratch",
    )
    widget.mask.value = shapes
    run(widget)
    result = viewer.layers[-1]
    np.testing.assert_array_equal(result.data, nr.inpaint(image, marked((64, 64), HIT)))
    assert record_of(result)["mask"]["name"] == "scratch"


def test_shapes_hit_the_pixels_below_them():
    """Under rotation and shear of both layers."""
    image = Image(np.zeros((2, 24, 32)), scale=(1, 0.5, 0.7), rotate=20, translate=(0, 3, 4))
    shapes = Shapes(
        [[(0, 0), (0, 6), (8, 6), (8, 0)]],
        shape_type="rectangle",
        scale=(0.8, 1.1),
        rotate=-10,
        shear=[0.2],
        translate=(6, 10),
    )
    missing = layer_mask(shapes, image).missing
    below = np.array(
        [shapes.world_to_data(image.data_to_world((0, *i))) for i in np.ndindex(missing.shape)]
    )
    inside = ((below > 0) & (below < (8, 6))).all(-1).reshape(missing.shape)
    assert 50 < inside.sum() < 300
    np.testing.assert_array_equal(missing, inside)


def test_filled_shapes_are_those_of_napari():
    image = Image(np.zeros((64, 80)))
    shapes = Shapes()
    shapes.add_rectangles([[(3.2, 4.1), (12.7, 30.4)]])
    shapes.add_polygons([[(20, 50), (60, 70), (30, 90), (40, 55)]])
    expected = shapes.to_masks((64, 80)).any(0)
    np.testing.assert_array_equal(layer_mask(shapes, image).missing, expected)


def test_an_ellipse_is_round():
    image = Image(np.zeros((64, 80)))
    shapes = Shapes([[(30, 40), (20, 10)]], shape_type="ellipse")
    rows, columns = np.indices((64, 80))
    distance = np.hypot((rows - 30) / 20, (columns - 40) / 10)
    missing = layer_mask(shapes, image).missing
    assert missing[distance < 0.98].all()
    assert not missing[distance > 1.02].any()


@pytest.mark.parametrize("width", [1, 2, 5])
def test_lines_are_as_wide_as_they_are_drawn(width):
    image = Image(np.zeros((64, 80)), scale=(0.5, 0.5))
    path = np.array([(10, 10), (50, 25), (45, 60), (45, 60), (8, 70)])
    shapes = Shapes([path / 2], shape_type="path", edge_width=width / 2)
    missing = layer_mask(shapes, image).missing
    dense = np.concatenate([np.linspace(a, b, 500) for a, b in pairwise(path)])
    pixels = np.indices(missing.shape).reshape(2, -1).T
    distance = np.hypot(*(pixels[:, None] - dense[None]).transpose(2, 0, 1)).min(1)
    distance = distance.reshape(missing.shape)
    assert missing[distance < width / 2 - 0.05].all()
    assert not missing[distance > width / np.sqrt(2) + 0.05].any()
    assert ndimage.label(missing, np.ones((3, 3)))[1] == 1


def test_lines_that_leave_the_image_are_cut_off():
    image = Image(np.zeros((32, 32)))
    lines = [[(16, -20), (16, 10)], [(-5, 0), (-5, 31)]]
    shapes = Shapes(lines, shape_type="line", edge_width=1)
    expected = marked((32, 32), (16, slice(0, 11))) != 0
    np.testing.assert_array_equal(layer_mask(shapes, image).missing, expected)


def test_thin_lines_are_a_pixel_wide():
    image = Image(np.zeros((32, 32)))
    shapes = Shapes([[(5, 4), (5, 20)]], shape_type="line", edge_width=0.1)
    expected = marked((32, 32), (5, slice(4, 21))) != 0
    np.testing.assert_array_equal(layer_mask(shapes, image).missing, expected)


def test_shapes_drawn_in_a_stack_are_those_of_all_planes(viewer, widget, run, image):
    stack = np.stack([image, image[::-1], image.T])
    viewer.add_image(stack)
    outline = np.insert(RECTANGLE, 0, 1, axis=1)
    widget.mask.value = viewer.add_shapes([outline], shape_type="polygon")
    run(widget)
    mask = np.broadcast_to(marked((64, 64), HIT) != 0, stack.shape)
    check_filled(viewer.layers[-1], stack, mask)


def test_shapes_on_colours(colours):
    image = Image(colours, rgb=True)
    shapes = Shapes([RECTANGLE], shape_type="polygon")
    np.testing.assert_array_equal(layer_mask(shapes, image).missing, marked((64, 64), HIT) != 0)


@pytest.mark.window
def test_the_only_labels_are_the_mask_and_what_was_filled_is_told(viewer, widget, run, image):
    stack = np.stack([image] * 3)
    viewer.add_image(stack)
    assert widget.mask.value == FOUND
    labels = viewer.add_labels(marked(stack.shape, (0, *HIT), (2, *HIT)))
    assert widget.mask.value is labels
    run(widget)
    check_filled(viewer.layers[-1], stack, labels.data > 0)
    assert widget.status.value.startswith("Done in a second. Filled 240 pixels in 2 planes.")
    record = record_of(viewer.layers[-1])
    assert (record["filled"], record["filled_planes"]) == (240, 2)
    assert widget.mask.value is labels  # though there are two images now


@pytest.mark.parametrize("others", ["another size", "more labels", "more images"])
def test_labels_of_something_else_are_no_mask(viewer, widget, image, others):
    viewer.add_image(image)
    if others == "more images":
        viewer.add_image(image)
    shape = (20, 30) if others == "another size" else image.shape
    viewer.add_labels(marked(shape, (3, 4)))
    if others == "more labels":
        viewer.add_labels(marked(shape, (3, 4)))
        widget.mask.value = FOUND
        viewer.add_labels(marked(shape, (3, 4)))
    assert widget.mask.value == FOUND


@pytest.mark.window
def test_of_two_channels_both_are_filled_or_the_other_is_named(viewer, widget, run, image):
    """Only one of them is chosen in the window; both are seen."""
    first, second = (
        viewer.add_image(one, name=name, blending="additive")
        for one, name in ((image, "nuclei"), (image[::-1], "membranes"))
    )
    widget.common.image.value = first
    viewer.layers.selection = {first}
    run(widget)
    assert [layer.name for layer in viewer.layers[2:]] == ["nuclei inpainted"]
    assert "Not done: “membranes”" in widget.status.value
    viewer.layers.selection = {first, second}
    assert widget.extent.others.value
    run(widget)
    assert {layer.name for layer in viewer.layers[3:]} >= {"membranes inpainted"}
    assert "Not done" not in widget.status.value
    widget.extent.others.value = False
    second.visible = True
    run(widget)
    assert "Not done: “membranes”" in widget.status.value
    second.blending = "opaque"
    run(widget)
    assert "Not done" not in widget.status.value
