"""How a job is cut: nothing is left out, nothing is done twice, no chunk is shared."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import napari_rednet as nr
from napari_rednet.engine.planes import PlaneLayout
from napari_rednet.execution import Job, parts
from napari_rednet.execution.parts import parts_of, row_segments, source_rows


class Restorer:
    def __init__(self, row_margin):
        self.row_margin = row_margin


def job_of(shape, margin, *, channel_axis=None, scale=1, color=None):
    layout = PlaneLayout(shape, channel_axis)
    return Job(layout, lambda **_: Restorer(margin), lambda *_: None, scale, color)


@pytest.fixture(autouse=True)
def short_segments(monkeypatch):
    """Segments as short as they may be, so that small images have several."""
    monkeypatch.setattr(parts, "_LEAST_PIXELS", 1)
    monkeypatch.setattr(parts, "_ROWS_PER_MARGIN", 1)


@st.composite
def jobs(draw):
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=0, max_size=2)))
    shape = (*shape, draw(st.integers(1, 60)), draw(st.integers(1, 9)))
    scale = draw(st.sampled_from([1, 2, 3]))
    job = job_of(shape, draw(st.sampled_from([None, 1, 4, 7])), scale=scale)
    chunks = draw(st.none() | st.tuples(*(st.integers(1, n + 1) for n in job.shape)))
    return job, chunks


@given(jobs())
@settings(max_examples=200)
def test_every_row_of_every_plane_is_kept_once(case):
    job, chunks = case
    seen = Counter()
    for part in parts_of(job, chunks):
        for (key,) in part.planes:
            kept = range(part.rows.keep.start, part.rows.keep.stop)
            seen.update((key.index[:-2], row) for row in kept)
    height = job.layout.enlarged(job.scale).plane_shape[0]
    assert set(seen.values()) == {1}
    assert len(seen) == height * np.prod(job.shape[:-2], dtype=int)


@given(jobs())
@settings(max_examples=200)
def test_no_chunk_is_shared_by_parts(case):
    job, chunks = case
    if chunks is None:
        return
    owners = {}
    for number, part in enumerate(parts_of(job, chunks)):
        for (key,) in part.planes:
            planes = tuple(i // c for i, c in zip(key.index[:-2], chunks, strict=False))
            for row in range(part.rows.keep.start, part.rows.keep.stop):
                assert owners.setdefault((*planes, row // chunks[-2]), number) == number


@given(st.integers(1, 500), st.integers(1, 40), st.integers(1, 30), st.integers(1, 4))
def test_segments_read_their_margin_but_not_beyond_the_plane(height, margin, chunk, scale):
    job = job_of((height, 7), margin, scale=scale)
    for rows in row_segments(job, chunk):
        assert rows.read.start == 0 or rows.keep.start - rows.read.start >= margin
        assert rows.read.stop == scale * height or rows.read.stop - rows.keep.stop >= margin
        assert rows.read.start % 2 == 0  # where networks of stride 2 begin to sample
        source = source_rows(job, rows)
        assert 0 <= source.start < source.stop <= height
        assert scale * source.start <= rows.read.start
        assert scale * source.stop >= rows.read.stop


def test_segments_are_long_compared_with_their_margin(monkeypatch):
    monkeypatch.undo()
    rows = list(row_segments(job_of((100_000, 20_000), 60), 512))
    assert len(rows) > 10
    assert all(r.keep.start % 512 == 0 for r in rows)
    read, kept = (sum(values) for values in zip(*((r.width, r.kept) for r in rows), strict=True))
    assert read < 1.05 * kept
    assert len(list(row_segments(job_of((4096, 4096), 60), 512))) == 1


def test_chunks_of_many_planes_are_not_all_held_at_once(monkeypatch):
    monkeypatch.undo()
    job = job_of((64, 4096, 4096), 60)
    for part in parts_of(job, (64, 512, 512)):
        assert len(part.planes) == 64
        assert part.rows.kept <= 1024
    assert len(list(parts_of(job, (1, 512, 512)))) == 64


@pytest.mark.parametrize("chunks", [(64, 64), (30, 200), (300, 7)])
def test_segments_join_without_a_seam(chunks, noisy_camera, tiny_model):
    zarr = pytest.importorskip("zarr")
    image = np.clip(noisy_camera[:300, :200], 0, 255).astype(np.uint16)
    out = zarr.create_array({}, shape=image.shape, chunks=chunks, dtype=image.dtype)
    nr.denoise(image, noise=25, model=tiny_model, out=out)
    expected = nr.denoise(image, noise=25, model=tiny_model)
    difference = np.abs(out[:].astype(int) - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.001
