"""One job at a time: whoever comes second is told who is there; the dead hold nothing."""

import errno
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
import tifffile

import napari_rednet as nr
from napari_rednet.batch import BatchRecord, plan_batch, run_batch, write_report
from napari_rednet.batch.restoring import RECORD
from napari_rednet.errors import BusyError
from napari_rednet.execution.parts import Record
from napari_rednet.files import claimed
from napari_rednet.io import image_writer, read_image
from napari_rednet.training.loop import prepare_folder, write_checkpoint
from tests.conftest import small_model
from tests.test_cli import call

HOLD = """
import sys
from pathlib import Path
from napari_rednet.files import claimed

with claimed(Path(sys.argv[1])):
    print("claimed", flush=True)
    sys.stdin.read()
"""
PLANE = np.arange(600, dtype=np.uint16).reshape(20, 30)


@pytest.fixture
def image(tmp_path):
    tifffile.imwrite(tmp_path / "in.tif", PLANE)
    return read_image(tmp_path / "in.tif")


@pytest.fixture
def holder():
    """Starts processes that claim a file until they end."""
    running = []

    def start(path):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, path],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        running.append(process)
        assert process.stdout.readline() == "claimed\n"
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def write_image(suffix):
    def write(folder, image):
        with image_writer(folder / f"out{suffix}", image) as out:
            out[...] = PLANE

    return write


def write_batch(folder, image):
    files = plan_batch([folder / "in.tif"], folder / "results")

    def nothing(file):
        yield 0, 1

    list(run_batch(files, nothing, BatchRecord(folder / "results", {})))


# The file, or what stands for a folder, and what writes there.
WRITERS = {
    "tiff": ("out.tif", write_image(".tif")),
    "ome-tiff": ("out.ome.tif", write_image(".ome.tif")),
    "zarr": ("out.zarr", write_image(".zarr")),
    "model": (
        "out.safetensors", lambda folder, _: small_model("denoise").save(folder / "out.safetensors")
    ),
    "onnx": (
        "out.onnx", lambda folder, _: small_model("deblock").export(folder / "out.onnx")
    ),
    "sample of onnx": (
        "out-sample.npz", lambda folder, _: small_model("deblock").export(folder / "out.onnx")
    ),
    "report": ("report.csv", lambda folder, _: write_report(folder / "report.csv", [])),
    "checkpoint": ("c.pt", lambda folder, _: write_checkpoint(folder / "c.pt", {"step": 1})),
    "training": ("run/training", lambda folder, _: prepare_folder(folder / "run")),
    "batch": ("results/napari-rednet-batch", write_batch),
    "record of a batch": (f"results/{RECORD}", write_batch),
    "record of parts": ("record", lambda folder, _: Record(folder / "record", "it")),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRITERS)
def test_the_second_job_is_refused_with_the_number_of_the_first(kind, tmp_path, image, holder):
    name, write = WRITERS[kind]
    target = tmp_path / name
    target.parent.mkdir(exist_ok=True)
    first = holder(target)
    with pytest.raises(BusyError, match=rf"process {first.pid} is writing .*{target.name}"):
        write(tmp_path, image)
    first.communicate("")
    write(tmp_path, image)
    assert not [p for p in tmp_path.rglob(".*") if p.suffix in (".lock", ".part")]


def test_a_disk_too_full_for_a_number_keeps_no_lock(tmp_path, monkeypatch):
    def write(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError, match="No space"), claimed(tmp_path / "out.tif"):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["tiff", "zarr", "model", "batch"])
def test_a_killed_job_holds_nothing(kind, tmp_path, image, holder):
    name, write = WRITERS[kind]
    target = tmp_path / name
    target.parent.mkdir(exist_ok=True)
    first = holder(target)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert target.with_name(f".{target.name}.lock").exists()
    write(tmp_path, image)
    assert not [p for p in tmp_path.rglob(".*") if p.suffix in (".lock", ".part")]


@pytest.mark.parametrize("kind", ["tiff", "zarr"])
def test_two_jobs_of_one_process_are_two(kind, tmp_path, image):
    suffix = f".{'tif' if kind == 'tiff' else kind}"
    with image_writer(tmp_path / f"out{suffix}", image) as out:
        with pytest.raises(BusyError, match=f"another job of this process, {os.getpid()},"):
            write_image(suffix)(tmp_path, image)
        out[...] = PLANE
    np.testing.assert_array_equal(read_image(tmp_path / f"out{suffix}").data[:], PLANE)


def test_of_many_at_once_one_gets_it(tmp_path):
    """Locks are taken and dropped at the same moments, by threads."""
    inside, most, done = [0], [0], []
    lock = threading.Lock()

    def work():
        for _ in range(200):
            try:
                with claimed(tmp_path / "x"):
                    with lock:
                        inside[0] += 1
                        most[0] = max(most[0], inside[0])
                    done.append(1)
                    with lock:
                        inside[0] -= 1
            except BusyError:
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert done
    assert list(tmp_path.iterdir()) == []


def test_links_to_one_file_are_one_place(tmp_path, image):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "out.tif").write_bytes(b"before")
    (tmp_path / "link.tif").symlink_to(tmp_path / "real" / "out.tif")
    with image_writer(tmp_path / "link.tif", image) as out:
        with pytest.raises(BusyError), image_writer(tmp_path / "real" / "out.tif", image):
            pass
        out[...] = PLANE
    assert (tmp_path / "link.tif").is_symlink()
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "real" / "out.tif"), PLANE)


def test_where_nothing_can_be_locked_a_living_process_is_believed(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("napari_rednet.files._lock_by_system", fail)
    busy = pytest.raises(BusyError, match=str(os.getpid()))
    with claimed(tmp_path / "x"), busy, claimed(tmp_path / "x"):
        pass
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    import socket

    (tmp_path / ".x.lock").write_text(f"{gone.pid} {socket.gethostname()}")
    with claimed(tmp_path / "x"):
        pass
    (tmp_path / ".x.lock").write_text("5 elsewhere")
    with claimed(tmp_path / "x"):
        pass


def test_a_command_tells_who_is_there(tmp_path, image, holder):
    small_model("denoise").save(tmp_path / "tiny.safetensors")
    first = holder(tmp_path / "out.tif")
    words = ["denoise", tmp_path / "in.tif", tmp_path / "out.tif"]
    code, text = call(*words, "--model", tmp_path / "tiny.safetensors")
    assert code == 1
    assert f"process {first.pid} is writing" in text.replace("\n", "")
    assert not (tmp_path / "out.tif").exists()


def test_a_batch_tells_who_is_there(tmp_path, image, holder):
    small_model("denoise").save(tmp_path / "tiny.safetensors")
    (tmp_path / "results").mkdir()
    first = holder(tmp_path / "results" / "napari-rednet-batch")
    words = ["denoise", tmp_path / "in.tif", "--out", tmp_path / "results"]
    code, text = call(*words, "--model", tmp_path / "tiny.safetensors")
    assert code == 1
    assert f"process {first.pid} is writing" in text.replace("\n", "")
    assert not (tmp_path / "results" / "in.tif").exists()


def test_an_unfinished_zarr_of_another_job_is_not_touched(tmp_path, image, holder):
    """Without --resume, the record of what is finished would be deleted."""
    from napari_rednet.batch import BatchFile, restore_file
    from napari_rednet.batch.restoring import make_work

    record = tmp_path / ".out.zarr.record"
    record.write_text("what the other has finished")
    holder(tmp_path / "out.zarr")
    file = BatchFile(tmp_path / "in.tif", tmp_path / "out.zarr", "out.zarr")
    work = make_work("denoise", {"model": small_model("denoise"), "noise": 5.0})
    with pytest.raises(BusyError):
        list(restore_file(work, file))
    assert record.read_text() == "what the other has finished"


def test_two_commands_at_once_leave_one_result(tmp_path):
    """Real processes, at the same time: exit codes 0 and 1, and the pixels of one of them."""
    rng = np.random.default_rng(0)
    small_model("denoise").save(tmp_path / "tiny.safetensors")
    for name in "ab":
        tifffile.imwrite(tmp_path / f"{name}.tif", rng.normal(100, 9, (600, 600)).astype("f4"))
    code = "import sys; from napari_rednet.cli import app; sys.argv[0] = 'x'; app()"
    common = ["--model", tmp_path / "tiny.safetensors", "--noise", "9", "--quiet"]

    def start(name, out):
        words = ["denoise", tmp_path / f"{name}.tif", out, *common]
        return subprocess.Popen(
            [sys.executable, "-c", code, *words], stderr=subprocess.PIPE, text=True
        )

    both = [start(name, tmp_path / "out.tif") for name in "ab"]
    told = [process.communicate()[1] for process in both]
    codes = [process.returncode for process in both]
    found = tifffile.imread(tmp_path / "out.tif")
    expected = []
    for name in "ab":
        image = tifffile.imread(tmp_path / f"{name}.tif")
        expected.append(nr.denoise(image, noise=9, model=tmp_path / "tiny.safetensors"))
    same = [bool(np.allclose(found, one, atol=0.5)) for one in expected]
    assert sum(same) == 1
    # If one ended before the other began, that one found a file in its place.
    assert sorted(codes) == [0, 1], told
    assert codes[same.index(True)] == 0
