import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import small_model

from napari_rednet.engine.channel import NoiseModel
from napari_rednet.engine.outliers import OutlierLimits, find_outliers
from napari_rednet.engine.planes import Strip
from napari_rednet.execution.parts import source_rows
from napari_rednet.execution.reading import RepairedPlane, Repairs
from napari_rednet.restoration.denoise import prepare_denoise
from napari_rednet.restoration.super_resolve import prepare_super_resolve

LIMITS = OutlierLimits(NoiseModel(1.0, 100.0, 3.0), low=100.0, least=20.0, streak=400.0)
SHAPE = (40, 50)


def image():
    """Noise with a hot pixel, two that touch, and a streak."""
    values = 100 + np.random.default_rng(0).poisson(20, SHAPE).astype(np.uint16)
    values[5, 6] = values[20, 20] = values[21, 21] = 9000
    values[10:30, 40:42] = 5000
    return values


def repaired_plane(values, repairs):
    return RepairedPlane(lambda rows, columns: values[rows, columns], SHAPE, LIMITS, repairs.add)


windows = st.tuples(st.integers(0, 39), st.integers(1, 40), st.integers(0, 49), st.integers(1, 50))


@given(windows)
def test_a_window_is_a_part_of_the_whole(window):
    y, height, x, width = window
    rows, columns = slice(y, min(40, y + height)), slice(x, min(50, x + width))
    values = image()
    whole = find_outliers(values, LIMITS).repaired(values)
    read = repaired_plane(values, Repairs()).read(rows, columns)
    np.testing.assert_array_equal(read, whole[rows, columns])
    assert read.dtype == values.dtype


@pytest.mark.parametrize("scale", [1, 3])
@given(st.lists(windows, max_size=8))
def test_what_is_written_is_counted_once(scale, others):
    """Bands overlap, and are read and written again after memory ran out."""
    repairs = Repairs()
    plane = repaired_plane(image(), repairs)
    write = plane.counting(lambda *_: None, scale)
    for y, height, x, width in [*others, (0, 40, 0, 50)]:
        rows, columns = slice(y, min(40, y + height)), slice(x, min(50, x + width))
        plane.read(rows, columns)
        write(*(slice(scale * part.start, scale * part.stop) for part in (rows, columns)), None)
    assert repairs.count == len(find_outliers(image(), LIMITS))


def test_margins_are_not_counted():
    repairs = Repairs()
    plane = repaired_plane(image(), repairs)
    plane.read(slice(0, 40), slice(0, 50))
    plane.counting(lambda *_: None)(slice(0, 10), slice(0, 50), None)
    assert repairs.count == 1


@pytest.mark.parametrize(
    ("prepare", "options", "rows"),
    [
        (prepare_denoise, {"model": small_model("denoise"), "noise": 1.0}, slice(38, 82)),
        (prepare_super_resolve, {"model": small_model("super_resolve")}, slice(10, 50)),
    ],
)
def test_blocks_bring_what_a_repair_depends_on(prepare, options, rows):
    strip = Strip(slice(40, 80), slice(50, 70))
    found = {
        defects: source_rows(prepare(np.zeros((200, 50)), defects=defects, **options).job, strip)
        for defects in ("repair", "keep")
    }
    assert found["repair"] == rows
    assert found["keep"] == slice(rows.start + 2, rows.stop - 2)
