import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from napari_rednet import psf
from napari_rednet.psf import as_psf, center_remark, rim_remark

GENERATED = [
    psf.gaussian(0.4),
    psf.gaussian(2.5),
    psf.disk(0.5),
    psf.disk(4.2),
    psf.motion(1),
    psf.motion(11, 30),
    psf.widefield(1.4, 0.52, 0.1),
]


@pytest.mark.parametrize("kernel", GENERATED, ids=lambda k: str(k.shape))
def test_generated_psfs_are_normalised_and_centred(kernel):
    assert kernel.min() >= 0
    assert kernel.sum() == pytest.approx(1)
    assert all(side % 2 for side in kernel.shape)
    centre = ndimage.center_of_mass(kernel)
    assert centre == pytest.approx([side // 2 for side in kernel.shape], abs=1e-9)
    for center in ("array", "mass"):
        point_spread = as_psf(kernel, (200, 200), center)
        assert point_spread.values.sum() == pytest.approx(1)
        assert point_spread.offset == (0, 0)
    assert center_remark(kernel) == rim_remark(kernel) == ""


@pytest.mark.parametrize("sigma", [1.0, 2.0, 3.3])
def test_gaussian_has_its_width(sigma):
    line = psf.gaussian(sigma).sum(0)
    x = np.arange(len(line)) - len(line) // 2
    assert np.sqrt((line * x**2).sum()) == pytest.approx(sigma, rel=0.01)


@pytest.mark.parametrize("radius", [1.5, 4.0, 7.0])
def test_disk_has_its_area(radius):
    assert 1 / psf.disk(radius).max() == pytest.approx(np.pi * radius**2, rel=0.02)


@pytest.mark.parametrize("angle", [0, 30, 90, -45])
def test_motion_has_its_length_and_angle(angle):
    kernel = psf.motion(15, angle)
    y, x = (
        np.mgrid[: kernel.shape[0], : kernel.shape[1]] - np.array(kernel.shape)[:, None, None] // 2
    )
    turn = np.radians(angle)
    along, across = x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)
    assert np.sqrt((kernel * along**2).sum()) == pytest.approx(15 / np.sqrt(12), rel=0.03)
    assert np.sqrt((kernel * across**2).sum()) < 0.6


def test_widefield_is_the_airy_pattern():
    """The first dark ring lies at 0.61 wavelengths over the aperture."""
    kernel = psf.widefield(0.5, 0.6, 0.04)
    line = kernel[kernel.shape[0] // 2, kernel.shape[1] // 2 :]
    dark = 0.61 * 0.6 / 0.5 / 0.04
    assert abs(np.argmin(line[: int(1.3 * dark)]) - dark) <= 1
    finer = psf.widefield(0.5, 0.6, 0.02)
    assert finer.shape[0] == pytest.approx(2 * kernel.shape[0], rel=0.05)


@given(
    hnp.arrays(
        float, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.floats(0, 5)
    )
)
def test_any_psf_is_normalised_and_has_its_centre(array):
    assume(array.any())
    centers = {
        "array": [(n - 1) / 2 for n in array.shape],
        "mass": ndimage.center_of_mass(array),
    }
    first = np.argwhere(array == array.max())[0]
    for center, expected in centers.items():
        found = as_psf(array, (40, 40), center)
        assert found.values.sum() == pytest.approx(1)
        assert all(side % 2 for side in found.values.shape)
        assert np.abs(found.offset).max() <= 0.5 + 1e-9
        # A brightest pixel lies from the centre as it did.
        brightest = np.argwhere(found.values == found.values.max())[0]
        origin = np.array(found.values.shape) // 2 + found.offset
        np.testing.assert_allclose(brightest - origin, first - expected, atol=1e-5)


def test_zeros_around_a_psf_change_nothing_unless_they_move_its_centre():
    kernel = np.arange(1.0, 36).reshape(5, 7)
    plain = as_psf(kernel, (50, 50))
    around = as_psf(np.pad(kernel, ((3, 3), (2, 2))), (50, 50))
    np.testing.assert_array_equal(around.values, plain.values)
    assert around.offset == plain.offset == (0, 0)
    aside = np.pad(kernel, ((4, 0), (0, 2)))
    moved = as_psf(aside, (50, 50))
    lit = np.argwhere(moved.values)
    assert (lit.min(0) - np.array(moved.values.shape) // 2).tolist() == [0, -4]
    by_mass = [as_psf(one, (50, 50), "mass") for one in (kernel, aside)]
    np.testing.assert_array_equal(*[one.values for one in by_mass])
    np.testing.assert_allclose(*[one.offset for one in by_mass])


def test_the_centre_of_an_even_psf_lies_between_pixels():
    found = as_psf(np.ones((4, 3)), (20, 20))
    assert found.values.shape == (5, 3)
    assert found.offset == (-0.5, 0)
    with pytest.raises(ValueError, match="center must be 'array' or 'mass', got 'peak'"):
        as_psf(np.ones((4, 3)), (20, 20), "peak")


def test_what_is_said_of_two_centres():
    aside = np.pad(psf.gaussian(1.0), ((0, 4), (3, 0)))
    assert center_remark(np.pad(aside, 2)) == center_remark(aside)
    assert "-2.0 pixels in y and +1.5 in x" in center_remark(aside)
    assert "choose 'mass'" in center_remark(aside)
    assert "choose 'array'" in center_remark(aside, "mass")
    assert center_remark(np.pad(psf.gaussian(1.0), ((0, 1), (0, 0)))) == ""  # half a pixel


def test_what_is_said_of_a_background():
    bead = psf.gaussian(2.0)
    assert rim_remark(100 * bead) == ""
    assert rim_remark(np.ones((9, 9))) == ""  # a box is a blur of its own
    assert rim_remark(np.eye(9)) == ""
    background = 0.02 * bead.max()
    told = rim_remark(bead + background)
    assert "2.0% of its peak" in told
    assert f"(psf - {np.median((bead + background)[0]):.4g})"[:10] in told
    assert "Subtract its background" in told
    assert rim_remark((bead + background - background).clip(0)) == ""


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (np.ones(5), ValueError, r"two axes Y and X, or Z, Y and X, got shape \(5,\)"),
        (np.zeros((3, 3)), ValueError, "zero everywhere"),
        (-np.eye(3), ValueError, "must not be negative"),
        (np.full((3, 3), np.nan), ValueError, "finite"),
        (np.ones((3, 50)), ValueError, r"not be larger than the planes of \(20, 20\) pixels"),
        (np.ones((3, 3), complex), TypeError, "real numbers, got complex"),
        ("blur", TypeError, "real numbers"),
    ],
)
def test_impossible_psfs_are_named(wrong, error, message):
    with pytest.raises(error, match=message):
        as_psf(wrong, (20, 20))


@pytest.mark.parametrize(
    ("make", "arguments", "name"),
    [
        (psf.gaussian, (0,), "sigma"),
        (psf.disk, (-1,), "radius"),
        (psf.motion, (np.inf,), "length"),
        (psf.motion, (3, np.nan), "angle"),
        (psf.widefield, (1.4, 0.5, 0), "pixel_size"),
    ],
)
def test_impossible_parameters_are_named(make, arguments, name):
    with pytest.raises(ValueError, match=name):
        make(*arguments)
    with pytest.raises(TypeError, match="must be a number"):
        psf.gaussian("wide")
