import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.io.conftest import CAMERA, STACK, copied, written

from napari_rednet.io.ome_zarr import read_ome_zarr
from napari_rednet.io.ome_zarr.writing import block_means


def halved(values):
    """Means of 2 x 2 pixels, the last ones of odd axes of fewer, computed the plain way."""
    y, x = (n + n % 2 for n in values.shape[-2:])
    padded = np.full((*values.shape[:-2], y, x), np.nan)
    padded[..., : values.shape[-2], : values.shape[-1]] = values
    return np.nanmean(padded.reshape(*values.shape[:-2], y // 2, 2, x // 2, 2), (-3, -1))


def test_the_pyramid_is_made_of_block_means(tmp_path, version):
    levels = [STACK, STACK[..., ::2, ::2], STACK[..., ::4, ::4]]
    copied(written(tmp_path / "in.zarr", levels, "czyx", version=version), tmp_path / "out.zarr")
    group = zarr.open_group(tmp_path / "out.zarr", mode="r")
    for fine, coarse in (("0", "1"), ("1", "2")):
        means = halved(group[fine][...])
        assert group[coarse].shape == means.shape
        assert np.abs(group[coarse][...] - means).max() <= 0.5
        assert group[coarse].dtype == STACK.dtype


def test_a_pyramid_through_z_is_kept(tmp_path):
    levels = [STACK[0], STACK[0, ::2, ::3, ::3]]
    path = written(tmp_path / "in.zarr", levels, "zyx")
    again = copied(path, tmp_path / "out.zarr")
    assert again.factors == ((2, 3, 3),)
    coarse = zarr.open_array(tmp_path / "out.zarr" / "1", mode="r")
    assert coarse[0, 5, 7] == np.floor(STACK[0, :2, 15:18, 21:24].mean() + 0.5)
    assert coarse[1, 0, 0] == np.floor(STACK[0, 2:, :3, :3].mean() + 0.5)


def test_levels_that_leave_out_a_last_pixel_are_understood(tmp_path):
    fine = STACK[0, 0, :, :401]
    for shape, scales in (((150, 200), None), ((151, 201), None), ((150, 200), [[1, 1], [2, 2]])):
        coarse = fine[::2, ::2][: shape[0], : shape[1]]
        path = written(tmp_path / "in.zarr", [fine, coarse], "yx", scales=scales)
        assert read_ome_zarr(path).factors == ((2, 2),)
        assert copied(path, tmp_path / "out.zarr").levels == 2


def test_images_without_a_pyramid_get_one(tmp_path):
    wide = np.tile(CAMERA, (1, 3))[:101]
    path = written(tmp_path / "in.zarr", [wide], "yx", version="0.5")
    again = copied(path, tmp_path / "out.zarr")
    assert again.factors == ((2, 2), (2, 2))
    assert copied(tmp_path / "out.zarr", tmp_path / "again.zarr").factors == again.factors


def test_small_images_need_no_pyramid(tmp_path):
    path = written(tmp_path / "in.zarr", [CAMERA], "yx", version="0.5")
    assert copied(path, tmp_path / "out.zarr").levels == 1


@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    factors=st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4)),
    dtype=st.sampled_from(["uint8", "int16", "uint64", "int64", "bool", "float32", "float16"]),
)
@settings(max_examples=40)
def test_block_means_are_the_means_of_their_blocks(shape, factors, dtype):
    values = np.random.default_rng(0).integers(0, 256, (*shape, 8), np.uint8)
    values = (values[..., 0] % 2 if dtype == "bool" else values[..., 0]).astype(dtype)
    means = block_means(values, factors)
    assert means.dtype == values.dtype
    for index in np.ndindex(means.shape):
        block = values[
            tuple(slice(i * f, (i + 1) * f) for i, f in zip(index, factors, strict=True))
        ]
        off = 0.5 if means.dtype.kind in "biu" else 0.13
        assert abs(float(means[index]) - block.mean(dtype=float)) <= off


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint64", "int64", "float16"])
def test_block_means_of_extreme_values_do_not_overflow(dtype):
    limits = np.finfo(dtype) if dtype == "float16" else np.iinfo(dtype)
    for extreme in (limits.min, limits.max):
        means = block_means(np.full((3, 17, 19), extreme, dtype), (2, 16, 16))
        assert (means == extreme).all()


def test_what_is_not_finite_spoils_only_its_block():
    values = CAMERA.astype(np.float32)
    values[0, 0], values[0, 1], values[100, 100] = np.inf, -np.inf, np.nan
    means = block_means(values, (2, 2))
    assert np.argwhere(~np.isfinite(means)).tolist() == [[0, 0], [50, 50]]
