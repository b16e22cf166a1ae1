import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import seeded

from napari_rednet.engine.degradations import NoiseCorruption, add_noise
from napari_rednet.engine.noise_map import poisson_gaussian_std


def ramp(count=4, size=128):
    return torch.linspace(0, 1, size).expand(count, 1, size, size).contiguous()


def test_noise_has_the_level_it_is_told_at_every_pixel():
    clean = ramp(200, 32)
    std = 0.01 + 0.2 * clean
    noise = add_noise(clean, std, seeded()) - clean
    measured = noise.std(dim=(0, 2))[0]
    torch.testing.assert_close(measured, std[0, 0, 0], rtol=0.06, atol=0)
    assert noise.mean().abs() < 1e-3


def test_photon_noise_follows_the_poisson_law():
    photons = torch.poisson(torch.full((200_000,), 30.0), generator=seeded())
    gain = 0.02
    expected = poisson_gaussian_std(torch.tensor(30.0 * gain), gain, 0.0)
    torch.testing.assert_close((gain * photons).std(), expected, rtol=0.02, atol=0)


@given(
    seed=st.integers(0, 100),
    poisson=st.floats(0, 1),
    varying=st.floats(0, 0.5),
    count=st.integers(1, 5),
)
def test_a_seed_gives_the_same_corruption_again(seed, poisson, varying, count):
    corrupt = NoiseCorruption(poisson_share=poisson, varying_share=varying)
    first, second = corrupt(ramp(count, 24), seeded(seed)), corrupt(ramp(count, 24), seeded(seed))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[0], corrupt(ramp(count, 24), seeded(seed + 1))[0])


@pytest.mark.parametrize(
    "shares",
    [
        {"poisson_share": 0.0, "varying_share": 0.0},
        {"poisson_share": 0.0, "varying_share": 1.0},
        {"poisson_share": 1.0, "varying_share": 0.0, "map_error": 0.0},
    ],
)
def test_the_map_describes_the_noise(shares):
    clean = ramp(40, 96)
    noisy, std = NoiseCorruption(**shares)(clean, seeded())
    inner = (..., slice(8, -8), slice(8, -8))  # the told map of photon noise is blurred
    relative = ((noisy - clean) / std)[inner]
    assert relative.std() == pytest.approx(1, abs=0.03)
    assert relative.mean() == pytest.approx(0, abs=0.03)


def test_gaussian_levels_spread_over_the_whole_range():
    corruption = NoiseCorruption(max_std=0.3, poisson_share=0.0, varying_share=0.0)
    _, std = corruption(ramp(400, 8), seeded())
    levels = std[:, 0, 0, 0]
    assert levels.min() < 0.01
    assert levels.max() > 0.29
    assert torch.all(std == levels.view(-1, 1, 1, 1))


def test_weak_noise_can_be_drawn_more_often():
    means = []
    for power in (1.0, 2.0):
        corruption = NoiseCorruption(poisson_share=0.0, varying_share=0.0, level_power=power)
        means.append(corruption(ramp(2000, 8), seeded())[1].mean() / corruption.max_std)
    assert means == pytest.approx([1 / 2, 1 / 3], rel=0.05)


def test_told_levels_of_photon_noise_err_as_asked():
    clean = torch.full((500, 1, 16, 16), 0.5)
    exact = NoiseCorruption(poisson_share=1.0, map_error=0.0)(clean, seeded())[1]
    erring = NoiseCorruption(poisson_share=1.0, map_error=0.2)(clean, seeded())[1]
    ratio = (erring / exact).log()[:, 0, 8, 8]
    assert ratio.std() == pytest.approx(0.2, rel=0.15)
