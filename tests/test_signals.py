"""Signals end a command as Ctrl+C does, at any moment, without a traceback."""

import signal
import subprocess
import sys

import numpy as np
import pytest
import tifffile

from tests.conftest import small_model

SIGNALS = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
# Modules at whose import the signal comes; and calls, during the work.
EARLY = ["typer", "numpy", "rich.progress", "napari_rednet.cli", "tifffile", "torch"]
CODE = """
import os, sys, signal

# Whoever starts the tests in the background has let them ignore Ctrl+C.
signal.signal(signal.SIGINT, signal.default_int_handler)

class Hook:
    def find_spec(self, name, *_):
        if name == {stage!r} and not hasattr(self, "done"):
            self.done = True
            Gone() if {lost} else os.kill(os.getpid(), {number})

class Gone:
    def __del__(self):
        os.kill(os.getpid(), {number})

sys.meta_path.insert(0, Hook())
from napari_rednet.command import main

if {stage!r} == "work":
    from napari_rednet.restoration import denoise
    original = denoise.denoise_steps

    def steps(image, **options):
        for number, step in enumerate(original(image, **options)):
            if number == 2:
                Gone() if {lost} else os.kill(os.getpid(), {number})
            yield step

    denoise.denoise_steps = steps
sys.argv = ["napari-rednet", *sys.argv[1:]]
main()
"""
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")


@pytest.fixture
def folder(tmp_path):
    stack = np.random.default_rng(0).normal(100, 9, (4, 300, 320)).astype(np.float32)
    options = {"photometric": "minisblack", "metadata": {"axes": "ZYX"}}
    for name in "ab":
        tifffile.imwrite(tmp_path / f"{name}.tif", stack, **options)
    small_model("denoise").save(tmp_path / "tiny.safetensors")
    return tmp_path


def run(folder, stage, number, *words, lost=False):
    code = CODE.format(stage=stage, number=int(number), lost=lost)
    words = [*words, "--model", folder / "tiny.safetensors", "--noise", "9"]
    return subprocess.run(
        [sys.executable, "-c", code, "denoise", *words], capture_output=True, text=True, check=False
    )


FEW = [("numpy", signal.SIGINT), ("work", signal.SIGTERM)]
ALL = [(stage, number) for stage in (*EARLY, "work") for number in SIGNALS]


@pytest.mark.parametrize(
    ("stage", "number"),
    [*FEW, *(pytest.param(*one, marks=pytest.mark.slow) for one in ALL if one not in FEW)],
)
def test_a_command_ends_without_traceback_and_leaves_nothing(stage, number, folder):
    done = run(folder, stage, number, folder / "a.tif", folder / "out.tif")
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert "KeyboardInterrupt" not in done.stderr + done.stdout
    assert not [p for p in folder.iterdir() if "out" in p.name], done.stderr


@pytest.mark.parametrize("stage", ["tifffile", "work"])
def test_a_signal_where_nothing_can_be_raised_ends_a_command_as_well(stage, folder):
    done = run(folder, stage, signal.SIGTERM, folder / "a.tif", folder / "out.tif", lost=True)
    assert done.returncode == 130, done.stderr
    assert "Exception ignored" not in done.stderr
    assert "Traceback" not in done.stderr
    assert not [p for p in folder.iterdir() if "out" in p.name], done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS)
def test_an_interrupted_zarr_can_be_continued(number, folder):
    words = (folder / "a.tif", folder / "out.zarr")
    done = run(folder, "work", number, *words)
    assert done.returncode == 130
    assert "to go on, run the same command with --resume" in " ".join(done.stderr.split())
    assert not (folder / "out.zarr").exists()
    assert run(folder, "never", number, *words, "--resume").returncode == 0
    assert run(folder, "never", number, folder / "a.tif", folder / "new.zarr").returncode == 0
    import zarr

    np.testing.assert_array_equal(
        zarr.open_group(folder / "out.zarr")["0"][:], zarr.open_group(folder / "new.zarr")["0"][:]
    )


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS)
def test_an_interrupted_batch_writes_its_report(number, folder):
    done = run(folder, "work", number, folder / "a.tif", folder / "b.tif", "--out", folder / "out")
    assert done.returncode == 130
    assert "stopped after 0 of 2 files" in " ".join(done.stderr.split())
    assert (folder / "out" / "report.csv").exists()
    assert not list((folder / "out").glob("*.tif"))


@pytest.mark.slow
def test_what_is_ignored_stays_ignored(folder):
    """As under nohup."""
    code = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + CODE
    code = code.format(stage="work", number=int(signal.SIGHUP), lost=False)
    words = [folder / "a.tif", folder / "out.tif", "--model", folder / "tiny.safetensors"]
    done = subprocess.run(
        [sys.executable, "-c", code, "denoise", *words, "--noise", "9"], check=False
    )
    assert done.returncode == 0
    assert (folder / "out.tif").exists()


@pytest.mark.slow
def test_errors_of_the_program_keep_their_traceback():
    """Only interruptions are silent."""
    code = "from napari_rednet import command, cli\ncli.app = lambda **_: 1 / 0\ncommand.main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
