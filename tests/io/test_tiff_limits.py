"""Files that declare more than they hold are refused at once, in little memory."""

import time
import tracemalloc
import zlib

import numpy as np
import pytest
import tifffile
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.conftest import small_model
from tests.io.foreign import gray_tags, ome_xml, raw_tiff
from tests.test_cli import call

from napari_rednet.errors import ImageFileError
from napari_rednet.io import read_image

PIXELS = (np.arange(12 * 16) % 200 + 1).astype(np.uint8).reshape(12, 16)
# Small images may take as much as their pixels when they are decoded, and no more.
MOST_SECONDS, MOST_BYTES = 2, 2**25


def refused(path, words="."):
    """Read a file, which must fail in bounded time and memory with a message that names it."""
    started = time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises(ImageFileError, match=words) as told:
            read_image(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert time.process_time() - started < MOST_SECONDS
    assert peak < MOST_BYTES
    assert str(path) in str(told.value)


HUGE = [2**16, 2**20, 2**24 + 7, 2**31 - 1, 2**32 - 1]
FORMS = {
    "uncompressed": {"data": PIXELS.tobytes()},
    "zlib": {"data": zlib.compress(PIXELS.tobytes()), "t259": (3, [8])},
    "tile": {
        "data": np.pad(PIXELS, ((0, 4), (0, 0))).tobytes(),
        "t322": (4, [16]),
        "t323": (4, [16]),
    },
}


def declared(path, form, **tags):
    """A page of 12 x 16 pixels that declares something else."""
    form = dict(FORMS[form])
    data = form.pop("data")
    found = gray_tags(12, 16, t279=(4, [len(data)])) | gray_tags(12, 16, **form | tags)
    if "t279" not in tags:
        found[279] = (4, [len(data)])
    if 322 in found:
        found[324], found[325] = found.pop(273), found.pop(279)
        del found[278]
    return raw_tiff(path, found, [data])


@pytest.mark.parametrize("form", FORMS)
def test_the_whole_file_is_read(tmp_path, form):
    """The others fail because of what they declare."""
    np.testing.assert_array_equal(read_image(declared(tmp_path / "in.tif", form)).data, PIXELS)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", HUGE)
@pytest.mark.parametrize("tags", [(256,), (257,), (256, 257), (257, 278), (256, 257, 278)])
def test_pixels_that_are_not_there(tmp_path, form, value, tags):
    changes = {f"t{tag}": (4, [value]) for tag in tags}
    refused(declared(tmp_path / "in.tif", form, **changes))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", [300, *HUGE])
def test_strips_longer_than_the_file(tmp_path, form, value):
    counts = {"t279": (4, [value])}
    if form == "uncompressed":  # one strip has as many bytes as its rows, whatever else is declared
        counts |= {"t257": (4, [value])}
    path = declared(tmp_path / "in.tif", form, **counts)
    refused(path, "declares more than it holds|bytes")


@pytest.mark.parametrize("rows", [1, 5, 11])
def test_strips_that_are_not_listed(tmp_path, rows):
    """Rows of a strip are told to be fewer, so that there would be more strips."""
    refused(declared(tmp_path / "in.tif", "zlib", t278=(4, [rows])), "declares more than it holds")


@pytest.mark.parametrize("empty", [{0}, {1, 2}, {0, 1, 2}])
def test_strips_without_bytes_are_told_and_all_of_them_are_no_image(tmp_path, empty):
    strips = [b"" if n in empty else zlib.compress(PIXELS[4 * n : 4 * n + 4]) for n in range(3)]
    tags = gray_tags(12, 16, t259=(3, [8]), t278=(4, [4]), t273=(4, [0] * 3))
    path = raw_tiff(tmp_path / "in.tif", tags | {279: (4, [len(s) for s in strips])}, strips)
    if len(empty) == 3:
        refused(path, "declares more than it holds")
        return
    image = read_image(path)
    assert image.remarks == (
        f"{len(empty)} of 3 strips or tiles are missing; they are read as zeros",
    )
    for number in range(3):
        rows = slice(4 * number, 4 * number + 4)
        np.testing.assert_array_equal(image.data[rows], 0 if number in empty else PIXELS[rows])


@pytest.mark.parametrize("value", HUGE)
def test_samples_that_are_not_there(tmp_path, value):
    value = min(value, 2**16 - 1)
    bits = {"t258": (3, [8] * 2), "t277": (3, [value])}
    refused(declared(tmp_path / "in.tif", "uncompressed", **bits))


@pytest.mark.parametrize("planes", [10, 10**4, 10**9, 10**13])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["OME", "OME planes", "ImageJ", "tifffile"])
def test_planes_that_are_not_there(tmp_path, planes, form, kind):
    told = {
        "OME": ome_xml({"X": 16, "Y": 12, "T": planes}, [(None, {}, planes)]),
        "OME planes": ome_xml({"X": 16, "Y": 12, "T": 10}, [(None, {}, planes)]),
        "ImageJ": f"ImageJ=1.54f\nimages={planes}\nslices={planes}\n",
        "tifffile": f'{{"shape": [{planes}, 12, 16], "axes": "TYX"}}',
    }[kind]
    path = declared(tmp_path / "in.tif", form, t270=(2, told.encode() + b"\0"))
    refused(path, "planes")


@pytest.mark.parametrize("offset", [262, 2**20, 2**31, 2**32 - 1])
@pytest.mark.parametrize("place", ["pixels", "next page", "tag"])
def test_places_behind_the_end(tmp_path, offset, place):
    path = declared(tmp_path / "in.tif", "uncompressed", t270=(2, b"described\0"))
    whole = bytearray(path.read_bytes())
    entries = int.from_bytes(whole[8:10], "little")
    code = {"pixels": 273, "tag": 270}.get(place)
    position = 10 + 12 * entries
    for start in range(10, position, 12):
        if int.from_bytes(whole[start : start + 2], "little") == code:
            position = start + 8
    whole[position : position + 4] = (offset + len(whole)).to_bytes(5, "little")[:4]
    path.write_bytes(whole)
    if place == "tag" or offset == 2**32 - 1:  # the pixels are there, whatever is said of them
        return
    refused(path)


@settings(max_examples=300, deadline=None)
@given(
    form=st.sampled_from(sorted(FORMS)),
    changes=st.dictionaries(
        st.sampled_from([256, 257, 258, 259, 273, 277, 278, 279, 284, 317, 322, 323, 339, 32997]),
        st.one_of(st.integers(0, 40), st.sampled_from(HUGE), st.integers(0, 2**32 - 1)),
        min_size=1,
        max_size=4,
    ),
)
@example(form="zlib", changes={256: 2**14, 257: 2**14})
@example(form="tile", changes={322: 2**31 - 16, 323: 2**31 - 16})
@example(form="zlib", changes={256: 0, 257: 0})
@example(form="zlib", changes={256: 1, 322: 2**24 + 7, 323: 64})
@example(form="uncompressed", changes={279: 2**31 - 1, 256: 1, 317: 0})
def test_no_tag_costs_time_or_memory(tmp_path_factory, form, changes):
    """Any value of any tag: an image, or an error that names the file, both at once."""
    path = tmp_path_factory.mktemp("tags") / "in.tif"
    declared(path, form, **{f"t{tag}": (4, [value]) for tag, value in changes.items()})
    check_cost(path)


# Tags of which tifffile reads what they hold: texts, palettes, tables, and those of microscopes.
SPOKEN = [
    254, 270, 273, 279, 305, 306, 320, 330, 338, 347, 513, 529, 530, 700, 33550, 33560, 33628,
    33723, 33922, 34118, 34361, 34412, 34665, 34675, 34735, 34737, 37510, 42112, 50838, 50839,
    51123, 65421,
]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    form=st.sampled_from(sorted(FORMS)),
    code=st.sampled_from(SPOKEN),
    kind=st.sampled_from([2, 3, 4, 5]),
    count=st.sampled_from([0, 300, *HUGE]),
)
def test_values_that_are_not_there(tmp_path_factory, form, code, kind, count):
    """Tags that count more values than the file has bytes."""
    path = tmp_path_factory.mktemp("tags") / "in.tif"
    declared(path, form, **{f"t{code}": (kind, bytes(4), count)})
    check_cost(path)


def check_cost(path):
    """An image, or an error that names the file, both at once."""
    started, told = time.process_time(), ""
    tracemalloc.start()
    try:
        read_image(path)
    except ImageFileError as error:
        told = str(error)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert not told or str(path) in told
    assert time.process_time() - started < 5
    # Images that are believed are small, or else as large as 256 MB; some decoders copy that once.
    assert peak < 2**28 * 3


def test_a_batch_goes_on_after_it(tmp_path):
    small_model("denoise").save(tmp_path / "tiny.safetensors")
    (tmp_path / "in").mkdir()
    declared(tmp_path / "in/a.tif", "zlib", t256=(4, [2**31]), t257=(4, [2**31]))
    tifffile.imwrite(tmp_path / "in/b.tif", PIXELS)
    model = tmp_path / "tiny.safetensors"
    code, text = call(
        "denoise", tmp_path / "in", "--out", tmp_path / "out", "--model", model, "--noise", 5
    )
    assert code == 1
    assert "1 restored, 0 skipped, 1 failed: a.tif" in text
    assert f"failed: {tmp_path}/in/a.tif cannot be read as TIFF" in text
