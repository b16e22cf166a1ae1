"""Layers saved from napari: files that keep pixels, sizes, units, axes and place."""

import itertools
from xml.etree import ElementTree as ET

import dask.array as da
import numpy as np
import ome_types
import pytest
import tifffile
import zarr
from napari.layers import Image
from npe2 import PluginManager
from skimage import data

from napari_rednet.errors import ImageFileError
from napari_rednet.widgets.layer_files import read_layer_image

SUFFIXES = [".ome.tif", ".ome.zarr"]
BITS = (8, 16, 32, 64)
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
@pytest.mark.parametrize(
    "dtype",
    [f"{kind}{bits}" for kind in ("int", "uint") for bits in BITS]
    + ["float16", "float32", "float64"],
)
def test_any_dtype_and_sizes_without_a_unit(viewer, tmp_path, suffix, dtype):
    layer = Image(np.arange(60).reshape(3, 4, 5).astype(dtype), scale=(2, 0.5, 0.5))
    if suffix == ".ome.tif" and dtype in ("int64", "uint64", "float16"):
        with pytest.raises(ImageFileError, match=f"OME-TIFF has no pixels of the type {dtype}"):
            saved(layer, tmp_path, suffix)
        assert not list(tmp_path.iterdir())
        return
    found = saved(layer, tmp_path, suffix)
    assert found.data.dtype == dtype
    np.testing.assert_array_equal(found.data, layer.data)
    assert found.options["scale"] == (2, 0.5, 0.5)
    if suffix == ".ome.tif":
        assert_valid_ome(tmp_path / "saved.ome.tif")


def assert_valid_ome(path):
    """The parts of OME's schema that depend on a layer: types, and sizes above zero."""
    with tifffile.TiffFile(path) as file:
        (pixels,) = ET.fromstring(file.ome_metadata).iterfind("{*}Image/{*}Pixels")
    types = ["int8", "int16", "int32", "uint8", "uint16", "uint32", "float", "double"]
    assert pixels.get("Type") in types
    sizes = {
        k: v
        for k, v in pixels.attrib.items()
        if k.startswith("PhysicalSize") and not k.endswith("Unit")
    }
    assert all(float(size) > 0 for size in sizes.values())
    return pixels.attrib


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


LABELS = ("t", "c", "z", "")
ALL_LABELS = [
    labels
    for count in (1, 2, 3)
    for labels in itertools.product(LABELS, repeat=count)
    if all(labels.count(letter) < 2 for letter in "tcz")
]


@pytest.mark.parametrize("labels", ALL_LABELS, ids="-".join)
def test_labels_are_kept_and_others_keep_the_order_of_ome(viewer, tmp_path, labels):
    """Without a label: Z, T and Z, or T, C and Z, and no axis in the place of another."""
    values = np.random.default_rng(0).integers(0, 99, (*(5, 4, 3)[: len(labels)], 8, 9), np.uint8)
    shown = [label or f"axis {i}" for i, label in enumerate(labels)]
    layer = Image(values, axis_labels=(*shown, "y", "x"))
    layer.save(str(tmp_path / "a.ome.tif"), plugin=PLUGIN)
    assert_valid_ome(tmp_path / "a.ome.tif")
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as file:
        axes = file.series[0].axes
        lengths = dict(zip(axes, file.series[0].shape, strict=True))
    free = [letter for letter in "ZTC" if letter.lower() not in labels][: labels.count("")]
    free.sort(key="TCZ".index)
    letters = [label.upper() or free.pop(0) for label in labels]
    assert lengths == dict(zip([*letters, "Y", "X"], values.shape, strict=True))
    back = np.transpose(
        tifffile.imread(tmp_path / "a.ome.tif"),
        [axes.index(a) for a in letters] + [len(axes) - 2, len(axes) - 1],
    )
    np.testing.assert_array_equal(back, values)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("signs", list(itertools.product([1, -1], repeat=3)))
@pytest.mark.parametrize("lazy", [False, True])
def test_what_a_negative_scale_mirrors_is_mirrored(viewer, tmp_path, suffix, signs, lazy):
    values = np.random.default_rng(0).integers(0, 99, (3, 8, 9), np.uint8)
    scale = np.multiply(signs, (2, 0.5, 0.25))
    layer = Image(da.from_array(values) if lazy else values, scale=scale, translate=(1, 2, 3))
    found = saved(layer, tmp_path, suffix)
    steps = tuple(slice(None, None, sign) for sign in signs)
    np.testing.assert_array_equal(found.data, values[steps])
    assert found.options["scale"] == (2, 0.5, 0.25)
    if suffix == ".ome.tif":
        assert_valid_ome(tmp_path / "saved.ome.tif")
        return
    # The pixel that was at a place is there again.
    first = [n - 1 if sign < 0 else 0 for n, sign in zip(values.shape, signs, strict=True)]
    np.testing.assert_allclose(found.options["translate"], layer.data_to_world(first))


TURNS = {
    "rotate": {"rotate": 30},
    "quarter": {"rotate": 90},
    "a little": {"rotate": 0.01},
    "shear": {"shear": [0.2]},
    "affine": {"affine": [[1, 0.1, 0], [0, 1, 0], [0, 0, 1]]},
    "affine turn": {"affine": [[0, 1, 0], [-1, 0, 0], [0, 0, 1]]},
}


@pytest.mark.parametrize("rgb", [False, True])
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("turn", TURNS)
def test_rotated_and_sheared_layers_are_not_saved_straight(viewer, tmp_path, suffix, turn, rgb):
    layer = Image(data.astronaut() if rgb else data.camera(), **TURNS[turn])
    with pytest.raises(ImageFileError, match="rotated or sheared"):
        saved(layer, tmp_path, suffix)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_half_a_turn_and_an_affine_scale_are_kept(viewer, tmp_path, suffix):
    values = data.camera()[:40, :60]
    place = {"affine": np.diag([3, 2, 1]), "scale": (0.5, 0.25), "units": ("um", "um")}
    found = saved(Image(values, rotate=180, **place), tmp_path, suffix)
    np.testing.assert_array_equal(found.data, values[::-1, ::-1])
    np.testing.assert_allclose(found.options["scale"], (1.5, 0.5))


def test_what_the_formats_have_no_place_for_is_refused_in_words(viewer, tmp_path):
    with pytest.raises(ImageFileError, match="more axes"):
        saved(Image(np.zeros((1, 1, 1, 1, 4, 4))), tmp_path, ".ome.tif")
    with pytest.raises(ImageFileError, match="type bool"):
        saved(Image(np.eye(4, dtype=bool)), tmp_path, ".ome.tif")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("colormap", ["gray", "magenta", "green", "bop orange"])
def test_how_a_layer_is_shown_is_kept(viewer, tmp_path, suffix, colormap):
    layer = Image(data.camera(), colormap=colormap, contrast_limits=(7, 99), name="cells")
    layer.save(str(tmp_path / f"a{suffix}"), plugin=PLUGIN)
    expected = "".join(f"{round(255 * float(c)):02X}" for c in layer.colormap.colors[-1][:3])
    (channel,) = shown_as(tmp_path / f"a{suffix}")
    assert channel["label"] == "cells"
    assert channel["color"] == expected
    if suffix == ".ome.zarr":
        assert (channel["window"]["start"], channel["window"]["end"]) == (7, 99)


def shown_as(path):
    """Names and colours of channels, as other programs find them."""
    if path.suffix == ".zarr":
        return zarr.open_group(path, mode="r").attrs["ome"]["omero"]["channels"]
    with tifffile.TiffFile(path) as file:
        xml = file.ome_metadata
    ome_types.validate_xml(xml)
    channels = ome_types.from_xml(xml).images[0].pixels.channels
    colours = [c.color.as_rgb_tuple(alpha=False) for c in channels]
    return [
        {"label": c.name, "color": "".join(f"{value:02X}" for value in colour)}
        for c, colour in zip(channels, colours, strict=True)
    ]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("axes", [(), (3,), (2, 3)])
def test_several_layers_become_channels_of_one_file(viewer, tmp_path, suffix, lazy, axes):
    rng = np.random.default_rng(0)
    scale = (*(2, 3)[: len(axes)], 0.5, 0.5)
    values = {c: rng.integers(0, 99, (*axes, 8, 9), np.uint16) for c in ("red", "green", "cyan")}
    for colour, array in values.items():
        layer = Image(da.from_array(array) if lazy else array, scale=scale)
        layer.name, layer.colormap, layer.units = f"in {colour}", colour, ("um",) * len(scale)
        viewer.add_layer(layer)
    viewer.layers.save(str(tmp_path / f"a{suffix}"), plugin=PLUGIN)
    found = read_layer_image(tmp_path / f"a{suffix}")
    for channel, array in zip(found.channels, values.values(), strict=True):
        np.testing.assert_array_equal(channel, array)
    assert found.options["scale"][-2:] == (0.5, 0.5)
    channels = shown_as(tmp_path / f"a{suffix}")
    assert [c["label"] for c in channels] == ["in red", "in green", "in cyan"]
    assert [c["color"] for c in channels] == ["FF0000", "00FF00", "00FFFF"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": np.zeros((8, 10), np.uint8)}, "differ in shape or type"),
        ({"data": np.zeros((8, 9), np.uint16)}, "differ in shape or type"),
        ({"scale": (2, 1)}, "in different places"),
        ({"translate": (2, 1)}, "in different places"),
        ({"data": np.zeros((8, 9, 3), np.uint8), "rgb": True}, "layers with colours"),
        ({"rotate": 10}, "rotated or sheared"),
    ],
)
def test_layers_that_are_no_channels_are_refused(viewer, tmp_path, change, message):
    for options in ({}, change):
        viewer.add_image(**{"data": np.zeros((8, 9), np.uint8), **options})
    with pytest.raises(ImageFileError, match=message):
        viewer.layers.save(str(tmp_path / "a.ome.tif"), plugin=PLUGIN)
    assert not list(tmp_path.iterdir())
