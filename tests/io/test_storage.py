"""How results are stored: as their sources are, or as users say, and never much larger unasked."""

import re
import shutil
import types

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image
from skimage import data
from tests.conftest import small_model
from tests.io.conftest import written
from tests.io.foreign import copied
from tests.test_cli import call

from napari_rednet.errors import ImageFileError
from napari_rednet.io import image_writer, read_image, remark_on_result, with_compression
from napari_rednet.io.tiff import image as stored
from napari_rednet.io.tiff.image import COMPRESSIONS, Storage, store

CAMERA = data.camera()[:96, :80]
COFFEE = data.coffee()[:96, :80]
LOSSLESS = {"none": 1, "deflate": 8, "lzw": 5, "zstd": 50000, "lzma": 34925, "packbits": 32773}
SHAPES = {
    "plane": (CAMERA, {"photometric": "minisblack"}),
    "stack": (np.stack([CAMERA, CAMERA.T[::1].reshape(96, 80)]), {"photometric": "minisblack"}),
    "colours": (COFFEE, {"photometric": "rgb"}),
    "planar colours": (
        np.ascontiguousarray(np.moveaxis(COFFEE, -1, 0)),
        {"photometric": "rgb", "planarconfig": "separate"},
    ),
    "ImageJ": (np.stack([CAMERA] * 4).reshape(2, 2, 96, 80), {"imagej": True}),
    "OME": (np.stack([CAMERA] * 4).reshape(2, 2, 96, 80), {"ome": True}),
    "16 bits": (CAMERA.astype(np.uint16) * 200, {"photometric": "minisblack"}),
    "fractions": (CAMERA / np.float32(7), {"photometric": "minisblack"}),
}


def how(path):
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        tile = (page.tilelength, page.tilewidth) if page.is_tiled else None
        return int(page.compression), int(page.predictor), tile


def write(path, shape, **options):
    values, own = SHAPES[shape]
    tifffile.imwrite(path, values, **own, **options)
    return values


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("tile", [None, (32, 48)], ids=["strips", "tiles"])
@pytest.mark.parametrize("compression", LOSSLESS)
def test_results_are_stored_as_their_sources_are(tmp_path, shape, tile, compression):
    options = {} if compression == "none" else {"compression": LOSSLESS[compression]}
    if compression in ("zstd", "lzw"):
        options["predictor"] = True
    values = write(tmp_path / "in.tif", shape, tile=tile, **options)
    copied(tmp_path / "in.tif", tmp_path / "out.tif")
    assert how(tmp_path / "out.tif") == how(tmp_path / "in.tif")
    with (
        tifffile.TiffFile(tmp_path / "out.tif") as file,
        tifffile.TiffFile(tmp_path / "in.tif") as own,
    ):
        np.testing.assert_array_equal(file.asarray(), values)
        assert file.series[0].axes == own.series[0].axes
        assert (file.is_imagej, file.is_ome) == (own.is_imagej, own.is_ome)
    sizes = [(tmp_path / name).stat().st_size for name in ("in.tif", "out.tif")]
    assert sizes[1] < 1.1 * sizes[0] + 5000
    if shape in ("plane", "colours", "16 bits") and compression not in ("lzma", "zstd"):
        with Image.open(tmp_path / "out.tif") as file:
            np.testing.assert_array_equal(np.asarray(file), values)
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize("compression", ["jpeg", "jpeg2000", "webp", "png"])
def test_what_loses_or_is_rare_becomes_deflate_and_is_told(tmp_path, compression):
    write(tmp_path / "in.tif", "colours", tile=(48, 48), compression=compression)
    image = copied(tmp_path / "in.tif", tmp_path / "out.tif")
    assert how(tmp_path / "out.tif") == (8, 2, (48, 48))
    told = remark_on_result(image, tmp_path / "out.tif")
    assert told == f"was compressed by {image.storage.told}, and is by deflate"
    assert image.storage.told.lower().startswith(compression.removesuffix("2000"))
    with Image.open(tmp_path / "out.tif") as file:
        np.testing.assert_array_equal(np.asarray(file), tifffile.imread(tmp_path / "in.tif"))


@pytest.fixture
def folder(tmp_path):
    small_model("denoise").save(tmp_path / "tiny.safetensors")
    return tmp_path


def denoise(folder, *arguments):
    return call("denoise", *arguments, "--model", folder / "tiny.safetensors", "--noise", 0)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_users_may_choose_another(folder, compression):
    values = write(folder / "in.tif", "16 bits", compression="lzw")
    source, target = folder / "in.tif", folder / "out.tif"
    code, text = denoise(folder, source, target, "--compression", compression)
    assert code == 0, text
    assert how(target)[0] == LOSSLESS[compression]
    np.testing.assert_array_equal(tifffile.imread(target), values)
    (folder / "in").mkdir()
    source.rename(folder / "in/a.tif")
    code, text = denoise(folder, folder / "in", "-o", folder / "o", "--compression", compression)
    assert code == 0, text
    assert how(folder / "o/a.tif") == how(target)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("compression", ["none", "deflate", "zstd"])
def test_zarrs_may_be_compressed_otherwise(folder, version, compression):
    written(folder / "in.zarr", [CAMERA], "yx", version=version)
    options = ("--compression", compression)
    code, text = denoise(folder, folder / "in.zarr", folder / "out.zarr", *options)
    assert code == 0, text
    found = zarr.open_group(folder / "out.zarr", mode="r")["0"].compressors
    assert len(found) == (compression != "none")
    names = {"deflate": ("gzip", "zlib"), "zstd": ("zstd",), "none": ()}
    assert all(any(n in repr(c).lower() for n in names[compression]) for c in found)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("out.tif", "a TIFF file is compressed by none, deflate, .* not by jpeg"),
        ("out.zarr", "a Zarr is compressed by none or deflate or zstd, not by jpeg"),
        ("out.png", "how a .png file is compressed cannot be chosen"),
    ],
)
def test_what_there_is_not_is_told(folder, name, message):

    write(folder / "in.tif", "plane")
    code, text = denoise(folder, folder / "in.tif", folder / name, "--compression", "jpeg")
    assert code == 1
    assert re.search(message, text)
    assert not (folder / name).exists()


def test_a_compressed_zarr_becomes_a_compressed_tiff(tmp_path):
    """1.9 MB never become 79 MB unasked."""
    flat = np.zeros((4, 500, 500), np.uint16)
    zarr.create_array(tmp_path / "in.zarr", data=flat, chunks=(1, 500, 500))
    copied(tmp_path / "in.zarr", tmp_path / "out.tif")
    assert (tmp_path / "out.tif").stat().st_size < flat.nbytes / 50
    zarr.create_array(tmp_path / "plain.zarr", data=flat, chunks=(1, 500, 500), compressors=None)
    copied(tmp_path / "plain.zarr", tmp_path / "plain.tif")
    assert how(tmp_path / "plain.tif")[0] == 1


def test_without_imagecodecs_deflate_stands_in(tmp_path, monkeypatch):
    write(tmp_path / "in.tif", "plane", compression="lzw")
    real = stored._is_possible
    monkeypatch.setattr(
        stored, "_is_possible", lambda name, *a, **o: name == "zlib" and real(name, *a, **o)
    )
    image = copied(tmp_path / "in.tif", tmp_path / "out.tif")
    assert how(tmp_path / "out.tif")[0] == 8
    assert (
        remark_on_result(image, tmp_path / "out.tif") == "was compressed by lzw, and is by deflate"
    )
    with pytest.raises(ImageFileError, match="zstd needs: pip install imagecodecs"):
        Storage().compressed("zstd").options(np.dtype("uint8"))


def test_files_of_more_than_4_gb_are_big(tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "CLASSIC", CAMERA.nbytes - 1)
    store(tmp_path / "out.tif", CAMERA, Storage("deflate"), {"photometric": "minisblack"})
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert file.is_bigtiff
        np.testing.assert_array_equal(file.asarray(), CAMERA)


def test_imagej_reads_no_big_files(tmp_path, monkeypatch):
    values = write(tmp_path / "in.tif", "ImageJ", compression="zlib")
    monkeypatch.setattr(stored, "CLASSIC", values.nbytes - 1)
    image = copied(tmp_path / "in.tif", tmp_path / "out.tif")
    assert "no compressed files of more than 4 GB" in remark_on_result(image, tmp_path / "out.tif")
    assert how(tmp_path / "out.tif") == (1, 1, None)
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert file.is_imagej
        np.testing.assert_array_equal(file.asarray(), values)


def test_room_for_both_forms_is_asked_for_before_the_work(tmp_path, monkeypatch):
    values = write(tmp_path / "in.tif", "16 bits", compression="zlib")
    free = types.SimpleNamespace(free=2 * values.nbytes - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    with pytest.raises(ImageFileError, match="--compression none needs half as many"):
        copied(tmp_path / "in.tif", tmp_path / "out.tif")
    assert [p.name for p in tmp_path.iterdir()] == ["in.tif"]
    image = with_compression(read_image(tmp_path / "in.tif"), "none", tmp_path / "out.tif")
    with image_writer(tmp_path / "out.tif", image) as out:
        out[...] = values


def test_what_is_broken_off_leaves_nothing(tmp_path):
    write(tmp_path / "in.tif", "plane", compression="zlib")
    with pytest.raises(RuntimeError), _writing(tmp_path / "in.tif", tmp_path / "out.tif") as out:
        out[...] = 1
        raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["in.tif"]


def _writing(source, target):
    return image_writer(target, read_image(source))
