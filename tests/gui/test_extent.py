"""What of a layer is restored: its channels, some of its planes, a region of them."""

import itertools

import numpy as np
import pytest
import tifffile
import zarr
from qtpy.QtWidgets import QApplication

import napari_rednet as nr
from napari_rednet.provenance import Call, as_command_line, as_python
from napari_rednet.widgets.restore.extent import SHOWN, VIEW, WHOLE_PLANES
from napari_rednet.widgets.restore.paired_layers import LayerMask
from napari_rednet.widgets.shared.controls import NO_CHANNELS
from napari_rednet.widgets.shared.layers import LayerImage, slices

LONG = 60_000
TYPED = [nr.NoiseModel(1.0, 90.0, 5.0), nr.NoiseModel(3.0, 90.0, 40.0)]


@pytest.fixture
def channels(noisy):
    """Two channels of two planes, (Z, C, Y, X), with noise of their own."""
    lot = np.random.default_rng(3)
    plain = noisy[:48, :64] // 8
    loud = np.clip(plain + lot.normal(0, 60, plain.shape), 0, 4095).astype(np.uint16)
    return np.stack([np.stack([plain, loud]), np.stack([plain[::-1], loud[::-1]])])


def written(path, image, kind):
    """The image in a file, with the axes Z, C, Y, X; written by tifffile or zarr."""
    if kind == "imagej":
        tifffile.imwrite(path / "a.tif", image, imagej=True, metadata={"axes": "ZCYX"})
    else:
        tifffile.imwrite(path / "a.tif", image, ome=True, metadata={"axes": "ZCYX"})
    return path / "a.tif"


def record_of(layer):
    return layer.metadata["napari_rednet"]


def run_python(code):
    names = {}
    exec(code, names)
    return names["restored"]


def rectangle(rows, columns):
    corners = [(rows[0], columns[0]), (rows[0], columns[1]), (rows[1], columns[1])]
    return np.array([*corners, (rows[1], columns[0])], float)


@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_channels_of_a_file_have_noise_of_their_own(
    viewer, dock, run, channels, tmp_path, qtbot, kind
):
    viewer.open(written(tmp_path, channels, kind), plugin="napari")
    widget = dock()
    qtbot.waitUntil(lambda: widget.extent.channels.value == 1, timeout=LONG)
    assert widget.noise.channel.choices == ("channel 0", "channel 1")
    run(widget)
    result = viewer.layers[-1]
    np.testing.assert_array_equal(result.data, nr.denoise(channels, channel_axis=1))
    quiet, loud = record_of(result)["noise"]
    assert loud["read_noise"] > 2 * quiet["read_noise"]
    call = Call.from_record(record_of(result)["call"])
    np.testing.assert_array_equal(run_python(as_python(call)), result.data)
    # What it made is taken as it was, too.
    widget.common.image.value = result
    assert widget.extent.channels.value == 1


def test_a_command_takes_the_same_axis_for_channels_or_is_refused(
    viewer, dock, channels, tmp_path, qtbot
):
    viewer.open(written(tmp_path, channels, "ome"), plugin="napari")
    widget = dock()
    qtbot.waitUntil(lambda: widget.extent.channels.value == 1, timeout=LONG)
    assert as_command_line(widget.layer_runs.present_call()).startswith("napari-rednet denoise ")
    for axis in (NO_CHANNELS, 0):
        widget.extent.channels.value = axis
        with pytest.raises(ValueError, match="takes an axis"):
            as_command_line(widget.layer_runs.present_call())


def test_axes_that_are_labelled_are_channels_unless_the_user_says_no(viewer, dock, run, channels):
    viewer.add_image(channels, axis_labels=("Z", "C", "Y", "X"))
    widget = dock("Deblock")
    assert widget.extent.channels.value == 1
    widget.extent.channels.value = NO_CHANNELS
    run(widget)
    assert record_of(viewer.layers[-1])["channel_axis"] is None
    np.testing.assert_array_equal(viewer.layers[-1].data, nr.deblock(channels))


def test_the_preview_of_a_channel_is_the_result_of_it(viewer, dock, run, channels, qtbot):
    viewer.add_image(channels, axis_labels=("z", "c", "y", "x"))
    widget = dock()
    viewer.dims.set_current_step((0, 1), (1, 1))
    widget.preview.toggle.value = True
    qtbot.waitUntil(lambda: not widget.preview.is_busy, timeout=LONG)
    (shown,) = (layer for layer in viewer.layers if "preview" in layer.name)
    seen = shown.data[0, 0].astype(float)
    expected = nr.denoise(channels, channel_axis=1)[1, 1]
    np.testing.assert_allclose(seen, expected, atol=3)
    widget.extent.channels.value = NO_CHANNELS
    qtbot.waitUntil(lambda: not widget.preview.is_busy, timeout=LONG)
    np.testing.assert_allclose(shown.data[0, 0].astype(float), nr.denoise(channels)[1, 1], atol=3)
    assert np.abs(seen - shown.data[0, 0]).max() > 10


def test_the_shown_plane_has_the_noise_that_is_typed_for_its_channel(viewer, dock, run, channels):
    viewer.add_image(channels, axis_labels=("z", "c", "y", "x"))
    widget = dock()
    widget.noise.type_models(TYPED)
    viewer.dims.set_current_step((0, 1), (1, 1))
    widget.extent.planes.value = SHOWN
    run(widget)
    expected = nr.denoise(channels[1, 1], noise=TYPED[1])
    np.testing.assert_array_equal(viewer.layers[-1].data[0, 0], expected)
    widget.noise.mode.value = "automatic"
    run(widget)
    alone = nr.denoise(channels[1, 1])
    np.testing.assert_array_equal(viewer.layers[-1].data[0, 0], alone)
    widget.noise.channel.value = "channel 1"
    assert float(widget.noise.fields["read_noise"].value) > 0
    widget.noise.channel.value = "channel 0"
    assert widget.noise.fields["read_noise"].value == ""


@pytest.mark.window
def test_a_region_lies_where_it_lies_and_has_the_noise_of_the_whole(viewer, dock, run, noisy):
    stack = np.stack([noisy, noisy // 2])
    source = viewer.add_image(stack, scale=(3, 2, 0.5), translate=(1, 2, 3), name="cell")
    (top, left), (bottom, right) = (
        source.data_to_world((0, *corner))[1:] for corner in ((20, 30), (79, 109))
    )
    viewer.add_shapes([rectangle((top, bottom), (left, right))], name="here")
    widget = dock()
    widget.common.image.value = source
    widget.extent.region.value = viewer.layers["here"]
    run(widget)
    result = viewer.layers[-1]
    crop = record_of(result)["crop"]
    assert crop == [None, [20, 80], [30, 110]]
    noise = nr.estimate_noise(stack)
    np.testing.assert_array_equal(result.data, nr.denoise(stack[:, 20:80, 30:110], noise=noise))
    np.testing.assert_allclose(result.data_to_world((0, 0, 0)), source.data_to_world((0, 20, 30)))
    # Well inside, it is what it would be in the whole.
    inside = (slice(None), slice(30, -30), slice(30, -30))
    whole = nr.denoise(stack)[:, 20:80, 30:110]
    np.testing.assert_allclose(
        result.data[inside].astype(float), whole[inside].astype(float), atol=3
    )
    widget.extent.region.value = WHOLE_PLANES
    run(widget)
    assert record_of(viewer.layers[-1])["crop"] is None


@pytest.mark.window
@pytest.mark.parametrize("name", ["Super-resolve", "Inpaint"])
def test_what_is_seen_of_some_planes(viewer, dock, run, noisy, name):
    stack = np.stack([noisy[i : i + 60, :70] for i in range(4)])
    source = viewer.add_image(stack, name="cell")
    mask = np.zeros(stack.shape, np.uint8)
    mask[:, 20:24, 30:34] = mask[2, 40:43, 30:34] = 1
    labels = viewer.add_labels(mask)
    source.corner_pixels = np.array([[0, 10, 20], [0, 49, 59]])
    widget = dock(name)
    widget.common.image.value = source
    if name == "Inpaint":
        widget.mask.value = labels
    widget.extent.region.value, widget.extent.planes.value = VIEW, 0
    widget.extent.first.value, widget.extent.last.value = 1, 2
    run(widget)
    result = viewer.layers[-1]
    part = (slice(1, 3), slice(10, 50), slice(20, 60))
    assert [tuple(one) for one in record_of(result)["crop"]] == [(1, 3), (10, 50), (20, 60)]
    expected = (
        nr.inpaint(stack[part], mask[part])
        if name == "Inpaint"
        else nr.super_resolve(stack[part], scale=2)
    )
    np.testing.assert_array_equal(result.data, expected)
    corner = (-0.5, -0.5, -0.5)
    np.testing.assert_allclose(result.data_to_world(corner), np.add((1, 10, 20), corner))


def test_code_for_a_region_names_the_noise_of_the_whole(
    viewer, dock, run, noisy, tmp_path, notifications
):
    tifffile.imwrite(tmp_path / "cell.tif", noisy)
    (layer,) = viewer.open(tmp_path / "cell.tif", plugin="napari")
    layer.corner_pixels = np.array([[10, 20], [59, 69]])
    widget = dock()
    widget.extent.region.value = VIEW
    for text in ("Copy as Python", "Copy as command line"):
        action = next(a for a in widget.menu.menu.actions() if a.text() == text)
        action.trigger()
        assert "press Estimate noise first" in notifications()[-1]
    run(widget)
    result = viewer.layers[-1]
    next(a for a in widget.menu.menu.actions() if a.text() == "Copy as Python").trigger()
    code = QApplication.clipboard().text()
    assert code == as_python(Call.from_record(record_of(result)["call"]))
    np.testing.assert_array_equal(run_python(code), result.data)
    with pytest.raises(ValueError, match="whole images"):
        as_command_line(Call.from_record(record_of(result)["call"]))


def test_an_empty_drawing_and_a_hidden_layer_are_told(viewer, dock, run, noisy, notifications):
    layer = viewer.add_image(noisy)
    shapes = viewer.add_shapes(name="nothing")
    widget = dock()
    widget.common.image.value = layer
    widget.extent.region.value = shapes
    run(widget)
    assert "nothing is drawn" in notifications()[-1]
    widget.extent.region.value = VIEW
    layer.visible = False
    run(widget)
    assert "hidden" in notifications()[-1]
    assert len(viewer.layers) == 2


def test_what_is_not_in_memory_is_read_where_it_is_restored(viewer, dock, run, noisy):
    stored = zarr.array(np.stack([noisy[:40, :48]] * 3), chunks=(1, 40, 48))
    layer = viewer.add_image(stored)
    widget = dock()
    widget.extent.planes.value = 0
    widget.extent.first.value = widget.extent.last.value = 2
    widget.extent.lazily.value = False
    run(widget)
    assert isinstance(viewer.layers[-1].data, np.ndarray)
    noise = nr.estimate_noise(np.asarray(stored))
    expected = nr.denoise(np.asarray(stored)[2:], noise=noise)
    np.testing.assert_array_equal(viewer.layers[-1].data, expected)
    assert layer.data is stored


SHAPE = (3, 2, 4, 5)
CROPS = list(itertools.product([None, (1, 2)], [None, (1, 2)], [None, (1, 3)], [None, (2, 4)]))
MASKS = {
    "of a plane": ((4, 5), None),
    "of all planes": (SHAPE, None),
    "of every plane along an axis": ((3, 1, 4, 5), None),
    "of all channels": ((3, 4, 5), 1),
    "of all channels, which come first": ((2, 4, 5), 0),
}


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("crop", CROPS)
def test_a_mask_is_cut_as_its_image_is(crop, kind):
    shape, channel = MASKS[kind]
    missing = np.random.default_rng(0).random(shape) < 0.5

    def spread(mask):
        return mask if channel is None else np.expand_dims(mask, channel)

    part = np.zeros(SHAPE)[slices(crop)]
    found = LayerMask("m", missing).of(LayerImage(part, crop=crop, channel=channel))
    expected = np.broadcast_to(spread(missing), SHAPE)[slices(crop)]
    np.testing.assert_array_equal(np.broadcast_to(spread(found), part.shape), expected)


def test_other_layers_have_channels_where_the_chosen_one_has_them(viewer, dock, run, channels):
    first = viewer.add_image(channels, axis_labels=("z", "c", "y", "x"), name="a")
    second = viewer.add_image(channels[:, ::-1], name="b")
    flat = viewer.add_image(channels[0, 0], name="flat")
    widget = dock()
    widget.common.image.value = first
    viewer.layers.selection = {first, second, flat}
    widget.extent.others.value = True
    run(widget)
    expected = nr.denoise(channels[:, ::-1], channel_axis=1)
    np.testing.assert_array_equal(viewer.layers["b denoised"].data, expected)
    assert record_of(viewer.layers["flat denoised"])["channel_axis"] is None


@pytest.mark.window
def test_a_range_holds_for_all_layers_with_these_planes(viewer, dock, run, noisy):
    """As for the channels of a file, each of which napari opens as a layer of its own."""
    stack = np.stack([noisy[:40, :48]] * 4)
    first, second = (viewer.add_image(stack + i, name=f"channel {i}") for i in range(2))
    short = viewer.add_image(stack[:2], name="short")
    widget = dock("Deblock")
    widget.common.image.value = first
    viewer.layers.selection = {first, second, short}
    widget.extent.planes.value = 0
    widget.extent.first.value, widget.extent.last.value = 1, 2
    run(widget)
    restored = [viewer.layers[f"{name} deblocked"] for name in ("channel 0", "channel 1", "short")]
    assert [len(layer.data) for layer in restored] == [2, 2, 2]
    assert [layer.data_to_world((0, 0, 0))[0] for layer in restored] == [1, 1, 0]


def test_planes_with_very_different_noise_are_told_of(viewer, dock, run, channels):
    viewer.add_image(channels)
    widget = dock()
    run(widget)
    assert "along axis 1" in widget.status.value
    assert "Channels" in widget.status.value
    widget.extent.channels.value = 1
    run(widget)
    assert "along axis" not in widget.status.value
