from copy import deepcopy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import random_network, seeded

from napari_rednet.engine.network import NetworkConfig
from napari_rednet.training import TrainingConfig
from napari_rednet.training.optimizers import Muon, MuonWithAdamW, make_optimizer, orthogonalized

CONFIG = NetworkConfig(layers=8, features=8, in_channels=2, stride=2)
MUON = TrainingConfig(steps=100, optimizer="muon", muon_rate=0.02, rate=1e-2)


def learner(config=CONFIG, training=MUON, seed=0):
    network = random_network(config, seed).requires_grad_(True)
    return network, make_optimizer(network, training)


def learn(network, optimizer, steps, seed=0):
    """Losses on images whose second channel is to be added to the first."""
    generator, losses = seeded(seed), []
    for _ in range(steps):
        images = torch.rand((4, 2, 16, 16), generator=generator)
        loss = (network(images) - images.sum(1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


# Orthogonal steps --------------------------------------------------------------------------


@given(
    rows=st.integers(2, 40),
    columns=st.integers(2, 40),
    scale=st.floats(1e-8, 1e8),
    seed=st.integers(0, 100),
)
@settings(max_examples=60)
def test_singular_values_are_brought_near_to_1(rows, columns, scale, seed):
    """Of tall, wide and square matrices, whatever their norm; the small ones lag behind."""
    matrices = scale * torch.randn((3, rows, columns), generator=seeded(seed))
    before, after = (torch.linalg.svdvals(m) for m in (matrices, orthogonalized(matrices)))
    assert after.max() < 1.3
    is_large = before > 0.05 * before[:, :1]
    assert after[is_large].min() > 0.5


@pytest.mark.parametrize("shape", [(64, 576), (576, 64), (64, 64)])
def test_the_singular_vectors_stay(shape):
    matrix = torch.randn((1, *shape), generator=seeded())
    u, _, v = torch.linalg.svd(matrix[0], full_matrices=False)
    mixed = u.T @ orthogonalized(matrix)[0] @ v.T
    off = mixed - mixed.diagonal().diag()
    assert off.abs().max() < 1e-3
    assert mixed.diagonal().min() > 0


def test_matrices_are_made_orthogonal_one_by_one():
    matrices = torch.randn((3, 8, 20), generator=seeded()) * torch.tensor([1e-3, 1, 50.0]).view(
        3, 1, 1
    )
    alone = torch.cat([orthogonalized(m[None]) for m in matrices])
    torch.testing.assert_close(orthogonalized(matrices), alone)


def test_nothing_comes_of_nothing():
    assert torch.equal(orthogonalized(torch.zeros(2, 4, 6)), torch.zeros(2, 4, 6))


# Steps -------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [False, True])
def test_muon_steps_on_the_kernels_of_hidden_layers_alone(bias):
    config = NetworkConfig(layers=6, features=8, in_channels=2, bias=bias)
    network = random_network(config).requires_grad_(True)
    optimizer = MuonWithAdamW(network, MUON)
    before = deepcopy(network.state_dict())
    learn(network, optimizer._muon, 1)
    after = network.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {f"{part}.weight" for part in ("conv.1", "conv.2", "deconv.0", "deconv.1")}
    known = sum(len(group["params"]) for group in optimizer.param_groups)
    assert known == len(list(network.parameters()))  # AdamW has all the others


def test_a_step_is_as_large_as_the_rate_says():
    """Whatever the gradients are: as a matrix, its singular values are about the rate."""
    for factor in (1e-4, 1e4):
        kernel = torch.nn.Parameter(torch.zeros(8, 8, 3, 3))
        kernel.grad = factor * torch.randn(kernel.shape, generator=seeded())
        Muon([kernel], 0.02).step()
        values = torch.linalg.svdvals(kernel.detach().flatten(1)) / 0.02
        assert values.min() > 0.5
        assert values.max() < 1.3


def test_steps_go_down():
    kernel = torch.nn.Parameter(torch.zeros(8, 8, 3, 3))
    kernel.grad = torch.randn(kernel.shape, generator=seeded())
    Muon([kernel], 0.02).step()
    assert float((kernel * kernel.grad).sum().detach()) < 0


def test_kernels_of_several_shapes_and_without_gradients_are_taken():
    kernels = [torch.nn.Parameter(torch.zeros(shape)) for shape in ((8, 4, 3, 3), (4, 8, 3, 3))]
    idle = torch.nn.Parameter(torch.ones(8, 4, 3, 3))
    for kernel in kernels:
        kernel.grad = torch.ones_like(kernel)
    Muon([*kernels, idle], 0.02).step()
    assert all(kernel.detach().abs().max() > 0 for kernel in kernels)
    assert torch.equal(idle.detach(), torch.ones(8, 4, 3, 3))


def test_momentum_goes_on_where_gradients_pointed():
    kernel = torch.nn.Parameter(torch.zeros(4, 4, 3, 3))
    optimizer = Muon([kernel], 0.02)
    gradient = torch.randn(kernel.shape, generator=seeded())
    for _ in range(10):
        kernel.grad = gradient.clone()
        optimizer.step()
    before = kernel.detach().clone()
    kernel.grad = 1e-3 * torch.randn(kernel.shape, generator=seeded(1))
    optimizer.step()
    assert float(((kernel.detach() - before) * gradient).sum()) < 0


# Learning ----------------------------------------------------------------------------------


def last(losses):
    return sum(losses[-5:]) / 5


def test_it_learns():
    losses = learn(*learner(), 100)
    assert last(losses) < 0.15 * losses[0]


@pytest.mark.parametrize("other", [{"optimizer": "muon", "muon_rate": 0.0}, {}], ids=str)
def test_hidden_layers_learn_faster_with_it(other):
    """Than not at all, and than with AdamW at the rate of the ends."""
    slower = learner(training=TrainingConfig(steps=100, rate=1e-2, **other))
    assert last(learn(*learner(), 100)) < 0.7 * last(learn(*slower, 100))


@given(before=st.integers(0, 6))
@settings(max_examples=7)
def test_resumed_it_goes_on_as_if_never_interrupted(before):
    network, optimizer = learner()
    learn(network, optimizer, before)
    twin, resumed = learner(seed=9)
    twin.load_state_dict(network.state_dict())
    resumed.load_state_dict(deepcopy(optimizer.state_dict()))
    for pair in ((network, optimizer), (twin, resumed)):
        learn(*pair, 5, seed=1)
    for a, b in zip(network.parameters(), twin.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("options", "kind"),
    [({}, torch.optim.AdamW), ({"optimizer": "muon"}, MuonWithAdamW)],
)
def test_the_configuration_chooses(options, kind):
    training = TrainingConfig(steps=1, rate=0.3, muon_rate=0.7, **options)
    found = learner(training=training)[1]
    assert isinstance(found, kind)
    rates = [group["lr"] for group in found.param_groups]
    assert rates == ([0.7, 0.3] if kind is MuonWithAdamW else [0.3])


def test_an_unknown_optimizer_is_refused():
    with pytest.raises(ValueError, match="optimizer must be one of adamw, muon, got 'lion'"):
        TrainingConfig(steps=5, optimizer="lion")


@pytest.mark.parametrize("level", [0.0, 1e-40, 1e-22, 1e-18])
def test_what_has_decayed_to_nothing_takes_no_step(level):
    """The momentum of a kernel without a gradient; its norm, squared, is below all floats."""
    steps = orthogonalized(level * torch.randn((2, 8, 72), generator=seeded()))
    assert torch.isfinite(steps).all()
    assert steps.abs().max() < 0.1


def test_kernels_without_a_gradient_stay_where_they_are():
    """Momentum would be brought to full size at each step, until it is gone."""
    alive, dead = (torch.nn.Parameter(torch.ones(4, 4, 3, 3)) for _ in range(2))
    muon = Muon([alive, dead], 0.01)
    for kernel in (alive, dead):
        kernel.grad = torch.randn(kernel.shape, generator=seeded())
    muon.step()
    before = alive.detach().clone(), dead.detach().clone()
    dead.grad.zero_()
    for _ in range(3):
        muon.step()
    assert not torch.equal(alive, before[0])
    assert torch.equal(dead, before[1])
