"""Deblurring of volumes with a point spread function of three axes."""

from functools import partial
from itertools import islice

import dask.array as da
import numpy as np
import pytest
import tifffile
import torch
import zarr
from scipy import ndimage, signal

import napari_rednet as nr
from napari_rednet import psf
from napari_rednet.arguments import check_options
from napari_rednet.engine import streaming
from napari_rednet.engine.deconvolution import BlurredImage, ImageNoise, transfer_function
from napari_rednet.engine.light import (
    _AT_MOST,
    CountedImage,
    Counting,
    accelerated,
    detail,
)
from napari_rednet.engine.planes import ChannelSettings, PlaneLayout, PointSpread
from napari_rednet.engine.volumes import _BYTES, _LEAST, VolumeDeblurrer, _strips
from napari_rednet.execution import Windows, drain, measure, speed_steps
from napari_rednet.psf import as_psf
from napari_rednet.restoration.deblur import prepare_deblur
from tests.conftest import seeded, small_model
from tests.test_cli import call

CONFOCAL = psf.confocal3d(1.0, 0.52, 0.488, 0.15, 0.4, 1.33, planes=7)
NOISE = nr.NoiseModel(gain=1.0, offset=100.0, read_noise=1.0)
SHAPE = (6, 24, 26)


def recorded(photons=100, shape=SHAPE, kernel=CONFOCAL):
    """Beads and a slanted sheet, which go on beyond the borders; sharp and as recorded."""
    lot = np.random.default_rng(0)
    reach = [side // 2 for side in kernel.shape]
    scene = np.zeros([n + 2 * r for n, r in zip(shape, reach, strict=True)])
    scene[tuple(lot.integers(0, n, 60) for n in scene.shape)] = lot.uniform(3, 10, 60)
    z, y, _ = np.indices(scene.shape)
    scene = ndimage.gaussian_filter(scene + (np.abs(y - 2 * z - 12) < 1), (0.4, 0.8, 0.8))
    blurred = signal.fftconvolve(scene, kernel, "valid").clip(0)
    gain = photons / blurred.max()
    inner = tuple(slice(r, r + n) for r, n in zip(reach, shape, strict=True))
    noisy = 100 + lot.poisson(gain * blurred) + lot.normal(0, 1, shape)
    return 100 + gain * scene[inner], noisy.astype(np.float32)


@pytest.fixture(scope="module")
def pair():
    return recorded()


def error(clean, found):
    return float(np.sqrt(np.mean((clean - found) ** 2)))


def test_a_volume_is_worth_more_than_its_planes(pair):
    clean, noisy = pair
    volume = nr.deblur(noisy, CONFOCAL, noise=NOISE, iterations=2)
    planes = nr.deblur(noisy, psf.gaussian(1.0), noise=NOISE, iterations=2)
    assert error(clean, volume) < 0.5 * error(clean, noisy)
    assert error(clean, volume) < 0.8 * error(clean, planes)
    # The outer planes too, into which light comes from beyond.
    for end in (0, -1):
        assert error(clean[end], volume[end]) < 0.75 * error(clean[end], noisy[end])


@pytest.mark.filterwarnings("ignore:the noise, times its strength")
@pytest.mark.parametrize("kernel", [psf.gaussian(1.0), CONFOCAL])
@pytest.mark.parametrize("place", [(2, 5, 7), (0, 0, 0)])
def test_a_lone_photon_does_not_become_many(kernel, place):
    """Samples that are measured take it for a defect, and know of no noise then."""
    image = np.zeros((4, 12, 20), np.float32)
    image[place] = 1
    found = nr.deblur(image, kernel, noise=nr.NoiseModel(gain=1.0), iterations=2)
    assert np.abs(found).max() < 0.5
    assert found.sum() < 4  # of a volume of four planes, some light is from beyond


def test_light_is_not_negative_where_photons_are_counted(pair):
    volume = nr.deblur(pair[1], CONFOCAL, noise=NOISE, iterations=2)
    assert volume.min() >= 100 - 1e-3
    signed = nr.deblur(pair[1] - 100, CONFOCAL, noise=3.0, iterations=2)
    assert signed.min() < 0  # Gaussian noise tells nothing of a dark level


def test_the_light_of_dark_volumes_is_not_lost():
    """A denoiser that is told more noise than is left shifts the mean, turn after turn."""
    lot = np.random.default_rng(3)
    clean = np.zeros((8, 40, 40))
    clean[tuple(lot.integers(2, side - 2, 6) for side in clean.shape)] = lot.uniform(3, 10, 6)
    clean = ndimage.gaussian_filter(clean, 0.7)
    blurred = signal.fftconvolve(clean, CONFOCAL, "same").clip(0)
    gain = 10 / blurred.max()
    noisy = 100 + lot.poisson(gain * blurred) + lot.normal(0, 1, clean.shape)
    found = nr.deblur(noisy.astype(np.float32), CONFOCAL, noise=NOISE) - 100
    # Since light is not negative, read noise makes some where there is none.
    assert 0.6 < found.sum() / (gain * clean.sum()) < 3
    assert error(gain * clean, found) < 0.65 * error(gain * clean, noisy - 100)


def test_the_prior_changes_detail_and_no_means():
    slope = torch.linspace(-1, 1, 40).expand(1, 1, 3, 40, 40)
    np.testing.assert_allclose(detail(0.3 + slope)[..., 10:-10], 0, atol=1e-5)
    fine = (-1.0) ** torch.arange(40).expand(1, 1, 3, 40, 40)
    np.testing.assert_allclose(detail(fine)[..., 10:-10], fine[..., 10:-10], atol=0.01)


def test_a_psf_of_two_axes_leaves_planes_by_themselves(pair, tiny_model):
    options = {"model": tiny_model, "iterations": 2, "noise": 3.0}
    whole = nr.deblur(pair[1][:3], psf.gaussian(1), **options)
    # The range is that of the whole stack, so that a plane alone differs in its digits.
    changed = pair[1][:3].copy()
    changed[0] = changed[0, ::-1]
    np.testing.assert_allclose(nr.deblur(changed, psf.gaussian(1), **options)[1:], whole[1:])


@pytest.mark.parametrize("noise", [NOISE, 3.0])
def test_times_and_channels_are_volumes_of_their_own(pair, tiny_model, noise):
    options = {"model": tiny_model, "iterations": 2, "noise": noise}
    one = pair[1]
    # T, Z, C, Y, X
    stack = np.stack([np.stack([one, 2 * one], 1), np.stack([one[::-1], one], 1)])
    found = nr.deblur(stack, CONFOCAL, channel_axis=2, **options)
    assert found.shape == stack.shape
    # Each channel has a range of its own, measured over all times.
    both = np.stack([one, one[::-1]])
    apart = nr.deblur(both, CONFOCAL, **options)
    np.testing.assert_allclose(found[:, :, 0], apart, rtol=1e-4)
    np.testing.assert_allclose(apart[1], nr.deblur(both[::-1], CONFOCAL, **options)[0], rtol=1e-4)


def test_a_lazy_stack_becomes_a_block_for_each_volume(pair, tiny_model):
    options = {"model": tiny_model, "iterations": 2, "noise": NOISE}
    stack = np.stack([pair[1], pair[1][::-1]])
    lazy = nr.deblur(da.from_array(stack, chunks=(1, 3, 20, 20)), CONFOCAL, **options)
    assert lazy.numblocks == (2, 1, 1, 1)
    eager = nr.deblur(stack, CONFOCAL, **options)
    np.testing.assert_allclose(lazy[1].compute(), eager[1], rtol=1e-5)
    out = zarr.create_array({}, shape=stack.shape, chunks=(1, 4, 16, 16), dtype="f4")
    assert nr.deblur(stack, CONFOCAL, out=out, **options) is out
    np.testing.assert_array_equal(out[:], eager)
    other = zarr.create_array({}, shape=stack.shape, chunks=(1, 4, 16, 16), dtype="f4")
    nr.deblur(da.from_array(stack, chunks=(1, 3, 20, 20)), CONFOCAL, out=other, **options)
    np.testing.assert_allclose(other[:], eager, rtol=1e-5)


def test_blocks_overlap_in_all_axes():
    small = psf.confocal3d(0.9, 0.5, 0.5, 0.3, 0.8, 1.33, planes=3)
    clean, noisy = recorded(shape=(20, 40, 36), kernel=small)
    model = small_model("denoise")
    make = partial(prepare_deblur, noisy, small, noise=NOISE, model=model, iterations=2)
    whole, tiled = make().steps(), make(tile=18).steps()
    results, counts = [], []
    for steps in (whole, tiled):
        done = []
        while True:
            try:
                done.append(next(steps)[0])
            except StopIteration as end:
                results.append(end.value)
                break
        counts.append(done)
    assert len(counts[0]) == 2
    assert len(counts[1]) == 2 * 2 * 3 * 2
    assert all(done == sorted(done) and done[-1] == noisy.size for done in counts)
    apart = np.abs(results[0] - results[1])
    assert apart.max() > 0
    assert error(*results) < 0.05 * error(clean, results[0])


def test_strips_cover_what_is_kept_once():
    for kept, length, side, margin in ((slice(0, 22), 22, 8, 3), (slice(5, 6), 22, 8, 3)):
        strips = _strips(kept, length, side, margin)
        assert [strips[0].keep.start, strips[-1].keep.stop] == [kept.start, kept.stop]
        assert sum(s.kept for s in strips) == kept.stop - kept.start
        assert all(s.read.start == max(0, s.keep.start - margin) for s in strips)
        assert all(s.read.stop == min(length, s.keep.stop + margin) for s in strips)


def deblurrer(memory):
    options = check_options("denoise", small_model("denoise"), False, None, "cpu", memory)
    return options.volume_deblurrer(as_psf(CONFOCAL, (200, 2000, 2000)), 2)


def test_memory_bounds_the_blocks(monkeypatch):
    monkeypatch.setattr("napari_rednet.engine.volumes.used_memory", lambda: 400_000_000)
    shape = (200, 2000, 2000)

    class Large:
        planes = [np.broadcast_to(0.0, shape[1:])] * shape[0]

    Large.shape = shape
    whole = (slice(0, shape[1]), slice(0, shape[2]))
    for memory, most in (("1.5GB", 1_100_000_000), ("3GB", 2_600_000_000), (None, 3.1e9)):
        made = deblurrer(memory)
        sides = made._sides(Large, *whole)
        assert _BYTES * made.computed(sides, shape) <= most
        assert min(s / least for s, least in zip(sides, _LEAST, strict=True)) >= 1
    assert deblurrer(None).halved(_LEAST) == _LEAST


def test_running_out_of_memory_halves_the_blocks(pair, tiny_model, monkeypatch):
    monkeypatch.setattr("napari_rednet.engine.volumes._LEAST", (4, 16, 16))
    run = streaming.run_in_bands
    expected = nr.deblur(pair[1], CONFOCAL, noise=NOISE, model=tiny_model, iterations=2)
    most = [200]

    def limited(network, image, band):
        if max(image.shape[2:]) > most[0]:
            raise torch.OutOfMemoryError("out of memory")
        return run(network, image, band)

    monkeypatch.setattr(streaming, "run_in_bands", limited)
    same = nr.deblur(pair[1], CONFOCAL, noise=NOISE, model=tiny_model, iterations=2)
    np.testing.assert_array_equal(same, expected)
    most[0] = 1
    with pytest.raises(nr.DeviceMemoryError, match="or a smaller PSF"):
        nr.deblur(pair[1], CONFOCAL, noise=NOISE, model=tiny_model, iterations=2)


@pytest.mark.parametrize("noise", [NOISE, 3.0])
def test_pixels_that_are_not_finite_stay_and_count_nothing(pair, tiny_model, noise):
    options = {"model": tiny_model, "iterations": 2, "noise": noise, "defects": "keep"}
    hole = pair[1].copy()
    hole[4, 10:12, 20] = [np.nan, np.inf]
    found = nr.deblur(hole, CONFOCAL, **options)
    np.testing.assert_array_equal(found[4, 10:12, 20], hole[4, 10:12, 20])
    assert np.isfinite(found).sum() == hole.size - 2
    masked = np.ma.masked_invalid(hole)
    np.testing.assert_array_equal(nr.deblur(masked, CONFOCAL, **options).mask, masked.mask)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_integers_stay_integers(pair, dtype, tiny_model):
    image = pair[1].clip(0, 255).astype(dtype)
    found = nr.deblur(image, CONFOCAL, noise=NOISE, model=tiny_model, iterations=2)
    assert found.dtype == dtype
    same = nr.deblur(image.astype("f4"), CONFOCAL, noise=NOISE, model=tiny_model, iterations=2)
    top = np.iinfo(dtype).max
    # The first guess of light depends on its mean, which is not rounded.
    np.testing.assert_allclose(found, same.clip(0, top), atol=0.7)


def test_a_constant_volume_stays(tiny_model):
    flat = np.full(SHAPE, 77, np.uint16)
    np.testing.assert_array_equal(nr.deblur(flat, CONFOCAL, model=tiny_model, iterations=2), flat)


def test_a_window_of_a_plane_is_close_to_the_whole(pair, tiny_model):
    options = {"model": tiny_model, "iterations": 2, "noise": NOISE}
    restoration = prepare_deblur(pair[1], CONFOCAL, **options)
    windows = Windows(restoration, measure(restoration))
    window = windows.at((4,), slice(5, 20), slice(8, 20))
    for _ in window.steps():
        pass
    whole = nr.deblur(pair[1], CONFOCAL, **options)
    assert window.rows_done == 15
    assert error(window.values, whole[4, 5:20, 8:20]) < 0.1 * error(pair[0][4], whole[4])


def test_the_time_of_a_volume_grows_with_its_planes(pair, tiny_model):
    seconds = []
    for planes in (6, 60):
        stack = np.broadcast_to(pair[1][:1], (planes, *pair[1].shape[1:]))
        made = prepare_deblur(stack, CONFOCAL, noise=NOISE, model=tiny_model, iterations=1)
        steps = speed_steps(made)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                # What is computed beyond the borders does not grow.
                seconds.append(end.value.restoring * planes)
                break
    assert 2 * seconds[0] < seconds[1]


def test_light_from_beyond_the_volume_is_left_out(pair, tiny_model, caplog):
    few = pair[1][:3]
    options = {"model": tiny_model, "iterations": 1, "noise": NOISE}
    found = nr.deblur(few, CONFOCAL, **options)
    assert "5 of its 7 planes" in caplog.text
    caplog.clear()
    np.testing.assert_allclose(found, nr.deblur(few, CONFOCAL[1:-1], **options), rtol=1e-6)
    assert "of its" not in caplog.text


def test_a_wide_psf_makes_no_long_measurement(tiny_model, monkeypatch):
    """The time of a run is measured without it."""
    seen = []

    def spy(deblurrer, image, told, denoise=VolumeDeblurrer._denoise):
        seen[-1] += image.numel()
        return denoise(deblurrer, image, told)

    monkeypatch.setattr(VolumeDeblurrer, "_denoise", spy)
    for side in (3, 101):
        seen.append(0)
        kernel = np.ones((1, side, side))
        made = prepare_deblur(np.ones((9, 120, 120)), kernel, noise=NOISE, model=tiny_model)
        drain(speed_steps(made), False, "")
    assert seen[0] == seen[1] > 0


@pytest.mark.parametrize(
    ("image", "kernel", "message"),
    [
        (np.ones((9, 9)), CONFOCAL, r"has no planes along Z; use its sharpest plane, psf\[z\]"),
        (np.ones((9, 60, 60)), np.ones((1, 1, 3, 3)), "two axes Y and X, or Z, Y and X"),
    ],
)
def test_wrong_psfs_are_named(image, kernel, message):
    with pytest.raises(ValueError, match=message):
        nr.deblur(image, kernel)
    if image.ndim == 2:  # the channel axis holds no planes
        with pytest.raises(ValueError, match=message):
            nr.deblur(np.stack([image] * 3), kernel, channel_axis=0)


def test_planes_lie_along_the_last_axis_that_is_not_the_channels():
    assert PlaneLayout((2, 3, 4, 5, 6)).depth_axis == 2
    assert PlaneLayout((2, 3, 4, 5, 6), 2).depth_axis == 1
    assert PlaneLayout((4, 5, 6), 0).depth_axis is None
    assert PlaneLayout((5, 6)).depth_axis is None


@pytest.mark.parametrize("shape", [(12, 20, 22), (9, 21, 19)])
def test_the_transfer_function_blurs_volumes_as_a_convolution_does(shape):
    lot = np.random.default_rng(0)
    kernel, image = lot.random((3, 5, 7)), lot.random(shape)
    kernel /= kernel.sum()
    spectrum = transfer_function(as_psf(kernel, shape), shape)
    spectrum = spectrum * torch.fft.rfftn(torch.from_numpy(image))
    found = torch.fft.irfftn(spectrum, s=shape).numpy()
    np.testing.assert_allclose(found, ndimage.convolve(image, kernel, mode="wrap"), atol=1e-5)


def test_one_plane_is_a_volume_with_the_solution_of_a_plane():
    image = torch.rand(1, 1, 40, 36, generator=seeded())
    flat = PointSpread(psf.gaussian(1.2))
    deep = PointSpread(flat.values[None], (0.0, *flat.offset))
    std = 0.02 + 0.05 * image
    one = BlurredImage(image, flat, ImageNoise(0.05, std, (0.5, 0.5)))
    other = BlurredImage(image[:, :, None], deep, ImageNoise(0.05, std[:, :, None], (0.5, 0.5)))
    solution, same = one.solve(one.start, 0.1), other.solve(other.start, 0.1)
    torch.testing.assert_close(same[:, :, 0], solution, atol=1e-5, rtol=0)
    torch.testing.assert_close(other.told(0.1, 0.1)[:, :, 0], one.told(0.1, 0.1))


def counted(pair):
    clean, noisy = (torch.from_numpy(one / 100 - 1).float()[None, None] for one in pair)
    std = (0.01 * clean.clamp(min=0) + 1e-4).sqrt()
    point = as_psf(CONFOCAL, SHAPE)
    image = CountedImage(noisy, point, ImageNoise(0.05, std), Counting(0.0, 0.01, 0.01))
    return clean, image


def likelihood(image, light):
    expected = (image._blurred(light) + image._even).clamp(min=1e-9)
    return float((image._known * (image._seen * expected.log() - expected)).sum())


def test_light_becomes_more_likely_and_acceleration_helps(pair, monkeypatch):
    _, image = counted(pair)
    monkeypatch.setattr(image, "_misfit", lambda: 0.0)
    start = image.flat()
    found = [likelihood(image, image.likely(start, rounds)[0]) for rounds in (1, 4, 16)]
    assert found == sorted(found)
    slow = start
    for _ in range(16):
        slow, _ = image.likely(slow, 1)
    assert found[-1] > likelihood(image, slow)


def test_what_was_seen_is_explained_as_well_as_noise_allows(pair):
    """Not sooner, and no better: fewer rounds for the same light with noise that is stronger."""
    _, image = counted(pair)
    light, rounds = image.likely(image.flat(), 1)
    expected = image._blurred(light) + image._even
    squares = image._known * (image._seen - expected) ** 2 / expected.clamp(min=1e-6)
    assert float(squares.sum() / image._known.sum()) / image._gain < 1.05
    assert 1 < rounds < _AT_MOST
    assert image.likely(image.flat(), rounds + 3)[1] == rounds + 3
    image._gain *= 4
    assert image.likely(image.flat(), 1)[1] < rounds
    image._gain /= 400
    assert image.likely(image.flat(), 1)[1] == _AT_MOST


def test_agreed_light_maximises_what_it_says(pair):
    """No other light is more likely and as close to the prior."""
    clean, image = counted(pair)
    prior = torch.nn.functional.pad(clean, [0, 0], mode="constant")
    prior = image._pad(prior).clamp(min=0.01)
    weight = 0.5
    found = image.agreed(prior, prior, weight, 60)

    def score(light):
        apart = (light - prior) / (image._relative * image._level)
        return likelihood(image, light) / image._gain - 0.5 * weight * float(apart.square().sum())

    assert score(found) > score(prior)
    for seed in range(4):
        nudge = 0.02 * torch.randn(found.shape, generator=seeded(seed))
        assert score(found) > score((found + nudge).clamp(min=0))


def test_acceleration_keeps_values_from_becoming_negative():
    rounds = accelerated(lambda x: 0.5 * x, torch.rand(50, generator=seeded()))
    found = next(islice(rounds, 30, None))
    assert float(found.min()) >= 0
    assert float(found.max()) < 1e-6


def test_settings_of_photons_are_those_of_the_noise():
    from napari_rednet.engine.channel import IntensityRange
    from napari_rednet.engine.deblurring import Block
    from napari_rednet.engine.volumes import counting_of

    values = np.full((3, 40, 40), 150.0, np.float32)
    made = {}
    for strength in (1.0, 2.0):
        settings = ChannelSettings(IntensityRange(100, 300), NOISE, strength, 7.1)
        made[strength] = counting_of(Block(values, settings, torch.device("cpu")), settings)
    assert made[1.0].gain == pytest.approx(1 / 200)
    assert made[1.0].dark == pytest.approx(0)
    assert made[2.0].gain == pytest.approx(4 * made[1.0].gain)
    assert made[2.0].read_noise == pytest.approx(2 * made[1.0].read_noise)
    plain = ChannelSettings(IntensityRange(100, 300), nr.NoiseModel(read_noise=3.0), 1.0, 3.0)
    assert counting_of(Block(values, plain, torch.device("cpu")), plain) is None


def test_commands_take_psfs_of_three_axes_and_sizes_from_the_file(pair, tmp_path):
    model, out = tmp_path / "tiny.safetensors", tmp_path / "out.tif"
    small_model("denoise").save(model)
    source, kernel = tmp_path / "in.tif", tmp_path / "psf.tif"
    metadata = {"axes": "ZYX", "spacing": 0.4, "unit": "um"}
    tifffile.imwrite(
        source, pair[1], imagej=True, resolution=(1 / 0.15, 1 / 0.15), metadata=metadata
    )
    tifffile.imwrite(kernel, CONFOCAL.astype(np.float32))
    common = [source, out, "--model", model, "--iterations", 1, "--force"]
    expected = nr.deblur(
        pair[1], CONFOCAL.astype(np.float32), model=nr.load_model(model), iterations=1
    )
    assert call("deblur", *common, "--psf", kernel)[0] == 0
    np.testing.assert_allclose(tifffile.imread(out), expected, rtol=1e-4)
    optics = ["--numerical-aperture", 1.0, "--wavelength", 0.52, "--refractive-index", 1.33]
    assert call("deblur", *common, *optics, "--excitation", 0.488)[0] == 0
    made = psf.confocal3d(1.0, 0.52, 0.488, 0.15, 0.4, 1.33)
    expected = nr.deblur(pair[1], made, model=nr.load_model(model), iterations=1)
    np.testing.assert_allclose(tifffile.imread(out), expected, rtol=3e-3, atol=0.1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--numerical-aperture", 1.0, "--wavelength", 0.52], "give --pixel-size"),
        (
            [
                "--numerical-aperture",
                1.0,
                "--wavelength",
                0.52,
                "--pixel-size",
                0.1,
                "--refractive-index",
                1.33,
            ],
            "give --z-step",
        ),
        (["--numerical-aperture", 1.4, "--wavelength", 0.5, "--refractive-index", 1.3], "below"),
        (["--numerical-aperture", 1.0, "--wavelength", 0.5, "--pinhole", 2], "--excitation"),
        (["--wavelength", 0.5, "--z-step", 0.2], "belong together"),
    ],
)
def test_commands_say_what_is_missing(pair, tmp_path, words, message):
    source = tmp_path / "in.tif"
    tifffile.imwrite(source, pair[1])
    code, told = call("deblur", source, tmp_path / "out.tif", *words)
    assert code == 1
    assert message in told
