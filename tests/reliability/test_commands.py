"""Every command that writes: ended at random moments, on a full disk, twice at once, disturbed.

Results are whole or absent, and a second run gives what an undisturbed one gives, bit by bit.
"""

import math
import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from tests.conftest import SMALL_RECIPE, small_model
from tests.reliability.commands import Command

from napari_rednet.cli import app
from napari_rednet.cli.models import models
from napari_rednet.io import read_image
from napari_rednet.models import read_model

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="signals and limits of Unix"),
]
COMMANDS = {
    "tiff": (["denoise", "in.tif", "out.tif", "--noise", "9"], "out.tif"),
    "compressed tiff": (["denoise", "packed.tif", "out.tif", "--noise", "9"], "out.tif"),
    "zarr": (["denoise", "in.zarr", "out.zarr", "--noise", "9"], "out.zarr"),
    "tiff to zarr": (["denoise", "in.tif", "out.zarr"], "out.zarr"),
    "super-resolve": (["super-resolve", "in.tif", "out.tif"], "out.tif"),
    "deblock": (["deblock", "in.tif", "out.tif"], "out.tif"),
    "deblur": (["deblur", "in.tif", "out.tif", "--gaussian", "1", "--iterations", "2"], "out.tif"),
    "inpaint": (["inpaint", "in.tif", "out.tif"], "out.tif"),
    "batch": (["denoise", "in.tif", "packed.tif", "in.zarr", "--out", "out"], "out"),
    "fine-tune": (
        ["fine-tune", "in.tif", "--out", "out.safetensors", "--steps", "20", "--batch", "2",
         "--patch", "32"], "out.safetensors",
    ),
    "export": (["models", "export", "small.safetensors", "out.onnx"], "out.onnx"),
    "add": (["models", "add", "small.safetensors", "--name", "mine"], "models/mine.safetensors"),
    "rename": (["models", "rename", "theirs", "mine"], "models/mine.safetensors"),
    "demo": (["demo", "demo"], "demo/chromosomes-denoised.tif"),
    "train": (
        ["train", "small.toml", "--data", ".", "--runs", "runs"], "runs/small/small.safetensors",
    ),
}  # fmt: skip
ELSEWHERE = {"remove", "show", "folder", "info"}  # which write nothing
RESUMABLE = ("zarr", "tiff to zarr", "batch", "train")
LEARNING = ("fine-tune", "train")  # which keep the best model so far
READING = [name for name in COMMANDS if name not in ("rename", "demo")]
KEEPING = [name for name in COMMANDS if name not in ("train", "demo")]  # what is there
RECIPE = f"""{SMALL_RECIPE}
scales = [1.0]
held_out = 2
[training]
steps = 12
interval = 3
patch = 16
batch = 2
"""
PRECIOUS = b"precious"


def test_every_command_that_writes_is_tried():
    known = {c.name or c.callback.__name__.replace("_", "-") for c in app.registered_commands}
    known |= {c.name or c.callback.__name__ for c in models.registered_commands}
    tried = {words[1] if words[0] == "models" else words[0] for words, _ in COMMANDS.values()}
    assert tried | ELSEWHERE == known


def source_of(name):
    """The file that a command reads, the first of several."""
    words = COMMANDS[name][0]
    return "clean/b.tif" if name == "train" else words[2 if words[0] == "models" else 1]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    stack = np.random.default_rng(0).normal(100, 9, (4, 100, 110)).astype(np.float32)
    options = {"photometric": "minisblack", "metadata": {"axes": "ZYX"}}
    tifffile.imwrite(folder / "in.tif", stack, **options)
    tifffile.imwrite(folder / "packed.tif", stack.astype("u2"), compression="zlib", **options)
    array = zarr.create_array(folder / "in.zarr", shape=stack.shape, chunks=(1, 40, 40), dtype="f4")
    array[:] = stack
    (folder / "models").mkdir()
    for place in ("small", "models/theirs"):
        small_model("deblock").save(folder / f"{place}.safetensors")
    (folder / "clean").mkdir()
    for letter, plane in zip("abcd", stack, strict=True):
        tifffile.imwrite(folder / "clean" / f"{letter}.tif", plane)
    (folder / "small.toml").write_text(RECIPE)
    return folder


@pytest.fixture
def folder(inputs, tmp_path):
    place = tmp_path / "work"
    shutil.copytree(inputs, place)
    return place


def start(folder, name, *more, limit=None, killed_before=None):
    environment = {"NAPARI_REDNET_MODELS": str(folder / "models")}
    return Command([*COMMANDS[name][0], *more], folder, environment, limit, killed_before)


def contents(path):
    """What results hold: pixels, weights, or bytes; fails for what is not whole."""
    if path.is_dir() and path.suffix != ".zarr":
        names = [p.name for p in path.iterdir() if p.suffix in (".tif", ".zarr")]
        return {name: contents(path / name) for name in sorted(names)}
    if path.suffix in (".tif", ".zarr"):
        return np.asarray(read_image(path).data[:])
    if path.suffix == ".safetensors":
        state = read_model(path).network.state_dict()
        return {name: value.numpy() for name, value in state.items()}
    return np.frombuffer(path.read_bytes(), np.uint8)


def assert_same(found, expected):
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert_same(found[name], value)
    else:
        np.testing.assert_array_equal(found, expected)


def assert_whole_or_absent(folder, name, expected):
    """A batch may have finished some of its files."""
    target = folder / COMMANDS[name][1]
    if not target.exists():
        assert (folder / "models/theirs.safetensors").exists()
        return
    found = contents(target)
    if name in LEARNING:
        return
    if isinstance(found, dict) and target.is_dir():
        assert_same(found, {key: expected[key] for key in found})
    else:
        assert_same(found, expected)


@dataclass(frozen=True)
class Undisturbed:
    """A command that nothing disturbed: its result, its seconds, and its largest file in bytes.

    `changes` is how often it changed files and folders.
    """

    result: Any
    duration: float
    size: int
    changes: int


@pytest.fixture(scope="module")
def undisturbed(inputs, tmp_path_factory):
    known = {}

    def get(name):
        if name not in known:
            place = tmp_path_factory.mktemp("undisturbed") / "work"
            shutil.copytree(inputs, place)
            begun = time.monotonic()
            process = start(place, name, killed_before=math.inf)
            told = process.wait()
            assert process.returncode == 0, told
            changes = int(told.rpartition("changes:")[2])
            duration, target = time.monotonic() - begun, place / COMMANDS[name][1]
            files = [p for p in (target, *target.rglob("*")) if p.is_file()]
            size = max(p.stat().st_size for p in files)
            known[name] = Undisturbed(contents(target), duration, size, changes)
        return known[name]

    return get


def run_again(folder, name):
    """As a user does: resumed if it can be, else forced, unless a model has its name already."""
    if name == "rename" and (folder / COMMANDS[name][1]).exists():
        return contents(folder / COMMANDS[name][1])
    more = [] if name in ("rename", "demo") else ["--force"]
    if name in RESUMABLE or (name == "fine-tune" and (folder / "out.training").exists()):
        more = (
            ["--resume"]
            if not (folder / COMMANDS[name][1]).exists() or name in ("batch", "train")
            else more
        )
    process = start(folder, name, *more)
    told = process.wait()
    assert process.returncode == 0, told
    return contents(folder / COMMANDS[name][1])


@pytest.mark.parametrize("moment", range(3))
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_may_be_ended_at_any_moment(name, number, moment, folder, undisturbed, counted):
    known = undisturbed(name)
    lot = np.random.default_rng([moment, *map(ord, name + number)])
    process = start(folder, name)
    time.sleep(known.duration * lot.uniform(0.02, 1))
    process.send_signal(getattr(signal, number))
    told = process.wait()
    if number == "SIGKILL":
        assert process.returncode in (0, -signal.SIGKILL)
    else:
        # Before Python has begun, nobody handles signals; who learns keeps what has been learned.
        early = process.returncode == -getattr(signal, number) and not told
        assert process.returncode in (0, 130) or early, told
        assert "Traceback" not in told
        assert "KeyboardInterrupt" not in told
    assert_whole_or_absent(folder, name, known.result)
    if not (name == "fine-tune" and process.returncode == 0):
        assert_same(run_again(folder, name), known.result)
    assert not list(folder.glob(".*.lock"))
    counted("killed" if number == "SIGKILL" else "signals")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_may_be_killed_between_any_two_changes_of_files(
    name, inputs, tmp_path, undisturbed, counted
):
    """Such as that of a result and that of the record that it is finished."""
    known = undisturbed(name)
    last = known.changes
    for change in sorted({*range(0, last, 1 + last // 12), *range(max(0, last - 8), last)}):
        place = tmp_path / str(change)
        shutil.copytree(inputs, place)
        process = start(place, name, killed_before=change)
        told = process.wait()
        assert process.returncode in (0, -signal.SIGKILL), told
        assert_whole_or_absent(place, name, known.result)
        if not (name == "fine-tune" and process.returncode == 0):
            assert_same(run_again(place, name), known.result)
        counted("killed")


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.7, 0.99])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_ends_a_command_with_a_line(name, share, folder, undisturbed, counted):
    known = undisturbed(name)
    process = start(folder, name, limit=int(share * known.size))
    told = process.wait()
    assert process.returncode in (0, 1), told
    assert "Traceback" not in told
    if process.returncode == 1:
        assert "error:" in told or "failed:" in told
    assert_whole_or_absent(folder, name, known.result)
    hidden = [p.name for p in folder.rglob(".*") if p.name.endswith((".lock", ".tif.part"))]
    assert not hidden
    counted("full disk")


@pytest.mark.parametrize("apart", [0.0, 0.2, 0.5])
@pytest.mark.parametrize(
    "name", ["tiff", "zarr", "super-resolve", "batch", "fine-tune", "export", "add", "train"]
)
def test_two_at_once_are_one(name, apart, folder, undisturbed, counted):
    expected = undisturbed(name).result
    first = start(folder, name)
    time.sleep(apart)
    second = start(folder, name)
    told = [process.wait() for process in (first, second)]
    codes = sorted(process.returncode for process in (first, second))
    # One may have ended before the other looked, which then finds the result in its place.
    assert codes == [0, 1], told
    assert "Traceback" not in "".join(told)
    assert_same(contents(folder / COMMANDS[name][1]), expected)
    counted("two jobs")


def cut(path):
    if path.is_dir():
        for chunk in sorted(path.glob("c/*/*/*"))[:4]:
            os.truncate(chunk, chunk.stat().st_size // 2)
    else:
        os.truncate(path, path.stat().st_size // 3)


def remove(path):
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def damage(path):
    for place in sorted(path.glob("c/*/*/*")) if path.is_dir() else [path]:
        with place.open("r+b") as file:
            file.seek(place.stat().st_size // 2)
            file.write(b"\xff" * 40)


@pytest.mark.parametrize("moment", range(3))
@pytest.mark.parametrize("way", [cut, remove, damage])
@pytest.mark.parametrize("name", READING)
def test_a_lost_source_ends_a_command_with_a_line(name, way, moment, folder, undisturbed, counted):
    known, source = undisturbed(name), folder / source_of(name)
    lot = np.random.default_rng([moment, *map(ord, name + way.__name__)])
    process = start(folder, name)
    time.sleep(known.duration * lot.uniform(0, 1))
    way(source)
    told = process.wait()
    assert process.returncode in (0, 1), told
    assert "Traceback" not in told
    target = folder / COMMANDS[name][1]
    if process.returncode == 1:
        assert source.name in told.replace("\n", "")
        assert "error:" in told or "failed:" in told
    else:
        assert target.exists()
    if way is not damage:  # which may have come before the pixels were read
        assert_whole_or_absent(folder, name, known.result)
    elif target.exists():
        contents(target)
    assert not [p for p in folder.rglob(".*") if p.name.endswith((".lock", ".tif.part"))]
    counted("lost sources")


@pytest.mark.parametrize("moment", range(3))
@pytest.mark.parametrize("name", KEEPING)
def test_a_result_that_appears_meanwhile_is_kept(name, moment, folder, undisturbed, counted):
    target = folder / COMMANDS[name][1]
    if name == "batch":
        target = target / "packed.tif"
    lot = np.random.default_rng([moment, *map(ord, name)])
    process = start(folder, name)
    time.sleep(undisturbed(name).duration * lot.uniform(0, 1))
    target.parent.mkdir(exist_ok=True)
    kept = target / "kept" if target.suffix == ".zarr" else target
    with suppress(FileExistsError):
        if kept != target:
            target.mkdir()
        with kept.open("xb") as file:
            file.write(PRECIOUS)
    told = process.wait()
    assert "Traceback" not in told
    if kept.exists() and kept.read_bytes() == PRECIOUS:
        assert process.returncode == 1, told
        assert "error:" in told or "failed:" in told
    else:  # it was late
        assert process.returncode == 0
        assert_same(contents(folder / COMMANDS[name][1]), undisturbed(name).result)
    counted("appeared")
