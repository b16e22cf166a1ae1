"""Model cards, made of recipes and of what model files say of themselves."""

import re
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from tests.conftest import small_model

import napari_rednet as nr
from napari_rednet.errors import ModelError
from napari_rednet.models.registry import installed_models_folder

SHIPPED = [info.name for info in nr.list_models() if info.origin == "installed"]


@pytest.mark.parametrize("name", SHIPPED)
def test_each_shipped_model_has_a_card(name):
    """Its figures are those of the record of its training."""
    card = nr.model_card(name)
    recipe = tomllib.loads((installed_models_folder() / f"{name}.toml").read_text())
    assert card.name == name
    assert card.task == recipe["task"]
    assert card.purpose
    assert len(card.failures) >= 2
    assert "BSD-3-Clause" in card.terms
    assert "research" in card.terms
    assert card.data.split() == recipe["record"]["data"].split()
    assert f"{recipe['record']['steps']:,} steps" in card.training
    told = "\n".join(card.figures)
    figures = {k: v for k, v in recipe["record"]["figures"].items() if k != "command"}
    assert figures
    for value in figures.values():
        for one in value.values() if isinstance(value, dict) else [value]:
            assert str(one) in told
    text = card.as_markdown()
    for part in (card.purpose, card.terms, card.data, *card.failures, *card.figures):
        assert part in text


def test_figures_of_denoising_are_those_of_the_table():
    table = Path(__file__).parents[2] / "docs/benchmarks/gaussian.md"
    row = next(line for line in table.read_text().splitlines() if line.startswith("| denoise-fast"))
    told = nr.model_card("denoise-fast").figures[0]
    figures = re.findall(r"([\d.]+) \(sigma (\d+)\)", told)
    assert len(figures) > 1
    assert all(f" {value} " in row for value, _ in figures)


def test_the_card_of_a_fine_tuned_model_names_its_base(tmp_path):
    info = {
        "base": "denoise-fast",
        "date": "2026-11-30",
        "steps": 1200,
        "data": {"stacks": 3, "planes": 41},
    }
    replace(small_model("denoise"), info=info).save(tmp_path / "a.safetensors")
    nr.add_model(tmp_path / "a.safetensors", "my cells")
    card = nr.model_card("my cells")
    assert card.name == "my cells"
    assert "fine-tuned from denoise-fast; 1,200 steps; 2026-11-30" in card.training
    assert "41 planes of 3 files" in card.data
    assert "denoise-fast" in card.terms
    assert card.failures == card.figures == ()


@pytest.mark.parametrize(
    "text",
    [
        "card = 3\nrecord = []",
        "[card]\nfailures = 'all'\npurpose = 3\n[record]\nfigures = 1\nsteps = 'no'\nhardware = 2",
        "no toml",
        "[card]\nfailures = [1, '', 'one']",
    ],
)
def test_odd_recipes_leave_cards_short(tmp_path, text):
    path = tmp_path / "odd.safetensors"
    replace(small_model("denoise"), info={"base": 7, "data": [], "steps": "?"}).save(path)
    path.with_suffix(".toml").write_text(text)
    card = nr.model_card(path)
    assert card.purpose == card.terms == card.training == card.data == ""
    assert card.failures in ((), ("one",))
    assert "RED" in card.as_markdown()


def test_what_is_no_model_has_no_card(tmp_path):
    with pytest.raises(ModelError, match="no model 'none'"):
        nr.model_card("none")
    shutil.copy(__file__, tmp_path / "bad.safetensors")
    with pytest.raises(ModelError, match="damaged"):
        nr.model_card(tmp_path / "bad.safetensors")
