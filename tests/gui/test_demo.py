"""The demo in napari."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import napari
import numpy as np
import pytest

from napari_rednet.demo import show_demo
from napari_rednet.errors import RednetError
from napari_rednet.sample_data import chromosomes


@pytest.mark.slow
def test_the_demo_shows_before_and_after(make_napari_viewer, monkeypatch):
    viewers = []

    def open_viewer(title):
        viewers.append(make_napari_viewer(title=title))
        return viewers[0]

    monkeypatch.setattr(napari, "Viewer", open_viewer)
    monkeypatch.setattr(napari, "run", lambda: None)
    show_demo("cpu")
    before, after = viewers[0].layers
    np.testing.assert_array_equal(before.data, chromosomes())
    assert after.data.std() < before.data.std()
    np.testing.assert_array_equal(after.scale, before.scale)
    assert after.contrast_limits == before.contrast_limits
    assert any("Denoise" in name for name in viewers[0].window.dock_widgets)


def test_without_a_screen_the_demo_says_so(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(RednetError, match="no screen"):
        show_demo("cpu")


@pytest.mark.skipif(sys.platform == "win32", reason="a script for shells")
def test_the_script_says_what_it_installs_before_it_does(tmp_path):
    """In an environment whose pip and command only say that they were called."""
    shutil.copytree(Path(__file__).parents[2] / "scripts", tmp_path / "scripts")
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "activate").write_text(f'PATH="{programs}:$PATH"\n')
    for name in ("pip", "napari-rednet", "dpkg", "python"):
        (programs / name).write_text(f'#!/bin/sh\n[ {name} = dpkg ] || echo "{name} $*" >&2\n')
        (programs / name).chmod(0o755)
    done = subprocess.run(
        ["bash", tmp_path / "scripts" / "demo", "--napari"],
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    packages, told, pip, demo = done.stderr.splitlines()[-4:]
    assert "Debian packages" in packages
    assert "Installing napari-rednet[all]" in told
    assert "minutes" in told
    assert pip == "pip install --editable .[all]"
    assert demo == "napari-rednet demo --napari"
