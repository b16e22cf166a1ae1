from math import prod

import numpy as np
import pytest
from scipy import ndimage
from skimage.metrics import peak_signal_noise_ratio

import napari_rednet as nr
from napari_rednet import sample_data

DEGRADED = ("noisy", "small", "jpeg", "holes")
RECORDED = ("chromosomes_layer", "epithelium", "blurred")


def layers_of(name):
    """Layers of a sample by their role: the original, the degraded image, and what follows."""
    degraded, original, *others = getattr(sample_data, name)()
    return original, degraded, others


def psnr(original, image):
    low, high = original[1]["contrast_limits"]
    return peak_signal_noise_ratio(original[0], image, data_range=high - low)


@pytest.mark.parametrize("name", [*DEGRADED, *RECORDED])
def test_samples_are_the_same_every_time(name):
    first, second = getattr(sample_data, name)(), getattr(sample_data, name)()
    for (a, options, kind), (b, same_options, same_kind) in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
        assert (options, kind) == (same_options, same_kind)


@pytest.mark.parametrize("name", [*DEGRADED, *RECORDED])
def test_samples_say_where_they_come_from_and_what_was_done(name):
    for _, options, kind in getattr(sample_data, name)():
        if kind == "image":
            assert "CC-BY 4.0" in options["metadata"]["source"]
            assert options["metadata"]["changes"]
        assert options["axis_labels"][-2:] == ("y", "x")


@pytest.mark.parametrize("name", DEGRADED)
def test_a_degraded_image_lies_on_its_original(name):
    original, degraded, _ = layers_of(name)
    factor = original[0].shape[-1] / degraded[0].shape[-1]
    assert degraded[1]["scale"][-2:] == (factor, factor)
    # The borders of both images lie at the same places.
    assert degraded[1]["translate"][-1] - factor / 2 == -0.5
    assert original[0].dtype == degraded[0].dtype
    assert original[1]["contrast_limits"] == degraded[1]["contrast_limits"]
    assert not original[1]["visible"]
    enlarged = degraded[0].repeat(factor, -2).repeat(factor, -1)
    assert psnr(original, enlarged) < 30
    shown = [np.clip(a, *original[1]["contrast_limits"]) for a in (original[0], enlarged)]
    smooth = [ndimage.gaussian_filter(a.astype(float), 2.0) for a in shown]
    assert np.corrcoef(smooth[0].ravel(), smooth[1].ravel())[0, 1] > 0.9


@pytest.mark.parametrize(
    ("name", "restore", "gain"), [("noisy", nr.denoise, 6), ("jpeg", nr.deblock, 1)]
)
def test_samples_come_back_closer_to_the_original(name, restore, gain):
    original, degraded, _ = layers_of(name)
    restored = restore(degraded[0], device="cpu")
    assert psnr(original, restored) > psnr(original, degraded[0]) + gain


def test_enlarged_membranes_are_closer_to_the_original_than_interpolated_ones():
    original, degraded, _ = layers_of("small")
    frame, small = (original[0][0], original[1]), degraded[0][0]
    interpolated = ndimage.zoom(small.astype(float), 2, order=3, grid_mode=True, mode="nearest")
    enlarged = nr.super_resolve(small, 2, device="cpu")
    assert psnr(frame, enlarged) > psnr(frame, interpolated) + 1


def test_labels_mark_the_holes():
    original, degraded, ((labels, _, kind),) = layers_of("holes")
    assert kind == "labels"
    assert 0.005 < labels.astype(bool).mean() < 0.2
    np.testing.assert_array_equal(original[0][labels == 0], degraded[0][labels == 0])
    assert (degraded[0][labels == 1] > original[0].max()).all()


def test_the_psf_makes_the_lines_of_the_grid_narrower():
    (grid, _, _), (psf, _, _) = sample_data.blurred()
    assert psf.min() == 0
    assert np.unravel_index(psf.argmax(), psf.shape) == (15, 15)
    middle = grid[len(grid) // 2]
    sharp = nr.deblur(middle, psf, device="cpu")
    profiles = [image.mean(axis=0) for image in (middle, sharp)]
    contrast = [profile.max() / np.median(profile) for profile in profiles]
    assert contrast[1] > 1.2 * contrast[0]


def test_the_hot_pixel_is_found_and_filled():
    _, (membranes, options, _) = sample_data.epithelium()
    filled = nr.inpaint(membranes, device="cpu")
    hot = membranes > 2 * options["contrast_limits"][1]
    assert hot.sum() == 1
    assert filled[hot].max() < options["contrast_limits"][1]
    assert (filled != membranes).sum() < 1e-4 * prod(membranes.shape)
