"""Out of memory: a sentence or a smaller tile, never a process that is killed.

The address space of a process is limited once the libraries are loaded.
"""

import subprocess
import sys

import numpy as np
import pytest
import tifffile
from tests.conftest import small_model

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="limits and counters of Linux"),
]
CODE = """
import resource, sys
import numpy as np, torch, scipy.ndimage, skimage.transform, tifffile
import napari_rednet as nr
from napari_rednet.command import main
from napari_rednet.cli import app

torch.set_num_threads(1)

def now(key):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(key)) * 1024

if {spare} is not None:
    # What the libraries take when they are first used.
    nr.denoise(np.random.default_rng(0).random((64, 64)), noise=0.1, model={model!r})
    most = now("VmSize") + {spare}
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
import atexit
atexit.register(lambda: print("peak", now("VmHWM"), file=sys.stderr))
sys.argv = ["napari-rednet", *sys.argv[1:]]
main()
"""
SIDE = 3000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("memory")
    image = np.random.default_rng(0).normal(1000, 50, (2, SIDE, SIDE)).astype(np.uint16)
    options = {"photometric": "minisblack", "metadata": {"axes": "ZYX"}}
    tifffile.imwrite(place / "in.tif", image, **options)
    tifffile.imwrite(place / "packed.tif", image, compression="zlib", **options)
    for task in ("denoise", "super_resolve", "deblock", "inpaint"):
        small_model(task).save(place / f"{task}.safetensors")
    return place


def run(folder, verb, source, *more, spare=None):
    task = {"deblur": "denoise", "super-resolve": "super_resolve"}.get(verb, verb)
    model = str(folder / f"{task}.safetensors")
    (folder / "out.tif").unlink(missing_ok=True)
    code = CODE.format(spare=spare, model=str(folder / "denoise.safetensors"))
    words = [verb, folder / source, folder / "out.tif", "--model", model, *more]
    options = {"denoise": ["--noise", "50"], "deblur": ["--noise", "50", "--gaussian", "1.5"]}
    return subprocess.run(
        [sys.executable, "-c", code, *words, *options.get(verb, [])],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


VERBS = ("denoise", "super-resolve", "deblock", "inpaint", "deblur")
FILES = [(verb, "in.tif") for verb in VERBS] + [("denoise", "packed.tif")]


@pytest.mark.parametrize("spare", [20, 120, 600])
@pytest.mark.parametrize(("verb", "source"), FILES)
def test_without_memory_a_command_ends_with_a_sentence(verb, source, spare, folder, counted):
    done = run(folder, verb, source, spare=spare * 2**20)
    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in done.stderr
    if done.returncode == 1:
        assert "error:" in done.stderr
        assert not (folder / "out.tif").exists()
    else:
        assert tifffile.imread(folder / "out.tif").shape[0] == 2
    assert not list(folder.glob(".*"))
    counted("memory")


@pytest.mark.parametrize("limited", [False, True])
@pytest.mark.parametrize("verb", VERBS)
def test_memory_is_kept_below_what_is_given(verb, limited, folder, counted):
    """And with no more than that, on top of the libraries and the result, a job succeeds."""
    size = 2 * SIDE**2 * 2 * (4 if verb == "super-resolve" else 1)
    spare = 900 * 10**6 + size if limited else None
    done = run(folder, verb, "in.tif", "--memory", "900MB", spare=spare)
    assert done.returncode == 0, done.stderr
    peak = int(done.stderr.rpartition("peak")[2].split()[0])
    # Pages of the result, which the system may drop at any time, count as well.
    assert peak < 900e6 + size, f"{peak / 1e6:.0f} MB"
    counted("memory")
