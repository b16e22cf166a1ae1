import numpy as np
import pytest
import torch
from skimage import data
from tests.conftest import seeded
from tests.finetuning.conftest import clean_image, frames_of, noisy_settings, weights_of, with_noise

import napari_rednet as nr
from napari_rednet.finetuning import prepare_fine_tuning
from napari_rednet.finetuning.examples import read_examples
from napari_rednet.finetuning.methods import BlindSpot, Neighbors, Paired, Subsampled
from napari_rednet.finetuning.stacks import as_stacks
from napari_rednet.finetuning.validation import Validation

CPU = torch.device("cpu")
CLEAN = data.camera()[110:230, 160:280].astype(np.float64)
METHODS = {"neighbors": Neighbors(), "subsampled": Subsampled(), "blind-spot": BlindSpot()}


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


def held_out(method):
    frames = frames_of(CLEAN, 2)
    settings = noisy_settings()
    if method == "paired":
        image, target = (as_stacks("images", a, None) for a in (frames[0], CLEAN))
        return read_examples(image, settings, targets=target)
    axis = 0 if method == "neighbors" else None
    return read_examples(as_stacks("images", frames, None), settings, axis=axis)


def gain(method, network, base):
    kind = METHODS.get(method, Paired())
    validation = Validation(held_out(method), kind, base, CPU)
    assert validation(base) == 0
    return validation(network)


@pytest.mark.parametrize("amount", [0.05, 0.1])
@pytest.mark.parametrize("method", ["neighbors", "subsampled"])
def test_gains_are_estimated_without_clean_images(method, amount, fast):
    """In sign and roughly in size, whichever of two networks is the base."""
    worse = disturbed(fast, amount)
    for network, base in ((worse, fast), (fast, worse)):
        expected, found = gain("paired", network, base), gain(method, network, base)
        assert abs(expected) > 0.3
        assert np.sign(found) == np.sign(expected)
        assert 1 / 3 < found / expected < 3


def test_blind_spots_tell_the_sign_of_a_gain(fast):
    worse = disturbed(fast, 0.1)
    assert gain("blind-spot", worse, fast) < 0 < gain("blind-spot", fast, worse)


@pytest.mark.parametrize("method", ["paired", "subsampled"])
def test_worse_networks_have_lower_gains(method, fast):
    gains = [gain(method, disturbed(fast, amount), fast) for amount in (0.0, 0.05, 0.1, 0.2)]
    assert gains[0] == 0
    assert gains == sorted(gains, reverse=True)
    assert gains[-1] < -1


def test_gains_of_clean_targets_are_those_of_the_errors(fast):
    """Once computed by hand: the ratio of the mean squared errors, in dB."""
    (example,) = held_out("paired")
    worse = disturbed(fast, 0.1)
    rows = {name: torch.from_numpy(example.rows[name])[None, None] for name in Paired.rows}
    seen = Paired()(rows, seeded())
    errors = [float((n(seen[0]) - seen[1]).square().mean()) for n in (worse, fast)]
    expected = -10 * np.log10(errors[0] / errors[1])
    assert gain("paired", worse, fast) == pytest.approx(expected, abs=0.1)


def test_the_draws_are_always_the_same(fast):
    worse = disturbed(fast, 0.1)
    validation = Validation(held_out("blind-spot"), BlindSpot(), fast, CPU)
    torch.manual_seed(1)
    first = validation(worse)
    torch.manual_seed(2)
    assert validation(worse) == first


def test_unknown_pixels_are_not_measured(fast):
    worse = disturbed(fast, 0.1)
    found = []
    for value in (0.0, 50.0):
        (example,) = held_out("paired")
        example.rows["weight"][50:90] = 0
        example.rows["target"][50:90] = value
        validation = Validation([example], Paired(), fast, CPU)
        found.append(validation(worse))
    assert found[0] == found[1]


def test_at_most_24_squares_are_measured(fast):
    stack = np.stack([with_noise(clean_image(), s)[:48, :48] for s in range(9)])
    tuning = prepare_fine_tuning(
        [stack] * 30, method="subsampled", model="fast", steps=1, patch=24, device="cpu", noise=20.0
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
        validation = Validation([part], Paired(), worse, CPU)
        found.append(validation(fast))
    assert found[0] > 1
    assert found[1] > 0.3 * found[0]
