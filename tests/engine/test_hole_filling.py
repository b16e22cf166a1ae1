import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import psnr, seeded

from napari_rednet.engine.inpainting import REACH, fill_from, fill_holes, halved

SIDES = st.integers(1, 40)


@st.composite
def holed(draw):
    """Images and where they are known, from nowhere to everywhere."""
    shape = (draw(st.integers(1, 3)), 1, draw(SIDES), draw(SIDES))
    generator = seeded(draw(st.integers(0, 99)))
    image = torch.rand(shape, generator=generator) * 10 - 5
    known = torch.rand(shape, generator=generator) < draw(st.floats(0, 1))
    return image, known.float()


@given(holed())
def test_known_pixels_stay_and_the_others_lie_between_them(case):
    image, known = case
    filled = fill_holes(image, known)
    assert torch.equal(filled[known > 0], image[known > 0])
    assert torch.isfinite(filled).all()
    for plane, cover, original in zip(filled, known > 0, image, strict=True):
        there = original[cover] if cover.any() else torch.zeros(1)
        assert plane.min() >= there.min() - 1e-4
        assert plane.max() <= there.max() + 1e-4


@given(case=holed(), value=st.floats(-5, 5, width=32))
def test_constant_images_are_filled_with_their_constant(case, value):
    known = case[1]
    known[:, :, :1, :1] = 1
    image = torch.where(known > 0, value, -99.0)
    torch.testing.assert_close(fill_holes(image, known), torch.full_like(image, value))


@given(case=holed(), other=st.floats(-1e6, 1e6, width=32))
def test_values_of_unknown_pixels_do_not_matter(case, other):
    image, known = case
    changed = torch.where(known > 0, image, other)
    assert torch.equal(fill_holes(image, known), fill_holes(changed, known))


def test_nothing_known_becomes_0():
    image = torch.full((2, 1, 13, 9), 5.0)
    assert torch.equal(fill_holes(image, torch.zeros_like(image)), torch.zeros_like(image))


def test_images_of_a_batch_do_not_mix():
    image = torch.rand((3, 1, 21, 34), generator=seeded())
    known = (torch.rand(image.shape, generator=seeded(1)) < 0.3).float()
    known[1] = 0
    together = fill_holes(image, known)
    for i in range(3):
        alone = fill_holes(image[i : i + 1], known[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone)


@given(holed())
def test_a_level_has_the_means_of_the_known_pixels(case):
    image, known = case
    values, found = halved(image, known)
    marked = np.where(known.numpy() > 0, image.numpy(), np.nan)[:, 0]
    extra = [(0, 0), *((0, side % 2) for side in marked.shape[1:])]
    padded = np.pad(marked, extra, constant_values=np.nan)
    count, height, width = padded.shape
    blocks = padded.reshape(count, height // 2, 2, width // 2, 2)
    is_known = np.isfinite(blocks).any((2, 4))
    means = np.nansum(blocks, (2, 4)) / np.isfinite(blocks).sum((2, 4)).clip(1)
    np.testing.assert_array_equal(found[:, 0].numpy() > 0, is_known)
    np.testing.assert_allclose(values[:, 0].numpy(), means, atol=1e-5)


def test_slopes_are_filled_well():
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    image = (rows + 2 * columns)[None, None]
    known = (torch.rand(image.shape, generator=seeded()) < 0.5).float()
    assert (fill_holes(image, known) - image).abs().max() < 12


def test_photographs_are_filled_better_than_by_their_mean(camera):
    image = torch.from_numpy(camera / 1.0)[None, None]
    known = (torch.rand(image.shape, generator=seeded()) < 0.5).double()
    filled = fill_holes(image, known)[0, 0].numpy()
    mean = np.where(known[0, 0] > 0, camera, camera.mean())
    assert psnr(camera, filled) > psnr(camera, mean) + 8


@pytest.mark.parametrize("row", [0, 8, 36, 60])
def test_a_guess_depends_on_what_is_within_reach(row):
    """Given level 2, a band of level 0 can be filled by itself."""
    image = torch.rand((1, 1, 64, 40), generator=seeded())
    known = (torch.rand(image.shape, generator=seeded(1)) < 0.2).float()
    coarse = fill_holes(*halved(*halved(image, known)))
    start, stop = max(0, (row - REACH) // 4 * 4), min(64, row + 4 + REACH)
    band = (image[:, :, start:stop], known[:, :, start:stop])
    part = fill_from(*band, fill_from(*halved(*band), coarse[:, :, start // 4 : -(-stop // 4)]))
    expected = fill_holes(image, known)[:, :, row : row + 4]
    torch.testing.assert_close(part[:, :, row - start : row - start + 4], expected)
