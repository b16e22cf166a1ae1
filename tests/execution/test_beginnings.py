"""What is done before the first result does not grow with the image."""

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import small_model

import napari_rednet as nr
from napari_rednet.batch import BatchFile, restore_file
from napari_rednet.batch.restoring import make_work
from napari_rednet.engine.planes import PlaneLayout, evenly, position_at, positions
from napari_rednet.execution import FEW_CHANNELS, Restoration, drain
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


def reads_before_the_first_band(source, out, monkeypatch):
    """How often zarr arrays are read until a command has restored a band."""
    reads = []
    with monkeypatch.context() as patch:
        read = zarr.Array.__getitem__
        patch.setattr(zarr.Array, "__getitem__", lambda s, i: reads.append(1) or read(s, i))
        steps = restore_file(
            make_work("denoise", {"model": MODEL}), BatchFile(source, out, "out.zarr")
        )
        next(steps)
        steps.close()
    return len(reads)


def test_as_many_chunks_are_read_of_a_large_image_as_of_a_larger_one(tmp_path, monkeypatch):
    counts = []
    for planes in (100, 10**6):
        empty(tmp_path, (planes, 2000, 64), (1, 64, 64), f"{planes}.zarr")
        source = tmp_path / f"{planes}.zarr"
        counts.append(reads_before_the_first_band(source, tmp_path / "out.zarr", monkeypatch))
    assert counts[0] == counts[1]


def many_channels(folder, pixels, told=0):
    """An OME-Zarr whose first axis is that of channels, of which some are told more."""
    group = zarr.open_group(folder, mode="w", zarr_format=2)
    chunks = (1, *pixels.shape[1:])
    if isinstance(pixels, np.ndarray):
        group.create_array("0", data=pixels, chunks=chunks)
    else:
        group.create_array("0", shape=pixels.shape, chunks=chunks, dtype="u2")
    axes = [{"name": "c", "type": "channel"}, *({"name": n, "type": "space"} for n in "yx")]
    scale = [{"type": "scale", "scale": [1, 1, 1]}]
    levels = [{"path": "0", "coordinateTransformations": scale}]
    channels = [{"label": f"c{i}", "color": "FFFFFF"} for i in range(told)]
    attributes = {
        "multiscales": [{"version": "0.4", "axes": axes, "datasets": levels}],
        "omero": {"channels": channels},
    }
    (folder / ".zattrs").write_text(json.dumps(attributes))


def test_channels_are_measured_when_their_turn_comes(tmp_path, monkeypatch):
    """But for the first few, so that warnings come before the work."""
    counts = []
    for channels in (FEW_CHANNELS + 1, 10**5):
        source = tmp_path / f"{channels}.zarr"
        many_channels(source, PlaneLayout((channels, 64, 64)))
        counts.append(reads_before_the_first_band(source, tmp_path / "out.zarr", monkeypatch))
    assert counts[0] == counts[1]


def test_channels_beyond_the_first_are_restored_as_by_themselves(tmp_path):
    lot = np.random.default_rng(0)
    levels = lot.uniform(5, 30, (FEW_CHANNELS + 8, 1, 1))
    pixels = lot.normal(1000, levels, (*levels.shape[:1], 24, 31)).astype("f4")
    alone = np.stack([nr.denoise(plane, model=MODEL, device="cpu") for plane in pixels])
    together = nr.denoise(pixels, model=MODEL, device="cpu", channel_axis=0)
    np.testing.assert_array_equal(together, alone)
    many_channels(tmp_path / "in.zarr", pixels)
    file = BatchFile(tmp_path / "in.zarr", tmp_path / "out.zarr", "out.zarr")
    figures = drain(restore_file(make_work("denoise", {"model": MODEL}), file), False, "")
    assert "channels" in figures.remark
    np.testing.assert_array_equal(read_image(tmp_path / "out.zarr").data[:], alone)


def test_doubtful_noise_of_a_channel_beyond_the_first_is_warned_of():
    pixels = np.random.default_rng(0).normal(1000, 9, (FEW_CHANNELS + 3, 24, 31))
    noise = [9.0] * len(pixels)
    noise[-2] = 10**5
    with pytest.warns(UserWarning, match="units of the image"):
        nr.denoise(pixels, noise=noise, model=MODEL, channel_axis=0)


BEGINNING = """
import sys
from pathlib import Path
from napari_rednet.batch import BatchFile, restore_file
from napari_rednet.batch.restoring import make_work
source, out = map(Path, sys.argv[1:])
next(restore_file(make_work("denoise", {}), BatchFile(source, out, "out.zarr")))
print({"dask", "ome_zarr", "pandas"} & sys.modules.keys())
"""


def test_the_first_band_of_a_bare_zarr_waits_for_no_library_that_it_does_without(tmp_path):
    empty(tmp_path, (10**12, 64, 64), (1, 64, 64))
    words = [sys.executable, "-c", BEGINNING, tmp_path / "in.zarr", tmp_path / "out.zarr"]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert told.strip() == "set()"


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
    many_channels(tmp_path / "in.zarr", PlaneLayout((2, 8, 8)), told=5000)
    assert read_image(tmp_path / "in.zarr").channel_names == ["c0", "c1"]
