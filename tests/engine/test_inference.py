import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from tests.conftest import random_network

from napari_rednet.engine import inference
from napari_rednet.engine.channel import IntensityRange, NoiseModel
from napari_rednet.engine.inference import Restorer, is_out_of_memory
from napari_rednet.engine.network import (
    MOST_CHANGE,
    OWN_ERROR,
    RADIUS,
    SIGMA,
    NetworkConfig,
    orient,
    orientations,
    reorient,
    smooth_signal,
    used_memory,
)
from napari_rednet.engine.planes import ChannelSettings, Plane
from napari_rednet.errors import DeviceMemoryError, ModelError

CPU = torch.device("cpu")
SETTINGS = ChannelSettings(IntensityRange(10, 250), NoiseModel(2, 5, 3, 0.7, 0.4), 1.2)
NETWORK = random_network(NetworkConfig(layers=6, features=4, in_channels=4, stride=2))


def run(image, restorer, settings=SETTINGS, is_stored=True, readers=None):
    """The restored plane; what was not written is NaN, or the dtype's lowest value.

    `readers` takes the threads that read.
    """
    fill = np.nan if image.dtype.kind == "f" else np.iinfo(image.dtype).min
    target = np.full(image.shape, fill, image.dtype)

    def write(rows, columns, values):
        target[rows, columns] = values

    def read(rows, columns):
        if readers is not None:
            readers.add(threading.get_ident())
        return image[rows, columns]

    plane = Plane(image.shape, image.dtype, read, write, settings, is_stored=is_stored)
    return target, list(restorer.restore(plane))


def restorer(**options):
    return Restorer(NETWORK, CPU, **{"dtype": torch.float32, **options})


def whole(image, settings=SETTINGS, network=NETWORK):
    """The same by other means: everything at once, the noise map with SciPy."""
    scale, noise = settings.scale, settings.noise
    signal = ndimage.gaussian_filter(image, SIGMA, mode="nearest", radius=RADIUS)
    std = settings.strength * noise.std(signal) / scale.span
    told = [std, *(std * along for along in noise.correlation)]
    inputs = np.stack([(image - scale.low) / scale.span, *told]).astype(np.float32)
    with torch.no_grad():
        restored = network(torch.from_numpy(inputs)[None])[0, 0].numpy()
    change = np.clip(restored - inputs[0], -MOST_CHANGE * std, MOST_CHANGE * std)
    own = OWN_ERROR * ndimage.maximum_filter(np.abs(inputs[0]), 2 * RADIUS + 1, mode="nearest")
    change = change * std**2 / (std**2 + own**2)
    return image + change * scale.span


@pytest.mark.parametrize("is_stored", [False, True])
@pytest.mark.parametrize("overlap", [False, True])
def test_bands_are_read_beside_where_this_pays_and_the_result_is_the_same(
    noisy_camera, is_stored, overlap
):
    noisy_camera[7, 9] = np.nan
    readers = set()
    expected, _ = run(noisy_camera, restorer(tile=32, overlap=False))
    options = {"is_stored": is_stored, "readers": readers}
    found, done = run(noisy_camera, restorer(tile=32, overlap=overlap), **options)
    np.testing.assert_array_equal(found, expected)
    assert done[-1] == found.size
    assert (threading.get_ident() in readers) != (is_stored and overlap)


def test_result_is_the_network_at_the_noise_map(noisy_camera):
    result, _ = run(noisy_camera, restorer())
    np.testing.assert_allclose(result, whole(noisy_camera), atol=1e-2)


@settings(max_examples=25)
@given(height=st.integers(1, 90), width=st.integers(1, 90), tile=st.integers(16, 100))
def test_tile_does_not_change_the_result(height, width, tile):
    image = np.random.default_rng(height).normal(100, 20, (height, width))
    free, _ = run(image, restorer())
    tiled, _ = run(image, restorer(tile=tile))
    np.testing.assert_allclose(tiled, free, atol=1e-3)


def test_progress_grows_to_all_pixels(noisy_camera):
    _, done = run(noisy_camera, restorer(tile=32))
    assert done == sorted(done)
    assert len(done) > 5
    assert done[-1] == noisy_camera.size


def test_ensemble_is_the_mean_over_orientations(noisy_camera):
    image = noisy_camera[:80, :60]
    ensemble, _ = run(image, restorer(ensemble=True))
    results = []
    for turn in orientations():
        turned = orient(torch.from_numpy(image)[None, None], *turn)[0, 0].numpy()
        restored = torch.from_numpy(whole(np.ascontiguousarray(turned)))
        results.append(reorient(restored[None, None], *turn)[0, 0].numpy())
    np.testing.assert_allclose(ensemble, np.mean(results, 0), atol=1e-2)


def test_pixels_that_are_not_finite_stay_and_do_not_spread(noisy_camera):
    image = noisy_camera.astype(np.float32)
    bad = image.copy()
    bad[40:43, 50] = [np.nan, np.inf, -np.inf]
    clean, _ = run(image, restorer())
    result, _ = run(bad, restorer(tile=32))
    finite = np.isfinite(bad)
    np.testing.assert_array_equal(result[~finite], bad[~finite])
    assert np.isfinite(result[finite]).all()
    far = np.ones(image.shape, bool)
    reach = NETWORK.config.receptive_radius + 2 * RADIUS
    far[40 - reach : 43 + reach, 50 - reach : 51 + reach] = False
    np.testing.assert_allclose(result[far], clean[far], atol=1e-3)
    near = finite & ~far
    assert np.abs(result[near] - clean[near]).mean() < 10


def test_planes_without_a_finite_pixel_come_back(noisy_camera):
    nothing = np.full((20, 30), np.nan)
    assert np.isnan(run(nothing, restorer())[0]).all()


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4", "f8"])
def test_without_noise_the_image_comes_back_to_the_last_bit(noisy_camera, dtype):
    """Whatever its offset, and whatever the network would add."""
    image = (noisy_camera.clip(0, 255) + (0 if dtype == "u1" else 30_000)).astype(dtype)
    settings = ChannelSettings(IntensityRange(float(image.min()), float(image.max())), NoiseModel())
    assert run(image, restorer(tile=40), settings)[0].tobytes() == image.tobytes()


def test_no_pixel_changes_by_more_than_its_noise(noisy_camera):
    """Where the noise is told; the network alone would change them by more."""
    settings = replace(SETTINGS, noise=NoiseModel(read_noise=0.7))
    change = np.abs(run(noisy_camera, restorer(), settings)[0] - noisy_camera)
    most = MOST_CHANGE * settings.strength * 0.7
    assert 0.9 * most < change.max() <= most * (1 + 1e-5)
    assert (change > 0.4 * most).mean() > 0.2


def test_images_times_powers_of_2_are_restored_alike_to_the_last_bit(noisy_camera):
    scale, noise = SETTINGS.scale, SETTINGS.noise
    plain, _ = run(noisy_camera, restorer())
    for factor in (0.25, 64.0):
        found = ChannelSettings(
            IntensityRange(factor * scale.low, factor * scale.high),
            replace(
                noise,
                gain=factor * noise.gain,
                offset=factor * noise.offset,
                read_noise=factor * noise.read_noise,
            ),
            SETTINGS.strength,
        )
        np.testing.assert_array_equal(
            run(factor * noisy_camera, restorer(), found)[0], factor * plain
        )


def test_input_is_not_modified(noisy_camera):
    noisy_camera[5, 5] = np.nan
    before = noisy_camera.copy()
    noisy_camera.setflags(write=False)
    run(noisy_camera, restorer())
    np.testing.assert_array_equal(noisy_camera, before)


class FailingStream(inference.RowStream):
    """Runs out of memory at a chosen push, on bands higher than a device can hold."""

    limit = 8

    def push(self, rows, **options):
        if self._rows_in > 20 and rows.shape[2] > self.limit:
            raise torch.OutOfMemoryError("out of memory")
        return super().push(rows, **options)


def test_out_of_memory_is_retried_with_smaller_bands(noisy_camera, monkeypatch):
    expected, _ = run(noisy_camera, restorer())
    monkeypatch.setattr(inference, "RowStream", FailingStream)
    result, _ = run(noisy_camera, restorer(tile=64))
    np.testing.assert_allclose(result, expected, atol=1e-3)


def test_too_little_memory_for_anything_is_an_error(noisy_camera, monkeypatch):
    monkeypatch.setattr(inference, "RowStream", FailingStream)
    monkeypatch.setattr(FailingStream, "limit", 0)
    with pytest.raises(DeviceMemoryError, match="too little memory"):
        run(noisy_camera, restorer(tile=64))


def test_other_errors_of_torch_are_not_taken_for_memory(noisy_camera, monkeypatch):
    def fail(self, rows):
        raise RuntimeError("something else")

    monkeypatch.setattr(inference.RowStream, "push", fail)
    with pytest.raises(RuntimeError, match="something else"):
        run(noisy_camera, restorer())


def test_memory_errors_are_recognised():
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"))
    assert is_out_of_memory(RuntimeError("MPS backend out of memory"))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("shape mismatch"))


def test_overflow_in_half_precision_is_computed_in_float32(noisy_camera):
    """float16 ends at 65504; the network's own values here go beyond."""
    network = random_network(NetworkConfig(layers=6, features=4, in_channels=4))
    network.conv[0].weight.mul_(1e6)
    network.deconv[-1].weight.mul_(1e-6)
    exact, _ = run(noisy_camera, Restorer(network, CPU, dtype=torch.float32))
    result, _ = run(noisy_camera, Restorer(network, CPU, dtype=torch.float16))
    assert np.isfinite(result).all()
    np.testing.assert_allclose(result, exact, rtol=1e-4)


@pytest.mark.parametrize("part", ["weight", "bias"])
def test_damaged_weights_are_named(noisy_camera, part):
    network = random_network(NetworkConfig(layers=6, features=4, in_channels=4, bias=True))
    getattr(network.conv[0], part).fill_(float("nan"))
    with pytest.raises(ModelError, match="not finite"):
        run(noisy_camera, Restorer(network, CPU))


def test_noise_map_of_a_band_is_that_of_the_plane(noisy_camera):
    image = torch.from_numpy(noisy_camera)[None, None]
    band = inference.smooth_band(image[:, :, 30 : 50 + 2 * RADIUS])
    torch.testing.assert_close(band, smooth_signal(image)[:, :, 30 + RADIUS : 50 + RADIUS])


def test_a_bound_for_the_memory_makes_strips_narrower(monkeypatch):
    held = 400_000_000
    monkeypatch.setattr("napari_rednet.engine.inference.used_memory", lambda: held)
    shape = (20_000, 20_000)
    sides = [
        Restorer(NETWORK, CPU, memory=held + spare)._tiling(shape, torch.float32).side
        for spare in (10**7, 10**8, 10**9)
    ]
    assert sides == sorted(sides)
    assert sides[0] < sides[-1] <= Restorer(NETWORK, CPU)._tiling(shape, torch.float32).side


def test_mapped_files_do_not_count_as_held(tmp_path):
    """Else a bound would leave nothing to compute with once a large file has been read."""
    before = used_memory()
    mapped = np.memmap(tmp_path / "file", np.uint8, "w+", shape=2 * 10**8)
    mapped[:] = 1
    assert used_memory() - before < 10**8
