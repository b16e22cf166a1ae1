import warnings
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.finetuning.conftest import clean_image, noisy_settings, with_noise

import napari_rednet as nr
from napari_rednet.engine.planes import PlaneKey
from napari_rednet.finetuning.examples import (
    Example,
    read_examples,
    split,
)
from napari_rednet.finetuning.planning import as_clean
from napari_rednet.finetuning.stacks import Window, as_stacks

CLEAN = clean_image()
NOISY = with_noise(CLEAN)


def pairs(images, targets, channel_axis=None):
    given = (as_stacks(n, i, channel_axis) for n, i in (("images", images), ("targets", targets)))
    stacks, clean = given
    return read_examples(stacks, noisy_settings(), targets=clean)


def numbered(shapes):
    """Examples of which each pixel has a number of its own."""
    starts = np.cumsum([0, *(h * w for h, w in shapes)])
    found = []
    for number, (h, w) in enumerate(shapes):
        rows = {"image": np.arange(starts[number], starts[number + 1]).reshape(h, w)}
        window = Window(PlaneKey((number, slice(None), slice(None)), 0), slice(0, h), slice(0, w))
        found.append(Example(rows, window, number))
    return found


def pixels(examples, name="image"):
    return {int(v) for e in examples for v in e.rows[name].ravel()}


SHAPES = st.lists(st.tuples(st.integers(8, 60), st.integers(8, 40)), min_size=1, max_size=14)


@given(shapes=SHAPES, patch=st.integers(8, 30))
def test_nothing_is_trained_on_and_held_out(shapes, patch):
    examples = numbered(shapes)
    fitting = [e for e in examples if min(e.shape) >= patch]
    if not fitting:
        with pytest.raises(ValueError, match=f"at least patch = {patch} pixels"):
            split(examples, patch)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        training, held_out = split(examples, patch)
    assert training
    assert held_out
    assert all(min(e.shape) >= patch for e in (*training, *held_out))
    assert pixels(training) | pixels(held_out) == pixels(fitting)
    # Planes of too few rows for both are trained on as a whole.
    short = pixels(e for e in fitting if e.shape[0] < 2 * patch) if len(fitting) < 8 else set()
    assert pixels(training) & pixels(held_out) == short


@pytest.mark.parametrize("count", [8, 20, 100])
def test_of_many_planes_some_are_held_out_evenly(count):
    training, held_out = split(numbered([(30, 30)] * count), 24)
    assert len(training) + len(held_out) == count
    assert 0.1 <= len(held_out) / count <= 0.2
    numbers = [e.stack for e in held_out]
    assert min(numbers) > 0
    assert max(numbers) < count - 1
    gaps = np.diff(numbers)
    assert not len(gaps) or gaps.max() - gaps.min() <= 1


def test_dropped_images_are_told():
    with pytest.warns(UserWarning, match="2 images are smaller than a patch of 24 pixels"):
        training, _ = split(numbered([(30, 30), (20, 30), (30, 23)]), 24)
    assert [e.stack for e in training] == [0]


# Values and weights ------------------------------------------------------------------------


def test_unknown_pixels_weigh_nothing():
    image, target = NOISY.copy(), CLEAN.copy()
    image[10:20, 10:30] = np.nan
    image[0, 0] = np.inf
    target[100:110] = -np.inf
    (example,) = pairs(image, target)
    expected = np.isfinite(image) & np.isfinite(target)
    np.testing.assert_array_equal(example.rows["weight"], expected)
    assert all(np.isfinite(values).all() for values in example.rows.values())


def test_planes_of_which_hardly_anything_is_known_are_left_out():
    stack = np.stack([NOISY, NOISY, NOISY, np.full_like(NOISY, 5)])
    stack[1, 10:] = np.nan
    found = read_examples(as_stacks("images", stack, None), noisy_settings())
    assert [e.window.key.index[0] for e in found] == [0, 2]


def test_what_is_learnt_from_is_what_denoise_presents():
    """In its units, and with the noise that it estimates."""
    (example,) = read_examples(as_stacks("images", NOISY, None), noisy_settings())
    gain, offset = np.polyfit(example.rows["image"].ravel(), NOISY.ravel(), 1)
    np.testing.assert_allclose(gain * example.rows["image"] + offset, NOISY, atol=1e-3)
    expected = nr.estimate_noise(NOISY).std(np.array([60.0, 180.0])) / gain
    shown = [float(np.median(example.rows["std"][abs(CLEAN - v) < 5])) for v in (60, 180)]
    assert shown == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("task", ["deblock", "super_resolve", "inpaint", "denoise"])
def test_good_images_are_presented_as_the_task_presents_bad_ones(task, dtype):
    """By their range; only a coder's steps are in gray levels."""
    image = (CLEAN // 2).astype(dtype)
    (example,) = read_examples(as_stacks("images", image, None), partial(as_clean, task))
    if task == "deblock" and dtype == np.uint8:
        np.testing.assert_allclose(example.rows["image"], image / 255, rtol=1e-6)
    else:
        assert example.rows["image"].max() > 0.95


# Registration ------------------------------------------------------------------------------


@given(gain=st.floats(0.01, 100), offset=st.floats(-1e4, 1e4), other=st.sampled_from(["f4", "f8"]))
@settings(max_examples=25)
def test_targets_get_the_intensities_of_the_images(gain, offset, other):
    (expected,) = pairs(NOISY, CLEAN)
    (found,) = pairs(NOISY, (gain * CLEAN + offset).astype(other))
    np.testing.assert_allclose(found.rows["target"], expected.rows["target"], atol=2e-3)
    bias = (found.rows["target"] - found.rows["image"]).mean()
    assert bias == pytest.approx(0, abs=1e-3)


def test_a_large_offset_of_targets_costs_no_precision():
    (expected,) = pairs(NOISY, CLEAN)
    (found,) = pairs(NOISY, CLEAN + 1e9)
    np.testing.assert_allclose(found.rows["target"], expected.rows["target"], atol=1e-3)


def test_every_stack_and_channel_is_registered_by_itself():
    images = [np.stack([NOISY, NOISY[::-1]]), np.stack([NOISY, NOISY])]
    targets = [np.stack([CLEAN, 7 * CLEAN[::-1] - 40]), np.stack([0.1 * CLEAN, CLEAN + 900])]
    found = pairs(images, targets, channel_axis=0)
    expected = pairs(images, [np.stack([CLEAN, CLEAN[::-1]]), np.stack([CLEAN, CLEAN])], 0)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.rows["target"], other.rows["target"], atol=1e-3)


def test_unknown_pixels_do_not_shift_the_registration():
    image = NOISY.copy()
    image[:80] = np.nan
    other = np.where(np.isnan(image), 9e5, CLEAN)
    (expected,), (found,) = (pairs(image, targets) for targets in (CLEAN, other))
    np.testing.assert_array_equal(found.rows["target"][80:], expected.rows["target"][80:])


def test_hot_pixels_do_not_hide_that_images_and_targets_belong_together():
    """Dim images of a camera with a few pixels that count on their own."""
    rng = np.random.default_rng(0)
    dim = 100 + CLEAN / 25
    image = rng.poisson(dim).astype(np.uint16)
    image.ravel()[rng.choice(image.size, 15, replace=False)] = 60_000
    (example,) = pairs(image, dim)
    gain = np.polyfit(dim.ravel(), example.rows["target"].ravel(), 1)[0]
    plain = np.polyfit(image[image < 1000], example.rows["image"][image < 1000], 1)[0]
    assert gain == pytest.approx(plain, rel=0.1)
