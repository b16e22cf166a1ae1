import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage import data
from tests.conftest import seeded

from napari_rednet.engine.degradations import EnlargementCorruption, resample
from napari_rednet.engine.resampling import bicubic_matrix

SIDES = st.integers(1, 40)


def resampled(image, shape):
    return resample(torch.from_numpy(image)[None, None], shape)[0, 0].numpy()


def by_pillow(image, shape):
    size = (shape[1], shape[0])
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


@pytest.mark.parametrize(
    "shape", [(80, 90), (53, 60), (40, 45), (320, 360), (161, 179), (17, 300), (160, 180), (1, 1)]
)
def test_a_photograph_is_resampled_as_by_pillow(camera, shape):
    image = camera.astype(np.float32)
    np.testing.assert_allclose(resampled(image, shape), by_pillow(image, shape), atol=1e-3)


@given(old=st.tuples(SIDES, SIDES), new=st.tuples(SIDES, SIDES), seed=st.integers(0, 9))
def test_any_shape_is_resampled_as_by_pillow(old, new, seed):
    image = np.random.default_rng(seed).random(old, np.float32)
    np.testing.assert_allclose(resampled(image, new), by_pillow(image, new), atol=1e-3)


@given(old=st.integers(1, 60), new=st.integers(1, 60))
def test_constant_lines_stay_constant(old, new):
    np.testing.assert_allclose(bicubic_matrix(old, new).sum(1), 1)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_parabolas_are_enlarged_exactly_inside(scale):
    """Keys' kernel is of third order; a kernel of another a is not."""
    old = np.arange(12.0)
    new = (np.arange(12 * scale) + 0.5) / scale - 0.5
    inner = slice(2 * scale, -2 * scale)
    enlarged = bicubic_matrix(12, 12 * scale) @ (old**2 - 5 * old)
    np.testing.assert_allclose(enlarged[inner], (new**2 - 5 * new)[inner])


def test_channels_and_batch_are_resampled_one_by_one():
    images = torch.rand((2, 3, 20, 14), generator=seeded())
    together = resample(images, (9, 21))
    assert together.shape == (2, 3, 9, 21)
    for i in range(2):
        for c in range(3):
            alone = resample(images[i : i + 1, c : c + 1], (9, 21))[0, 0]
            torch.testing.assert_close(together[i, c], alone)


def patches(count=6, side=48):
    starts = torch.randint(0, 200, (count, 2), generator=seeded()).tolist()
    parts = [data.camera()[y : y + side, x : x + side] for y, x in starts]
    return torch.from_numpy(np.stack(parts) / np.float32(255))[:, None]


def test_inputs_are_the_targets_made_smaller_and_larger_again():
    clean = patches(24)
    corruption = EnlargementCorruption(margin=6)
    inputs, targets, weights = corruption(clean, seeded())
    assert inputs.shape == targets.shape == (24, 1, 36, 36)
    assert weights.shape == (24, 1, 1, 1)
    assert torch.equal(targets, clean[..., 6:-6, 6:-6])
    scales = (1 / weights).round().int().flatten().tolist()
    assert set(scales) == {2, 3, 4}
    for scale, image, found in zip(scales, clean, inputs, strict=True):
        small = resample(image[None], (48 // scale, 48 // scale))
        large = resample(small, (48, 48))[0, :, 6:-6, 6:-6]
        torch.testing.assert_close(found, large, atol=1e-5, rtol=0)


def test_larger_factors_lose_more():
    clean = patches(24)
    errors = [
        float((x - y).square().mean())
        for x, y, _ in (EnlargementCorruption((s,), 6)(clean, seeded()) for s in (2, 3, 4))
    ]
    assert errors == sorted(errors)


@given(seed=st.integers(0, 50))
def test_a_seed_gives_the_same_enlargements_again(seed):
    corrupt = EnlargementCorruption(margin=6)
    first, second = (corrupt(patches(8), seeded(seed)) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)


def test_patches_that_a_factor_does_not_divide_are_refused():
    with pytest.raises(ValueError, match="must be multiples of 3, got 50"):
        EnlargementCorruption()(patches(1, 50), seeded())
