import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_rednet.engine.channel import (
    PERCENTILES,
    IntensityRange,
    changed,
    dark_level,
    from_network,
    measure_range,
    to_network,
)
from napari_rednet.engine.planes import PlaneLayout


@st.composite
def layouts(draw):
    shape = draw(hnp.array_shapes(min_dims=3, max_dims=5, max_side=4))
    axis = draw(st.none() | st.integers(-len(shape), len(shape) - 1))
    return PlaneLayout(shape, axis)


@given(layouts())
def test_planes_cover_the_array_once_and_know_their_channel(layout):
    array = np.arange(np.prod(layout.shape)).reshape(layout.shape)
    seen = []
    for key in layout.planes():
        plane = array[key.index]
        assert plane.shape == layout.plane_shape
        seen += plane.ravel().tolist()
        if layout.channel_axis is not None:
            channel = np.moveaxis(array, layout.channel_axis, 0)[key.channel]
            assert np.isin(plane, channel).all()
    assert sorted(seen) == list(range(array.size))


@given(layouts())
def test_windows_of_planes_are_parts_of_planes(layout):
    array = np.arange(np.prod(layout.shape)).reshape(layout.shape)
    for key in layout.planes():
        rows, columns = slice(0, 2), slice(1, 3)
        window = array[key.window(rows, columns)]
        assert np.array_equal(window, array[key.index][rows, columns])


def test_large_images_are_sampled_and_small_ones_taken_whole():
    small = PlaneLayout((5, 64, 70))
    assert len(small.sample_windows(0)) == 5
    large = PlaneLayout((300, 20_000, 20_000))
    windows = large.sample_windows(0)
    sizes = [w[1].stop - w[1].start for w in windows]
    assert 1 <= len(windows) <= 12
    assert max(sizes) <= 512
    assert len({w[0] for w in windows}) > 6
    assert len({(w[1].start, w[2].start) for w in windows}) > 6


def test_one_large_plane_is_sampled_all_over():
    windows = PlaneLayout((4000, 4000)).sample_windows(0)
    assert len(windows) == 12
    assert len({w[0].start for w in windows}) == len({w[1].start for w in windows}) == 4


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32"])
def test_integers_survive_the_round_trip(dtype):
    limits = np.iinfo(dtype)
    values = np.linspace(limits.min, limits.max, 1001).astype(dtype).reshape(7, 143)
    scale = IntensityRange(float(limits.min), float(limits.max))
    normalized, finite = to_network(values, scale)
    restored = from_network(normalized, scale, values.dtype)
    assert finite is None
    assert restored.dtype == dtype
    tolerance = (limits.max - limits.min) * 2.0**-23  # what float32 can hold
    assert np.abs(restored.astype(float) - values).max() <= tolerance


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "int64", "uint64"])
def test_integers_are_rounded_and_clipped(dtype):
    limits = np.iinfo(dtype)
    scale = IntensityRange(0.0, float(limits.max) + 1)
    result = from_network(np.float32([[-5, 5]]), scale, np.dtype(dtype))
    assert result[0, 0] == limits.min
    assert result[0, 1] >= limits.max - limits.max // 2**20
    assert from_network(np.float32([[2.6]]), IntensityRange(), np.dtype(dtype)) == 3


def test_values_that_are_not_finite_are_marked():
    values = np.float32([[1, np.nan], [np.inf, 3]])
    normalized, finite = to_network(values, IntensityRange(1, 3))
    assert finite.tolist() == [[True, False], [False, True]]
    assert normalized.tolist() == [[0, 0], [0, 1]]


def test_small_differences_on_a_large_offset_are_kept():
    values = 1e9 + np.arange(12.0).reshape(3, 4)
    normalized, _ = to_network(values, IntensityRange(1e9, 1e9 + 11))
    np.testing.assert_allclose(normalized, np.arange(12).reshape(3, 4) / 11, atol=1e-6)


# Changes -----------------------------------------------------------------------------------

ANY = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]


def planes_of(dtype):
    """Planes with all values that a dtype has, not finite ones included."""
    return hnp.arrays(
        dtype, hnp.array_shapes(min_dims=2, max_dims=3, max_side=5), elements=hnp.from_dtype(dtype)
    )


@given(
    image=st.sampled_from(ANY).map(np.dtype).flatmap(planes_of),
    low=st.floats(-1e9, 1e9),
    zero=st.sampled_from([0.0, -0.0]),
)
def test_no_change_leaves_the_values_to_the_last_bit(image, low, zero):
    scale = IntensityRange(low, low + 2.0**9)
    result = changed(image, np.full(image.shape, zero, np.float32), scale, image.dtype)
    assert result.dtype == image.dtype
    assert result is not image
    assert result.tobytes() == image.tobytes()


@pytest.mark.parametrize("dtype", ["u4", "i8", "u8", "f8"])
@given(offset=st.integers(2000, 2**31), seed=st.integers(0, 50))
def test_on_a_large_offset_pixels_change_by_what_is_added(dtype, offset, seed):
    """And those that nothing is added to not at all."""
    rng = np.random.default_rng(seed)
    image = (offset + rng.integers(0, 1000, (5, 6))).astype(dtype)
    change = rng.normal(0, 0.1, image.shape).astype(np.float32)
    change[rng.random(image.shape) < 0.5] = 0
    scale = IntensityRange(offset, offset + 1024.0)
    result = changed(image, change, scale, image.dtype)
    differences = result.astype(object) - image.astype(object)
    expected = change * 1024.0
    if image.dtype.kind in "iu":
        expected = np.rint(expected)
    np.testing.assert_allclose(differences.astype(float), expected, atol=1e-4 * (dtype == "f8"))
    np.testing.assert_array_equal(result[change == 0], image[change == 0])


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "int64"])
def test_changed_integers_are_clipped(dtype):
    limits = np.iinfo(dtype)
    image = np.array([[limits.min, limits.max]], dtype)
    for change in (-2, 2):
        result = changed(image, np.float32([[change] * 2]), IntensityRange(0, 64), image.dtype)
        unmoved = 0 if change < 0 else 1
        near = limits.max // 2**52  # the largest 64-bit integers are no floats
        assert abs(int(result[0, unmoved]) - int(image[0, unmoved])) <= near
        moved = int(result[0, 1 - unmoved]) - int(image[0, 1 - unmoved])
        assert moved == pytest.approx(np.sign(change) * min(128, limits.max - limits.min), abs=near)


def test_pixels_that_are_not_finite_are_changed_by_nothing():
    image = np.array([[np.nan, np.inf, -np.inf, 5]])
    result = changed(image, np.full((1, 4), 0.5, np.float32), IntensityRange(0, 4), image.dtype)
    np.testing.assert_array_equal(result, [[np.nan, np.inf, -np.inf, 7]])


# Ranges ------------------------------------------------------------------------------------


@given(low=st.floats(-1e4, 1e4), contrast=st.floats(0.01, 1e4), seed=st.integers(0, 20))
def test_range_follows_the_units_of_the_image(low, contrast, seed):
    image = np.random.default_rng(seed).random((40, 40))
    plain = measure_range([image])
    scaled = measure_range([low + contrast * image])
    np.testing.assert_allclose(scaled.low, low + contrast * plain.low, atol=1e-3 * contrast)
    np.testing.assert_allclose(scaled.span, contrast * plain.span, rtol=1e-6)


@given(
    st.sampled_from([np.int8, np.int16, np.int64, np.float32, np.float64]).flatmap(
        lambda dtype: hnp.arrays(
            dtype,
            hnp.array_shapes(min_dims=2, max_dims=2, max_side=30),
            elements=hnp.from_dtype(np.dtype(dtype), min_value=-100, max_value=100),
        )
    )
)
def test_range_begins_at_a_percentile_whatever_the_dtype(image):
    low, high = np.percentile(image.astype(np.float64), PERCENTILES)
    scale = measure_range([image])
    if high > low:
        np.testing.assert_allclose(scale.low, low, rtol=1e-6, atol=1e-12)
        assert scale.high >= high - 1e-6 * abs(high)


def test_hot_pixels_do_not_widen_the_range_much(camera):
    hot = camera.astype(np.uint16)
    hot[10, 10] = hot[90, 50] = 65535
    assert measure_range([hot]).span < 20 * measure_range([camera]).span


def test_small_bright_structures_stay_within_reach():
    image = np.random.default_rng(0).normal(100, 1, (300, 300))
    image[100:110, 100:110] += 5000
    scale = measure_range([image])
    assert (image.max() - scale.low) / scale.span < 5


@pytest.mark.parametrize("value", [0, 5, -3, 1e-30, 1e30, np.nan])
def test_constant_images_have_a_span(value):
    scale = measure_range([np.full((5, 5), value)])
    assert scale.span > 0
    assert np.isfinite(scale.low)


@given(low=st.floats(-1e9, 1e9), contrast=st.floats(1e-6, 1e9), place=st.floats(0, 1))
def test_the_span_above_a_level_is_a_power_of_2(low, contrast, place):
    """To the last digit; the smallest that is not less than before, and at the level."""
    before = IntensityRange(low, low + max(contrast, 1e-8 * abs(low)))
    dark = low + place * before.span
    after = before.above(dark)
    assert math.frexp(after.span)[0] == 0.5
    assert before.span <= after.span < 2 * before.span
    assert abs(after.low - dark) <= 1e-6 * after.span
    assert after.above(after.low) == after


@given(power=st.integers(-20, 20), low=st.floats(-100, 100), span=st.floats(0.1, 100))
def test_ranges_above_levels_follow_powers_of_2(power, low, span):
    """What a network without biases makes of the images is then the same to the last digit."""
    factor = 2.0**power
    plain = IntensityRange(low, low + span).above(low)
    scaled = IntensityRange(factor * low, factor * (low + span)).above(factor * low)
    assert (scaled.low, scaled.high) == (factor * plain.low, factor * plain.high)


# Dark levels -------------------------------------------------------------------------------


def dark_frame(shape=(200, 200), seed=0, std=5.0):
    """A camera's dark level of 100 with a bright object in the middle of the frame."""
    image = np.random.default_rng(seed).normal(100, std, shape)
    image[60:140, 60:140] += 800
    return image


def test_the_dark_level_is_that_without_noise():
    for std in (0.0, 1.0, 20.0):
        # The darkest of the means of 16 pixels each.
        assert dark_level([dark_frame(std=std)]) == pytest.approx(100, abs=0.8 * std + 1e-9)


@pytest.mark.parametrize("value", [65000, -65000], ids=["hot", "dead"])
def test_single_pixels_do_not_shift_the_dark_level(value):
    """Neither hot ones in many blocks nor dead ones in a few."""
    image, rng = dark_frame(), np.random.default_rng(1)
    count = 400 if value > 0 else 5
    plain = dark_level([image])
    image.ravel()[rng.choice(image.size, count, replace=False)] = value
    assert dark_level([image]) == pytest.approx(plain, abs=1)


@pytest.mark.parametrize("others", [1, 11])
def test_a_flash_does_not_shift_the_dark_level(others):
    frames = [dark_frame(seed=seed) for seed in range(others)]
    plain = dark_level(frames)
    assert dark_level([*frames, dark_frame(seed=99) + 5000]) == pytest.approx(plain, abs=1)


@given(low=st.floats(-1e4, 1e4), contrast=st.floats(0.01, 1e4), seed=st.integers(0, 20))
def test_the_dark_level_follows_the_units_of_the_image(low, contrast, seed):
    image = np.random.default_rng(seed).random((41, 43))
    expected = low + contrast * dark_level([image])
    assert dark_level([low + contrast * image]) == pytest.approx(expected, abs=1e-9 * 1e4)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "uint64", "float32", "float64"])
def test_the_dark_level_is_the_same_of_all_dtypes(dtype):
    image = np.rint(dark_frame(std=2).clip(0, 120))
    assert dark_level([image.astype(dtype)]) == pytest.approx(dark_level([image]))


@pytest.mark.parametrize("step", [2, 3, 4, 7])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_unknown_pixels_do_not_shift_the_dark_level(value, step):
    """Even if every block has some of them, of either sign."""
    image = dark_frame()
    plain = dark_level([image])
    image[::step, ::step] = value
    image[0, 1] = -value
    assert dark_level([image]) == pytest.approx(plain, abs=1)


def test_of_hardly_known_blocks_nothing_is_concluded():
    """A single pixel left of a block is as dark as its noise."""
    image = dark_frame()
    plain = dark_level([image])
    image[:40] = np.nan
    image[::4, ::4][:10] = 80
    assert dark_level([image]) == pytest.approx(plain, abs=1)


@pytest.mark.parametrize("shape", [(3, 50), (50, 2), (1, 1), (0, 5)])
def test_images_without_a_block_have_a_dark_level(shape):
    assert dark_level([np.full(shape, 7, np.uint8)]) == (7 if 0 not in shape else 0)
    assert dark_level([np.full(shape, np.nan)]) == 0
    assert dark_level([]) == 0


# Layouts -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "axis", "message"),
    [
        ((5,), None, "at least 2 axes"),
        ((5, 5), 0, "at least 3 axes"),
        ((5, 5, 5), 3, "between -3 and 2"),
        ((5, 5, 5), -4, "between -3 and 2"),
    ],
)
def test_impossible_layouts_are_refused(shape, axis, message):
    with pytest.raises(ValueError, match=message):
        PlaneLayout(shape, axis)
