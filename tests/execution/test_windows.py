"""A window equals that part of the result for the whole array, whatever is restored and how."""

import dask.array as da
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage import data
from tests.conftest import few, small_model

import napari_rednet as nr
from napari_rednet.execution import Windows, drain, measure
from napari_rednet.restoration.deblock import prepare_deblock
from napari_rednet.restoration.deblur import prepare_deblur
from napari_rednet.restoration.denoise import prepare_denoise
from napari_rednet.restoration.inpaint import prepare_inpaint
from napari_rednet.restoration.super_resolve import prepare_super_resolve

pytestmark = pytest.mark.usefixtures("exact")

# The fixture that asks for float32 need not be set up anew for each example.
tried = settings(
    max_examples=2 * few(),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
)


@st.composite
def parts(draw, length):
    """A part of a line, at its ends often enough."""
    start = draw(st.just(0) | st.integers(0, length - 1))
    return slice(start, draw(st.just(length) | st.integers(start + 1, length)))


@st.composite
def cases(draw, scale=1, most=130):
    """The size of a plane, and a window in its result."""
    shape = draw(st.tuples(st.integers(1, most), st.integers(1, most)))
    return shape, *(draw(parts(scale * length)) for length in shape)


def noise(shape, seed=0):
    return np.random.default_rng(seed).normal(100, 20, shape)


def window_of(restoration, place, rows, columns, measured=None):
    found = measure(restoration) if measured is None else measured
    return drain(Windows(restoration, found).at(place, rows, columns).steps(), False, "")


def assert_same(window, expected):
    assert window.shape == expected.shape
    assert window.dtype == expected.dtype
    np.testing.assert_allclose(window, expected, rtol=0, atol=2e-3)


@given(cases(), st.sampled_from([1, 2]), st.booleans())
@tried
def test_denoising(case, stride, ensemble):
    shape, rows, columns = case
    image = noise(shape)
    model = small_model("denoise", stride)
    options = {"model": model, "ensemble": ensemble, "device": "cpu"}
    window = window_of(prepare_denoise(image, **options), (), rows, columns)
    assert_same(window, nr.denoise(image, **options)[rows, columns])


@given(cases(scale=3, most=40))
@tried
def test_super_resolution(case):
    shape, rows, columns = case
    image = noise(shape)
    image.flat[:: 1 + image.size // 4] = np.nan
    options = {"model": small_model("super_resolve"), "device": "cpu"}
    window = window_of(prepare_super_resolve(image, 3, **options), (), rows, columns)
    assert_same(window, nr.super_resolve(image, 3, **options)[rows, columns])


@given(cases(), st.integers(3, 4))
@tried
def test_deblocking_of_colours(case, channels):
    shape, rows, columns = case
    image = noise((*shape, channels)).astype(np.uint8)
    options = {"model": small_model("deblock"), "rgb": True, "device": "cpu"}
    window = window_of(prepare_deblock(image, **options), (), rows, columns)
    expected = nr.deblock(image, **options)[rows, columns]
    assert window.dtype == expected.dtype
    # Sums in another order are rounded to a neighbour now and then.
    np.testing.assert_allclose(window.astype(int), expected.astype(int), rtol=0, atol=1)


@pytest.mark.filterwarnings("ignore:the noise, times its strength")
@given(cases(), st.integers(3, 4))
@example(((1, 4), slice(0, 1), slice(0, 4)), 3)
@tried
def test_denoising_of_colours(case, channels):
    shape, rows, columns = case
    image = noise((*shape, channels))
    options = {"model": small_model("denoise"), "noise": 20, "rgb": True, "device": "cpu"}
    window = window_of(prepare_denoise(image, **options), (), rows, columns)
    assert_same(window, nr.denoise(image, **options)[rows, columns])


@given(cases(), st.floats(0, 0.9))
@tried
def test_inpainting(case, share):
    shape, rows, columns = case
    image = noise(shape)
    mask = np.random.default_rng(1).random(shape) < share
    mask.flat[0] = False
    options = {"model": small_model("inpaint"), "device": "cpu"}
    window = window_of(prepare_inpaint(image, mask, **options), (), rows, columns)
    assert_same(window, nr.inpaint(image, mask, **options)[rows, columns])


def test_planes_are_found_by_their_place_and_have_the_measures_of_the_whole():
    stack = noise((3, 2, 4, 60, 70))
    stack[2] *= 8
    options = {"model": small_model("denoise"), "channel_axis": 1, "device": "cpu"}
    restoration = prepare_denoise(stack, **options)
    measured = measure(restoration)
    whole = nr.denoise(stack, **options)
    rows, columns = slice(11, 34), slice(0, 70)
    for t, z in [(0, 0), (2, 3)]:
        window = window_of(restoration, (t, z), rows, columns, measured)
        assert_same(window, whole[t, :, z, rows, columns])


def test_channels_may_come_last():
    image = noise((50, 60, 3))
    options = {"model": small_model("denoise"), "channel_axis": -1, "device": "cpu"}
    window = window_of(prepare_denoise(image, **options), (), slice(3, 20), slice(41, 60))
    assert_same(window, nr.denoise(image, **options)[3:20, 41:60])


def test_measures_serve_other_parameters():
    image = noise((90, 80))
    model = small_model("denoise")
    measured = measure(prepare_denoise(image, model=model, device="cpu"))
    for strength in (0.5, 2.0):
        options = {"model": model, "strength": strength, "device": "cpu"}
        window = window_of(
            prepare_denoise(image, **options), (), slice(10, 50), slice(20, 60), measured
        )
        assert_same(window, nr.denoise(image, **options)[10:50, 20:60])


def test_defects_are_those_of_the_whole():
    image = noise((120, 110))
    image[60, 55] = 4000
    restoration = prepare_inpaint(image, model=small_model("inpaint"), device="cpu")
    window = window_of(restoration, (), slice(50, 70), slice(45, 65))
    changed = np.argwhere(window != image[50:70, 45:65])
    assert changed.tolist() == [[10, 10]]


def test_only_what_it_depends_on_is_read():
    image = noise((600, 500))
    read = np.zeros(image.shape, bool)
    restoration = prepare_denoise(Spied(image, read), model=small_model("denoise"), device="cpu")
    measured = measure(restoration)
    read[:] = False
    window_of(restoration, (), slice(300, 320), slice(200, 240), measured)
    margin = restoration.job.make_restorer().margin + 4
    seen = np.argwhere(read)
    assert (seen.min(0) >= np.subtract((300, 200), margin)).all()
    assert (seen.max(0) < np.add((320, 240), margin)).all()


class Spied:
    """An array that notes what is read of it."""

    def __init__(self, array, read):
        self._array, self._read = array, read
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim

    def __getitem__(self, index):
        self._read[index] = True
        return self._array[index]


def test_windows_of_dask_arrays_are_computed():
    image = noise((80, 90))
    options = {"model": small_model("denoise"), "device": "cpu"}
    restoration = prepare_denoise(da.from_array(image, chunks=32), **options)
    window = window_of(restoration, (), slice(5, 50), slice(40, 90))
    assert isinstance(window, np.ndarray)
    assert_same(window, nr.denoise(image, **options)[5:50, 40:90])


@pytest.mark.slow
def test_a_deblurred_window_is_close_to_the_whole():
    clean, blur = data.camera()[:300, 100:400].astype(float), nr.psf.gaussian(1.2)
    blurred = ndimage.convolve(clean, blur, mode="nearest")
    image = blurred + np.random.default_rng(0).normal(0, 2, clean.shape)
    options = {"noise": 2.0, "device": "cpu"}
    rows, columns = slice(120, 160), slice(130, 190)
    window = window_of(prepare_deblur(image, blur, **options), (), rows, columns)
    whole = nr.deblur(image, blur, **options)[rows, columns]
    difference, error = np.std(window - whole), np.std(whole - clean[rows, columns])
    assert difference < 0.1 * error


@pytest.mark.parametrize("channels", [None, 3])
def test_rows_that_are_done_are_final(channels):
    """They come from the top, piece by piece, in all channels at once at the end."""
    image = noise((900, 120) if channels is None else (900, 120, channels))
    options = {"model": small_model("denoise"), "device": "cpu", "channel_axis": channels and -1}
    restoration = prepare_denoise(image, **options)
    window = Windows(restoration, measure(restoration)).at((), slice(20, 890), slice(5, 110))
    assert window.rows_done == 0
    parts = [window.values[: window.rows_done].copy() for _ in window.steps()]
    counts = [len(part) for part in parts]
    assert counts == sorted(counts)
    assert len(set(counts)) > 2
    assert window.rows_done == 870
    for part in parts:
        np.testing.assert_array_equal(part, window.values[: len(part)])


def test_closing_cancels():
    restoration = prepare_denoise(noise((40, 40)), model=small_model("denoise"), device="cpu")
    everything = slice(0, 40)
    steps = Windows(restoration, measure(restoration)).at((), everything, everything).steps()
    next(steps)
    steps.close()
    with pytest.raises(StopIteration):
        next(steps)
