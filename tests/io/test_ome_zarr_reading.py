from pathlib import Path

import numpy as np
import pytest
import zarr
from tests.io.conftest import STACK, TYPES, changed, copied, written

from napari_rednet.errors import ImageFileError
from napari_rednet.io.ome_zarr import is_zarr, missing_chunks, read_ome_zarr


def test_axes_of_other_kinds_keep_their_names(tmp_path):
    path = written(tmp_path / "in.zarr", [STACK], "qzyx")

    def change(attributes):
        attributes["multiscales"][0]["axes"][0] = {"name": "angle", "type": "rotation"}
        attributes["stain"] = "by hand"

    again = copied(changed(path, change), tmp_path / "out.zarr")
    assert (again.axes, again.channel_axis) == ("QZYX", None)
    assert again.axes_metadata[0] == {"name": "angle", "type": "rotation"}
    assert again.attributes == {"stain": "by hand"}


def test_axes_without_types_are_known_by_their_names(tmp_path):
    path = written(tmp_path / "in.zarr", [STACK], "tzyx")

    def change(attributes):
        attributes["multiscales"][0]["axes"] = [
            {"name": "time", "type": "time"}, {"name": "Z", "type": "space"},
            {"name": "Y", "type": "space"}, {"name": "X", "type": "space"},
        ]  # fmt: skip

    assert read_ome_zarr(changed(path, change)).axes == "TZYX"


def test_older_versions_are_read_and_written_as_0_4(tmp_path):
    path = written(tmp_path / "in.zarr", [STACK[None]], "tczyx")

    def change(attributes):
        multiscale = attributes["multiscales"][0]
        del multiscale["axes"], multiscale["datasets"][0]["coordinateTransformations"]
        multiscale["version"] = "0.1"

    again = copied(changed(path, change), tmp_path / "out.zarr")
    assert (again.axes, again.version) == ("TCZYX", "0.4")


def test_faults_in_the_channels_cost_nothing_else(tmp_path):
    omero = {
        "channels": [{"label": "DAPI", "color": 255, "window": {"start": 0}}, {"label": "GFP"}]
    }
    stack = np.stack([STACK[0], STACK[1] // 2 + 1])
    path = written(tmp_path / "in.zarr", [stack], "czyx", omero=omero)
    again = copied(path, tmp_path / "out.zarr")
    assert again.channel_names == ["DAPI", "GFP"]
    windows = [channel["window"] for channel in again.channels]
    assert [(w["start"], w["end"]) for w in windows] == [(c.min(), c.max()) for c in stack]
    assert all(len(color) == 6 for color in again.channel_colors)


def test_windows_are_measured_where_pixels_are_finite(tmp_path):
    image = np.full((2, 20, 30), np.nan, np.float32)
    image[1, 3] = 5
    path = written(tmp_path / "in.zarr", [image], "cyx", omero={"channels": [{}, {}]})
    nothing, constant = copied(path, tmp_path / "out.zarr").channels
    assert nothing["window"]["start"] < nothing["window"]["end"]
    assert constant["window"]["start"] == 5 < constant["window"]["end"]


def test_missing_chunks_are_counted(tmp_path, version):
    shards = {} if version == "0.4" else {"shards": (1, 1, 200, 260)}
    path = written(tmp_path / "in.zarr", [STACK + 1], "czyx", version=version, **shards)
    every = 2 * 3 * (4 * 4 if version == "0.4" else 2 * 2)
    assert missing_chunks(read_ome_zarr(path)) == (0, every)
    stored = sorted(p for p in (path / "s0").rglob("*") if p.is_file() and p.name.isdigit())
    assert len(stored) == every
    for chunk in stored[::5]:
        chunk.unlink()
    assert missing_chunks(read_ome_zarr(path)) == (len(stored[::5]), every)


def test_paths_of_zarr_are_recognised(source, tmp_path):
    assert is_zarr(Path("x.zarr"))
    assert is_zarr(Path("x.ome.ZARR"))
    assert not is_zarr(tmp_path)
    assert not is_zarr(Path("x.tif"))
    assert is_zarr(source.rename(tmp_path / "renamed"))
    assert is_zarr(tmp_path / "renamed" / "s0")


def test_what_is_no_zarr_is_named(tmp_path):
    with pytest.raises(ImageFileError, match=r"there is no .*missing\.zarr"):
        read_ome_zarr(tmp_path / "missing.zarr")
    (tmp_path / "file.zarr").write_text("not a folder")
    with pytest.raises(ImageFileError, match=r"file\.zarr is no folder"):
        read_ome_zarr(tmp_path / "file.zarr")
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(ImageFileError, match="it has no metadata"):
        read_ome_zarr(tmp_path / "empty.zarr")


def test_groups_without_an_image_say_what_they_hold(tmp_path):
    plate = zarr.open_group(tmp_path / "plate.zarr", mode="w", zarr_format=2)
    plate.attrs["plate"] = {"wells": [{"path": "A/1"}, {"path": "B/12"}]}
    for place in ("A/1/0", "B/12/0"):
        plate.require_group(place).attrs["multiscales"] = []
    with pytest.raises(ImageFileError, match=r"plate of wells.*plate\.zarr/A/1/0, .*/B/12/0$"):
        read_ome_zarr(tmp_path / "plate.zarr")

    series = zarr.open_group(tmp_path / "series.zarr", mode="w", zarr_format=3)
    series.attrs["ome"] = {"version": "0.5", "bioformats2raw.layout": 3}
    for number in range(12):
        series.create_group(str(number)).attrs["ome"] = {"multiscales": []}
    with pytest.raises(ImageFileError, match=r"bioformats2raw.*zarr/0, .*zarr/4 and more$"):
        read_ome_zarr(tmp_path / "series.zarr")

    labels = zarr.open_group(tmp_path / "labels.zarr", mode="w", zarr_format=2)
    labels.attrs["labels"] = []
    with pytest.raises(ImageFileError, match="is a group of labels, and there is none below it"):
        read_ome_zarr(tmp_path / "labels.zarr")

    plain = zarr.open_group(tmp_path / "plain.zarr", mode="w", zarr_format=3)
    plain.create_array("raw", shape=(4, 4), dtype="uint8")
    with pytest.raises(ImageFileError, match=r"a group without an image; .*plain\.zarr/raw$"):
        read_ome_zarr(tmp_path / "plain.zarr")


def test_images_inside_others_are_read_by_their_paths(source):
    assert read_ome_zarr(source / "s0").axes == "QQYX"


DAMAGES = {
    "fewer axes": (lambda m: m["axes"].pop(0), "must match"),
    "axes of another image": (
        lambda m: (
            m["axes"].pop(0),
            m["datasets"][0]["coordinateTransformations"][0]["scale"].pop(),
        ),
        "3 axes do not fit",
    ),
    "no axes": (lambda m: m.pop("axes"), "it names no axes"),
    "axes in a forbidden order": (lambda m: m["axes"].reverse(), "must come after"),
    "no datasets": (lambda m: m.pop("datasets"), "'datasets' is missing"),
    "no transformations": (lambda m: m["datasets"][0].clear(), "cannot be read as OME-Zarr"),
    "a path to nowhere": (lambda m: m["datasets"][0].update(path="9"), "9.* is missing"),
    "words as numbers": (
        lambda m: m["datasets"][0]["coordinateTransformations"][0].update(scale=["a"] * 4),
        "must all be numbers",
    ),
    "too few numbers": (
        lambda m: m["datasets"][0]["coordinateTransformations"][0].update(scale=[1, 1]),
        "must match",
    ),
    "unknown coordinates": (
        lambda m: m.update(coordinateTransformations=[{"type": "rotation"}]),
        "'rotation' are not supported",
    ),
    "a version to come": (lambda m: m.update(version="0.9"), "Version 0.9 not recognized"),
    "no multiscale": (lambda m: m.clear(), "cannot be read as OME-Zarr"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_metadata_are_named(tmp_path, damage):
    path = written(tmp_path / "in.zarr", [STACK], "czyx")
    change, words = DAMAGES[damage]
    changed(path, lambda attributes: change(attributes["multiscales"][0]))
    with pytest.raises(
        ImageFileError, match=rf"in\.zarr cannot be read as OME-Zarr: .*{words}|{words}"
    ):
        read_ome_zarr(path)


def test_files_cut_off_are_named(source, version):
    place = source / "s0" / (".zarray" if version == "0.4" else "zarr.json")
    place.write_text(place.read_text()[:50])
    with pytest.raises(ImageFileError, match=r"in\.ome\.zarr cannot be read as OME-Zarr"):
        read_ome_zarr(source)


def test_unknown_codecs_are_named(source, version):
    place = source / "s0" / (".zarray" if version == "0.4" else "zarr.json")
    place.write_text(place.read_text().replace('"zstd"', '"secret"').replace('"blosc"', '"secret"'))
    with pytest.raises(ImageFileError, match=r"cannot be read as OME-Zarr: .*secret"):
        read_ome_zarr(source)


def test_images_need_y_and_x_last(tmp_path):
    path = written(tmp_path / "in.zarr", [STACK], "czyx")
    swapped = [{"name": n, "type": TYPES.get(n, "space")} for n in "cyxz"]
    changed(path, lambda attributes: attributes["multiscales"][0].update(axes=swapped))
    with pytest.raises(ImageFileError, match="the axes CYXZ; its last ones must be Y and X"):
        read_ome_zarr(path)
    zarr.create_array(tmp_path / "line.zarr", shape=(5,), dtype="uint8")
    with pytest.raises(ImageFileError, match="at least two axes"):
        read_ome_zarr(tmp_path / "line.zarr")
