import io

import dask.array as da
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data

import napari_rednet as nr
from napari_rednet.restoration.deblock import deblock_steps
from tests.conftest import idle_model, psnr, small_model

MODEL = small_model("deblock")


def by_libjpeg(image, quality):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def test_restored_is_better_than_coded():
    clean = data.camera()
    coded = by_libjpeg(clean, 10)
    assert psnr(clean, nr.deblock(coded)) > psnr(clean, coded) + 0.5


@pytest.mark.parametrize(
    "dtype", ["uint16", "int16", "int32", "float16", "float32", "float64", ">u2", ">f4"]
)
def test_dtype_and_units_are_kept(dtype, camera):
    restored = nr.deblock(camera.astype(dtype), model=MODEL)
    reference = nr.deblock(camera.astype(float), model=MODEL)
    assert restored.dtype == dtype
    lowest = 0 if np.dtype(dtype).kind == "u" else -np.inf
    np.testing.assert_allclose(restored, reference.clip(lowest), atol=0.6)


def test_eight_bits_stay_eight_bits(camera):
    restored = nr.deblock(np.stack([camera, camera // 4]), model=MODEL)
    assert (restored.shape, restored.dtype) == ((2, *camera.shape), np.uint8)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_result_follows_the_units(dtype, camera):
    plain = nr.deblock(camera.astype(float), model=MODEL)
    scaled = nr.deblock((1000 + 100.0 * camera).astype(dtype), model=MODEL)
    expected = 1000 + 100 * plain
    if dtype == "uint16":
        expected = expected.clip(0, 65535)
    np.testing.assert_allclose(scaled, expected, atol=20)


def test_eight_bits_are_taken_as_they_were_coded(camera):
    """Steps of a coder do not depend on what part of the range an image uses."""
    dark = camera // 4
    options = {"model": "fast", "defects": "keep"}  # a network with biases knows the range
    together = nr.deblock(np.stack([camera, dark]), **options)
    np.testing.assert_array_equal(together[1], nr.deblock(dark, **options))
    wide = np.stack([camera, dark]).astype(float)
    apart = nr.deblock(wide, **options)[1] - nr.deblock(wide[1], **options)
    assert np.abs(apart).max() > 0.1


@settings(max_examples=20)
@given(height=st.integers(1, 90), width=st.integers(1, 90), tile=st.integers(16, 100))
def test_tile_does_not_change_the_result(height, width, tile):
    image = np.random.default_rng(height).normal(100, 20, (height, width))
    free = nr.deblock(image, model=MODEL)
    np.testing.assert_allclose(nr.deblock(image, model=MODEL, tile=tile), free, atol=1e-2)


def rgb_image(has_alpha, dtype):
    image = data.astronaut()[90:130, 200:240].astype(dtype)
    return np.concatenate([image, image[..., :1].T.reshape(40, 40, 1)], -1) if has_alpha else image


@pytest.mark.parametrize("dtype", ["uint8", "float64"])
@pytest.mark.parametrize("has_alpha", [False, True])
def test_chroma_and_transparency_stay(dtype, has_alpha):
    image = rgb_image(has_alpha, dtype)
    restored = nr.deblock(image, model=MODEL, rgb=True)
    assert restored.dtype == dtype
    assert (restored[..., :3] != image[..., :3]).any()
    np.testing.assert_array_equal(restored[..., 3:], image[..., 3:])
    if dtype == "float64":
        difference = restored[..., 0] - restored[..., 2]
        np.testing.assert_allclose(difference, image[..., 0] - image[..., 2], atol=1e-9)


def test_colours_are_restored_by_their_luminance():
    image, weights = rgb_image(has_alpha=False, dtype=float), np.array([0.299, 0.587, 0.114])
    restored = nr.deblock(image, model=MODEL, rgb=True)
    expected = nr.deblock(image @ weights, model=MODEL)
    np.testing.assert_allclose(restored @ weights, expected, atol=1e-3)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", ">u2", "float32"])
def test_colours_stay_if_there_is_nothing_to_restore(dtype):
    image = rgb_image(has_alpha=True, dtype=dtype)
    restored = nr.deblock(image, model=idle_model("deblock"), rgb=True)
    np.testing.assert_allclose(restored, image, rtol=1e-5)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_channel_axis_can_be_anywhere(axis, camera):
    channels = np.stack([camera, camera[::-1] // 2])
    restored = nr.deblock(np.moveaxis(channels, 0, axis), model=MODEL, channel_axis=axis)
    for channel, found in zip(channels, np.moveaxis(restored, axis, 0), strict=True):
        np.testing.assert_array_equal(found, nr.deblock(channel, model=MODEL))


@pytest.mark.parametrize("rgb", [False, True])
def test_pixels_that_are_not_finite_stay(rgb):
    image = rgb_image(has_alpha=False, dtype=float)
    image[3:6, 4, 1] = [np.nan, np.inf, -np.inf]
    restored = nr.deblock(image, model=MODEL, channel_axis=-1, rgb=rgb)
    np.testing.assert_array_equal(restored[3:6, 4, 1], image[3:6, 4, 1])
    assert np.isfinite(restored).sum() == image.size - 3


@pytest.mark.parametrize("shape", [(0, 0), (0, 5, 5), (3, 0, 7), (1, 1), (1, 7), (5, 1), (2, 3, 3)])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_empty_and_tiny_images_work(shape, dtype):
    restored = nr.deblock(np.full(shape, 7, dtype), model=idle_model("deblock"))
    assert restored.dtype == dtype
    np.testing.assert_allclose(restored, np.full(shape, 7), atol=1e-3)


def test_input_is_not_modified(camera):
    camera = camera.copy()
    before = camera.copy()
    camera.setflags(write=False)
    nr.deblock(camera, model=MODEL)
    np.testing.assert_array_equal(camera, before)


@pytest.mark.parametrize("rgb", [False, True])
def test_dask_stays_lazy_and_equals_the_eager_result(rgb, monkeypatch):
    monkeypatch.setattr("napari_rednet.engine.inference.fast_dtype", lambda device: torch.float32)
    image = np.stack([rgb_image(has_alpha=True, dtype=np.uint8)] * 2)
    options = {"model": MODEL, "channel_axis": -1, "rgb": rgb}
    lazy = nr.deblock(da.from_array(image, chunks=17), **options)
    assert isinstance(lazy, da.Array)
    np.testing.assert_array_equal(lazy.compute(), nr.deblock(image, **options))


def test_out_is_filled(camera, tmp_path):
    out = np.memmap(tmp_path / "out", np.uint8, "w+", shape=camera.shape)
    assert nr.deblock(camera, model=MODEL, out=out) is out
    np.testing.assert_array_equal(out, nr.deblock(camera, model=MODEL))


IMAGE = np.ones((20, 20))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"image": IMAGE > 0}, TypeError, "image must hold"),
        ({"rgb": 1}, TypeError, "rgb must be True or False"),
        ({"rgb": True, "image": np.ones((9, 9, 5))}, ValueError, "rgb needs 3 channels"),
        ({"model": small_model("super_resolve")}, nr.ModelError, "super_resolve, not for deblock"),
        ({"device": "tpu"}, ValueError, "device must be"),
        ({"out": np.ones((20, 21))}, ValueError, "out must have shape"),
    ],
)
def test_wrong_arguments_are_named_before_any_work(options, error, message):
    with pytest.raises(error, match=message):
        deblock_steps(**{"image": IMAGE, **options})
