import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import seeded

from napari_rednet.engine.noise_map import MOST_CHANGE, limited_residual, told_noise


def inputs_of(std):
    """An image whose noise is told to be white."""
    return torch.cat([torch.rand(std.shape, generator=seeded()), told_noise(std, 0.0, 0.0)], 1)


@given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 50))
def test_residuals_are_limited_pixel_by_pixel(scale, seed):
    std = torch.rand((2, 1, 9, 10), generator=seeded(seed))
    std[0, 0, 2] = 0
    residual = scale * torch.randn(std.shape, generator=seeded(seed + 1))
    limited = limited_residual(inputs_of(std), residual)
    assert (limited.abs() <= MOST_CHANGE * std).all()
    assert not limited[0, 0, 2].any()
    is_small = residual.abs() <= MOST_CHANGE * std
    assert torch.equal(limited[is_small], residual[is_small])
    assert torch.equal(limited.sign()[std > 0], residual.sign()[std > 0])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_an_overflow_is_not_limited_away(value):
    """It has to be noticed, and the image to be restored in a higher precision."""
    residual = torch.zeros(1, 1, 3, 3)
    residual[0, 0, 1, 1] = value
    limited = limited_residual(inputs_of(torch.ones(1, 1, 3, 3)), residual)
    assert torch.isfinite(limited).sum() == 8


@given(factor=st.floats(0.01, 100), along=st.tuples(*[st.floats(0, 0.98)] * 2))
def test_what_is_told_scales_with_the_noise(factor, along):
    std = torch.rand((2, 1, 5, 6), generator=seeded())
    told = told_noise(std, *along)
    assert told.shape == (2, 3, 5, 6)
    assert torch.equal(told[:, :1], std)
    torch.testing.assert_close(told_noise(factor * std, *along), factor * told)
    for channel, correlation in enumerate(along, start=1):
        torch.testing.assert_close(told[:, channel : channel + 1], correlation * std)
