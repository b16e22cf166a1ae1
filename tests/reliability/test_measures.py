"""Generated calls of what measures, generates or shows: never a crash, never a wrong kind of value.

Whatever an image holds, measures are numbers that mean something, or a sentence says why not.
"""

import math

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import ndimage
from tests.reliability.calls import VERBS, images

import napari_rednet as nr

pytestmark = [
    # Of colours in the last axis, PSFs that reach far, and a range that is not a number.
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


def often(check, *strategies, share=5, **named):
    """Run a check on a share of the generated examples that the restoring functions get."""
    settings(
        max_examples=max(5, settings.default.max_examples // share),
        suppress_health_check=list(HealthCheck),
    )(given(*strategies, **named)(check))()


def stored(draw, image):
    """The same pixels as an array of another kind."""
    chunks = tuple(draw(st.integers(max(1, n // 2), n)) for n in image.shape)
    kind = draw(st.sampled_from(["dask", "zarr", "fortran", "read-only"]))
    if kind == "dask":
        return da.from_array(image, chunks=chunks)
    if kind == "zarr":
        array = zarr.create_array({}, shape=image.shape, chunks=chunks, dtype=image.dtype)
        array[...] = image
        return array
    other = image.copy(order="F" if kind == "fortran" else "C")
    other.setflags(write=kind != "read-only")
    return other


def channel_axis_of(draw, image):
    return draw(st.sampled_from([None, *range(image.ndim - 2)]))


def blurred(image):
    """Something like a result; what is not finite stays."""
    if image.dtype.kind in "iu":
        lowest = image.min()
        return lowest + blurred((image - lowest).astype(float)).astype(image.dtype)
    known = np.isfinite(image)
    sigma = (0,) * (image.ndim - 2) + (1, 1)
    smooth = ndimage.gaussian_filter(np.where(known, image, 0).astype(float), sigma)
    return np.where(known, smooth, image).astype(image.dtype)


def floats_tell_apart(image):
    """Whether what differs in an image is more than what float64 rounds away of it."""
    low, high = image.min(), image.max()
    if image.dtype.kind == "f" or low == high:
        return True
    return int(high) - int(low) >= 2**-46 * max(abs(int(low)), abs(int(high)))


def models_of(found):
    return found if isinstance(found, list) else [found]


def numbers(model):
    return (model.gain, model.offset, model.read_noise, model.grain_y, model.grain_x)


def test_measured_noise_is_a_noise_model(counted):
    def check(data):
        image = data.draw(images())
        before, axis = image.tobytes(), channel_axis_of(data.draw, image)
        options = {"channel_axis": axis}
        if data.draw(st.booleans()):
            options["region"] = np.random.default_rng(0).random(image.shape[-2:]) < 0.7
        counted("measures")
        try:
            found = nr.estimate_noise(image, **options)
        except ValueError:
            if "region" in options:
                return
            raise
        assert image.tobytes() == before
        assert len(models_of(found)) == (1 if axis is None else image.shape[axis])
        for model in models_of(found):
            assert np.isfinite(numbers(model)).all(), model
            assert min(model.gain, model.read_noise) >= 0
        assert nr.estimate_noise(stored(data.draw, image), **options) == found
        for levels in models_of(nr.noise_levels(image, **options)):
            assert (levels.count > 0).all()
            assert 0 <= levels.clipped <= 1

    often(check, st.data(), share=2)


def test_noise_is_measured_in_units_of_the_image(counted):
    def check(image, exponent):
        counted("measures")
        (found, scaled) = (nr.estimate_noise(image * 2.0**n) for n in (0, exponent))
        told = np.array([scaled.gain, scaled.read_noise]) / 2.0**exponent
        np.testing.assert_allclose(told, [found.gain, found.read_noise], rtol=1e-6)

    often(check, image=images(("f8",)), exponent=st.integers(-30, 30))


def test_defects_are_a_mask(counted):
    def check(data):
        image = data.draw(images())
        before, axis = image.tobytes(), channel_axis_of(data.draw, image)
        counted("measures")
        mask = nr.find_defects(image, channel_axis=axis)
        assert image.tobytes() == before
        assert mask.dtype == bool
        assert mask.shape[-2:] == image.shape[-2:]
        np.broadcast_to(mask, image.shape)
        other = nr.find_defects(stored(data.draw, image), channel_axis=axis)
        np.testing.assert_array_equal(np.asarray(other), mask)
        if (image == image.flat[0]).all():
            assert not mask.any()
        if image.dtype == np.float64:
            scaled = nr.find_defects(image * 2.0 ** data.draw(st.integers(-30, 30)))
            np.testing.assert_array_equal(scaled, nr.find_defects(image))

    often(check, st.data(), share=2)


def test_scores_are_in_their_limits(counted):
    def check(data):
        image = data.draw(images())
        axis = channel_axis_of(data.draw, image)
        other = blurred(image)
        counted("measures")
        scores = nr.quality.score(other, image, channel_axis=axis)
        if np.isfinite(image).any() and not math.isnan(scores.ssim):
            assert -1 <= scores.ssim <= 1 + 1e-9
            assert scores.invariant_psnr >= scores.psnr - 1e-6
        same = nr.quality.score(image, image, channel_axis=axis)
        assert math.isnan(same.psnr) or same.psnr == math.inf
        assert math.isnan(same.ssim) or same.ssim == pytest.approx(1)
        again = nr.quality.score(stored(data.draw, other), image, channel_axis=axis)
        np.testing.assert_allclose(
            [again.psnr, again.ssim, again.invariant_psnr],
            [scores.psnr, scores.ssim, scores.invariant_psnr],
        )

    often(check, st.data())


def test_residuals_are_judged(counted):
    def check(data):
        image = data.draw(images())
        axis = channel_axis_of(data.draw, image)
        other = image if data.draw(st.booleans()) else blurred(image)
        noise = data.draw(st.sampled_from([None, "measured", 1.0]))
        if noise == "measured":
            noise = nr.estimate_noise(image, channel_axis=axis)
        counted("measures")
        report = nr.quality.residual_report(image, other, noise=noise, channel_axis=axis)
        assert report.text
        left = nr.quality.residual(image, other)
        assert left.shape == image.shape
        assert other is not image or not left[np.isfinite(image.astype(float))].any()
        assert math.isnan(report.correlation) or -1 - 1e-9 <= report.correlation <= 1 + 1e-9
        assert math.isnan(report.power) or report.power >= 0
        stored_pair = stored(data.draw, image), stored(data.draw, other)
        again = nr.quality.residual_report(*stored_pair, noise=noise, channel_axis=axis)
        assert again.verdict == report.verdict

    often(check, st.data())


def test_errors_and_doubt_are_not_negative(counted):
    def check(data):
        image = data.draw(images())
        axis = channel_axis_of(data.draw, image)
        noise = data.draw(st.sampled_from([0.0, 1.0, 1e6, nr.NoiseModel(gain=2.0, read_noise=1.0)]))
        options = {"noise": noise, "channel_axis": axis}
        counted("measures")
        if not floats_tell_apart(image):
            for measure in (
                lambda: nr.quality.estimate_error(image, blurred(image), blurred, **options),
                lambda: nr.quality.uncertainty(image, blurred, samples=2, **options),
            ):
                with pytest.raises(ValueError, match="subtract the lowest first"):
                    measure()
            return
        estimate = nr.quality.estimate_error(image, blurred(image), blurred, **options)
        assert not estimate.error < 0
        assert not estimate.noise < 0
        assert isinstance(estimate.gain, float)
        doubt = nr.quality.uncertainty(image, blurred, samples=2, **options)
        assert doubt.shape == image.shape
        known = np.isfinite(image)
        assert (doubt[known] >= 0).all()

    often(check, st.data(), share=10)


POSITIVE = st.one_of(
    st.floats(0.3, 6),
    st.floats(),
    st.sampled_from([0, -1, 1e-300, 1e300, 5e-324, "2", None, 10**400]),
)
GENERATED = {
    "gaussian": 1, "disk": 1, "motion": 2, "widefield": 3, "widefield3d": 5, "confocal3d": 7,
}  # fmt: skip
# What is said of PSFs, and what has to do with models, which are files.
NOT_CALLED = {
    "psf": {"as_psf", "center_remark", "check_center", "reach_remark", "rim_remark"},
    "quality": set(),
    "": {
        "add_model", "fine_tune", "list_models", "load_model", "model_card",
        "prepare_fine_tuning", "psf", "quality", "remove_model", "rename_model",
    },
}  # fmt: skip
CALLED = {
    "psf": {*GENERATED, "from_beads"},
    "quality": {"estimate_error", "residual", "residual_report", "score", "show", "uncertainty"},
    "": {*VERBS, "estimate_noise", "find_defects", "noise_levels", "show"},
}


@pytest.mark.parametrize("module", CALLED)
def test_every_public_function_is_called(module):
    """Names in small letters, but for the `..._steps` that the functions drain."""
    place = getattr(nr, module) if module else nr
    functions = {n for n in place.__all__ if n.islower() and not n.endswith("_steps")}
    assert functions == CALLED[module] | NOT_CALLED[module]


def test_generated_psfs_are_psfs_or_refused(counted):
    def check(name, data):
        values = [data.draw(POSITIVE) for _ in range(GENERATED[name])]
        counted("measures")
        try:
            psf = getattr(nr.psf, name)(*values)
        except (ValueError, TypeError):
            return
        assert psf.sum() == pytest.approx(1)
        assert (psf >= 0).all()
        assert all(side % 2 for side in psf.shape)

    often(check, name=st.sampled_from(sorted(GENERATED)), data=st.data(), share=2)


def test_beads_give_a_psf_or_a_sentence(counted):
    def check(data):
        image = data.draw(images(axes=data.draw(st.sampled_from([(), (5,)]))))
        size = data.draw(st.sampled_from([None, (3,) * image.ndim, (5,) * image.ndim]))
        counted("measures")
        try:
            psf = nr.psf.from_beads(image, size)
        except ValueError:
            return
        assert psf.sum() == pytest.approx(1)
        assert (psf >= 0).all()

    often(check, st.data())


def test_whatever_is_shown_is_a_picture(counted):
    def check(data):
        shown = [data.draw(images()) for _ in range(data.draw(st.integers(1, 3)))]
        counted("measures")
        try:
            picture = nr.show(*shown)
        except ValueError:
            return
        assert picture.pixels.dtype == np.uint8
        assert picture.pixels.shape[-1] == 3

    often(check, st.data())
