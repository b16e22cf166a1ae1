import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from napari_rednet import psf
from napari_rednet.psf import as_psf

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
    np.testing.assert_allclose(as_psf(kernel, (200, 200)).sum(), 1)


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
def test_any_psf_is_centred_and_normalised(array):
    assume(array.any())
    kernel = as_psf(array, (40, 40))
    assert kernel.sum() == pytest.approx(1)
    offsets = np.array(ndimage.center_of_mass(kernel)) - np.array(kernel.shape) // 2
    assert np.abs(offsets).max() <= 0.5 + 1e-9
    assert all(side % 2 for side in kernel.shape)


def test_a_psf_off_centre_does_not_shift(camera):
    shifted = np.zeros((15, 15))
    shifted[9:14, 2:7] = psf.gaussian(0.6)[:5, :5]
    plain = np.zeros((5, 5))
    plain[:] = psf.gaussian(0.6)[:5, :5]
    np.testing.assert_allclose(as_psf(shifted, camera.shape), as_psf(plain, camera.shape))


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (np.ones(5), ValueError, r"two axes Y and X, got shape \(5,\)"),
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
