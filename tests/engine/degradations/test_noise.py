import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import seeded

from napari_rednet.engine.degradations import NoiseCorruption, add_noise
from napari_rednet.engine.degradations.noise import LEAST_CORRELATION, NoiseSource
from napari_rednet.engine.degradations.processing import PROCESSES
from napari_rednet.engine.network import poisson_gaussian_std

GAUSSIAN = {"poisson_share": 0.0, "varying_share": 0.0, "margin": 0}
PHOTONS = {"poisson_share": 1.0, "varying_share": 0.0}
EXACT = {"map_error": 0.0, "grain_error": 0.0}


def ramp(count=4, size=128):
    return torch.linspace(0, 1, size).expand(count, 1, size, size).contiguous()


def waves(count, size=96):
    """Smooth images, of which processes leave what they were."""
    angle = torch.linspace(0, 2 * math.pi, size)
    image = 0.5 + 0.3 * angle.sin() * angle.cos()[:, None]
    return image.expand(count, 1, size, size).contiguous()


def correlations(noise, axis):
    """Of neighbours along an axis, in each image of a batch."""
    count = noise.shape[axis] - 1
    products = noise.narrow(axis, 0, count) * noise.narrow(axis, 1, count)
    return products.mean((1, 2, 3)) / noise.square().mean((1, 2, 3))


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


# Batches -----------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 100),
    poisson=st.floats(0, 1),
    varying=st.floats(0, 0.5),
    count=st.integers(1, 5),
    processes=st.dictionaries(st.sampled_from(sorted(PROCESSES)), st.floats(0, 0.2), max_size=5),
)
@settings(max_examples=40)
def test_a_seed_gives_the_same_corruption_again(seed, poisson, varying, count, processes):
    corrupt = NoiseCorruption(
        poisson_share=poisson,
        emccd_share=0.1,
        varying_share=varying,
        few_photons_share=0.3,
        processes=processes,
        cut_share=0.3,
        dark_share=0.3,
    )
    first, second, other = (corrupt(ramp(count, 48), seeded(s)) for s in (seed, seed, seed + 1))
    assert all(torch.equal(one, again) for one, again in zip(first, second, strict=True))
    assert not torch.equal(first[0], other[0])
    assert all(torch.isfinite(part).all() for part in first)


@pytest.mark.parametrize("margin", [0, 5, 16])
def test_the_margin_is_cut_off_everything(margin):
    corruption = NoiseCorruption(margin=margin, processes=dict.fromkeys(PROCESSES, 0.12))
    clean = ramp(7, 64)
    before = clean.clone()
    inputs, targets, weights = corruption(clean, seeded())
    side = 64 - 2 * margin
    assert inputs.shape == (7, 4, side, side)
    assert targets.shape == (7, 1, side, side)
    assert weights.shape == (7, 1, 1, 1)
    assert torch.equal(clean, before)


def test_unknown_processes_are_named():
    with pytest.raises(ValueError, match=r"processes must be some of resampled.*got painted"):
        NoiseCorruption(processes={"painted": 0.1})


def test_processes_are_drawn_as_often_as_asked():
    """What is known of them is counted: grain along x alone, along both axes, or none."""
    shares = {"scanned": 0.3, "bayer": 0.2}
    corruption = NoiseCorruption(**GAUSSIAN, **EXACT, processes=shares)
    inputs, _, _ = corruption(torch.full((2000, 1, 24, 24), 0.5), seeded())
    along_y, along_x = (inputs[:, i].flatten(1).any(1).float() for i in (2, 3))
    # The scanner's lag is told where it is more than a tenth.
    assert float((along_x * (1 - along_y)).mean()) == pytest.approx(0.3, abs=0.05)
    assert float((along_x * along_y).mean()) == pytest.approx(0.2, abs=0.03)


# What is told ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shares",
    [
        GAUSSIAN,
        {"poisson_share": 0.0, "varying_share": 1.0},
        {**PHOTONS, "map_error": 0.0},
        {**PHOTONS, "map_error": 0.0, "emccd_share": 1.0},
    ],
    ids=["gaussian", "varying", "photons", "emccd"],
)
def test_the_map_describes_the_noise(shares):
    inputs, targets, _ = NoiseCorruption(**shares)(ramp(60, 96), seeded())
    inner = (..., slice(8, -8), slice(8, -8))  # the told map of photon noise is blurred
    relative = ((inputs[:, :1] - targets) / inputs[:, 1:2])[inner]
    assert relative.std() == pytest.approx(1, abs=0.03)
    assert relative.mean() == pytest.approx(0, abs=0.03)


def test_the_map_describes_the_noise_of_dark_images():
    """On the whole: where hardly a photon comes, it is read at the few that did."""
    corruption = NoiseCorruption(dark_share=1.0, **PHOTONS, **EXACT)
    inputs, targets, _ = corruption(ramp(60, 96), seeded())
    squares = [part.square().mean((1, 2, 3)) for part in (inputs[:, :1] - targets, inputs[:, 1:2])]
    torch.testing.assert_close(*squares, rtol=0.15, atol=0)
    assert targets.median() < 0.2


@pytest.mark.parametrize("kind", [{"poisson_share": 0.0, "varying_share": 0.3}, PHOTONS], ids=str)
@pytest.mark.parametrize("name", PROCESSES)
def test_the_map_describes_processed_noise(name, kind):
    """In every image, and on average in every part of it."""
    corruption = NoiseCorruption(max_std=0.1, processes={name: 1.0}, **kind, **EXACT)
    inputs, targets, _ = corruption(waves(48), seeded())
    noise, std = inputs[:, :1] - targets, inputs[:, 1:2]
    whole = (noise.square().mean((1, 2, 3)) / std.square().mean((1, 2, 3))).sqrt()
    assert float(whole.mean()) == pytest.approx(1, abs=0.03)
    assert whole.min() > 0.85
    assert whole.max() < 1.15
    parts = (noise.square().mean(0) / std.square().mean(0)).unfold(1, 16, 16).unfold(2, 16, 16)
    found = parts.mean((-1, -2)).sqrt()
    assert found.min() > 0.85
    assert found.max() < 1.15


@pytest.mark.parametrize("name", PROCESSES)
def test_the_grain_of_processed_noise_is_told(name):
    corruption = NoiseCorruption(max_std=0.1, processes={name: 1.0}, **GAUSSIAN, **EXACT)
    inputs, targets, _ = corruption(waves(48), seeded())
    noise, std = inputs[:, :1] - targets, inputs[:, 1:2]
    for channel, axis in ((2, -2), (3, -1)):
        told = inputs[:, channel : channel + 1] / std
        torch.testing.assert_close(told, told[:, :, :1, :1].expand_as(told))
        told, found = told[:, 0, 0, 0], correlations(noise / std, axis)
        is_told = told > 0
        torch.testing.assert_close(told[is_told], found[is_told], atol=0.03, rtol=0)
        # What is weaker cannot be told from white noise.
        assert told[is_told].min() >= LEAST_CORRELATION if is_told.any() else True
        assert found[~is_told].max() < LEAST_CORRELATION + 0.03 if (~is_told).any() else True


@pytest.mark.parametrize("kind", [{"varying_share": 0.5}, PHOTONS, {**PHOTONS, "emccd_share": 1}])
def test_noise_that_is_not_processed_is_told_to_be_white(kind):
    inputs, targets, _ = NoiseCorruption(**kind)(waves(20), seeded())
    assert torch.equal(inputs[:, 2:], torch.zeros_like(inputs[:, 2:]))
    for axis in (-2, -1):
        assert correlations(inputs[:, :1] - targets, axis).abs().max() < 0.1


def test_gaussian_levels_spread_over_the_whole_range_and_are_told_exactly():
    corruption = NoiseCorruption(max_std=0.3, **GAUSSIAN)
    std = corruption(ramp(400, 8), seeded())[0][:, 1:2]
    levels = std[:, 0, 0, 0]
    assert levels.min() < 0.01
    assert levels.max() > 0.29
    assert torch.all(std == levels.view(-1, 1, 1, 1))


def test_weak_noise_can_be_drawn_more_often():
    means = []
    for power in (1.0, 2.0):
        corruption = NoiseCorruption(level_power=power, **GAUSSIAN)
        means.append(corruption(ramp(2000, 8), seeded())[0][:, 1].mean() / corruption.max_std)
    assert means == pytest.approx([1 / 2, 1 / 3], rel=0.05)


def test_told_levels_of_photon_noise_err_as_asked():
    clean = torch.full((500, 1, 16, 16), 0.5)
    exact, erring = (
        NoiseCorruption(poisson_share=1.0, map_error=error, margin=0)(clean, seeded())[0][:, 1]
        for error in (0.0, 0.2)
    )
    ratio = (erring / exact).log()[:, 8, 8]
    assert ratio.std() == pytest.approx(0.2, rel=0.15)


def test_a_share_is_told_half_to_three_times_the_noise():
    clean = torch.full((1000, 1, 16, 16), 0.5)
    told, misled = (
        NoiseCorruption(misled_share=share, **GAUSSIAN)(clean, seeded())[0][:, 1, 8, 8]
        for share in (0.0, 0.3)
    )
    ratio = misled / told
    wrong = ratio[(ratio - 1).abs() > 1e-5]
    assert len(wrong) == pytest.approx(300, rel=0.2)
    assert 0.5 <= wrong.min() < 0.55
    assert 2.8 < wrong.max() <= 3
    assert wrong.log().mean() == pytest.approx(np.log(1.5) / 2, abs=0.1)


def test_told_grain_errs_as_asked():
    clean = torch.full((400, 1, 48, 48), 0.5)
    exact, erring = (
        NoiseCorruption(processes={"bayer": 1.0}, map_error=0.0, grain_error=error)(
            clean, seeded()
        )[0]
        for error in (0.0, 0.05)
    )
    change = (erring[:, 3] / erring[:, 1] - exact[:, 3] / exact[:, 1])[:, 4, 4]
    assert float(change.std()) == pytest.approx(0.05, rel=0.15)
    assert float(change.mean()) == pytest.approx(0, abs=0.01)


@given(shift=st.floats(-2, 2), seed=st.integers(0, 50))
@settings(max_examples=20)
def test_images_and_targets_are_shifted_alike(shift, seed):
    """By what the dark level may err by: some standard deviations of the noise."""
    clean = torch.full((40, 1, 16, 16), 0.5 + 0.1 * shift)
    inputs, targets, _ = NoiseCorruption(**GAUSSIAN)(clean, seeded(seed))
    moved = (targets - clean)[:, 0]
    torch.testing.assert_close(moved, moved[:, :1, :1].expand_as(moved), atol=1e-6, rtol=0)
    relative = moved[:, 0, 0] / inputs[:, 1, 0, 0]
    assert relative.min() > -1.01
    assert relative.max() < 2.51
    assert relative.std() > 0.5
    means = (inputs[:, :1] - targets).mean((1, 2, 3)) / inputs[:, 1, 0, 0]
    assert means.abs().max() < 0.3  # 16 x 16 pixels: 1 / 16 is one standard deviation


# Detectors ---------------------------------------------------------------------------------


def detected(light, gain, *, level=0.0, is_emccd=False, size=200):
    """Pixels of a constant image, as a detector counts them."""
    full = [torch.full((1, 1, 1, 1), float(v)) for v in (gain, level)]
    source = NoiseSource(*full, torch.full((1, 1, 1, 1), is_emccd))
    clean = torch.full((1, 1, size, size), float(light))
    return source.apply(clean, seeded()), source.std(clean)


@given(photons=st.floats(0.2, 50), gain=st.floats(1e-3, 5))
@settings(max_examples=30)
def test_photons_are_counted(photons, gain):
    """However few they are: whole numbers of them, of the right mean and variance."""
    noisy, std = detected(photons * gain, gain)
    counts = noisy / gain
    torch.testing.assert_close(counts, counts.round(), atol=2e-3, rtol=0)
    assert counts.min() > -0.01
    assert float(counts.mean()) == pytest.approx(photons, rel=0.05)
    assert float(counts.var()) == pytest.approx(photons, rel=0.06)
    torch.testing.assert_close(std, torch.full_like(std, gain * photons**0.5))


@given(photons=st.floats(0.2, 50))
@settings(max_examples=20)
def test_an_emccd_doubles_the_variance(photons):
    """And keeps the mean, and the shares of pixels without any photon."""
    noisy, std = detected(photons, 1.0, is_emccd=True, size=400)
    assert float(noisy.mean()) == pytest.approx(photons, rel=0.06)
    assert float(noisy.var()) == pytest.approx(2 * photons, rel=0.1)
    assert float(std.square().mean()) == pytest.approx(2 * photons, rel=1e-3)
    assert float((noisy < 1e-3).float().mean()) == pytest.approx(np.exp(-photons), abs=0.02)


def test_read_noise_is_added_to_the_photons():
    noisy, std = detected(4.0, 0.5, level=1.5)
    assert float(noisy.var()) == pytest.approx(4.0 * 0.5 + 1.5**2, rel=0.03)
    assert float(std.square().mean()) == pytest.approx(4.0 * 0.5 + 1.5**2, rel=1e-3)


def test_few_photons_are_few():
    """With them, images have 0.2 to 20 photons at a value of 1, which the map tells."""
    clean = torch.ones((400, 1, 12, 12))
    corruption = NoiseCorruption(few_photons_share=1.0, **PHOTONS, **EXACT, margin=0)
    inputs, targets, _ = corruption(clean, seeded())
    variance = (inputs[:, :1] - targets).square().mean((1, 2, 3))
    photons = (1 / variance).sort().values
    assert 0.1 < photons[8] < 0.4
    assert 12 < photons[-8] < 30


# Cutting -----------------------------------------------------------------------------------


def test_some_images_are_clipped_or_rounded():
    """A third each, at random; the others hardly have any value twice."""
    corruption = NoiseCorruption(max_std=0.2, cut_share=0.33, **GAUSSIAN)
    inputs, targets, _ = corruption(ramp(400, 32) * 0.9, seeded())
    shares = {"black": 0, "white": 0, "coarse": 0}
    for image in inputs[:, 0]:
        values, counts = image.unique(return_counts=True)
        many = counts > 20
        shares["black"] += bool(many[0])
        shares["white"] += bool(many[-1])
        shares["coarse"] += len(values) < 200
    assert all(0.1 < count / 400 < 0.5 for count in shares.values()), shares
    assert torch.isfinite(targets).all()


def test_saturated_light_is_no_target():
    """What is brighter than white cannot be known; what is darker than black is asked for."""
    corruption = NoiseCorruption(max_std=1e-4, cut_share=1.0, **GAUSSIAN)
    inputs, targets, _ = corruption(ramp(50, 32), seeded())
    highest = targets.amax((1, 2, 3)) - targets.amin((1, 2, 3))
    assert highest.min() > 0.59
    assert highest.max() < 1
    assert (inputs[:, :1] - targets).abs().max() < 0.01
