import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage import data, transform

from napari_rednet.engine.channel import NoiseModel, grain_of
from napari_rednet.grain import Grain, high_pass, measure_grain
from napari_rednet.noise import fit_noise, measure_noise


def noise(seed=0, shape=(256, 256)):
    return np.random.default_rng(seed).normal(0, 1, shape)


def grain_in(image):
    return measure_grain([image], [np.ones(image.shape, bool)])


SMOOTHED = {
    "Gauss 0.6": lambda image: ndimage.gaussian_filter(image, 0.6),
    "Gauss 1": lambda image: ndimage.gaussian_filter(image, 1.0),
    "along x": lambda image: ndimage.gaussian_filter1d(image, 0.7, axis=1),
    "along y": lambda image: ndimage.gaussian_filter1d(image, 0.7, axis=0),
    "enlarged": lambda image: transform.rescale(image, 2, order=1),
    "turned": lambda image: transform.rotate(image, 10, order=1)[32:-32, 32:-32],
}


@given(seed=st.integers(0, 1000), level=st.floats(1e-3, 1e4))
@settings(max_examples=5)
def test_white_noise_has_no_grain(seed, level):
    found = grain_in(100 + level * noise(seed))
    assert found == Grain()


@pytest.mark.parametrize("name", SMOOTHED)
def test_the_grain_of_noise_is_found_and_its_level_with_it(name):
    image = SMOOTHED[name](noise(1))
    found = grain_in(image)
    power = np.mean(image**2)
    truth = [
        np.mean(a * b) / power for a, b in ((image[1:], image[:-1]), (image.T[1:], image.T[:-1]))
    ]
    truth = [r if r >= 0.1 else 0.0 for r in truth]
    np.testing.assert_allclose(found.correlations(1.0), truth, atol=0.09)
    seen = found.factor * np.mean(high_pass(image, found.step) ** 2)
    assert seen == pytest.approx(power, rel=0.3)


@pytest.mark.parametrize("clean", [data.camera(), data.moon()], ids=["camera", "moon"])
@pytest.mark.parametrize("name", ["Gauss 0.6", "enlarged", "along x"])
def test_structure_is_not_taken_for_grain(clean, name):
    scene = clean[128:384, 128:384].astype(float)
    truth = np.std(SMOOTHED[name](12 * noise(3)))
    found = fit_noise([SMOOTHED[name](scene + 12 * noise(2))])
    # Where there is little flat, some structure counts; too much is better than too little.
    assert 0.8 * truth < found.std(100.0) < 1.5 * truth
    white = fit_noise([scene + 12 * noise(2)])
    assert (white.grain_y, white.grain_x) == (0, 0)
    assert white.std(100.0) == pytest.approx(12, rel=0.15)


@pytest.mark.parametrize("level", [0.5, 0.8, 1.5])
@pytest.mark.parametrize("width", [0.7, 1.0])
def test_rounding_does_not_hide_smooth_noise(level, width):
    """Noise of about a gray level: the finest high-pass sees the error of rounding alone."""
    smooth = ndimage.gaussian_filter(noise(6), width)
    rng = np.random.default_rng(7)
    scene = 20 + 15 * ndimage.gaussian_filter(rng.normal(0, 30, smooth.shape), 20)
    truth = np.hypot(level, 12**-0.5)
    found = fit_noise([np.rint(scene + level * smooth / smooth.std())])
    assert 0.7 * truth < found.std(20.0) < 1.5 * truth
    assert min(found.grain_y, found.grain_x) > 0.2


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", ["page", "text", "gravel", "cat", "coins"])
def test_texture_under_white_noise_is_no_grain(name, seed):
    """Print and stones that leave hardly a flat place: the noise must not count for theirs."""
    clean = getattr(data, name)()[:128, :256]
    clean = clean.astype(float) if clean.ndim == 2 else clean.mean(2)
    found = fit_noise([clean + 5 * noise(seed, clean.shape)])
    assert (found.grain_y, found.grain_x) == (0, 0)
    assert 4.5 < found.std(float(np.median(clean))) < 7.5


@given(angle=st.sampled_from([0, 1]), width=st.floats(0.3, 3.0))
@settings(max_examples=5)
def test_offsets_of_lines_are_found_along_their_axis(angle, width):
    lines = np.random.default_rng(4).normal(0, width, (256, 1))
    lines = lines.T if angle else lines
    found = grain_in(noise(5) + lines)
    across, along = (found.columns, found.rows) if angle else (found.rows, found.columns)
    assert across == pytest.approx(np.std(lines), rel=0.2)
    assert along == 0
    total = 1 + width**2
    expected = (width**2 / total, 0.0) if angle else (0.0, width**2 / total)
    # Lines weaker than a tenth of the noise are white noise for all that is told.
    np.testing.assert_allclose(found.correlations(total), expected, atol=0.11)


def test_noise_of_lines_counts_as_noise():
    scene = data.camera()[:256, :256].astype(float)
    lines = np.random.default_rng(6).normal(0, 12, (256, 1))
    found = fit_noise([scene + 8 * noise(7) + lines])
    assert found.std(100.0) == pytest.approx(np.hypot(8, np.std(lines)), rel=0.15)


def test_several_images_are_measured_together():
    parts = [ndimage.gaussian_filter(noise(seed, (64, 80)), 0.7) for seed in range(6)]
    found = measure_grain(parts, [np.ones(p.shape, bool) for p in parts])
    assert found.along_y == pytest.approx(0.6, abs=0.15)
    assert found.along_x == pytest.approx(0.6, abs=0.15)


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (15, 15), (16, 40)])
def test_images_too_small_for_blocks_count_as_white(shape):
    assert grain_in(ndimage.gaussian_filter(noise(0, shape), 1.0)) == Grain()


def test_constant_images_have_no_grain():
    assert grain_in(np.full((64, 64), 3.0)) == Grain()


def test_pixels_that_are_not_usable_are_left_out():
    image = ndimage.gaussian_filter(noise(8), 0.8)
    spoilt, usable = image.copy(), np.ones(image.shape, bool)
    spoilt[:, :100], usable[:, :100] = noise(9)[:, :100] * 50, False
    kept = measure_grain([spoilt], [usable])
    assert kept.along_x == pytest.approx(grain_in(image[:, 112:]).along_x, abs=0.03)


@given(correlation=st.floats(0.1, 0.95))
def test_grain_and_correlation_are_each_others_inverse(correlation):
    model = NoiseModel(grain_y=grain_of(correlation))
    assert model.correlation[0] == pytest.approx(correlation)
    assert model.correlation[1] == 0


def test_the_levels_tell_of_grain_and_lines():
    lines = np.random.default_rng(10).normal(0, 9, (256, 1))
    levels = measure_noise([data.camera()[:256, :256] + 8 * noise(11) + lines])
    assert levels.grain.rows == pytest.approx(np.std(lines), rel=0.15)
    model = levels.fit()
    assert model.grain_x > 0
    assert model.grain_y == 0
