"""Averages of planes that show the same: where they do, and only there."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage import data

from napari_rednet import NoiseModel
from napari_rednet.engine.fusion import FusedPlane, Match, Neighbour, fuse, match

NOISE = NoiseModel(gain=2.0, offset=100.0, read_noise=3.0)
SCENE = 60.0 * np.asarray(data.camera()[60:252, 100:292], np.float32) / 255
OTHER = 60.0 * np.asarray(data.brick()[:192, :192], np.float32) / 255


def frames(*scenes, seed=0):
    lot = np.random.default_rng(seed)
    photons = (lot.poisson(scene.clip(0)) for scene in scenes)
    return [
        (100 + 2 * count + lot.normal(0, 3, count.shape)).astype(np.float32) for count in photons
    ]


def clean(scene):
    return 100 + 2 * scene


def fused(planes, middle=2, noise=NOISE):
    plane = FusedPlane(
        lambda y, x: planes[middle][y, x],
        [lambda y, x, p=p: p[y, x] for i, p in enumerate(planes) if i != middle],
        planes[middle].shape,
        noise,
    )
    everything = tuple(slice(0, n) for n in planes[middle].shape)
    return plane, plane.read(*everything), plane.share(*everything)


def rms(x):
    return float(np.sqrt(np.mean(np.square(x))))


def test_repeats_have_the_noise_that_is_told():
    planes = frames(*[SCENE] * 5)
    _, average, share = fused(planes)
    single, left = rms(planes[2] - clean(SCENE)), rms(average - clean(SCENE))
    assert left < 0.6 * single
    told = rms(NOISE.std(clean(SCENE)) * share)
    assert 0.85 < left / told < 1.15
    assert 5**-0.5 - 0.02 < np.median(share) < 0.6


def test_more_planes_leave_less_noise():
    planes = frames(*[SCENE] * 5)
    shares = [np.median(fused(planes[:count], 0)[2]) for count in (1, 2, 3, 5)]
    assert shares[0] == 1
    assert shares == sorted(shares, reverse=True)


@pytest.mark.parametrize("seed", range(3))
def test_unrelated_planes_leave_a_plane_as_it_is(seed):
    planes = frames(OTHER, OTHER[::-1], SCENE, OTHER.T, OTHER[:, ::-1], seed=seed)
    _, average, share = fused(planes)
    np.testing.assert_allclose(average, planes[2], rtol=1e-5)
    np.testing.assert_allclose(share, 1, atol=1e-5)


@pytest.mark.parametrize("factor", [0.0, 50.0])
def test_a_flash_and_a_dark_frame_count_nothing(factor):
    planes = frames(SCENE, factor * SCENE, SCENE, SCENE, SCENE)
    average = fused(planes)[1]
    expected = fused([planes[0], *planes[2:]], 1)[1]
    noise = NOISE.std(clean(SCENE))
    assert rms((average - expected) / noise) < 0.2
    assert rms(average - clean(SCENE)) < 0.65 * rms(planes[2] - clean(SCENE))


def test_bleaching_is_no_difference():
    planes = frames(*[SCENE * 0.93**i for i in range(5)])
    _, average, share = fused(planes)
    assert np.median(share) < 0.6
    bright = ndimage.uniform_filter(average - clean(SCENE * 0.93**2), 15)
    assert np.abs(bright[20:-20, 20:-20]).mean() < 1.5  # of up to 120


@pytest.mark.parametrize("is_in_others", [True, False])
def test_objects_neither_vanish_nor_appear(is_in_others):
    """No ghosts: an object in one plane only, and one in all planes but one."""
    place = (slice(80, 110), slice(70, 100))
    bright = SCENE.copy()
    bright[place] += 40
    one, rest = (SCENE, bright) if is_in_others else (bright, SCENE)
    planes = frames(rest, rest, one, rest, rest)
    _, average, _ = fused(planes)
    inner = (slice(84, 106), slice(74, 96))
    shift = float((average - clean(one))[inner].mean())
    assert abs(shift) < 0.05 * 2 * 40
    without = float((fused(planes, 0)[1] - clean(rest))[inner].mean())
    assert abs(without) < 0.05 * 2 * 40


@given(by_y=st.integers(-12, 12), by_x=st.integers(-12, 12))
@settings(max_examples=10)
def test_drift_is_found_and_undone(by_y, by_x):
    camera = 60.0 * np.asarray(data.camera(), np.float32) / 255
    here, there = camera[60:252, 100:292], camera[60 - by_y : 252 - by_y, 100 - by_x : 292 - by_x]
    planes = frames(here, there)
    found = match(*planes, NOISE)
    assert found.drift == (by_y, by_x)
    assert found.trust > 0.9
    _, average, share = fused(planes, 0)
    inside = (slice(40, -40),) * 2
    assert np.median(share[inside]) < 0.8
    assert rms((average - clean(here))[inside]) < 0.85 * rms((planes[0] - clean(here))[inside])


@given(
    by=st.tuples(
        *[st.builds(float.__add__, st.sampled_from([-2.0, 0.0, 1.0]), st.floats(0.3, 0.7))] * 2
    )
)
@settings(max_examples=10)
def test_drift_by_fractions_of_pixels_is_undone(by):
    """The average is as good as if the other plane had not moved."""
    camera = ndimage.gaussian_filter(60.0 * np.asarray(data.camera(), np.float32) / 255, 0.7)
    shown = (slice(60, 252), slice(100, 292))
    here = camera[shown]
    planes = frames(here, ndimage.shift(camera, by, order=5)[shown])
    found = match(*planes, NOISE)
    assert np.abs(np.subtract(found.drift, by)).max() < 0.35
    inside = (slice(40, -40),) * 2
    left, told = (
        rms((fused(pair, 0)[1] - clean(here))[inside]) for pair in (planes, frames(here, here))
    )
    assert left < 1.01 * told


@given(drift=st.tuples(*[st.sampled_from([0.0, 0.3, -0.5])] * 2))
@settings(max_examples=9)
def test_the_noise_of_interpolated_planes_is_told(drift):
    """In flat images, where nothing drifts that could be measured."""
    flat = np.full((128, 128), 30.0, np.float32)
    planes = frames(flat, flat)
    plane = FusedPlane(
        lambda y, x: planes[0][y, x], [lambda y, x: planes[1][y, x]], flat.shape, NOISE
    )
    plane.__dict__["_matches"] = [Match(drift)]
    everything = (slice(0, 128),) * 2
    left = (plane.read(*everything) - clean(flat))[16:-16, 16:-16]
    told = (NOISE.std(clean(flat)) * plane.share(*everything))[16:-16, 16:-16]
    assert 0.93 < left.std() / rms(told) < 1.03


@given(
    top=st.integers(0, 150),
    left=st.integers(0, 150),
    height=st.integers(1, 60),
    width=st.integers(1, 60),
)
@settings(max_examples=15)
def test_windows_are_those_of_the_whole(top, left, height, width):
    moved = ndimage.shift(SCENE, (1.3, 0.4), order=1, mode="nearest")
    plane, average, share = fused(frames(moved, SCENE, SCENE, OTHER, SCENE))
    rows, columns = slice(top, min(192, top + height)), slice(left, min(192, left + width))
    np.testing.assert_allclose(plane.read(rows, columns), average[rows, columns], rtol=1e-4)
    np.testing.assert_allclose(plane.share(rows, columns), share[rows, columns], rtol=1e-3)


@given(power=st.integers(-6, 6), offset=st.sampled_from([0.0, 1000.0]))
@settings(max_examples=10)
def test_averages_scale_and_shift_with_the_planes(power, offset):
    factor = 2.0**power
    noise = NoiseModel(
        factor * NOISE.gain, factor * NOISE.offset + offset, factor * NOISE.read_noise
    )
    planes = frames(SCENE, SCENE, SCENE)
    expected, share = fuse(planes[1], [Neighbour(planes[0]), Neighbour(planes[2], 0.5)], NOISE)
    scaled = [(factor * p + offset).astype(np.float32) for p in planes]
    found, same = fuse(scaled[1], [Neighbour(scaled[0]), Neighbour(scaled[2], 0.5)], noise)
    np.testing.assert_allclose((found - offset) / factor, expected, rtol=1e-2, atol=1)
    np.testing.assert_allclose(np.median(same), np.median(share), rtol=1e-2)


def test_without_noise_a_plane_is_kept_bit_by_bit():
    planes = frames(*[SCENE] * 5)
    _, average, share = fused(planes, noise=NoiseModel())
    assert np.array_equal(average, planes[2])
    assert (share == 1).all()


def test_what_is_not_finite_does_not_count_and_stays():
    planes = frames(*[SCENE] * 5)
    _, expected, before = fused(planes)
    planes[1][50:60, 50:60] = np.nan
    planes[2][100, 100] = np.inf
    _, average, share = fused(planes)
    assert np.isinf(average[100, 100])
    others = np.isfinite(planes[2])
    assert np.isfinite(average[others]).all()
    assert (share > before)[52:58, 52:58].all()
    far = (slice(140, None),) * 2
    np.testing.assert_allclose(average[far], expected[far], rtol=1e-4)


def test_planes_without_visible_details_are_averaged():
    flat = np.full((96, 96), 5.0, np.float32)
    _, average, share = fused(frames(*[flat] * 5))
    assert np.median(share) < 0.6
    assert rms(average - clean(flat)) < 0.7 * rms(frames(*[flat] * 5)[2] - clean(flat))


def test_small_faint_objects_leave_no_ghost():
    """A spot of two standard deviations of the noise, which a large window hardly sees."""
    scene = np.full((192, 192), 40.0, np.float32)
    spot = scene.copy()
    places = [(y, x) for y in range(24, 180, 24) for x in range(24, 180, 24)]
    for y, x in places:
        spot[y : y + 4, x : x + 4] += 14
    planes = frames(spot, spot, scene, spot, spot)
    average, share = fuse(planes[2], [Neighbour(planes[i]) for i in (0, 1, 3, 4)], NOISE)
    ghost = np.mean([average[y : y + 4, x : x + 4] - clean(40.0) for y, x in places])
    assert ghost < 0.45 * 2 * 14
    far = np.median(share[60:68, 60:68])
    assert np.mean([share[y + 1 : y + 3, x + 1 : x + 3] for y, x in places]) > far


@pytest.mark.parametrize(("contrast", "most"), [(0.12, 1.15), (0.5, 1.4)])
def test_faint_structure_of_other_planes_does_not_come_in(contrast, most):
    """Even if they are taken for planes of the same: coarse errors are those of the plane."""
    others = (OTHER, OTHER[::-1], OTHER.T, OTHER[:, ::-1])
    faint = [10 + contrast * scene for scene in (SCENE, *others)]
    planes = frames(*faint)
    average, _ = fuse(planes[0], [Neighbour(plane) for plane in planes[1:]], NOISE)
    errors = [ndimage.gaussian_filter(x - clean(faint[0]), 3) for x in (average, planes[0])]
    assert rms(errors[0]) < most * rms(errors[1])


def test_slow_differences_of_brightness_are_the_planes_own():
    planes = frames(*[np.full((192, 192), 20 * 0.9**i, np.float32) for i in range(5)])
    average, share = fuse(planes[0], [Neighbour(plane) for plane in planes[1:]], NOISE)
    assert abs(float(average.mean() - planes[0].mean())) < 0.1  # of 40
    assert np.median(share) < 0.65


def test_a_dark_frame_does_not_flatten_what_is_faint():
    texture = ndimage.gaussian_filter(np.random.default_rng(0).normal(0, 1, (192, 192)), 2)
    scene = (30 + 2 * texture / texture.std()).astype(np.float32)
    (plane,) = frames(scene)
    average, share = fuse(plane, [Neighbour(np.zeros_like(plane))] * 4, NOISE)
    np.testing.assert_allclose(average, plane, rtol=1e-4)
    np.testing.assert_allclose(share, 1, rtol=1e-4)


def test_dimmer_planes_are_not_believed_to_be_better():
    planes = frames(*[np.full((96, 96), 100.0 * f, np.float32) for f in (1, 0.8, 0.8, 0.8, 0.8)])
    _, share = fuse(planes[0], [Neighbour(plane) for plane in planes[1:]], NOISE)
    assert share.min() > 0.99 * 5**-0.5


@pytest.mark.parametrize("worth", [0.0, 0.5, 1.0])
def test_a_neighbour_counts_what_it_is_worth(worth):
    planes = frames(*[np.full((96, 96), 30.0, np.float32)] * 2)
    average, share = fuse(planes[0], [Neighbour(planes[1], worth)], NOISE)
    expected = (1 + worth**2) ** 0.5 / (1 + worth)
    assert np.median(share) == pytest.approx(expected, rel=0.02)
    if not worth:
        np.testing.assert_allclose(average, planes[0], rtol=1e-6)


@pytest.mark.parametrize("contrast", [0.05, 0.06, 0.07, 0.08, 0.12])
def test_noise_does_not_make_repeats_unlike(contrast):
    """Details of about the power that noise leaves of itself are the same in all repeats."""
    scene = contrast * SCENE
    found = [match(*frames(scene, scene, seed=seed), NOISE) for seed in range(4)]
    assert min(one.trust for one in found) > 0.9


def test_repeats_are_alike_and_defocus_is_measured():
    """The more a neighbour is out of focus, the more its details differ, whatever the noise."""
    blurs = [0, 0.6, 1.2, 2.4]
    stacks = [
        frames(SCENE, *[ndimage.gaussian_filter(SCENE, by) for by in blurs], seed=seed)
        for seed in range(3)
    ]
    found = np.array([unlike(planes) for planes in stacks])
    assert found[:, 0].max() < 0.01
    assert (found[:, 0] < found[:, 2]).all()
    assert (found[:, 2] < found[:, 3]).all()
    assert found[:, 2].min() > 0.02


def unlike(planes, noise=NOISE):
    """Of the first plane, from each of the others."""
    return [one.unlike for one in fused(planes, 0, noise)[0]._matches]


@pytest.mark.parametrize("error", [0.5, 0.85, 1.5])
def test_noise_that_is_told_wrong_is_no_unlikeness(error):
    told = NoiseModel(error * NOISE.gain, NOISE.offset, error**0.5 * NOISE.read_noise)
    blurs = (0, 0, 1.2)
    planes = frames(*[ndimage.gaussian_filter(OTHER, by) for by in blurs])
    expected = unlike(planes)
    assert expected[1] > 0.1 > expected[0]
    assert unlike(planes, told) == pytest.approx(expected, rel=0.05, abs=0.01)


def test_neighbours_out_of_focus_leave_the_noise_that_is_told():
    """What they differ by is no part of it."""
    planes = frames(*[ndimage.gaussian_filter(OTHER, 1.2 * abs(i)) for i in (-2, -1, 0, 1, 2)])
    _, average, share = fused(planes)
    others = [Neighbour(plane) for i, plane in enumerate(planes) if i != 2]
    unjudged, more = fuse(planes[2], others, NOISE)
    left, without = (
        rms(found - clean(OTHER)) / rms(NOISE.std(clean(OTHER)) * part)
        for found, part in ((average, share), (unjudged, more))
    )
    assert left < 1.04
    assert without > 1.08
