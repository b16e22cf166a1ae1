"""OME-TIFF images of several files: one image, one job, one result."""

import os

import numpy as np
import pytest
import tifffile
from tests.conftest import small_model
from tests.io.foreign import ome_xml, write_pages
from tests.test_cli import call

from napari_rednet.errors import ImageFileError
from napari_rednet.io import count_images, read_image

VALUES = (np.arange(4 * 2 * 12 * 16) % 251).astype(np.uint8).reshape(4, 2, 12, 16)
NAMES = [f"cells_Z{number}.ome.tif" for number in range(4)]
XML = ome_xml(
    {"X": 16, "Y": 12, "Z": 4, "C": 2},
    [(name, {"Z": number}, 2) for number, name in enumerate(NAMES)],
)
REFERS = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{number}">'
    '<BinaryOnly MetadataFile="{name}" UUID="urn:uuid:c"/></OME>'
)


def write_set(folder, form):
    """Two channels of four slices, a slice to a file; who describes them depends on the form."""
    folder.mkdir(exist_ok=True)
    described = {"companion": "cells.companion.ome", "first": NAMES[0], "each": None}[form]
    if form == "companion":
        whole = XML.replace('UUID="urn:uuid:0"', 'UUID="urn:uuid:c"')
        (folder / described).write_text(whole, encoding="utf-8")
    for number, name in enumerate(NAMES):
        text = XML.replace(
            'OME/2016-06" UUID="urn:uuid:0"', f'OME/2016-06" UUID="urn:uuid:{number}"'
        )
        if described not in (None, name):
            text = REFERS.format(number=number, name=described)
        write_pages(folder / name, VALUES[number], text)


FORMS = ["companion", "first", "each"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NAMES)
def test_any_file_of_a_set_opens_the_whole_image(tmp_path, form, name):
    write_set(tmp_path, form)
    image = read_image(tmp_path / name)
    assert image.axes == "ZCYX"
    np.testing.assert_array_equal(image.data, VALUES)
    assert image.options["metadata"]["Channel"] == {"Name": ["dye 0", "dye 1"]}
    assert count_images(tmp_path / name) == 1


@pytest.mark.parametrize("options", [(), ("--series", "all")], ids=["first", "all"])
@pytest.mark.parametrize("form", FORMS)
def test_a_batch_makes_one_job_of_a_set(tmp_path, form, options):
    small_model("denoise").save(tmp_path / "tiny.safetensors")
    write_set(tmp_path / "in", form)
    write_set(tmp_path / "in/other", form)
    tifffile.imwrite(tmp_path / "in/alone.ome.tif", VALUES[0], metadata={"axes": "CYX"})
    model = ("--model", tmp_path / "tiny.safetensors", "--noise", 0)
    code, text = call("denoise", tmp_path / "in", "--out", tmp_path / "out", *model, *options)
    assert code == 0, text
    assert "3 restored" in text
    results = sorted(
        p.relative_to(tmp_path / "out").as_posix() for p in tmp_path.glob("out/**/*.tif")
    )
    assert results == ["alone.ome.tif", NAMES[0], f"other/{NAMES[0]}"]
    with tifffile.TiffFile(tmp_path / "out" / NAMES[0]) as file:
        assert file.series[0].axes == "ZCYX"
        np.testing.assert_array_equal(file.asarray(), VALUES)
        assert "BinaryOnly" not in file.ome_metadata
        assert "cells_Z" not in file.ome_metadata


@pytest.mark.parametrize("form", FORMS)
def test_a_set_is_restored_again_if_any_of_its_files_changes(tmp_path, form):
    small_model("denoise").save(tmp_path / "tiny.safetensors")
    write_set(tmp_path / "in", form)
    command = ("denoise", tmp_path / "in", "--out", tmp_path / "out", "--resume", "--noise", 0)
    model = ("--model", tmp_path / "tiny.safetensors")
    assert "1 restored" in call(*command, *model)[1]
    assert "1 skipped" in call(*command, *model)[1]
    changed = [p for p in (tmp_path / "in").iterdir() if p.name != NAMES[0]]
    assert len(changed) == len(NAMES) - (form != "companion")
    for path in changed:
        when = path.stat().st_mtime_ns + 10**9 * (1 + changed.index(path))
        os.utime(path, ns=(when, when))
        code, text = call(*command, *model)
        assert code == 0, text
        assert "1 restored" in text, path
        assert "1 skipped" in call(*command, *model)[1]


def test_a_pattern_for_some_of_the_files_takes_each_for_the_whole(tmp_path):
    small_model("denoise").save(tmp_path / "tiny.safetensors")
    write_set(tmp_path / "in", "each")
    model = ("--model", tmp_path / "tiny.safetensors", "--noise", 0)
    code, text = call("denoise", tmp_path / "in" / NAMES[2], "--out", tmp_path / "out", *model)
    assert code == 0, text
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / NAMES[2]), VALUES)


def test_files_of_several_positions_are_restored_each_for_itself(tmp_path):
    """As Micro-Manager writes them: each file describes the images of all."""
    small_model("denoise").save(tmp_path / "tiny.safetensors")
    (tmp_path / "in").mkdir()
    names = [f"MMStack_Pos{number}.ome.tif" for number in range(3)]
    images = [
        ome_xml({"X": 16, "Y": 12, "C": 2}, [(name, {}, 2)])
        .replace("Image:0", f"Image:{number}")
        .replace("urn:uuid:0</UUID>", f"urn:uuid:{number}</UUID>")
        for number, name in enumerate(names)
    ]
    start, end = images[0].index("<Image"), images[0].index("</OME>")
    together = "".join(image[image.index("<Image") : image.index("</OME>")] for image in images)
    for number, name in enumerate(names):
        head = images[0][:start].replace("urn:uuid:0", f"urn:uuid:{number}")
        write_pages(tmp_path / "in" / name, VALUES[number], head + together + images[0][end:])
    model = ("--model", tmp_path / "tiny.safetensors", "--noise", 0)
    code, text = call("denoise", tmp_path / "in", "--out", tmp_path / "out", *model)
    assert code == 0, text
    assert "3 restored" in text
    for number, name in enumerate(names):
        np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / name), VALUES[number])


def test_a_missing_description_is_named(tmp_path):
    write_set(tmp_path, "companion")
    (tmp_path / "cells.companion.ome").unlink()
    with pytest.raises(
        ImageFileError, match=r"describes the image is missing: cells.companion.ome"
    ):
        read_image(tmp_path / NAMES[1])
    image = read_image(tmp_path / NAMES[1], missing="skip")
    np.testing.assert_array_equal(image.data, VALUES[1])


def test_the_first_file_that_is_there_stands_for_the_set(tmp_path):
    small_model("denoise").save(tmp_path / "tiny.safetensors")
    write_set(tmp_path / "in", "companion")
    (tmp_path / "in" / NAMES[0]).unlink()
    model = ("--model", tmp_path / "tiny.safetensors", "--noise", 0, "--missing", "skip")
    code, text = call("denoise", tmp_path / "in", "--out", tmp_path / "out", *model)
    assert code == 0, text
    assert "1 restored" in text
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / NAMES[1]), VALUES[1:])
