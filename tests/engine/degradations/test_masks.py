import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import seeded

from napari_rednet.engine.degradations import MASKS, draw_mask

KINDS = tuple(MASKS)


def images(count=16, height=96, width=80):
    return torch.zeros(count, 1, height, width)


@settings(max_examples=40)
@given(
    kind=st.sampled_from(KINDS),
    count=st.integers(1, 3),
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    amount=st.floats(0, 1),
)
def test_masks_are_bool_and_have_the_shape_of_the_images(kind, count, height, width, amount):
    like = images(count, height, width)
    mask = draw_mask(kind, like, seeded(), amount)
    assert mask.shape == like.shape
    assert mask.dtype == torch.bool


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_gives_the_same_mask_again(kind):
    first, second, other = (draw_mask(kind, images(), seeded(s)) for s in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("kind", KINDS)
def test_each_image_has_a_mask_of_its_own(kind):
    masks = draw_mask(kind, images(), seeded())
    assert len({mask.numpy().tobytes() for mask in masks}) == len(masks)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "text"])
def test_a_larger_amount_covers_more(kind):
    shares = [float(draw_mask(kind, images(), seeded(), a).float().mean()) for a in (0, 0.5, 1)]
    assert shares == sorted(set(shares))


def test_a_larger_amount_makes_type_larger():
    """Large letters have fewer borders."""
    masks = [draw_mask("text", images(), seeded(), a).float() for a in (0, 0.5, 1)]
    borders = [float(m.diff(dim=-1).abs().mean() / m.mean()) for m in masks]
    assert borders == sorted(set(borders), reverse=True)


@pytest.mark.parametrize("kind", KINDS)
def test_each_image_has_an_amount_of_its_own(kind):
    amounts = torch.linspace(0, 1, 16).view(16, 1, 1, 1)
    masks = draw_mask(kind, images(), seeded(), amounts)
    for edge in (0, -1):
        alone = draw_mask(kind, images(), seeded(), float(amounts[edge]))
        assert torch.equal(masks[edge], alone[edge])


@pytest.mark.parametrize(("amount", "share"), [(0.0, 0.1), (0.25, 0.3), (1.0, 0.9)])
def test_random_pixels_go_from_10_to_90_percent(amount, share):
    mask = draw_mask("random", images(64), seeded(), amount)
    shares = mask.float().mean((1, 2, 3))
    assert shares.mean() == pytest.approx(share, abs=0.005)
    assert shares.std() < 0.02


@pytest.mark.parametrize(("amount", "share"), [(0.0, 0.05), (1.0, 0.4)])
def test_blobs_cover_what_they_are_told(amount, share):
    shares = draw_mask("blobs", images(), seeded(), amount).float().mean((1, 2, 3))
    torch.testing.assert_close(shares, torch.full((16,), share), atol=2e-3, rtol=0)


def test_dead_ones_are_few_and_some_are_whole_lines():
    masks = draw_mask("dead", images(200), seeded(), 1.0)
    assert masks.float().mean() < 0.05
    assert masks.all(-1).any()
    assert masks.all(-2).any()
    assert masks.float().mean() > masks.all(-1).float().mean() + masks.all(-2).float().mean()


def test_text_and_scratches_leave_most_of_the_image():
    for kind in ("text", "scratches"):
        mask = draw_mask(kind, images(), seeded(), 1.0)
        assert 0.01 < mask.float().mean() < 0.3
