import errno

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_rednet.errors import TrainingError
from napari_rednet.training.loop import (
    append_row,
    drop_rows_after,
    prepare_folder,
    read_checkpoint,
    read_rows,
    write_checkpoint,
)

CPU = torch.device("cpu")
STATE = {"step": 3, "score": 0.25, "weights": {"a": torch.arange(5.0)}}


def test_a_folder_is_made_and_left_empty(tmp_path):
    folder = tmp_path / "some" / "where"
    prepare_folder(folder)
    prepare_folder(folder)
    assert list(folder.iterdir()) == []


def test_a_folder_that_cannot_be_used_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("precious")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(TrainingError, match=r"cannot be kept in .*file"):
            prepare_folder(folder)
    assert (tmp_path / "file").read_text() == "precious"

    def fail(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("napari_rednet.files.os.open", fail)
    with pytest.raises(TrainingError, match="Read-only"):
        prepare_folder(tmp_path)


def test_a_checkpoint_comes_back_as_it_was(tmp_path):
    path = tmp_path / "checkpoint.pt"
    write_checkpoint(path, {"step": 1})
    write_checkpoint(path, STATE)
    found = read_checkpoint(path, CPU)
    assert (found["step"], found["score"]) == (3, 0.25)
    assert torch.equal(found["weights"]["a"], STATE["weights"]["a"])
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space"), RuntimeError("No space")])
def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(error, tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.pt"
    write_checkpoint(path, STATE)
    before = path.read_bytes()

    def fail(state, beside):
        beside.write_bytes(b"half of it")
        raise error

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(TrainingError, match=r"checkpoint.pt cannot be written: .*No space"):
        write_checkpoint(path, STATE)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_process_killed_while_writing_leaves_the_one_before(tmp_path):
    """What it left beside is overwritten later."""
    path = tmp_path / "checkpoint.pt"
    write_checkpoint(path, {"step": 1})
    (tmp_path / ".checkpoint.pt.part").write_bytes(b"half of it")
    assert read_checkpoint(path, CPU) == {"step": 1}
    write_checkpoint(path, {"step": 2})
    assert read_checkpoint(path, CPU) == {"step": 2}
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


class Planted:
    def __reduce__(self):
        return pytest.fail, ("a checkpoint was unpickled",)


def test_nothing_but_tensors_and_plain_values_is_read(tmp_path):
    torch.save({"step": Planted()}, tmp_path / "planted.pt")
    with pytest.raises(TrainingError, match=r"planted.pt cannot be read"):
        read_checkpoint(tmp_path / "planted.pt", CPU)


@pytest.mark.parametrize("share", [0, 0.3, 0.9])
def test_damaged_checkpoints_are_named(share, tmp_path):
    path = tmp_path / "checkpoint.pt"
    write_checkpoint(path, STATE)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(TrainingError, match=r"checkpoint.pt cannot be read"):
        read_checkpoint(path, CPU)
    with pytest.raises(TrainingError, match="cannot be read"):
        read_checkpoint(tmp_path / "none.pt", CPU)


NUMBERS = st.one_of(
    st.floats(allow_subnormal=False, allow_nan=True, allow_infinity=True), st.just(0.0)
)


@given(losses=st.lists(NUMBERS, min_size=1, max_size=8), last=st.integers(0, 90))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_log_holds_the_rows_up_to_a_step(losses, last, tmp_path):
    path = tmp_path / "log.csv"
    path.unlink(missing_ok=True)
    assert read_rows(path) == []
    for i, loss in enumerate(losses):
        append_row(path, {"step": 10 * i, "loss": loss})
    rows = read_rows(path)
    assert [row["step"] for row in rows] == [10 * i for i in range(len(losses))]
    for row, loss in zip(rows, losses, strict=True):
        assert row["loss"] == pytest.approx(loss, rel=1e-5, nan_ok=True)
    drop_rows_after(path, last)
    kept = [row for row in rows if row["step"] <= last]
    assert str(read_rows(path)) == str(kept)
    drop_rows_after(path, last)
    assert str(read_rows(path)) == str(kept)


def test_there_may_be_no_log(tmp_path):
    drop_rows_after(tmp_path / "log.csv", 5)
    assert list(tmp_path.iterdir()) == []
