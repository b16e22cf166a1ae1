"""OME-Zarr on the command line: in, out, interrupted, continued, within a bound for the memory."""

import os
import signal
import subprocess
import sys

import dask
import numpy as np
import pytest
import tifffile
import zarr
from skimage import data

from napari_rednet.execution import parts
from napari_rednet.io.ome_zarr import as_zarr_description, read_ome_zarr, zarr_writer
from napari_rednet.io.tiff import read_tiff
from tests.test_cli import call

STACK = np.stack([data.camera()[y : y + 200, :160] for y in (0, 100, 300)]).astype(np.uint16)


@pytest.fixture(autouse=True)
def short_segments(monkeypatch):
    monkeypatch.setattr(parts, "_LEAST_PIXELS", 1)
    monkeypatch.setattr(parts, "_ROWS_PER_MARGIN", 1)


@pytest.fixture
def folder(tmp_path, tiny_model):
    """A calibrated stack as TIFF and as OME-Zarr in small chunks, and a model of few features."""
    tiny_model.save(tmp_path / "tiny.safetensors")
    tifffile.imwrite(
        tmp_path / "in.tif",
        STACK,
        ome=True,
        metadata={"axes": "ZYX", "PhysicalSizeX": 0.2, "PhysicalSizeXUnit": "µm"},
    )
    image = as_zarr_description(read_tiff(tmp_path / "in.tif"))
    small = type(image)(**{**vars(image), "chunks": (1, 64, 64)})
    with zarr_writer(tmp_path / "in.zarr", small) as array:
        array[...] = STACK
    return tmp_path


def denoise(folder, *options, source="in.zarr", target="out.zarr"):
    return call("denoise", folder / source, folder / target, *usual(folder), *options)


def usual(folder):
    return ["--noise=20", f"--model={folder / 'tiny.safetensors'}"]


def pixels(path):
    return read_ome_zarr(path).data[...]


def interrupt_after(monkeypatch, count):
    """Ctrl+C, so many reports of progress after the beginning."""
    module = sys.modules["napari_rednet.execution.restoration"]
    steps = module.restoration_steps

    def stopped(*arguments):
        run = steps(*arguments)
        for _ in range(count):
            yield next(run)
        run.close()
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "restoration_steps", stopped)


def test_formats_do_not_matter(folder):
    assert denoise(folder)[0] == 0
    assert denoise(folder, source="in.tif", target="out.tif")[0] == 0
    found, expected = pixels(folder / "out.zarr"), tifffile.imread(folder / "out.tif")
    assert np.abs(found.astype(int) - expected).max() <= 1
    written = zarr.open_group(folder / "out.zarr", mode="r").attrs["ome"]["multiscales"][0]
    assert [axis["name"] for axis in written["axes"]] == ["z", "y", "x"]


def test_an_interrupted_job_goes_on_to_the_same_end(folder, monkeypatch):
    assert denoise(folder, target="whole.zarr")[0] == 0
    with monkeypatch.context() as patch:
        interrupt_after(patch, 5)
        code, text = denoise(folder)
    assert code == 130
    assert "--resume" in text
    assert not (folder / "out.zarr").exists()
    record = folder / ".out.zarr.record"
    assert len(record.read_text().splitlines()) > 2
    assert denoise(folder, "--resume")[0] == 0
    np.testing.assert_array_equal(pixels(folder / "out.zarr"), pixels(folder / "whole.zarr"))
    assert [p.name for p in folder.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("place", ["0/0/0", "2/3/2"])
def test_a_damaged_chunk_is_named_and_gives_no_result(place, folder):
    (chunk,) = (p for p in (folder / "in.zarr").rglob("*") if str(p).endswith(f"c/{place}"))
    chunk.write_bytes(chunk.read_bytes()[:20])
    code, text = denoise(folder)
    assert code == 1
    assert f"chunk ({place.replace('/', ', ')}) of " in text
    assert not (folder / "out.zarr").exists()


def test_without_resume_it_begins_anew(folder, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt_after(patch, 5)
        denoise(folder)
    unfinished = zarr.open_array(folder / ".out.zarr.part" / "0", mode="r+")
    unfinished[:] = 7
    assert denoise(folder)[0] == 0
    assert pixels(folder / "out.zarr").std() > 10


@pytest.mark.parametrize("options", [["--strength=0.5"], ["--ensemble"]])
def test_other_options_are_not_mixed(options, folder, monkeypatch):
    assert denoise(folder, *options, target="whole.zarr")[0] == 0
    with monkeypatch.context() as patch:
        interrupt_after(patch, 5)
        denoise(folder)
    assert denoise(folder, "--resume", *options)[0] == 0
    np.testing.assert_array_equal(pixels(folder / "out.zarr"), pixels(folder / "whole.zarr"))


SCRIPT = """
import sys
from napari_rednet.execution import parts
parts._LEAST_PIXELS = parts._ROWS_PER_MARGIN = 1
from napari_rednet.execution.parts import Record
add = Record.add
def told(self, number, checksum):
    add(self, number, checksum)
    print(number, flush=True)
Record.add = told
from napari_rednet.cli import app
app(sys.argv[1:])
"""


def test_a_killed_job_goes_on_to_the_same_end(folder):
    assert denoise(folder, target="whole.zarr")[0] == 0
    arguments = ["denoise", folder / "in.zarr", folder / "out.zarr", *usual(folder)]
    command = [sys.executable, "-c", SCRIPT, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "0\n"
        assert process.stdout.readline() == "1\n"
        os.kill(process.pid, signal.SIGKILL)
    assert not (folder / "out.zarr").exists()
    assert denoise(folder, "--resume")[0] == 0
    np.testing.assert_array_equal(pixels(folder / "out.zarr"), pixels(folder / "whole.zarr"))


def test_resuming_a_single_tiff_is_refused(folder):
    code, text = call("denoise", folder / "in.tif", folder / "out.tif", "--resume")
    assert code == 1
    assert ".zarr" in text


@pytest.mark.parametrize(
    ("memory", "message"),
    [("much", "such as '2GB'"), ("10MB", "at least 500MB"), ("-1GB", "such as '2GB'")],
)
def test_a_bound_that_cannot_be_kept_is_refused(memory, message, folder):
    code, text = denoise(folder, f"--memory={memory}")
    assert code == 1
    assert message in text


def test_a_bound_does_not_change_the_result(folder):
    assert denoise(folder, target="whole.zarr")[0] == 0
    assert denoise(folder, "--memory=0.6GB")[0] == 0
    difference = pixels(folder / "out.zarr").astype(int) - pixels(folder / "whole.zarr")
    assert np.abs(difference).max() <= 1


@pytest.mark.slow
def test_workers_of_a_cluster_give_the_same(folder):
    distributed = pytest.importorskip("distributed")
    assert denoise(folder, target="whole.zarr")[0] == 0
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
    )
    with cluster:
        code, text = denoise(folder, f"--scheduler={cluster.scheduler_address}")
    assert code == 0, text
    difference = pixels(folder / "out.zarr").astype(int) - pixels(folder / "whole.zarr")
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize(
    ("address", "message"),
    [("tcp://127.0.0.1:9", "no scheduler at"), ("nonsense://", "no scheduler at")],
)
def test_a_scheduler_that_is_not_there_is_named(address, message, folder, monkeypatch):
    monkeypatch.setattr("napari_rednet.cli.files._LONGEST_WAIT", 1)
    before = dask.config.get("scheduler", None)
    code, text = denoise(folder, f"--scheduler={address}")
    assert code == 1
    assert message in text
    assert not (folder / "out.zarr").exists()
    # Else whatever dask computes in this process would wait for it.
    assert dask.config.get("scheduler", None) == before


@pytest.mark.slow
def test_a_cluster_takes_no_tiff(folder):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as cluster:
        address = f"--scheduler={cluster.scheduler_address}"
        code, text = call("denoise", folder / "in.tif", folder / "out.zarr", address)
    assert code == 1
    assert "from one .zarr file into another" in text
