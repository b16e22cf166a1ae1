"""What is written where: no planted link is followed, modes and links stay, nothing new is lost."""

import csv
import os
import shlex
import stat

import numpy as np
import pytest
import tifffile

from napari_rednet.batch import (
    BatchFile,
    BatchRecord,
    Figures,
    Outcome,
    plan_batch,
    restore_file,
    run_batch,
    write_report,
)
from napari_rednet.batch.restoring import make_work
from napari_rednet.errors import ImageFileError, ModelError, TrainingError
from napari_rednet.execution.parts import Record
from napari_rednet.io import image_writer, read_image
from napari_rednet.models import user_models_folder
from napari_rednet.provenance import Call, Origin, as_command_line
from napari_rednet.training.loop import write_checkpoint
from napari_rednet.training.recipes import as_recipe, read_recipe
from tests.conftest import small_model
from tests.test_cli import call

PLANE = np.arange(600, dtype=np.uint16).reshape(20, 30)
PRECIOUS = b"precious"


@pytest.fixture
def image(tmp_path):
    tifffile.imwrite(tmp_path / "in.tif", PLANE)
    return read_image(tmp_path / "in.tif")


def write_image(name):
    def write(path, image):
        with image_writer(path / name, image) as out:
            out[...] = PLANE

    return write


WRITERS = {
    "out.tif": write_image("out.tif"),
    "out.zarr": write_image("out.zarr"),
    "m.safetensors": lambda folder, _: small_model("denoise").save(folder / "m.safetensors"),
    "m.onnx": lambda folder, _: small_model("deblock").export(folder / "m.onnx"),
    "report.csv": lambda folder, _: write_report(folder / "report.csv", []),
    "c.pt": lambda folder, _: write_checkpoint(folder / "c.pt", {"step": 1}),
    "record": lambda folder, _: Record(folder / "record", "it"),
}


@pytest.mark.parametrize("dangles", [False, True])
@pytest.mark.parametrize("ending", ["part", "lock"])
@pytest.mark.parametrize("name", WRITERS)
def test_a_link_planted_beside_a_result_is_not_followed(name, ending, dangles, tmp_path, image):
    victim = tmp_path / "victim"
    if not dangles:
        victim.mkdir() if name.endswith(".zarr") else victim.write_bytes(PRECIOUS)
    for planted in (f".{name}.{ending}", f"{name}.{ending}"):
        (tmp_path / planted).symlink_to(victim)
    WRITERS[name](tmp_path, image)
    assert (tmp_path / name).exists()
    if dangles:
        assert not victim.exists()
    elif victim.is_dir():
        assert list(victim.iterdir()) == []
    else:
        assert victim.read_bytes() == PRECIOUS


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.skipif(os.name == "nt", reason="modes of Unix")
def test_an_existing_result_passes_on_its_mode(name, mode, tmp_path, image):
    WRITERS[name](tmp_path, image)
    wanted = mode | 0o111 if name.endswith(".zarr") else mode
    (tmp_path / name).chmod(wanted)
    WRITERS[name](tmp_path, image)
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == wanted


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.skipif(os.name == "nt", reason="modes of Unix")
def test_a_new_result_has_the_mode_that_is_usual(name, tmp_path, image):
    before = os.umask(0o027)
    try:
        WRITERS[name](tmp_path, image)
    finally:
        os.umask(before)
    usual = 0o750 if name.endswith(".zarr") else 0o640
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == usual


@pytest.mark.parametrize("name", WRITERS)
def test_a_link_stays_and_what_it_names_is_written(name, tmp_path, image):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    WRITERS[name](elsewhere, image)
    (tmp_path / name).symlink_to(elsewhere / name)
    before = (elsewhere / name).stat().st_mtime_ns
    WRITERS[name](tmp_path, image)
    assert (tmp_path / name).is_symlink()
    assert not (elsewhere / name).is_symlink()
    assert (elsewhere / name).stat().st_mtime_ns > before
    assert not [p for p in (*tmp_path.iterdir(), *elsewhere.iterdir()) if p.name.startswith(".")]


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".png", ".zarr"])
@pytest.mark.parametrize(
    ("kind", "moment"),
    [("result", "before"), ("result", "meanwhile"), ("link", "before"), ("link", "meanwhile"),
     ("dangling link", "meanwhile")],
)  # fmt: skip
def test_what_is_there_or_appears_is_not_overwritten(kind, moment, suffix, tmp_path, image):
    """Whoever looked for it earlier may have seen nothing yet."""
    target, other = tmp_path / f"out{suffix}", tmp_path / f"other{suffix}"
    write_image(other.name)(tmp_path, image)

    def appear():
        if kind == "result":
            other.rename(target)
        else:
            target.symlink_to(other if kind == "link" else tmp_path / "nowhere")

    if moment == "before":
        appear()
    kept = pytest.raises(ImageFileError, match=r"is there by now.*--force")
    with kept, image_writer(target, image, overwrite=False) as out:
        assert moment == "meanwhile"
        out[...] = 5
        appear()
    assert target.is_symlink() == (kind != "result")
    assert (tmp_path / "nowhere").exists() is False
    if kind != "dangling link":
        np.testing.assert_array_equal(read_image(target).data[:], PLANE)
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_what_is_forced_is_overwritten(tmp_path, image):
    target = tmp_path / "out.tif"
    target.write_bytes(PRECIOUS)
    with image_writer(target, image, overwrite=True) as out:
        out[...] = PLANE
        target.write_bytes(PRECIOUS)
    np.testing.assert_array_equal(tifffile.imread(target), PLANE)


def test_a_file_system_without_hard_links_is_no_exception(tmp_path, image, monkeypatch):
    def fail(*_):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr("napari_rednet.files.os.link", fail)
    with image_writer(tmp_path / "out.tif", image, overwrite=False) as out:
        out[...] = PLANE
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), PLANE)
    writer = image_writer(tmp_path / "two.tif", image, overwrite=False)
    with pytest.raises(ImageFileError, match="is there by now"), writer:
        (tmp_path / "two.tif").write_bytes(PRECIOUS)


@pytest.mark.parametrize("suffix", ["tif", "zarr"])
@pytest.mark.parametrize("force", [False, True])
def test_commands_keep_what_appears_unless_forced(suffix, force, tmp_path, image, monkeypatch):
    small_model("denoise").save(tmp_path / "tiny.safetensors")
    target = tmp_path / f"out.{suffix}"

    def slow(image, *, out, **_):
        yield 0, 1
        out[...] = PLANE
        target.mkdir() if suffix == "zarr" else target.write_bytes(PRECIOUS)
        return out

    monkeypatch.setattr("napari_rednet.restoration.denoise.denoise_steps", slow)
    more = ["--force"] if force else []
    words = ["denoise", tmp_path / "in.tif", target, "--model", tmp_path / "tiny.safetensors"]
    code, text = call(*words, "--noise", "5", *more)
    assert code == (0 if force else 1), text
    if force:
        np.testing.assert_array_equal(read_image(target).data[:], PLANE)
    else:
        assert "is there by now" in text.replace("\n", " ")
        kept = list(target.iterdir()) == [] if suffix == "zarr" else target.read_bytes() == PRECIOUS
        assert kept


def test_a_batch_keeps_what_appears(tmp_path, image):
    files = plan_batch([tmp_path / "in.tif"], tmp_path / "out")
    work = make_work("denoise", {"model": small_model("denoise"), "noise": 5.0})

    def restore_one(file):
        for step in restore_file(work, file):
            file.result.write_bytes(PRECIOUS)
            yield step
        return Figures()

    statuses = list(run_batch(files, restore_one, BatchRecord(tmp_path / "out", work.task)))
    assert statuses[-1].outcome.status == "failed"
    assert (tmp_path / "out" / "in.tif").read_bytes() == PRECIOUS


MODEL_WRITERS = {
    "m.safetensors": lambda folder, **how: small_model("deblock").save(
        folder / "m.safetensors", **how
    ),
    "m.onnx": lambda folder, **how: small_model("deblock").export(folder / "m.onnx", **how),
    "m-sample.npz": lambda folder, **how: small_model("deblock").export(folder / "m.onnx", **how),
}


@pytest.mark.parametrize("name", MODEL_WRITERS)
def test_a_model_that_must_not_be_overwritten_is_kept(name, tmp_path):
    write = MODEL_WRITERS[name]
    (tmp_path / name).write_bytes(PRECIOUS)
    with pytest.raises(ModelError, match="is there by now"):
        write(tmp_path, overwrite=False)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == PRECIOUS
    write(tmp_path, overwrite=True)
    assert (tmp_path / name).read_bytes() != PRECIOUS
    for path in tmp_path.iterdir():
        path.unlink()
    write(tmp_path, overwrite=False)
    assert (tmp_path / name).exists()


@pytest.mark.parametrize("command", ["add", "rename"])
def test_a_model_that_appears_in_the_folder_is_kept(command, tmp_path, monkeypatch):
    """Between the look at the folder and the end of the work."""
    folder = user_models_folder()
    small_model("denoise").save(tmp_path / "first.safetensors")
    call("models", "add", tmp_path / "first.safetensors", "--name", "first")
    monkeypatch.setattr(
        "napari_rednet.models.registry._refuse_taken",
        lambda name: (folder / f"{name}.safetensors").write_bytes(PRECIOUS),
    )
    words = ["rename", "first", "mine"] if command == "rename" else [
        "add", tmp_path / "first.safetensors", "--name", "mine"
    ]  # fmt: skip
    code, text = call("models", *words)
    assert code == 1
    assert "is there by now" in " ".join(text.split())
    assert (folder / "mine.safetensors").read_bytes() == PRECIOUS
    assert (folder / "first.safetensors").exists()


def test_an_export_is_overwritten_only_by_force(tmp_path):
    name = "out.onnx"
    small_model("deblock").save(tmp_path / "m.safetensors")
    (tmp_path / name).write_bytes(PRECIOUS)
    words = ["models", "export", tmp_path / "m.safetensors", tmp_path / name]
    code, text = call(*words)
    assert code == 1
    assert "exists; add --force" in " ".join(text.split())
    assert (tmp_path / name).read_bytes() == PRECIOUS
    assert call(*words, "--force")[0] == 0
    assert (tmp_path / name).read_bytes() != PRECIOUS


@pytest.mark.parametrize("moment", ["first", "at its end"])
@pytest.mark.parametrize("content", [b"t,x\n1,2\n", b"source", b"\xff\x00"])
def test_a_table_that_is_no_report_is_kept(content, moment, tmp_path, image, monkeypatch):
    small_model("denoise").save(tmp_path / "tiny.safetensors")
    table = tmp_path / "measured.csv"
    words = ["denoise", tmp_path / "in.tif", "--out", tmp_path / "out", "--report", table]
    words += ["--model", tmp_path / "tiny.safetensors", "--noise", "5"]
    if moment == "first":
        table.write_bytes(content)
    else:
        monkeypatch.setattr(
            "napari_rednet.cli.files._summarize", lambda *_: table.write_bytes(content)
        )
    code, text = call(*words)
    assert code == 1
    assert "is no report of a batch" in " ".join(text.split())
    assert table.read_bytes() == content
    assert (tmp_path / "out" / "in.tif").exists() == (moment != "first")
    table.unlink()
    monkeypatch.undo()
    for _ in range(2):  # a report replaces a report
        assert call(*words, "--force")[0] == 0
        assert table.read_bytes().startswith(b"source,result")


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r"])
def test_no_name_in_a_report_is_a_formula(first, tmp_path):
    evil = f"{first}cmd|'/c calc'!A1"
    file = BatchFile(tmp_path / "a.tif", tmp_path / "b.tif", "b.tif")
    named = BatchFile(type(tmp_path)(evil), type(tmp_path)(evil), evil)
    figures = Figures(model=evil, noise=[(0.0, -5.0, 1.0, 0.0, 0.0)], ranges=[(-3.0, 7.0)])
    rows = [(named, Outcome("failed", evil)), (file, Outcome("restored", evil, figures))]
    write_report(tmp_path / "report.csv", rows)
    with (tmp_path / "report.csv").open(newline="", encoding="utf-8") as table:
        found = list(csv.DictReader(table))
    texts = [row[column] for row in found for column in ("source", "result", "reason", "model")]
    assert not [text for text in texts if text[:1] in set("=+-@\t\r")]
    assert found[0]["source"] == f"'{evil}"
    assert float(found[1]["noise_offset"]) == -5
    assert float(found[1]["range_low"]) == -3


@pytest.mark.parametrize(
    "name", ["../out", "/tmp/out", "..", ".", "", "a/b", "a\\b", ".hidden", "-x", "a\nb", 5, None]
)
def test_a_recipe_cannot_name_a_folder_elsewhere(name, tmp_path):
    import tomllib
    from importlib.resources import files

    text = files("napari_rednet").joinpath("weights/denoise-fast.toml").read_text(encoding="utf-8")
    values = tomllib.loads(text)
    assert as_recipe(values).name == "denoise-fast"
    with pytest.raises(ValueError, match="name must be one that a model can have"):
        as_recipe({**values, "name": name})
    if isinstance(name, str) and name.isprintable() and "\\" not in name:
        recipe = tmp_path / "r.toml"
        recipe.write_text(text.replace('"denoise-fast"', f'"{name}"', 1))
        with pytest.raises(TrainingError, match="cannot be used: name must be"):
            read_recipe(recipe)
        code, told = call("train", recipe, "--data", tmp_path, "--runs", tmp_path / "runs")
        assert code == 1
        assert "cannot be used" in told.replace("\n", " ")
        assert [p.name for p in tmp_path.iterdir()] == ["r.toml"]


NAMES = ["-x.tif", "--out.tif", "-", "a b.tif", "$(touch x).tif", "'; rm x; '.tif", "ä\n.tif"]


@pytest.mark.parametrize("name", NAMES)
def test_a_copied_command_has_names_that_are_no_options(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mask = {"name": "m", "path": f"{name}", "planes": []}
    line = as_command_line(Call("inpaint", Origin("in", name, None, "planes"), {"mask": mask}))
    words = shlex.split(line)
    assert words[:2] == ["napari-rednet", "inpaint"]
    assert [os.path.normpath(word) for word in (words[2], words[-1])] == [name, name]
    if name == "-":
        return
    tifffile.imwrite(name, PLANE)
    nothing = "napari_rednet.restoration.inpaint.inpaint_steps"
    monkeypatch.setattr(nothing, lambda image, *, out, **_: iter(()))
    code, text = call(*words[1:])
    assert code == 0, text


def test_the_other_paths_of_a_copied_command_are_no_options_either():
    psf = {"name": "p", "path": "-psf.tif"}
    arguments = {"psf": psf, "model": "-m.safetensors"}
    words = shlex.split(
        as_command_line(Call("deblur", Origin("in", "-a.tif", None, "planes"), arguments))
    )
    assert [word for word in words if word.startswith("-")] == ["--psf", "--model"]
