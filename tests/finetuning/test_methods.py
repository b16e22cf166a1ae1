import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import seeded

from napari_rednet.engine.channel import NoiseModel
from napari_rednet.engine.degradations import (
    CameraNoise,
    EnlargementCorruption,
    HoleCorruption,
    JpegCorruption,
)
from napari_rednet.finetuning.methods import TOLD, Corrupted, Paired, PseudoClean

COUNT, SIDE = 6, 24
CAMERA = CameraNoise([NoiseModel(read_noise=0.1)])
METHODS = [Paired(), Paired(False), Corrupted(CAMERA), PseudoClean(CAMERA)]


def patches(side=SIDE, seed=0):
    """Patches whose pixels all differ, so that a value tells where it comes from."""
    names = ("image", *TOLD, "target", "restored")
    total = len(names) * COUNT * side**2
    values = (torch.randperm(total, generator=seeded(seed)) + 1) / total
    rows = dict(zip(names, values.view(len(names), COUNT, 1, side, side), strict=True))
    return {**rows, "weight": torch.ones(COUNT, 1, side, side)}


def told(patches):
    """What is told of the noise of patches, without an error."""
    return torch.cat([patches[name] for name in TOLD], 1)


def ratio(found, expected):
    """The factor on all that each image is told of its noise, which has to be one."""
    factors = (found / expected).flatten(1)
    torch.testing.assert_close(factors, factors[:, :1].expand_as(factors))
    return factors[:, 0]


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_batches_are_what_the_network_takes(method):
    given = patches()
    inputs, targets, weights = method({n: given[n] for n in method.rows}, seeded())
    channels = 1 if method == Paired(False) else 4
    assert inputs.shape == (COUNT, channels, *targets.shape[-2:])
    assert torch.broadcast_shapes(weights.shape, targets.shape) == targets.shape


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_no_patch_is_changed(method):
    given = patches()
    before = {name: value.clone() for name, value in given.items()}
    method(given, seeded())
    assert all(torch.equal(before[name], value) for name, value in given.items())


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_pixels_without_weight_are_no_targets(method):
    """Whatever the target holds there, the loss is the same."""
    losses = []
    for value in (0.0, 1e6):
        given = patches()
        unknown = torch.rand(given["weight"].shape, generator=seeded(1)) < 0.3
        given["weight"][unknown] = 0
        for name in ("image", "target", "restored"):
            given[name][unknown] = value
        _, targets, weights = method(given, seeded())
        losses.append((weights * (targets - 5).square()).sum())
        assert (weights != 0).any()
    assert losses[0] == losses[1]


def test_pairs_are_handed_on_with_an_uncertain_map():
    given = patches()
    inputs, targets, _ = Paired()(given, seeded())
    assert torch.equal(inputs[:, :1], given["image"])
    assert torch.equal(targets, given["target"])
    factors = ratio(inputs[:, 1:], told(given))
    assert len(set(factors.tolist())) == COUNT
    assert (factors.log().abs() < 0.5).all()


def test_pairs_of_strong_noise_weigh_less():
    """Their errors are large, and would be all that is learnt from."""
    given = patches()
    given["std"] = torch.linspace(0, 0.3, COUNT).view(-1, 1, 1, 1).expand_as(given["std"])
    _, _, weights = Paired()(given, seeded())
    found = weights.amax((1, 2, 3)).tolist()
    assert found == sorted(found, reverse=True)
    assert found[0] > 2 * found[-1]
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    "corruption", [EnlargementCorruption(), JpegCorruption(), HoleCorruption()], ids=repr
)
def test_margins_are_cut_off_weights_as_off_targets(corruption):
    """JPEG's grid lies anywhere, so that its margin is cut off at random places."""
    margin = corruption.margin
    image = torch.rand((COUNT, 1, 64 + 2 * margin, 64 + 2 * margin), generator=seeded())
    weight = torch.ones_like(image)
    weight[..., : image.shape[-1] // 2, :] = 0
    method = Corrupted(corruption, margin)
    _, targets, weights = method({"image": image, "weight": weight}, seeded())
    assert targets.shape[-2:] == weights.shape[-2:] == (64, 64)
    assert not weights[..., :24, :].any()
    assert (weights[..., 40:, :] != 0).any()


def test_camera_noise_is_that_of_its_models():
    model = NoiseModel(gain=0.004, offset=0.1, read_noise=0.02)
    clean = torch.full((200, 1, 40, 40), 0.5)
    clean[..., 20:] = 0.1
    inputs, targets = CameraNoise([model])(clean, seeded())
    noise = inputs[:, :1] - targets
    assert float(noise.mean()) == pytest.approx(0, abs=1e-3)
    assert not inputs[:, 2:].any()
    for part in (np.s_[..., 4:16], np.s_[..., 24:36]):
        expected = model.variance(targets[part].numpy()).mean()
        assert float(noise[part].square().mean()) == pytest.approx(expected, rel=0.03)
        assert float(inputs[:, 1:2][part].square().mean()) == pytest.approx(expected, rel=0.1)


def correlation(noise, axis):
    """Of neighbours along an axis."""
    count = noise.shape[axis] - 1
    products = noise.narrow(axis, 0, count) * noise.narrow(axis, 1, count)
    return float(products.mean() / noise.square().mean())


@given(grain=st.tuples(*[st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0, 1.5])] * 2))
@settings(max_examples=15)
def test_grainy_noise_is_as_grainy_as_it_is_told_to_be(grain):
    """Correlated along both axes as the model says, and as strong as without."""
    model = NoiseModel(0.002, 0.1, 0.02, *grain)
    clean = torch.full((60, 1, 64, 64), 0.5)
    inputs, targets = CameraNoise([model], map_error=0)(clean, seeded())
    noise = (inputs[:, :1] - targets)[..., 8:-8, 8:-8]
    ratios = inputs[:, 2:] / inputs[:, 1:2]
    for axis, expected in zip((-2, -1), model.correlation, strict=True):
        assert correlation(noise, axis) == pytest.approx(expected, abs=0.02)
        torch.testing.assert_close(ratios[:, axis], torch.full_like(ratios[:, axis], expected))
    variance = model.variance(targets.numpy()).mean()
    assert float(noise.square().mean()) == pytest.approx(variance, rel=0.04)


def test_each_image_has_one_of_the_cameras():
    models = [NoiseModel(read_noise=std) for std in (0.01, 0.1)]
    clean = torch.full((60, 1, 40, 40), 0.5)
    inputs, targets = CameraNoise(models, map_error=0)(clean, seeded())
    stds = (inputs[:, :1] - targets).flatten(1).std(1)
    assert {round(float(s), 2) for s in stds} == {0.01, 0.1}
    told = inputs[:, 1].flatten(1).mean(1)
    torch.testing.assert_close(told, stds, rtol=0.15, atol=0)
