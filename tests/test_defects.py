import dask.array as da
import numpy as np
import pytest
from scipy import ndimage
from skimage import data

import napari_rednet as nr
from napari_rednet.masks import defects_of

OFFSET, ROW, COLUMN = 100, 77, 130


def frame(name="cell", seed=0):
    """A camera's frame: optics that blur, photon noise, an offset."""
    clean = ndimage.gaussian_filter(getattr(data, name)()[:240, :300].astype(float), 1.5)
    return OFFSET + np.random.default_rng(seed).poisson(clean).astype(np.uint16)


def hot_pixels(shape, count=60):
    mask = np.zeros(shape, bool)
    mask.flat[np.random.default_rng(5).choice(mask.size, count, replace=False)] = True
    return mask


@pytest.mark.parametrize("name", ["cell", "moon", "camera"])
def test_planted_defects_are_found_and_nothing_else(name):
    image = frame(name)
    hot = hot_pixels(image.shape)
    image[hot] += np.random.default_rng(6).integers(200, 3000, hot.sum()).astype(np.uint16)
    image[ROW] = OFFSET
    image[:, COLUMN] = OFFSET
    found = nr.find_defects(image)
    planted = hot.copy()
    planted[ROW], planted[:, COLUMN] = True, True
    assert found.dtype == bool
    assert found[planted].mean() > 0.98
    assert found[~planted].mean() < 0.002


@pytest.mark.parametrize("row", [0, 2, 237, 239])
def test_lines_at_the_border_are_found(row):
    image = frame("moon")
    image[row] += 40
    image[:, 299] = OFFSET
    found = nr.find_defects(image)
    assert np.flatnonzero(found.all(1)).tolist() == [row]
    assert np.flatnonzero(found.all(0)).tolist() == [299]
    assert found.sum() == 240 + 300 - 1


@pytest.mark.parametrize("value", [0, 5000])
def test_single_pixels_are_found_dead_or_hot(value):
    image = frame("moon")
    image[50, 60] = value
    assert np.argwhere(nr.find_defects(image)).tolist() == [[50, 60]]


@pytest.mark.parametrize("place", [(0, 0), (0, 40), (239, 299), (100, 299), (1, 1)])
def test_pixels_at_the_border_are_found(place):
    image = frame("moon")
    image[place] = 5000
    assert np.argwhere(nr.find_defects(image)).tolist() == [list(place)]


@pytest.mark.parametrize("name", ["coins", "camera", "moon", "cell", "text", "page"])
def test_photographs_have_few_defects(name):
    found = nr.find_defects(getattr(data, name)())
    assert found.mean() < 0.002
    assert not found.all(0).any()
    assert not found.all(1).any()


@pytest.mark.parametrize("name", ["cell", "moon", "camera", "coins"])
def test_frames_without_defects_have_next_to_none(name):
    assert nr.find_defects(frame(name)).mean() < 1e-4


def spots(dtype=np.uint16):
    """Sparse spots on a background that is cut off at 0."""
    rng = np.random.default_rng(0)
    image = np.zeros((200, 300))
    image[rng.integers(0, 200, 15), rng.integers(0, 300, 15)] = 1
    return np.rint(5000 * ndimage.gaussian_filter(image, 2)).astype(dtype)


def test_sparse_spots_are_no_defects():
    assert not nr.find_defects(spots()).any()


def test_a_hot_pixel_beside_sparse_spots_is_found():
    image = spots()
    image[3, 4] = 900
    assert np.argwhere(nr.find_defects(image)).tolist() == [[3, 4]]


def test_defects_persist_and_structures_do_not():
    """A point that is in one plane only may be a cosmic ray, or real."""
    stack = np.stack([frame("moon", seed) for seed in range(6)])
    stack[:, 50, 60] += 2000
    stack[2, 90, 90] += 2000
    stack[4, 20, 200] += 2000
    assert np.argwhere(nr.find_defects(stack)).tolist() == [[50, 60]]
    assert np.argwhere(nr.find_defects(stack[2])).tolist() == [[50, 60], [90, 90]]
    assert np.argwhere(defects_of([stack[2], stack[3]])).tolist() == [[50, 60], [90, 90]]


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_channels_have_defects_of_their_own(axis):
    channels = np.stack([[frame("moon", 2 * t + c) for c in range(2)] for t in range(3)])
    channels[:, 0, 50, 60] += 2000
    channels[:, 1, 90, 90] += 2000
    found = nr.find_defects(np.moveaxis(channels, 1, axis), channel_axis=axis)
    masks = np.moveaxis(found, axis, 1).reshape(2, 240, 300)
    assert np.argwhere(masks).tolist() == [[0, 50, 60], [1, 90, 90]]
    together = nr.find_defects(channels)
    assert together.shape == (240, 300)


def test_what_is_found_is_a_mask_for_inpaint():
    channels = np.stack([frame("moon", seed) for seed in range(2)])
    channels[0, 50, 60] += 2000
    found = nr.find_defects(channels, channel_axis=0)
    expected = nr.inpaint(channels, channel_axis=0)
    np.testing.assert_array_equal(nr.inpaint(channels, found, channel_axis=0), expected)
    assert np.argwhere(expected != channels).tolist() == [[0, 50, 60]]


def test_long_stacks_are_sampled():
    stack = np.broadcast_to(frame("moon"), (10_000, 240, 300))
    assert not nr.find_defects(stack).any()


def test_dask_stays_lazy():
    stack = np.stack([frame("moon", seed) for seed in range(3)])
    stack[:, 50, 60] += 2000
    computed = []

    def remember(block):
        computed.append(block.shape)
        return block

    lazy = da.from_array(stack, chunks=(1, 100, 100))
    lazy = lazy.map_blocks(remember, dtype=stack.dtype, meta=np.empty((0, 0, 0), stack.dtype))
    for axis in (None, 0):
        found = nr.find_defects(lazy, channel_axis=axis)
        assert isinstance(found, da.Array)
        assert computed == []
        np.testing.assert_array_equal(found.compute(), nr.find_defects(stack, channel_axis=axis))
        computed.clear()


@pytest.mark.parametrize("dtype", ["uint8", ">u2", "int32", "float32", "float64"])
def test_any_dtype_is_taken(dtype):
    image = (frame("moon") - OFFSET).clip(0, 200).astype(dtype)
    image[50, 60] = 255
    image[90, 90] = 0
    assert np.argwhere(nr.find_defects(image)).tolist() == [[50, 60], [90, 90]]


def test_pixels_that_are_not_finite_are_no_defects():
    image = frame("moon").astype(float)
    image[100:104, 50] = [np.nan, np.inf, -np.inf, np.nan]
    image[150:170, 200:220] = np.nan
    image[50, 60] += 2000
    image[103, 51] += 2000
    found = nr.find_defects(image)
    assert found[50, 60]
    assert found[103, 51]
    assert found.sum() == 2


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((40, 50)),
        np.full((40, 50), np.nan),
        np.full((1, 1), 5),
        np.arange(12).reshape(3, 4),
        np.add.outer(np.arange(50.0), 3 * np.arange(60.0)),
    ],
)
def test_flat_sloping_and_tiny_images_have_no_defects(image):
    assert not nr.find_defects(image).any()


@pytest.mark.parametrize(
    ("shape", "axis", "expected"),
    [
        ((0, 0), None, (0, 0)),
        ((0, 5, 6), None, (5, 6)),
        ((3, 0, 7), None, (0, 7)),
        ((0, 5, 6), 0, (0, 5, 6)),
        ((0, 5, 6, 2), -1, (1, 5, 6, 2)),
    ],
)
def test_empty_images_have_no_defects(shape, axis, expected):
    found = nr.find_defects(np.zeros(shape), channel_axis=axis)
    assert found.shape == expected
    assert not found.any()


def test_wrong_arguments_are_named():
    with pytest.raises(TypeError, match="image must hold"):
        nr.find_defects(np.zeros((5, 5), bool))
    with pytest.raises(ValueError, match="channel_axis must lie between"):
        nr.find_defects(np.zeros((5, 5)), channel_axis=2)
