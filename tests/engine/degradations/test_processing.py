import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage import restoration
from tests.conftest import seeded

from napari_rednet.engine.degradations.losses import code_jpeg
from napari_rednet.engine.degradations.processing import (
    MARGIN,
    PROCESSES,
    gaussian_kernels,
    grainy_kernels,
    median_filtered,
    richardson_lucy,
    separably_filtered,
)

LINEAR = ("resampled", "smoothed", "bayer", "scanned")
INNER = (..., slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))


def batch(count=5, side=64, seed=0):
    """Smooth images, and white noise."""
    generator = seeded(seed)
    coarse = torch.rand((count, 1, 5, 5), generator=generator)
    clean = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0.1, 0.9)
    return clean, 0.05 * torch.randn(clean.shape, generator=generator)


def correlation(noise, axis):
    """Of neighbours along an axis, in each image of a batch."""
    noise = noise[INNER]
    count = noise.shape[axis] - 1
    products = noise.narrow(axis, 0, count) * noise.narrow(axis, 1, count)
    return products.mean((1, 2, 3)) / noise.square().mean((1, 2, 3))


@pytest.mark.parametrize("name", PROCESSES)
@given(value=st.floats(0.01, 0.99), seed=st.integers(0, 2**31), side=st.integers(20, 40))
@settings(max_examples=20)
def test_constant_images_stay_constant(name, value, seed, side):
    """Whatever is drawn; a coder rounds gray levels, and its steps are larger."""
    image = torch.full((4, 1, side, side), value)
    found = PROCESSES[name](image.clone(), image.clone(), seeded(seed))
    # The constant's step of quality 40 is 20, for 8 times the gray level.
    tolerances = (20 / 16 + 1) / 255 if name == "jpeg" else 2e-5, 2e-5
    for part, tolerance in zip(found, tolerances, strict=True):
        assert part.shape == image.shape
        assert (part - image).abs().max() <= tolerance


@pytest.mark.parametrize("name", PROCESSES)
@given(seed=st.integers(0, 2**31), count=st.integers(1, 6), side=st.integers(20, 40))
@settings(max_examples=10)
def test_a_seed_gives_the_same_again(name, seed, count, side):
    clean, noise = batch(count, side, seed % 100)
    before = clean.clone(), noise.clone()
    first, second = (PROCESSES[name](clean + noise, clean, seeded(seed)) for _ in range(2))
    for one, again in zip(first, second, strict=True):
        assert one.shape == clean.shape
        assert torch.equal(one, again)
        assert torch.isfinite(one).all()
    assert torch.equal(clean, before[0])
    assert torch.equal(noise, before[1])


@pytest.mark.parametrize("name", PROCESSES)
def test_something_is_done_to_every_image_of_a_batch(name):
    clean, noise = batch(30)
    noisy, _ = PROCESSES[name](clean + noise, clean, seeded())
    changes = (noisy - clean - noise)[INNER].square().mean((1, 2, 3)).sqrt()
    assert changes.min() > 1e-3
    # What is random is drawn for each of them.
    assert name == "median" or len(set(changes.tolist())) == 30


@pytest.mark.parametrize("name", LINEAR)
@given(seed=st.integers(0, 2**31))
@settings(max_examples=15)
def test_linear_processes_do_to_the_noise_what_they_do_to_the_image(name, seed):
    clean, noise = batch()
    zero = torch.zeros_like(clean)
    noisy, left = PROCESSES[name](clean + noise, clean, seeded(seed))
    alone, nothing = PROCESSES[name](noise, zero, seeded(seed))
    torch.testing.assert_close(noisy, left + alone, atol=2e-6, rtol=1e-5)
    assert torch.equal(nothing, zero)


@pytest.mark.parametrize("name", PROCESSES)
def test_without_noise_both_images_come_out_alike(name):
    """Of the coder the clean image is what it is given: its errors are to be undone."""
    clean, _ = batch()
    noisy, left = PROCESSES[name](clean.clone(), clean.clone(), seeded())
    if name == "jpeg":
        assert torch.equal(left, clean)
        assert 0 < (noisy - left).abs().max() < 0.2
    else:
        torch.testing.assert_close(noisy, left, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("name", sorted(set(PROCESSES) - {"jpeg", "lines"}))
@pytest.mark.parametrize("seed", range(4))
def test_beyond_the_margin_patches_are_as_in_larger_images(name, seed):
    """JPEG's blocks aside, and lines, of which there are others in each image."""
    clean, noise = batch(6, 160)
    part = (..., slice(32, 128), slice(32, 128))
    whole = PROCESSES[name](clean + noise, clean, seeded(seed))
    alone = PROCESSES[name]((clean + noise)[part], clean[part], seeded(seed))
    for one, other in zip(whole, alone, strict=True):
        torch.testing.assert_close(one[part][INNER], other[INNER], atol=2e-4, rtol=0)


@pytest.mark.parametrize("name", ["resampled", "smoothed", "median", "bayer"])
def test_neighbours_share_noise_along_both_axes(name):
    clean, noise = batch(60)
    noisy, left = PROCESSES[name](clean + noise, clean, seeded())
    for axis in (-2, -1):
        found = correlation(noisy - left, axis)
        assert found.mean() > 0.2
        assert found.min() > -0.1  # some are hardly smoothed


def test_a_scanner_smears_noise_along_x_alone():
    clean, noise = batch(60)
    noisy, left = PROCESSES["scanned"](clean + noise, clean, seeded())
    along_y, along_x = (correlation(noisy - left, axis) for axis in (-2, -1))
    assert along_y.abs().max() < 0.15
    assert along_x.min() > 0.05
    assert along_x.mean() > 0.3


def test_a_scanner_lags_behind():
    """What it has met comes out later, to the right, and never before."""
    point = torch.zeros(6, 1, 40, 40)
    point[:, :, 20, 20] = 1
    found, _ = PROCESSES["scanned"](point, point, seeded())
    rows = found[:, 0, 20]
    assert rows[:, :20].abs().max() < 1e-6
    assert (rows[:, 20:26].diff() < 0).all()
    ratios = rows[:, 21:26] / rows[:, 20:25]
    torch.testing.assert_close(ratios, ratios[:, :1].expand_as(ratios), rtol=1e-3, atol=0)
    torch.testing.assert_close(rows.sum(1), torch.ones(6))
    assert found[:, :, 21:].abs().max() == 0


def test_lines_lie_along_rows_or_columns():
    clean, noise = batch(90)
    noisy, left = PROCESSES["lines"](clean + noise, clean, seeded())
    assert torch.equal(left, clean)
    lines = noisy - clean - noise
    across = [lines.std(axis).mean((1, 2)) for axis in (-2, -1)]
    is_column, is_row = (std < 1e-6 for std in across)
    assert (is_column ^ is_row).all()
    assert 0.2 < float(is_column.float().mean()) < 0.5
    strengths = lines.std((1, 2, 3)) / noise.std((1, 2, 3))
    assert strengths.min() > 0.05
    assert strengths.max() < 1.3
    # Of their own kind, neighbours share all of it.
    assert correlation(lines, -1)[is_row].min() > 0.999


def test_resampling_enlarges_turns_and_shifts():
    """Some are sharp as before, some are enlarged: their noise is smoother."""
    clean, noise = batch(200)
    noisy, left = PROCESSES["resampled"](clean + noise, clean, seeded())
    smoothness = correlation(noisy - left, -1)
    assert smoothness.min() < 0.3
    assert smoothness.max() > 0.7


@given(sigma=st.floats(0.3, 1.6), other=st.floats(0.3, 1.6), seed=st.integers(0, 100))
@settings(max_examples=25)
def test_separable_filters_are_scipys(sigma, other, seed):
    image = torch.rand((3, 1, 30, 37), generator=seeded(seed))
    kernels = (gaussian_kernels(torch.full((3,), s)) for s in (sigma, other))
    found = separably_filtered(image, *kernels)
    for one, filtered in zip(image[:, 0].numpy(), found[:, 0].numpy(), strict=True):
        expected = ndimage.gaussian_filter(one, (sigma, other), mode="mirror", radius=6)
        np.testing.assert_allclose(filtered, expected, atol=1e-5)


def test_every_image_gets_its_own_kernel():
    sigmas = torch.tensor([0.3, 0.9, 1.6])
    image = torch.rand((1, 1, 30, 30), generator=seeded()).expand(3, 1, 30, 30)
    together = separably_filtered(image, gaussian_kernels(sigmas), gaussian_kernels(sigmas.flip(0)))
    for i in range(3):
        alone = separably_filtered(
            image[i : i + 1],
            gaussian_kernels(sigmas[i : i + 1]),
            gaussian_kernels(sigmas.flip(0)[i : i + 1]),
        )
        torch.testing.assert_close(together[i : i + 1], alone)


def test_the_median_is_scipys():
    image = torch.rand((3, 1, 24, 31), generator=seeded())
    found = median_filtered(image)
    for one, filtered in zip(image[:, 0].numpy(), found[:, 0].numpy(), strict=True):
        expected = ndimage.median_filter(one, 3, mode="mirror")
        np.testing.assert_array_equal(filtered, expected)


class StartingAt:
    """numpy, but that what is to be filled with a constant is an image."""

    def __init__(self, image):
        self._image = image

    def full(self, shape, value, dtype):
        return self._image.astype(dtype)

    def __getattr__(self, name):
        return getattr(np, name)


@pytest.mark.parametrize("count", [1, 4, 15])
def test_deconvolution_is_scikit_images(count, monkeypatch):
    """From the same start; inside, for skimage takes zeros for what lies beyond the borders."""
    clean, noise = batch(1, 128)
    kernel = gaussian_kernels(torch.tensor([1.2]))
    dirty = separably_filtered(clean, kernel, kernel) + 0.4 * noise
    image, psf = dirty[0, 0].double().numpy(), (kernel[0][:, None] * kernel[0]).double().numpy()
    monkeypatch.setattr("skimage.restoration.deconvolution.np", StartingAt(image))
    expected = restoration.richardson_lucy(image, psf, count, clip=False)
    found = richardson_lucy(dirty, kernel, count)[0, 0].numpy()
    inner = (slice(40, -40), slice(40, -40))
    np.testing.assert_allclose(found[inner], expected[inner], rtol=1e-3)
    assert np.abs(expected - image)[inner].max() > 0.005


@given(along=st.floats(0, 0.9))
@settings(max_examples=30)
def test_grainy_kernels_correlate_neighbours_as_asked(along):
    kernel = grainy_kernels(torch.tensor([along]))[0]
    assert float(kernel.square().sum()) == pytest.approx(1, abs=1e-4)
    assert float((kernel[1:] * kernel[:-1]).sum()) == pytest.approx(along, abs=0.01)
    torch.testing.assert_close(kernel, kernel.flip(0), atol=1e-5, rtol=0)


def test_without_correlation_grainy_kernels_change_nothing():
    image = torch.rand((1, 1, 30, 30), generator=seeded())
    kernel = grainy_kernels(torch.zeros(1))
    torch.testing.assert_close(separably_filtered(image, kernel, kernel), image)


def test_the_coder_is_the_projects_own():
    clean, noise = batch(3)
    found, left = PROCESSES["jpeg"](clean + noise, clean, seeded())
    coded = [code_jpeg(clean + noise, float(quality)) for quality in range(40, 96)]
    for i in range(3):
        assert any(torch.equal(found[i], other[i]) for other in coded)
    assert torch.equal(left, clean)
