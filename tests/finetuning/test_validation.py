import numpy as np
import pytest
import torch
from skimage import data
from tests.conftest import seeded
from tests.finetuning.conftest import STD, clean_image, noisy_settings, weights_of, with_noise

import napari_rednet as nr
from napari_rednet.engine.channel import NoiseModel
from napari_rednet.engine.degradations import CameraNoise
from napari_rednet.finetuning import prepare_fine_tuning
from napari_rednet.finetuning.examples import read_examples
from napari_rednet.finetuning.methods import Paired, PseudoClean
from napari_rednet.finetuning.planning import with_restored
from napari_rednet.finetuning.session import Validation
from napari_rednet.finetuning.stacks import as_stacks

CPU = torch.device("cpu")
CLEAN = data.camera()[110:230, 160:280].astype(np.float64)
PAIRED = Paired()
PSEUDO_CLEAN = PseudoClean(CameraNoise([NoiseModel(read_noise=STD / 255)]))


@pytest.fixture(scope="module")
def fast():
    return nr.load_model("denoise-fast").network


def disturbed(network, amount):
    """A network that is worse, the more the larger the amount."""
    other = type(network)(network.config)
    state = network.state_dict()
    for name, value in state.items():
        noise = torch.randn(value.shape, generator=seeded(3))
        state[name] = value + amount * value.std(correction=0) * noise
    other.load_state_dict(state)
    return other.eval().requires_grad_(False)


def held_out():
    image, target = (as_stacks("images", a, None) for a in (with_noise(CLEAN), CLEAN))
    return read_examples(image, noisy_settings(), targets=target)


def gain(network, base, method=PAIRED):
    examples = with_restored(held_out(), base, CPU)
    validation = Validation(examples, method, base, CPU)
    assert validation(base) == 0
    return validation(network)


@pytest.mark.parametrize("method", [PAIRED, PSEUDO_CLEAN], ids=repr)
def test_worse_networks_have_lower_gains(method, fast):
    gains = [gain(disturbed(fast, amount), fast, method) for amount in (0.0, 0.05, 0.1, 0.2)]
    assert gains[0] == 0
    assert gains == sorted(gains, reverse=True)
    assert gains[-1] < -1


def test_gains_of_clean_targets_are_those_of_the_errors(fast):
    """Once computed by hand: the ratio of the mean squared errors, in dB."""
    (example,) = held_out()
    worse = disturbed(fast, 0.1)
    rows = {name: torch.from_numpy(example.rows[name])[None, None] for name in Paired.rows}
    seen = PAIRED(rows, seeded())
    errors = [float((n(seen[0]) - seen[1]).square().mean()) for n in (worse, fast)]
    expected = -10 * np.log10(errors[0] / errors[1])
    assert gain(worse, fast) == pytest.approx(expected, abs=0.1)


def test_the_draws_are_always_the_same(fast):
    worse = disturbed(fast, 0.1)
    validation = Validation(with_restored(held_out(), fast, CPU), PSEUDO_CLEAN, fast, CPU)
    torch.manual_seed(1)
    first = validation(worse)
    torch.manual_seed(2)
    assert validation(worse) == first


def test_unknown_pixels_are_not_measured(fast):
    worse = disturbed(fast, 0.1)
    found = []
    for value in (0.0, 50.0):
        (example,) = held_out()
        example.rows["weight"][50:90] = 0
        example.rows["target"][50:90] = value
        validation = Validation([example], PAIRED, fast, CPU)
        found.append(validation(worse))
    assert found[0] == found[1]


@pytest.mark.slow
def test_at_most_24_squares_are_measured(fast):
    stack = np.stack([with_noise(clean_image(), s)[:48, :48] for s in range(9)])
    tuning = prepare_fine_tuning(
        [stack] * 30, model="fast", steps=1, patch=24, device="cpu", noise=20.0
    )
    assert len(tuning.plan.held_out) > 24
    assert len(tuning._validation._cases) == 24
    assert torch.equal(weights_of(tuning.model()), weights_of(fast))


def test_empty_squares_do_not_outweigh_the_others(fast):
    """Black borders, where every network is nearly right, say little of how good one is."""
    side = len(CLEAN)
    padded = [np.pad(image, ((0, 0), (0, side))) for image in (with_noise(CLEAN), CLEAN)]
    stacks, clean = (as_stacks("images", image, None) for image in padded)
    (example,) = read_examples(stacks, noisy_settings(), targets=clean)
    found = []
    for part in (example.part(slice(None), slice(0, side)), example):
        worse = disturbed(fast, 0.1)
        validation = Validation([part], PAIRED, worse, CPU)
        found.append(validation(fast))
    assert found[0] > 1
    assert found[1] > 0.3 * found[0]
