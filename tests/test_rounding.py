import warnings

import dask.array as da
import numpy as np
import pytest
import tifffile
from skimage import data

import napari_rednet as nr
from napari_rednet.io import read_image
from tests.conftest import small_model
from tests.test_cli import call

TINY = small_model("denoise")
SCENE = data.camera()[100:228, 150:278] / 255


def counts(photons, offset=0):
    return (offset + np.random.default_rng(0).poisson(photons * SCENE)).astype(np.uint16)


def test_photons_that_integers_would_round_away_are_kept_in_floats():
    image = counts(0.3)
    with pytest.warns(UserWarning, match="dtype='float32'"):
        rounded = nr.denoise(image)
    restored = nr.denoise(image, dtype="float32")
    assert restored.dtype == np.float32
    assert restored.sum() == pytest.approx(image.sum(), rel=0.05)
    assert rounded.sum() < 0.8 * image.sum()


@pytest.mark.parametrize("image", [counts(30, offset=100), counts(100) + np.uint16(40)])
def test_images_of_many_photons_need_no_floats(image):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nr.denoise(image, model=TINY)
        nr.denoise(image.astype(float), noise=nr.NoiseModel(gain=1.0), model=TINY)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", ">i4"])
def test_the_dtype_is_the_one_asked_for(dtype):
    image = counts(60)
    plain = nr.denoise(image.astype(float), noise=8, model=TINY)
    found = nr.denoise(image, noise=8, model=TINY, dtype=dtype)
    assert found.dtype == np.dtype(dtype).newbyteorder("=")
    lowest = 0 if dtype == "uint8" else -np.inf
    is_integer = np.dtype(dtype).kind in "iu"
    np.testing.assert_allclose(found, plain.clip(lowest), atol=0.51 if is_integer else 1e-3)


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("name", ["out.tif", "out.zarr"])
def test_files_have_it_and_keep_what_describes_them(tmp_path, name):
    image = counts(60)
    source, model = tmp_path / "in.ome.tif", tmp_path / "tiny.safetensors"
    tifffile.imwrite(source, image, metadata={"axes": "YX", "PhysicalSizeX": 0.3})
    TINY.save(model)
    options = ("--noise", 8, "--model", model, "--dtype", "float32")
    code, text = call("denoise", source, tmp_path / name, *options)
    assert code == 0, text
    result = read_image(tmp_path / name)
    assert result.data.dtype == np.float32
    expected = nr.denoise(image, noise=8, model=TINY, dtype="float32")
    np.testing.assert_allclose(result.data[...], expected, atol=0.02)
    if name == "out.zarr":
        assert result.scale[1] == 0.3


def test_commands_warn_as_well(tmp_path):
    tifffile.imwrite(tmp_path / "in.tif", counts(0.3))
    code, text = call("denoise", tmp_path / "in.tif", tmp_path / "out.tif")
    assert code == 0
    assert "warning" in text
    assert "float32" in text
    code, text = call("denoise", tmp_path / "in.tif", tmp_path / "2.tif", "--dtype", "complex64")
    assert code == 1
    assert "dtype" in text


def test_deblur_has_it_too():
    image = counts(60)
    point = nr.psf.gaussian(1.0)
    options = {"noise": 8, "model": TINY, "iterations": 2}
    expected = nr.deblur(image.astype("float32"), point, **options)
    found = nr.deblur(image, point, dtype="float32", **options)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert nr.deblur(image, point, **options).dtype == np.uint16


def test_lazy_results_and_outputs_have_it_too():
    image = counts(60)
    expected = nr.denoise(image, noise=8, model=TINY, dtype="float32")
    lazy = nr.denoise(da.from_array(image), noise=8, model=TINY, dtype="float32")
    assert lazy.dtype == np.float32
    np.testing.assert_array_equal(lazy.compute(), expected)
    out = np.zeros(image.shape, np.float32)
    nr.denoise(image, noise=8, model=TINY, dtype="float32", out=out)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"dtype": "complex64"}, ValueError),
        ({"dtype": "no dtype"}, TypeError),
        ({"dtype": bool}, ValueError),
        ({"dtype": "float32", "out": np.zeros(SCENE.shape)}, ValueError),
    ],
)
def test_wrong_dtypes_are_named(options, error):
    with pytest.raises(error, match="dtype"):
        nr.denoise(counts(60), model=TINY, **options)
