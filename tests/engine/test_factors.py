from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from tests.conftest import random_network

from napari_rednet.engine.factors import FactorOptimizer
from napari_rednet.engine.network import NetworkConfig

CONFIG = NetworkConfig(layers=6, features=8, in_channels=2, stride=2)


def learn(network, optimizer, steps=5):
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(steps):
        image = torch.rand((2, 2, 16, 16), generator=generator)
        loss = (network(image) - 0.5).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def trained(steps=5, config=CONFIG):
    network = random_network(config).requires_grad_(True)
    optimizer = FactorOptimizer(network, 1e-2)
    losses = learn(network, optimizer, steps)
    return network, optimizer, losses


@pytest.mark.parametrize("bias", [False, True])
def test_every_map_keeps_its_kernel_but_for_a_factor(bias):
    config = replace(CONFIG, bias=bias)
    before = random_network(config)
    after, _, _ = trained(config=config)
    for old, new in zip(before.layers(), after.layers(), strict=True):
        axis = 1 if isinstance(old, torch.nn.ConvTranspose2d) else 0
        kernels = [w.weight.detach().movedim(axis, 0).flatten(1) for w in (old, new)]
        likeness = torch.cosine_similarity(*kernels)
        torch.testing.assert_close(likeness, torch.ones_like(likeness))
        assert not torch.equal(*kernels)
        assert not bias or not torch.equal(old.bias, new.bias)


def test_it_learns():
    losses = trained(60)[2]
    assert losses[-1] < 0.7 * losses[0]


def test_resumed_it_goes_on_as_if_never_interrupted():
    network, optimizer, _ = trained()
    twin = random_network(CONFIG, seed=9).requires_grad_(True)
    resumed = FactorOptimizer(twin, 1e-2)
    twin.load_state_dict(network.state_dict())
    resumed.load_state_dict(deepcopy(optimizer.state_dict()))
    for pair in ((network, optimizer), (twin, resumed)):
        learn(*pair)
    for a, b in zip(network.parameters(), twin.parameters(), strict=True):
        assert torch.equal(a, b)
