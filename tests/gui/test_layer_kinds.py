"""All kinds of image layers, planes of them, and several at once."""

import threading
from types import SimpleNamespace

import dask.array as da
import numpy as np
import pytest
import zarr
from napari.layers import Image

import napari_rednet as nr
from napari_rednet.widgets import DenoiseWidget
from napari_rednet.widgets.shared import layers as shared_layers
from napari_rednet.widgets.shared import worker
from napari_rednet.widgets.shared.layers import (
    PlanesOnDemand,
    as_shown,
    check_restorable,
    finer_grid,
    layer_options,
    shown_plane,
)

VERBS = {
    "Denoise": nr.denoise,
    "Super-resolve": nr.super_resolve,
    "Deblock": nr.deblock,
    "Inpaint": nr.inpaint,
}
PLACED = {
    "scale": (5.0, 3.0, 2.0, 0.5, 0.25),
    "translate": (1, 2, 3, 4, 5),
    "units": ("s", "pixel", "um", "um", "um"),
    "axis_labels": ("t", "c", "z", "y", "x"),
}


@pytest.fixture
def stack(noisy):
    """Five axes: t, c, z, y, x."""
    planes = [noisy[i : i + 24, 2 * i : 2 * i + 30] // (i % 3 + 1) for i in range(12)]
    return np.stack(planes).reshape(2, 2, 3, 24, 30)


@pytest.fixture
def a_zarr(stack):
    return zarr.array(stack, chunks=(1, 1, 1, 16, 16))


@pytest.mark.window
@pytest.mark.parametrize("name", VERBS)
def test_five_axes_are_restored_as_the_function_does(viewer, dock, run, stack, name):
    viewer.add_image(stack, **PLACED)
    run(dock(name))
    result = viewer.layers[-1]
    np.testing.assert_array_equal(result.data, VERBS[name](stack, channel_axis=1))
    assert result.axis_labels == PLACED["axis_labels"]
    assert [str(unit) for unit in result.units] == [str(unit) for unit in viewer.layers[0].units]


@pytest.mark.parametrize("name", VERBS)
def test_the_shown_plane_is_restored_where_it_lies(viewer, dock, run, stack, name):
    source = viewer.add_image(stack, name="cell", **PLACED)
    widget = dock(name)
    viewer.dims.set_current_step((0, 1, 2), (1, 0, 2))
    widget.extent.planes.value = "shown"
    run(widget)
    result = viewer.layers[-1]
    np.testing.assert_array_equal(result.data[0, 0, 0], VERBS[name](stack[1, 0, 2]))
    factor = result.data.shape[-1] // stack.shape[-1]
    corner = (1 - factor) / (2 * factor)
    first = source.data_to_world((1, 0, 2, corner, corner))
    np.testing.assert_allclose(result.data_to_world(np.zeros(5)), first)
    assert result.metadata["napari_rednet"]["crop"] == [[1, 2], [0, 1], [2, 3], None, None]
    # In no other plane.
    np.testing.assert_allclose(result.extent.world[:, :3], [first[:3], first[:3]])
    assert result.axis_labels == source.axis_labels


def test_a_plane_lies_right_in_a_turned_layer():
    layer = Image(np.zeros((4, 8, 8)), scale=(3, 2, 1), rotate=30, shear=(0, 0, 0.3))
    finer = layer_options(layer) | finer_grid(layer, 2, (2, 0, 0))
    for options in (layer_options(layer, ((2, 3), None, None)), finer):
        one = Image(np.zeros((1, 16, 16)), **options)
        factor = round(layer.scale[-1] / one.scale[-1])
        corner = (1 - factor) / (2 * factor)
        place = layer.data_to_world((2, corner, corner))
        np.testing.assert_allclose(one.data_to_world((0, 0, 0)), place)


@pytest.mark.parametrize(
    ("point", "plane"), [((6.4, 9, 9), (2,)), ((-50, 9, 9), (0,)), ((500, 0, 0), (3,))]
)
def test_the_plane_nearest_to_the_sliders_is_shown(point, plane):
    layer = Image(np.zeros((4, 8, 8)), scale=(3, 1, 1))
    assert shown_plane(layer, point) == plane
    assert shown_plane(layer, (77, *point)) == plane  # others have more axes


def test_a_plane_of_colours(viewer, dock, run, noisy_colours):
    film = np.stack([noisy_colours[:30, :40], noisy_colours[20:50, 30:70]])
    viewer.add_image(film, rgb=True)
    widget = dock()
    viewer.dims.set_current_step(0, 1)
    widget.extent.planes.value = "shown"
    run(widget)
    result = viewer.layers[-1]
    assert result.rgb
    np.testing.assert_array_equal(result.data[0], nr.denoise(film[1], rgb=True))


@pytest.mark.parametrize("axes", [2, 3])
def test_a_plane_of_a_masked_stack(viewer, dock, run, stack, axes):
    film = stack[0, 0]
    labels = np.zeros(film.shape[-axes:], int)
    labels[..., 5:9, 10:20] = 4
    layer = viewer.add_image(film)
    mask = viewer.add_labels(labels)
    widget = dock("Inpaint")
    widget.common.image.value, widget.mask.value = layer, mask
    viewer.dims.set_current_step(0, 2)
    widget.extent.planes.value = "shown"
    run(widget)
    one = labels if axes == 2 else labels[2]
    np.testing.assert_array_equal(viewer.layers[-1].data[0], nr.inpaint(film[2], one > 0))


def test_only_stacks_and_what_is_not_in_memory_bring_a_choice(
    make_napari_viewer, qtbot, noisy, stack, a_zarr
):
    viewer = make_napari_viewer(show=True)
    flat, deep, stored = (viewer.add_image(image) for image in (noisy, stack, a_zarr))
    _, widget = viewer.window.add_plugin_dock_widget("napari-rednet", "Denoise")
    qtbot.waitUntil(lambda: widget.run.visible)
    # Others, channels, planes, first, last, region, lazily.
    for layer, shown in ((flat, "0000010"), (deep, "0110010"), (stored, "0110011")):
        widget.common.image.value = layer
        assert [control.visible for control in widget.extent.widgets] == [s == "1" for s in shown]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Denoise", "zarr"),
        ("Super-resolve", "dask"),
        ("Deblock", "zarr"),
        ("Inpaint", "dask"),
        *(
            pytest.param(name, kind, marks=pytest.mark.slow)
            for name, kind in zip(VERBS, ("dask", "zarr", "dask", "zarr"), strict=True)
        ),
    ],
)
def test_what_is_not_in_memory_becomes_lazy_or_is_computed(
    viewer, dock, run, stack, a_zarr, name, kind
):
    stored = a_zarr if kind == "zarr" else da.from_array(stack, chunks=(1, 1, 1, 24, 17))
    viewer.add_image(stored)
    widget = dock(name)
    expected = VERBS[name](stack)
    for lazily, array in ((True, da.Array), (False, np.ndarray)):
        widget.common.image.value = viewer.layers[0]
        widget.extent.lazily.value = lazily
        run(widget)
        result = viewer.layers[-1].data
        assert isinstance(result, array)
        assert viewer.layers[-1].metadata["napari_rednet"]["is_lazy"] == lazily
        np.testing.assert_array_equal(np.asarray(result), expected)


def test_a_lazy_result_is_computed_as_it_is_scrolled_to(viewer, dock, run, stack):
    computed = []

    def read(block, block_info=None):
        if block_info and block_info[0]:
            computed.append(block_info[0]["chunk-location"][0])
        return block

    film = da.from_array(stack.reshape(12, 24, 30), chunks=(1, 24, 30)).map_blocks(read)
    viewer.add_image(film.astype(film.dtype), contrast_limits=(0, 4000))
    widget = dock("Deblock")
    run(widget)
    result = viewer.layers[-1].data
    computed.clear()
    np.asarray(result[7])
    assert 7 in computed
    expected = nr.deblock(stack.reshape(12, 24, 30))
    np.testing.assert_array_equal(np.asarray(result[7]), expected[7])


@pytest.mark.parametrize("lazily", [True, False])
def test_transparency_of_what_is_not_in_memory(viewer, dock, run, noisy_colours, lazily):
    alpha = np.random.default_rng(2).integers(0, 255, (*noisy_colours.shape[:2], 1), np.uint8)
    image = np.concatenate([noisy_colours, alpha], axis=-1)
    viewer.add_image(da.from_array(image, chunks=(50, 50, 4)), rgb=True)
    widget = dock()
    widget.extent.lazily.value = lazily
    run(widget)
    result = np.asarray(viewer.layers[-1].data)
    np.testing.assert_array_equal(result[..., 3:], alpha)
    np.testing.assert_array_equal(result[..., :3], nr.denoise(noisy_colours, rgb=True))


def test_planes_on_demand_are_computed_once(stack):
    computed = []

    def read(block):
        computed.append(block.size)
        return block

    lazy = da.from_array(stack, chunks=(1, 1, 1, 24, 30)).map_blocks(read, dtype=stack.dtype)
    computed.clear()
    planes = PlanesOnDemand(lazy, 2)
    for index in [(0, 1, 2, slice(0, 8), slice(3, 9)), (0, 1, 2, slice(8, 24), slice(None))]:
        np.testing.assert_array_equal(planes[index], stack[index])
    assert len(computed) == 1
    np.testing.assert_array_equal(np.asarray(planes), stack)
    several = (0, slice(None), 2, slice(1, 3), slice(None))
    np.testing.assert_array_equal(planes[several], stack[several])


@pytest.mark.parametrize("name", ["Denoise", "Inpaint"])
def test_bool_is_refused_in_words(viewer, dock, noisy, name, notifications):
    viewer.add_image(noisy > 900, name="odd")
    widget = dock(name)
    widget.run.native.click()
    assert not widget.is_running
    (message,) = notifications()
    assert "'odd' holds yes or no" in message
    assert len(viewer.layers) == 1


def test_complex_is_refused_in_words(noisy):
    # napari 0.9 makes no such layer, since it has no thumbnail for it; others may.
    layer = SimpleNamespace(name="odd", data=noisy.astype(np.complex64), multiscale=False)
    with pytest.raises(ValueError, match="'odd' holds complex numbers"):
        check_restorable(layer)


@pytest.mark.parametrize("name", VERBS)
def test_nan_stays_in_stacks(viewer, dock, run, stack, name):
    image = stack[0].astype(np.float32)
    image[0, 1, 3:6, 4:9] = np.nan
    viewer.add_image(image, contrast_limits=(0, 3000))
    run(dock(name))
    result = viewer.layers[-1].data
    np.testing.assert_array_equal(result, VERBS[name](image))
    assert np.isnan(result).any()


def test_large_results_come_in_levels_that_share_their_memory(monkeypatch):
    monkeypatch.setattr(shared_layers, "_LARGEST_TEXTURE", 16)
    image = np.arange(2 * 60 * 40).reshape(2, 60, 40)
    shown = as_shown(image, rgb=False)
    assert shown["multiscale"]
    assert [level.shape for level in shown["data"]] == [(2, 60, 40), (2, 30, 20), (2, 15, 10)]
    assert all(np.shares_memory(level, image) for level in shown["data"])
    colours = as_shown(np.zeros((20, 9, 3)), rgb=True)
    assert [level.shape for level in colours["data"]] == [(20, 9, 3), (10, 5, 3)]
    assert as_shown(image[:, :16, :16], rgb=False).keys() == {"data"}


def test_a_large_result_is_a_multiscale_layer(viewer, dock, run, noisy, monkeypatch):
    monkeypatch.setattr(shared_layers, "_LARGEST_TEXTURE", 100)
    source = viewer.add_image([noisy, noisy[::2, ::2]], multiscale=True, scale=(0.5, 0.5))
    run(dock())
    result = viewer.layers[-1]
    assert result.multiscale
    np.testing.assert_array_equal(result.data[0], nr.denoise(noisy))
    np.testing.assert_array_equal(result.extent.world, source.extent.world)


def select(viewer, *layers):
    viewer.layers.selection = set(layers)


@pytest.fixture
def three(viewer, noisy):
    return [viewer.add_image(noisy[10 * i : 10 * i + 40, :50], name=n) for i, n in enumerate("abc")]


def test_several_selected_layers_are_restored_in_one_run(viewer, dock, run, three):
    viewer.add_points([[1, 2]])
    widget = dock()
    widget.common.image.value = three[1]
    select(viewer, *viewer.layers)
    assert widget.extent.others.text == "and 2 other selected layers"
    assert widget.extent.others.value
    run(widget)
    names = [layer.name for layer in viewer.layers[4:]]
    assert names == ["b denoised", "a denoised", "c denoised"]
    for layer, source in zip(viewer.layers[4:], (three[1], three[0], three[2]), strict=True):
        np.testing.assert_array_equal(layer.data, nr.denoise(source.data))
    assert not widget.extent.others.value


def test_one_selected_layer_brings_no_choice(viewer, dock, three):
    widget = dock()
    widget.common.image.value = three[0]
    select(viewer, three[1])
    assert widget.extent.layers() == [
        three[0],
    ]
    select(viewer, three[0], three[1])
    assert widget.extent.layers() == [three[0], three[1]]
    select(viewer, three[0])
    assert not widget.extent.others.value


def test_errors_of_one_are_named_and_do_not_stop_the_others(
    viewer, dock, run, three, noisy, notifications
):
    odd = viewer.add_image(noisy > 900, name="odd")
    tiny = viewer.add_image(noisy[:4, :4], name="tiny")
    widget = dock("Deblur")
    widget.psf.kind.value = "disk (out of focus)"
    widget.psf.values["disk (out of focus)"][0].value = 3.0
    widget.noise.mode.value = "manual"
    widget.noise.fields["read_noise"].value = "20"
    widget.common.image.value = odd
    select(viewer, odd, tiny, three[0])
    widget.extent.others.value = True
    run(widget)
    assert [layer.name for layer in viewer.layers[5:]] == ["a deblurred"]
    messages = notifications()
    assert any(message.startswith("odd: ") for message in messages)
    assert any(message.startswith("tiny: psf must not be larger") for message in messages)


@pytest.fixture
def one_by_one(viewer, dock, qtbot, three, monkeypatch):
    """A run on three layers that goes on to the next one when it is let; and how to let it."""
    turn = threading.Semaphore(0)
    steps = DenoiseWidget.steps

    def waiting(self, image, **arguments):
        while not turn.acquire(timeout=0.01):
            yield 0, 100
        return (yield from steps(self, image, **arguments))

    monkeypatch.setattr(DenoiseWidget, "steps", waiting)
    widget = dock()
    widget.common.image.value = three[0]
    select(viewer, *three)
    widget.extent.others.value = True
    widget.run.native.click()

    def let_one_be_done():
        count = len(viewer.layers)
        turn.release()
        qtbot.waitUntil(lambda: len(viewer.layers) > count, timeout=60_000)

    return widget, let_one_be_done


def test_each_result_of_several_appears_when_it_is_done(viewer, three, one_by_one, wait):
    widget, let_one_be_done = one_by_one
    for done, name in enumerate(("a denoised", "b denoised", "c denoised")):
        assert len(viewer.layers) == 3 + done
        assert widget.is_running
        assert viewer.layers.selection == set(three)
        let_one_be_done()
        assert viewer.layers[-1].name == name
    wait(widget)
    assert viewer.layers.selection == {viewer.layers["c denoised"]}


def test_several_have_one_progress_and_one_cancel(viewer, qtbot, one_by_one, three):
    widget, let_one_be_done = one_by_one
    let_one_be_done()
    qtbot.waitUntil(lambda: widget.progress.value == 33, timeout=60_000)
    widget.cancel.native.click()
    assert not widget.is_running
    qtbot.waitUntil(lambda: not worker.is_busy(), timeout=60_000)
    assert viewer.layers[:] == [*three, viewer.layers["a denoised"]]  # it was done


def test_a_layer_that_is_done_may_be_removed(viewer, one_by_one, three, wait):
    widget, let_one_be_done = one_by_one
    let_one_be_done()
    viewer.layers.remove(three[0])
    let_one_be_done()
    let_one_be_done()
    wait(widget)
    names = [layer.name for layer in viewer.layers]
    assert names == ["b", "c", "a denoised", "b denoised", "c denoised"]


def test_other_layers_are_never_offered(viewer, dock, noisy):
    viewer.add_labels(noisy.astype(int))
    viewer.add_points([[1, 2]])
    viewer.add_shapes([[1, 2], [3, 4], [5, 1]], shape_type="polygon")
    widget = dock()
    select(viewer, *viewer.layers)
    assert widget.common.image.choices == ()
    assert widget.extent.layers() == []
    assert not widget.run.enabled


def test_stored_arrays_are_read_in_their_own_chunks():
    """Joined ones would be read as a whole for each plane that is shown."""
    stored = zarr.zeros((20, 96, 64), chunks=(1, 32, 64), dtype="u2")
    lazy = shared_layers.as_lazy(stored)
    assert lazy.chunksize == stored.chunks
    assert shared_layers.as_lazy(lazy) is lazy
