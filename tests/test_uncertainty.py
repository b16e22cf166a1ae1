"""How far a restored image may be off, pixel by pixel."""

import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import napari_rednet as nr
from napari_rednet.engine.planes import PlaneLayout
from napari_rednet.quality import uncertainty, uncertainty_steps
from napari_rednet.quality.uncertainties import _FACTOR, _grainy, _turns

FLAT = np.full((60, 80), 100.0)


def as_it_is(image):
    return image


def test_it_covers_the_error(camera, noisy_camera):
    restore = partial(nr.denoise, noise=25)
    doubt = uncertainty(noisy_camera, restore, noise=25)
    error = np.abs(restore(noisy_camera) - camera)
    assert 0.5 < (error < doubt).mean() < 0.85
    assert (error < 2 * doubt).mean() > 0.8
    # It says where: the least certain tenth of the pixels is further off than the rest.
    worst = doubt > np.percentile(doubt, 90)
    assert error[worst].mean() > 1.5 * error[~worst].mean()


def test_where_nothing_is_restored_it_is_the_noise():
    """Growing with the signal, if that of the camera does."""
    signal = np.tile(np.linspace(100, 1000, 80), (60, 1))
    model = nr.NoiseModel(gain=2.0, offset=50.0, read_noise=3.0)
    doubt = uncertainty(signal, as_it_is, noise=model, samples=40)
    expected = _FACTOR * model.std(signal)
    np.testing.assert_allclose(doubt.mean(0)[5:-5], expected.mean(0)[5:-5], rtol=0.1)


def test_what_is_always_the_same_is_certain():
    assert not uncertainty(FLAT, lambda image: image * 0 + 3, noise=5).any()


def test_orientations_that_disagree_are_in_doubt():
    """A restoration that darkens the left side, whatever lies there."""

    def biased(image):
        result = np.array(image)
        result[:, :20] -= 30
        return result

    doubt = uncertainty(FLAT, biased, noise=1e-3)
    assert doubt[30, 40] < 0.1  # in the middle, all agree
    assert doubt[30, 10] > 10
    assert doubt[30, 70] > 10


def test_channels_have_noise_of_their_own():
    stack = np.stack([FLAT, FLAT], axis=1)
    doubt = uncertainty(stack, as_it_is, noise=[1.0, 10.0], channel_axis=1, samples=8)
    assert doubt[:, 1].mean() / doubt[:, 0].mean() == pytest.approx(10, rel=0.1)


@given(st.sampled_from([((5, 7), None), ((3, 5, 7), 0), ((5, 7, 3), -1), ((2, 3, 5, 7), 1)]))
def test_orientations_are_undone(case):
    shape, axis = case
    image = np.random.default_rng(0).random(shape)
    layout = PlaneLayout(shape, axis)
    turns = list(_turns(layout, [nr.NoiseModel(read_noise=1.0)]))
    assert len(turns) == 7
    seen = {turn(image).tobytes() for turn, _ in turns} | {image.tobytes()}
    assert len(seen) == 8
    for turn, back in turns:
        np.testing.assert_array_equal(back(turn(image)), image)
    # Noise that differs along rows and columns stays where it is.
    assert len(list(_turns(layout, [nr.NoiseModel(read_noise=1.0, grain_x=1.0)]))) == 3


@pytest.mark.parametrize("grain", [(0.0, 0.0), (1.0, 1.0), (0.0, 1.2)])
def test_the_noise_that_is_added_has_the_grain_of_the_model(grain):
    model = nr.NoiseModel(0.0, 0.0, 5.0, *grain)
    noise = _grainy(np.random.default_rng(0).standard_normal((400, 400)), model)
    assert noise.std() == pytest.approx(1, rel=0.02)
    for axis, expected in enumerate(model.correlation):
        first, second = np.delete(noise, 0, axis), np.delete(noise, -1, axis)
        found = np.corrcoef(first.ravel(), second.ravel())[0, 1]
        assert found == pytest.approx(expected, abs=0.05)


def test_it_can_be_watched_and_is_the_same_each_time():
    steps = uncertainty_steps(FLAT, as_it_is, noise=3.0, samples=2)
    progress = list(steps)
    assert [done for done, _ in progress] == sorted(done for done, _ in progress)
    assert {total for _, total in progress} == {9}
    first, second = (uncertainty(FLAT, as_it_is, noise=3.0) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("samples", [0, 1.5])
def test_odd_arguments_are_refused(samples):
    with pytest.raises((TypeError, ValueError), match="samples"):
        uncertainty(FLAT, as_it_is, noise=3.0, samples=samples)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_not_finite_leave_no_others_in_doubt(wrong, noisy_camera):
    image = noisy_camera.copy()
    image[40, 50] = wrong
    doubt = uncertainty(image, as_it_is, noise=25, samples=2)
    assert np.argwhere(np.isnan(doubt)).tolist() == [[40, 50]]
    far = np.s_[100:, 100:]
    whole = uncertainty(noisy_camera, as_it_is, noise=25, samples=2)
    np.testing.assert_allclose(doubt[far], whole[far], rtol=0.2)


@pytest.mark.parametrize("unit", [2.0**300, 2.0**-300])
def test_any_unit_will_do(unit, noisy_camera):
    doubt = uncertainty(noisy_camera, as_it_is, noise=25, samples=2)
    other = uncertainty(noisy_camera * unit, as_it_is, noise=25 * unit, samples=2)
    np.testing.assert_allclose(other / unit, doubt, rtol=1e-3)


def test_the_coverage_that_is_told_is_the_one_that_was_measured():
    docs = Path(__file__).parents[1] / "docs"
    table = (docs / "benchmarks" / "uncertainty.md").read_text(encoding="utf-8")
    once, twice = zip(
        *re.findall(r"^\| (?:mean|least|most) \| (\d+)% \| (\d+)%", table, re.M), strict=True
    )
    told = " ".join((docs / "how-to-compare.md").read_text(encoding="utf-8").split())
    assert "{} % of the pixels ({} to {} % by the frame) were off by less".format(*once) in told
    assert "{} % ({} to {} %) by less than twice".format(*twice) in told
    assert f"what differs is the uncertainty, times {_FACTOR}." in told
    index = (docs / "benchmarks" / "index.md").read_text(encoding="utf-8")
    assert f"{once[0]} % of the pixels" in index
    assert f"{twice[0]} % by less" in index
