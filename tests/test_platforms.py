"""What Windows and macOS do otherwise, as far as it can be told apart here."""

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import PureWindowsPath
from types import SimpleNamespace

import numpy as np
import pytest
from skimage import data

import napari_rednet as nr
from napari_rednet import files, provenance
from napari_rednet.provenance import Call, Origin, as_command_line

# The ways in which Windows names files, and what the C runtime there makes of a command line.
FORMS = [r"C:\My data\cells 1.ome.tif", r"\\server\share\cells.tif", r"..\up\50% of it.tif"]


@pytest.fixture
def on_windows(monkeypatch):
    """Provenance as Windows would run it."""
    monkeypatch.setattr(provenance, "os", SimpleNamespace(name="nt", sep="\\", curdir="."))
    monkeypatch.setattr(provenance, "Path", PureWindowsPath)


@pytest.mark.parametrize("path", FORMS)
def test_copied_commands_are_quoted_as_windows_reads_them(on_windows, path):
    line = as_command_line(Call("denoise", Origin("cells", path, taken_as="planes")))
    words = line.split('"')[1::2] if '"' in line else line.split()[2:]
    assert words[0] == path
    source, result = PureWindowsPath(path), PureWindowsPath(words[1])
    assert result.parent == source.parent
    assert result != source
    assert result.suffix == source.suffix


@pytest.mark.parametrize("name", ["CON", "nul", "Aux", "com1", "LPT9", "con.model", "prn.v2.1"])
def test_no_model_has_the_name_of_a_device(users_models, name):
    with pytest.raises(ValueError, match="name of a model"):
        nr.add_model(nr.load_model("fast", task="denoise"), name)


@pytest.mark.parametrize("name", ["console", "com10", "null", "cells.con"])
def test_names_that_only_look_like_those_of_devices_are_fine(users_models, name):
    assert nr.add_model(nr.load_model("fast", task="denoise"), name).name == name


def test_a_process_that_inherits_nothing_restores_alike():
    """Windows and macOS spawn processes: functions, noise and models travel to them by pickle."""
    noisy = data.camera()[100:164, 200:264]
    noise = nr.NoiseModel(gain=1.5, offset=3.0, read_noise=4.0, grain_x=0.2)
    model = nr.load_model("fast", task="denoise")
    expected = nr.denoise(noisy, noise=noise, model=model)
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        found = pool.submit(nr.denoise, noisy, noise=noise, model=model).result()
    assert np.abs(found.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("lacking", ["O_NOFOLLOW", "link"])
def test_results_are_whole_where_a_system_lacks_something(tmp_path, monkeypatch, lacking):
    def unsupported(*_: object) -> None:
        raise OSError("there are no links here")

    if lacking == "link":
        monkeypatch.setattr(os, "link", unsupported)
    else:
        monkeypatch.delattr(os, lacking)
    place = tmp_path / "result"
    with files.replaced(place, overwrite=False) as part:
        part.write_bytes(b"new")
    assert place.read_bytes() == b"new"

    def appears_meanwhile() -> None:
        place.unlink()
        with files.replaced(place, overwrite=False) as part:
            part.write_bytes(b"newer")
            place.write_bytes(b"another's")

    with pytest.raises(FileExistsError):
        appears_meanwhile()
    assert place.read_bytes() == b"another's"
    assert [path.name for path in tmp_path.iterdir()] == ["result"]
