"""Noise of arrays: in a region of them, and the levels behind an estimate."""

import dask.array as da
import numpy as np
import pytest
from skimage import data

import napari_rednet as nr
from napari_rednet import sample_data
from napari_rednet.engine.planes import PlaneLayout
from napari_rednet.restoration.noise_estimate import (
    find_uneven_noise,
    noise_levels_steps,
    region_windows,
)

LEFT, RIGHT = np.s_[:, :200], np.s_[:, 312:]


@pytest.fixture(scope="module")
def halves():
    """Noise of 10 on the left half and of 40 on the right one."""
    deviation = np.where(np.arange(512) < 256, 10, 40)
    return data.moon() + np.random.default_rng(0).normal(0, 1, (512, 512)) * deviation


def marked(*places, shape=(512, 512)):
    region = np.zeros(shape, bool)
    for place in places:
        region[place] = True
    return region


@pytest.mark.parametrize("kind", [bool, np.uint8, int])
def test_noise_is_that_of_the_region(halves, kind):
    left = nr.estimate_noise(halves, region=marked(LEFT).astype(kind))
    right = nr.estimate_noise(halves, region=marked(RIGHT).astype(kind))
    assert left.std(110.0) == pytest.approx(10, rel=0.1)
    assert right.std(110.0) == pytest.approx(40, rel=0.1)
    assert left.std(110.0) < nr.estimate_noise(halves).std(110.0) < right.std(110.0)


def test_a_region_of_everything_changes_little(halves):
    everywhere = nr.estimate_noise(halves, region=np.ones(halves.shape, bool))
    assert everywhere.std(110.0) == pytest.approx(nr.estimate_noise(halves).std(110.0), rel=0.1)


def test_what_lies_around_a_region_does_not_count():
    """Two hand-drawn rectangles beside a saturated bead on a black level of 500."""
    rng = np.random.default_rng(1)
    clean = np.full((200, 200), 20.0)
    clean[:, 100:] = 90.0
    image = 500 + 3 * rng.poisson(clean) + rng.normal(0, 4, clean.shape)
    image[70:130, 70:130] = 4095
    region = marked(np.s_[20:60, 20:70], np.s_[140:180, 120:190], shape=image.shape)
    levels = nr.noise_levels(image, region=region)
    assert 500 + 3 * 15 < levels.signal.min() < levels.signal.max() < 500 + 3 * 100
    assert levels.fit().gain == pytest.approx(3, rel=0.15)
    assert levels.fit().std(560.0) == pytest.approx(np.sqrt(9 * 20 + 16), rel=0.1)


@pytest.mark.parametrize("axis", [0, -1])
def test_a_region_of_all_channels_or_one_for_each(halves, axis):
    image = np.stack([halves, halves + 500], axis=axis)
    models = nr.estimate_noise(image, channel_axis=axis, region=marked(RIGHT))
    assert [m.std(600.0) for m in models] == pytest.approx([40, 40], rel=0.15)
    each = np.stack([marked(LEFT), marked(RIGHT)], axis=axis)
    models = nr.estimate_noise(image, channel_axis=axis, region=each)
    assert [m.std(600.0) for m in models] == pytest.approx([10, 40], rel=0.15)


def test_a_region_in_some_planes_of_a_stack(halves):
    stack = np.stack([halves, halves[:, ::-1]] * 3)
    region = np.zeros(stack.shape, bool)
    region[1][RIGHT] = region[2][LEFT] = True
    assert nr.estimate_noise(stack, region=region).std(110.0) == pytest.approx(10, rel=0.1)
    lazy = nr.estimate_noise(da.from_array(stack), region=da.from_array(region))
    assert lazy == nr.estimate_noise(stack, region=region)


def test_a_small_region_of_a_large_plane_is_found():
    """Where windows that represent the whole would miss it."""
    image = np.zeros((5000, 3000), np.float32)
    image[700:760, 900:980] = np.random.default_rng(0).normal(100, 7, (60, 80))
    region = marked(np.s_[705:755, 905:975], shape=image.shape)
    assert nr.estimate_noise(image, region=region).std(100.0) == pytest.approx(7, rel=0.1)


@pytest.mark.parametrize("axis", [None, 0])
def test_windows_hold_the_region_and_are_few(axis):
    layout = PlaneLayout((40, 900, 700), axis)
    region = np.broadcast_to(marked(np.s_[300:420, 10:600], shape=(900, 700)), layout.shape)
    windows = region_windows(region, layout, 0)
    assert 0 < len(windows) <= 48
    assert all(0 < region[window].size <= 256**2 and region[window].any() for window in windows)
    if axis == 0:
        assert sum(region[window].sum() for window in windows) == region[0].sum()
    assert windows == region_windows(region, layout, 0)


def test_levels_are_those_behind_the_estimate(halves):
    levels = nr.noise_levels(halves)
    assert isinstance(levels, nr.NoiseLevels)
    assert levels.fit() == nr.estimate_noise(halves)
    channels = nr.noise_levels(np.stack([halves, halves / 2]), channel_axis=0)
    assert [one.fit() for one in channels] == nr.estimate_noise(
        np.stack([halves, halves / 2]), channel_axis=0
    )


def test_it_can_be_watched_and_closed(halves):
    steps = noise_levels_steps(np.stack([halves] * 3))
    progress = list(steps)
    assert progress == [(i, len(progress)) for i in range(len(progress))]
    steps = noise_levels_steps(halves)
    next(steps)
    steps.close()


@pytest.mark.parametrize(
    ("region", "error", "words"),
    [
        (np.ones((512, 512)), TypeError, "region must hold bool or integers"),
        (np.ones((5, 512), bool), ValueError, r"region must have the shape \(512, 512\), got \(5"),
        (np.zeros((512, 512), bool), ValueError, "region marks no pixel"),
        (marked(np.s_[3:8, 3:8]), ValueError, "region has too few pixels"),
    ],
)
def test_regions_that_cannot_be_used_are_refused(halves, region, error, words):
    with pytest.raises(error, match=words):
        nr.estimate_noise(halves, region=region)


@pytest.mark.parametrize("axis", [0, 1])
def test_channels_that_are_taken_for_planes_are_noticed(axis):
    """One detector is noisier; planes of a z-stack and of a time series differ little."""
    membranes, nuclei = (np.asarray(one[0]).astype(float) for one in sample_data.epithelium())
    read_noise = np.random.default_rng(0).normal(0, 8, membranes.shape)
    channels = [membranes + read_noise, nuclei]
    image = np.stack([np.stack(channels)] * 2, axis=1 - axis)
    found = find_uneven_noise(image)
    assert found.axis == axis
    assert found.factor > 3
    assert find_uneven_noise(image, channel_axis=axis) is None
    for (stack, *_), *_ in (sample_data.chromosomes_layer(), sample_data.small()):
        assert find_uneven_noise(np.asarray(stack)[:8]) is None
    assert find_uneven_noise(channels[0]) is None
    assert find_uneven_noise(np.zeros((3, 20, 20))) is None
