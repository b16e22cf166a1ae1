"""The Denoise widget: what it computes and what it adds."""

import json

import dask.array as da
import numpy as np
import pytest
import torch
from napari.layers import Image
from qtpy.QtCore import Qt

import napari_rednet as nr
from napari_rednet.engine.network import resolve_device
from napari_rednet.widgets.shared.controls import FROM_FILE

LONG = 60_000

TYPED = nr.NoiseModel(gain=1.5, offset=90.0, read_noise=12.0)


def type_noise(widget, model=TYPED):
    widget.noise.mode.value = "manual"
    for name, field in widget.noise.fields.items():
        field.value = str(getattr(model, name))


def record_of(layer):
    return layer.metadata["napari_rednet"]


def test_a_click_on_run_adds_a_denoised_layer(make_napari_viewer, qtbot, wait, clean, noisy):
    viewer = make_napari_viewer(show=True)
    viewer.add_image(noisy, name="cell")
    _, widget = viewer.window.add_plugin_dock_widget("napari-rednet", "Denoise")
    qtbot.waitExposed(widget.native)
    qtbot.mouseClick(widget.run.native, Qt.MouseButton.LeftButton)
    assert widget.is_running
    wait(widget)
    assert [layer.name for layer in viewer.layers] == ["cell", "cell denoised"]
    restored = viewer.layers["cell denoised"].data
    assert restored.dtype == noisy.dtype
    assert np.std(restored - clean - 100) < 0.7 * np.std(noisy - clean - 100)


def test_typed_noise_gives_what_the_function_gives(viewer, dock, run, noisy):
    viewer.add_image(noisy)
    widget = dock()
    type_noise(widget)
    run(widget)
    np.testing.assert_array_equal(viewer.layers[-1].data, nr.denoise(noisy, noise=TYPED))
    assert record_of(viewer.layers[-1])["noise"] == [vars(TYPED)]


def test_automatic_noise_is_shown_and_is_what_the_function_finds(viewer, dock, run, noisy):
    viewer.add_image(noisy)
    widget = dock()
    assert [field.value for field in widget.noise.fields.values()] == [""] * 5
    run(widget)
    found = nr.estimate_noise(noisy)
    shown = {name: float(field.value) for name, field in widget.noise.fields.items()}
    assert shown == pytest.approx(vars(found), rel=5e-3)
    assert record_of(viewer.layers[-1])["noise"] == [vars(found)]
    np.testing.assert_array_equal(viewer.layers[-1].data, nr.denoise(noisy))


def test_estimate_fills_the_fields_without_a_result(viewer, dock, wait, noisy):
    viewer.add_image(noisy)
    widget = dock()
    widget.noise.estimate.native.click()
    wait(widget)
    assert len(viewer.layers) == 1
    assert float(widget.noise.fields["gain"].value) > 0


def test_estimated_values_stay_exact_until_they_are_edited(viewer, dock, wait, noisy):
    viewer.add_image(noisy)
    widget = dock()
    widget.noise.mode.value = "manual"
    widget.noise.estimate.native.click()
    wait(widget)
    found = nr.estimate_noise(noisy)
    assert widget.noise.models() == [found]
    widget.noise.fields["read_noise"].value = "7.5"
    assert widget.noise.models() == [nr.NoiseModel(found.gain, found.offset, 7.5)]


def test_strength_ensemble_and_device_are_passed_on(viewer, dock, run, noisy):
    image = noisy[:40, :48]
    viewer.add_image(image)
    widget = dock()
    type_noise(widget)
    widget.option["strength"].value = 0.5
    widget.option["ensemble"].value = True
    widget.common.device.value = "cpu"
    run(widget)
    expected = nr.denoise(image, noise=TYPED, strength=0.5, ensemble=True, device="cpu")
    np.testing.assert_array_equal(viewer.layers[-1].data, expected)
    record = record_of(viewer.layers[-1])
    assert (record["strength"], record["ensemble"], record["device"]) == (0.5, True, "cpu")


def test_a_model_file_can_be_chosen(viewer, dock, run, noisy, tmp_path):
    model = nr.load_model("denoise-fast")
    mine = nr.Model("mine", "denoise", model.network, {})
    mine.save(tmp_path / "mine.safetensors")
    viewer.add_image(noisy)
    widget = dock()
    type_noise(widget)
    widget.common.model.value = FROM_FILE
    widget.common.model_file.value = tmp_path / "mine.safetensors"
    run(widget)
    assert record_of(viewer.layers[-1])["model"] == "mine"


def test_the_result_lies_and_looks_like_its_source(viewer, dock, run, noisy):
    source = viewer.add_image(
        np.stack([noisy, noisy // 2]),
        name="stack",
        scale=(2.0, 0.5, 0.25),
        translate=(1.0, 2.0, 3.0),
        rotate=30,
        shear=[0.1, 0, 0],
        affine=np.diag([1.0, 2.0, 2.0, 1.0]),
        units=("um", "um", "um"),
        axis_labels=("z", "y", "x"),
        contrast_limits=(50, 3000),
        colormap="magma",
        gamma=0.7,
        blending="additive",
        metadata={"objective": "60x"},
    )
    widget = dock()
    run(widget)
    result = viewer.layers["stack denoised"]
    for name in ("scale", "translate", "rotate", "shear", "contrast_limits"):
        np.testing.assert_array_equal(getattr(result, name), getattr(source, name))
    np.testing.assert_allclose(result.data_to_world((1, 20, 30)), source.data_to_world((1, 20, 30)))
    for name in ("units", "axis_labels", "gamma", "blending"):
        assert getattr(result, name) == getattr(source, name)
    assert result.colormap.name == "magma"
    assert result.metadata["objective"] == "60x"
    assert "napari_rednet" not in source.metadata


@pytest.mark.parametrize("first", ["preview", "run"])
def test_a_hot_pixel_does_not_leave_all_else_black(viewer, dock, run, qtbot, noisy, first):
    """napari's contrast goes to the highest value, which the result does not even have."""
    stack = np.stack([noisy, noisy // 2])
    stack[1, 5, 6] = 65535
    source = viewer.add_image(stack)
    assert source.contrast_limits[1] == 65535
    widget = dock()
    if first == "preview":
        widget.preview.toggle.value = True
        qtbot.waitUntil(lambda: not widget.preview.is_busy, timeout=LONG)
    else:
        run(widget)
    low, high = source.contrast_limits
    assert low < np.median(noisy) < high < 1.1 * noisy.max()
    assert viewer.layers[-1] is not source
    assert viewer.layers[-1].contrast_limits == source.contrast_limits


@pytest.mark.parametrize("limits", [(0, 65535), None])
def test_other_contrast_stays(viewer, dock, run, noisy, limits):
    """One that was chosen, and napari's where it serves."""
    source = viewer.add_image(noisy, contrast_limits=limits)
    before = source.contrast_limits
    run(dock())
    assert [layer.contrast_limits for layer in viewer.layers] == [before, before]


def test_the_record_tells_how_the_result_was_made(viewer, dock, run, noisy):
    viewer.add_image(noisy, name="cell")
    widget = dock()
    type_noise(widget)
    run(widget)
    record = record_of(viewer.layers[-1])
    assert json.loads(json.dumps(record)) == record
    assert record.pop("seconds") > 0
    arguments = {
        "noise": [vars(TYPED)],
        "strength": 1.0,
        "defects": "repair",
        "ensemble": False,
        "dtype": None,
        "along": None,
    }
    call = record.pop("call")
    assert call["arguments"] == {"model": "fast", "device": "auto", **arguments}
    versions = {"napari-rednet": nr.__version__, "numpy": np.__version__}
    assert record == {
        "source": "cell",
        "path": None,
        "verb": "denoise",
        "crop": None,
        "channel_axis": None,
        "model": "denoise-fast",
        **arguments,
        "device": "auto",
        "computed_on": [str(resolve_device("auto"))],
        "is_lazy": False,
        "repaired": 0,
        "versions": {**versions, "torch": str(torch.__version__)},
    }


def test_fractions_are_kept_if_they_are_asked_for(viewer, dock, run, noisy):
    viewer.add_image(noisy)
    widget = dock()
    type_noise(widget)
    widget.option["dtype"].value = True
    run(widget)
    expected = nr.denoise(noisy, noise=TYPED, dtype="float32")
    assert viewer.layers[-1].data.dtype == np.float32
    np.testing.assert_array_equal(viewer.layers[-1].data, expected)
    colors = viewer.add_image(np.stack([noisy] * 3, -1).astype(np.uint8), rgb=True)
    widget.common.image.value = colors
    run(widget)
    assert viewer.layers[-1].data.dtype == np.uint8


def test_planes_of_a_stack_share_one_normalisation(viewer, dock, run, noisy):
    stack = np.stack([noisy, noisy // 4, noisy])[:, :64, :64]
    viewer.add_image(stack, scale=(3, 1, 1))
    widget = dock()
    run(widget)
    np.testing.assert_array_equal(viewer.layers[-1].data, nr.denoise(stack))


def test_colours_have_their_own_noise(viewer, dock, run, noisy_colours):
    viewer.add_image(noisy_colours, rgb=True)
    widget = dock()
    run(widget)
    result = viewer.layers[-1]
    assert result.rgb
    np.testing.assert_array_equal(result.data, nr.denoise(noisy_colours, rgb=True))
    found = nr.estimate_noise(noisy_colours, channel_axis=-1)
    for channel, model in zip(("red", "green", "blue"), found, strict=True):
        widget.noise.channel.value = channel
        assert float(widget.noise.fields["offset"].value) == pytest.approx(model.offset, rel=5e-3)


def test_typed_noise_of_each_colour(viewer, dock, run, noisy_colours):
    viewer.add_image(noisy_colours, rgb=True)
    widget = dock()
    widget.noise.mode.value = "manual"
    for channel, deviation in zip(("red", "green", "blue"), (10, 20, 30), strict=True):
        widget.noise.channel.value = channel
        widget.noise.fields["read_noise"].value = str(deviation)
    run(widget)
    expected = nr.denoise(noisy_colours, rgb=True, noise=[10, 20, 30])
    np.testing.assert_array_equal(viewer.layers[-1].data, expected)


@pytest.mark.parametrize("lazy", [False, True])
def test_transparency_is_kept(viewer, dock, run, noisy_colours, lazy):
    alpha = np.random.default_rng(2).integers(0, 255, (*noisy_colours.shape[:2], 1), np.uint8)
    image = np.concatenate([noisy_colours, alpha], axis=-1)
    viewer.add_image(da.from_array(image, chunks=50) if lazy else image, rgb=True)
    widget = dock()
    run(widget)
    result = np.asarray(viewer.layers[-1].data)
    np.testing.assert_array_equal(result[..., 3:], alpha)
    expected = nr.denoise(noisy_colours, rgb=True)
    np.testing.assert_array_equal(result[..., :3], expected)


def test_multiscale_gives_its_full_resolution(viewer, dock, run, noisy):
    source = viewer.add_image([noisy, noisy[::2, ::2]], multiscale=True, scale=(0.5, 0.5))
    widget = dock()
    run(widget)
    result = viewer.layers[-1]
    assert not result.multiscale
    np.testing.assert_array_equal(result.data, nr.denoise(noisy))
    np.testing.assert_array_equal(result.scale, source.scale)
    np.testing.assert_array_equal(result.extent.world, source.extent.world)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("Denoise", nr.denoise),
        ("Super-resolve", nr.super_resolve),
        ("Deblock", nr.deblock),
        ("Inpaint", nr.inpaint),
    ],
)
def test_dask_stays_lazy(viewer, dock, run, noisy, name, function):
    stack = np.stack([noisy, noisy // 2])[:, :64, :64]
    viewer.add_image(da.from_array(stack, chunks=(1, 50, 50)))
    widget = dock(name)
    run(widget)
    result = viewer.layers[-1].data
    assert isinstance(result, da.Array)
    np.testing.assert_array_equal(result.compute(), function(stack))


def test_nan_stays_where_it_is(viewer, dock, run, noisy):
    image = noisy.astype(np.float32)
    image[10:20, 30:35] = np.nan
    viewer.add_image(image, contrast_limits=(0, 3000))
    widget = dock()
    run(widget)
    result = viewer.layers[-1].data
    np.testing.assert_array_equal(np.isnan(result), np.isnan(image))
    np.testing.assert_array_equal(result, nr.denoise(image))


def test_only_images_are_offered(viewer, dock, noisy):
    viewer.add_labels(noisy.astype(int))
    viewer.add_points([[1, 2]])
    widget = dock()
    assert widget.common.image.choices == ()
    assert not widget.run.enabled
    widget.run.native.click()
    assert not widget.is_running
    image = viewer.add_image(noisy)
    assert widget.common.image.choices == (image,)
    assert widget.run.enabled
    assert all(isinstance(layer, Image) for layer in widget.common.image.choices)


@pytest.mark.window
def test_choices_outlive_changes_of_the_layers(viewer, dock, noisy):
    viewer.add_image(noisy, name="a")
    chosen = viewer.add_image(noisy, name="b")
    widget = dock()
    widget.common.image.value = chosen
    widget.common.model.value = FROM_FILE
    widget.common.device.value = "cpu"
    chosen.name = "renamed"
    viewer.add_image(noisy, name="c")
    viewer.layers.remove("a")
    assert widget.common.image.value is chosen
    assert widget.common.image.current_choice == "renamed"
    assert widget.common.model.value == FROM_FILE
    assert widget.common.device.value == "cpu"


def test_an_estimate_is_not_shown_for_another_layer_but_typed_noise_is(viewer, dock, run, noisy):
    first, second = viewer.add_image(noisy), viewer.add_image(noisy // 2)
    widget = dock()
    widget.common.image.value = first
    run(widget)
    assert widget.noise.fields["offset"].value
    widget.common.image.value = second
    assert not widget.noise.fields["offset"].value
    type_noise(widget)
    widget.common.image.value = first
    assert widget.noise.models() == [TYPED]


@pytest.mark.parametrize("repair", [True, False])
def test_hot_pixels_are_repaired_if_asked_and_told(viewer, dock, run, noisy, repair):
    image = np.random.default_rng(0).poisson(400, (40, 48)).astype(np.uint16)
    image[10, 10] = image[20, 30] = 60000
    viewer.add_image(image)
    widget = dock()
    type_noise(widget)
    widget.option["defects"].value = repair
    run(widget)
    defects = "repair" if repair else "keep"
    expected = nr.denoise(image, noise=TYPED, defects=defects)
    np.testing.assert_array_equal(viewer.layers[-1].data, expected)
    record = record_of(viewer.layers[-1])
    assert (record["defects"], record["repaired"]) == (defects, 2 * repair)
    assert widget.status.value.startswith("Done in a second.")
    assert ("Repaired 2 pixels." in widget.status.value) == repair
    viewer.add_image(noisy)
    widget.common.image.value = viewer.layers[-1]
    assert "Repaired" not in widget.status.value
