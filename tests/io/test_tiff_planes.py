"""Planes that a file declares and does not hold: named, or left out, and never invented."""

import itertools
import math
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.conftest import small_model
from tests.io.foreign import copied, gray_tags, ome_xml, raw_tiff, write_pages
from tests.test_cli import call

from napari_rednet.errors import ImageFileError
from napari_rednet.io import read_image

HEIGHT, WIDTH = 12, 16


def planes_of(*shape):
    """Planes that differ from each other, and in which nothing is zero."""
    count = math.prod(shape)
    pixels = np.arange(HEIGHT * WIDTH) % 97 + 1
    values = pixels + 7 * np.arange(count)[:, None] % 150
    return values.reshape(*shape, HEIGHT, WIDTH).astype(np.uint8)


def complete(values, present):
    """Indices with all planes along the outermost axis that has any: computed one by one."""
    for axis in range(present.ndim):
        kept = [i for i in range(present.shape[axis]) if present.take(i, axis).all()]
        if kept:
            return values.take(kept, axis)
    return None


def check(path, values, present, words):
    """An error that says `words`; and without the missing planes, just those that are there."""
    with pytest.raises(ImageFileError, match=words) as told:
        read_image(path)
    assert str(path) in str(told.value)
    expected = complete(values, present)
    if expected is None:
        with pytest.raises(ImageFileError, match="nothing is complete"):
            read_image(path, missing="skip")
        return
    assert "--missing skip" in str(told.value)
    target = path.with_name("result.tif")
    image = copied(path, target, missing="skip")
    np.testing.assert_array_equal(np.squeeze(image.data), np.squeeze(expected))
    np.testing.assert_array_equal(np.squeeze(tifffile.imread(target)), np.squeeze(expected))
    assert any("missing" in remark or "cut off" in remark for remark in image.remarks)


ORDERS = ["".join(order) for order in itertools.permutations("TZC")]


@settings(max_examples=60, deadline=None)
@given(
    order=st.sampled_from(ORDERS),
    shape=st.tuples(*[st.integers(1, 3)] * 3).filter(lambda shape: math.prod(shape) > 1),
    share=st.floats(0, 1, exclude_max=True),
    compression=st.sampled_from([None, "zlib"]),
)
@example(order="TZC", shape=(3, 1, 1), share=0.5, compression=None)
@example(order="TZC", shape=(1, 3, 2), share=0.5, compression="zlib")
def test_an_aborted_acquisition_has_no_black_frames(order, shape, share, compression):
    """An OME description of which the first planes only were written."""
    values, total = planes_of(*shape), math.prod(shape)
    count = max(int(share * total), 1)
    sizes = {"X": WIDTH, "Y": HEIGHT, **dict(zip(order, shape, strict=True))}
    xml = ome_xml(sizes, [(None, {}, total)], order="XY" + order[::-1])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "in.ome.tif")
        pages = values.reshape(-1, HEIGHT, WIDTH)[:count]
        write_pages(path, pages, xml, compression=compression)
        present = (np.arange(total) < count).reshape(shape)
        check(path, values, present, f"{total - count} of {total} planes are missing")


@settings(max_examples=40, deadline=None)
@given(
    axis=st.sampled_from("TZC"),
    others=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    files=st.integers(2, 4),
    lost=st.sets(st.integers(1, 3), min_size=1),
)
def test_missing_files_of_a_set_are_named(axis, others, files, lost):
    """A file for each index along one axis; some are not there."""
    lost = {number for number in lost if number < files} or {1}
    rest = [letter for letter in "TZC" if letter != axis]
    sizes = {axis: files, **dict(zip(rest, others, strict=True))}
    order = axis + "".join(rest)
    values = planes_of(files, *others)
    names = [f"cells_{axis}{number}.ome.tif" for number in range(files)]
    parts = [(name, {axis: number}, math.prod(others)) for number, name in enumerate(names)]
    xml = ome_xml({"X": WIDTH, "Y": HEIGHT, **sizes}, parts, order="XY" + order[::-1])
    with tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate(names):
            if number not in lost:
                own = xml.replace('UUID="urn:uuid:0"', f'UUID="urn:uuid:{number}"')
                write_pages(Path(folder, name), values[number].reshape(-1, HEIGHT, WIDTH), own)
        present = np.ones((files, *others), bool)
        present[list(lost)] = False
        words = ", ".join(re.escape(names[number]) for number in sorted(lost))
        check(Path(folder, names[0]), values, present, words)


def test_the_channels_that_are_left_keep_their_names(tmp_path):
    values = planes_of(3, 2)
    parts = [(f"c{number}.ome.tif", {"C": number}, 2) for number in range(3)]
    xml = ome_xml({"X": WIDTH, "Y": HEIGHT, "C": 3, "Z": 2}, parts, order="XYZCT")
    for number in (0, 2):
        own = xml.replace('UUID="urn:uuid:0"', f'UUID="urn:uuid:{number}"')
        write_pages(tmp_path / f"c{number}.ome.tif", values[number], own)
    copied(tmp_path / "c0.ome.tif", tmp_path / "out.ome.tif", missing="skip")
    with tifffile.TiffFile(tmp_path / "out.ome.tif") as file:
        assert re.findall('Name="(dye .)"', file.ome_metadata) == ["dye 0", "dye 2"]
        assert 'PhysicalSizeX="0.2"' in file.ome_metadata


COUNTS = {"T": "frames", "Z": "slices", "C": "channels"}


def imagej_header(sizes):
    lines = [f"images={math.prod(sizes.values())}"]
    lines += [f"{COUNTS[axis]}={n}" for axis, n in sizes.items() if axis in COUNTS]
    return "\n".join(["ImageJ=1.54f", *lines, "hyperstack=true", "unit=pixel", ""])


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 3)] * 3).filter(lambda shape: math.prod(shape) > 1),
    share=st.floats(0, 1, exclude_max=True),
    form=st.sampled_from(["one page", "pages", "compressed"]),
)
@example(shape=(3, 2, 1), share=0.5, form="one page")
@example(shape=(1, 3, 2), share=0.99, form="pages")
def test_an_imagej_header_may_count_more_than_there_is(shape, share, form):
    values, total = planes_of(*shape), math.prod(shape)
    count = max(int(share * total), 1)
    there = values.reshape(-1, HEIGHT, WIDTH)[:count]
    header = imagej_header(dict(zip("TZC", shape, strict=True)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "in.tif")
        if form == "one page":  # as ImageJ writes files of more than 4 GB
            tags = gray_tags(HEIGHT, WIDTH, t270=(2, header.encode() + b"\0"))
            raw_tiff(path, tags, [there.tobytes()])
        else:
            write_pages(path, there, header, compression="zlib" if form != "pages" else None)
        present = (np.arange(total) < count).reshape(shape)
        check(path, values, present, f"{total - count} of {total} planes are missing")


@pytest.mark.parametrize("images", [2, 5])
def test_a_header_of_images_alone_counts_as_well(tmp_path, images):
    values = planes_of(5)
    header = "ImageJ=1.54f\nimages=5\n"
    tags = gray_tags(HEIGHT, WIDTH, t270=(2, header.encode() + b"\0"))
    path = raw_tiff(tmp_path / "in.tif", tags, [values[:images].tobytes()])
    if images == 5:
        np.testing.assert_array_equal(read_image(path).data, values)
    else:
        check(path, values, np.arange(5) < images, "3 of 5 planes are missing")


def test_a_header_that_counts_less_than_there_is_takes_nothing_away(tmp_path):
    write_pages(tmp_path / "in.tif", planes_of(5), imagej_header({"Z": 3}))
    np.testing.assert_array_equal(read_image(tmp_path / "in.tif").data, planes_of(5))


@pytest.mark.parametrize("held", [1, 3, 4])
@pytest.mark.parametrize("form", ["tifffile", "pages", "compressed"])
def test_pages_whose_pixels_are_cut_off_are_left_out(tmp_path, held, form):
    """Directories first, as many writers do it, and the end of the file is lost."""
    values, path = planes_of(5), tmp_path / "in.tif"
    if form == "tifffile":
        tifffile.imwrite(path, values, photometric="minisblack")
    else:
        write_pages(path, values, compression="zlib" if form == "compressed" else None)
    with tifffile.TiffFile(path) as file:
        pages = list(file.pages) if form != "tifffile" else None
        if pages is None:
            end = file.pages.first.dataoffsets[0] + held * HEIGHT * WIDTH + 5
        else:
            end = pages[held].dataoffsets[0] + 1
    whole = path.read_bytes()
    path.write_bytes(whole[:end])
    with pytest.raises(ImageFileError, match="missing"):
        read_image(path)
    image = copied(path, tmp_path / "out.tif", missing="skip")
    np.testing.assert_array_equal(np.squeeze(image.data), np.squeeze(values[:held]))


def test_the_command_says_what_is_missing_and_takes_the_rest_when_told_to(tmp_path):
    small_model("denoise").save(tmp_path / "tiny.safetensors")
    (tmp_path / "in").mkdir()
    xml = ome_xml({"X": WIDTH, "Y": HEIGHT, "T": 5}, [(None, {}, 5)])
    write_pages(tmp_path / "in/a.ome.tif", planes_of(3), xml)
    options = ("--model", tmp_path / "tiny.safetensors", "--noise", 0)
    for places in (
        [tmp_path / "in/a.ome.tif", tmp_path / "out.ome.tif"],
        [tmp_path / "in", "--out", tmp_path / "out"],
    ):
        code, text = call("denoise", *places, *options)
        assert code == 1
        assert "2 of 5 planes are missing, the first at T 3" in text
        assert "--missing skip" in text
        code, text = call("denoise", *places, *options, "--missing", "skip", "--force")
        assert code == 0, text
        assert "2 of 5 planes are missing" in text
    for name in ("out.ome.tif", "out/a.ome.tif"):
        np.testing.assert_array_equal(tifffile.imread(tmp_path / name), planes_of(3))


OME = '<?xml version="1.0"?><OME><Image><Pixels DimensionOrder="XYZCT" {}/></Image></OME>'
DAMAGED = [
    '{"shape": [2, 3',
    '{"shape"',
    '{"shape": "x"}',
    '{"shape": null}',
    '{"shape": []}',
    '{"shape": [99, 99]}',
    '{"shape": [2, -1, 4]}',
    '{"shape": [5, 12, 16], "axes": 5}',
    '{"shape": [5, 12, 16], "truncated": "yes"}',
    '{"shape": [[5], 12, 16]}',
    "shape=(5, 12,",
    "shape=(five)",
    "ImageJ=1.53t\nimages=x\nslices=2\n",
    "ImageJ=1.53t\nimages=5\nslices=2.5\nframes=2\n",
    "ImageJ=1.53t\nimages=5\nslices=\n",
    "ImageJ=1.53t\nimages=-5\nchannels=-1\n",
    OME.format(""),
    OME.format('SizeX="16" SizeY="12" SizeZ="many" SizeC="1" SizeT="1" Type="uint8"'),
    OME.format('SizeX="16" SizeY="12" SizeZ="5" SizeC="1" SizeT="1" Type="colour"'),
    OME.format('SizeX="16" SizeY="12" SizeZ="-5" SizeC="1" SizeT="1" Type="uint8"'),
    "<OME><Image><Pixels></OME>",
]


@pytest.mark.parametrize("told", DAMAGED)
@pytest.mark.parametrize("place", [0, 3])
def test_a_damaged_description_takes_nothing_away(tmp_path, told, place):
    pages = planes_of(5)
    with tifffile.TiffWriter(tmp_path / "in.tif", ome=False) as file:
        for number, page in enumerate(pages):
            description = told if number == place else None
            options = {"photometric": "minisblack", "metadata": None, "contiguous": False}
            file.write(page, description=description, **options)
    image = copied(tmp_path / "in.tif", tmp_path / "out.tif")
    np.testing.assert_array_equal(image.data, pages)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), pages)


def test_a_description_that_makes_no_sense_is_told(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", planes_of(2), description=DAMAGED[12], metadata=None)
    remarks = read_image(tmp_path / "a.tif").remarks
    assert remarks == ("its description by ImageJ makes no sense, and is left out",)
