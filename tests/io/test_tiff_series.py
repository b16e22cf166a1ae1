"""Files with several images: small copies are none, and others are told and can be chosen."""

import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage import data
from tests.conftest import small_model
from tests.io.foreign import copied
from tests.test_cli import call

from napari_rednet.batch import plan_batch
from napari_rednet.errors import ImageFileError
from napari_rednet.io import count_images, read_image, remark_on
from napari_rednet.io.sources import Reading

FULL = data.camera()[:192, :256]
SMALL = {factor: FULL[::factor, ::factor] for factor in (2, 4)}
THUMBNAIL = FULL[::5, ::7]
OTHER = data.coins()[:90, :110]


def write(path, parts, **writer):
    """Pages one after the other: (pixels, further arguments)."""
    with tifffile.TiffWriter(path, **writer) as file:
        for values, options in parts:
            file.write(values, photometric="minisblack", **options)


REDUCED = {"subfiletype": 1}
PLAIN = {"metadata": None}
SMALL_COPIES = {
    "thumbnail first": [(THUMBNAIL, REDUCED | PLAIN), (FULL, PLAIN)],
    "thumbnail last": [(FULL, PLAIN), (THUMBNAIL, REDUCED | PLAIN)],
    "thumbnail first, as tifffile": [(THUMBNAIL, REDUCED), (FULL, {})],
    "pyramid upside down": [
        (SMALL[4], REDUCED | PLAIN),
        (SMALL[2], REDUCED | PLAIN),
        (FULL, PLAIN),
    ],
    "pyramid in pages": [(FULL, PLAIN), (SMALL[2], REDUCED | PLAIN), (SMALL[4], REDUCED | PLAIN)],
    "pyramid in pages, tiled": [
        (values, {"tile": (32, 32), **PLAIN, **(REDUCED if number else {})})
        for number, values in enumerate([FULL, SMALL[2], SMALL[4]])
    ],
    "pyramid in SubIFDs": [(FULL, {"subifds": 2}), (SMALL[2], REDUCED), (SMALL[4], REDUCED)],
    "unmarked SubIFDs": [(FULL, {"subifds": 2} | PLAIN), (SMALL[2], PLAIN), (THUMBNAIL, PLAIN)],
    "thumbnail over its image": [(THUMBNAIL, {"subifds": 1} | REDUCED | PLAIN), (FULL, PLAIN)],
    "mask": [(FULL, PLAIN), (FULL > 99, {"subfiletype": 4} | PLAIN)],
    "mask first": [(FULL > 99, {"subfiletype": 4} | PLAIN), (FULL, PLAIN)],
}


@pytest.mark.parametrize("kind", SMALL_COPIES)
def test_small_copies_are_no_images(tmp_path, kind):
    write(tmp_path / "in.tif", SMALL_COPIES[kind])
    assert count_images(tmp_path / "in.tif") == 1
    image = copied(tmp_path / "in.tif", tmp_path / "out.tif")
    assert remark_on(image) == ""
    with Image.open(tmp_path / "out.tif") as file:
        assert file.n_frames == 1
        np.testing.assert_array_equal(np.asarray(file), FULL)


def test_an_ome_pyramid_is_one_image(tmp_path):
    parts = [(FULL, {"subifds": 2}), (SMALL[2], REDUCED), (SMALL[4], REDUCED)]
    write(tmp_path / "in.ome.tif", parts, ome=True)
    assert count_images(tmp_path / "in.ome.tif") == 1
    np.testing.assert_array_equal(read_image(tmp_path / "in.ome.tif").data, FULL)


KINDS = {
    "pages of other shapes": ([(OTHER, PLAIN), (FULL, PLAIN), (OTHER.T, PLAIN)], {}),
    "pages of other types": (
        [(FULL, PLAIN), (FULL.astype(np.uint16) * 9, PLAIN), (FULL / 7, PLAIN)],
        {},
    ),
    "tifffile": ([(OTHER, {}), (np.stack([FULL, FULL + 1]), {}), (FULL, {})], {}),
    "OME": ([(FULL, {}), (OTHER, {}), (FULL[::-1], {})], {"ome": True}),
    "with thumbnails": (
        [(THUMBNAIL, REDUCED | PLAIN), (FULL, PLAIN), (OTHER, PLAIN), (OTHER.T, PLAIN)],
        {},
    ),
}


def expected_of(kind):
    return [values for values, options in KINDS[kind][0] if "subfiletype" not in options]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_each_of_several_images_can_be_chosen(tmp_path, kind, compression):
    parts, writer = KINDS[kind]
    path = tmp_path / ("in.ome.tif" if writer else "in.tif")
    write(path, [(v, {"compression": compression, **o}) for v, o in parts], **writer)
    expected = expected_of(kind)
    assert count_images(path) == len(expected)
    for number, values in enumerate(expected):
        image = copied(path, tmp_path / "out.tif", series=number)
        told = f"image {number} of {len(expected)}, counted from 0; --series takes others"
        assert remark_on(image) == told
        with tifffile.TiffFile(tmp_path / "out.tif") as file:
            assert len(file.series) == 1
            assert file.asarray().dtype == values.dtype
            np.testing.assert_array_equal(file.asarray(), values)
    with pytest.raises(ImageFileError, match="it has 3 images, counted from 0, and none is 3"):
        read_image(path, series=3)


def test_each_image_has_its_own_description(tmp_path):
    same = {"Name": "cells", "PhysicalSizeXUnit": "µm"}
    sizes = [{"PhysicalSizeX": size, **same} for size in (0.5, 0.25)]
    parts = [(FULL, {"metadata": {"axes": "YX", **size}}) for size in sizes]
    write(tmp_path / "in.ome.tif", parts, ome=True)
    copied(tmp_path / "in.ome.tif", tmp_path / "out.ome.tif", series=1)
    with tifffile.TiffFile(tmp_path / "out.ome.tif") as file:
        assert 'PhysicalSizeX="0.25"' in file.ome_metadata
    parts = [(OTHER, {"resolution": (9, 9)} | PLAIN), (FULL, {"resolution": (5, 5)} | PLAIN)]
    write(tmp_path / "in.tif", parts)
    copied(tmp_path / "in.tif", tmp_path / "out.tif", series=1)
    with Image.open(tmp_path / "out.tif") as file:
        assert file.tag_v2[282] == 5


@pytest.mark.parametrize("name", ["Label", "Thumbnail"])
def test_an_ome_image_may_have_any_name(tmp_path, name):
    parts = [(OTHER, {"metadata": {"Name": name}}), (FULL, {"metadata": {"Name": "cells"}})]
    write(tmp_path / "in.ome.tif", parts, ome=True)
    assert count_images(tmp_path / "in.ome.tif") == 2


@pytest.fixture
def folder(tmp_path):
    """A file with three images, one with one, a damaged one, and a model."""
    small_model("denoise").save(tmp_path / "tiny.safetensors")
    (tmp_path / "in/sub").mkdir(parents=True)
    write(tmp_path / "in/sub/three.ome.tif", KINDS["OME"][0], ome=True)
    write(tmp_path / "in/one.tif", [(FULL, PLAIN)])
    return tmp_path


def denoise(folder, *arguments):
    return call("denoise", *arguments, "--model", folder / "tiny.safetensors", "--noise", 0)


def test_a_command_says_that_there_are_others(folder):
    source = folder / "in/sub/three.ome.tif"
    code, text = denoise(folder, source, folder / "out.tif")
    assert code == 0, text
    assert "image 0 of 3, counted from 0" in text
    np.testing.assert_array_equal(tifffile.imread(folder / "out.tif"), FULL)
    assert "image 0" not in denoise(folder, folder / "in/one.tif", folder / "one.tif")[1]
    code, text = denoise(folder, source, folder / "out.tif", "--series", 1, "--force")
    assert code == 0, text
    np.testing.assert_array_equal(tifffile.imread(folder / "out.tif"), OTHER)


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".OME.TIFF", ".zarr", ".ome.zarr"])
def test_all_images_get_a_file_each(folder, suffix):
    if suffix.endswith("zarr"):
        pytest.importorskip("zarr", minversion="3")
    source, target = folder / "in/sub/three.ome.tif", folder / f"a.b{suffix}"
    code, text = denoise(folder, source, target, "--series", "all")
    assert code == 0, text
    for number, values in enumerate(expected_of("OME")):
        result = read_image(folder / f"a.b-{number}{suffix}")
        np.testing.assert_array_equal(result.data[...], values)
    assert not target.exists()
    code, text = denoise(folder, source, target, "--series", "all")
    assert code == 1
    assert f"a.b-0{suffix} exists" in text


def test_all_of_one_image_is_one_file(folder):
    assert denoise(folder, folder / "in/one.tif", folder / "b.tif", "--series", "all")[0] == 0
    assert (folder / "b.tif").exists()


def test_a_batch_takes_all_images_of_all_files(folder):
    (folder / "in/damaged.tif").write_bytes(b"II*\0damaged")
    code, text = denoise(folder, folder / "in", "--out", folder / "out", "--series", "all")
    assert code == 1
    assert "4 restored, 0 skipped, 1 failed" in text
    results = sorted(p.relative_to(folder / "out").as_posix() for p in folder.glob("out/**/*.tif"))
    assert results == ["one.tif", *(f"sub/three-{n}.ome.tif" for n in range(3))]
    assert (
        "4 skipped"
        in denoise(folder, folder / "in", "--out", folder / "out", "--series", "all", "--resume")[1]
    )


def test_a_result_of_another_image_is_not_up_to_date(folder):
    places = (folder / "in/sub/three.ome.tif", "--out", folder / "out")
    for options, told in [((), "1 restored"), (("--series", 1), "1 restored"), ((), "1 restored")]:
        code, text = denoise(folder, *places, *options, "--resume")
        assert code == 0, text
        assert told in text
    assert "1 skipped" in denoise(folder, *places, "--resume")[1]


@pytest.mark.parametrize("series", ["-1", "1.5", "every", "³"])
def test_other_words_for_a_number_are_refused(folder, series):
    code, text = denoise(folder, folder / "in/one.tif", folder / "b.tif", f"--series={series}")
    assert code == 1
    assert f"--series must be a number from 0 on, or all, got {series}" in text
    code, text = denoise(folder, folder / "in/one.tif", folder / "b.tif", "--missing", "zeros")
    assert code == 1
    assert "--missing must be error or skip, got zeros" in text


def test_results_of_several_images_clash_with_no_other(folder):
    write(folder / "in/sub/three-1.ome.tif", [(FULL, {})], ome=True)
    with pytest.raises(ImageFileError, match="would both be written"):
        plan_batch([folder / "in"], folder / "out", Reading(None))
