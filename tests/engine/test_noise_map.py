import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from tests.conftest import seeded

from napari_rednet.engine.network import (
    MOST_CHANGE,
    OWN_ERROR,
    RADIUS,
    amplitude,
    limited_residual,
    told_noise,
)


def inputs_of(std, around=0.0):
    """An image whose noise is told to be white, and the largest values around its pixels."""
    image = torch.rand(std.shape, generator=seeded())
    return torch.cat([image, told_noise(std, 0.0, 0.0), torch.full_like(std, around)], 1)


@given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 50))
def test_residuals_are_limited_pixel_by_pixel(scale, seed):
    std = torch.rand((2, 1, 9, 10), generator=seeded(seed))
    std[0, 0, 2] = 0
    residual = scale * torch.randn(std.shape, generator=seeded(seed + 1))
    limited = limited_residual(inputs_of(std), residual)
    assert (limited.abs() <= MOST_CHANGE * std).all()
    assert not limited[0, 0, 2].any()
    is_small = residual.abs() <= MOST_CHANGE * std
    torch.testing.assert_close(limited[is_small], residual[is_small])
    assert torch.equal(limited.sign()[std > 0], residual.sign()[std > 0])


@given(around=st.floats(0, 100), scale=st.floats(1e-6, 1e6), seed=st.integers(0, 50))
def test_of_noise_as_weak_as_own_errors_a_part_is_taken_away(around, scale, seed):
    """Half of what a network adds where both are alike; it goes by the units of the image."""
    std = torch.rand((1, 1, 9, 10), generator=seeded(seed)) + 1e-3
    residual = std * (2 * torch.rand(std.shape, generator=seeded(seed + 1)) - 1)
    limited = limited_residual(inputs_of(std, around), residual)
    share = limited / residual
    is_weak = std < OWN_ERROR * around
    assert (share[is_weak] <= 0.5 + 1e-5).all()
    assert (share[~is_weak] >= 0.5 - 1e-5).all()
    assert (share <= 1 + 1e-5).all()
    scaled = limited_residual(scale * inputs_of(std, around), scale * residual)
    torch.testing.assert_close(scaled, scale * limited, rtol=1e-4, atol=0)


@given(seed=st.integers(0, 50), rows=st.integers(1, 20), columns=st.integers(1, 20))
def test_the_amplitude_is_the_largest_value_around(seed, rows, columns):
    image = torch.randn((2, 1, rows, columns), generator=seeded(seed))
    padded = torch.nn.functional.pad(image, (0, 0, RADIUS, RADIUS), mode="replicate")
    expected = ndimage.maximum_filter(
        image.abs().numpy(), (1, 1, 2 * RADIUS + 1, 2 * RADIUS + 1), mode="nearest"
    )
    np.testing.assert_array_equal(amplitude(padded).numpy(), expected)


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
