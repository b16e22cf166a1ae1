"""Several devices side by side; two that are one processor stand for two GPUs."""

import threading

import numpy as np
import pytest
import zarr
from skimage import data

import napari_rednet as nr
from napari_rednet.engine.inference import Restorer
from napari_rednet.execution import ResumableOutput, parts
from napari_rednet.restoration.denoise import denoise_steps

IMAGE = np.stack([data.camera()[y : y + 200, :160] for y in (0, 100, 300)]).astype(np.uint16)
OPTIONS = {"noise": 20.0}


@pytest.fixture
def two_devices(monkeypatch):
    monkeypatch.setattr(parts, "_ROWS_PER_MARGIN", 1)
    monkeypatch.setattr(
        "napari_rednet.engine.network.devices_to_use", lambda device: [device, device]
    )


@pytest.fixture
def threads(monkeypatch):
    """Names of the threads that restore, the second of which waits for the first."""
    seen, restore = set(), Restorer.restore
    both = threading.Barrier(2, timeout=60)

    def watched(self, plane):
        name = threading.current_thread().name
        if name not in seen:
            seen.add(name)
            both.wait()
        yield from restore(self, plane)

    monkeypatch.setattr(Restorer, "restore", watched)
    return seen


@pytest.mark.parametrize("image", [IMAGE, IMAGE[0]], ids=["stack", "plane"])
def test_two_devices_give_what_one_gives(image, two_devices, threads, monkeypatch):
    found = nr.denoise(image, **OPTIONS)
    assert len(threads) == 2
    monkeypatch.undo()
    expected = nr.denoise(image, **OPTIONS)
    difference = np.abs(found.astype(int) - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.001


def test_progress_grows_to_all(two_devices):
    seen = list(denoise_steps(IMAGE, **OPTIONS))
    done = [d for d, _ in seen]
    assert done == sorted(done)
    assert seen[-1] == (IMAGE.size, IMAGE.size)


def test_two_devices_fill_chunks_and_are_continued(two_devices, tmp_path):
    arrays = [
        zarr.create_array({}, shape=IMAGE.shape, chunks=(1, 64, 64), dtype=IMAGE.dtype)
        for _ in range(2)
    ]
    nr.denoise(IMAGE, out=arrays[0], **OPTIONS)
    out = ResumableOutput(arrays[1], tmp_path / "record")
    steps = denoise_steps(IMAGE, out=out, **OPTIONS)
    record = tmp_path / "record"
    for _ in steps:
        if len(record.read_text().splitlines()) > 2:
            break
    steps.close()
    list(denoise_steps(IMAGE, out=out, **OPTIONS))
    np.testing.assert_array_equal(arrays[1][:], arrays[0][:])


def test_an_error_of_one_device_ends_all(two_devices, monkeypatch):
    def fail(*_):
        raise ValueError("one of them broke")
        yield

    monkeypatch.setattr(Restorer, "restore", fail)
    before = threading.active_count()
    with pytest.raises(ValueError, match="one of them broke"):
        nr.denoise(IMAGE, **OPTIONS)
    assert threading.active_count() <= before


def test_cancelling_ends_the_threads(two_devices):
    before = threading.active_count()
    steps = denoise_steps(IMAGE, **OPTIONS)
    next(steps)
    steps.close()
    assert threading.active_count() <= before
