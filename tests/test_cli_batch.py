"""The commands that restore, for many files at once."""

import csv
import os
import signal
import subprocess
import sys
from dataclasses import astuple

import numpy as np
import pytest
import tifffile
from skimage import data

import napari_rednet as nr
from napari_rednet import console
from napari_rednet.batch import BatchFile, Outcome
from napari_rednet.batch.restoring import RECORD
from napari_rednet.console import BatchBars
from napari_rednet.engine.channel import measure_range
from napari_rednet.restoration import denoise
from tests.conftest import small_model
from tests.test_cli import call

NAMES = ("a.tif", "deep/b.tif", "deep/er/c.tif")


def micrographs(tmp_path):
    """Three small micrographs, and models that are quick."""
    frames = np.random.default_rng(0).poisson(data.moon()[:192, :64].astype(float))
    for i, name in enumerate(NAMES):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, frames[64 * i : 64 * i + 48].astype(np.uint16))
    for task in ("denoise", "super_resolve", "deblock", "inpaint"):
        small_model(task).save(tmp_path / f"{task}.safetensors")
    return tmp_path


@pytest.fixture
def folder(tmp_path):
    return micrographs(tmp_path)


def run(folder, *options, command="denoise", sources=("in",), out="out"):
    task = {"deblur": "denoise"}.get(command, command.replace("-", "_"))
    places = [folder / s for s in sources]
    model = folder / f"{task}.safetensors"
    return call(command, *places, "--out", folder / out, "--model", model, *options)


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def check_results(folder, **options):
    """All results are those of the function."""
    for name in NAMES:
        image = tifffile.imread(folder / "in" / name)
        expected = nr.denoise(image, model=folder / "denoise.safetensors", **options)
        np.testing.assert_array_equal(tifffile.imread(folder / "out" / name), expected)


def files_below(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize("source", ["in", "in/**/*.tif"])
def test_results_mirror_the_sources(folder, source):
    code, text = run(folder, sources=[source])
    assert code == 0, text
    assert files_below(folder / "out") == sorted([RECORD, "report.csv", *NAMES])
    check_results(folder)
    assert "3/3 restored deep/er/c.tif" in text
    assert "3 restored, 0 skipped, 0 failed; report:" in text


def test_the_report_has_the_figures(folder):
    assert run(folder)[0] == 0
    found = rows(folder / "out/report.csv")
    assert [row["source"] for row in found] == [str(folder / "in" / n) for n in NAMES]
    assert [row["result"] for row in found] == [str(folder / "out" / n) for n in NAMES]
    for row in found:
        image = tifffile.imread(row["source"])
        noise, scale = nr.estimate_noise(image), measure_range([image])
        assert (row["status"], row["reason"], row["model"]) == ("restored", "", "tiny")
        assert (row["pixels"], float(row["seconds"]) > 0) == (str(image.size), True)
        numbers = [
            name for name in row if name.split("_")[0] in ("noise", "read", "grain", "range")
        ]
        expected = (*astuple(noise), scale.low, scale.high)
        assert [float(row[n]) for n in numbers] == pytest.approx(expected, rel=1e-5)


def test_each_channel_has_its_figures(folder):
    channels = np.stack([tifffile.imread(folder / "in" / n) for n in NAMES[:2]])
    path = folder / "channels.ome.tif"
    tifffile.imwrite(path, channels, metadata={"axes": "CYX"})
    assert run(folder, "--report", folder / "table.csv", sources=["channels.ome.tif"])[0] == 0
    (row,) = rows(folder / "table.csv")
    gains = [n.gain for n in nr.estimate_noise(channels, channel_axis=0)]
    assert [float(g) for g in row["noise_gain"].split(";")] == pytest.approx(gains, rel=1e-5)
    assert len(row["range_high"].split(";")) == 2
    assert "report.csv" not in files_below(folder / "out")


def test_one_bad_file_is_named_and_the_rest_is_done(folder):
    (folder / "in/deep/b.tif").write_bytes(b"no image")
    code, text = run(folder)
    assert code == 1
    assert f"failed: {folder / 'in/deep/b.tif'} cannot be read as TIFF" in text
    assert "2 restored, 0 skipped, 1 failed: deep/b.tif" in text
    row = rows(folder / "out/report.csv")[1]
    assert (row["status"], row["pixels"]) == ("failed", "")
    assert "cannot be read as TIFF" in row["reason"]
    assert not (folder / "out/deep/b.tif").exists()
    assert (folder / "out/deep/er/c.tif").exists()


def test_quiet_prints_nothing_but_errors(folder):
    assert run(folder, "--quiet") == (0, "")
    (folder / "in/deep/b.tif").write_bytes(b"no image")
    code, text = run(folder, "--quiet", "--force")
    assert code == 1
    assert text.startswith("failed: ")
    assert "restored" not in text


def test_results_that_exist_are_kept_unless_told_otherwise(folder):
    (folder / "out").mkdir()
    (folder / "out/a.tif").write_text("precious")
    code, text = run(folder)
    assert code == 1
    assert "a.tif exists" in text
    assert "--skip" in text
    code, text = run(folder, "--skip")
    assert code == 0
    assert "0 restored, 3 skipped, 0 failed" in text
    assert (folder / "out/a.tif").read_text() == "precious"
    assert run(folder, "--force")[0] == 0
    assert tifffile.imread(folder / "out/a.tif").shape == (48, 64)


def interrupted(monkeypatch, after, act):
    """Let the steps of one image, after some others, end in the middle."""
    steps, begun = denoise.denoise_steps, []

    def breaking(image, **options):
        begun.append(image)
        for progress in steps(image, **options):
            yield progress
            if len(begun) > after:
                act()

    monkeypatch.setattr(denoise, "denoise_steps", breaking)


def stop():
    raise KeyboardInterrupt


def test_a_batch_goes_on_after_ctrl_c(folder, monkeypatch):
    with monkeypatch.context() as patch:
        interrupted(patch, 1, stop)
        code, text = run(folder)
    assert code == 130
    assert "stopped after 1 of 3 files; to go on, run the same command with --resume" in text
    assert files_below(folder / "out") == [RECORD, "a.tif", "report.csv"]
    (before,) = rows(folder / "out/report.csv")
    code, text = run(folder, "--resume")
    assert code == 0
    assert "2 restored, 1 skipped, 0 failed" in text
    first, *others = rows(folder / "out/report.csv")
    assert first == {**before, "status": "skipped", "reason": "done before"}
    assert [row["status"] for row in others] == ["restored"] * 2
    code, text = run(folder, "--resume", "--strength", 2)
    assert "3 restored" in text
    check_results(folder, strength=2)


KILLED = """
import os, signal, sys
from napari_rednet.restoration import denoise
steps, begun = denoise.denoise_steps, []
def killing(image, **options):
    begun.append(image)
    for progress in steps(image, **options):
        yield progress
        if len(begun) > 1:
            os.kill(os.getpid(), signal.SIGKILL)
denoise.denoise_steps = killing
from napari_rednet.cli import app
app(sys.argv[1:])
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal")
def test_a_batch_goes_on_after_it_was_killed(folder):
    options = ["--out", folder / "out", "--model", folder / "denoise.safetensors", "--quiet"]
    command = [sys.executable, "-c", KILLED, "denoise", folder / "in", *options]
    assert subprocess.run([str(c) for c in command], check=False).returncode == -signal.SIGKILL
    assert files_below(folder / "out") == [RECORD, "a.tif", "deep/.b.tif.part"]
    code, text = run(folder, "--resume")
    assert code == 0, text
    assert "2 restored, 1 skipped, 0 failed" in text
    assert files_below(folder / "out") == sorted([RECORD, "report.csv", *NAMES])
    check_results(folder)


def test_a_batch_may_write_into_a_folder_of_its_sources(folder):
    assert run(folder, out="in/results")[0] == 0
    code, text = run(folder, "--resume", out="in/results")
    assert code == 0
    assert "0 restored, 3 skipped, 0 failed" in text
    assert files_below(folder / "in/results") == sorted([RECORD, "report.csv", *NAMES])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["in/a.tif"], "name one image and the file to write"),
        (["in/a.tif", "in/deep/b.tif", "out.tif"], "add --out FOLDER"),
        (["in", "out.tif"], "stands for several images; add --out FOLDER"),
        (["in/*.tif", "out.tif"], "stands for several images; add --out FOLDER"),
        (["in/a.tif", "out.tif", "--resume"], "goes on with a .zarr file"),
        (["in/a.tif", "out.tif", "--report", "x.csv"], "are for several images"),
        (["in", "--out", "out", "--skip", "--force"], "one of --skip, --force and --resume"),
        (["in", "--out", "out.tif"], "--out names a folder"),
        (["in", "--out", "out", "--report", "in/a.tif"], "must be a .csv file"),
        (["in", "--out", "out", "--report", "none/x.csv"], "there is no folder none to write"),
        (["in", "--out", "in"], "another folder for the results"),
        (["in/a.tif", "in/../in/a.tif", "nothing", "--out", "out"], "there is no file"),
        (["in/*.tiff", "--out", "out"], "no images (.tif, .tiff, .png, .jpg or .zarr) match"),
        (["in/a.tif", "in/deep/../b/a.tif", "--out", "out"], "there is no file"),
        (["in", "--out", "out", "--noise", "-1"], "noise must be finite"),
        (["in", "--out", "out", "--model", "worst"], "no model 'worst'"),
        (["in", "--out", "out", "--strength", "-1"], "strength must be finite"),
    ],
)
def test_mistakes_are_named_before_any_work(folder, monkeypatch, arguments, message):
    monkeypatch.chdir(folder)
    before = files_below(folder)
    code, text = call("denoise", *arguments)
    assert code == 1
    assert message in text
    assert "Traceback" not in text
    assert files_below(folder) == before
    assert not (folder / "out").exists()


def test_a_report_that_cannot_be_written_is_an_error_after_the_work(folder):
    (folder / "table.csv").mkdir()
    code, text = run(folder, "--report", folder / "table.csv")
    assert code == 1
    assert "3 restored" in text
    assert "table.csv cannot be written" in text


def test_the_bundled_model_restores_a_batch(folder):
    code, text = call("denoise", folder / "in", "--out", folder / "out", "--device", "cpu")
    assert code == 0, text
    assert {row["model"] for row in rows(folder / "out/report.csv")} == {"denoise-fast"}
    image = tifffile.imread(folder / "in/a.tif")
    clean = nr.estimate_noise(tifffile.imread(folder / "out/a.tif"))
    assert clean.std(image.mean()) < 0.5 * nr.estimate_noise(image).std(image.mean())


class Status:
    """What bars look at."""

    def __init__(self, number, done=0, total=0, outcome=None):
        self.number, self.files, self.done, self.total = number, 4, done, total
        self.outcome = None if outcome is None else Outcome(outcome)
        self.file = BatchFile(None, None, f"[{number}].tif")


def test_bars_leave_what_is_skipped_out_of_the_remaining_time(monkeypatch):
    monkeypatch.setattr(console, "say", lambda *_, **__: None)
    with BatchBars(4, quiet=False) as bars:
        whole = bars._bars.tasks[0]
        for status in (Status(1), Status(1, outcome="skipped"), Status(2), Status(2, 30, 60)):
            bars.show(status)
        assert (whole.completed, whole.total) == (0.5, 3)
        bars.show(Status(2, outcome="failed"))
        assert (whole.completed, whole.total, whole.description) == (1, 3, "file 2 of 4")
