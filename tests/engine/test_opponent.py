import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage import data
from tests.conftest import seeded

from napari_rednet.engine.inference import mix_back, opponent_std, to_opponent


def astronaut():
    return torch.from_numpy(np.moveaxis(data.astronaut(), -1, 0) / np.float32(255))


def test_changes_of_mean_and_differences_are_those_of_the_colours():
    colors = astronaut()
    changed = colors.flip(2)
    change = mix_back(to_opponent(changed) - to_opponent(colors))
    torch.testing.assert_close(change, changed - colors)


@given(value=st.floats(0, 1))
def test_gray_is_its_own_mean_and_in_the_middle_of_the_differences(value):
    opponent = to_opponent(torch.full((3, 1, 4, 5), value))
    expected = torch.tensor([value, 0.5, 0.5]).view(3, 1, 1, 1).expand_as(opponent)
    torch.testing.assert_close(opponent, expected)


def test_most_of_the_structure_is_in_the_mean():
    spread = to_opponent(astronaut()).flatten(1).var(1)
    assert spread[0] > 2 * spread[1:].sum()


@given(levels=st.tuples(*[st.floats(0.01, 1)] * 3))
def test_the_noise_is_known_afterwards(levels):
    std = torch.tensor(levels).view(3, 1, 1).expand(3, 200, 200)
    noise = std * torch.randn(std.shape, generator=seeded())
    found = (to_opponent(noise) - to_opponent(torch.zeros_like(noise))).flatten(1).std(1)
    torch.testing.assert_close(found, opponent_std(std)[:, 0, 0], rtol=0.03, atol=0)


def test_equal_noise_averages_out_in_the_mean_alone():
    mean, *differences = opponent_std(torch.ones(3, 1, 1)).flatten().tolist()
    assert abs(mean - 3**-0.5) < 1e-6
    assert all(abs(d - 1) < 1e-6 for d in differences)
