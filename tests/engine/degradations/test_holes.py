import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data
from tests.conftest import seeded

from napari_rednet.engine.degradations import MASKS, HoleCorruption
from napari_rednet.engine.inpainting import fill_holes


def patches(count=8, side=48):
    image = torch.from_numpy(data.camera()[: side * count, 200 : 200 + side] / 255).float()
    return image.reshape(count, 1, side, side)


@pytest.mark.parametrize("kind", MASKS)
def test_known_pixels_stay_and_only_holes_count(kind):
    clean = patches()
    inputs, targets, weights = HoleCorruption({kind: 1.0})(clean, seeded())
    assert inputs.shape == (8, 2, 48, 48)
    assert targets.shape == weights.shape == (8, 1, 48, 48)
    filled, missing = inputs[:, :1], inputs[:, 1:]
    assert set(missing.unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(targets, clean)
    assert torch.equal(filled[missing == 0], targets[missing == 0])
    assert torch.equal(weights > 0, missing > 0)
    torch.testing.assert_close(filled, fill_holes(clean, 1 - missing))


def test_values_under_the_holes_are_not_told():
    clean = patches()
    missing = HoleCorruption()(clean, seeded())[0][:, 1:]
    other = torch.where(missing > 0, 1 - clean, clean)
    inputs = [HoleCorruption()(images, seeded())[0] for images in (clean, other)]
    assert torch.equal(*inputs)


def test_a_margin_is_cut_off():
    whole = HoleCorruption()(patches(), seeded())
    inner = HoleCorruption(margin=5)(patches(), seeded())
    for one, other in zip(whole, inner, strict=True):
        assert torch.equal(one[..., 5:-5, 5:-5], other)


def test_small_holes_count_more_by_the_pixel():
    _, _, weights = HoleCorruption({"random": 1.0})(patches(), seeded())
    shares = (weights > 0).float().mean((1, 2, 3))
    sizes = weights.amax((1, 2, 3))
    torch.testing.assert_close(sizes, shares**-0.5)


def test_kinds_are_as_frequent_as_asked():
    shares = {"random": 3.0, "dead": 1.0}
    missing = HoleCorruption(shares)(torch.rand(800, 1, 16, 16), seeded())[0][:, 1]
    # Random pixels are at least a tenth; dead pixels seldom are.
    frequent = (missing.mean((1, 2)) > 0.08).float().mean()
    assert frequent == pytest.approx(0.75, abs=0.08)


@settings(max_examples=10)
@given(seed=st.integers(0, 50))
def test_a_seed_gives_the_same_holes_again(seed):
    first, second, other = (HoleCorruption()(patches(), seeded(s)) for s in (seed, seed, seed + 1))
    for one, again in zip(first, second, strict=True):
        assert torch.equal(one, again)
    assert not torch.equal(first[0], other[0])


def test_unknown_kinds_are_refused():
    with pytest.raises(ValueError, match=r"kinds of masks .* got rain"):
        HoleCorruption({"rain": 1.0})
