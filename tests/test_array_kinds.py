"""Arrays of other kinds: masked ones, tensors; and what calls leave alone."""

import dask.array as da
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy import ma
from skimage import data

import napari_rednet as nr
from tests.conftest import few, small_model

MODELS = {task: small_model(task) for task in ("denoise", "super_resolve", "deblock", "inpaint")}
VERBS = {
    "denoise": lambda image, **more: nr.denoise(image, model=MODELS["denoise"], **more),
    "super_resolve": lambda image, **more: nr.super_resolve(
        image, 3, model=MODELS["super_resolve"], **more
    ),
    "deblock": lambda image, **more: nr.deblock(image, model=MODELS["deblock"], **more),
    "deblur": lambda image, **more: nr.deblur(
        image, nr.psf.gaussian(1), model=MODELS["denoise"], iterations=2, **more
    ),
}
DTYPES = ["u1", "i2", ">u2", "i4", "f4", "f8"]


def micrograph(dtype="u2", shape=(60, 70)):
    return (data.cell()[200 : 200 + shape[0], 100 : 100 + shape[1]] // 2).astype(dtype)


def holes(shape=(60, 70), seed=0):
    """Single masked pixels, and a region."""
    mask = np.random.default_rng(seed).random(shape) < 0.05
    mask[20:30, 40:] = True
    return mask


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("verb", VERBS)
def test_masked_pixels_stay_and_have_no_influence(verb, dtype):
    image, mask = micrograph(dtype), holes()
    other = np.where(mask, 255 - image, image).astype(dtype)
    results = [VERBS[verb](ma.MaskedArray(values, mask)) for values in (image, other)]
    scale = 3 if verb == "super_resolve" else 1
    large = mask.repeat(scale, 0).repeat(scale, 1)
    for result, values in zip(results, (image, other), strict=True):
        assert isinstance(result, ma.MaskedArray)
        assert result.dtype == image.dtype
        np.testing.assert_array_equal(result.mask, large)
        kept = values.repeat(scale, 0).repeat(scale, 1)
        np.testing.assert_array_equal(result.data[large], kept[large])
    np.testing.assert_array_equal(results[0].data[~large], results[1].data[~large])
    assert (results[0].data != image.repeat(scale, 0).repeat(scale, 1))[~large].any()


@pytest.mark.parametrize("verb", VERBS)
def test_masked_is_as_not_a_number(verb):
    image, mask = micrograph("f4"), holes()
    expected = VERBS[verb](np.where(mask, np.nan, image).astype("f4"))
    result = VERBS[verb](ma.MaskedArray(image, mask))
    np.testing.assert_array_equal(result.filled(np.nan), expected)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("mask", [ma.nomask, False])
def test_a_mask_of_nothing_changes_nothing(verb, mask):
    image = micrograph()
    result = VERBS[verb](ma.MaskedArray(image, mask))
    assert isinstance(result, ma.MaskedArray)
    assert not result.mask.any()
    np.testing.assert_array_equal(result.data, VERBS[verb](image))


@settings(max_examples=few())
@given(tile=st.integers(16, 50), seed=st.integers(0, 99))
@pytest.mark.parametrize("verb", ["denoise", "super_resolve", "deblock"])
def test_tiles_change_nothing(verb, tile, seed):
    image = ma.MaskedArray(micrograph(), holes(seed=seed))
    whole, tiled = VERBS[verb](image), VERBS[verb](image, tile=tile)
    np.testing.assert_array_equal(tiled.mask, whole.mask)
    np.testing.assert_allclose(tiled.data.astype(float), whole.data.astype(float), atol=1)


@pytest.mark.parametrize("axis", [0, -1])
def test_planes_channels_and_colours_have_masks_of_their_own(axis):
    channels = np.stack([micrograph(), micrograph()[::-1], micrograph()[:, ::-1]], axis)
    mask = np.stack([holes(seed=seed) for seed in range(3)], axis)
    masked = ma.MaskedArray(channels, mask)
    by_channel = VERBS["denoise"](masked, channel_axis=axis, noise=5.0)
    for c in range(3):
        one = VERBS["denoise"](ma.MaskedArray(channels.take(c, axis), mask.take(c, axis)), noise=5)
        np.testing.assert_array_equal(by_channel.take(c, axis), one)
    together = VERBS["denoise"](masked, channel_axis=axis, rgb=True, noise=5.0)
    np.testing.assert_array_equal(together.data[mask], channels[mask])
    deblocked = VERBS["deblock"](masked, channel_axis=axis, rgb=True)
    np.testing.assert_array_equal(deblocked.data[mask], channels[mask])


def test_masked_arrays_are_written_into_out():
    image, out = ma.MaskedArray(micrograph(), holes()), np.zeros((60, 70), "u2")
    assert VERBS["denoise"](image, out=out) is out
    np.testing.assert_array_equal(out, VERBS["denoise"](image).data)
    with pytest.raises(ValueError, match="out must not share memory or a file with image"):
        VERBS["denoise"](image, out=image.data)


def test_inpaint_fills_what_is_masked():
    image, mask = micrograph(), holes()
    expected = nr.inpaint(image, mask, model=MODELS["inpaint"])
    found = nr.inpaint(ma.MaskedArray(image, mask), model=MODELS["inpaint"])
    np.testing.assert_array_equal(found, expected)
    assert not isinstance(found, ma.MaskedArray)
    more = np.zeros_like(mask)
    more[:5] = True
    both = nr.inpaint(ma.MaskedArray(image, mask), more, model=MODELS["inpaint"])
    expected = nr.inpaint(image, mask | more, model=MODELS["inpaint"])
    np.testing.assert_array_equal(both, expected)


def test_noise_and_defects_are_found_in_what_is_not_masked():
    image, mask = micrograph("f8"), holes()
    masked = ma.MaskedArray(image, mask)
    unknown = np.where(mask, np.nan, image)
    assert nr.estimate_noise(masked) == nr.estimate_noise(unknown)
    np.testing.assert_array_equal(nr.find_defects(masked), nr.find_defects(unknown))


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("dtype", ["u2", "f4"])
def test_an_image_that_is_masked_as_a_whole_stays_with_a_warning(verb, dtype):
    image = ma.MaskedArray(micrograph(dtype), mask=True)
    with pytest.warns(UserWarning, match="image is masked as a whole"):
        result = VERBS[verb](image)
    assert result.mask.all()
    assert result.dtype == image.dtype
    step = 3 if verb == "super_resolve" else 1
    np.testing.assert_array_equal(result.data[::step, ::step], image.data)


def test_inpaint_needs_something_to_go_by():
    image = ma.MaskedArray(micrograph(), mask=True)
    with pytest.raises(ValueError, match="the mask of image covers the whole plane"):
        nr.inpaint(image, model=MODELS["inpaint"])


def test_a_lazy_array_of_masked_blocks_is_refused_in_words():
    lazy = da.ma.masked_greater(da.from_array(micrograph(), chunks=30), 100)
    with pytest.raises(TypeError, match="image must not be a dask array of masked arrays"):
        VERBS["denoise"](lazy)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.float32, torch.float64])
@pytest.mark.parametrize("verb", VERBS)
def test_tensors_are_taken_by_their_values(verb, dtype):
    tensor = torch.from_numpy(micrograph("i2")).to(dtype)
    result = VERBS[verb](tensor.requires_grad_(tensor.is_floating_point()))
    assert isinstance(result, np.ndarray)
    np.testing.assert_array_equal(result, VERBS[verb](tensor.detach().numpy()))


def test_tensors_that_numpy_cannot_hold_are_refused_in_words():
    with pytest.raises(TypeError, match="image must be an array that numpy can read, got Tensor"):
        VERBS["denoise"](torch.zeros((40, 50), dtype=torch.bfloat16))
    with pytest.raises(TypeError, match="out must be a writable array, got Tensor"):
        VERBS["denoise"](micrograph(), out=torch.zeros((60, 70)))


@pytest.mark.parametrize("verb", VERBS)
def test_random_states_are_left_alone(verb, tmp_path):
    """Loading a model is a part of it."""
    for task, model in MODELS.items():
        model.save(tmp_path / f"{task}.safetensors")
    task = "denoise" if verb == "deblur" else verb
    options = {"psf": nr.psf.gaussian(1), "iterations": 2} if verb == "deblur" else {}
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002 - the global state is what is looked at
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    model = tmp_path / f"{task}.safetensors"
    getattr(nr, verb)(micrograph(), model=model, ensemble=True, **options)
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


@pytest.mark.parametrize("noise", [np.array(5.0), np.float32(5), np.array([5.0]), [np.array(5)]])
def test_noise_may_be_an_array_of_one_number(noise):
    image = micrograph()
    expected = VERBS["denoise"](image[None], noise=5.0, channel_axis=0)
    found = VERBS["denoise"](image[None], noise=noise, channel_axis=0)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.filterwarnings("ignore:many pixels hold less than a photon")
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("seed", range(3))
def test_images_of_outliers_only_are_taken(verb, seed):
    lot = np.random.default_rng(seed)
    for share in (0.5, 0.1, 0.01):
        image = np.where(lot.random((40, 50)) < share, np.uint16(65535), np.uint16(0))
        assert VERBS[verb](image).dtype == image.dtype
        lonely = np.where(image > 0, np.float32(1000), np.float32(np.nan))
        unknown = np.isnan(VERBS[verb](lonely))
        step = 3 if verb == "super_resolve" else 1
        np.testing.assert_array_equal(unknown[::step, ::step], np.isnan(lonely))
