"""Zarrs that hold several images: all of them are restored, into Zarrs of the same kind."""

import json
import warnings

import numpy as np
import ome_zarr.io
import ome_zarr.reader
import pytest
import zarr
from tests.conftest import small_model
from tests.io.conftest import STACK, written
from tests.test_cli import call

import napari_rednet as nr
from napari_rednet.batch import plan_batch
from napari_rednet.errors import ImageFileError
from napari_rednet.io import images_in, read_image

FIELDS = ["A/1/0", "A/1/1", "A/10/0", "B/2/0"]


def image_at(path, number, version):
    written(path, [STACK[0, 0, 50 * number : 50 * number + 48, :64]], "yx", version=version)


def write_plate(path, version):
    """A plate by the specification, of rows A and B with wells of one or two fields."""
    kind = 2 if version == "0.4" else 3

    def tell(group, **told):
        told = {key: {**value, "version": version} for key, value in told.items()}
        group.attrs.update(told if kind == 2 else {"ome": {"version": version, **told}})

    plate = zarr.open_group(path, mode="w", zarr_format=kind)
    wells = sorted({field.rpartition("/")[0] for field in FIELDS}, key=FIELDS[0].__lt__)
    rows, columns = ["A", "B"], ["1", "2", "10"]
    tell(
        plate,
        plate={
            "name": "a plate",
            "rows": [{"name": row} for row in rows],
            "columns": [{"name": column} for column in columns],
            "wells": [
                {
                    "path": well,
                    "rowIndex": rows.index(well[0]),
                    "columnIndex": columns.index(well[2:]),
                }
                for well in wells
            ],
        },
    )
    for well in wells:
        numbers = [field.rpartition("/")[2] for field in FIELDS if field.startswith(f"{well}/")]
        tell(plate.require_group(well), well={"images": [{"path": n} for n in numbers]})
    for number, field in enumerate(FIELDS):
        image_at(path / field, number, version)
    return path


def write_series(path, version, count=3):
    """As bioformats2raw makes it of a file with several images."""
    kind = 2 if version == "0.4" else 3
    group = zarr.open_group(path, mode="w", zarr_format=kind)
    told = {"bioformats2raw.layout": 3}
    group.attrs.update(told if kind == 2 else {"ome": {"version": version, **told}})
    series = {"series": [str(n) for n in range(count)]}
    group.create_group("OME").attrs.update(series if kind == 2 else {"ome": series})
    (path / "OME/METADATA.ome.xml").write_text("<OME/>")
    for number in range(count):
        image_at(path / str(number), number, version)
    return path


@pytest.fixture
def folder(tmp_path):
    small_model("denoise").save(tmp_path / "tiny.safetensors")
    small_model("super_resolve").save(tmp_path / "sr.safetensors")
    return tmp_path


def denoise(folder, *arguments):
    return call("denoise", *arguments, "--model", folder / "tiny.safetensors", "--noise", 9)


def pixels(path):
    return read_image(path).data[...]


def check_results(folder, source, target, places):
    model = folder / "tiny.safetensors"
    for place in places:
        expected = nr.denoise(pixels(source / place), noise=9, model=model)
        np.testing.assert_array_equal(pixels(target / place), expected)


def test_all_fields_of_a_plate_are_restored_to_a_plate(folder, version):
    source = write_plate(folder / "plate.zarr", version)
    assert images_in(source) == ["A/1/0", "A/1/1", "A/10/0", "B/2/0"]
    code, text = denoise(folder, source, "--out", folder / "out")
    assert code == 0, text
    assert "4 restored" in text
    target = folder / "out/plate.zarr"
    check_results(folder, source, target, FIELDS)
    before, after = (zarr.open_group(path, mode="r") for path in (source, target))
    for place in ("", "A/1", "A/10", "B/2"):
        told = [dict((group[place] if place else group).attrs) for group in (before, after)]
        assert told[0] == told[1]
    kinds = {type(spec).__name__ for node in seen(target) for spec in node.specs}
    assert "Plate" in kinds
    assert not list(target.rglob("*.part"))


def seen(path):
    """What the reference implementation finds."""
    return list(ome_zarr.reader.Reader(ome_zarr.io.parse_url(path))())


def test_a_plate_goes_on_where_it_stopped(folder):
    source = write_plate(folder / "plate.zarr", "0.5")
    place = folder / "out/plate.zarr/A/10/0"
    assert denoise(folder, source, "--out", folder / "out")[0] == 0
    (place / "0/c/0/0").unlink()
    code, text = denoise(folder, source, "--out", folder / "out", "--resume")
    assert code == 0, text
    assert "1 restored, 3 skipped" in text
    check_results(folder, source, folder / "out/plate.zarr", FIELDS)


def test_series_of_bioformats2raw_are_restored(folder, version):
    source = write_series(folder / "in/scan.zarr", version)
    code, text = denoise(folder, folder / "in", "--out", folder / "out")
    assert code == 0, text
    assert "3 restored" in text
    target = folder / "out/scan.zarr"
    check_results(folder, source, target, "012")
    group = zarr.open_group(target, mode="r")
    inner = group.attrs.get("ome", group.attrs)
    assert inner["bioformats2raw.layout"] == 3
    assert dict(group["OME"].attrs) == dict(zarr.open_group(source, mode="r")["OME"].attrs)
    assert (target / "OME/METADATA.ome.xml").read_text() == "<OME/>"


def test_numbers_of_pixels_that_changed_are_not_told(folder, version):
    source = write_series(folder / "scan.zarr", version, 2)
    model = ("--model", folder / "sr.safetensors")
    code, text = call("super-resolve", source, "--out", folder / "out", *model)
    assert code == 0, text
    assert pixels(folder / "out/scan.zarr/1").shape == (96, 128)
    assert not (folder / "out/scan.zarr/OME/METADATA.ome.xml").exists()


def test_one_series_is_the_image(folder, version):
    source = write_series(folder / "scan.zarr", version, 1)
    for arguments in ((source, folder / "b.zarr"), (source, "--out", folder / "out")):
        code, text = denoise(folder, *arguments)
        assert code == 0, text
    expected = nr.denoise(pixels(source / "0"), noise=9, model=folder / "tiny.safetensors")
    for path in (folder / "b.zarr", folder / "out/scan.zarr"):
        np.testing.assert_array_equal(pixels(path), expected)


def test_several_images_into_one_file_are_refused(folder, version):
    source = write_plate(folder / "plate.zarr", version)
    code, text = denoise(folder, source, folder / "b.zarr")
    assert code == 1
    assert "stands for several images; add --out FOLDER for the results" in text
    with pytest.raises(ImageFileError, match=r"is a plate of wells .* --out FOLDER restores all"):
        read_image(source)
    code, text = denoise(folder, source / "A/1/1", folder / "b.zarr")
    assert code == 0, text


def test_a_consolidated_description_is_not_copied(folder):
    source = write_plate(folder / "plate.zarr", "0.5")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that version 3 of Zarr does not know it yet
        zarr.consolidate_metadata(source)
    assert "consolidated_metadata" in json.loads((source / "zarr.json").read_text())
    assert denoise(folder, source, "--out", folder / "out")[0] == 0
    told = json.loads((folder / "out/plate.zarr/zarr.json").read_text())
    assert "consolidated_metadata" not in told


def test_labels_and_arrays_are_no_images(folder, version):
    source = write_series(folder / "scan.zarr", version)
    group = zarr.open_group(source, mode="r+")
    kind = 2 if version == "0.4" else 3
    assert group.metadata.zarr_format == kind
    labels = group["0"].create_group("labels/cells")
    labels.attrs["multiscales"] = []
    labels.attrs["image-label"] = {}
    group.create_array("table", data=np.zeros(3))
    assert images_in(source) == ["0", "1", "2"]
    assert images_in(source / "0") == []
    assert images_in(folder / "none") == []


def test_damaged_groups_hold_nothing(folder):
    source = write_series(folder / "scan.zarr", "0.4")
    (source / "1/.zattrs").write_text("{damaged")
    assert images_in(source) == ["0", "2"]
    (file, other) = plan_batch([source], folder / "out")
    assert (file.name, other.name) == ("scan.zarr/0", "scan.zarr/2")
