"""Hot pixels and streaks are found, and nothing that light has made."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from scipy.special import erf
from skimage import data

from napari_rednet.engine.channel import NoiseModel
from napari_rednet.engine.outliers import OutlierLimits, find_outliers, without_outliers
from napari_rednet.noise import fit_noise

NOISY, SHARP = 0.25, 0.75
LIMITS = OutlierLimits(NoiseModel(1.0, 100.0, 3.0), low=100.0, least=20.0, streak=400.0)


def limits_of(image, share=NOISY):
    """As they are for a recording."""
    rest, limits = without_outliers([image], share)
    return replace(limits, noise=fit_noise(rest))


def outliers(image, share=NOISY):
    return find_outliers(image, limits_of(image, share)).mask(image.shape)


def frame(seed=0, name="cell"):
    """A camera's frame: photon noise, and an offset."""
    clean = ndimage.gaussian_filter(getattr(data, name)()[:200, :240].astype(float), 1.0)
    return (100 + np.random.default_rng(seed).poisson(clean)).astype(np.uint16)


def planted(shape, count, seed=1):
    """Places of single pixels that do not touch, the corners among them."""
    lot = np.random.default_rng(seed)
    mask = np.zeros(shape, bool)
    mask[0, 0] = mask[-1, -1] = mask[0, -1] = mask[-1, 0] = True
    while mask.sum() < count:
        y, x = lot.integers(0, shape[0]), lot.integers(0, shape[1])
        if not mask[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3].any():
            mask[y, x] = True
    return mask


@pytest.mark.parametrize("value", [400, 4000, 65535, 0])
@pytest.mark.parametrize("name", ["cell", "camera", "moon"])
def test_hot_and_dead_pixels_are_found(name, value):
    image = frame(name=name)
    bright = image > 180
    mask = planted(image.shape, 24) & (bright if value == 0 else image < 250)
    image[mask] = value
    found = outliers(image)
    assert not (found & ~mask).any()
    assert found[mask].mean() > 0.8  # where there is detail, faint ones may belong to it


@pytest.mark.parametrize("step", [(0, 1), (1, 0), (1, 1), (1, -1)])
@pytest.mark.parametrize("values", [(60000, 60000), (60000, 900)])
def test_two_that_touch_are_found(step, values):
    image, mask = frame(), np.zeros((200, 240), bool)
    for (y, x), value in zip([(50, 60), (50 + step[0], 60 + step[1])], values, strict=True):
        image[y, x], mask[y, x] = value, True
    np.testing.assert_array_equal(outliers(image), mask)


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("step", [(0, 1), (1, 0), (1, 1), (1, 2)])
def test_hits_of_cosmic_rays_are_found(step, width):
    image = np.tile(frame(), (2, 2))
    mask = np.zeros(image.shape, bool)
    for i in range(9):
        for w in range(width):
            mask[80 + i * step[0] + w * step[1], 90 + i * step[1] - w * step[0]] = True
    image[mask] = np.random.default_rng(2).integers(5000, 20000, mask.sum())
    found = outliers(image)
    assert not (found & ~mask).any()
    assert found[mask].mean() > 0.9


def test_what_is_put_in_their_place_fits_in():
    clean, mask = frame(), planted((200, 240), 40)
    image = np.where(mask, np.uint16(65535), clean)
    fixed = find_outliers(image, limits_of(image)).repaired(image)
    np.testing.assert_array_equal(fixed[~mask], clean[~mask])
    error = fixed.astype(float)[mask] - clean[mask]
    assert np.abs(error).mean() < 25
    assert fixed.dtype == image.dtype


PHOTOGRAPHS = [
    "camera", "coins", "page", "text", "brick", "grass", "gravel", "moon", "cell", "clock",
    "coffee", "astronaut", "chelsea", "hubble_deep_field", "retina", "immunohistochemistry",
]  # fmt: skip


LARGE = ["hubble_deep_field", "retina"]


def photograph(name):
    image = getattr(data, name)()
    return image if image.ndim == 2 else image[..., 1]


def photographs():
    """Each as integers or as floats, and slow ones as the other."""
    for (n, name), (k, kind) in product(enumerate(PHOTOGRAPHS), enumerate([np.uint8, np.float32])):
        yield pytest.param(name, kind, marks=() if (n + k) % 2 == 0 else pytest.mark.slow)


@pytest.mark.parametrize(("name", "kind"), list(photographs()))
def test_photographs_have_next_to_none(name, kind):
    assert_next_to_none(photograph(name)[-640:, -640:].astype(kind))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
@pytest.mark.parametrize("name", LARGE)
def test_large_photographs_have_next_to_none(name, kind):
    assert_next_to_none(photograph(name).astype(kind))


def assert_next_to_none(image):
    assert outliers(image).sum() <= max(1, 1e-5 * image.size)
    assert not outliers(image, SHARP).any()


def lights():
    """Recordings, each kind and each level of light on one photograph, and slow ones on all."""
    kinds = ["counts", "camera", "floats", "electron multiplication"]
    names = ["camera", "text", "hubble_deep_field"]
    levels = [0.02, 0.2, 1, 5, 30, 1000]
    for k, n, p in product(range(len(kinds)), range(len(names)), range(len(levels))):
        marks = () if (k + p) % len(names) == n else pytest.mark.slow
        yield pytest.param(kinds[k], names[n], levels[p], marks=marks)


@pytest.mark.parametrize(("kind", "name", "photons"), list(lights()))
def test_photons_are_none(kind, name, photons):
    light = photograph(name)[:512, :512].astype(float)
    lot = np.random.default_rng(3)
    counts = lot.poisson(light / light.mean() * photons)
    image = {
        "counts": counts.astype(np.uint16),
        "camera": (100.5 + 2.2 * counts + lot.normal(0, 1.6, counts.shape)).astype(np.uint16),
        "floats": 3.7 * counts,
        "electron multiplication": (
            lot.gamma(np.maximum(counts, 1e-9), 30) * (counts > 0) + lot.normal(0, 3, counts.shape)
        ),
    }[kind]
    assert outliers(image).sum() <= max(1, 1e-5 * image.size)


@pytest.mark.parametrize("photons", [3, 100])
def test_grainy_noise_has_none(photons):
    light = data.camera().astype(float)
    noisy = np.random.default_rng(4).poisson(light / light.mean() * photons).astype(float)
    assert not outliers(ndimage.gaussian_filter(noisy, 0.7)).any()


def spots(width, photons, background):
    """Images of single molecules, and how many there are."""
    lot, places, image = np.random.default_rng(5), np.arange(256), np.full((256, 256), background)
    for y, x in lot.uniform(0, 256, (200, 2)):
        rows, columns = (
            erf((places + 0.5 - c) / width / 2**0.5) - erf((places - 0.5 - c) / width / 2**0.5)
            for c in (y, x)
        )
        image = image + photons * np.outer(rows, columns) / 4
    return lot.poisson(image).astype(np.uint16)


@pytest.mark.parametrize("background", [0.05, 1.0, 30.0])
@pytest.mark.parametrize("photons", [20, 100, 1000, 20000])
@pytest.mark.parametrize("width", [0.85, 1.0, 1.5])
def test_the_images_of_points_are_none(width, photons, background):
    assert not outliers(spots(width, photons, background)).any()


def test_points_and_lines_that_an_image_is_made_of_are_none():
    image = np.zeros((300, 300))
    image[::11, ::13] = 1000.0
    assert not outliers(image).any()
    image = np.zeros((300, 300))
    image[100, 20:280] = image[20:280, 200] = 1000.0
    assert not outliers(image).any()


@given(
    seed=st.integers(0, 2**16),
    rows=st.tuples(st.integers(0, 59), st.integers(1, 60)),
    columns=st.tuples(st.integers(0, 69), st.integers(1, 70)),
)
def test_they_are_the_same_in_any_window(seed, rows, columns):
    lot = np.random.default_rng(seed)
    image = lot.poisson(20, (60, 70)).astype(np.float32) + 100
    image[lot.random(image.shape) < 0.03] = lot.choice([0, 300, 9000])
    image[lot.random(image.shape) < 0.01] = np.nan
    y, x = (slice(start, start + length) for start, length in (rows, columns))
    wide = [slice(max(0, part.start - 2), part.stop + 2) for part in (y, x)]
    height, width = image[y, x].shape
    first = [part.start - w.start for part, w in zip((y, x), wide, strict=True)]
    inner = (slice(first[0], first[0] + height), slice(first[1], first[1] + width))
    whole = find_outliers(image, LIMITS).repaired(image)[y, x]
    part = image[tuple(wide)]
    found = find_outliers(part, LIMITS).within(*inner).repaired(part[inner])
    np.testing.assert_array_equal(found, whole)


@pytest.mark.parametrize("dtype", ["u1", "i2", ">u2", "i4", "u8", "f4", ">f8"])
def test_any_dtype_is_taken(dtype):
    image = (frame(name="moon") - 100).clip(0, 160).astype(dtype)
    image[50, 60] = 250
    assert np.argwhere(outliers(image)).tolist() == [[50, 60]]


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0), (1, 1), (1, 7), (2, 2), (3, 3)])
def test_tiny_images_are_taken(shape):
    image = np.arange(np.prod(shape), dtype=float).reshape(shape)
    assert not outliers(image).any()


def test_pixels_that_are_not_finite_say_nothing():
    image = frame().astype(float)
    image[20:40, 30:50] = np.nan
    image[60, 60:63] = [np.inf, -np.inf, np.nan]
    image[25, 51] = image[61, 61] = image[10, 10] = 9000
    assert np.argwhere(outliers(image)).tolist() == [[10, 10], [25, 51], [61, 61]]
    lonely = np.full((20, 20), np.nan)
    lonely[5, 5] = 1000
    assert not outliers(lonely).any()
