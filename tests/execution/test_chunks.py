"""Windows of chunked arrays: what is read and written, and how often."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_rednet.execution.reading import (
    ChunkReader,
    ChunkWriter,
    chunks_in,
    chunks_of,
    read_checksum,
    window_of,
    written_chunks_of,
)


class Counted:
    """An array in chunks that counts how often each is read and written."""

    def __init__(self, values, chunks):
        self.values, self.chunks = values, chunks
        self.shape, self.dtype = values.shape, values.dtype
        self.reads, self.writes = [], []

    def __getitem__(self, index):
        self.reads += chunks_in(index, self.chunks)
        return self.values[index]

    def __setitem__(self, index, values):
        self.writes += chunks_in(index, self.chunks)
        self.values[index] = values


def numbered(shape):
    return np.arange(np.prod(shape)).reshape(shape)


@st.composite
def arrays(draw):
    shape = tuple(draw(st.lists(st.integers(1, 9), min_size=2, max_size=3)))
    chunks = tuple(draw(st.integers(1, n + 2)) for n in shape)
    return Counted(numbered(shape), chunks)


@st.composite
def bands(draw, array):
    """Windows of whole rows of all planes, that follow each other."""
    height = array.shape[-2]
    cuts = sorted(draw(st.sets(st.integers(1, height), max_size=4)) | {0, height})
    planes = np.ndindex(*array.shape[:-2])
    return [(*p, slice(a, b), slice(0, array.shape[-1])) for p in planes for a, b in pairwise(cuts)]


@given(st.data())
def test_windows_are_read_as_they_are(drawn):
    array = drawn.draw(arrays())
    reader = ChunkReader(array, capacity=drawn.draw(st.integers(0, 10_000)))
    for index in drawn.draw(bands(array)):
        np.testing.assert_array_equal(reader[index], array.values[index])


@given(st.data())
def test_chunks_that_fit_the_capacity_are_read_once(drawn):
    array = drawn.draw(arrays())
    reader = ChunkReader(array, capacity=array.values.nbytes)
    for index in drawn.draw(bands(array)):
        _ = reader[index]
    assert len(array.reads) == len(set(array.reads))


def test_what_is_kept_does_not_grow_beyond_the_capacity():
    array = Counted(numbered((64, 64)), (4, 64))
    reader = ChunkReader(array, capacity=3 * 4 * 64 * 8)
    for row in range(64):
        _ = reader[slice(row, row + 1), slice(0, 64)]
        assert sum(values.nbytes for values in reader._kept.values()) <= 3 * 4 * 64 * 8
    assert len(array.reads) == 16


@given(st.data())
def test_chunks_are_written_once_when_they_are_full(drawn):
    array = drawn.draw(arrays())
    expected = array.values[...].copy()
    array.values = np.zeros_like(array.values)
    writer = ChunkWriter(array)
    for index in drawn.draw(bands(array)):
        writer[index] = expected[index]
    assert not writer._open
    np.testing.assert_array_equal(array.values, expected)
    assert len(array.writes) == len(set(array.writes))


def test_a_band_may_be_written_again():
    """As after running out of memory; the later values count."""
    array = Counted(np.zeros((8, 6), int), (4, 6))
    writer = ChunkWriter(array)
    everything = slice(0, 6)
    writer[slice(0, 6), everything] = np.ones((6, 6), int)
    writer[slice(2, 8), everything] = np.full((6, 6), 2)
    writer.flush()
    np.testing.assert_array_equal(array.values[:, 0], [1, 1, 2, 2, 2, 2, 2, 2])


@given(st.data())
def test_flushing_keeps_what_was_there(drawn):
    array = drawn.draw(arrays())
    before = array.values.copy()
    writer = ChunkWriter(array)
    index = drawn.draw(st.sampled_from(drawn.draw(bands(array))))
    writer[index] = -before[index]
    writer.flush()
    expected = before.copy()
    expected[index] = -before[index]
    np.testing.assert_array_equal(array.values, expected)


@given(st.data())
@settings(max_examples=50)
def test_checksums_tell_a_changed_pixel(drawn):
    array = drawn.draw(arrays())
    values = array.values.copy()
    writer = ChunkWriter(array)
    for index in drawn.draw(bands(array)):
        writer[index] = values[index]
    written = writer.flush()
    whole = [tuple(slice(0, n) for n in array.shape)]
    assert read_checksum(array, whole) == written
    place = tuple(drawn.draw(st.integers(0, n - 1)) for n in array.shape)
    array.values[place] += 1
    assert read_checksum(array, whole) != written


@pytest.mark.parametrize("array", [np.zeros((3, 3)), [[1, 2]]])
def test_arrays_without_chunks_have_none(array):
    assert chunks_of(array) is None
    assert written_chunks_of(array) is None


def test_dask_chunks_are_no_chunks_of_storage():
    da = pytest.importorskip("dask.array")
    assert chunks_of(da.zeros((4, 4), chunks=2)) is None


def test_shards_are_written_as_a_whole():
    zarr = pytest.importorskip("zarr")
    array = zarr.create_array({}, shape=(8, 8), chunks=(2, 2), shards=(4, 4), dtype="u1")
    assert chunks_of(array) == (2, 2)
    assert written_chunks_of(array) == (4, 4)


def test_the_last_chunk_is_cut_at_the_border():
    assert window_of((1, 0), (4, 6), (7, 5)) == (slice(4, 7), slice(0, 5))
