"""Arguments that are no sensible numbers: right values, or an error that names the argument."""

import sys
from decimal import Decimal
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from scipy import ndimage
from skimage import data
from skimage.metrics import structural_similarity

import napari_rednet as nr
from napari_rednet.quality import score
from tests.conftest import small_model

MODELS = {task: small_model(task) for task in ("denoise", "super_resolve", "deblock", "inpaint")}
IMAGE = np.random.default_rng(0).random((20, 24))
BEADS = ndimage.gaussian_filter(np.pad([[[1e4]]], ((4, 4), (20, 20), (20, 20))), 1.5)
POINT = nr.psf.gaussian(1)
ABSURD = [
    10**400, -(10**400), 10**5000, 1e308, 1e-320, sys.float_info.min, 2**70, -(2**70),
    np.float32(3e38), np.int64(2**62), Fraction(10**400, 3), Decimal("1e400"), np.nan, np.inf,
    True, None, "x", [], np.array([1, 2]), 1j, b"x", np.longdouble("1e4000"),
    np.datetime64("2020"),
]  # fmt: skip


def denoise(**options):
    return nr.denoise(IMAGE, **{"noise": 0.1, "model": MODELS["denoise"], **options})


def deblur(psf=POINT, **options):
    return nr.deblur(IMAGE, psf, iterations=2, model=MODELS["denoise"], **options)


MICROSCOPE = {
    "numerical_aperture": 0.8, "wavelength": 0.5, "pixel_size": 0.2, "z_step": 0.6,
    "refractive_index": 1.3, "planes": 3, "excitation": 0.45, "pinhole": 1.0,
}  # fmt: skip


def volume(name, value):
    """Sums of the PSFs of a widefield and of a confocal microscope."""
    told = {**MICROSCOPE, name: value}
    confocal = nr.psf.confocal3d(**told).sum()
    del told["excitation"], told["pinhole"]
    return confocal + nr.psf.widefield3d(**told).sum()


def doubt(**options):
    return nr.quality.uncertainty(IMAGE, lambda image: image, noise=0.1, **options)


def told(**noise):
    return nr.NoiseModel(**noise)


CALLS = {
    "noise": lambda v: denoise(noise=v),
    "noise of a channel": lambda v: nr.denoise(
        IMAGE[None], noise=[v], channel_axis=0, model=MODELS["denoise"]
    ),
    "strength": lambda v: denoise(strength=v),
    "tile": lambda v: denoise(tile=v),
    "memory": lambda v: denoise(memory=v),
    "memory in words": lambda v: denoise(memory=f"{v!s:.40}GB"),
    "channel_axis": lambda v: denoise(channel_axis=v),
    "along": lambda v: nr.denoise(IMAGE[None], noise=0.1, along=v, model=MODELS["denoise"]),
    "device": lambda v: denoise(device=v),
    "dtype": lambda v: denoise(dtype=v),
    "rgb": lambda v: denoise(rgb=v),
    "ensemble": lambda v: denoise(ensemble=v),
    "defects": lambda v: denoise(defects=v),
    "model": lambda v: denoise(model=v),
    "out": lambda v: denoise(out=v),
    "gain": lambda v: denoise(noise=told(gain=v)),
    "offset": lambda v: denoise(noise=told(gain=1.0, offset=v)),
    "read_noise": lambda v: denoise(noise=told(read_noise=v)),
    "grain_y": lambda v: denoise(noise=told(read_noise=0.1, grain_y=v)),
    "scale": lambda v: nr.super_resolve(IMAGE, v, model=MODELS["super_resolve"]),
    "mask": lambda v: nr.inpaint(IMAGE, v, model=MODELS["inpaint"]),
    "psf": deblur,
    "values of a psf": lambda v: deblur(np.full((3, 3), v)),
    "center": lambda v: deblur(center=v),
    "iterations": lambda v: nr.deblur(IMAGE, POINT, iterations=v, model=MODELS["denoise"]),
    "noise to deblur": lambda v: deblur(noise=v),
    "strength to deblur": lambda v: deblur(noise=0.1, strength=v),
    "grain_x to deblur": lambda v: deblur(noise=told(read_noise=0.1, grain_x=v)),
    "gain to deblur": lambda v: deblur(noise=told(gain=v)),
    "gaussian": nr.psf.gaussian,
    "disk": nr.psf.disk,
    "motion": nr.psf.motion,
    "angle": lambda v: nr.psf.motion(3, v),
    "numerical_aperture": lambda v: nr.psf.widefield(v, 0.5, 0.1),
    "wavelength": lambda v: nr.psf.widefield(1.0, v, 0.1),
    "pixel_size": lambda v: nr.psf.widefield(1.0, 0.5, v),
    **{f"{name} in 3-D": partial(volume, name) for name in MICROSCOPE},
    "size": lambda v: nr.psf.from_beads(BEADS, v),
    "samples": lambda v: doubt(samples=v),
    "seed": lambda v: doubt(seed=v, samples=1),
    "data_range": lambda v: score(IMAGE, IMAGE + 0.1, data_range=v).psnr,
    "region": lambda v: nr.estimate_noise(IMAGE, region=v).read_noise,
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.filterwarnings("ignore:the noise, times its strength")
def test_absurd_arguments_are_refused_or_give_right_values(call):
    for value in ABSURD:
        found, told = 0.0, ""
        try:
            found = CALLS[call](value)
        except (TypeError, ValueError, nr.ModelError) as error:
            told = str(error)
        assert np.isfinite(found).all(), value
        assert "too large to convert" not in told, value


@pytest.mark.parametrize("size", [1e-320, 1e-30, 1e-3, 0.01])
@pytest.mark.parametrize("make", ["gaussian", "disk", "motion"])
def test_a_blur_that_is_too_small_to_be_seen_is_a_point(make, size):
    psf = getattr(nr.psf, make)(size)
    middle = tuple(n // 2 for n in psf.shape)
    assert psf[middle] == pytest.approx(1)
    assert psf.sum() == pytest.approx(1)
    assert psf.min() >= 0


def test_a_psf_that_no_image_has_is_refused_in_words():
    for make in (nr.psf.gaussian, nr.psf.disk, nr.psf.motion):
        with pytest.raises(ValueError, match="at most 500 pixels to each side"):
            make(1e9)


@pytest.mark.parametrize("scale", [1e-320, 1e-200, 1e300])
def test_a_psf_may_have_any_scale(scale):
    expected = deblur(POINT, noise=0.1)
    found = deblur(POINT / POINT.max() * scale, noise=0.1)
    np.testing.assert_allclose(found, expected, atol=0.02 if scale < 1e-300 else 1e-6)


@pytest.mark.parametrize("shape", [(10, 10), (3, 40), (40, 3), (1, 1), (5, 64)])
def test_small_planes_have_a_similarity(shape):
    clean = data.camera()[100 : 100 + shape[0], 200 : 200 + shape[1]].astype(float)
    noise = np.random.default_rng(0).normal(0, 1, shape)
    same, near, far = (
        score(clean + strength * noise, clean, data_range=255).ssim for strength in (0, 5, 50)
    )
    assert same == pytest.approx(1)
    assert 1 > near > far > -1


def test_the_similarity_of_a_small_plane_is_that_of_the_mirrored_one():
    """By scikit-image, on planes that have been mirrored by SciPy's rules."""
    rng = np.random.default_rng(0)
    clean, noisy = rng.random((7, 9)), rng.random((7, 9))
    rows, columns = (np.arange(-5, n + 5) for n in clean.shape)
    places = [
        ndimage.map_coordinates(np.arange(n, dtype=float), [index], order=0, mode="reflect").astype(
            int
        )
        for n, index in zip(clean.shape, (rows, columns), strict=True)
    ]
    wide = [plane[np.ix_(*places)] for plane in (clean, noisy)]
    _, similar = structural_similarity(
        *wide,
        data_range=1,
        full=True,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    expected = similar[5:-5, 5:-5].mean()
    assert score(noisy, clean, data_range=1).ssim == pytest.approx(expected)


def test_the_bands_of_a_large_plane_are_no_small_planes(monkeypatch):
    from napari_rednet.quality import scores

    clean = data.camera()[:140, :60].astype(float)
    noisy = clean + np.random.default_rng(0).normal(0, 20, clean.shape)
    whole = score(noisy, clean).ssim
    monkeypatch.setattr(scores, "_BAND_PIXELS", 1)  # bands of 64 rows, the last of 12
    assert score(noisy, clean).ssim == pytest.approx(whole)


@pytest.mark.filterwarnings("ignore:many pixels hold less than a photon")
@pytest.mark.parametrize("dtype", [">u2", ">i4", ">f4", ">f8"])
@pytest.mark.parametrize("verb", ["denoise", "super_resolve", "deblock", "inpaint", "deblur"])
def test_big_endian_arrays_give_the_same_lazily(verb, dtype):
    import dask.array as da

    image = (1000 * IMAGE).astype(dtype)
    mask = np.eye(20, 24) > 0
    more = {"deblur": (POINT,), "inpaint": (mask,)}.get(verb, ())
    options = {"iterations": 2} if verb == "deblur" else {}
    model = MODELS["denoise" if verb == "deblur" else verb]

    def restore(array, **also):
        return getattr(nr, verb)(array, *more, model=model, **options, **also)

    expected = restore(image)
    lazy = restore(da.from_array(image, chunks=10))
    assert lazy.dtype == expected.dtype
    found = lazy.compute()
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1)
    out = np.empty_like(expected)
    restore(da.from_array(image, chunks=10), out=out)
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1)
    native = restore(image.astype(image.dtype.newbyteorder("=")))
    np.testing.assert_allclose(found, native, rtol=1e-4, atol=1)
    assert nr.find_defects(da.from_array(image, chunks=10)).compute().dtype == bool
