"""Networks without biases scale with their input: results depend on nothing that lies elsewhere."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage import data

import napari_rednet as nr
from napari_rednet.engine.network import MOST_CHANGE
from tests.conftest import psnr, small_model

TINY = small_model("denoise")
CAMERA = data.camera()[100:196, 150:262].astype(np.float32)
NOISY = CAMERA + np.random.default_rng(0).normal(0, 25, CAMERA.shape).astype(np.float32)


@pytest.fixture(autouse=True, scope="module")
def exact_numbers():
    """Computing in float32, where results are compared to the last digits."""
    with pytest.MonkeyPatch.context() as patch:
        name = "napari_rednet.engine.inference.fast_dtype"
        patch.setattr(name, lambda device: torch.float32)
        yield


@given(power=st.integers(-20, 20))
@settings(max_examples=10)
def test_powers_of_two_scale_the_result_to_the_last_digit(power):
    factor = np.float32(2.0**power)
    plain = nr.denoise(NOISY, noise=25, model=TINY)
    np.testing.assert_array_equal(
        nr.denoise(factor * NOISY, noise=25 * float(factor), model=TINY), factor * plain
    )


@given(factor=st.floats(1e-6, 1e6), gain=st.floats(0, 3))
@settings(max_examples=10)
def test_any_factor_scales_the_result(factor, gain):
    noise = nr.NoiseModel(gain, 10.0, 12.0)
    scaled = nr.NoiseModel(gain * factor, 10.0 * factor, 12.0 * factor)
    plain = nr.denoise(NOISY.astype(float), noise=noise, model=TINY)
    found = nr.denoise(factor * NOISY.astype(float), noise=scaled, model=TINY)
    np.testing.assert_allclose(found / factor, plain, atol=0.2)


@given(bright=st.floats(1e3, 1e9), row=st.integers(0, 8), column=st.integers(0, 8))
@settings(max_examples=10)
def test_a_bright_pixel_changes_nothing_far_away(bright, row, column):
    spoilt = NOISY.copy()
    spoilt[row, column] = bright
    plain = nr.denoise(NOISY, noise=25, model=TINY)
    found = nr.denoise(spoilt, noise=25, model=TINY)
    far = TINY.config.receptive_radius + 8 + 14
    # The dark level is a rank among blocks, which one bright block shifts a little.
    np.testing.assert_allclose(found[far:], plain[far:], atol=0.5)
    np.testing.assert_allclose(found[:, far:], plain[:, far:], atol=0.5)


@pytest.mark.parametrize("factor", [200.0, 1 / 150])
def test_planes_of_a_stack_are_restored_as_if_they_were_alone(factor):
    """A flash, or what is left after bleaching, costs the others nothing, nor they it."""
    light = 400 * CAMERA / 255
    lot = np.random.default_rng(0)
    planes = [2.0 * lot.poisson(light * f) for f in (1, factor)]
    noise = nr.NoiseModel(gain=2.0)
    stack = nr.denoise(np.stack(planes), noise=noise)
    for restored, plane, f in zip(stack, planes, (1, factor), strict=True):
        clean = 2 * light * f
        alone = nr.denoise(plane, noise=noise)
        assert psnr(clean, restored, np.ptp(clean)) > psnr(clean, alone, np.ptp(clean)) - 0.3


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float16", "float32", "float64"])
def test_without_noise_images_come_back_bit_by_bit(dtype):
    image = NOISY.clip(0, 255).astype(dtype)
    np.testing.assert_array_equal(nr.denoise(image, noise=0, model=TINY), image)
    np.testing.assert_array_equal(nr.denoise(image, strength=0, model=TINY), image)


@given(gain=st.floats(0, 5), read_noise=st.floats(0, 40), strength=st.floats(0, 3))
@settings(max_examples=15)
def test_no_pixel_is_changed_by_more_than_its_noise(gain, read_noise, strength):
    noise = nr.NoiseModel(gain, 0.0, read_noise)
    options = {"noise": noise, "strength": strength, "defects": "keep", "model": TINY}
    changed = np.abs(nr.denoise(NOISY, **options) - NOISY)
    signal = ndimage.gaussian_filter(NOISY, 2.0, mode="nearest", radius=6)
    assert (changed <= MOST_CHANGE * strength * noise.std(signal) + 1e-2).all()


@pytest.mark.parametrize("noise", [0.05, 0.2, 0.5])
def test_images_of_hardly_any_noise_come_out_no_worse(noise):
    noisy = CAMERA + np.random.default_rng(0).normal(0, noise, CAMERA.shape)
    restored = nr.denoise(noisy, noise=noise)
    assert np.std(restored - CAMERA) < 1.25 * noise


def test_bright_beads_do_not_spoil_a_dim_background():
    lot = np.random.default_rng(0)
    beads = np.zeros((128, 128))
    beads[lot.integers(0, 128, 6), lot.integers(0, 128, 6)] = 1
    beads = ndimage.gaussian_filter(beads, 2.5)
    clean = 100 + 50_000 * beads / beads.max()
    noisy = clean + lot.normal(0, 1.7, clean.shape)
    restored = nr.denoise(noisy, noise=1.7)
    background = clean < 101
    assert np.std((restored - clean)[background]) < np.std((noisy - clean)[background])
