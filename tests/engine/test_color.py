import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage import data

from napari_rednet.engine.channel import IntensityRange
from napari_rednet.engine.color import luminance, luminance_plane
from napari_rednet.engine.planes import ChannelSettings

ALL = (slice(None), slice(None))


def plane_of(colors):
    """The plane that stands for colours, and where it writes them."""
    target = np.zeros_like(colors)

    def reader(source):
        return lambda rows, columns: source[rows, columns]

    def writer(part):
        def write(rows, columns, values):
            part[rows, columns] = values

        return write

    read, write = [reader(c) for c in colors], [writer(c) for c in target]
    settings = ChannelSettings(IntensityRange(0, 255))
    return luminance_plane(colors.shape[1:], colors.dtype, read, write, settings), target


def astronaut(dtype="uint8"):
    return np.moveaxis(data.astronaut()[100:130, 200:240], -1, 0).astype(dtype)


def test_luminance_is_that_of_bt_601():
    red, green, blue = astronaut(float)
    expected = 0.299 * red + 0.587 * green + 0.114 * blue
    np.testing.assert_allclose(luminance([red, green, blue]), expected)
    gray = astronaut()[0]
    np.testing.assert_allclose(luminance([gray] * 3), gray, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", ">i2", "int32", "float32", "float64"])
def test_luminance_that_is_left_alone_leaves_the_colours_alone(dtype):
    colors = astronaut(dtype)
    plane, target = plane_of(colors)
    plane.write(*ALL, plane.read(*ALL))
    np.testing.assert_array_equal(target, colors)


@given(added=st.floats(-40, 40))
def test_what_is_added_to_the_luminance_is_added_to_each_colour(added):
    colors = astronaut("float64")
    plane, target = plane_of(colors)
    plane.write(*ALL, plane.read(*ALL) + added)
    np.testing.assert_allclose(target, colors + added)
    np.testing.assert_allclose(luminance(target), luminance(colors) + added)


def test_integers_are_rounded_and_clipped():
    colors = astronaut()
    plane, target = plane_of(colors)
    plane.write(*ALL, plane.read(*ALL) + np.float32(50.4))
    np.testing.assert_array_equal(target, (colors.astype(int) + 50).clip(0, 255))


def test_transparency_is_written_as_it_is_read():
    alpha = np.arange(30 * 40, dtype=np.uint8).reshape(1, 30, 40)
    plane, target = plane_of(np.concatenate([astronaut(), alpha]))
    plane.write(*ALL, plane.read(*ALL) + np.float32(9))
    np.testing.assert_array_equal(target[3], alpha[0])
    assert (target[:3] != astronaut()).any()


@pytest.mark.parametrize("odd", [[np.nan], [np.inf], [-np.inf], [np.inf, -np.inf]])
def test_a_colour_that_is_not_finite_stays_alone(odd):
    colors = astronaut("float32")
    colors[: len(odd), 5, 6] = odd
    plane, target = plane_of(colors)
    light = plane.read(*ALL)
    assert np.isfinite(light).sum() == light.size - 1
    plane.write(*ALL, np.where(np.isfinite(light), light + np.float32(3), light))
    np.testing.assert_array_equal(target[:, 5, 6], colors[:, 5, 6])
    others = np.isfinite(light)
    np.testing.assert_allclose(target[:, others], colors[:, others] + 3, rtol=1e-5)
