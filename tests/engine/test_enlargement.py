import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import seeded

from napari_rednet.engine.degradations import resample
from napari_rednet.engine.resampling import enlarge, read_enlarged

SCALES = st.sampled_from([2, 3, 4])
SIDES = st.integers(1, 40)


def reader(image):
    return lambda rows, columns: image[rows, columns]


def whole(image, scale):
    """All of the enlarged plane."""
    rows, columns = (slice(0, scale * side) for side in image.shape)
    return read_enlarged(reader(image), image.shape, scale)(rows, columns)


@given(height=SIDES, width=SIDES, scale=SCALES)
def test_enlarged_is_resampled(height, width, scale):
    image = torch.rand((2, 1, height, width), generator=seeded(), dtype=torch.float64)
    expected = resample(image, (scale * height, scale * width))
    torch.testing.assert_close(enlarge(image, scale), expected)


@pytest.mark.parametrize("dtype", ["uint8", ">u2", "float32", "float64", "int64"])
def test_a_plane_is_enlarged_in_its_own_units(camera, dtype):
    image = camera[:40, :30].astype(dtype)
    expected = resample(torch.from_numpy(camera[:40, :30] / 1.0)[None, None], (120, 90))
    np.testing.assert_allclose(whole(image, 3), expected[0, 0], atol=1e-3)


@st.composite
def windows(draw):
    """A small shape, a scale, and a window of the enlarged plane."""
    shape, scale = (draw(SIDES), draw(SIDES)), draw(SCALES)
    starts = [draw(st.integers(0, scale * side - 1)) for side in shape]
    stops = [
        draw(st.integers(start + 1, scale * side))
        for start, side in zip(starts, shape, strict=True)
    ]
    return shape, scale, tuple(map(slice, starts, stops))


@given(windows())
def test_a_window_is_that_of_the_whole_to_the_last_digit(case):
    shape, scale, window = case
    image = np.random.default_rng(0).random(shape)
    part = read_enlarged(reader(image), shape, scale)(*window)
    np.testing.assert_array_equal(part, whole(image, scale)[window])


def test_little_more_than_the_window_is_read():
    seen = []

    def read(rows, columns):
        seen.append((rows.stop - rows.start, columns.stop - columns.start))
        return np.zeros(seen[-1])

    read_enlarged(read, (10_000, 10_000), 2)(slice(2000, 2100), slice(600, 800))
    assert seen[0][0] <= 50 + 20
    assert seen[0][1] <= 100 + 20


@settings(max_examples=25)
@given(case=windows(), seed=st.integers(0, 20))
def test_pixels_that_are_not_finite_become_as_many(case, seed):
    shape, scale, window = case
    rng = np.random.default_rng(seed)
    image = rng.random(shape)
    odd = rng.random(shape) < 0.1
    image[odd] = rng.choice([np.nan, np.inf, -np.inf], odd.sum())
    large = whole(image, scale)
    expected = np.kron(odd, np.ones((scale, scale), bool))
    np.testing.assert_array_equal(~np.isfinite(large), expected)
    repeated = image.repeat(scale, 0).repeat(scale, 1)
    np.testing.assert_array_equal(large[expected], repeated[expected])
    part = read_enlarged(reader(image), shape, scale)(*window)
    np.testing.assert_allclose(part, large[window], rtol=1e-6)


def test_pixels_that_are_not_finite_do_not_spread(camera):
    image = camera.astype(np.float64)
    holed = image.copy()
    holed[50, 60] = np.nan
    apart = np.abs(whole(holed, 2) - whole(image, 2))
    near = np.zeros(apart.shape, bool)
    near[2 * 48 : 2 * 53, 2 * 58 : 2 * 63] = True
    assert np.nanmax(apart[near]) < 30
    assert apart[~near].max() == 0
