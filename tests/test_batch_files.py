"""Files of a batch restored by a network, and the report of a batch."""

import csv
import os
from functools import partial

import numpy as np
import pytest
import tifffile

import napari_rednet as nr
from napari_rednet.batch import (
    BatchRecord,
    Figures,
    Outcome,
    Prepared,
    Work,
    digest,
    plan_batch,
    restore_file,
    run_batch,
    write_report,
)
from napari_rednet.batch.restoring import RECORD
from napari_rednet.engine.channel import measure_range
from napari_rednet.errors import RednetError
from napari_rednet.restoration.denoise import denoise_steps
from tests.conftest import small_model


@pytest.fixture
def sources(tmp_path, camera):
    """Three images, the middle one in a folder of its own."""
    for i, name in enumerate(("a.tif", "b/b.tif", "c.tif")):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, camera[i : 40 + i, :44].astype(np.uint16))
    return tmp_path / "in"


@pytest.fixture(scope="module")
def model():
    return small_model("denoise")


def work_of(model, make_steps=denoise_steps, **arguments):
    noise = [nr.NoiseModel(read_noise=9.0)]

    def prepare(image):
        return Prepared(partial(make_steps, noise=noise, model=model), noise)

    return Work("denoise", model, prepare, arguments)


def restored(sources, work, existing="refuse"):
    out = sources.parent / "out"
    record = BatchRecord(out, work.task)
    events = run_batch(plan_batch([sources], out), partial(restore_file, work), record, existing)
    return [(e.file, e.outcome) for e in events if e.outcome is not None]


def test_results_and_figures_are_those_of_the_function(sources, model):
    for file, outcome in restored(sources, work_of(model)):
        image = tifffile.imread(file.source)
        expected = nr.denoise(image, noise=9.0, model=model)
        np.testing.assert_array_equal(tifffile.imread(file.result), expected)
        scale = measure_range([image])
        assert outcome.figures.ranges == [(scale.low, scale.high)]
        assert outcome.figures.noise == [(0.0, 0.0, 9.0, 0.0, 0.0)]
        assert (outcome.figures.pixels, outcome.figures.model) == (image.size, "tiny")
        assert outcome.figures.seconds > 0


@pytest.mark.parametrize("name", ["a.tif", "b/b.tif"])
def test_a_source_that_changes_meanwhile_gives_no_result(sources, model, name):
    times = iter(range(9))

    def changing(image, **options):
        yield from denoise_steps(image, **options)
        os.utime(sources / name, ns=(0, next(times)))

    outcomes = {f.name: o for f, o in restored(sources, work_of(model, changing))}
    assert outcomes[name].status == "failed"
    assert "changed while it was read" in outcomes[name].reason
    assert not (sources.parent / "out" / name).exists()
    left = {p.name for p in (sources.parent / "out").rglob("*") if p.is_file()}
    assert left <= {RECORD, "a.tif", "b.tif", "c.tif"}


def test_closing_cancels_and_leaves_nothing_behind(sources, model):
    out, work = sources.parent / "out", work_of(model)
    events = run_batch(
        plan_batch([sources], out), partial(restore_file, work), BatchRecord(out, work.task)
    )
    for event in events:
        if event.number == 2 and event.total:
            break
    assert (out / "b/.b.tif.part").exists()
    events.close()
    assert sorted(p.name for p in out.rglob("*")) == [RECORD, "a.tif", "b"]
    assert [o.status for _, o in restored(sources, work, "resume")] == [
        "skipped",
        "restored",
        "restored",
    ]


def test_a_folder_that_cannot_be_made_fails_for_its_files_only(sources, model):
    (sources.parent / "out").mkdir()
    (sources.parent / "out/b").write_text("precious")
    outcomes = {f.name: o for f, o in restored(sources, work_of(model))}
    assert [o.status for o in outcomes.values()] == ["restored", "failed", "restored"]
    assert "out/b cannot be made" in outcomes["b/b.tif"].reason
    assert (sources.parent / "out/b").read_text() == "precious"


def test_the_task_names_the_weights_and_not_only_the_model(model):
    other = small_model("denoise", stride=1)
    assert work_of(model).task == work_of(model).task
    assert work_of(model).task["arguments"] != work_of(other).task["arguments"]
    assert work_of(model, strength=1).task != work_of(model, strength=2).task
    assert digest(np.zeros(4)) != digest(np.zeros((2, 2))) != digest(np.zeros((2, 2), np.uint8))


def rows_of(path):
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def test_the_report_has_a_row_a_file(tmp_path):
    names = ["a.tif", 'b, "2".tif', os.fsdecode(b"\xff\n.tif")]
    outcomes = [
        Outcome(
            "restored",
            figures=Figures(
                64,
                "fast",
                [[1, 2, 3, 0.5, 0], [0.5, 0, 1 / 3, 0, 2]],
                [[0, 9], [1, 8.25]],
                "",
                1.5,
                3,
            ),
        ),
        Outcome("failed", "odd; very"),
        Outcome("skipped", "done before", Figures(64, "sr", (), [[0, 1]], "", 2)),
    ]
    places = plan_batch([_touched(tmp_path / "in" / n) for n in names], tmp_path / "out")
    write_report(tmp_path / "report.csv", zip(places, outcomes, strict=True))
    first, second, third = rows_of(tmp_path / "report.csv")
    assert first == {
        "source": str(tmp_path / "in/a.tif"),
        "result": str(tmp_path / "out/a.tif"),
        "status": "restored",
        "reason": "",
        "seconds": "1.50",
        "pixels": "64",
        "repaired": "3",
        "noise_gain": "1;0.5",
        "noise_offset": "2;0",
        "read_noise": "3;0.333333",
        "grain_y": "0.5;0",
        "grain_x": "0;2",
        "range_low": "0;1",
        "range_high": "9;8.25",
        "model": "fast",
    }
    assert second["source"] == str(tmp_path / "in" / names[1])
    assert (second["reason"], second["pixels"], second["model"]) == ("odd; very", "", "")
    assert third["source"] == str(tmp_path / "in" / names[2])
    assert (third["grain_x"], third["range_high"], third["model"]) == ("", "1", "sr")


def _touched(path):
    path.parent.mkdir(exist_ok=True)
    path.touch()
    return path


def test_a_report_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(RednetError, match=r"report .*x.csv cannot be written: No such file"):
        write_report(tmp_path / "none" / "x.csv", [])
