"""TIFF files that become OME-Zarr, and the other way."""

import numpy as np
import pytest
import tifffile
from skimage import data
from tests.io.conftest import CAMERA, STACK, enlarged, written

from napari_rednet.errors import ImageFileError
from napari_rednet.io.ome_zarr import (
    as_tiff_description,
    as_zarr_description,
    missing_chunks,
    read_ome_zarr,
    zarr_writer,
)
from napari_rednet.io.tiff import read_tiff, tiff_writer


def from_tiff(tmp_path, values, scale=1, name="in.tif", **options):
    """Write a TIFF file, and write it again as OME-Zarr."""
    path = tmp_path / name
    tifffile.imwrite(path, values, **options)
    image = as_zarr_description(read_tiff(path))
    with zarr_writer(tmp_path / "out.zarr", image, scale) as out:
        out[...] = enlarged(np.asarray(image.data), scale)
    return read_ome_zarr(tmp_path / "out.zarr")


OME = {
    "PhysicalSizeX": 0.11, "PhysicalSizeXUnit": "µm",
    "PhysicalSizeY": 120.0, "PhysicalSizeYUnit": "nm",
    "TimeIncrement": 2.5, "TimeIncrementUnit": "s",
    "Channel": {"Name": ["DAPI", "GFP", "RFP"]},
}  # fmt: skip


def test_ome_tiff_becomes_ome_zarr_and_comes_back(tmp_path):
    image = from_tiff(tmp_path, STACK, ome=True, metadata={"axes": "TCYX", **OME})
    assert (image.axes, image.version, image.zarr_format) == ("TCYX", "0.5", 3)
    assert image.scale == pytest.approx((2.5, 1, 120, 0.11))
    assert image.units == ("second", None, "nanometer", "micrometer")
    assert image.channel_names == ["DAPI", "GFP", "RFP"]
    assert image.chunks == (1, 1, 301, 402)
    assert [(c["window"]["start"], c["window"]["end"]) for c in image.channels] == [
        (STACK[:, c].min(), STACK[:, c].max()) for c in range(3)
    ]
    with tiff_writer(tmp_path / "back.ome.tif", as_tiff_description(image)) as out:
        out[...] = image.data[...]
    back = read_tiff(tmp_path / "back.ome.tif")
    assert (back.axes, back.channel_axis) == ("TCYX", 1)
    found = back.options["metadata"]
    names = {"Name": found["Channel"]["Name"]}
    assert {k: found[k] for k in OME} | {"Channel": names} == OME
    np.testing.assert_array_equal(back.data, STACK)


def test_imagej_stacks_become_ome_zarr_in_its_order(tmp_path):
    metadata = {"axes": "ZCYX", "spacing": 0.3, "unit": "um"}
    image = from_tiff(tmp_path, STACK, imagej=True, resolution=(10, 8), metadata=metadata)
    assert (image.axes, image.channel_axis) == ("CZYX", 0)
    assert image.scale == pytest.approx((1, 0.3, 1 / 8, 1 / 10))
    assert image.units == (None, "micrometer", "micrometer", "micrometer")
    np.testing.assert_array_equal(image.data[...], STACK.swapaxes(0, 1))


@pytest.mark.parametrize("name", ["in.tif", "in.ome.tif"])
def test_large_tiff_files_get_chunks_and_a_pyramid(tmp_path, name):
    large = np.tile(CAMERA, (2, 3)).astype(">u2")
    image = from_tiff(
        tmp_path, large, name=name, resolution=(20000, 10000), resolutionunit="CENTIMETER",
        byteorder=">", metadata={"axes": "YX"}, photometric="minisblack",
    )  # fmt: skip
    assert (image.chunks, image.levels) == ((512, 512), 3)
    assert image.scale == pytest.approx((1, 0.5))
    assert image.units == ("micrometer", "micrometer")
    assert image.data.dtype == np.uint16
    np.testing.assert_array_equal(image.data[...], large)


def test_colours_become_channels(tmp_path):
    colours = data.astronaut()[:100, :120]
    image = from_tiff(tmp_path, colours, 2, photometric="rgb", metadata=None)
    assert (image.axes, image.channel_axis) == ("CYX", 0)
    assert image.channel_colors == ["FF0000", "00FF00", "0000FF"]
    assert image.channels[0]["window"]["end"] == 255
    np.testing.assert_array_equal(image.data[...], enlarged(np.moveaxis(colours, -1, 0), 2))
    description = as_zarr_description(read_tiff(tmp_path / "in.tif"))
    assert description.is_rgb
    assert missing_chunks(description) == (0, 0)


@pytest.mark.parametrize("axes", ["QCYX", "IZYX"])
def test_tiff_axes_without_a_place_are_refused_in_words(tmp_path, axes):
    tifffile.imwrite(tmp_path / "in.tif", STACK, photometric="minisblack", metadata={"axes": axes})
    with pytest.raises(ImageFileError, match=f"has the axes {axes}; write a .tif file"):
        as_zarr_description(read_tiff(tmp_path / "in.tif"))


def test_transparency_is_refused_in_words(tmp_path):
    colours = np.dstack([data.astronaut(), data.camera()])
    tifffile.imwrite(tmp_path / "in.tif", colours, photometric="rgb", extrasamples=["unassalpha"])
    with pytest.raises(ImageFileError, match="colours with transparency"):
        as_zarr_description(read_tiff(tmp_path / "in.tif"))


def test_ome_zarr_becomes_ome_tiff(source, tmp_path):
    image = read_ome_zarr(source)
    with tiff_writer(tmp_path / "out.ome.tif", as_tiff_description(image), 2) as out:
        out[...] = enlarged(image.data[...], 2)
    back = read_tiff(tmp_path / "out.ome.tif")
    found = back.options["metadata"]
    assert back.axes == "CZYX"
    assert [found[f"PhysicalSize{a}"] for a in "ZYX"] == pytest.approx([0.5, 0.055, 0.06])
    assert found["PhysicalSizeXUnit"] == "µm"
    assert found["Channel"] == {"Name": ["DAPI", "GFP"], "Color": [0x0000FFFF, 0x00FF00FF]}
    with tifffile.TiffFile(tmp_path / "out.ome.tif") as file:
        assert 'Name="by hand"' in file.ome_metadata
    np.testing.assert_array_equal(back.data, enlarged(STACK, 2))


@pytest.mark.parametrize(("names", "dtype"), [("qzyx", "uint16"), ("czyx", "int64")])
def test_what_ome_tiff_does_not_know_becomes_plain_tiff(tmp_path, names, dtype):
    path = written(tmp_path / "in.zarr", [STACK.astype(dtype)], names)
    image = read_ome_zarr(path)
    with tiff_writer(tmp_path / "out.tif", as_tiff_description(image)) as out:
        out[...] = image.data[...]
    back = read_tiff(tmp_path / "out.tif")
    assert (back.axes, back.data.dtype) == (names.upper(), dtype)
    np.testing.assert_array_equal(back.data, STACK)


def test_truth_values_become_no_tiff(tmp_path):
    image = read_ome_zarr(written(tmp_path / "in.zarr", [CAMERA > 100], "yx"))
    with pytest.raises(ImageFileError, match="type bool cannot become TIFF"):
        as_tiff_description(image)
