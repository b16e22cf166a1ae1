"""The command line's models: listed, added, renamed, removed."""

import pytest
from typer.testing import CliRunner

import napari_rednet as nr
from napari_rednet.cli import app
from napari_rednet.models import user_models_folder
from tests.conftest import small_model


def call(*arguments, answer=None):
    """Exit code and everything printed, as one line."""
    result = CliRunner().invoke(app, ["models", *map(str, arguments)], input=answer)
    return result.exit_code, " ".join(result.output.split())


def mine():
    return [info.name for info in nr.list_models() if info.origin == "user"]


@pytest.fixture
def file(tmp_path, tiny_model):
    tiny_model.save(tmp_path / "file.safetensors")
    return tmp_path / "file.safetensors"


def test_they_are_listed_with_where_they_come_from():
    nr.add_model(small_model("deblock"), "my cells")
    code, text = call()
    assert code == 0, text
    for shown in ("denoise-fast", "installed", "my cells", "deblock", "user"):
        assert shown in text


def test_add_rename_and_remove(file):
    code, text = call("add", file)
    assert (code, "tiny has been added to the models for denoise" in text) == (0, True)
    assert call("add", file, "--name", "my cells")[0] == 0
    assert call("rename", "my cells", "our cells")[0] == 0
    assert call("remove", "tiny", "--yes")[0] == 0
    assert mine() == ["our cells"]


def test_add_replaces_only_when_forced(file):
    assert call("add", file)[0] == 0
    code, text = call("add", file)
    assert (code, "already" in text) == (1, True)
    assert call("add", file, "--force")[0] == 0


def test_remove_asks_first(tiny_model):
    nr.add_model(tiny_model)
    code, text = call("remove", "tiny", answer="n\n")
    assert code == 1
    assert "tiny.safetensors?" in text
    assert mine() == ["tiny"]
    assert call("remove", "tiny", answer="y\n")[0] == 0
    assert mine() == []


def test_the_card_of_a_model_is_printed():
    code, printed = call("show", "denoise-fast")
    assert code == 0
    assert printed.split() == nr.model_card("denoise-fast").as_markdown().split()


def test_the_folder_is_printed_alone():
    assert call("folder") == (0, str(user_models_folder()))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["add", "missing.safetensors"], "there is no model file"),
        (["add", "FILE", "--name", "a/b"], "name of a model must"),
        (["add", "FILE", "--name", "fast"], "belongs to the package"),
        (["rename", "tiny", "best"], "belongs to the package"),
        (["rename", "none", "other"], "no model 'none' of your own; your models: tiny"),
        (["remove", "denoise-fast"], "cannot be renamed or removed"),
        (["remove", "none", "--yes"], "no model 'none' of your own"),
    ],
)
def test_mistakes_are_named(file, tiny_model, arguments, message):
    nr.add_model(tiny_model)
    code, text = call(*(file if part == "FILE" else part for part in arguments))
    assert code == 1
    assert message in text
    assert "Traceback" not in text
    assert mine() == ["tiny"]
