"""The command that exports models, as the group of commands about models gets it."""

import onnx
import pytest
import typer
from typer.testing import CliRunner

from napari_rednet.cli.models import export_model
from tests.conftest import small_model


def export(*arguments):
    """Exit code and everything printed, as one line."""
    app = typer.Typer()
    app.command()(export_model)
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    return result.exit_code, " ".join(result.output.split())


@pytest.fixture
def tiny(tmp_path, tiny_model):
    tiny_model.save(tmp_path / "tiny.safetensors")
    return tmp_path / "tiny.safetensors"


def test_options_end_up_in_the_file(tiny, tmp_path):
    people = ("--author", "A. One", "--author", "B. Two")
    words = ("--license", "CC-BY-4.0", "--description", "Small.", "--tag", "nuclei")
    code, text = export(tiny, tmp_path / "out.onnx", "--noise", "0.1", *people, *words)
    assert code == 0, text
    assert f"written: {tmp_path}/out.onnx" in text
    made = {p.key: p.value for p in onnx.load(tmp_path / "out.onnx").metadata_props}
    assert made["authors"] == "A. One, B. Two"
    assert made["license"] == "CC-BY-4.0"
    assert made["description"] == "Small."
    assert made["tags"].endswith("denoising, 2d, nuclei")
    assert "read noise 0.1" not in made["readme"]
    assert "0.1 ** 2" in made["readme"]


def test_models_that_need_no_noise_need_no_options(tmp_path):
    small_model("deblock").save(tmp_path / "deblock.safetensors")
    assert export(tmp_path / "deblock.safetensors", tmp_path / "out.onnx")[0] == 0
    assert (tmp_path / "out-sample.npz").exists()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("out.onnx", [], "pass noise="),
        ("out.onnx", ["--noise", "25"], "at most 1, got 25"),
        ("out.pt", ["--noise", "0.1"], "path must end in .onnx or .zip"),
        ("none/out.onnx", ["--noise", "0.1"], "there is no folder"),
    ],
)
def test_mistakes_are_named_and_write_nothing(tiny, tmp_path, name, options, message):
    code, text = export(tiny, tmp_path / name, *options)
    assert code == 1
    assert message in text
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.safetensors"]


def test_unknown_models_are_named(tmp_path):
    code, text = export("worst", tmp_path / "out.onnx")
    assert code == 1
    assert "no model 'worst'" in text
