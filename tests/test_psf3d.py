"""Point spread functions of three axes: generated ones, and those of beads."""

import numpy as np
import pytest
from scipy import ndimage

from napari_rednet import psf
from napari_rednet.psf import Microscope, as_psf, center_remark, reach_remark, rim_remark

WATER = {"numerical_aperture": 1.0, "wavelength": 0.52, "refractive_index": 1.33}
GRID = {"pixel_size": 0.1, "z_step": 0.3}
WIDEFIELD = psf.widefield3d(**WATER, **GRID)
CONFOCAL = psf.confocal3d(**WATER, **GRID, excitation=0.488)


@pytest.mark.parametrize("kernel", [WIDEFIELD, CONFOCAL], ids=["widefield", "confocal"])
def test_they_are_normalised_centred_and_symmetric(kernel):
    assert kernel.min() >= 0
    assert kernel.sum() == pytest.approx(1)
    assert all(side % 2 for side in kernel.shape)
    for axis in range(3):
        np.testing.assert_allclose(kernel, np.flip(kernel, axis), atol=1e-12)
    middle = tuple(side // 2 for side in kernel.shape)
    assert kernel[middle] == kernel.max()
    assert as_psf(kernel, (40, 200, 200)).offset == (0, 0, 0)
    assert center_remark(kernel) == rim_remark(kernel) == ""


def test_a_widefield_microscope_sees_the_airy_pattern_in_focus():
    flat = psf.widefield(1.0, 0.52, 0.1)
    middle = WIDEFIELD[len(WIDEFIELD) // 2]
    reach = len(flat) // 2
    inner = slice(len(middle) // 2 - reach, len(middle) // 2 + reach + 1)
    one, other = flat, middle[inner, inner]
    np.testing.assert_allclose(one / one.max(), other / other.max(), atol=2e-3)


def test_a_widefield_microscope_sees_all_planes_alike():
    light = WIDEFIELD.sum((1, 2)) * len(WIDEFIELD)
    np.testing.assert_allclose(light, 1, atol=0.02)


def test_the_first_dark_point_on_the_axis():
    """Where light of rim and centre of the aperture differs by a whole wave."""
    kernel = psf.widefield3d(0.5, 0.5, 0.2, 0.1, 1.0, planes=101)
    middle = kernel.shape[1] // 2
    line = kernel[50:, middle, middle]
    dark = 0.5 / (1 - np.sqrt(1 - 0.5**2)) / 0.1
    assert np.argmin(line[:50]) == pytest.approx(dark, abs=1)
    # The paraxial formula is close at this aperture.
    assert dark * 0.1 == pytest.approx(2 * 0.5 / 0.5**2, rel=0.1)


def test_a_pinhole_cuts_light_of_other_planes():
    shares = []
    for pinhole in (0.5, 1.0, 4.0):
        kernel = psf.confocal3d(**WATER, **GRID, excitation=0.488, pinhole=pinhole, planes=13)
        shares.append(kernel[6].sum())
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 1.1 * shares[2]
    assert CONFOCAL[len(CONFOCAL) // 2].sum() > 4 * WIDEFIELD[len(WIDEFIELD) // 2].sum()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"numerical_aperture": 1.4}, "must be below the refractive index"),
        ({"z_step": 0}, "z_step must be positive"),
        ({"refractive_index": -1}, "refractive_index must be positive"),
        ({"planes": 4}, "planes must be an odd number from 1 to 999, got 4"),
        ({"pixel_size": 1e-6}, "a PSF may reach at most"),
    ],
)
def test_impossible_microscopes_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        psf.widefield3d(**{**WATER, **GRID, **changes})
    with pytest.raises(ValueError, match=message):
        psf.confocal3d(**{**WATER, **GRID, **changes}, excitation=0.488)


def test_sizes_of_pixels_come_from_the_image_unless_they_are_told():
    sizes = {"Z": 0.3, "Y": 0.1, "X": 0.1}
    found = Microscope(1.0, 0.52, refractive_index=1.33).psf(sizes)
    np.testing.assert_array_equal(found, WIDEFIELD)
    told = Microscope(1.0, 0.52, 0.1, 0.3, 1.33, 0.488).psf({"Z": 9.0, "X": 9.0})
    np.testing.assert_array_equal(told, CONFOCAL)
    flat = Microscope(1.0, 0.52).psf(sizes)
    np.testing.assert_array_equal(flat, psf.widefield(1.0, 0.52, 0.1))
    with pytest.raises(ValueError, match="distance of its planes; give --z-step"):
        Microscope(1.0, 0.52, refractive_index=1.33).psf({"X": 0.1})
    with pytest.raises(ValueError, match="size of its pixels; give --pixel-size"):
        Microscope(1.0, 0.52).psf({})


def test_a_psf_may_reach_from_one_end_of_a_volume_to_the_other():
    kernel = np.ones((7, 3, 3))
    assert as_psf(kernel, (4, 9, 9)).values.shape == (7, 3, 3)
    assert reach_remark(kernel, (4, 9, 9)) == ""
    cut = as_psf(kernel, (3, 9, 9))
    assert cut.values.shape == (5, 3, 3)
    assert cut.values.sum() == pytest.approx(1)
    assert "3 × 9 × 9 in 5 of its 7 planes at most" in reach_remark(kernel, (3, 9, 9))
    aside = np.zeros((1, 3, 9))
    aside[0, 1, 7] = 1
    assert as_psf(aside, (3, 9, 4)).values.sum() == pytest.approx(1)
    with pytest.raises(ValueError, match="all light of psf goes further"):
        as_psf(aside, (3, 9, 3))


def bead_stack(seed=0, background=20, lone=4):
    """Beads between pixels, of different brightness, and two that are too close to each other."""
    lot = np.random.default_rng(seed)
    image = np.zeros((31, 150, 160))
    places = [(40, 40), (40, 120), (115, 40), (115, 90)][:lone]
    for i, (y, x) in enumerate([*places, (75, 125), (75, 133)]):
        moved = ndimage.shift(CONFOCAL, lot.uniform(-0.5, 0.5, 3), order=3)
        z, r = CONFOCAL.shape[0] // 2, CONFOCAL.shape[1] // 2
        part = image[15 - z : 16 + z, y - r : y + r + 1, x - r : min(160, x + r + 1)]
        part += (300 + 60 * i) * (moved / CONFOCAL.max())[..., : part.shape[2]]
    return lot.poisson(image.clip(0) + background).astype(np.uint16)


def test_beads_make_the_psf():
    size = CONFOCAL.shape
    many, one = (psf.from_beads(bead_stack(lone=lone), size) for lone in (4, 1))
    assert many.shape == size
    assert many.sum() == pytest.approx(1)
    assert many.min() >= 0
    errors = [np.abs(found - CONFOCAL).sum() for found in (many, one)]
    assert errors[0] < 0.3 < errors[1]
    bright = np.where(many > 0.2 * many.max(), many, 0)
    middle = [side // 2 for side in size]
    np.testing.assert_allclose(ndimage.center_of_mass(bright), middle, atol=0.1)


def test_the_background_of_beads_does_not_matter():
    low, high = (psf.from_beads(bead_stack(background=b), CONFOCAL.shape) for b in (20, 200))
    assert np.abs(low - CONFOCAL).sum() < np.abs(high - CONFOCAL).sum() < 0.6
    plus = psf.from_beads(bead_stack() + np.uint16(1000), CONFOCAL.shape)
    np.testing.assert_allclose(plus, low, atol=1e-9)


def test_planes_of_beads_make_a_psf_of_a_plane():
    plane = bead_stack()[15]
    found = psf.from_beads(plane, (21, 21))
    assert found.shape == (21, 21)
    assert np.unravel_index(found.argmax(), found.shape) == (10, 10)
    sides = psf.from_beads(plane).shape
    assert all(side % 2 and side < 41 for side in sides)


@pytest.mark.parametrize(
    ("stack", "size", "error", "message"),
    [
        (np.zeros((5, 9, 9)), None, ValueError, "must not be the same everywhere"),
        (np.eye(9), (3, 4), ValueError, "size must be 2 odd numbers"),
        (np.eye(9), (3, 3, 3), ValueError, "size must be 2 odd numbers"),
        (np.eye(9), (11, 3), ValueError, "none larger than the stack"),
        (np.ones(9), None, ValueError, "must have the axes Y and X, or Z, Y and X"),
        (np.eye(9, dtype=complex), None, TypeError, "real numbers"),
        (np.diag([9.0, 0, 0, 0, 0, 0, 0, 0]), (5, 5), ValueError, "no bead that stands alone"),
    ],
)
def test_stacks_without_beads_are_named(stack, size, error, message):
    with pytest.raises(error, match=message):
        psf.from_beads(stack, size)


DARK = np.tile([[9, 0], [0, 9]], (8, 9)).astype(float)
RAMP = np.add.outer(np.arange(12.0), np.arange(20.0))


@pytest.mark.parametrize(
    "image", [RAMP, -RAMP, DARK, RAMP**2 % 7], ids=["up", "down", "dots", "any"]
)
@pytest.mark.parametrize("size", [None, (1, 1), (3, 3), (5, 5)])
def test_what_is_no_bead_makes_no_psf_of_nothing(image, size):
    """Whatever is found is a PSF, without a warning of numbers that are none."""
    try:
        found = psf.from_beads(image, size)
    except ValueError as told:
        assert "no bead" in str(told)  # noqa: PT017
    else:
        assert found.sum() == pytest.approx(1)
        assert found.min() >= 0
