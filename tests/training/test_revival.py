from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import random_network, seeded

from napari_rednet.engine.network import NetworkConfig
from napari_rednet.training.revival import outputs_of, revive


def network(bias):
    found = random_network(NetworkConfig(layers=8, features=8, stride=2, bias=bias))
    return found.requires_grad_(True)


def kill(net, name, which=slice(None)):
    """Make feature maps that are 0 whatever the input, which is positive before."""
    layer = getattr(net, name[0])[name[1]]
    kernels = layer.weight if name[0] == "conv" else layer.weight.transpose(0, 1)
    with torch.no_grad():
        kernels[which] = -kernels[which].abs()
        if layer.bias is not None:
            layer.bias[which] = -1e3


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "name", [("conv", 1), ("conv", 3), ("deconv", 0), ("deconv", 1), ("deconv", 2)]
)
@pytest.mark.parametrize("which", [slice(None), slice(2, 5)])
def test_what_is_always_zero_gets_a_gradient_and_changes_little(bias, name, which):
    net, inputs = network(bias), torch.rand((4, 1, 32, 32), generator=seeded())
    kill(net, name, which)
    layer = getattr(net, name[0])[name[1]]
    before = net(inputs)
    count = revive(net, inputs, seeded(1))
    assert count >= len(range(8)[which])
    after = net(inputs)
    change = (after - before).square().mean() / (before - inputs).square().mean()
    assert change < 0.1
    (after**2).mean().backward()
    gradient = layer.weight.grad if name[0] == "conv" else layer.weight.grad.transpose(0, 1)
    assert (gradient[which].abs().amax((1, 2, 3)) > 0).all()
    assert revive(net, inputs, seeded(2)) == 0


def test_a_network_that_lives_is_left_alone():
    net, inputs = network(True), torch.rand((4, 1, 32, 32), generator=seeded())
    revive(net, inputs, seeded())
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert revive(net, inputs, seeded()) == 0
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_dead_layer_hands_on_what_it_gets():
    """What is known already does no harm, where random maps are closed again."""
    net, inputs = network(False), torch.rand((4, 1, 32, 32), generator=seeded())
    kill(net, ("deconv", 2))
    revive(net, inputs, seeded(1))
    maps = outputs_of(net, inputs)
    # It is the seventh layer, to which the first is added: those between feed nothing else.
    for before, after in pairwise(maps[:7]):
        pair = torch.stack([before.flatten(), after.flatten()])
        assert torch.corrcoef(pair)[0, 1] > 0.9


@given(st.integers(0, 2**31))
@settings(deadline=None)
def test_new_kernels_are_not_larger_than_others(seed):
    """Nor those that would make nothing but negative values, which no factor makes large."""
    # Hardly any structure: the sum of a kernel decides whether it is closed.
    net = network(False)
    inputs = 1 + 0.01 * torch.rand((2, 1, 16, 16), generator=seeded(seed))
    kill(net, ("conv", 2), slice(0, 6))
    largest = max(float(p.detach().abs().max()) for p in net.parameters())
    revive(net, inputs, seeded(seed + 1))
    assert max(float(p.detach().abs().max()) for p in net.parameters()) < 30 * largest
