import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import idle_model, small_model

from napari_rednet.engine.channel import IntensityRange
from napari_rednet.engine.inference import Restorer
from napari_rednet.engine.inpainting import Inpainter, fill_holes
from napari_rednet.engine.planes import ChannelSettings, Plane
from napari_rednet.engine.streaming import NetworkRunner

CPU = torch.device("cpu")
SCALE = IntensityRange(10, 250)
BUSY, IDLE = small_model("inpaint").network, idle_model("inpaint").network

SHARES = st.sampled_from([0.05, 0.5, 0.97])


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    """Levels that are there as a whole in float32 as well."""
    monkeypatch.setattr("napari_rednet.engine.streaming.fast_dtype", lambda device: torch.float32)


def run(image, mask, network=BUSY, **options):
    """The filled plane, and the progress."""
    target = np.zeros_like(image)

    def write(rows, columns, values):
        target[rows, columns] = values

    plane = Plane(
        image.shape,
        image.dtype,
        lambda rows, columns: image[rows, columns],
        write,
        ChannelSettings(SCALE),
        lambda rows, columns: mask[rows, columns],
    )
    inpainter = Inpainter(Restorer(network, CPU, **{"dtype": torch.float32, **options}))
    return target, list(inpainter.restore(plane))


def case(height, width, share, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.normal(100, 40, (height, width))
    mask = rng.random((height, width)) < share
    return image, mask


def hole(image, side):
    """A mask of one square hole."""
    mask = np.zeros(image.shape, bool)
    top, left = ((n - side) // 2 for n in image.shape)
    mask[top : top + side, left : left + side] = True
    return mask


@settings(max_examples=25)
@given(height=st.integers(3, 90), width=st.integers(3, 90), share=SHARES)
def test_what_an_idle_network_leaves_is_the_guess(height, width, share):
    image, mask = case(height, width, share)
    normalized = torch.from_numpy((image - SCALE.low) / SCALE.span).float()[None, None]
    known = torch.from_numpy(~mask).float()[None, None]
    guess = fill_holes(normalized, known)[0, 0].numpy() * SCALE.span + SCALE.low
    result, _ = run(image, mask, IDLE, tile=32)
    np.testing.assert_allclose(result[mask], guess[mask], rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(result[~mask], image[~mask])


def test_the_network_sees_the_guess_and_the_mask(noisy_camera):
    """One level by hand, where no pixel of level 2 is missing."""
    mask = np.random.default_rng(0).random(noisy_camera.shape) < 0.3
    normalized = torch.from_numpy((noisy_camera - SCALE.low) / SCALE.span).float()[None, None]
    missing = torch.from_numpy(mask).float()[None, None]
    inputs = torch.cat([fill_holes(normalized, 1 - missing), missing], 1)
    expected = BUSY(inputs)[0, 0].numpy() * SCALE.span + SCALE.low
    result, _ = run(noisy_camera, mask)
    np.testing.assert_allclose(result[mask], expected[mask], atol=1e-2)


@settings(max_examples=25)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    share=SHARES,
    tile=st.integers(16, 80),
)
def test_tile_does_not_change_the_result(height, width, share, tile):
    image, mask = case(height, width, share)
    free, _ = run(image, mask)
    tiled, _ = run(image, mask, tile=tile)
    np.testing.assert_allclose(tiled, free, atol=1e-3)


@pytest.mark.parametrize(("side", "levels"), [(3, set()), (12, {53}), (170, {53, 14})])
def test_wide_holes_are_filled_on_coarse_levels(side, levels, monkeypatch):
    """Level 2 has 53 rows, level 4 has 14; on them the network reaches the middle of the hole."""
    image, _ = case(210, 200, 0)
    mask, seen = hole(image, side), set()
    runs = NetworkRunner.run

    def remember(self, inputs):
        seen.add(inputs.shape[2])
        return runs(self, inputs)

    monkeypatch.setattr(NetworkRunner, "run", remember)
    free, _ = run(image, mask)
    assert seen == levels
    tiled, _ = run(image, mask, tile=48)
    np.testing.assert_allclose(tiled, free, atol=1e-3)
    assert np.isfinite(free).all()


def test_pixels_that_are_not_finite_stay_unless_they_are_masked(noisy_camera):
    mask = np.random.default_rng(0).random(noisy_camera.shape) < 0.3
    image = noisy_camera.copy()
    image[20:23, 30:33] = [[np.nan], [np.inf], [-np.inf]]
    mask[20:23, 30:33] = [False, True, True]
    result, _ = run(image, mask)
    np.testing.assert_array_equal(result[~mask], image[~mask])
    assert np.isfinite(result[mask]).all()
    covered, _ = run(noisy_camera, mask | ~np.isfinite(image))
    np.testing.assert_allclose(result[mask], covered[mask])


def test_progress_grows_to_all_pixels(noisy_camera):
    _, done = run(noisy_camera, noisy_camera > 100, tile=32)
    assert done == sorted(done)
    assert len(done) > 5
    assert done[-1] == noisy_camera.size


def test_ensemble_is_used_on_all_levels(monkeypatch):
    image, _ = case(60, 64, 0.0)
    mask, copies = hole(image, 40), []
    runs = NetworkRunner.run

    def remember(self, inputs):
        copies.append(len(self.networks(torch.float32)))
        return runs(self, inputs)

    monkeypatch.setattr(NetworkRunner, "run", remember)
    ensemble, _ = run(image, mask, ensemble=True)
    single, _ = run(image, mask)
    assert copies[0] == 8
    assert copies[-1] == 1
    assert np.abs(ensemble - single)[mask].max() > 1e-3


def test_a_plane_without_a_mask_is_refused(noisy_camera):
    plane = Plane(
        noisy_camera.shape,
        noisy_camera.dtype,
        lambda rows, columns: noisy_camera[rows, columns],
        lambda rows, columns, values: None,
        ChannelSettings(SCALE),
    )
    with pytest.raises(ValueError, match="needs a mask"):
        list(Inpainter(Restorer(IDLE, CPU)).restore(plane))


def test_a_window_without_holes_is_done_at_once():
    image, mask = case(24, 20, 0)
    target = np.zeros_like(image)

    def write(rows, columns, values):
        target[rows, columns] = values

    plane = Plane(
        image.shape,
        image.dtype,
        lambda rows, columns: image[rows, columns],
        write,
        ChannelSettings(SCALE),
        lambda rows, columns: mask[rows, columns],
    )
    inpainter = Inpainter(Restorer(BUSY, CPU, dtype=torch.float32))
    window = slice(4, 10), slice(8, 20)
    assert list(inpainter.restore_window(plane, *window)) == [6 * 12]
    np.testing.assert_array_equal(target[window], image[window])
