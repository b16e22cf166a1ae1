"""Hot pixels, repaired before the network sees them."""

import logging

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data
from skimage.metrics import peak_signal_noise_ratio as psnr

import napari_rednet as nr
from napari_rednet.execution import Repairs
from napari_rednet.restoration.deblock import deblock_steps
from napari_rednet.restoration.deblur import deblur_steps
from napari_rednet.restoration.denoise import denoise_steps
from napari_rednet.restoration.super_resolve import super_resolve_steps
from tests.conftest import few, small_model

MODEL = small_model("denoise")
HOT = 65535
VERBS = {
    "denoise": (nr.denoise, denoise_steps, {"model": MODEL, "noise": 9.0}),
    "super_resolve": (
        nr.super_resolve, super_resolve_steps,
        {"scale": 2, "model": small_model("super_resolve")},
    ),
    "deblock": (nr.deblock, deblock_steps, {"model": small_model("deblock")}),
    "deblur": (
        nr.deblur, deblur_steps, {"psf": nr.psf.gaussian(1), "model": MODEL, "iterations": 2},
    ),
}  # fmt: skip


def part(height, width):
    """A part of a micrograph, in 16 bits."""
    return 100 + 8 * data.cell()[200 : 200 + height, 100 : 100 + width].astype(np.uint16)


def frame(height=90, width=100):
    """A part of a micrograph, and the same with hot pixels, two of which touch."""
    image = part(height, width)
    hot = image.copy()
    for place in ((0, 0), (20, 30), (20, 31), (47, 63), (height - 1, 50)):
        hot[place] = HOT
    return image, hot


def drained(steps):
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


@pytest.mark.parametrize("verb", VERBS)
def test_hot_pixels_do_no_harm_and_are_counted(verb, caplog):
    restore, make_steps, options = VERBS[verb]
    image, hot = frame()
    expected, kept = restore(image, **options), restore(hot, defects="keep", **options)
    repairs = Repairs()
    with caplog.at_level(logging.INFO):
        repaired = drained(make_steps(hot, repairs=repairs, **options))
    assert repairs.count == 5
    assert str(repairs) in caplog.text
    np.testing.assert_array_equal(repaired, restore(hot, **options))
    harm, without = (np.abs(r.astype(float) - expected).max() for r in (kept, repaired))
    assert without < 200
    assert harm > 20 * without


@pytest.mark.parametrize("verb", VERBS)
def test_an_image_without_any_is_left_alone(verb, caplog):
    restore, _, options = VERBS[verb]
    image, _ = frame()
    with caplog.at_level(logging.INFO):
        repaired = restore(image, **options)
    np.testing.assert_array_equal(repaired, restore(image, defects="keep", **options))
    assert "repaired" not in caplog.text


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("given", ["remove", "REPAIR", "", None, True])
def test_another_word_is_named(verb, given):
    restore, _, options = VERBS[verb]
    with pytest.raises((ValueError, TypeError), match="defects must be 'repair' or 'keep', got"):
        restore(frame()[0], defects=given, **options)


def test_the_rest_of_a_noisy_image_is_as_good_as_without_them():
    clean = 100 + 20 * data.camera()[100:356, 100:356].astype(float)
    lot = np.random.default_rng(0)
    noisy = lot.poisson(clean / 10).astype(np.uint16) * 10
    mask = lot.random(clean.shape) < 1e-3
    hot = np.where(mask, np.uint16(HOT), noisy)
    kept, repaired, best = (
        psnr(clean[~mask], nr.denoise(image, defects=defects)[~mask], data_range=5100)
        for image, defects in ((hot, "keep"), (hot, "repair"), (noisy, "repair"))
    )
    assert repaired > best - 0.3
    assert kept < best - 3


@settings(max_examples=few())
@given(
    shape=st.tuples(st.integers(3, 90), st.integers(3, 100)),
    tile=st.integers(16, 60),
    seed=st.integers(0, 99),
)
@pytest.mark.parametrize("verb", ["denoise", "super_resolve", "deblock"])
def test_tiles_change_nothing(verb, shape, tile, seed):
    _, make_steps, options = VERBS[verb]
    image = part(*shape)
    image.flat[np.random.default_rng(seed).integers(0, image.size, 4)] = HOT
    (whole, found), (tiled, again) = (
        (drained(make_steps(image, repairs=repairs, tile=size, **options)).astype(float), repairs)
        for size, repairs in ((None, Repairs()), (tile, Repairs()))
    )
    np.testing.assert_allclose(tiled, whole, atol=2)
    assert again.count == found.count


@pytest.mark.parametrize("verb", ["denoise", "super_resolve", "deblock"])
def test_a_dask_array_is_repaired_alike(verb, monkeypatch):
    """Its planes are cut into blocks of rows, and hot pixels lie where they are cut."""
    monkeypatch.setattr("napari_rednet.execution.parts._ROWS_PER_MARGIN", 1)
    monkeypatch.setattr("napari_rednet.execution.parts._LEAST_PIXELS", 1)
    restore, _, options = VERBS[verb]
    image = part(300, 40)
    image[5:300:9, 5:40:9] = HOT
    image[4:300:9, 9:40:9] = HOT
    lazy = restore(da.from_array(image, chunks=(50, 40)), **options)
    assert lazy.numblocks[0] > 2
    expected = restore(image, **options).astype(float)
    np.testing.assert_allclose(lazy.compute().astype(float), expected, atol=2)


def test_each_colour_is_repaired():
    colors = data.immunohistochemistry()[:80, :90].astype(np.uint16) * 8
    hot = colors.copy()
    hot[20, 30, 0] = hot[40, 50, 1] = hot[60, 20, 2] = HOT
    for restore, options in (
        (denoise_steps, {"noise": 9.0, "model": MODEL}),
        (deblock_steps, {"model": small_model("deblock")}),
    ):
        repairs = Repairs()
        repaired = drained(restore(hot, rgb=True, repairs=repairs, **options))
        expected = drained(restore(colors, rgb=True, **options))
        assert repairs.count == 3
        assert np.abs(repaired.astype(float) - expected).max() < 300


def test_transparency_is_left_alone():
    image = np.full((40, 50, 4), 200, np.uint16)
    image[..., :3] += np.random.default_rng(0).integers(0, 20, (40, 50, 3)).astype(np.uint16)
    image[20, 30, 3] = HOT
    restored = nr.denoise(image, noise=5.0, model=MODEL, rgb=True)
    np.testing.assert_array_equal(restored[..., 3], image[..., 3])


def test_single_frames_that_flash_or_bleach_lose_nothing():
    """Limits are those of the whole stack; frames far brighter or darker have the same rights."""
    clean = data.camera()[100:200, 100:200].astype(float)
    lot = np.random.default_rng(0)
    light = [10.0, 10.0, 500.0, 0.07]
    stack = np.stack([lot.poisson(clean * s / 10) for s in light]).astype(np.uint16)
    repairs = Repairs()
    drained(denoise_steps(stack, model=MODEL, noise=nr.NoiseModel(1.0), repairs=repairs))
    assert repairs.count == 0
    stack[:, 50, 60] = HOT
    drained(denoise_steps(stack, model=MODEL, noise=nr.NoiseModel(1.0), repairs=repairs))
    assert repairs.count == 4


def test_windows_show_what_the_whole_becomes():
    from napari_rednet.execution import Windows, measure
    from napari_rednet.restoration.denoise import prepare_denoise

    _, hot = frame()
    restoration = prepare_denoise(hot, noise=9.0, model=MODEL)
    whole = drained(restoration.steps()).astype(float)
    windows = Windows(restoration, measure(restoration))
    for rows, columns in ((slice(21, 48), slice(31, 64)), (slice(0, 20), slice(29, 30))):
        part = drained(windows.at((), rows, columns).steps()).astype(float)
        np.testing.assert_allclose(part, whole[rows, columns], atol=1)


def test_the_input_is_not_modified():
    _, hot = frame()
    before = hot.copy()
    nr.denoise(hot, noise=9.0, model=MODEL)
    np.testing.assert_array_equal(hot, before)
