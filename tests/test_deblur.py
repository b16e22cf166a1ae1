import dask.array as da
import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage import data
from skimage.restoration import richardson_lucy, wiener

import napari_rednet as nr
from napari_rednet import psf
from napari_rednet.engine import runner
from napari_rednet.engine.deconvolution import BlurredImage, deblur_steps, transfer_function
from tests.conftest import psnr

STD = 2.55
KERNELS = {
    "gaussian": psf.gaussian(1.6),
    "disk": psf.disk(4),
    "motion": psf.motion(13, 35),
}


def blurred(clean, kernel, std=STD):
    image = ndimage.convolve(clean.astype(float), kernel, mode="nearest")
    return image + np.random.default_rng(0).normal(0, std, clean.shape)


@pytest.mark.parametrize("name", KERNELS)
def test_deblurred_beats_richardson_lucy_and_wiener(name, camera):
    kernel, inner = KERNELS[name], (slice(12, -12), slice(12, -12))
    image = blurred(camera, kernel)
    restored = nr.deblur(image, kernel, noise=STD)
    scaled = image.clip(0) / 255
    others = [255 * richardson_lucy(scaled, kernel, n) for n in (5, 15, 40)]
    others += [255 * wiener(scaled, kernel, balance) for balance in (0.003, 0.03, 0.3)]
    best = max(psnr(camera[inner], other[inner]) for other in others)
    assert psnr(camera[inner], restored[inner]) > best + 1.5
    assert psnr(camera, restored) > psnr(camera, image) + 3


def test_noise_is_estimated(camera):
    image = blurred(camera, KERNELS["disk"])
    known, estimated = (nr.deblur(image, KERNELS["disk"], noise=n) for n in (STD, None))
    assert psnr(camera, estimated) > psnr(camera, known) - 0.5


def test_no_ringing_enters_from_the_borders():
    """A bright object that is cut by the border, blurred with what lies beyond."""
    scene = np.zeros((120, 120))
    scene[30:90, 30:60] = 200
    kernel = psf.disk(5)
    image = ndimage.convolve(scene, kernel)[:, 45:]
    restored = nr.deblur(image, kernel, noise=0.5)
    error = np.abs(restored - scene[:, 45:])
    assert error[:, :4].mean() < 3 * error[:, 4:].mean() + 2
    assert error[5:20].mean() < 3


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_dtype_and_units_are_kept(camera, dtype, tiny_model):
    image = blurred(camera, KERNELS["gaussian"]).clip(0, 255).astype(dtype)
    restored = nr.deblur(image, KERNELS["gaussian"], noise=3, model=tiny_model, iterations=2)
    reference = nr.deblur(
        image.astype(float), KERNELS["gaussian"], noise=3, model=tiny_model, iterations=2
    )
    assert restored.dtype == dtype
    upper = np.iinfo(dtype).max if dtype != "float32" else np.inf
    lower = 0 if dtype != "float32" else -np.inf
    np.testing.assert_allclose(restored, reference.clip(lower, upper), atol=0.6)


def test_blocks_join_without_a_seam():
    clean = data.camera()[100:340, 150:420]
    image = blurred(clean, KERNELS["disk"])
    whole = nr.deblur(image, KERNELS["disk"], noise=STD)
    tiled = nr.deblur(image, KERNELS["disk"], noise=STD, tile=100)
    assert abs(psnr(clean, whole) - psnr(clean, tiled)) < 0.2
    steps = [np.abs(np.diff(i, axis=1)).mean(0) for i in (whole, tiled)]
    for seam in (99, 199):
        assert steps[1][seam] < 1.25 * steps[0][seam] + 0.5


def test_stacks_channels_and_dask(camera, tiny_model):
    kernel = KERNELS["gaussian"]
    stack = np.stack([blurred(camera, kernel), 500 + 10 * blurred(camera, kernel)])
    options = {"model": tiny_model, "iterations": 2, "channel_axis": 0}
    restored = nr.deblur(stack, kernel, noise=[3, 30], **options)
    single = nr.deblur(stack[1], kernel, noise=30, model=tiny_model, iterations=2)
    np.testing.assert_allclose(restored[1], single, rtol=1e-5)
    lazy = nr.deblur(da.from_array(stack, chunks=(1, 50, 50)), kernel, noise=[3, 30], **options)
    assert isinstance(lazy, da.Array)
    np.testing.assert_allclose(lazy.compute(), restored, rtol=1e-4)


def test_pixels_that_are_not_finite_stay(camera, tiny_model):
    image = blurred(camera, KERNELS["gaussian"])
    image[10:12, 20] = [np.nan, np.inf]
    restored = nr.deblur(image, KERNELS["gaussian"], model=tiny_model, iterations=2)
    np.testing.assert_array_equal(restored[10:12, 20], image[10:12, 20])
    assert np.isfinite(restored).sum() == image.size - 2


def test_constant_planes_stay_constant():
    image = np.full((40, 50), 77, np.uint16)
    np.testing.assert_allclose(nr.deblur(image, psf.gaussian(1)), image, atol=1)


def test_progress_grows_to_all_pixels(camera, tiny_model):
    seen = []
    nr.deblur(
        camera,
        psf.gaussian(1),
        model=tiny_model,
        tile=100,
        iterations=3,
        progress=lambda done, total: seen.append((done, total)),
    )
    done = [d for d, _ in seen]
    assert done == sorted(done)
    assert seen[-1] == (camera.size, camera.size)
    assert len(done) == 3 * 4


def test_out_of_memory_is_retried_with_smaller_blocks(camera, tiny_model, monkeypatch):
    expected = nr.deblur(camera, psf.gaussian(1), noise=3, model=tiny_model, tile=64)
    run = runner.run_in_bands

    def limited(network, image, band):
        if max(image.shape[2:]) > 145:
            raise torch.OutOfMemoryError("out of memory")
        return run(network, image, band)

    monkeypatch.setattr(runner, "run_in_bands", limited)
    result = nr.deblur(camera, psf.gaussian(1), noise=3, model=tiny_model, tile=128)
    np.testing.assert_array_equal(result, expected)
    monkeypatch.setattr(
        runner, "run_in_bands", lambda *_: limited(None, torch.zeros(1, 1, 999, 9), 1)
    )
    with pytest.raises(nr.DeviceMemoryError, match="too little memory"):
        nr.deblur(camera, psf.gaussian(1), noise=3, model=tiny_model)


def test_the_transfer_function_blurs_as_a_convolution_does(camera):
    kernel = KERNELS["motion"]
    spectrum = transfer_function(kernel, camera.shape) * torch.fft.rfft2(
        torch.from_numpy(camera / 1.0)
    )
    found = torch.fft.irfft2(spectrum, s=camera.shape).numpy()
    np.testing.assert_allclose(
        found, ndimage.convolve(camera / 1.0, kernel, mode="wrap"), atol=1e-3
    )


def test_the_data_term_minimises_what_it_says(camera):
    """No other image has a smaller sum of both deviations; here with a periodic image."""
    kernel, weight = psf.gaussian(1.0), 0.1
    image = torch.from_numpy(camera / 255.0)[None, None].float()
    data_term = BlurredImage(image, kernel)
    estimate = torch.full_like(data_term.start, 0.5)
    solution = data_term.solve(estimate, weight)

    def cost(x):
        apart = data_term.cut(data_term._blurred(x) - data_term.start)
        return float(apart.square().sum() + weight * (x - estimate).square().sum())

    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        nudge = 0.02 * torch.randn(solution.shape, generator=generator)
        assert cost(solution) < cost(solution + nudge)
    assert cost(solution) < cost(estimate)


def test_the_last_noise_level_is_that_of_the_image(camera):
    levels = []

    def remember(x, std):
        levels.append(std)
        return x

    image = torch.from_numpy(camera / 255.0)[None, None].float()
    list(deblur_steps(image, psf.gaussian(1), 0.02, remember, iterations=5))
    assert levels == sorted(levels, reverse=True)
    assert levels[-1] == pytest.approx(0.02)
    assert len(levels) == 5


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"psf": np.zeros((3, 3))}, ValueError, "psf must not be zero"),
        ({"psf": np.ones((3, 3, 3))}, ValueError, "psf must have the two axes"),
        ({"psf": np.ones((999, 3))}, ValueError, "psf must not be larger"),
        ({"iterations": 0}, ValueError, "iterations must be at least 1"),
        ({"iterations": 2.5}, TypeError, "iterations must be an integer"),
        ({"noise": -1}, ValueError, "noise must be finite"),
        ({"device": "tpu"}, ValueError, "device must be"),
    ],
)
def test_wrong_arguments_are_named(camera, options, error, message):
    with pytest.raises(error, match=message):
        nr.deblur(camera, **{"psf": psf.gaussian(1), **options})
