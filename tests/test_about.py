"""What an issue is told, and the files that strangers read first."""

import re
import tomllib
from pathlib import Path

import pytest

import napari_rednet as nr
from napari_rednet import about
from tests.conftest import small_model
from tests.test_cli import call

ROOT = Path(__file__).parents[1]


def test_versions_devices_models_and_folders_are_told():
    sections = about.describe()
    assert sections["napari-rednet"]["version"] == nr.__version__
    assert "cpu" in sections["devices"]
    assert sections["models"].keys() == {info.name for info in nr.list_models()}
    assert all(re.search(r"sha256 [0-9a-f]{12}$", told) for told in sections["models"].values())
    code, text = call("info")
    assert code == 0
    for title, values in sections.items():
        assert f"{title}:" in text
        assert all(name in text for name in values)


def test_models_of_the_user_are_told_and_damaged_ones_as_such(users_models, tmp_path, monkeypatch):
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("NAPARI_REDNET_MODELS", str(folder))
    small_model("denoise").save(folder / "mine.safetensors")
    before = about.describe()["models"]["mine"]
    small_model("denoise", stride=1).save(folder / "mine.safetensors")
    (folder / "bad.safetensors").write_bytes(b"nothing")
    with pytest.warns(UserWarning, match="bad"):
        told = about.describe()["models"]
    assert told["mine"] != before
    assert told[str(folder / "bad.safetensors")] == "damaged"


def test_the_name_of_the_user_is_not_told(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("NAPARI_REDNET_MODELS", str(tmp_path / "models"))
    assert Path(about.describe()["folders"]["your models"]) == Path("~/models")


def test_the_version_is_the_same_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    version = project["version"]
    for name, pattern in {
        "CITATION.cff": r"^version: (\S+)$",
        "packaging/conda-forge/recipe.yaml": r"^  version: (\d\S+)$",
        "CHANGELOG.md": r"^## (\S+)",
    }.items():
        found = re.search(pattern, (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
        assert found, name
        assert found[1] == version, name


def test_the_recipe_for_conda_needs_what_the_package_needs():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    recipe = (ROOT / "packaging/conda-forge/recipe.yaml").read_text(encoding="utf-8")
    run = recipe.partition("  run:\n")[2].partition("tests:")[0]
    needed = {
        line.replace("torch>", "pytorch>").replace(">", " >", 1) for line in project["dependencies"]
    }
    assert {line.strip(" -") for line in run.splitlines()} == needed | {
        "python " + project["requires-python"]
    }
    (program,) = (f"{name} = {place}" for name, place in project["scripts"].items())
    assert f"- {program}\n" in recipe
