"""Batches: files that fail, results that exist, records, reports, cancelling."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_rednet.batch import (
    BatchRecord,
    Figures,
    plan_batch,
    run_batch,
)
from napari_rednet.batch.restoring import RECORD, state_of
from napari_rednet.errors import DeviceMemoryError, ImageFileError, RednetError

TASK = {"command": "copy", "arguments": {"strength": 1.0, "sizes": (1, 2)}, "version": "1"}


@pytest.fixture
def sources(tmp_path, camera):
    """Three images, the middle one in a folder of its own."""
    for i, name in enumerate(("a.tif", "b/b.tif", "c.tif")):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, camera[i : 40 + i, :44].astype(np.uint16))
    return tmp_path / "in"


class Copying:
    """Copies files in two steps, and does to some of them what `odd` says."""

    def __init__(self, **odd):
        self.odd, self.done = odd, []

    def __call__(self, file):
        image = tifffile.imread(file.source)
        yield image.size // 2, image.size
        self.odd.get(file.source.stem, lambda: None)()
        file.result.parent.mkdir(parents=True, exist_ok=True)
        file.result.write_bytes(file.source.read_bytes())
        self.done.append(file.name)
        yield image.size, image.size
        return Figures(pixels=image.size, model="copy")


def raising(error):
    def act():
        raise error

    return act


def run(sources, copying=None, existing="refuse", task=TASK, out=None):
    """The outcomes of a batch, by name."""
    out = out or sources.parent / "out"
    files = plan_batch([sources], out)
    events = run_batch(files, copying or Copying(), BatchRecord(out, task), existing)
    return {e.file.name: e.outcome for e in events if e.outcome is not None}


def statuses(outcomes):
    return [outcome.status for outcome in outcomes.values()]


def test_events_tell_where_a_batch_stands(sources):
    out = sources.parent / "out"
    files = plan_batch([sources], out)
    events = list(run_batch(files, Copying(), BatchRecord(out, TASK)))
    pixels = 40 * 44
    told = [(e.number, e.files, e.file, e.done, e.total) for e in events]
    assert told == [
        (number, 3, file, done, total)
        for number, file in enumerate(files, start=1)
        for done, total in ((0, 0), (pixels // 2, pixels), (pixels, pixels), (0, 0))
    ]
    assert [e.outcome is None for e in events] == [True, True, True, False] * 3
    assert (out / "b/b.tif").read_bytes() == (sources / "b/b.tif").read_bytes()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (DeviceMemoryError("too large"), "too large"),
        (ValueError("odd"), "odd"),
        (TypeError("odd"), "odd"),
        (RuntimeError("torch"), "torch"),
        (OSError(28, "No space left on device", "b.tif"), "b.tif: No space left on device"),
        (OSError("network"), "network"),
        (MemoryError(), "not enough memory"),
        (MemoryError("3 GiB"), "not enough memory (3 GiB)"),
    ],
)
def test_one_bad_file_does_not_stop_the_rest(sources, error, reason):
    outcomes = run(sources, Copying(b=raising(error)))
    assert statuses(outcomes) == ["restored", "failed", "restored"]
    assert reason in outcomes["b/b.tif"].reason


def test_what_is_no_fault_of_a_file_is_raised(sources):
    with pytest.raises(AssertionError):
        run(sources, Copying(b=raising(AssertionError())))


@pytest.mark.parametrize(
    ("existing", "status", "kept"),
    [
        ("refuse", "failed", True),
        ("skip", "skipped", True),
        ("overwrite", "restored", False),
        ("resume", "failed", True),
    ],
)
def test_results_of_others_are_overwritten_only_when_asked(sources, existing, status, kept):
    place = sources.parent / "out/b/b.tif"
    place.parent.mkdir(parents=True)
    place.write_text("precious")
    outcomes = run(sources, existing=existing)
    assert statuses(outcomes) == ["restored", status, "restored"]
    assert (place.read_bytes() == b"precious") == kept
    if status == "failed":
        assert f"{place} exists" in outcomes["b/b.tif"].reason


def test_resume_does_only_what_is_not_done(sources):
    with pytest.raises(KeyboardInterrupt):
        run(sources, Copying(b=raising(KeyboardInterrupt)))
    again = Copying()
    outcomes = run(sources, again, "resume")
    assert statuses(outcomes) == ["skipped", "restored", "restored"]
    assert again.done == ["b/b.tif", "c.tif"]
    assert outcomes["a.tif"].figures.pixels == 40 * 44


def test_resume_overwrites_what_was_begun_and_not_noted_as_finished(sources, monkeypatch):
    """As if it were killed between the renaming of the result and of the record."""

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(BatchRecord, "finish", killed)
        with pytest.raises(KeyboardInterrupt):
            run(sources)
    assert (sources.parent / "out/a.tif").exists()
    assert statuses(run(sources, existing="resume")) == ["restored"] * 3


def cut_off(source, result):
    result.write_bytes(result.read_bytes()[:-7])


def damage(source, result):
    data = bytearray(result.read_bytes())
    data[-3] ^= 255
    result.write_bytes(data)


def remove(source, result):
    result.unlink()


def change_source(source, result):
    tifffile.imwrite(source, np.zeros((40, 44), np.uint16))


def touch_source(source, result):
    os.utime(source, ns=(1, 1))


@pytest.mark.parametrize("accident", [cut_off, damage, remove, change_source, touch_source])
def test_resume_does_again_what_does_not_fit_any_more(sources, accident):
    run(sources)
    source, result = sources / "b/b.tif", sources.parent / "out/b/b.tif"
    accident(source, result)
    again = Copying()
    assert statuses(run(sources, again, "resume")) == ["skipped", "restored", "skipped"]
    assert again.done == ["b/b.tif"]
    assert result.read_bytes() == source.read_bytes()
    assert statuses(run(sources, existing="resume")) == ["skipped"] * 3


@pytest.mark.parametrize(
    "change", [{"command": "other"}, {"version": "2"}, {"arguments": {"strength": 2.0}}]
)
def test_resume_does_all_again_with_other_arguments(sources, change):
    run(sources)
    assert statuses(run(sources, existing="resume", task={**TASK, **change})) == ["restored"] * 3


def test_resume_tells_sources_of_one_name_size_and_time_apart(sources, camera):
    run(sources)
    other = sources.parent / "other"
    for name in ("a.tif", "b/b.tif", "c.tif"):
        path = other / name
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, camera[60:100, :44].astype(np.uint16))
        times = (sources / name).stat()
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert statuses(run(other, existing="resume")) == ["restored"] * 3


def test_a_forced_batch_that_is_interrupted_goes_on_by_force(sources):
    for name in ("a.tif", "c.tif"):
        (sources.parent / "out").mkdir(exist_ok=True)
        (sources.parent / "out" / name).write_text("old")
    with pytest.raises(KeyboardInterrupt):
        run(sources, Copying(b=raising(KeyboardInterrupt)), "overwrite")
    assert statuses(run(sources, existing="resume")) == ["skipped", "restored", "restored"]
    assert (sources.parent / "out/c.tif").read_bytes() == (sources / "c.tif").read_bytes()


def test_the_record_is_whole_and_keeps_what_other_batches_did(sources, camera):
    out = sources.parent / "out"
    run(sources)
    more = sources.parent / "more"
    more.mkdir()
    tifffile.imwrite(more / "d.tif", camera)
    run(more)
    lines = [json.loads(line) for line in (out / RECORD).read_text().splitlines()]
    last = {line["result"]: line for line in lines}
    assert list(last) == ["a.tif", "b/b.tif", "c.tif", "d.tif"]
    assert all(line["finished"] for line in last.values())
    first = last["a.tif"]
    assert first["source_state"] == list(state_of(sources / "a.tif"))
    assert first["result_state"] == list(state_of(out / "a.tif"))
    assert (first["command"], first["version"]) == ("copy", "1")
    assert sorted(os.listdir(out)) == [RECORD, "a.tif", "b", "c.tif", "d.tif"]


def test_lines_are_added_to_the_record_and_it_is_not_written_anew(sources, monkeypatch):
    """Two lines a file at most, however many files there are."""
    written = []
    write = BatchRecord._write
    monkeypatch.setattr(BatchRecord, "_write", lambda self: (written.append(1), write(self)))
    run(sources)
    assert written == [1]
    lines = (sources.parent / "out" / RECORD).read_text().splitlines()
    assert len(lines) <= 2 * len(list(sources.rglob("*.tif")))


def test_a_line_that_was_cut_off_does_not_spoil_the_next(sources):
    run(sources)
    record = sources.parent / "out" / RECORD
    record.write_bytes(record.read_bytes()[:-20])
    assert statuses(run(sources, existing="resume")) == ["skipped", "skipped", "restored"]
    with record.open("a") as file:
        file.write('{"result": "a.tif", "fini')
    BatchRecord(record.parent, {})._append({"x": json.dumps({"result": "x"})})
    assert BatchRecord(record.parent, {})._lines.keys() == {"a.tif", "b/b.tif", "c.tif", "x"}


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are text there")
def test_names_that_are_no_text_are_recorded_as_well(sources):
    (sources / "a.tif").rename(sources / os.fsdecode(b"\xff \n.tif"))
    assert statuses(run(sources)) == ["restored"] * 3
    assert statuses(run(sources, existing="resume")) == ["skipped"] * 3


@pytest.mark.parametrize("text", ["", "{", "[1]\nnull\n7\n", '{"result": 3}\n', "\0\xff"])
def test_a_damaged_record_is_no_record(sources, text):
    run(sources)
    (sources.parent / "out" / RECORD).write_text(text, encoding="utf-8")
    outcomes = run(sources, existing="resume")
    assert statuses(outcomes) == ["failed"] * 3
    assert "no batch has noted that it made it" in outcomes["a.tif"].reason


def test_a_folder_that_cannot_be_written_is_known_before_any_work(sources, monkeypatch):
    def refuse(self, target):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "replace", refuse)
    copying = Copying()
    with pytest.raises(RednetError, match="out cannot be written to: Permission denied"):
        run(sources, copying)
    assert copying.done == []
    assert os.listdir(sources.parent / "out") == []


def test_a_file_in_place_of_the_folder_is_known_too(sources):
    (sources.parent / "out").write_text("")
    with pytest.raises(RednetError, match="cannot be written to"):
        run(sources)


def test_the_state_of_a_folder_is_that_of_all_in_it(tmp_path):
    (tmp_path / "z.zarr/0").mkdir(parents=True)
    (tmp_path / "z.zarr/0/0").write_bytes(b"12345")
    before = state_of(tmp_path / "z.zarr")
    assert before == state_of(tmp_path / "z.zarr")
    assert before[0] >= 5
    (tmp_path / "z.zarr/0/0").write_bytes(b"54321")
    os.utime(tmp_path / "z.zarr/0/0", ns=(2**62, 2**62))
    assert state_of(tmp_path / "z.zarr") != before
    with pytest.raises(ImageFileError, match="there is no file"):
        state_of(tmp_path / "missing")
