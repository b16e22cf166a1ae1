import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_rednet.engine.images import PlaneLayout, from_network, to_network
from napari_rednet.engine.intensity import PERCENTILES, IntensityRange, measure_range


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
