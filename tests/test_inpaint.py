import dask.array as da
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data

import napari_rednet as nr
from napari_rednet.engine.inpainting import fill_holes
from napari_rednet.restoration.inpaint import inpaint_steps
from tests.conftest import psnr, small_model

MODEL = small_model("inpaint")


def random_mask(shape, share=0.4, seed=0):
    return np.random.default_rng(seed).random(shape) < share


def guess(image, mask):
    values, known = (torch.from_numpy(x / 1.0)[None, None] for x in (image, ~mask))
    return fill_holes(values, known)[0, 0].numpy()


def test_filled_is_better_than_the_guess():
    clean = data.camera()
    mask = random_mask(clean.shape, 0.5)
    filled = nr.inpaint(np.where(mask, 0, clean), mask)
    assert psnr(clean, filled) > psnr(clean, guess(clean, mask)) + 1


def images(camera):
    """Images whose pixels all need their bits."""
    rng = np.random.default_rng(1)
    yield camera
    yield rng.integers(0, 65536, camera.shape, np.uint16)
    yield 2**60 + rng.integers(-(2**40), 2**40, camera.shape)
    yield rng.integers(-(2**15), 2**15, camera.shape).astype(">i2")
    yield rng.normal(1e3, 1e-3, camera.shape)
    yield rng.normal(size=camera.shape).astype(np.float32)
    holed = rng.normal(size=camera.shape)
    holed[5:90, 7] = np.nan
    holed[30, 20:22] = [np.inf, -np.inf]
    yield holed


@pytest.mark.parametrize("which", range(7))
def test_known_pixels_stay_bit_by_bit(which, camera):
    image = list(images(camera))[which]
    mask = random_mask(image.shape)
    filled = nr.inpaint(image, mask, model=MODEL)
    assert filled.dtype == image.dtype
    assert filled[~mask].tobytes() == image[~mask].tobytes()
    finite = image[~mask][np.isfinite(image[~mask])].astype(float)
    assert np.isfinite(filled[mask]).all()
    span = np.ptp(finite)
    assert np.abs(filled[mask].astype(float) - finite.mean()).max() < 3 * span


def test_values_under_the_mask_do_not_matter(camera):
    image = camera / 1.0
    mask = random_mask(image.shape)
    expected = nr.inpaint(image, mask, model=MODEL)
    for other in (0, 1e30, -1e300, np.nan, np.inf):
        found = nr.inpaint(np.where(mask, other, image), mask, model=MODEL)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("other", [0, 255])
def test_integers_under_the_mask_do_not_matter(other, camera):
    mask = random_mask(camera.shape)
    found = nr.inpaint(np.where(mask, np.uint8(other), camera), mask, model=MODEL)
    np.testing.assert_array_equal(found, nr.inpaint(camera, mask, model=MODEL))


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.uint16])
def test_masks_may_be_labels(dtype, camera):
    mask = random_mask(camera.shape)
    labels = mask * np.random.default_rng(0).integers(1, 99, mask.shape).astype(dtype)
    expected = nr.inpaint(camera, mask, model=MODEL)
    np.testing.assert_array_equal(nr.inpaint(camera, labels, model=MODEL), expected)


def test_masks_may_be_lists():
    filled = nr.inpaint([[1.0, 2.0], [3.0, 99.0]], [[0, 0], [0, 1]], model=MODEL)
    assert filled[0].tolist() == [1, 2]
    assert filled[1, 1] != 99


def stack(camera):
    """(T, C, Y, X)"""
    planes = [camera, camera[::-1], camera[:, ::-1], camera // 2, camera // 3, 255 - camera]
    return np.stack(planes).reshape(3, 2, *camera.shape)[..., :50, :60]


@pytest.mark.parametrize("form", ["plane", "time", "full", "channel", "frame"])
def test_a_mask_may_leave_out_axes(form, camera):
    image = stack(camera)
    mask = {
        "plane": random_mask((50, 60)),
        "time": random_mask((3, 50, 60)),
        "full": random_mask((3, 2, 50, 60)),
        "channel": random_mask((1, 2, 50, 60)),
        "frame": random_mask((3, 1, 50, 60)),
    }[form]
    whole = np.broadcast_to(mask[:, None] if form == "time" else mask, image.shape)
    filled = nr.inpaint(image, mask, model=MODEL, channel_axis=1)
    np.testing.assert_array_equal(filled[~whole], image[~whole])
    np.testing.assert_array_equal(filled, nr.inpaint(image, whole, model=MODEL, channel_axis=1))


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_channel_axis_can_be_anywhere(axis, camera):
    channels = np.stack([camera, camera[::-1] // 2])
    masks = random_mask(channels.shape)
    image, mask = np.moveaxis(channels, 0, axis), np.moveaxis(masks, 0, axis)
    filled = nr.inpaint(image, mask, model=MODEL, channel_axis=axis)
    for i, found in enumerate(np.moveaxis(filled, axis, 0)):
        alone = nr.inpaint(channels[i], masks[i], model=MODEL)
        np.testing.assert_array_equal(found, alone)


def test_planes_share_one_normalisation(camera):
    image = np.stack([camera / 1.0, camera / 20.0])
    mask = random_mask(camera.shape)
    together = nr.inpaint(image, mask, model=MODEL)[1]
    assert np.abs(together - nr.inpaint(image[1], mask, model=MODEL)).max() > 0.1


def test_an_empty_mask_returns_the_image(camera):
    filled = nr.inpaint(camera, np.zeros(camera.shape, bool), model=MODEL)
    np.testing.assert_array_equal(filled, camera)
    assert not np.shares_memory(filled, camera)


@settings(max_examples=20)
@given(
    height=st.integers(2, 90),
    width=st.integers(2, 90),
    share=st.sampled_from([0.1, 0.6, 0.95]),
    tile=st.integers(16, 100),
)
def test_tile_does_not_change_the_result(height, width, share, tile):
    image = np.random.default_rng(height).normal(100, 20, (height, width))
    mask = random_mask(image.shape, share)
    mask[0, 0] = False
    free = nr.inpaint(image, mask, model=MODEL)
    tiled = nr.inpaint(image, mask, model=MODEL, tile=tile)
    np.testing.assert_allclose(tiled, free, atol=1e-2)


def wide_hole():
    image = data.camera()[:230, :250]
    mask = np.zeros(image.shape, bool)
    mask[30:200, 40:215] = True
    return image, mask


def test_tile_does_not_change_a_wide_hole(exact):
    image, mask = wide_hole()
    free = nr.inpaint(image / 1.0, mask, model=MODEL)
    tiled = nr.inpaint(image / 1.0, mask, model=MODEL, tile=48)
    np.testing.assert_allclose(tiled, free, atol=1e-3)


def test_wide_holes_are_filled_with_something_plausible():
    image, mask = wide_hole()
    filled = nr.inpaint(image, mask)
    assert np.abs(filled[mask].mean() - image[~mask].mean()) < 40
    assert filled[mask].std() < 2 * image[~mask].std()


@pytest.mark.parametrize("axis", [None, 0, -1])
def test_dask_with_a_mask_equals_the_eager_result(exact, axis, camera):
    planes = np.stack([camera, camera[::-1] // 2])
    image = planes if axis is None else np.moveaxis(planes, 0, axis)
    mask = random_mask(image.shape)
    options = {"model": MODEL, "channel_axis": axis}
    expected = nr.inpaint(image, mask, **options)
    lazy = da.from_array(image, chunks=57)
    for cover in (mask, da.from_array(mask, chunks=41)):
        found = nr.inpaint(lazy, cover, **options)
        assert isinstance(found, da.Array)
        assert (found.shape, found.dtype) == (image.shape, image.dtype)
        np.testing.assert_array_equal(found.compute(), expected)
    np.testing.assert_array_equal(nr.inpaint(image, da.from_array(mask), **options), expected)


def test_dask_with_one_mask_for_all_planes(exact, camera):
    image, mask = stack(camera), random_mask((50, 60))
    expected = nr.inpaint(image, mask, model=MODEL, channel_axis=1)
    lazy = da.from_array(image, chunks=(1, 1, 30, 30))
    found = nr.inpaint(lazy, mask, model=MODEL, channel_axis=1)
    np.testing.assert_array_equal(found.compute(), expected)


def with_defects(shape=(3, 2, 60, 70)):
    """Photon noise with a hot pixel in each channel, and where it is."""
    image = np.random.default_rng(0).poisson(100.0, shape)
    mask = np.zeros(shape, bool)
    mask[:, 0, 20, 30] = mask[:, 1, 40, 8] = True
    return np.where(mask, 5000, image), mask


def test_without_a_mask_the_defects_are_filled():
    image, mask = with_defects()
    expected = nr.inpaint(image, mask, model=MODEL, channel_axis=1)
    np.testing.assert_array_equal(nr.inpaint(image, model=MODEL, channel_axis=1), expected)
    np.testing.assert_array_equal(nr.inpaint(image[0, 0]), nr.inpaint(image[0, 0], mask[0, 0]))


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_dask_without_a_mask_stays_lazy(exact, axis):
    image = np.moveaxis(with_defects()[0], 1, 1 if axis is None else axis)
    computed = []

    def remember(block):
        computed.append(block.shape)
        return block

    source = da.from_array(image, chunks=1 if image.ndim < 4 else (2, 1, 30, 30))
    source = source.map_blocks(remember, dtype=image.dtype, meta=np.empty((0,) * 4, image.dtype))
    lazy = nr.inpaint(source, model=MODEL, channel_axis=axis)
    assert isinstance(lazy, da.Array)
    assert computed == []
    expected = nr.inpaint(image, model=MODEL, channel_axis=axis)
    np.testing.assert_array_equal(lazy.compute(), expected)


def test_out_is_filled(camera, tmp_path):
    mask = random_mask(camera.shape)
    expected = nr.inpaint(camera, mask, model=MODEL)
    memmap = np.memmap(tmp_path / "out", np.uint8, "w+", shape=camera.shape)
    for image in (camera, da.from_array(camera, chunks=90)):
        for out in (np.empty_like(camera), memmap):
            assert nr.inpaint(image, mask, model=MODEL, out=out) is out
            np.testing.assert_array_equal(out, expected)


def test_input_and_mask_are_not_modified(camera):
    image, mask = camera / 1.0, random_mask(camera.shape)
    before = image.copy(), mask.copy()
    image.setflags(write=False)
    mask.setflags(write=False)
    nr.inpaint(image, mask, model=MODEL)
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(mask, before[1])


@pytest.mark.parametrize("shape", [(0, 0), (0, 5, 5), (3, 0, 7), (1, 1), (1, 7), (5, 1), (2, 3, 3)])
@pytest.mark.parametrize("has_mask", [False, True])
def test_empty_and_tiny_images_work(shape, has_mask):
    image = np.full(shape, 7, np.uint16)
    mask = np.zeros(shape, bool) if has_mask else None
    np.testing.assert_array_equal(nr.inpaint(image, mask, model=MODEL), image)


def test_constant_images_are_filled_with_their_constant():
    image = np.full((40, 50), 90, np.uint16)
    mask = random_mask(image.shape)
    np.testing.assert_allclose(nr.inpaint(np.where(mask, 0, image), mask), 90, atol=20)


def test_progress_grows_to_all_pixels(camera):
    seen = []
    nr.inpaint(
        np.stack([camera] * 2),
        random_mask(camera.shape),
        model=MODEL,
        tile=64,
        progress=lambda done, total: seen.append((done, total)),
    )
    done = [d for d, _ in seen]
    assert done == sorted(done)
    assert len(seen) > 6
    assert seen[-1] == (2 * camera.size, 2 * camera.size)


def test_ensemble_is_another_result(camera):
    mask = random_mask(camera.shape)
    single = nr.inpaint(camera, mask, model=MODEL)
    ensemble = nr.inpaint(camera, mask, model=MODEL, ensemble=True)
    np.testing.assert_array_equal(ensemble[~mask], camera[~mask])
    assert (ensemble != single).any()


IMAGE = np.ones((4, 2, 20, 30))
MASK = np.zeros((20, 30), bool)


def one_plane_covered():
    mask = np.zeros(IMAGE.shape, bool)
    mask[2, 1] = True
    return mask


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"mask": MASK.astype(float)}, TypeError, "mask must hold bool or integers, got float64"),
        ({"mask": "holes"}, TypeError, "mask must hold bool or integers"),
        (
            {"mask": np.zeros((20, 31), bool)},
            ValueError,
            r"shape \(20, 30\) or \(4, 20, 30\) or \(4, 2, 20, 30\), got \(20, 31\)",
        ),
        ({"mask": np.zeros((2, 20, 30), bool)}, ValueError, r"got \(2, 20, 30\)"),
        ({"mask": np.zeros((30, 20), bool)}, ValueError, r"got \(30, 20\)"),
        ({"mask": np.zeros((4, 2, 1, 30), bool)}, ValueError, r"got \(4, 2, 1, 30\)"),
        ({"mask": ~MASK}, ValueError, "mask covers the whole plane"),
        ({"mask": np.ones(IMAGE.shape, bool)}, ValueError, "mask covers at least one whole plane"),
        ({"mask": one_plane_covered()}, ValueError, "mask covers at least one whole plane"),
        ({"mask": da.ones((20, 30), dtype=bool)}, ValueError, "mask covers the whole plane"),
        ({"image": MASK}, TypeError, "image must hold .* inpaint takes masks"),
        ({"model": small_model("denoise")}, nr.ModelError, "for denoise, not for inpaint"),
        ({"tile": 4}, ValueError, "tile must be at least 16"),
        ({"out": np.ones((20, 30))}, ValueError, "out must have shape"),
    ],
)
def test_wrong_arguments_are_named_before_any_work(options, error, message):
    arguments = {"image": IMAGE, "mask": MASK, "channel_axis": 1, **options}
    with pytest.raises(error, match=message):
        inpaint_steps(**arguments)
