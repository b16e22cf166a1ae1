"""A restoration that is interrupted goes on where it was, to the same end."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from skimage import data

from napari_rednet.execution import ResumableOutput, parts
from napari_rednet.restoration.denoise import denoise_steps

zarr = pytest.importorskip("zarr")
IMAGE = np.stack([data.camera()[y : y + 200, :160] for y in (0, 100, 300)]).astype(np.uint16)
CHUNKS = (1, 64, 64)


@pytest.fixture(autouse=True)
def short_segments(monkeypatch):
    monkeypatch.setattr(parts, "_LEAST_PIXELS", 1)
    monkeypatch.setattr(parts, "_ROWS_PER_MARGIN", 1)


def output(folder, identity="mine"):
    path = folder / "result.zarr"
    if path.exists():
        array = zarr.open_array(path, mode="r+")
    else:
        array = zarr.create_array(path, shape=IMAGE.shape, chunks=CHUNKS, dtype=IMAGE.dtype)
    return ResumableOutput(array, folder / "record", identity)


def steps_of(folder, **changes):
    return denoise_steps(IMAGE, noise=20.0, out=replace(output(folder), **changes))


def whole(folder):
    folder.mkdir()
    list(steps_of(folder))
    return output(folder).array[:]


def interrupt(folder, count):
    steps = steps_of(folder)
    for _ in range(count):
        next(steps)
    steps.close()


def lines(folder):
    return (folder / "record").read_text().splitlines()


@pytest.mark.parametrize("count", [1, 3, 7])
def test_it_goes_on_to_the_same_end(count, tmp_path):
    expected = whole(tmp_path / "whole")
    interrupt(tmp_path, count)
    finished = lines(tmp_path)[1:]
    list(steps_of(tmp_path))
    np.testing.assert_array_equal(output(tmp_path).array[:], expected)
    assert lines(tmp_path)[1 : len(finished) + 1] == finished


def test_finished_parts_are_not_computed_again(tmp_path, monkeypatch):
    interrupt(tmp_path, 5)
    done = len(lines(tmp_path)) - 1
    assert done >= 2
    from napari_rednet.engine.inference import Restorer

    calls, restore = [], Restorer.restore

    def counted(self, plane):
        calls.append(plane)
        return restore(self, plane)

    monkeypatch.setattr(Restorer, "restore", counted)
    list(steps_of(tmp_path))
    assert len(calls) == len(lines(tmp_path)) - 1 - done


def change(path):
    path.write_bytes(path.read_bytes()[:-2] + b"xx")


DAMAGES = {
    "changed": change,
    "cut off": lambda path: os.truncate(path, path.stat().st_size // 2),
    "emptied": lambda path: os.truncate(path, 0),
    "removed": Path.unlink,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_part_is_done_again(damage, tmp_path):
    """As when the power failed before all was on the disk that was told to be."""
    expected = whole(tmp_path / "whole")
    interrupt(tmp_path, 5)
    array = output(tmp_path).array
    chunks = [p for p in Path(array.store.root).rglob("*") if p.is_file() and p.suffix != ".json"]
    DAMAGES[damage](min(chunks))
    list(steps_of(tmp_path))
    np.testing.assert_array_equal(output(tmp_path).array[:], expected)


def test_a_record_that_is_cut_off_counts_as_far_as_it_goes(tmp_path):
    expected = whole(tmp_path / "whole")
    interrupt(tmp_path, 6)
    record = tmp_path / "record"
    record.write_text(record.read_text()[:-4])
    list(steps_of(tmp_path))
    np.testing.assert_array_equal(output(tmp_path).array[:], expected)


def test_another_restoration_begins_anew(tmp_path):
    interrupt(tmp_path, 6)
    assert len(lines(tmp_path)) > 2
    next(steps_of(tmp_path, identity="other"))
    assert len(lines(tmp_path)) == 1


def test_a_finished_restoration_only_reads(tmp_path):
    list(steps_of(tmp_path))
    before = lines(tmp_path)
    seen = [done for done, _ in steps_of(tmp_path)]
    assert seen[-1] == IMAGE.size
    assert lines(tmp_path) == before


SCRIPT = """
import sys
from pathlib import Path
from napari_rednet.execution import parts
from tests.execution.test_outputs import steps_of
parts._LEAST_PIXELS = parts._ROWS_PER_MARGIN = 1
for done, _ in steps_of(Path(sys.argv[1])):
    print(done, flush=True)
"""


@pytest.mark.slow
def test_a_killed_process_is_resumed_to_the_same_end(tmp_path):
    expected = whole(tmp_path / "whole")
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for _ in range(4):
            process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
    assert len(lines(tmp_path)) > 2
    list(steps_of(tmp_path))
    np.testing.assert_array_equal(output(tmp_path).array[:], expected)
