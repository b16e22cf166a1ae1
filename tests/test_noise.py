import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from skimage import data

from napari_rednet import NoiseModel
from napari_rednet.noise import _median, fit_noise, measure_noise

IMAGES = {"camera": data.camera, "moon": data.moon, "cell": data.cell, "coins": data.coins}


def noisy(clean, model, seed=0, dtype=float):
    """Photon and read noise of a detector, as physics makes them."""
    rng = np.random.default_rng(seed)
    clean = np.asarray(clean, float)
    image = clean + model.offset
    if model.gain:
        image = rng.poisson(clean / model.gain) * model.gain + model.offset
    image = image + rng.normal(0, model.read_noise, clean.shape)
    if np.dtype(dtype).kind == "u":
        image = np.rint(image).clip(0, np.iinfo(dtype).max)
    return image.astype(dtype)


def ratio(found, truth, clean):
    """Found over true standard deviation, over the intensities of the image."""
    levels = np.quantile(clean, np.linspace(0.02, 0.98, 9)) + truth.offset
    return found.std(levels) / truth.std(levels)


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize(
    "truth",
    [
        NoiseModel(gain=4, offset=100, read_noise=5),
        NoiseModel(gain=10, offset=50, read_noise=20),
        NoiseModel(gain=3, offset=20, read_noise=8),
    ],
)
def test_poisson_gaussian_noise_is_found_within_15_percent(name, truth):
    clean = IMAGES[name]()
    found = fit_noise([noisy(clean, truth)])
    np.testing.assert_allclose(ratio(found, truth, clean), 1, atol=0.15)


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("std", [25, 50])
def test_pure_gaussian_noise_is_found(name, std):
    clean, truth = IMAGES[name](), NoiseModel(read_noise=std)
    found = fit_noise([noisy(clean, truth)])
    np.testing.assert_allclose(ratio(found, truth, clean), 1, atol=0.15)


@pytest.mark.parametrize("gain", [2, 10])
def test_pure_photon_noise_is_found(gain):
    clean, truth = data.moon(), NoiseModel(gain=gain)
    found = fit_noise([noisy(clean, truth)])
    np.testing.assert_allclose(ratio(found, truth, clean), 1, atol=0.15)
    assert found.gain == pytest.approx(gain, rel=0.1)


def test_twelve_bits_in_sixteen_with_saturation_and_clipped_black():
    """A camera whose darkest pixels are cut at 0 and whose brightest at 4095."""
    clean = 18.0 * data.moon() - 900
    truth = NoiseModel(gain=12, read_noise=25)
    image = noisy(clean.clip(0), truth).clip(0, 4095).astype(np.uint16)
    found = fit_noise([image])
    inside = clean[(clean > 200) & (clean < 3300)]
    np.testing.assert_allclose(ratio(found, truth, inside), 1, atol=0.15)


@pytest.mark.parametrize("photons", [0.1, 0.5, 2.0])
def test_few_photons_are_counted(photons):
    """Most pixels have the lowest value, which is no clipping."""
    clean = photons * (0.5 + data.moon()[:200, :200] / 255)
    image = np.random.default_rng(0).poisson(clean)
    assert fit_noise([image.astype(np.uint16)]).std(photons) == pytest.approx(
        np.sqrt(photons), rel=0.15
    )


@pytest.mark.parametrize("levels", [8, 20])
def test_few_gray_levels_are_no_clipping(levels):
    """An 8-bit image of a dim scene: rounding adds a variance of 1/12, and noise stays noise."""
    clean = 2.0 + (levels - 4.0) * data.moon()[:300, :300] / 255
    image = np.rint(clean + np.random.default_rng(0).normal(0, 0.8, clean.shape)).clip(1, levels)
    found = fit_noise([image.astype(np.uint8)])
    expected = np.sqrt(0.8**2 + 1 / 12)
    assert found.std(float(np.median(clean))) == pytest.approx(expected, rel=0.15)


def test_several_planes_are_one_detector():
    truth = NoiseModel(gain=5, offset=10, read_noise=6)
    planes = [noisy(data.moon()[i : i + 90, :200], truth, seed=i) for i in range(0, 400, 100)]
    found = fit_noise(planes)
    np.testing.assert_allclose(ratio(found, truth, data.moon()), 1, atol=0.15)


def test_pixels_that_are_not_finite_are_left_out():
    image = noisy(data.moon(), NoiseModel(read_noise=10))
    plain = fit_noise([image])
    image[100:120, 200:260] = np.nan
    image[5, 5] = np.inf
    holed = fit_noise([image])
    assert holed.std(100.0) == pytest.approx(plain.std(100.0), rel=0.05)


def test_a_frame_that_is_not_finite_does_not_darken_what_it_frames():
    """The mosaic of a stage scan: black level 500, nothing outside."""
    truth = NoiseModel(gain=4, offset=500, read_noise=5)
    image = noisy(data.moon(), truth)
    inner = slice(100, 220)
    mosaic = np.full(image.shape, np.nan)
    mosaic[inner, inner] = image[inner, inner]
    levels = measure_noise([mosaic])
    assert levels.signal.min() > 500 + float(data.moon()[inner, inner].min())
    assert levels.fit().std(610.0) == pytest.approx(truth.std(610.0), rel=0.1)


def test_hot_pixels_do_not_count_as_noise():
    rng = np.random.default_rng(1)
    image = noisy(data.moon(), NoiseModel(read_noise=10))
    hot = image.copy()
    hot[rng.integers(0, 512, 200), rng.integers(0, 512, 200)] += 3000
    assert fit_noise([hot]).std(110.0) == pytest.approx(fit_noise([image]).std(110.0), rel=0.1)


@given(factor=st.floats(1e-3, 1e3), shift=st.floats(-100, 100))
def test_estimate_follows_the_units(factor, shift):
    image = noisy(data.moon()[:100, :100], NoiseModel(gain=3, read_noise=4))
    plain, scaled = fit_noise([image]), fit_noise([factor * (image + shift)])
    assert scaled.std(factor * (110.0 + shift)) == pytest.approx(
        factor * plain.std(110.0), rel=0.02
    )


@pytest.mark.parametrize(
    "image",
    [
        np.full((64, 64), 7, np.uint8),
        np.zeros((50, 50), np.float32),
        np.zeros((1, 1)),
        np.ones((2, 300)),
        np.ones((0, 5)),
        np.full((40, 40), np.nan),
        np.arange(9, dtype=np.uint16).reshape(3, 3),
    ],
)
def test_flat_and_tiny_images_have_no_noise(image):
    assert fit_noise([image]).std(5.0) == pytest.approx(0, abs=1e-6)


def test_an_image_without_noise_has_little():
    ramp = np.add.outer(np.arange(200.0), np.arange(300.0))
    assert fit_noise([ramp]).std(200.0) < 0.01


def test_levels_lie_on_the_line_that_is_fitted():
    truth = NoiseModel(gain=4, offset=30, read_noise=6)
    levels = measure_noise([noisy(data.moon(), truth)])
    assert len(levels.signal) > 10
    middle = (levels.signal > 100) & (levels.signal < 160)
    np.testing.assert_allclose(
        np.sqrt(levels.variance[middle]), truth.std(levels.signal[middle]), rtol=0.1
    )


def test_deviations_are_relative_to_the_model():
    truth = NoiseModel(gain=4, offset=30, read_noise=6)
    levels = measure_noise([noisy(data.moon(), truth)])
    double = NoiseModel(4 * truth.gain, truth.offset, 2 * truth.read_noise)
    np.testing.assert_allclose(levels.deviation(double), (levels.deviation(truth) + 1) / 2 - 1)
    assert abs(np.median(levels.deviation(levels.fit()))) < 0.05
    assert np.all(levels.deviation(NoiseModel()) == np.inf)
    flat = measure_noise([np.full((64, 64), 7)])
    assert np.all(flat.deviation(flat.fit()) == 0)


def test_clipped_pixels_are_counted():
    image = noisy(data.moon(), NoiseModel(gain=4, offset=30, read_noise=6))
    assert measure_noise([image]).clipped == 0
    image[:128] = image.max() + 100
    assert measure_noise([image]).clipped == pytest.approx(0.25, abs=0.01)
    few_photons = np.random.default_rng(0).poisson(0.1, (200, 200))
    assert measure_noise([few_photons]).clipped == 0


def test_model_is_its_formula():
    model = NoiseModel(gain=2.0, offset=100.0, read_noise=3.0)
    signal = np.array([50.0, 100.0, 120.0])
    np.testing.assert_allclose(model.variance(signal), [9, 9, 49])
    np.testing.assert_allclose(model.std(signal), [3, 3, 7])
    assert isinstance(model.std(120.0), float)


@given(low=st.floats(-50, 50), span=st.floats(0.1, 1e4), signal=st.floats(-100, 1000))
def test_model_can_change_its_units(low, span, signal):
    model = NoiseModel(gain=2.0, offset=100.0, read_noise=3.0)
    scaled = model.normalized(low, span).std((signal - low) / span)
    assert scaled * span == pytest.approx(model.std(signal), rel=1e-4)


@pytest.mark.parametrize(
    "wrong", [{"gain": -1}, {"read_noise": -0.1}, {"gain": np.nan}, {"offset": np.inf}]
)
def test_impossible_models_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        NoiseModel(**wrong)


def test_texture_at_some_levels_does_not_count_as_noise_at_all():
    """Grass is as bright as the sky in parts; where it is not, structure only adds."""
    noisy = data.camera() + np.random.default_rng(0).normal(0, 2, (512, 512))
    found = fit_noise([noisy])
    assert 1.8 < found.std(20.0) < 2.6
    assert 1.8 < found.std(150.0) < 2.6


def test_rounding_counts_where_noise_is_less_than_a_step():
    """Where the signal is near an integer, no noise is seen at all."""
    found = fit_noise([data.cell()[200:260, 100:170] // 2])
    assert found.std(34.0) == pytest.approx(12**-0.5, rel=0.15)


@given(
    hnp.arrays(
        float, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 5)
    )
)
def test_the_median_is_that_of_scipy(image):
    np.testing.assert_array_equal(_median(image), ndimage.median_filter(image, 3))
