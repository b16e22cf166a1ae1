"""Noise in the wrong unit; values far from 0, all but equal, tiny or huge."""

import math

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy import ma
from scipy import ndimage
from skimage import data

import napari_rednet as nr
from tests.conftest import few, small_model

MODELS = {task: small_model(task) for task in ("denoise", "super_resolve", "deblock", "inpaint")}
HOLES = np.random.default_rng(1).random((48, 56)) < 0.1
PSF = nr.psf.gaussian(1.0)
VERBS = {
    "denoise": lambda image, **more: nr.denoise(image, model=MODELS["denoise"], **more),
    "super_resolve": lambda image, **more: nr.super_resolve(
        image, 2, model=MODELS["super_resolve"], **more
    ),
    "deblock": lambda image, **more: nr.deblock(image, model=MODELS["deblock"], **more),
    "inpaint": lambda image, **more: nr.inpaint(image, HOLES, model=MODELS["inpaint"], **more),
    "deblur": lambda image, **more: nr.deblur(
        image, PSF, iterations=2, model=MODELS["denoise"], **more
    ),
}
NOISY = ("denoise", "deblur")
# Offset, factor (a power of 2, so that nothing depends on its digits) and dtype.
UNITS = {
    "float64 on 1e11": (1e11, 1.0, "f8"),
    "float64 on -1e14": (-1e14, 1.0, "f8"),
    "float32 on 2^23": (2.0**23, 1.0, "f4"),
    "int32 near its end": (2**31 - 600, 1, "i4"),
    "int64 on 2^50": (2**50, 1, "i8"),
    "int64 near its start": (-(2**63) + 600, 1, "i8"),
    "uint64 near 2^63": (2**63 - 100, 1, "u8"),
    "uint64 near its end": (2**64 - 600, 1, "u8"),
    "big-endian": (2**63 - 100, 1, ">u8"),
    "tiny float32": (0.0, 2.0**-130, "f4"),
    "tiny float64": (0.0, 2.0**-700, "f8"),
    "huge float32": (0.0, 2.0**118, "f4"),
    "huge float64": (0.0, 2.0**1000, "f8"),
}


def micrograph():
    noise = np.random.default_rng(0).normal(0, 8, (48, 56))
    return np.rint(20 + data.cell()[240:288, 240:296] + noise).clip(0, 255).astype(np.int64)


def in_units(image, unit):
    offset, factor, dtype = UNITS[unit]
    if np.dtype(dtype).kind == "f":
        return (offset + factor * image.astype(np.float64)).astype(dtype)
    return np.array([[offset + int(v) for v in row] for row in image], dtype=dtype)


def plain(image, unit):
    """Back, by Python's own exact numbers."""
    offset, factor, dtype = UNITS[unit]
    if np.dtype(dtype).kind == "f":
        return (image.astype(np.float64) - offset) / factor
    return np.array([[int(v) - offset for v in row] for row in image], dtype=float)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("unit", UNITS)
def test_results_follow_an_image_to_the_ends_of_its_dtype(verb, unit, exact):
    image = micrograph()
    more = {"noise": 8.0} if verb in NOISY else {}
    expected = VERBS[verb](image.astype(np.float64), **more)
    more = {"noise": 8.0 * UNITS[unit][1]} if verb in NOISY else {}
    found = VERBS[verb](in_units(image, unit), **more)
    assert found.dtype == UNITS[unit][2]
    grid = {"f8": 2.0**-5, "f4": 1.0}.get(UNITS[unit][2], 0.51)
    np.testing.assert_allclose(plain(found, unit), expected, atol=0.3 + grid)


@pytest.mark.parametrize("verb", NOISY)
@pytest.mark.parametrize("unit", UNITS)
def test_noise_is_found_at_the_ends_of_a_dtype(verb, unit, exact):
    expected = VERBS[verb](micrograph().astype(np.float64))
    found = VERBS[verb](in_units(micrograph(), unit))
    np.testing.assert_allclose(plain(found, unit), expected, atol=2)


@pytest.mark.parametrize("unit", UNITS)
def test_the_estimated_noise_is_in_units_of_the_image(unit):
    image = np.random.default_rng(0).normal(500, 20, (96, 96)).round().astype(np.int64)
    assert nr.estimate_noise(in_units(image - 400, unit)).read_noise == pytest.approx(
        UNITS[unit][1] * nr.estimate_noise(image.astype(float)).read_noise, rel=0.05
    )


@pytest.mark.parametrize("unit", ["uint64 near 2^63", "float64 on 1e11", "tiny float64"])
@pytest.mark.parametrize("verb", VERBS)
def test_lazy_and_masked_arrays_are_no_exception(verb, unit, exact):
    image = in_units(micrograph(), unit)
    expected = plain(VERBS[verb](image), unit)
    lazy = VERBS[verb](da.from_array(image, chunks=30)).compute()
    np.testing.assert_allclose(plain(lazy, unit), expected, atol=1)
    if unit.startswith("uint64"):  # masked pixels are NaN inside, which integers are not
        return
    masked = VERBS[verb](ma.MaskedArray(image, np.zeros(image.shape, bool)))
    np.testing.assert_allclose(plain(np.asarray(masked), unit), expected, atol=1)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("rgb", [False, True])
def test_channels_far_apart_do_not_disturb_each_other(verb, rgb, exact):
    if rgb and verb in ("inpaint", "deblur"):
        pytest.skip("has no colours")
    parts = [micrograph(), micrograph()[::-1], micrograph()[:, ::-1]]
    offsets = [1e13, 0.0, -1e12]
    near = np.stack(parts).astype(np.float64)
    far = np.stack([part + offset for part, offset in zip(parts, offsets, strict=True)])
    options = {"channel_axis": 0, **({"rgb": True} if rgb else {})}
    found = VERBS[verb](far, **options) - np.array(offsets)[:, None, None]
    apart = np.abs(found - VERBS[verb](near, **options))
    # A network sees other differences of colours, so that results are only alike.
    assert np.median(apart) < 3 if rgb else apart.max() < 0.6


CONSTANTS = {
    "u1": [0, 1, 100, 255],
    "u2": [7, 65535],
    "i8": [0, 2**50 + 1, -(2**63), 2**63 - 1],
    "u8": [2**63 + 1, 2**64 - 1],
    "f2": [0.1, 65504.0],
    "f4": [0.1, 1e-40, 3.4e38, -7.3],
    "f8": [0.1, 1e11 / 3, 5e-324, 1.7e308, -1e200 / 3],
    ">f4": [0.1],
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("dtype", "value"), [(dtype, value) for dtype, values in CONSTANTS.items() for value in values]
)
def test_constants_stay_constant_bit_by_bit(verb, dtype, value):
    image = np.full((48, 56), value, dtype)
    several = [{"noise": 3.0}, {"noise": nr.NoiseModel(gain=2.0)}, {}] if verb in NOISY else [{}]
    for more in several:
        found = VERBS[verb](image, **more)
        assert found.dtype == image.dtype
        assert (found == image[0, 0]).all()


@pytest.mark.parametrize("verb", ["denoise", "super_resolve", "deblock"])
@pytest.mark.parametrize("dtype", ["u1", "f4"])
def test_constant_colours_stay_bit_by_bit(verb, dtype):
    color = np.array([10.3, 200.1, 77.7]).astype(dtype)
    image = np.broadcast_to(color, (48, 56, 3)).copy()
    assert (VERBS[verb](image, rgb=True) == color).all()
    image[..., 1] += np.arange(56, dtype=dtype)
    found = VERBS[verb](image, rgb=True)
    assert np.isfinite(found).all()


def test_missing_pixels_of_a_constant_take_its_value():
    image = np.full((48, 56), 0.1)
    image[HOLES] = 1e5
    assert (VERBS["inpaint"](image) == 0.1).all()


@pytest.mark.parametrize("dtype", ["u1", "f2", "f4", "f8"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_wide_holes_of_a_constant_take_its_value(share, dtype):
    """Also those that a network fills on coarse levels first."""
    image = np.full((48, 56), 77, dtype)
    holes = np.random.default_rng(0).random(image.shape) < share
    found = nr.inpaint(image, holes, model=MODELS["inpaint"])
    assert (found == 77).all()


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_what_is_finite_stays_finite(verb, dtype):
    most = np.finfo(dtype).max
    image = np.where(micrograph() > 110, most, -most).astype(dtype)
    image[5, 5] = np.inf
    found = VERBS[verb](image)
    step = 2 if verb == "super_resolve" else 1
    assert np.isfinite(found).sum() == found.size - step**2


def roughness(image):
    return float(np.abs(np.diff(np.asarray(image, np.float64))).mean())


@pytest.mark.parametrize("verb", NOISY)
@pytest.mark.parametrize("options", [{}, {"rgb": True}])
@pytest.mark.filterwarnings("ignore:the noise, times its strength")
def test_noise_in_a_wrong_unit_leads_to_a_flat_image(verb, options):
    """The networks that come with the package: they had never seen such noise."""
    if options and verb == "deblur":
        pytest.skip("has no colours")
    image = (micrograph() / 255.0) ** 2
    image = np.stack([image, image[::-1], image[:, ::-1]], -1) if options else image
    restore = nr.denoise if verb == "denoise" else lambda one, **more: nr.deblur(one, PSF, **more)
    before = roughness(image)
    for noise in (0.5, 1.0, 3.0, 25.0, 1e3, 1e30, 1e200):
        found = restore(image, noise=noise, **options)
        assert roughness(found) <= before, noise
        assert found.min() >= image.min() - 0.1 * np.ptp(image), noise
        assert found.max() <= image.max() + 0.1 * np.ptp(image), noise
        if noise >= 25:
            color = image.mean((0, 1)) if options else image.mean()
            np.testing.assert_allclose(found, np.broadcast_to(color, found.shape), atol=0.01)


@pytest.mark.parametrize("empty", [(2,), (0, 1), ()])
@pytest.mark.parametrize("narrow", [None, 0, 2])
@pytest.mark.filterwarnings("ignore:the noise, times its strength")
def test_colours_may_doubt_their_noise_each_by_itself(empty, narrow):
    """Merged channels of a microscope: a colour without light, or of hardly any range."""
    image = (micrograph() / 255.0) ** 2
    image = np.stack([image, image[::-1], image[:, ::-1]], -1)
    if narrow is not None:
        image[..., narrow] = 0.3 + 0.01 * image[..., narrow]
    image[..., list(empty)] = 0.2
    for noise in (0.05, 0.4, 1.0, 25.0, 1e30):
        found = nr.denoise(image, noise=noise, rgb=True)
        assert (found[..., list(empty)] == 0.2).all(), noise
        assert found.min() >= image.min() - 0.1 * np.ptp(image), noise
        assert found.max() <= image.max() + 0.1 * np.ptp(image), noise
    np.testing.assert_allclose(found, np.broadcast_to(image.mean((0, 1)), found.shape), atol=0.01)


@pytest.mark.parametrize("verb", NOISY)
@given(exponent=st.floats(-3, 12), how=st.sampled_from(["noise", "strength", "gain", "offset"]))
@settings(max_examples=few())
@pytest.mark.filterwarnings("ignore:the noise, times its strength")
def test_no_noise_makes_an_image_noisier(verb, exponent, how):
    image = micrograph() / 255.0
    told = {
        "noise": {"noise": 10.0**exponent},
        "strength": {"noise": 0.03, "strength": 10.0**exponent},
        "gain": {"noise": nr.NoiseModel(gain=10.0**exponent)},
        "offset": {"noise": nr.NoiseModel(gain=0.01, offset=-(10.0**exponent))},
    }[how]
    restore = nr.denoise if verb == "denoise" else lambda one, **more: nr.deblur(one, PSF, **more)
    found = restore(image, **told)
    # Told less noise than there is, deblurring sharpens it with the structure.
    most = 1.05 if verb == "denoise" or exponent > 1 else math.inf
    assert roughness(found) <= most * roughness(image)


@pytest.mark.parametrize("verb", NOISY)
def test_noise_beyond_the_range_is_told_once(verb):
    image = np.stack([micrograph() / 255.0] * 2)
    with pytest.warns(UserWarning, match="exceeds the range") as told:
        VERBS[verb](image, noise=25.0, channel_axis=0)
    assert len(told) == 1
    with pytest.warns(UserWarning, match="in units of the image"):
        VERBS[verb](image, noise=0.03, strength=100)


@pytest.mark.parametrize("verb", NOISY)
def test_noise_that_an_image_can_hold_is_not_remarked_on(verb):
    """Warnings are errors in these tests."""
    photons = np.random.default_rng(0).poisson(0.05, (96, 96)).astype(np.float32)
    VERBS[verb](photons, noise=nr.NoiseModel(gain=1.0))
    VERBS[verb](np.random.default_rng(0).normal(100, 5, (96, 96)), noise=5.0)
    VERBS[verb](np.full((40, 40), 0.5), noise=5.0)


def test_the_flat_image_does_not_depend_on_what_is_held_at_once(exact):
    image = np.random.default_rng(0).random((90, 120)) ** 4
    more = {"noise": nr.NoiseModel(gain=30.0), "model": MODELS["denoise"]}
    with pytest.warns(UserWarning, match="exceeds the range"):
        whole = nr.denoise(image, **more)
    with pytest.warns(UserWarning, match="exceeds the range"):
        tiled = nr.denoise(image, tile=16, **more)
    np.testing.assert_allclose(tiled, whole, atol=1e-5)
    lazy = nr.denoise(da.from_array(image, chunks=40), **more).compute()
    np.testing.assert_allclose(lazy, whole, atol=1e-5)


def test_weak_noise_changes_nothing_in_how_it_is_told(camera):
    """The guard is for doubtful noise only: it leaves no trace elsewhere."""
    from napari_rednet.execution.reading import Samples, guarded
    from napari_rednet.restoration.denoise import denoise_settings

    samples = Samples([camera])
    plain_settings = denoise_settings(samples, nr.NoiseModel(read_noise=25.0), 1.0)
    assert plain_settings.flat == ()
    assert guarded(plain_settings, samples) is plain_settings


def smooth_of(image):
    """Something like a result, of the same dtype."""
    lowest = image.min()
    smooth = ndimage.gaussian_filter((image - lowest).astype(float), 1)
    return lowest + (smooth if image.dtype.kind == "f" else np.rint(smooth)).astype(image.dtype)


def scores_of(image, other, factor):
    found = nr.quality.score(other, image)
    return found.psnr, found.ssim, found.invariant_psnr, found.data_range / factor


def report_of(image, other, factor):
    told = nr.NoiseModel(read_noise=8.0 * factor)
    reports = [nr.quality.residual_report(image, other, noise=noise) for noise in (told, None)]
    return [value for one in reports for value in (one.correlation, one.power, one.significance)]


def error_of(image, other, factor):
    found = nr.quality.estimate_error(image, other, smooth_of, noise=8.0 * factor)
    return found.error / factor, found.noise / factor


def doubt_of(image, other, factor):
    return nr.quality.uncertainty(image, smooth_of, noise=8.0 * factor, samples=2) / factor


def shown_of(image, other, factor):
    return nr.show(image, other).pixels.astype(float)


# The measure, and how much may differ: SSIM compares brightness as well, which an offset adds to.
MEASURES = {
    "score": (scores_of, 0.02),
    "residual": (lambda a, b, factor: nr.quality.residual(a, b) / factor, 0.02),
    "report": (report_of, 0.02),
    "error": (error_of, 0.3),
    "doubt": (doubt_of, 0.5),
    "show": (shown_of, 1),
    "defects": (lambda a, b, factor: nr.find_defects(a), 0),
}


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("unit", UNITS)
def test_measures_follow_an_image_to_the_ends_of_its_dtype(measure, unit):
    """Or say that they cannot: two of them hand floats to who restores."""
    function, most = MEASURES[measure]
    image = micrograph()
    other = np.rint(smooth_of(image.astype(float))).astype(np.int64)
    expected = function(image.astype(float), other.astype(float), 1.0)
    pair = [in_units(one, unit) for one in (image, other)]
    if measure in ("error", "doubt") and abs(UNITS[unit][0]) > 2**53:
        with pytest.raises(ValueError, match="do not tell apart: subtract the lowest first"):
            function(*pair, UNITS[unit][1])
        return
    found = function(*pair, UNITS[unit][1])
    np.testing.assert_allclose(found, expected, atol=most, rtol=1e-3)


def test_the_similarity_of_values_far_from_0_is_that_of_their_structure():
    image = micrograph().astype(float)
    other = smooth_of(image)
    near, far = (nr.quality.score(other + o, image + o).ssim for o in (1e6, 1e13))
    assert near == pytest.approx(far, abs=1e-4)
    assert 0.3 < far < 1
    # Beside 10^13, 100 more are no difference of brightness.
    assert nr.quality.score(image + 1e13 + 100, image + 1e13).ssim == pytest.approx(1, abs=1e-4)
    # An offset of one alone is a difference of brightness.
    assert nr.quality.score(image + 1e13, image).ssim == pytest.approx(0, abs=0.01)


@pytest.mark.filterwarnings("ignore:the noise, times its strength")
@pytest.mark.parametrize("verb", ["denoise", "deblur"])
@pytest.mark.parametrize("noise", [10.0, 100.0, 1e6])
def test_a_lone_pixel_does_not_spread_under_noise_beyond_it(verb, noise):
    """It is taken for a defect, and what is left of the image is constant."""
    image = np.zeros((12, 20))
    image[5, 7] = 4.9e-91
    found = getattr(nr, verb)(image, *[PSF][: verb == "deblur"], noise=noise * 4.9e-91)
    assert np.abs(np.diff(found)).sum() < 1.1 * np.abs(np.diff(image)).sum()
