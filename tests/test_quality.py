"""Figures of quality: against a reference, without one, and from the residual."""

import dask.array as da
import numpy as np
import pytest
from scipy import ndimage
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

import napari_rednet as nr
from napari_rednet import quality
from napari_rednet.quality import scores
from tests.conftest import psnr


@pytest.fixture(scope="module")
def clean():
    return data.coins()[:160, :192].astype(float)


@pytest.fixture(scope="module")
def noisy(clean):
    return clean + np.random.default_rng(0).normal(0, 20, clean.shape)


@pytest.fixture(scope="module")
def by_strength(noisy):
    """The restored image at some strengths, with estimated noise, and that noise."""
    noise = nr.estimate_noise(noisy)
    return {s: nr.denoise(noisy, noise=noise, strength=s) for s in (0.3, 1, 3)}, noise


# Scores --------------------------------------------------------------------------------


def test_scores_are_those_of_scikit_image(clean, noisy):
    found = quality.score(noisy, clean, data_range=255)
    assert found.psnr == pytest.approx(peak_signal_noise_ratio(clean, noisy, data_range=255))
    assert found.ssim == pytest.approx(
        structural_similarity(
            clean,
            noisy,
            data_range=255,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


def test_bytes_relate_to_255_and_other_dtypes_to_what_they_span(clean):
    image = np.uint8(clean)
    shifted = image + 1
    assert quality.score(shifted, image).data_range == 255
    assert quality.score(shifted, image.astype(float)).data_range == np.ptp(image)


def test_the_scaled_psnr_forgives_a_factor_and_an_offset_but_no_noise(clean, noisy):
    plain = quality.score(noisy, clean)
    scaled = quality.score(0.1 * noisy - 40, clean)
    assert scaled.invariant_psnr == pytest.approx(plain.invariant_psnr)
    assert scaled.psnr < plain.psnr - 5
    assert quality.score(3 * clean + 2, clean).invariant_psnr > 100
    expected = clean.ravel() - np.polyval(
        np.polyfit(noisy.ravel(), clean.ravel(), 1), noisy.ravel()
    )
    error = 10 * np.log10(np.ptp(clean) ** 2 / np.mean(expected**2))
    assert plain.invariant_psnr == pytest.approx(error)


def test_stacks_and_colours_are_pooled_and_lazy_arrays_taken(clean, noisy):
    stack, reference = np.stack([noisy, clean]), np.stack([clean, clean])
    one, both = quality.score(noisy, clean), quality.score(stack, reference)
    assert both.psnr == pytest.approx(one.psnr + 10 * np.log10(2))
    assert both.ssim == pytest.approx((one.ssim + 1) / 2)
    lazy = quality.score(da.from_array(stack), da.from_array(reference))
    assert lazy == both
    colours = quality.score(
        np.moveaxis(stack, 0, -1), np.moveaxis(reference, 0, -1), channel_axis=-1
    )
    assert vars(colours) == pytest.approx(vars(both))


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_large_planes_are_scored_in_bands(clean, noisy, monkeypatch, rows):
    whole = quality.score(noisy, clean)
    monkeypatch.setattr(scores, "_BAND_PIXELS", rows * clean.shape[1])
    monkeypatch.setattr(scores, "_LEAST_ROWS", 1)
    steps = quality.score_steps(noisy, clean)
    progress = []
    with pytest.raises(StopIteration) as end:
        while True:
            progress.append(next(steps))
    assert vars(end.value.value) == pytest.approx(vars(whole))
    assert progress == sorted(progress)
    assert progress[-1] == (2 * clean.size, 2 * clean.size)
    assert len(progress) == 2 * -(-clean.shape[0] // rows)


def test_pixels_that_are_not_finite_do_not_count(clean, noisy):
    holes = noisy.copy()
    holes[20:30, 40:50] = np.nan
    holes[60, 60] = np.inf
    known = np.isfinite(holes)
    expected = 10 * np.log10(255**2 / np.mean((holes - clean)[known] ** 2))
    found = quality.score(holes, clean, data_range=255)
    assert found.psnr == pytest.approx(expected)
    assert 0 < found.ssim < 1


@pytest.mark.parametrize("unit", [2.0**300, 2.0**-300, 2.0**-1000])
def test_scores_do_not_depend_on_the_unit(clean, noisy, unit):
    expected, found = (quality.score(noisy * u, clean * u) for u in (1.0, unit))
    assert found.data_range == expected.data_range * unit
    for name in ("psnr", "ssim", "invariant_psnr"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name))


def test_equal_tiny_and_constant_images_have_scores():
    image = np.arange(100.0).reshape(10, 10)
    found = quality.score(image, image)
    assert found.psnr == np.inf
    assert found.ssim == pytest.approx(1)
    assert np.isnan(quality.score(image, np.ones_like(image)).psnr)


def test_other_shapes_are_refused(clean):
    for call in (
        lambda: quality.score(clean, clean[1:]),
        lambda: quality.residual_report(clean, clean[1:]),
        lambda: quality.estimate_error(clean, clean[1:], lambda image: image, noise=1),
    ):
        with pytest.raises(ValueError, match="must have the shape of the image"):
            call()


# The error without a reference -----------------------------------------------------------


def test_the_estimated_gain_is_near_the_true_one(clean, noisy, by_strength):
    images, noise = by_strength
    found = {}
    for strength in (1, 3):

        def restore(image, strength=strength):
            return nr.denoise(image, noise=noise, strength=strength)

        found[strength] = quality.estimate_error(noisy, images[strength], restore, noise=noise)
        true = psnr(clean, images[strength]) - psnr(clean, noisy)
        assert found[strength].gain == pytest.approx(true, abs=2.5)
    assert found[1].gain > found[3].gain + 1.5


def test_keeping_the_image_gains_nothing_and_colours_are_taken(noisy):
    found = quality.estimate_error(noisy, noisy, lambda image: image, noise=20)
    assert found.gain == pytest.approx(0, abs=0.5)
    colours = np.stack([noisy, 2 * noisy], -1)
    found = quality.estimate_error(
        colours, colours, lambda image: image, noise=[20, 40], channel_axis=-1
    )
    assert found.noise == pytest.approx(np.sqrt((20**2 + 40**2) / 2))


@pytest.mark.parametrize("noise", [20.0, nr.NoiseModel(gain=2.0, read_noise=5.0)])
def test_infinite_pixels_do_not_spoil_the_estimate(noisy, noise):
    image = noisy.copy()
    image[5, 7], image[50, 60] = np.inf, -np.inf

    def restore(image):
        smooth = ndimage.gaussian_filter(np.where(np.isfinite(image), image, 100), 1)
        return np.where(np.isfinite(image), smooth, image)

    found = quality.estimate_error(image, restore(image), restore, noise=noise)
    whole = quality.estimate_error(noisy, restore(noisy), restore, noise=noise)
    assert found.error == pytest.approx(whole.error, rel=0.02)


def test_unknown_pixels_do_not_spoil_the_estimate(noisy):
    def blur(image):
        return np.where(np.isfinite(image), ndimage.gaussian_filter(np.nan_to_num(image), 1), image)

    holes = noisy.copy()
    holes[3:6, 7:9] = np.nan
    found = quality.estimate_error(holes, blur(holes), blur, noise=20)
    assert np.isfinite(found.gain)


# The residual ------------------------------------------------------------------------------


def test_the_verdict_follows_the_strength(noisy, by_strength):
    images, noise = by_strength
    verdicts = {
        s: quality.residual_report(noisy, image, noise=noise).verdict for s, image in images.items()
    }
    assert verdicts == {0.3: "noise left", 1: "noise", 3: "structure"}


def test_noise_that_is_left_in_fine_detail_is_told():
    clean = data.page()[:128, :256].astype(float)
    noisy = clean + np.random.default_rng(0).normal(0, 5, clean.shape)
    noise = nr.NoiseModel(read_noise=5)
    verdicts = [
        quality.residual_report(noisy, nr.denoise(noisy, noise=noise, strength=s), noise=noise)
        for s in (0.5, 1)
    ]
    assert [report.is_fine for report in verdicts] == [False, True]


@pytest.mark.parametrize("factor", [0.5, 2])
def test_a_wrong_noise_level_changes_no_verdict_on_structure(noisy, by_strength, factor):
    images, noise = by_strength
    wrong = nr.NoiseModel(noise.gain * factor**2, noise.offset, noise.read_noise * factor)
    for strength, verdict in ((1, "noise"), (3, "structure")):
        assert quality.residual_report(noisy, images[strength], noise=wrong).verdict == verdict


@pytest.mark.parametrize("seed", range(4))
def test_white_noise_of_any_kind_is_no_structure(clean, seed):
    rng = np.random.default_rng(seed)
    level = 5 + 0.2 * clean
    for noise in (rng.normal(0, 9, clean.shape), level * rng.laplace(size=clean.shape)):
        assert quality.residual_report(clean + noise, clean).verdict == "noise"


def test_hot_pixels_do_not_hide_structure_nor_look_like_it(clean, noisy):
    hot = noisy.copy()
    hot[::16, ::16] += 5000
    assert quality.residual_report(hot, clean).verdict == "noise"
    assert quality.residual_report(hot, ndimage.gaussian_filter(noisy, 2)).verdict == "structure"


@pytest.mark.parametrize("sigma", [0.6, 0.9])
def test_noise_that_neighbours_share_is_no_structure(sigma):
    scene = data.camera()[:256, :256].astype(float)
    clean = ndimage.gaussian_filter(scene, sigma)
    noisy = ndimage.gaussian_filter(
        scene + np.random.default_rng(0).normal(0, 20, scene.shape), sigma
    )
    report = quality.residual_report(noisy, clean)
    assert report.verdict == "correlated noise"
    assert report.is_fine
    blurred = ndimage.gaussian_filter(noisy, 4)
    assert quality.residual_report(noisy, blurred).verdict == "structure"


def test_what_the_noise_model_says_of_grain_is_believed(noisy, clean):
    shared = ndimage.gaussian_filter(np.random.default_rng(0).normal(0, 40, clean.shape), 0.6)
    told = nr.NoiseModel(read_noise=float(shared.std()), grain_y=0.6, grain_x=0.6)
    report = quality.residual_report(clean + shared, clean, noise=told)
    assert report.verdict == "correlated noise"


def test_patches_around_hot_pixels_are_reported(clean, noisy):
    places = np.zeros(clean.shape)
    places[20::40, 20::40] = 1
    patches = ndimage.gaussian_filter(places, 3)
    hot = noisy + 4000 * places
    report = quality.residual_report(hot, clean + 150 * patches / patches.max())
    assert report.verdict == "outliers"
    assert "hot pixels" in report.text
    assert quality.residual_report(hot, clean).verdict == "noise"


def test_a_blur_is_flagged_where_it_costs_structure_only(noisy):
    rng = np.random.default_rng(0)
    smooth = 100 + 10 * rng.normal(size=(160, 192))
    for image, verdict in ((noisy, "structure"), (smooth, "noise")):
        assert quality.residual_report(image, ndimage.gaussian_filter(image, 3)).verdict == verdict


@pytest.mark.parametrize("unit", [2.0**300, 2.0**-300])
@pytest.mark.parametrize("told", [None, 15.0])
def test_residuals_are_judged_in_any_unit(noisy, clean, unit, told):
    """Nor is a wrong unit of the noise more than a wrong power; of the first plane nothing is."""
    pair = np.stack([clean, noisy]), np.stack([clean, clean])
    scaled = [unit * stack for stack in pair]
    expected = quality.residual_report(*pair, noise=told)
    found = quality.residual_report(*scaled, noise=told and unit * told)
    assert (found.verdict, found.correlation) == (expected.verdict, expected.correlation)
    np.testing.assert_allclose(found.power, expected.power)
    scaled = [stack * max(unit, unit**2) for stack in pair]
    wrong = quality.residual_report(*scaled, noise=1.0)
    assert wrong.correlation == pytest.approx(expected.correlation)


def test_reports_of_nothing(noisy):
    assert quality.residual_report(noisy, noisy, noise=20).verdict == "noise left"
    assert quality.residual_report(noisy, noisy).verdict == "noise"
    assert quality.residual_report(noisy[:0], noisy[:0]).verdict == "noise"
    assert quality.residual_report(np.full((9, 9), np.nan), np.zeros((9, 9))).verdict == "noise"


def test_the_residual_is_told_in_units_of_the_noise(clean):
    model = nr.NoiseModel(gain=2, read_noise=3)
    noise = np.random.default_rng(0).normal(size=clean.shape) * model.std(clean)
    assert quality.residual(clean + noise, clean, model).std() == pytest.approx(1, rel=0.02)
    np.testing.assert_allclose(quality.residual(clean + noise, clean), noise, atol=1e-9)
