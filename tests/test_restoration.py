import subprocess
import sys
from importlib import import_module

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data
from skimage.restoration import calibrate_denoiser, denoise_wavelet, estimate_sigma

import napari_rednet as nr
from napari_rednet.restoration.denoise import denoise_steps
from tests.conftest import psnr


def test_import_is_light():
    code = (
        "import sys, napari_rednet; "
        "print([m for m in ('torch', 'napari', 'qtpy', 'magicgui', 'dask') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"


def test_public_names_are_all_there():
    assert set(nr.__all__) <= set(dir(nr))
    assert all(getattr(nr, name) is not None for name in nr.__all__)
    with pytest.raises(AttributeError, match="attribute nothing"):
        _ = nr.nothing


@pytest.mark.parametrize(("name", "gain"), [("camera", 8), ("moon", 8), ("coins", 6), ("cell", 8)])
def test_restored_is_much_better_than_noisy(name, gain):
    clean = getattr(data, name)()[:256, :256]
    noisy = clean + np.random.default_rng(0).normal(0, 25, clean.shape)
    restored = nr.denoise(noisy, noise=25)
    assert psnr(clean, restored) > psnr(clean, noisy) + gain
    assert psnr(clean, restored) > psnr(clean, denoise_wavelet(noisy, sigma=25)) + 1


def test_estimated_noise_is_nearly_as_good_as_known(camera, noisy_camera):
    known, estimated = nr.denoise(noisy_camera, noise=25), nr.denoise(noisy_camera)
    assert psnr(camera, estimated) > psnr(camera, known) - 0.5


def test_photon_noise_needs_a_noise_model():
    clean = data.camera().astype(float)[:256, :256]
    noisy = 12.0 * np.random.default_rng(0).poisson(clean / 12)
    restored = nr.denoise(noisy)
    constant = nr.denoise(noisy, noise=float(estimate_sigma(noisy)))
    assert psnr(clean, restored) > psnr(clean, noisy) + 6
    assert psnr(clean, restored) > psnr(clean, constant) + 0.3


def test_ensemble_is_better(camera, noisy_camera):
    single = nr.denoise(noisy_camera, noise=25)
    ensemble = nr.denoise(noisy_camera, noise=25, ensemble=True)
    assert psnr(camera, ensemble) > psnr(camera, single)


def test_strength_smooths_more(noisy_camera):
    roughness = [
        np.abs(np.diff(nr.denoise(noisy_camera, noise=25, strength=s))).mean()
        for s in (0, 0.5, 1, 1.5)
    ]
    assert roughness == sorted(roughness, reverse=True)


@pytest.mark.parametrize(
    "dtype", ["uint8", "uint16", "int16", "int32", "float16", "float32", "float64", ">u2", ">f4"]
)
def test_dtype_and_units_are_kept(dtype, noisy_camera, tiny_model):
    image = noisy_camera.clip(0, 255).astype(dtype)
    restored = nr.denoise(image, noise=25, model=tiny_model)
    reference = nr.denoise(image.astype(float), noise=25, model=tiny_model)
    assert restored.dtype == dtype
    assert restored.shape == image.shape
    kind = np.dtype(dtype).kind
    np.testing.assert_allclose(
        restored, reference.clip(*limits(dtype)), atol=0.6 if kind in "iu" else 0.5
    )


def limits(dtype):
    return (0, np.iinfo(dtype).max) if np.dtype(dtype).kind == "u" else (-np.inf, np.inf)


def test_twelve_bits_in_sixteen(camera):
    clean = 16 * camera.astype(float)
    noisy = (clean + np.random.default_rng(0).normal(0, 400, clean.shape)).clip(0, 4095)
    restored = nr.denoise(noisy.astype(np.uint16))
    assert psnr(clean, restored, 4095) > psnr(clean, noisy, 4095) + 6


@given(
    scale=st.sampled_from([1e-6, 0.01, 1.0, 300.0, 1e7]), shift=st.sampled_from([-5.0, 0.0, 100.0])
)
@settings(max_examples=10)
def test_result_follows_the_units(scale, shift):
    image = data.camera()[:64, :64] + np.random.default_rng(0).normal(0, 25, (64, 64))
    plain = nr.denoise(image, noise=25)
    scaled = nr.denoise(scale * (image + shift), noise=25 * scale)
    np.testing.assert_allclose(scaled / scale - shift, plain, atol=2.5)


def test_axes_other_than_y_x_are_planes(noisy_camera, tiny_model):
    stack = np.stack([noisy_camera, noisy_camera[::-1]])[:, None]
    restored = nr.denoise(stack, noise=25, model=tiny_model)
    assert restored.shape == stack.shape
    swapped = nr.denoise(stack[::-1], noise=25, model=tiny_model)
    np.testing.assert_array_equal(swapped, restored[::-1])


def test_planes_share_one_noise_model(noisy_camera, tiny_model):
    """The noise of a quiet plane alone would be measured as low; in its stack it is not."""
    stack = np.stack([noisy_camera, noisy_camera / 20])
    alone = nr.denoise(stack[1], model=tiny_model)
    together = nr.denoise(stack, model=tiny_model)[1]
    assert np.abs(alone - together).max() > 0.1


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_channel_axis_can_be_anywhere(axis, noisy_camera, tiny_model):
    channels = np.stack([noisy_camera, 1000 + 50 * noisy_camera])
    image = np.moveaxis(channels, 0, axis)
    restored = nr.denoise(image, noise=[25, 1250], model=tiny_model, channel_axis=axis)
    for channel, noise in enumerate((25, 1250)):
        alone = nr.denoise(channels[channel], noise=noise, model=tiny_model)
        np.testing.assert_array_equal(np.moveaxis(restored, axis, 0)[channel], alone)


def test_noise_is_estimated_per_channel():
    rng = np.random.default_rng(0)
    clean = np.stack([data.moon(), data.moon()]).astype(float)
    noisy = clean + rng.normal(0, 1, clean.shape) * np.array([10, 40])[:, None, None]
    models = nr.estimate_noise(noisy, channel_axis=0)
    assert [m.std(110.0) for m in models] == pytest.approx([10, 40], rel=0.1)
    assert nr.estimate_noise(noisy[0]).std(110.0) == pytest.approx(10, rel=0.1)


def test_pixels_that_are_not_finite_stay(noisy_camera, tiny_model):
    noisy_camera[3:6, 4] = [np.nan, np.inf, -np.inf]
    restored = nr.denoise(noisy_camera, model=tiny_model)
    np.testing.assert_array_equal(restored[3:6, 4], noisy_camera[3:6, 4])
    assert np.isfinite(restored).sum() == noisy_camera.size - 3


@pytest.mark.parametrize("shape", [(0, 0), (0, 5, 5), (3, 0, 7), (1, 1), (1, 7), (5, 1), (2, 3, 3)])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_empty_and_tiny_images_work(shape, dtype):
    image = np.full(shape, 7, dtype)
    restored = nr.denoise(image)
    assert restored.shape == shape
    assert restored.dtype == dtype
    np.testing.assert_allclose(restored, 7, atol=1)


@pytest.mark.parametrize("value", [0, 100, 65535])
def test_constant_images_stay_constant(value):
    image = np.full((40, 50), value, np.uint16)
    np.testing.assert_allclose(nr.denoise(image), image, atol=1)


def test_input_is_not_modified(noisy_camera, tiny_model):
    before = noisy_camera.copy()
    restored = nr.denoise(noisy_camera, model=tiny_model)
    np.testing.assert_array_equal(noisy_camera, before)
    assert not np.shares_memory(restored, noisy_camera)


def test_read_only_and_strided_images_work(noisy_camera, tiny_model):
    view = np.asfortranarray(noisy_camera)[::-1, ::2]
    view.setflags(write=False)
    expected = nr.denoise(np.ascontiguousarray(view), noise=25, model=tiny_model)
    np.testing.assert_array_equal(nr.denoise(view, noise=25, model=tiny_model), expected)


def test_nested_lists_are_images(tiny_model):
    assert nr.denoise([[1.0, 2.0], [3.0, 4.0]], noise=1, model=tiny_model).shape == (2, 2)


def test_out_is_filled(noisy_camera, tiny_model, tmp_path):
    stack = np.stack([noisy_camera] * 2).astype(np.uint16)
    expected = nr.denoise(stack, noise=25, model=tiny_model)
    memmap = np.memmap(tmp_path / "out", np.uint16, "w+", shape=stack.shape)
    chunked = zarr.zeros(shape=stack.shape, chunks=(1, 64, 64), dtype="uint16")
    for out in (np.empty_like(stack), memmap, chunked):
        assert nr.denoise(stack, noise=25, model=tiny_model, out=out) is out
        np.testing.assert_array_equal(out[:], expected)


def test_zarr_is_read(noisy_camera, tiny_model):
    chunked = zarr.zeros(shape=noisy_camera.shape, chunks=(50, 64), dtype="float64")
    chunked[:] = noisy_camera
    expected = nr.denoise(noisy_camera, model=tiny_model)
    np.testing.assert_array_equal(nr.denoise(chunked, model=tiny_model), expected)


@pytest.mark.parametrize("axis", [None, 0, -1])
def test_dask_stays_lazy_and_equals_the_eager_result(axis, noisy_camera, tiny_model):
    stack = np.stack([noisy_camera, 3 * noisy_camera, noisy_camera[::-1]])
    image = stack if axis is None else np.moveaxis(stack, 0, axis)
    lazy = nr.denoise(da.from_array(image, chunks=57), model=tiny_model, channel_axis=axis)
    assert isinstance(lazy, da.Array)
    assert lazy.dtype == image.dtype
    expected = nr.denoise(image, model=tiny_model, channel_axis=axis)
    np.testing.assert_allclose(lazy.compute(), expected, atol=1e-3)


def test_dask_computes_nothing_before_it_is_asked(noisy_camera, tiny_model):
    computed = []

    def remember(block):
        computed.append(block.shape)
        return block

    source = da.from_array(np.stack([noisy_camera] * 3), chunks=(1, -1, -1))
    lazy = nr.denoise(
        source.map_blocks(remember, dtype=float, meta=np.empty((0, 0, 0))), model=tiny_model
    )
    assert computed == []
    lazy[0].compute()
    assert computed


def test_dask_into_out(noisy_camera, tiny_model):
    out = np.empty_like(noisy_camera)
    lazy = da.from_array(noisy_camera, chunks=64)
    assert nr.denoise(lazy, model=tiny_model, out=out) is out
    np.testing.assert_allclose(out, nr.denoise(noisy_camera, model=tiny_model), atol=1e-3)


def test_steps_report_pixels_and_return_the_result(noisy_camera, tiny_model):
    seen = []
    result = nr.denoise(
        np.stack([noisy_camera] * 2),
        model=tiny_model,
        noise=25,
        tile=64,
        progress=lambda done, total: seen.append((done, total)),
    )
    done = [d for d, _ in seen]
    assert done == sorted(done)
    assert seen[-1] == (result.size, result.size)
    assert len(seen) > 6


def test_bar_is_shown_when_asked(noisy_camera, tiny_model, capsys):
    nr.denoise(noisy_camera, model=tiny_model, progress=True)
    assert "100%" in capsys.readouterr().err
    nr.denoise(noisy_camera, model=tiny_model)
    assert capsys.readouterr().err == ""


def test_steps_can_be_cancelled(noisy_camera, tiny_model):
    out = np.zeros_like(noisy_camera)
    steps = denoise_steps(noisy_camera, noise=25, model=tiny_model, tile=32, out=out)
    for _ in range(4):
        next(steps)
    steps.close()
    assert 0 < np.count_nonzero(out) < out.size


def test_skimage_calibrates_the_strength(camera, noisy_camera):
    parameters = {"strength": [0.3, 1.0, 2.0], "noise": [25.0]}
    calibrated = calibrate_denoiser(noisy_camera, nr.denoise, parameters, stride=3)
    assert psnr(camera, calibrated(noisy_camera)) > psnr(
        camera, nr.denoise(noisy_camera, noise=25, strength=0.3)
    )


IMAGE = np.ones((20, 20))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"image": IMAGE.astype(complex)}, TypeError, "image must hold .* got complex128"),
        ({"image": IMAGE.astype(object)}, TypeError, "image must hold .* got object"),
        ({"image": IMAGE > 0}, TypeError, "image must hold .* got bool"),
        ({"image": "camera.tif"}, TypeError, "image must hold"),
        ({"image": np.ones(5)}, ValueError, r"at least 2 axes .* got shape \(5,\)"),
        ({"channel_axis": 2}, ValueError, "channel_axis must lie between -2 and 1 .* got 2"),
        ({"channel_axis": 0.5}, TypeError, "channel_axis must be an integer"),
        ({"noise": -1}, ValueError, "noise must be finite and not negative, got -1"),
        ({"noise": np.nan}, ValueError, "noise must be finite and not negative, got nan"),
        ({"noise": "much"}, TypeError, "noise must be None, a number or a NoiseModel, got str"),
        ({"noise": [1, 2]}, ValueError, "one entry for each of the 1 channels, got 2"),
        ({"strength": -0.1}, ValueError, "strength must be finite and not negative"),
        ({"strength": "high"}, TypeError, "strength must be a number"),
        ({"model": "worst"}, nr.ModelError, "no model 'worst'; known: .*denoise-fast"),
        ({"model": 5}, TypeError, "model must be a name, a path or a Model"),
        ({"model": "missing.safetensors"}, nr.ModelError, "no model file missing.safetensors"),
        ({"tile": 4}, ValueError, "tile must be at least 16 pixels, got 4"),
        ({"tile": 64.5}, TypeError, "tile must be an integer"),
        ({"ensemble": "yes"}, TypeError, "ensemble must be True or False"),
        ({"device": "tpu"}, ValueError, "device must be 'auto'"),
        ({"device": "cuda:97"}, ValueError, "'cuda:97' does not exist here"),
        ({"out": [1]}, TypeError, "out must be a writable array"),
        ({"out": np.ones((20, 21))}, ValueError, r"out must have shape \(20, 20\)"),
        ({"out": np.ones((20, 20), int)}, ValueError, "out must have the image's dtype float64"),
        ({"out": IMAGE}, ValueError, "out must not share memory"),
        ({"out": np.broadcast_to(1.0, (20, 20))}, ValueError, "out is read-only"),
    ],
)
def test_wrong_arguments_are_named_before_any_work(options, error, message, monkeypatch):
    def work(*args, **kwargs):
        pytest.fail("work has started")

    module = import_module("napari_rednet.execution.restoration")
    monkeypatch.setattr(module, "restoration_steps", work)
    options = {"image": IMAGE, **options}
    with pytest.raises(error, match=message):
        denoise_steps(options.pop("image"), **options)


def test_a_model_for_another_task_is_refused(tiny_model):
    from dataclasses import replace

    with pytest.raises(nr.ModelError, match="'tiny' was made for deblock, not for denoise"):
        nr.denoise(IMAGE, model=replace(tiny_model, task="deblock"))


def test_colours_in_the_last_axis_are_pointed_out(tiny_model):
    with pytest.warns(UserWarning, match="pass channel_axis=-1"):
        nr.denoise(np.ones((20, 30, 3)), model=tiny_model)


def test_errors_are_no_runtime_errors():
    """Qt's generator workers would swallow those."""
    for name in ("ModelError", "DeviceMemoryError", "TrainingError", "ImageFileError"):
        error = getattr(nr, name)
        assert issubclass(error, nr.RednetError)
        assert not issubclass(error, RuntimeError)
