import dask.array as da
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data

import napari_rednet as nr
from napari_rednet.engine.resampling import enlarge
from napari_rednet.restoration.super_resolve import super_resolve_steps
from tests.conftest import idle_model, psnr, small_model

MODEL = small_model("super_resolve")


def bicubic(plane, scale):
    large = enlarge(torch.from_numpy(np.asarray(plane, float))[None, None], scale)
    return large[0, 0].numpy()


def smaller(plane, scale):
    """A plane as the networks are trained to enlarge it."""
    size = (plane.shape[1] // scale, plane.shape[0] // scale)
    image = Image.fromarray(plane.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    return np.asarray(image)


@pytest.fixture
def exact(monkeypatch):
    """Computing in float32, where results are compared to the last digits."""
    monkeypatch.setattr("napari_rednet.engine.inference.fast_dtype", lambda device: torch.float32)


def test_enlarged_is_better_than_bicubic():
    clean = data.camera()
    small = smaller(clean, 2)
    assert psnr(clean, nr.super_resolve(small, 2)) > psnr(clean, bicubic(small, 2)) + 0.5


@pytest.mark.parametrize("scale", [2, 3, 4, 3.0, np.int64(4)])
def test_planes_grow_and_nothing_else_does(scale, camera):
    stack = np.stack([camera, camera[::-1]])[:, None, :21, :16]
    large = nr.super_resolve(stack, scale, model=MODEL)
    assert large.shape == (2, 1, 21 * scale, 16 * scale)
    assert large.dtype == stack.dtype


def test_two_is_the_usual_scale(camera):
    assert nr.super_resolve(camera[:20, :30], model=MODEL).shape == (40, 60)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_what_an_idle_network_leaves_is_bicubic(scale, camera):
    image = 1000 + 3.0 * camera[:30, :41]
    large = nr.super_resolve(image, scale, model=idle_model("super_resolve"))
    np.testing.assert_allclose(large, bicubic(image, scale), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float16", "float32", ">u2", ">f4"])
def test_dtype_and_units_are_kept(dtype, camera):
    image = camera[:40, :30].astype(dtype)
    large = nr.super_resolve(image, 2, model=MODEL)
    reference = nr.super_resolve(image.astype(float), 2, model=MODEL)
    info = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else None
    expected = reference if info is None else reference.clip(info.min, info.max)
    assert large.dtype == dtype
    np.testing.assert_allclose(large, expected, atol=0.6)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    scale=st.sampled_from([2, 3, 4]),
    tile=st.integers(16, 100),
)
@example(height=34, width=34, scale=4, tile=17)
def test_tile_does_not_change_the_result(exact, height, width, scale, tile):
    image = np.random.default_rng(height).normal(100, 20, (height, width))
    free = nr.super_resolve(image, scale, model=MODEL)
    tiled = nr.super_resolve(image, scale, model=MODEL, tile=tile)
    np.testing.assert_allclose(tiled, free, atol=1e-3)


def test_in_bfloat16_tile_changes_no_more_than_a_rounding(monkeypatch):
    """Other widths may be summed in another order, which seldom flips a rounding."""
    monkeypatch.setattr("napari_rednet.engine.inference.fast_dtype", lambda _: torch.bfloat16)
    image = np.random.default_rng(34).normal(100, 20, (34, 34))
    free = nr.super_resolve(image, 4, model=MODEL)
    tiled = nr.super_resolve(image, 4, model=MODEL, tile=17)
    assert np.abs(tiled - free).max() < 2**-8 * np.ptp(image)
    assert (np.abs(tiled - free) > 1e-3).mean() < 0.01


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1), (2, 3, 3), (0, 0), (0, 5, 5), (3, 0, 7)])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_empty_and_tiny_images_work(shape, dtype):
    large = nr.super_resolve(np.full(shape, 7, dtype), 3)
    assert large.shape == (*shape[:-2], 3 * shape[-2], 3 * shape[-1])
    assert large.dtype == dtype
    np.testing.assert_allclose(large, 7, atol=1)


def test_a_constant_plane_of_a_stack_stays_constant(camera):
    stack = np.stack([camera[:40, :40], np.full((40, 40), 90, np.uint8)])
    large = nr.super_resolve(stack, 2)
    np.testing.assert_allclose(large[1], 90, atol=3)


def test_a_dark_plane_comes_out_of_a_stack_as_it_does_alone(camera, exact):
    """A network without biases does not depend on the range that planes share."""
    stack = np.stack([camera / 1.0, camera / 20.0])[:, :40, :40]
    alone = nr.super_resolve(stack[1], 2, model=MODEL)
    together = nr.super_resolve(stack, 2, model=MODEL)[1]
    np.testing.assert_allclose(together, alone, atol=1e-3)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_channel_axis_can_be_anywhere(axis, camera):
    channels = np.stack([camera[:30, :20], camera[60:90, :20] // 3])
    image = np.moveaxis(channels, 0, axis)
    large = nr.super_resolve(image, 2, model=MODEL, channel_axis=axis)
    assert large.shape == np.moveaxis(np.zeros((2, 60, 40)), 0, axis).shape
    for channel, found in zip(channels, np.moveaxis(large, axis, 0), strict=True):
        np.testing.assert_array_equal(found, nr.super_resolve(channel, 2, model=MODEL))


def rgb_image(alpha=False, dtype=float):
    image = data.astronaut()[90:120, 200:240].astype(dtype)
    if not alpha:
        return image
    return np.concatenate([image, image[..., :1][::-1]], -1)


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("has_alpha", [False, True])
def test_only_the_luminance_of_colours_is_restored(scale, has_alpha):
    image = rgb_image(has_alpha)
    large = nr.super_resolve(image, scale, model=MODEL, rgb=True)
    assert large.shape == (30 * scale, 40 * scale, image.shape[-1])
    chroma = [image[..., i] - image[..., 1] for i in (0, 2)]
    for i, difference in zip((0, 2), chroma, strict=True):
        found = large[..., i] - large[..., 1]
        np.testing.assert_allclose(found, bicubic(difference, scale), atol=1e-8)
    weights = np.array([0.299, 0.587, 0.114])
    expected = nr.super_resolve(image[..., :3] @ weights, scale, model=MODEL)
    np.testing.assert_allclose(large[..., :3] @ weights, expected, atol=1e-3)
    if has_alpha:
        np.testing.assert_allclose(large[..., 3], bicubic(image[..., 3], scale), atol=1e-8)


def test_eight_bit_colours_are_rounded():
    exact = nr.super_resolve(rgb_image(), 2, model=MODEL, rgb=True)
    found = nr.super_resolve(rgb_image(dtype=np.uint8), 2, model=MODEL, rgb=True)
    assert found.dtype == np.uint8
    np.testing.assert_allclose(found, exact.clip(0, 255), atol=0.6)


def test_colours_may_lie_on_another_axis():
    image = rgb_image()
    last = nr.super_resolve(np.stack([image, image[::-1]]), 2, model=MODEL, rgb=True)
    first = np.moveaxis(np.stack([image, image[::-1]]), -1, 0)
    found = nr.super_resolve(first, 2, model=MODEL, rgb=True, channel_axis=0)
    np.testing.assert_array_equal(np.moveaxis(found, 0, -1), last)


def test_pixels_that_are_not_finite_stay_and_do_not_spread(exact, camera):
    image = camera[:60, :50].astype(np.float32)
    holed = image.copy()
    holed[20:23, 30] = [np.nan, np.inf, -np.inf]
    large = nr.super_resolve(holed, 2, model=MODEL)
    repeated = holed.repeat(2, 0).repeat(2, 1)
    odd = ~np.isfinite(repeated)
    np.testing.assert_array_equal(large[odd], repeated[odd])
    assert np.isfinite(large[~odd]).all()
    expected = nr.super_resolve(image, 2, model=MODEL)
    near = np.zeros(odd.shape, bool)
    near[8:80, 25:100] = True
    np.testing.assert_allclose(large[~near], expected[~near], atol=0.5)
    assert np.abs(large - expected)[near & ~odd].mean() < 10


def test_a_colour_that_is_not_finite_stays_alone():
    image = rgb_image()
    image[10, 12, 2] = np.nan
    large = nr.super_resolve(image, 2, model=MODEL, rgb=True)
    assert np.argwhere(np.isnan(large)).min(0).tolist() == [20, 24, 2]
    assert np.isnan(large).sum() == 4


def test_input_is_not_modified(camera):
    camera = camera.copy()
    before = camera.copy()
    camera.setflags(write=False)
    nr.super_resolve(camera, 2, model=MODEL)
    np.testing.assert_array_equal(camera, before)


def test_strided_images_work(camera):
    view = np.asfortranarray(camera)[::-1, ::3][:40]
    expected = nr.super_resolve(np.ascontiguousarray(view), 2, model=MODEL)
    np.testing.assert_array_equal(nr.super_resolve(view, 2, model=MODEL), expected)


def test_out_is_filled(camera, tmp_path):
    stack = np.stack([camera[:30, :40]] * 2)
    expected = nr.super_resolve(stack, 3, model=MODEL)
    memmap = np.memmap(tmp_path / "out", np.uint8, "w+", shape=expected.shape)
    for out in (np.empty_like(expected), memmap):
        assert nr.super_resolve(stack, 3, model=MODEL, out=out) is out
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize(("axis", "rgb"), [(None, False), (0, False), (-1, False), (-1, True)])
def test_dask_stays_lazy_and_equals_the_eager_result(exact, axis, rgb, camera):
    stack = np.stack([camera, camera[::-1] // 2, camera[:, ::-1]])[:, :40, :50]
    image = stack if axis is None else np.moveaxis(stack, 0, axis)
    computed = []

    def remember(block):
        computed.append(block.shape)
        return block

    source = da.from_array(image, chunks=17)
    source = source.map_blocks(remember, dtype=image.dtype, meta=np.empty((0, 0, 0), np.uint8))
    options = {"model": MODEL, "channel_axis": axis, "rgb": rgb}
    lazy = nr.super_resolve(source, 2, **options)
    expected = nr.super_resolve(image, 2, **options)
    assert isinstance(lazy, da.Array)
    assert computed == []
    assert (lazy.shape, lazy.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_array_equal(lazy.compute(), expected)


def test_dask_into_out(camera):
    image = camera[:40, :50] / 1.0
    out = np.zeros((80, 100))
    lazy = da.from_array(image, chunks=30)
    assert nr.super_resolve(lazy, 2, model=MODEL, out=out) is out
    np.testing.assert_allclose(out, nr.super_resolve(image, 2, model=MODEL), atol=1e-3)


@pytest.mark.parametrize("rgb", [False, True])
def test_progress_grows_to_all_pixels_of_the_result(rgb):
    seen = []
    image = rgb_image()
    result = nr.super_resolve(
        image,
        2,
        model=MODEL,
        channel_axis=-1,
        rgb=rgb,
        tile=32,
        progress=lambda done, total: seen.append((done, total)),
    )
    done = [d for d, _ in seen]
    assert done == sorted(done)
    assert len(seen) > 3
    assert seen[-1] == (result.size, result.size)


def test_ensemble_is_another_result(camera):
    single = nr.super_resolve(camera[:30, :30], 2, model=MODEL)
    ensemble = nr.super_resolve(camera[:30, :30], 2, model=MODEL, ensemble=True)
    assert ensemble.shape == single.shape
    assert (ensemble != single).any()


IMAGE = np.ones((20, 20))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"scale": 0}, ValueError, "scale must be 2, 3 or 4, got 0"),
        ({"scale": 1}, ValueError, "scale must be 2, 3 or 4, got 1"),
        ({"scale": 5}, ValueError, "scale must be 2, 3 or 4, got 5"),
        ({"scale": 2.5}, ValueError, r"scale must be 2, 3 or 4, got 2\.5"),
        ({"scale": np.nan}, ValueError, "scale must be 2, 3 or 4, got nan"),
        ({"scale": True}, TypeError, "scale must be 2, 3 or 4, got bool"),
        ({"scale": "2"}, TypeError, "scale must be 2, 3 or 4, got str"),
        ({"scale": None}, TypeError, "scale must be 2, 3 or 4, got NoneType"),
        ({"image": IMAGE > 0}, TypeError, "image must hold .* got bool"),
        ({"image": np.ones(5)}, ValueError, "at least 2 axes"),
        ({"rgb": "yes"}, TypeError, "rgb must be True or False"),
        ({"rgb": True}, ValueError, "at least 3 axes"),
        ({"rgb": True, "image": np.ones((9, 9, 2))}, ValueError, "rgb needs 3 channels, .* got 2"),
        (
            {"rgb": True, "image": np.ones((3, 9, 9)), "channel_axis": 0.5},
            TypeError,
            "channel_axis must be an integer",
        ),
        ({"model": small_model("denoise")}, nr.ModelError, "for denoise, not for super_resolve"),
        ({"model": "denoise-fast"}, nr.ModelError, "for denoise, not for super_resolve"),
        ({"tile": 4}, ValueError, "tile must be at least 16"),
        ({"out": np.ones((20, 20))}, ValueError, r"out must have shape \(40, 40\)"),
        ({"out": np.ones((40, 40), int)}, ValueError, "out must have the image's dtype"),
    ],
)
def test_wrong_arguments_are_named_before_any_work(options, error, message):
    arguments = {"image": IMAGE, "scale": 2, **options}
    with pytest.raises(error, match=message):
        super_resolve_steps(**arguments)
