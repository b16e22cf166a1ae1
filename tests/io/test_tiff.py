import os
import shutil

import numpy as np
import pytest
import tifffile
from skimage import data

import napari_rednet as nr
from napari_rednet.errors import ImageFileError
from napari_rednet.io.tiff import image as image_module
from napari_rednet.io.tiff import read_tiff, tiff_writer

STACK = np.arange(2 * 3 * 20 * 24, dtype=np.uint16).reshape(2, 3, 20, 24)


def copied(source, target):
    """Write an image again through the writer and return it as read."""
    image = read_tiff(source)
    with tiff_writer(target, image) as out:
        out[...] = image.data
    return read_tiff(target)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_imagej_stacks_keep_axes_and_calibration(tmp_path, compression):
    path = tmp_path / "in.tif"
    metadata = {
        "axes": "ZCYX",
        "spacing": 0.3,
        "unit": "um",
        "Ranges": (0.0, 9.0, 1.0, 5.0),
        "Labels": list("abcdef"),
    }
    tifffile.imwrite(
        path, STACK, imagej=True, resolution=(9.5, 8.0), metadata=metadata, compression=compression
    )
    again = copied(path, tmp_path / "out.tif")
    assert again.axes == "ZCYX"
    assert again.channel_axis == 1
    np.testing.assert_array_equal(again.data, STACK)
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        found = file.imagej_metadata
        page = file.pages.first
        x, y = (np.divide(*page.tags[f"{a}Resolution"].value) for a in "XY")
    assert {k: found[k] for k in ("spacing", "unit", "Ranges", "Labels")} == {
        k: metadata[k] for k in ("spacing", "unit", "Ranges", "Labels")
    }
    assert (x, y) == pytest.approx((9.5, 8.0))


def test_ome_tiff_keeps_axes_units_and_channel_names(tmp_path):
    path = tmp_path / "in.ome.tif"
    metadata = {
        "axes": "TCYX",
        "PhysicalSizeX": 0.11,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": 0.12,
        "PhysicalSizeYUnit": "µm",
        "TimeIncrement": 2.5,
        "TimeIncrementUnit": "s",
        "Channel": {"Name": ["DAPI", "GFP", "RFP"]},
    }
    tifffile.imwrite(path, STACK, ome=True, metadata=metadata)
    again = copied(path, tmp_path / "out.ome.tif")
    assert (again.axes, again.channel_axis) == ("TCYX", 1)
    np.testing.assert_array_equal(again.data, STACK)
    with tifffile.TiffFile(tmp_path / "out.ome.tif") as file:
        xml = file.ome_metadata
    for part in (
        'PhysicalSizeX="0.11"',
        'PhysicalSizeY="0.12"',
        'TimeIncrement="2.5"',
        'Name="GFP"',
    ):
        assert part in xml


def test_rgb_keeps_its_colours(tmp_path):
    path = tmp_path / "in.tif"
    colours = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
    tifffile.imwrite(path, colours, photometric="rgb", description="made by hand", metadata=None)
    again = copied(path, tmp_path / "out.tif")
    assert (again.axes, again.channel_axis) == ("YXS", 2)
    np.testing.assert_array_equal(again.data, colours)
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert file.pages.first.photometric == tifffile.PHOTOMETRIC.RGB
        assert file.pages.first.description == "made by hand"


@pytest.mark.parametrize("dtype", ["uint8", "int16", ">u2", "float32", ">f4", "float64"])
def test_plain_files_keep_their_values(tmp_path, dtype):
    path = tmp_path / "in.tif"
    values = STACK[0].astype(dtype)
    tifffile.imwrite(
        path, values, photometric="minisblack", byteorder=">" if dtype[0] == ">" else None
    )
    again = copied(path, tmp_path / "out.tif")
    assert again.data.dtype.newbyteorder("=") == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(again.data, values)


def test_large_files_are_mapped_and_not_read(tmp_path):
    path = tmp_path / "in.tif"
    tifffile.imwrite(path, STACK, photometric="minisblack")
    assert isinstance(read_tiff(path).data, np.memmap)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_cut_off_files_are_named(tmp_path, compression, share):
    path = tmp_path / "cut.tif"
    values = np.random.default_rng(0).integers(0, 60000, (5, 64, 64), np.uint16)
    tifffile.imwrite(path, values, compression=compression, metadata=None)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ImageFileError, match=r"cut\.tif cannot be read as TIFF"):
        read_tiff(path)


def test_other_files_are_named(tmp_path):
    path = tmp_path / "text.tif"
    path.write_text("not a TIFF")
    with pytest.raises(ImageFileError, match=r"text\.tif cannot be read as TIFF"):
        read_tiff(path)
    with pytest.raises(ImageFileError, match="there is no file"):
        read_tiff(tmp_path / "missing.tif")


def test_palette_images_are_refused_in_words(tmp_path):
    path = tmp_path / "palette.tif"
    colours = np.zeros((3, 256), np.uint16)
    tifffile.imwrite(path, STACK[0, 0].astype(np.uint8), photometric="palette", colormap=colours)
    with pytest.raises(ImageFileError, match="convert it to gray or RGB"):
        read_tiff(path)


def test_a_failed_run_leaves_the_old_file(tmp_path):
    path = tmp_path / "out.tif"
    tifffile.imwrite(path, STACK, photometric="minisblack")
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError), tiff_writer(path, read_tiff(path)) as out:
        out[0] = 1
        raise ZeroDivisionError
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["out.tif"]


def test_a_full_disk_is_known_before_the_work(tmp_path, monkeypatch):
    path = tmp_path / "in.tif"
    tifffile.imwrite(path, STACK, photometric="minisblack")
    image = read_tiff(path)
    usage = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(image_module.shutil, "disk_usage", lambda _: usage)
    with (
        pytest.raises(ImageFileError, match="bytes are needed, 100 are free"),
        tiff_writer(tmp_path / "out.tif", image),
    ):
        pytest.fail("the work has started")
    assert os.listdir(tmp_path) == ["in.tif"]


def test_a_disk_that_fills_up_meanwhile_is_an_error(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    path = tmp_path / "in.tif"
    tifffile.imwrite(path, STACK, photometric="minisblack")
    monkeypatch.setattr(image_module.os, "posix_fallocate", full, raising=False)
    with (
        pytest.raises(ImageFileError, match="No space left"),
        tiff_writer(tmp_path / "out.tif", read_tiff(path)),
    ):
        pytest.fail("the work has started")
    assert os.listdir(tmp_path) == ["in.tif"]


@pytest.mark.parametrize(
    "options",
    [{"tile": (64, 64)}, {"compression": "zlib"}, {"compression": "zlib", "tile": (32, 48)}],
    ids=["tiled", "compressed", "both"],
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_much_to_decode_is_decoded_when_it_is_asked_for(options, order, tmp_path, monkeypatch):
    zarr = pytest.importorskip("zarr")
    stack = np.stack([data.camera()[:150, :130], data.camera()[200:350, :130]])
    path = tmp_path / "stack.tif"
    tifffile.imwrite(
        path, stack.astype(np.uint16), byteorder=order, metadata={"axes": "ZYX"}, **options
    )
    at_once = read_tiff(path)
    assert isinstance(at_once.data, np.ndarray)
    monkeypatch.setattr("napari_rednet.io.tiff.reading._MOST_DECODED", 0)
    later = read_tiff(path)
    assert isinstance(later.data, zarr.Array)
    assert (later.axes, later.options) == (at_once.axes, at_once.options)
    np.testing.assert_array_equal(later.data[1, 60:90, 40:], stack[1, 60:90, 40:])
    restored = [nr.denoise(image.data, noise=5) for image in (at_once, later)]
    np.testing.assert_array_equal(*restored)


def test_of_a_pyramid_the_finest_level_is_read(tmp_path, monkeypatch):
    pytest.importorskip("zarr")
    path, fine = tmp_path / "pyramid.tif", data.camera()
    with tifffile.TiffWriter(path) as file:
        file.write(fine, subifds=1, tile=(64, 64))
        file.write(fine[::2, ::2], subfiletype=1, tile=(64, 64))
    for most in (2**28, 0):
        monkeypatch.setattr("napari_rednet.io.tiff.reading._MOST_DECODED", most)
        np.testing.assert_array_equal(read_tiff(path).data[:], fine)
