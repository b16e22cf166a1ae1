import pytest
import torch
from tests.conftest import random_network, seeded

from napari_rednet.engine.network import NetworkConfig, orient, orientations, reorient
from napari_rednet.engine.streaming import NetworkRunner

CPU = torch.device("cpu")
CONFIG = NetworkConfig(layers=6, features=4, in_channels=2, stride=2)


@pytest.fixture
def inputs():
    return torch.rand((1, 2, 150, 60), generator=seeded())


@pytest.fixture
def exact(monkeypatch):
    monkeypatch.setattr("napari_rednet.engine.streaming.fast_dtype", lambda device: torch.float32)


def test_the_result_is_the_network_s(exact, inputs):
    network = random_network(CONFIG)
    expected = network(inputs)
    torch.testing.assert_close(NetworkRunner(network, CPU).run(inputs), expected)


def test_an_ensemble_is_the_mean_over_orientations(exact, inputs):
    network = random_network(CONFIG)
    turned = [reorient(network(orient(inputs, *turn)), *turn) for turn in orientations()]
    found = NetworkRunner(network, CPU, ensemble=True).run(inputs)
    torch.testing.assert_close(found, torch.stack(turned).mean(0), atol=1e-5, rtol=1e-4)


def test_overflow_in_half_precision_is_computed_in_float32(monkeypatch, inputs):
    """float16 ends at 65504; the network's own values here go beyond."""
    network = random_network(CONFIG)
    network.conv[0].weight.mul_(1e6)
    network.deconv[-1].weight.mul_(1e-6)
    monkeypatch.setattr("napari_rednet.engine.streaming.fast_dtype", lambda device: torch.float16)
    found = NetworkRunner(network, CPU).run(inputs)
    torch.testing.assert_close(found, network(inputs), atol=1e-3, rtol=1e-3)


def test_each_precision_is_prepared_once():
    runner = NetworkRunner(random_network(CONFIG), CPU, ensemble=True)
    assert runner.networks(torch.float32) is runner.networks(torch.float32)
    assert len(runner.networks(torch.float32)) == 8
