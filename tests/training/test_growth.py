import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import random_network, seeded

from napari_rednet.engine.network import NetworkConfig
from napari_rednet.training.growth import _carriers, widened, without_biases
from napari_rednet.training.revival import kernels_of

LEVEL = 0.1
INSIDE = 20
"""Farther from the border than the kernels of a network of 8 layers reach."""


def denoiser(stride, seed, **options):
    """With biases, and one map of each layer that is always 0, as trained networks have."""
    config = NetworkConfig(layers=8, features=8, in_channels=4, stride=stride, bias=True, **options)
    net = random_network(config, seed)
    with torch.no_grad():
        for layer in list(net.layers())[:-1]:
            layer.bias.normal_(0, 0.2, generator=seeded(seed))
            kernels_of(layer)[3] = 0
            layer.bias[3] = 0
    return net


def noisy(level, seed=1, side=96):
    image = torch.rand((2, 1, side, side), generator=seeded(seed))
    told = torch.zeros((2, 3, side, side))
    told[:, 0] = level
    return torch.cat([image, told], 1)


def inner(x):
    return x[..., INSIDE:-INSIDE, INSIDE:-INSIDE]


@given(st.sampled_from([1, 2]), st.integers(0, 1000))
@settings(deadline=None, max_examples=20)
def test_without_biases_it_does_the_same_at_one_level_of_noise(stride, seed):
    net, inputs = denoiser(stride, seed), noisy(LEVEL)
    same = without_biases(net, inputs, LEVEL)
    assert all(layer.bias is None for layer in same.layers())
    torch.testing.assert_close(inner(same(inputs)), inner(net(inputs)), atol=1e-4, rtol=1e-4)


@given(st.floats(1e-3, 1e3))
@settings(deadline=None, max_examples=20)
def test_without_biases_it_scales(factor):
    """Which it did not before."""
    net, inputs = denoiser(2, 0), noisy(0.2)
    same = without_biases(net, inputs, LEVEL)
    expected = factor * same(inputs)
    error = 1e-5 * float(expected.detach().abs().max())
    torch.testing.assert_close(same(factor * inputs), expected, rtol=1e-4, atol=error)
    assert not torch.allclose(net(3 * inputs), 3 * net(inputs), rtol=1e-2)


def test_connected_layers_carry_the_noise_in_the_same_map():
    net = denoiser(2, 0)
    found = _carriers(net, noisy(LEVEL))
    for deconvolution, convolution in net.skip_into.items():
        assert found[convolution] == found[net.config.half + deconvolution]


def test_a_network_without_biases_has_none_to_lose():
    net = random_network(NetworkConfig(layers=4, features=4, in_channels=4))
    with pytest.raises(ValueError, match="no biases"):
        without_biases(net, noisy(LEVEL), LEVEL)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rectify_sum", [True, False])
def test_a_wider_network_computes_the_same_and_can_learn_more(bias, rectify_sum):
    config = NetworkConfig(
        layers=8, features=6, in_channels=4, stride=2, bias=bias, rectify_sum=rectify_sum
    )
    net, inputs = random_network(config), noisy(LEVEL)
    wide = widened(net, 10, seeded()).requires_grad_(True)
    assert wide.config.features == 10
    torch.testing.assert_close(wide(inputs), net(inputs))
    wide(inputs).square().mean().backward()
    for layer in list(wide.layers())[1:]:
        gradient = layer.weight.grad if layer in wide.conv else layer.weight.grad.transpose(0, 1)
        assert gradient[:6, 6:].abs().sum() > 0, "the new maps are read by none"


def test_no_map_is_taken_away():
    net = random_network(NetworkConfig(layers=4, features=4))
    with pytest.raises(ValueError, match="at least 4"):
        widened(net, 3, seeded())
