"""The commands of the tasks whose result is not simply as large as the image."""

import numpy as np
import pytest
import tifffile
from skimage.io import imsave

import napari_rednet as nr
from tests.conftest import small_model
from tests.test_cli import call


@pytest.fixture
def folder(tmp_path, camera):
    gray = camera[:60, :52].astype(np.uint16)
    pixels = {"PhysicalSizeX": 0.3, "PhysicalSizeXUnit": "um", "PhysicalSizeY": 0.6}
    tifffile.imwrite(
        tmp_path / "gray.ome.tif", np.stack([gray, gray[::-1]]), metadata={"axes": "ZYX", **pixels}
    )
    colors = np.stack([camera[:40, :50], camera[50:90, :50], camera[:40, 60:110]], -1)
    tifffile.imwrite(
        tmp_path / "rgb.tif", colors.astype(np.uint8), photometric="rgb", resolution=(100, 50)
    )
    for task in ("super_resolve", "deblock", "inpaint"):
        small_model(task).save(tmp_path / f"{task}.safetensors")
    return tmp_path


def run(folder, command, source, *options, target="out.tif"):
    model = folder / f"{command.replace('-', '_')}.safetensors"
    return call(command, folder / source, folder / target, "--model", model, *options)


@pytest.mark.parametrize("scale", [2, 3])
def test_super_resolve_makes_pixels_smaller(folder, scale):
    code, text = run(
        folder, "super-resolve", "gray.ome.tif", "--scale", scale, target="out.ome.tif"
    )
    assert code == 0, text
    image = tifffile.imread(folder / "gray.ome.tif")
    expected = nr.super_resolve(image, scale, model=folder / "super_resolve.safetensors")
    np.testing.assert_array_equal(tifffile.imread(folder / "out.ome.tif"), expected)
    with tifffile.TiffFile(folder / "out.ome.tif") as file:
        assert file.series[0].axes == "ZYX"
        assert f'PhysicalSizeX="{0.3 / scale}"' in file.ome_metadata
        assert f'PhysicalSizeY="{0.6 / scale}"' in file.ome_metadata


def test_super_resolve_takes_colours_as_colours(folder):
    assert run(folder, "super-resolve", "rgb.tif")[0] == 0
    image, model = tifffile.imread(folder / "rgb.tif"), folder / "super_resolve.safetensors"
    expected = nr.super_resolve(image, 2, rgb=True, model=model)
    np.testing.assert_array_equal(tifffile.imread(folder / "out.tif"), expected)
    with tifffile.TiffFile(folder / "out.tif") as file:
        assert file.pages[0].tags["XResolution"].value == (200, 1)
        assert file.pages[0].tags["YResolution"].value == (100, 1)


@pytest.mark.parametrize("scale", [0, 1, 5])
def test_other_scales_are_refused_and_write_nothing(folder, scale):
    code, text = run(folder, "super-resolve", "rgb.tif", "--scale", scale)
    assert code == 1
    assert "scale must be 2, 3 or 4" in text
    assert not (folder / "out.tif").exists()


def test_deblock_writes_what_the_function_returns(folder):
    assert run(folder, "deblock", "rgb.tif")[0] == 0
    image, model = tifffile.imread(folder / "rgb.tif"), folder / "deblock.safetensors"
    expected = nr.deblock(image, rgb=True, model=model)
    np.testing.assert_array_equal(tifffile.imread(folder / "out.tif"), expected)


@pytest.mark.parametrize("name", ["mask.png", "mask.tif"])
def test_inpaint_takes_a_mask_from_a_file(folder, name):
    missing = np.zeros((60, 52), np.uint8)
    missing[20:30, 10:15] = 255
    write = imsave if name.endswith("png") else tifffile.imwrite
    write(folder / name, missing)
    code, text = run(folder, "inpaint", "gray.ome.tif", "--mask", folder / name)
    assert code == 0, text
    image, model = tifffile.imread(folder / "gray.ome.tif"), folder / "inpaint.safetensors"
    expected = nr.inpaint(image, missing, model=model)
    np.testing.assert_array_equal(tifffile.imread(folder / "out.tif"), expected)


def test_inpaint_finds_defects_and_tells_how_many(folder):
    frames = np.random.default_rng(0).poisson(100, (3, 40, 50)).astype(np.uint16)
    frames[:, 10, 20] = 4000
    tifffile.imwrite(folder / "hot.tif", frames, photometric="minisblack")
    code, text = run(folder, "inpaint", "hot.tif")
    assert code == 0, text
    assert "dead and hot pixels found: 1" in text
    result = tifffile.imread(folder / "out.tif")
    assert (result != frames).sum() == (result[:, 10, 20] != 4000).sum() == 3


@pytest.mark.parametrize("content", [b"no image", b""])
def test_a_mask_that_is_no_image_is_named(folder, content):
    (folder / "mask.png").write_bytes(content)
    code, text = run(folder, "inpaint", "gray.ome.tif", "--mask", folder / "mask.png")
    assert code == 1
    assert "mask.png" in text
    assert not (folder / "out.tif").exists()


def test_a_direction_needs_a_length(folder):
    code, text = call("deblur", folder / "gray.ome.tif", folder / "out.tif", "--angle", 30)
    assert code == 1
    assert "--angle belongs to --motion" in text


@pytest.mark.parametrize("defects", ["repair", "keep"])
def test_repaired_pixels_are_told(folder, defects):
    image = np.full((40, 50), 400, np.uint16)
    image += np.random.default_rng(0).integers(0, 9, image.shape).astype(np.uint16)
    image[10, 10] = 60000
    tifffile.imwrite(folder / "hot.tif", image)
    code, text = run(folder, "deblock", "hot.tif", "--defects", defects)
    assert code == 0, text
    assert ("repaired 1 pixel" in text) == (defects == "repair")
    expected = nr.deblock(image, model=folder / "deblock.safetensors", defects=defects)
    np.testing.assert_array_equal(tifffile.imread(folder / "out.tif"), expected)
