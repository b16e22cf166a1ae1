from dataclasses import replace
from itertools import product

import dask.array as da
import numpy as np
import pytest
import torch
from scipy import ndimage, signal
from skimage import data
from skimage.registration import phase_cross_correlation
from skimage.restoration import richardson_lucy, wiener

import napari_rednet as nr
from napari_rednet import psf
from napari_rednet.arguments import check_options
from napari_rednet.engine import deconvolution, streaming
from napari_rednet.engine.deblurring import _BYTES
from napari_rednet.engine.deconvolution import (
    BlurredImage,
    ImageNoise,
    conjugate_gradients,
    deblur_steps,
    transfer_function,
)
from napari_rednet.engine.planes import SMALLEST_SIDE, PointSpread
from napari_rednet.psf import as_psf
from tests.conftest import psnr, seeded, small_model

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
    whole, tiled = (
        nr.deblur(image, KERNELS["disk"], noise=STD, tile=tile, iterations=4)
        for tile in (None, 100)
    )
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
    run = streaming.run_in_bands

    def limited(network, image, band):
        if max(image.shape[2:]) > 145:
            raise torch.OutOfMemoryError("out of memory")
        return run(network, image, band)

    monkeypatch.setattr(streaming, "run_in_bands", limited)
    result = nr.deblur(camera, psf.gaussian(1), noise=3, model=tiny_model, tile=128)
    np.testing.assert_array_equal(result, expected)
    monkeypatch.setattr(
        streaming, "run_in_bands", lambda *_: limited(None, torch.zeros(1, 1, 999, 9), 1)
    )
    with pytest.raises(nr.DeviceMemoryError, match="too little memory"):
        nr.deblur(camera, psf.gaussian(1), noise=3, model=tiny_model)


def hooked():
    """A kernel whose centre of mass is not in the middle: camera shake, say."""
    kernel = np.zeros((17, 17))
    kernel[4, 4:12] = np.linspace(3, 1, 8)
    kernel[4:14, 12] = 0.7
    return kernel / kernel.sum()


def displacement(clean, restored):
    """How far a restored image has moved, in pixels along y and x: whole ones, and parts."""
    inner = (slice(16, -16), slice(16, -16))
    whole = -phase_cross_correlation(clean[inner], restored[inner])[0]
    back = np.roll(restored, -whole.astype(int), (0, 1))
    smooth = [ndimage.gaussian_filter(one.astype(float), 1.0) for one in (clean, back)]
    gradients = np.stack([one[inner].ravel() for one in np.gradient(smooth[0])], 1)
    return whole + np.linalg.lstsq(gradients, (smooth[0] - smooth[1])[inner].ravel())[0]


def test_a_kernel_that_leans_to_one_side_does_not_shift(camera):
    kernel = hooked()
    mass = np.subtract(ndimage.center_of_mass(kernel), 8)
    assert np.hypot(*mass) > 2
    image = blurred(camera, kernel)
    restored = nr.deblur(image, kernel, noise=STD)
    assert np.abs(displacement(camera, restored)).max() < 0.1
    assert psnr(camera, restored) > psnr(camera, image) + 6
    by_mass = nr.deblur(image, kernel, noise=STD, center="mass")
    assert displacement(camera, by_mass) == pytest.approx(mass, abs=0.1)


def test_an_even_kernel_is_centred_between_its_pixels(camera):
    """What blurs such an image takes one of the two pixels in the middle, and shifts it."""
    x = np.arange(12) - 5.5
    kernel = np.exp(-(x[:, None] ** 2 + x**2) / (2 * 1.6**2))
    kernel /= kernel.sum()
    noise = np.random.default_rng(0).normal(0, STD, camera.shape)
    images = {
        0.0: ndimage.gaussian_filter(camera.astype(float), 1.6, mode="nearest"),
        0.5: signal.fftconvolve(np.pad(camera, 20, mode="edge"), kernel, "same")[20:-20, 20:-20],
        -0.5: ndimage.convolve(camera.astype(float), kernel, mode="nearest"),
    }
    for shift, image in images.items():
        restored = nr.deblur(image + noise, kernel, noise=STD)
        assert displacement(camera, restored) == pytest.approx([shift, shift], abs=0.1)


def test_two_centres_are_logged(camera, tiny_model, caplog):
    options = {"noise": STD, "model": tiny_model, "iterations": 1}
    nr.deblur(camera, psf.disk(3), **options)
    assert not caplog.records
    nr.deblur(camera, hooked(), **options)
    assert "the centre of mass of the PSF lies" in caplog.text
    assert "choose 'mass' as center" in caplog.text


def test_a_background_is_reported_with_what_helps(camera, tiny_model):
    bead = psf.gaussian(2.0)
    options = {"noise": STD, "model": tiny_model, "iterations": 1}
    with pytest.warns(UserWarning, match=r"Subtract its background, \(psf - ") as told:
        nr.deblur(camera, bead + 0.05 * bead.max(), **options)
    assert told[0].filename == __file__


def unknown(shape, kind):
    """Where pixels are known, but for a block, single pixels, or one side of the image."""
    known = np.ones(shape, bool)
    if kind == "block":
        known[60:85, 50:80] = False
    elif kind == "pixels":
        known[np.random.default_rng(0).random(shape) < 0.05] = False
    else:
        known[:, 100:] = False
    return known


@pytest.mark.parametrize("kind", ["block", "pixels", "side"])
def test_next_to_unknown_pixels_it_is_no_worse_than_where_the_image_ends(camera, kind):
    kernel, known = KERNELS["disk"], unknown(camera.shape, kind)
    image = blurred(camera, kernel)
    restored = nr.deblur(np.where(known, image, np.nan), kernel, noise=STD)
    # An image that was cropped there, and the one of which all is known.
    ends = 100 if kind == "side" else camera.shape[1]
    cropped = nr.deblur(image[:, :ends], kernel, noise=STD)
    near = (ndimage.distance_transform_edt(known) < 6) & known
    errors = [(one[:, :ends] - camera[:, :ends])[near[:, :ends]] for one in (restored, cropped)]
    found, expected = (np.sqrt(np.mean(error**2)) for error in errors)
    assert found < 1.15 * expected
    assert np.isnan(restored[~known]).all()


def test_an_image_of_which_nothing_is_known_stays(tiny_model):
    nothing = np.full((30, 40), np.nan)
    assert np.isnan(nr.deblur(nothing, psf.disk(2), model=tiny_model)).all()


def test_noise_that_varies_is_known_at_every_pixel():
    """A dim ground has less photon noise than what shines on it, and more than none."""
    clean = 3 + 300 * (data.camera()[100:260, 150:330] / 255.0) ** 3
    kernel, model = KERNELS["disk"], nr.NoiseModel(1.0, 0.0, 1.0)
    light = ndimage.convolve(clean, kernel, mode="nearest")
    rng = np.random.default_rng(0)
    image = rng.poisson(light) + rng.normal(0, 1, light.shape)
    mean = float(np.sqrt(np.mean(model.variance(image))))
    by_map, by_mean = (nr.deblur(image, kernel, noise=noise) for noise in (model, mean))
    assert psnr(clean, by_map, 300) > psnr(clean, by_mean, 300) + 0.5
    dim = ndimage.gaussian_filter(clean, 3) < 10
    errors = [np.sqrt(np.mean((one - clean)[dim] ** 2)) for one in (by_map, by_mean)]
    assert errors[0] < 0.95 * errors[1]


def test_grain_is_told(camera):
    kernel = hooked()
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(0, 1, camera.shape), 1.0)
    noise *= 8 / noise.std()
    image = ndimage.convolve(camera.astype(float), kernel, mode="nearest") + noise
    grainy, white = (
        nr.deblur(image, kernel, noise=nr.NoiseModel(0, 0, 8, grain, grain)) for grain in (1, 0)
    )
    assert psnr(camera, grainy) > psnr(camera, white) + 3


def point_spread(kernel):
    return as_psf(kernel, (999, 999))


@pytest.mark.parametrize("shape", [(160, 180), (161, 179)])
def test_the_transfer_function_blurs_as_a_convolution_does(shape):
    kernel, image = hooked(), data.camera()[: shape[0], : shape[1]] / 1.0
    spectrum = transfer_function(point_spread(kernel), shape)
    spectrum = spectrum * torch.fft.rfft2(torch.from_numpy(image))
    found = torch.fft.irfft2(spectrum, s=shape).numpy()
    np.testing.assert_allclose(found, ndimage.convolve(image, kernel, mode="wrap"), atol=1e-2)


@pytest.mark.parametrize("shape", [(40, 50), (41, 49)])
def test_an_offset_shifts_by_parts_of_a_pixel(shape):
    """Two shifts by half a pixel are one of a whole."""
    point = torch.zeros(shape)
    point[20, 25] = 1
    smooth = torch.from_numpy(ndimage.gaussian_filter(point.numpy(), 2.0))
    half = transfer_function(PointSpread(np.ones((1, 1)), (0.5, -0.5)), shape)
    found = torch.fft.irfft2(half**2 * torch.fft.rfft2(smooth), s=shape)
    torch.testing.assert_close(found, smooth.roll((-1, 1), (0, 1)), atol=1e-6, rtol=0)


def test_conjugate_gradients_solve():
    random = torch.randn(12, 12, generator=seeded())
    matrix = random @ random.T + torch.eye(12)
    right = torch.randn(12, generator=seeded(1))
    diagonal = matrix.diagonal()
    found = conjugate_gradients(lambda x: matrix @ x, right, lambda x: x / diagonal, 40)
    torch.testing.assert_close(matrix @ found, right, atol=1e-3, rtol=0)
    nothing = conjugate_gradients(lambda x: matrix @ x, 0 * right, lambda x: x, 3)
    assert (nothing == 0).all()


def observed(camera, *, is_varying=False, grain=0.0, is_known=None):
    """An image as the data term gets it, its noise being a tenth of the range."""
    image = torch.from_numpy(camera / 255.0)[None, None].float()
    std = 0.02 + 0.16 * torch.from_numpy(ndimage.gaussian_filter(camera / 255.0, 4))[None, None]
    noise = ImageNoise(0.1, std.float() if is_varying else None, (grain, grain))
    return image, noise, is_known


@pytest.mark.parametrize(("is_varying", "has_holes"), list(product([False, True], repeat=2)))
def test_the_data_term_minimises_what_it_says(camera, is_varying, has_holes, monkeypatch):
    """No other image has a smaller sum of both deviations, in units of the noise."""
    weight = 0.1
    known = torch.from_numpy(unknown(camera.shape, "block"))[None, None] if has_holes else None
    image, noise, known = observed(camera, is_varying=is_varying, is_known=known)
    data_term = BlurredImage(image, point_spread(hooked()), noise, known)
    estimate = torch.full_like(data_term.start, 0.5)
    relative = torch.ones_like(image) if noise.std is None else noise.std / noise.level
    nearly = data_term.solve(estimate, weight)
    monkeypatch.setattr(deconvolution, "_ROUNDS", 40)
    solution = data_term.solve(estimate, weight)

    def cost(x):
        apart = data_term.cut(data_term._blurred(x) - data_term.start) / relative
        if known is not None:
            apart = apart[known]
        trust = weight / data_term._relative**2
        return float(apart.square().sum() + (trust * (x - estimate).square()).sum())

    generator = seeded()
    for _ in range(5):
        nudge = 0.02 * torch.randn(solution.shape, generator=generator)
        assert cost(solution) < cost(solution + nudge)
    assert cost(solution) <= cost(nearly) < 1.02 * cost(solution)


@pytest.mark.parametrize("grain", [0.0, 1.0])
def test_what_is_told_is_the_noise_that_is_left(grain):
    """Deblurred noise, once its level is set apart from that of the schedule."""
    level, weight = 0.2, 0.1
    noise = torch.randn(1, 1, 200, 220, generator=seeded())
    if grain:
        noise = torch.from_numpy(ndimage.gaussian_filter(noise.numpy(), (0, 0, grain, grain)))
    noise = 0.1 * noise / noise.std()
    data_term = BlurredImage(
        noise, point_spread(psf.gaussian(1.5)), ImageNoise(0.1, None, (grain,) * 2)
    )
    left = data_term.solve(torch.zeros_like(data_term.start), weight)[..., 20:-20, 20:-20]
    told = data_term.told(level, weight)[0, :, 100, 100]
    assert float(told[0]) == pytest.approx((level * float(left.std())) ** 0.5, rel=0.05)
    for axis, along in ((2, told[1]), (3, told[2])):
        n = left.shape[axis] - 1
        alike = (left.narrow(axis, 0, n) * left.narrow(axis, 1, n)).mean() / left.var()
        assert float(along / told[0]) == pytest.approx(float(alike), abs=0.03)


def test_the_last_noise_level_is_that_of_the_image(camera):
    stds = []

    def remember(x, told):
        stds.append(float(told[0, 0].mean()))
        return x

    image, noise, _ = observed(camera)
    list(deblur_steps(image, point_spread(psf.gaussian(1)), noise, remember, iterations=5))
    assert stds == sorted(stds, reverse=True)
    assert len(stds) == 5
    assert stds[0] > 2 * noise.level


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"psf": np.zeros((3, 3))}, ValueError, "psf must not be zero"),
        ({"center": "peak"}, ValueError, "center must be 'array' or 'mass'"),
        ({"psf": np.ones((3, 3, 3))}, ValueError, "psf has three axes.* no planes along Z"),
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


def test_memory_bounds_the_blocks(monkeypatch):
    monkeypatch.setattr("napari_rednet.engine.deblurring.used_memory", lambda: 400_000_000)
    options = check_options("denoise", small_model("denoise"), False, None, "cpu", "600MB")
    small = options.deblurrer(as_psf(psf.gaussian(1.0), (300, 300)), 2)
    assert small._side() < 1024
    assert _BYTES * (small._side() + 2 * small.margin) ** 2 <= 200_000_000
    assert replace(small, memory=None)._side() == 1024
    assert replace(small, memory=1)._side() == SMALLEST_SIDE
