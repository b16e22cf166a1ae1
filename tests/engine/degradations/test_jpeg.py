import io
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage import data
from tests.conftest import psnr, seeded

from napari_rednet.engine.degradations import JpegCorruption, code_jpeg

QUALITIES = (5, 10, 20, 40, 50, 75, 95)
IMAGES = {"camera": data.camera, "moon": data.moon, "coins": data.coins}


def coded(gray, quality):
    """8-bit gray values, as the file of a coder would have them."""
    image = torch.from_numpy(gray / np.float32(255))[None, None]
    return np.rint(255 * code_jpeg(image, quality)[0, 0].numpy())


def by_libjpeg(gray, quality):
    file = io.BytesIO()
    Image.fromarray(gray).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file)).astype(float)


@pytest.mark.parametrize("quality", QUALITIES)
@pytest.mark.parametrize("name", IMAGES)
def test_decoded_is_what_libjpeg_decodes(name, quality):
    gray = IMAGES[name]()
    difference = np.abs(coded(gray, quality) - by_libjpeg(gray, quality))
    assert np.mean(difference <= 2) >= 0.99


@pytest.mark.parametrize("shape", [(301, 293), (208, 333), (7, 3), (1, 1), (8, 100)])
@pytest.mark.parametrize("quality", [10, 75])
def test_sizes_that_are_no_multiple_of_a_block(shape, quality):
    gray = data.camera()[100 : 100 + shape[0], 150 : 150 + shape[1]]
    difference = np.abs(coded(gray, quality) - by_libjpeg(gray, quality))
    assert difference.shape == shape
    assert np.mean(difference <= 2) >= 0.99


@pytest.mark.parametrize("name", IMAGES)
def test_a_higher_quality_is_better(name):
    gray = IMAGES[name]()[:200, :200]
    quality = [psnr(gray, coded(gray, q)) for q in (*QUALITIES, 100)]
    assert quality == sorted(quality)
    assert np.abs(coded(gray, 100) - gray).max() <= 2


def test_each_image_has_its_own_quality():
    images = torch.from_numpy(data.camera()[:96, :80].reshape(2, 1, 48, 80) / np.float32(255))
    together = code_jpeg(images, torch.tensor([8.0, 70.0]).view(2, 1, 1, 1))
    for image, quality, found in zip(images, (8, 70), together, strict=True):
        assert torch.equal(code_jpeg(image[None], quality)[0], found)


def test_decoded_values_have_eight_bits():
    decoded = code_jpeg(3 * torch.rand((2, 1, 24, 20), generator=seeded()) - 1, 30)
    assert decoded.min() >= 0
    assert decoded.max() <= 1
    torch.testing.assert_close(255 * decoded, (255 * decoded).round(), atol=1e-4, rtol=0)


def test_blocks_do_not_see_each_other():
    gray = data.camera()[:64, :64].copy()
    before = coded(gray, 20)
    gray[16:24, 24:32] = 255 - gray[16:24, 24:32]
    changed = np.argwhere(coded(gray, 20) != before)
    assert changed.min(0).tolist() >= [16, 24]
    assert (changed < [24, 32]).all()


def grays(count=5, side=56):
    return torch.randint(0, 256, (count, 1, side, side), generator=seeded(9)) / 255


def window_of(part, whole, side):
    """Where a part was cut out."""
    places = product(range(whole.shape[-2] - side + 1), range(whole.shape[-1] - side + 1))
    for row, column in places:
        window = (..., slice(row, row + side), slice(column, column + side))
        if torch.equal(part, whole[window]):
            return window
    return None


def test_inputs_are_coded_and_targets_are_not():
    clean = grays()
    inputs, targets, weights = JpegCorruption(margin=8)(clean, seeded())
    assert inputs.shape == targets.shape == (5, 1, 40, 40)
    assert weights.shape == (5, 1, 1, 1)
    decoded = code_jpeg(clean, (10 * weights).square().round())
    assert torch.equal(inputs, decoded[window_of(targets, clean, 40)])


def test_the_block_grid_moves():
    clean = grays(1)
    corners = [JpegCorruption()(clean, seeded(seed))[1][0, 0, 0, 0] for seed in range(20)]
    assert len(set(map(float, corners))) > 10


def test_qualities_lie_in_the_range_and_low_ones_are_more_frequent():
    corrupt = JpegCorruption(lowest=5, highest=95, margin=0)
    weights = corrupt(torch.zeros(2000, 1, 8, 8), seeded())[2]
    quality = (10 * weights).square()
    assert quality.min() == pytest.approx(5)
    assert quality.max() == pytest.approx(95)
    assert (quality < 50).float().mean() > 0.6


@given(seed=st.integers(0, 50), quality=st.integers(1, 100))
def test_a_seed_gives_the_same_coding_again(seed, quality):
    corrupt = JpegCorruption(quality, quality, margin=4)
    clean = torch.rand((3, 1, 24, 24), generator=seeded(7))
    first, second = (corrupt(clean, seeded(seed)) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)
