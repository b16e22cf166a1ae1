"""Layers saved from napari: files that keep pixels, sizes, units, axes and place."""

import dask.array as da
import numpy as np
import pytest
import tifffile
from napari.layers import Image
from npe2 import PluginManager
from skimage import data

from napari_rednet.errors import ImageFileError
from napari_rednet.widgets.batch.controls import read_layer_image

SUFFIXES = [".ome.tif", ".ome.zarr"]
PLUGIN = "napari-rednet"


def saved(layer, folder, suffix):
    """Save a layer as napari does, and read the file."""
    (path,) = layer.save(str(folder / f"saved{suffix}"), plugin=PLUGIN)
    return read_layer_image(folder / path)


def test_napari_offers_it(viewer):
    manager = PluginManager.instance()
    names = [w.display_name for w in manager.iter_compatible_writers(["image"])]
    assert {"OME-TIFF with pixel sizes", "OME-Zarr with pixel sizes"} <= set(names)
    chosen, _ = manager.get_writer("a.ome.tif", ["image"])
    assert chosen.command.startswith(PLUGIN)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_stack_comes_back_as_it_was(viewer, tmp_path, suffix):
    (layer,) = viewer.open_sample(PLUGIN, "chromosomes")
    found = saved(layer, tmp_path, suffix)
    assert found.data.dtype == layer.data.dtype
    np.testing.assert_array_equal(found.data, layer.data)
    np.testing.assert_allclose(found.options["scale"], layer.scale)
    assert [str(u) for u in found.options["units"]] == ["micrometer"] * 3


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32", "int64", "float16"])
def test_any_dtype_and_sizes_without_a_unit(viewer, tmp_path, suffix, dtype):
    layer = Image(np.arange(60).reshape(3, 4, 5).astype(dtype), scale=(2, 0.5, 0.5))
    found = saved(layer, tmp_path, suffix)
    assert found.data.dtype == dtype
    np.testing.assert_array_equal(found.data, layer.data)
    if suffix == ".ome.zarr" or dtype not in ("int64", "float16"):  # for which there is no OME-TIFF
        assert found.options["scale"] == (2, 0.5, 0.5)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_frames_are_no_micrometres_apart(viewer, tmp_path, suffix):
    layer = Image(
        np.zeros((3, 4, 5)), axis_labels=("t", "y", "x"), scale=(7, 2, 2), units=("um",) * 3
    )
    found = saved(layer, tmp_path, suffix)
    assert [str(u) for u in found.options["units"]] == ["pixel", "micrometer", "micrometer"]


def test_its_place_is_kept_by_ome_zarr(viewer, tmp_path):
    layer = Image(data.camera(), scale=(0.5, 0.25), translate=(3, 4), units=("nm", "nm"))
    found = saved(layer, tmp_path, ".ome.zarr")
    assert found.options["translate"] == (3, 4)
    assert found.options["scale"] == (0.5, 0.25)
    assert [str(u) for u in found.options["units"]] == ["nanometer"] * 2


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_colours_lazy_arrays_and_levels(viewer, tmp_path, suffix):
    colours = np.stack([data.astronaut(), data.astronaut()[::-1]])
    layer = Image(colours, rgb=True, scale=(3, 2, 2), units=("um",) * 3)
    found = saved(layer, tmp_path, suffix)
    as_stored = colours if suffix == ".ome.tif" else np.moveaxis(colours, -1, 0)
    np.testing.assert_array_equal(found.data, as_stored)
    assert found.options["scale"] == (3, 2, 2)
    lazy = da.from_array(np.stack([data.camera()] * 3), chunks=(1, 200, 300))
    np.testing.assert_array_equal(saved(Image(lazy), tmp_path, suffix).data, lazy)
    levels = Image([data.camera(), data.camera()[::2, ::2]], multiscale=True)
    np.testing.assert_array_equal(saved(levels, tmp_path, suffix).data, data.camera())


def test_transparency_is_kept_by_tiff_and_refused_by_zarr(viewer, tmp_path):
    colours = np.dstack([data.astronaut(), data.camera()])
    layer = Image(colours, rgb=True)
    np.testing.assert_array_equal(saved(layer, tmp_path, ".ome.tif").data, colours)
    with pytest.raises(ImageFileError, match="colours with transparency"):
        saved(layer, tmp_path, ".ome.zarr")
    assert [p.name for p in tmp_path.iterdir()] == ["saved.ome.tif"]


@pytest.mark.parametrize(
    ("labels", "axes"),
    [(None, "TZYX"), (("t", "c", "y", "x"), "TCYX"), (("z", "z", "y", "x"), "TZYX")],
)
def test_axes_go_by_their_labels_or_are_likely_ones(viewer, tmp_path, labels, axes):
    values = np.random.default_rng(0).integers(0, 99, (2, 3, 16, 20), np.uint16)
    layer = Image(values, axis_labels=labels, scale=(7, 2, 1, 1), units=("s", "um", "um", "um"))
    layer.save(str(tmp_path / "a.ome.tif"), plugin=PLUGIN)
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as file:
        assert file.series[0].axes == axes
        np.testing.assert_array_equal(file.asarray(), values)
        assert 'TimeIncrement="7.0"' in file.ome_metadata


def test_what_the_formats_have_no_place_for_is_refused_in_words(viewer, tmp_path):
    with pytest.raises(ImageFileError, match="more axes"):
        saved(Image(np.zeros((1, 1, 1, 1, 4, 4))), tmp_path, ".ome.tif")
    with pytest.raises(ImageFileError, match="type bool"):
        saved(Image(np.eye(4, dtype=bool)), tmp_path, ".ome.tif")
    assert not list(tmp_path.iterdir())
