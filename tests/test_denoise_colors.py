"""Colours that are denoised together."""

import dask.array as da
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data

import napari_rednet as nr
from napari_rednet.restoration.denoise import denoise_steps
from tests.conftest import idle_model, psnr, small_model

MODEL = small_model("denoise")


def astronaut(*, has_alpha=False, dtype=float):
    image = data.astronaut()[90:130, 200:250]
    alpha = data.camera()[:40, :50, None]
    return (np.concatenate([image, alpha], -1) if has_alpha else image).astype(dtype)


def with_noise(image, std):
    return image + np.random.default_rng(0).normal(0, 1, image.shape) * std


@pytest.mark.parametrize("std", [25, *(pytest.param(n, marks=pytest.mark.slow) for n in (10, 50))])
@pytest.mark.parametrize("name", ["astronaut", "immunohistochemistry"])
def test_together_is_better_than_each_by_itself(name, std):
    clean = getattr(data, name)()[:256, :256].astype(float)
    noisy = with_noise(clean, std)
    apart = nr.denoise(noisy, noise=std, channel_axis=-1)
    assert psnr(clean, nr.denoise(noisy, noise=std, rgb=True)) > psnr(clean, apart) + 0.4


@pytest.mark.parametrize("levels", [[5.0, 15.0, 40.0], [10.0, 40.0, 10.0]])
def test_colours_have_noise_of_their_own(levels):
    clean = data.astronaut()[:256, :256].astype(float)
    noisy = with_noise(clean, np.array(levels))
    told = nr.denoise(noisy, noise=levels, rgb=True)
    alike = nr.denoise(noisy, noise=np.mean(levels), rgb=True)
    assert psnr(clean, told) > psnr(clean, alike) + 0.3


def test_the_noise_is_estimated():
    clean = data.astronaut()[:256, :256].astype(float)
    noisy = with_noise(clean, 25)
    known, found = (nr.denoise(noisy, noise=noise, rgb=True) for noise in (25, None))
    assert psnr(clean, found) > psnr(clean, known) - 1


def test_photon_noise_follows_the_light_of_all_colours():
    clean = data.astronaut()[:256, :256].astype(float)
    noisy = 6.0 * np.random.default_rng(0).poisson(clean / 6)
    told = nr.denoise(noisy, noise=nr.NoiseModel(gain=6), rgb=True)
    constant = nr.denoise(noisy, noise=np.sqrt(6 * clean.mean()), rgb=True)
    assert psnr(clean, told) > psnr(clean, constant) + 0.3


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", ">u2", "float32", "float64"])
def test_dtype_and_transparency_stay(dtype):
    image = astronaut(has_alpha=True, dtype=dtype)
    restored = nr.denoise(image, noise=5, model=MODEL, rgb=True)
    assert restored.dtype == image.dtype
    assert (restored[..., :3] != image[..., :3]).any()
    np.testing.assert_array_equal(restored[..., 3], image[..., 3])
    idle = nr.denoise(image, noise=5, model=idle_model("denoise"), rgb=True)
    np.testing.assert_allclose(idle, image, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_colours_can_be_on_any_axis(axis):
    image = astronaut()
    moved = nr.denoise(np.moveaxis(image, -1, axis), model=MODEL, channel_axis=axis, rgb=True)
    np.testing.assert_array_equal(
        np.moveaxis(moved, axis, -1), nr.denoise(image, model=MODEL, rgb=True)
    )


def test_planes_of_a_stack_share_range_and_noise(exact):
    image = astronaut()
    stack = np.stack([image, image[::-1]])
    options = {"noise": 5, "model": MODEL, "rgb": True}
    together = nr.denoise(stack, **options)
    np.testing.assert_allclose(together[0], nr.denoise(image, **options), atol=0.6)


@settings(max_examples=15)
@given(height=st.integers(1, 80), width=st.integers(1, 80), tile=st.integers(16, 90))
def test_tile_does_not_change_the_result(height, width, tile):
    image = np.random.default_rng(height).normal(100, 20, (height, width, 3))
    options = {"noise": 20, "model": MODEL, "rgb": True}
    tiled = nr.denoise(image, tile=tile, **options)
    np.testing.assert_allclose(tiled, nr.denoise(image, **options), atol=0.5)


def test_the_ensemble_takes_colours():
    image = astronaut()
    turned = nr.denoise(image[::-1], noise=5, model=MODEL, rgb=True, ensemble=True)
    straight = nr.denoise(image, noise=5, model=MODEL, rgb=True, ensemble=True)
    np.testing.assert_allclose(turned[::-1], straight, atol=0.5)


def test_pixels_that_are_not_finite_stay():
    image = astronaut()
    image[3:6, 4, 1] = [np.nan, np.inf, -np.inf]
    restored = nr.denoise(image, noise=5, model=MODEL, rgb=True)
    np.testing.assert_array_equal(restored[3:6, 4, 1], image[3:6, 4, 1])
    assert np.isfinite(restored).sum() == image.size - 3


def test_dask_stays_lazy_and_equals_the_eager_result(monkeypatch):
    monkeypatch.setattr("napari_rednet.engine.inference.fast_dtype", lambda device: torch.float32)
    image = np.stack([astronaut(has_alpha=True, dtype=np.uint8)] * 2)
    lazy = nr.denoise(da.from_array(image, chunks=17), model=MODEL, rgb=True)
    assert isinstance(lazy, da.Array)
    np.testing.assert_array_equal(lazy.compute(), nr.denoise(image, model=MODEL, rgb=True))


@pytest.mark.parametrize("shape", [(0, 0, 3), (3, 0, 7, 3), (1, 1, 3), (1, 7, 4), (5, 1, 3)])
def test_empty_and_tiny_images_work(shape):
    image = np.full(shape, 7, np.uint8)
    np.testing.assert_array_equal(nr.denoise(image, model=idle_model("denoise"), rgb=True), image)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"rgb": 1}, TypeError, "rgb must be True or False"),
        ({"image": np.ones((9, 9, 5))}, ValueError, "rgb needs 3 channels"),
        ({"noise": [1, 2]}, ValueError, "one entry for each of the 3 channels"),
        ({"image": np.ones((9, 9, 4)), "noise": [1, 2, 3, 4]}, ValueError, "3 channels, got 4"),
    ],
)
def test_wrong_arguments_are_named_before_any_work(options, error, message):
    with pytest.raises(error, match=message):
        denoise_steps(**{"image": np.ones((9, 9, 3)), "rgb": True, **options})
