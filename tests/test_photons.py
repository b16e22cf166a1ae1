import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage import data

from napari_rednet.noise import Counts, count_photons, fit_noise, measure_noise


def spots(background, count=60):
    lot = np.random.default_rng(5)
    scene = np.zeros((256, 256))
    scene[lot.integers(0, 256, count), lot.integers(0, 256, count)] = 1
    scene = ndimage.gaussian_filter(scene, 1.5)
    return background + (1 - background) * scene / scene.max()


SCENES = {
    "camera": data.camera()[100:356, 130:386] / 255,
    "coins": data.coins()[:256, :256] / 255,
    "spots": spots(0.02),
    "spots on nothing": spots(0.0),
}


def frame(scene, photons, gain=1, offset=0, seed=0):
    counts = np.random.default_rng(seed).poisson(photons * scene)
    return (offset + gain * counts).astype(np.uint16)


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("photons", [0.2, 0.5, 1, 2, 5, 10, 50])
def test_the_noise_of_photons_is_found_at_any_rate(name, photons):
    found = fit_noise([frame(SCENES[name], photons)])
    assert found.std(float(photons)) == pytest.approx(np.sqrt(photons), rel=0.1)
    assert found.std(photons / 10) == pytest.approx(np.sqrt(photons / 10), rel=0.1)


def test_bright_things_on_nothing_do_not_hide_that_photons_are_counted():
    """At their edges, many photons are neighbours of none."""
    scene = ((SCENES["coins"] - 0.6) / 0.4).clip(0)
    for photons in (2, 10, 50):
        found = fit_noise([frame(scene, photons, gain=30, offset=100)])
        assert (found.offset, found.read_noise) == (100, 0)
        assert 30 <= found.gain <= 60


@given(gain=st.integers(1, 300), offset=st.integers(0, 500), seed=st.integers(0, 100))
@settings(max_examples=5)
def test_gain_and_offset_are_what_a_photon_and_none_count_for(gain, offset, seed):
    image = frame(SCENES["camera"], 2.0, gain, offset, seed)
    assert count_photons([image]) == Counts(offset, gain)


@pytest.mark.parametrize("read_noise", [4.0, 12.0])
@pytest.mark.parametrize("black", [-1.5, 0.0, 0.5])
def test_camera_noise_that_is_cut_off_at_black_is_not_counted(read_noise, black):
    lot = np.random.default_rng(0)
    for scene in SCENES.values():
        light = 2 * lot.poisson(60 * scene) + lot.normal(
            black * read_noise, read_noise, scene.shape
        )
        assert count_photons([light.round().clip(0).astype(np.uint16)]) is None


@pytest.mark.parametrize("name", ["spots", "spots on nothing"])
def test_black_that_is_cut_off_is_the_offset(name):
    """What was left of the background is much brighter than black, and less noisy than it was."""
    lot = np.random.default_rng(0)
    light = 2 * lot.poisson(60 * SCENES[name]) + lot.normal(0, 5, (256, 256))
    found = fit_noise([light.clip(0)])
    assert found.offset == 0
    assert 4 < found.read_noise < 8


@pytest.mark.parametrize("name", ["camera", "coins"])
def test_few_gray_levels_are_no_photons(name):
    """Dim light in an 8-bit file: a gray level is much more than its noise."""
    light = 1 + 5 * SCENES[name] + np.random.default_rng(0).normal(0, 0.4, (256, 256))
    found = fit_noise([light.round().clip(1).astype(np.uint8)])
    assert found.std(4.0) == pytest.approx(np.hypot(0.4, 12**-0.5), rel=0.3)


@pytest.mark.parametrize(
    "image",
    [np.zeros((0, 5)), np.full((20, 20), np.nan), np.full((20, 20), 7), ~data.horse()],
    ids=["empty", "unknown", "constant", "mask"],
)
def test_images_without_photons_are_not_counted(image):
    assert count_photons([image]) is None


def test_excess_noise_of_multiplication_is_measured():
    lot = np.random.default_rng(0)
    counts = lot.poisson(3 * SCENES["camera"])
    # Each photon gives 0 or 2: the variance of such light is twice its mean.
    doubled = 2 * lot.binomial(counts, 0.5)
    levels = measure_noise([doubled.astype(np.uint16)])
    assert levels.fit().std(3.0) == pytest.approx(np.sqrt(6), rel=0.15)


def test_whole_numbers_in_the_dark_do_not_make_a_camera_count():
    """As after a background was subtracted: few values are left of it, and noise where light is."""
    lot, scene = np.random.default_rng(0), SCENES["camera"]
    photons = lot.poisson(100 * scene)
    image = np.where(scene > 0.3, 25 * photons, lot.poisson(0.1, scene.shape)).astype(np.uint16)
    assert count_photons([image]) is not None
    assert fit_noise([image]).gain == pytest.approx(25, rel=0.3)
