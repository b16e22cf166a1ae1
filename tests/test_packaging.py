"""What users install: a wheel and an sdist built from this tree, tried in an empty environment."""

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest

ROOT = Path(__file__).parents[1]
LINKS = ("src/napari_rednet/napari.yaml", "src/napari_rednet/weights")
NOT_SOURCES = ignore_patterns(".*", "runs", "dist", "build", "__pycache__", "rednet-demo")

PROGRAM = """
import sys
import numpy as np
from npe2 import PluginManifest
import napari_rednet as nr

assert nr.__file__.startswith(sys.prefix), nr.__file__
noisy = 100 + np.random.default_rng(0).normal(0, 20, (64, 64))
restored = nr.denoise(noisy, noise=20)
assert restored.std() < 0.3 * noisy.std()
manifest = PluginManifest.from_distribution("napari-rednet")
assert len(manifest.contributions.widgets) >= 6
assert nr.super_resolve(noisy, 3).shape == (192, 192)
assert nr.deblock(noisy).shape == nr.inpaint(noisy).shape == (64, 64)
print([info.name for info in nr.list_models()])
"""


def run(*command, **options):
    command = [str(part) for part in command]
    done = subprocess.run(command, check=False, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(kind, source, target):
    run(sys.executable, "-m", "build", f"--{kind}", "--no-isolation", "--outdir", target, source)
    (made,) = target.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return made


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the sources, so that building leaves nothing in the checkout."""
    target = tmp_path_factory.mktemp("tree") / "napari-rednet"
    return copytree(ROOT, target, symlinks=True, ignore=NOT_SOURCES)


@pytest.fixture(scope="module")
def wheel(tree, tmp_path_factory):
    return build("wheel", tree, tmp_path_factory.mktemp("wheel"))


def contents(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {i.filename: i.CRC for i in archive.infolist() if "dist-info" not in i.filename}


@pytest.mark.slow
def test_the_wheel_works_in_an_empty_environment(wheel, tmp_path):
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path)
    python = tmp_path / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, "install", "--no-deps", "--no-index", wheel)
    # The dependencies, but not the checkout: links to it in their folder are not followed there.
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    folder = tmp_path / "lib" / version / "site-packages"
    (folder / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    assert "denoise-fast" in run(python, "-c", PROGRAM, cwd=tmp_path)
    assert "denoise-fast" in run(tmp_path / "bin" / "napari-rednet", "models", cwd=tmp_path)


def test_the_wheel_holds_manifest_weights_recipes_and_data(wheel):
    names = {name.removeprefix("napari_rednet/") for name in contents(wheel)}
    expected = {
        "napari.yaml", "py.typed", "data/chromosomes.tif", "data/README.md",
        "weights/denoise-fast.safetensors", "weights/denoise-fast.toml",
    }  # fmt: skip
    assert expected <= names
    assert not any(name.startswith("tests") for name in names)


@pytest.mark.slow
def test_a_clone_without_links_builds_the_same_wheel(tree, wheel, tmp_path):
    """Where a file system has no links, git writes their targets into small text files."""
    plain = copytree(tree, tmp_path / "plain", symlinks=True)
    for name in LINKS:
        link = plain / name
        target = link.readlink()
        link.unlink()
        link.write_text(str(target))
    assert contents(build("wheel", plain, tmp_path / "made")) == contents(wheel)


@pytest.mark.slow
def test_the_sdist_builds_the_same_wheel(tree, wheel, tmp_path):
    archive = build("sdist", tree, tmp_path / "sdist")
    run("tar", "xzf", archive, "-C", tmp_path)
    (source,) = (p for p in tmp_path.iterdir() if p.name.startswith("napari_rednet-"))
    assert contents(build("wheel", source, tmp_path / "made")) == contents(wheel)
