"""What is done before the first result does not grow with the image."""

import itertools
import json

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import small_model

from napari_rednet.batch import BatchFile, restore_file
from napari_rednet.batch.restoring import make_work
from napari_rednet.engine.planes import PlaneLayout, evenly, position_at, positions
from napari_rednet.execution import Restoration
from napari_rednet.execution.parts import parts_of
from napari_rednet.io import read_image, remark_on
from napari_rednet.restoration.denoise import denoise_steps, prepare_denoise

MODEL = small_model("denoise")


def empty(folder, shape, chunks, name="in.zarr"):
    return zarr.create_array(folder / name, shape=shape, chunks=chunks, dtype="u2")


@pytest.mark.parametrize(
    ("shape", "chunks"),
    [((10**6, 64_000, 64_000), (1, 64, 64)), ((10**12, 64, 64), (1, 64, 64))],
    ids=["planes of many chunks", "many planes"],
)
@pytest.mark.parametrize("target", ["zarr", "function", "restoration"])
def test_an_image_of_endless_chunks_begins_at_once(shape, chunks, target, tmp_path, monkeypatch):
    """10^12 chunks; whatever counted them would never end, or run out of memory."""
    array = empty(tmp_path, shape, chunks)
    reads = []
    kind = type(array)
    read = kind.__getitem__
    monkeypatch.setattr(kind, "__getitem__", lambda self, i: reads.append(1) or read(self, i))
    if target == "zarr":
        work = make_work("denoise", {"model": MODEL, "noise": 5.0})
        steps = restore_file(
            work, BatchFile(tmp_path / "in.zarr", tmp_path / "out.zarr", "out.zarr")
        )
    elif target == "function":
        out = empty(tmp_path, shape, chunks, "out.zarr")
        steps = denoise_steps(array, model=MODEL, noise=5.0, out=out)
    else:
        assert isinstance(prepare_denoise(array, model=MODEL), Restoration)
        return
    next(steps)
    steps.close()
    # Sample windows, and the first band.
    assert len(reads) < 12_000


def test_as_many_chunks_are_read_of_a_large_image_as_of_a_larger_one(tmp_path, monkeypatch):
    counts = []
    for planes in (100, 10**6):
        array = empty(tmp_path, (planes, 2000, 64), (1, 64, 64), f"{planes}.zarr")
        reads = []
        with monkeypatch.context() as patch:
            kind = type(array)
            read = kind.__getitem__
            patch.setattr(kind, "__getitem__", lambda s, i, r=reads, f=read: r.append(1) or f(s, i))
            file = BatchFile(tmp_path / f"{planes}.zarr", tmp_path / "out.zarr", "out.zarr")
            steps = restore_file(make_work("denoise", {"model": MODEL, "noise": 5.0}), file)
            next(steps)
            steps.close()
        counts.append(len(reads))
    assert counts[0] == counts[1]


def test_stored_chunks_are_counted_not_those_that_might_be(tmp_path):
    for version in (2, 3):
        array = zarr.create_array(
            tmp_path / f"{version}.zarr", shape=(10**12, 64, 64), chunks=(1, 32, 64), dtype="u2",
            zarr_format=version,
        )  # fmt: skip
        array[7] = 1
        array[10**11, :32] = 2
        (tmp_path / f"{version}.zarr" / "notes.txt").write_text("not a chunk")
        told = remark_on(read_image(tmp_path / f"{version}.zarr"))
        assert told.startswith(f"{2 * 10**12 - 3} of {2 * 10**12} chunks are missing")


@given(counts=st.lists(st.integers(0, 4), max_size=4))
def test_positions_are_those_of_numpy(counts):
    found = list(positions(counts))
    assert found == list(np.ndindex(*counts))
    assert found == [position_at(number, counts) for number in range(len(found))]


@given(
    shape=st.lists(st.integers(1, 4), min_size=2, max_size=5),
    axis=st.one_of(st.none(), st.integers(0, 4)),
    count=st.integers(1, 20),
)
def test_some_planes_are_even_ones_of_all(shape, axis, count):
    if axis is not None and (axis >= len(shape) or len(shape) < 3):
        return
    layout = PlaneLayout(tuple(shape), axis)
    for channel in range(layout.channels):
        keys = [key for key in layout.planes() if key.channel == channel]
        assert layout.planes_per_channel == len(keys)
        assert layout.some_planes(channel, count) == evenly(keys, count)


@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 3)),
    chunks=st.tuples(st.integers(1, 5), st.integers(1, 6), st.integers(1, 4)),
    color=st.booleans(),
)
def test_parts_are_groups_of_planes_that_share_chunks(shape, chunks, color):
    """As sorting all planes by their chunks has it."""
    channels = 3 if color else shape[2]
    image = np.zeros((*shape[:2], 40, 44, channels), np.float32)
    prepared = prepare_denoise(image, model=MODEL, channel_axis=-1, rgb=color)
    job, sides = prepared.job, (*chunks[:2], 40, 44, chunks[2])
    keys = job.layout.color_planes() if color else ((key,) for key in job.layout.planes())

    def chunk(planes):
        index = zip(planes[0].index, sides, strict=True)
        return tuple(0 if isinstance(i, slice) else i // side for i, side in index)

    ordered = sorted(keys, key=chunk)
    expected = [tuple(group) for _, group in itertools.groupby(ordered, chunk)]
    assert [part.planes for part in parts_of(job, sides)] == expected


def test_metadata_of_channels_that_do_not_exist_are_left_out(tmp_path):
    """However many there are."""
    group = zarr.open_group(tmp_path / "in.zarr", mode="w", zarr_format=2)
    group.create_array("0", shape=(2, 8, 8), chunks=(1, 8, 8), dtype="u1")
    axes = [{"name": "c", "type": "channel"}, *({"name": n, "type": "space"} for n in "yx")]
    scale = [{"type": "scale", "scale": [1, 1, 1]}]
    levels = [{"path": "0", "coordinateTransformations": scale}]
    channels = [{"label": f"c{i}", "color": "FFFFFF"} for i in range(5000)]
    attributes = {
        "multiscales": [{"version": "0.4", "axes": axes, "datasets": levels}],
        "omero": {"channels": channels},
    }
    (tmp_path / "in.zarr" / ".zattrs").write_text(json.dumps(attributes))
    assert read_image(tmp_path / "in.zarr").channel_names == ["c0", "c1"]
