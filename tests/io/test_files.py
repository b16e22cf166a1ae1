"""Formats told apart by their names, and files of one format restored into another."""

import numpy as np
import pytest
import tifffile
from tests.conftest import small_model
from tests.test_cli import call

import napari_rednet as nr
from napari_rednet.errors import ImageFileError
from napari_rednet.io import described_for, image_writer, is_image, read_image, remark_on

PIXELS = {"PhysicalSizeX": 0.3, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.3}


@pytest.fixture
def folder(tmp_path, camera):
    """A TIFF whose axes OME-Zarr would have in another order, and a model."""
    planes = np.stack([camera[:40, :50], camera[40:80, :50]]).astype(np.uint16)
    stack = np.stack([planes, planes[:, ::-1], planes[:, :, ::-1]])
    metadata = {"axes": "ZCYX", **PIXELS, "PhysicalSizeYUnit": "µm"}
    tifffile.imwrite(tmp_path / "a.ome.tif", stack, metadata=metadata)
    small_model("denoise").save(tmp_path / "tiny.safetensors")
    return tmp_path


def denoise(folder, *arguments):
    return call("denoise", *arguments, "--model", folder / "tiny.safetensors")


def test_a_format_that_is_not_known_is_named(tmp_path):
    (tmp_path / "a.bmp").touch()
    with pytest.raises(ImageFileError, match=r"must be a .tif, .tiff, .png, .jpg or .zarr file"):
        read_image(tmp_path / "a.bmp")
    with pytest.raises(
        ImageFileError, match=r"the output must be a .tif, .tiff, .png, .jpg or .zarr file"
    ):
        described_for(tmp_path / "b.bmp", None)
    with pytest.raises(ImageFileError, match="there is no file"):
        read_image(tmp_path / "b.bmp")
    assert not is_image(tmp_path / "a.bmp")
    assert not is_image(tmp_path / "b.tif")


def test_tiff_goes_through_its_own_reader_and_writer(folder):
    image = read_image(folder / "a.ome.tif")
    assert (image.axes, image.channel_axis, image.is_rgb) == ("ZCYX", 1, False)
    assert remark_on(image) == ""
    with image_writer(folder / "b.TIFF", image) as out:
        out[...] = image.data
    np.testing.assert_array_equal(read_image(folder / "b.TIFF").data, image.data)


def test_there_and_back_is_the_same_image(folder):
    """TIFF to Zarr to TIFF: axes in another order, and nothing lost."""
    pytest.importorskip("zarr", minversion="3")
    first, second = folder / "b.zarr", folder / "c.tif"
    assert denoise(folder, folder / "a.ome.tif", first, "--noise", 5)[0] == 0
    stored = read_image(first)
    assert stored.axes == "CZYX"
    stack, model = tifffile.imread(folder / "a.ome.tif"), folder / "tiny.safetensors"
    once = nr.denoise(stack, noise=5, channel_axis=1, model=model)
    np.testing.assert_array_equal(stored.data[:], once.swapaxes(0, 1))
    assert remark_on(stored) == ""
    code, text = denoise(folder, first, second, "--noise", 5)
    assert code == 0, text
    twice = nr.denoise(once.swapaxes(0, 1), noise=5, channel_axis=0, model=model)
    with tifffile.TiffFile(second) as file:
        assert 'PhysicalSizeX="0.3"' in file.ome_metadata
        found = file.series[0].asarray()
        axes = file.series[0].axes
    np.testing.assert_array_equal(np.transpose(found, [axes.index(a) for a in "CZYX"]), twice)


def test_batches_take_zarrs_as_images(folder):
    pytest.importorskip("zarr", minversion="3")
    (folder / "in/sub").mkdir(parents=True)
    (folder / "a.ome.tif").rename(folder / "in/a.ome.tif")
    assert denoise(folder, folder / "in/a.ome.tif", folder / "in/sub/b.zarr")[0] == 0
    places = (folder / "in", "--out", folder / "out")
    code, text = denoise(folder, *places)
    assert code == 0, text
    assert "2 restored" in text
    assert read_image(folder / "out/sub/b.zarr").data.shape == (2, 3, 40, 50)
    assert "2 skipped" in denoise(folder, *places, "--resume")[1]
    chunk = next(p for p in (folder / "out/sub/b.zarr/0/c").rglob("*") if p.is_file())
    chunk.unlink()
    code, text = denoise(folder, *places, "--resume")
    assert "1 restored, 1 skipped" in text
    assert chunk.is_file()


def test_missing_chunks_are_told_in_a_line(folder):
    pytest.importorskip("zarr", minversion="3")
    source = folder / "b.zarr"
    assert denoise(folder, folder / "a.ome.tif", source)[0] == 0
    next(p for p in (source / "0/c").rglob("*") if p.is_file()).unlink()
    told = "1 of 6 chunks are missing; they are read as the fill value"
    code, text = denoise(folder, source, folder / "c.tif", "--noise", 5)
    assert code == 0
    assert f"warning: {told}" in text
    code, text = denoise(folder, source, "--out", folder / "out", "--noise", 5)
    assert code == 0
    assert told in text
    assert told in (folder / "out/report.csv").read_text()


@pytest.mark.parametrize("target", ["b.zarr", "b.zarr/0/c.tif"])
def test_a_zarr_is_not_overwritten_by_its_result(folder, target):
    pytest.importorskip("zarr", minversion="3")
    source = folder / "b.zarr"
    assert denoise(folder, folder / "a.ome.tif", source)[0] == 0
    code, text = denoise(folder, source, folder / target, "--force")
    assert code == 1
    assert "the output" in text
    assert read_image(source).data.shape == (2, 3, 40, 50)
