import warnings

import dask.array as da
import numpy as np
import pytest
from skimage import data

import napari_rednet as nr
from tests.conftest import small_model

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
