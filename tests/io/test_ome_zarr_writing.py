import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from tests.io.conftest import CAMERA, STACK, copied, written

from napari_rednet.errors import ImageFileError
from napari_rednet.files import part_of
from napari_rednet.io import check_places
from napari_rednet.io.ome_zarr import read_ome_zarr, zarr_writer
from napari_rednet.io.ome_zarr import writing as ome_zarr_writing


def snapshot(path):
    return {p.relative_to(path): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def test_a_failed_run_leaves_the_old_file(source, tmp_path):
    before = snapshot(source)
    with pytest.raises(ZeroDivisionError), zarr_writer(source, read_ome_zarr(source)) as out:
        out[0] = 1
        raise ZeroDivisionError
    assert snapshot(source) == before
    assert os.listdir(tmp_path) == [source.name]


def test_an_existing_file_is_replaced_at_the_end(source, tmp_path):
    target = tmp_path / "out.zarr"
    copied(written(target, [CAMERA], "yx"), tmp_path / "other.zarr")
    with zarr_writer(target, read_ome_zarr(source)) as out:
        out[...] = STACK
        assert read_ome_zarr(target).data.shape == CAMERA.shape
    np.testing.assert_array_equal(read_ome_zarr(target).data[...], STACK)
    assert not any(name.startswith(".") for name in os.listdir(tmp_path))


def test_folders_of_something_else_are_not_replaced(source, tmp_path):
    folder = tmp_path / "data.zarr"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    plate = zarr.open_group(tmp_path / "plate.zarr", mode="w", zarr_format=2)
    plate.attrs["plate"] = {}
    for path in (folder, tmp_path / "plate.zarr"):
        before = snapshot(path)
        with (
            pytest.raises(ImageFileError, match="holds something else"),
            zarr_writer(path, read_ome_zarr(source)),
        ):
            pytest.fail("the work has started")
        assert snapshot(path) == before


def test_unfinished_work_is_gone_on_with(source, tmp_path):
    image, target = read_ome_zarr(source), tmp_path / "out.zarr"
    with (
        pytest.raises(KeyboardInterrupt),
        zarr_writer(target, image, keep_unfinished=True) as out,
    ):
        out[0] = STACK[0]
        raise KeyboardInterrupt
    assert not target.exists()
    assert part_of(target).is_dir()
    with zarr_writer(target, image, keep_unfinished=True) as out:
        np.testing.assert_array_equal(out[0], STACK[0])
        out[1] = STACK[1]
    np.testing.assert_array_equal(read_ome_zarr(target).data[...], STACK)
    assert not part_of(target).exists()


@pytest.mark.parametrize(
    "damage", ["other size", "other chunks", "other dtype", "cut off", "a file"]
)
def test_unfinished_work_of_another_kind_is_begun_anew(source, tmp_path, damage):
    target = tmp_path / "out.zarr"
    with (
        pytest.raises(KeyboardInterrupt),
        zarr_writer(target, read_ome_zarr(source), keep_unfinished=True) as out,
    ):
        out[...] = 9
        raise KeyboardInterrupt
    part, scale = part_of(target), 1
    if damage == "other size":
        scale = 2
    elif damage == "other chunks":
        written(source, [STACK], "czyx", chunks=(1, 1, 32, 32))
    elif damage == "other dtype":
        written(source, [STACK.astype(np.float32)], "czyx")
    elif damage == "cut off":
        for name in ("zarr.json", ".zarray"):
            (part / "0" / name).unlink(missing_ok=True)
    else:
        shutil.rmtree(part)
        part.write_text("left by something else")
    with zarr_writer(target, read_ome_zarr(source), scale, keep_unfinished=True) as out:
        assert not np.asarray(out[...]).any()


def test_what_an_earlier_crash_left_is_removed(source, tmp_path):
    target = tmp_path / "out.zarr"
    with (
        pytest.raises(KeyboardInterrupt),
        zarr_writer(target, read_ome_zarr(source), keep_unfinished=True),
    ):
        raise KeyboardInterrupt
    target.with_name(".out.zarr.old").mkdir()
    copied(source, target)
    assert sorted(os.listdir(tmp_path)) == [source.name, "out.zarr"]


def full(*_, **__):
    raise OSError(28, "No space left on device")


async def full_later(*_, **__):
    full()


@pytest.mark.parametrize("when", ["at first", "in between", "in the pyramid", "at last"])
def test_a_full_or_read_only_disk_is_an_error(source, tmp_path, monkeypatch, when):
    target = tmp_path / "out.zarr"
    copied(source, target)
    before, image = snapshot(target), read_ome_zarr(source)
    store = zarr.storage.LocalStore
    with (
        pytest.raises(ImageFileError, match=r"out\.zarr cannot be written: No space left"),
        monkeypatch.context() as patch,
    ):
        if when == "at first":
            patch.setattr(store, "set", full_later)
            patch.setattr(store, "set_if_not_exists", full_later)
        with zarr_writer(target, image) as out:
            if when == "in between":
                patch.setattr(store, "set", full_later)
            out[...] = 1
            if when == "in the pyramid":
                patch.setattr(ome_zarr_writing, "write_level", full)
            if when == "at last":
                patch.setattr(Path, "replace", full)
    assert snapshot(target) == before
    assert sorted(os.listdir(tmp_path)) == [source.name, "out.zarr"]


def test_a_folder_that_cannot_be_replaced_stays(source, tmp_path, monkeypatch):
    """The first renaming works, and the second does not."""
    target = tmp_path / "out.zarr"
    copied(source, target)
    before, replace = snapshot(target), Path.replace

    def only_aside(path, other):
        return full() if path.name.endswith(".part") else replace(path, other)

    with (
        pytest.raises(ImageFileError, match="No space left"),
        zarr_writer(target, read_ome_zarr(source)) as out,
    ):
        out[...] = 1
        monkeypatch.setattr(Path, "replace", only_aside)
    assert snapshot(target) == before


def test_the_folder_of_the_target_must_be_there(source, tmp_path):
    with (
        pytest.raises(ImageFileError, match="cannot be written: there is no folder"),
        zarr_writer(tmp_path / "missing" / "out.zarr", read_ome_zarr(source)),
    ):
        pytest.fail("the work has started")


def test_places_that_overlap_are_refused(source, tmp_path):
    check_places(source, tmp_path / "out.zarr")
    check_places(tmp_path / "in.tif", tmp_path / "out.zarr")
    with pytest.raises(ImageFileError, match="another file than the input"):
        check_places(source, tmp_path / "x" / ".." / source.name)
    (tmp_path / "link.zarr").symlink_to(source)
    with pytest.raises(ImageFileError, match="another file than the input"):
        check_places(source, tmp_path / "link.zarr")
    with pytest.raises(ImageFileError, match="lies in the input"):
        check_places(source, source / "restored.zarr")
    with pytest.raises(ImageFileError, match="which would be replaced"):
        check_places(source / "s0", source)
    with pytest.raises(ImageFileError, match="which would be replaced"):
        check_places(part_of(source), source)


@pytest.mark.parametrize("scale", [1, 2])
def test_labels_come_along(source, tmp_path, version, scale):
    group = zarr.open_group(source, mode="r+")
    labels = group.create_group("labels")
    values = (STACK[0] > 9000).astype(np.uint8)
    cells = labels.create_group("cells")
    cells.create_array("0", data=values)
    told = {"version": version, "labels": ["cells"]}
    labels.attrs.update(told if version == "0.4" else {"ome": told})
    cells.attrs["image-label"] = {"source": {"image": "../../"}}
    copied(source, tmp_path / "out.zarr", scale)
    found = zarr.open_group(tmp_path / "out.zarr", mode="r")
    np.testing.assert_array_equal(found["labels/cells/0"][...], values)
    assert dict(found["labels"].attrs) == dict(labels.attrs)
    assert dict(found["labels/cells"].attrs) == dict(cells.attrs)
