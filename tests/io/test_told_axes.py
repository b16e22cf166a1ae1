"""Axes that users tell, in files that tell none or others."""

import json

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import small_model
from tests.io.conftest import written
from tests.io.foreign import copied
from tests.test_cli import call

import napari_rednet as nr
from napari_rednet.errors import ImageFileError
from napari_rednet.io import described_for, read_image
from napari_rednet.io.sources import told_axes


@pytest.fixture
def stack(camera):
    """(2, 3, 40, 50), with a second channel, at axis 1, that is much noisier than the others."""
    rng = np.random.default_rng(0)
    planes = np.stack([[camera[i : i + 40, j : j + 50] for j in range(3)] for i in range(2)])
    noise = rng.normal(0, np.array([2, 40, 9])[:, None, None], planes.shape)
    return (planes + noise + 200).clip(1, 999).astype(np.uint16)


FILES = ["plain.tif", "imagej.tif", "own.ome.tif", "bare.zarr", "own.zarr"]


def write(path, values, axes="TZYX"):
    if path.name == "bare.zarr":
        zarr.create_array(path, data=values, chunks=(1, 1, 20, 20))
    elif path.name == "own.zarr":
        units = ["second", "micrometer", "micrometer", "micrometer"]
        written(path, [values], axes.lower(), units=units, version="0.5")
    elif path.name == "plain.tif":
        tifffile.imwrite(path, values, photometric="minisblack", metadata=None)
    else:
        kind = {"imagej": True} if path.name == "imagej.tif" else {"ome": True}
        tifffile.imwrite(path, values, **kind, metadata={"axes": axes})
    return path


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("words", [("--axes", "QCYX"), ("--channel-axis", 1), ("--axes", "tcyx")])
def test_channels_have_a_noise_each(tmp_path, stack, name, words):
    """Whatever the file tells, or does not: the result is that of the function."""
    small_model("denoise").save(tmp_path / "tiny.safetensors")
    values = stack.reshape(-1, *stack.shape[-2:]) if name == "plain.tif" else stack
    if name == "plain.tif":  # pages are one axis, unless something describes them
        values, words = values[:3], {"tcyx": ("--axes", "CYX")}.get(words[1], ("--channel-axis", 0))
    source = write(tmp_path / name, values)
    target = tmp_path / f"out.{name.partition('.')[2]}"
    options = ("--model", tmp_path / "tiny.safetensors")
    code, text = call("denoise", source, target, *options, *words)
    assert code == 0, text
    axis = values.ndim - 3
    expected = nr.denoise(values, channel_axis=axis, model=tmp_path / "tiny.safetensors")
    np.testing.assert_array_equal(np.asarray(read_image(target).data), expected)
    assert np.abs(expected.astype(int) - nr.denoise(values, model=options[1])).max() > 1
    assert text.count("noise of channel") == 3


@pytest.mark.parametrize("name", ["imagej.tif", "own.ome.tif", "own.zarr"])
def test_results_tell_the_axes_that_were_told(tmp_path, stack, name):
    source, target = write(tmp_path / name, stack), tmp_path / f"out.{name.partition('.')[2]}"
    copied(source, target, axes="TCYX")
    if name.endswith("zarr"):
        (multiscale,) = zarr.open_group(target, mode="r").attrs["ome"]["multiscales"]
        units = ["second", None, "micrometer", "micrometer"]
        assert [axis["name"] for axis in multiscale["axes"]] == ["t", "c", "y", "x"]
        assert [axis.get("unit") for axis in multiscale["axes"]] == units
        assert multiscale["axes"][1]["type"] == "channel"
        return
    with tifffile.TiffFile(target) as file:
        assert file.series[0].axes == "TCYX"
        assert file.is_imagej == (name == "imagej.tif")
        assert file.is_ome == (name == "own.ome.tif")
        np.testing.assert_array_equal(file.asarray(), stack)


def test_what_imagej_has_no_place_for_is_told_without_it(tmp_path, stack):
    copied(write(tmp_path / "imagej.tif", stack), tmp_path / "out.tif", axes="CTYX")
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert not file.is_imagej
        assert file.series[0].axes == "CTYX"


def test_a_last_axis_may_be_channels_or_colours(tmp_path, stack):
    values = np.moveaxis(stack[0], 0, -1)
    tifffile.imwrite(tmp_path / "in.tif", values, photometric="minisblack")
    image = copied(tmp_path / "in.tif", tmp_path / "out.tif", axes="YXC")
    assert (image.axes, image.channel_axis, image.is_rgb) == ("YXC", 2, False)
    assert read_image(tmp_path / "in.tif", channel_axis=-1).axes == "YXC"
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        np.testing.assert_array_equal(file.asarray(), values)
        assert json.loads(file.pages[0].description)["axes"] == "YXC"
    image = copied(tmp_path / "in.tif", tmp_path / "colours.tif", axes="YXS")
    assert image.is_rgb
    with tifffile.TiffFile(tmp_path / "colours.tif") as file:
        assert file.pages[0].photometric == tifffile.PHOTOMETRIC.RGB
        np.testing.assert_array_equal(file.asarray(), values)


@pytest.mark.parametrize("axes", ["YXC", "YXS"])
@pytest.mark.parametrize("target", ["out.tif", "out.ome.tif", "out.png"])
def test_a_bare_zarr_may_have_samples(tmp_path, stack, axes, target):
    values = np.moveaxis(stack[0], 0, -1)
    zarr.create_array(tmp_path / "in.zarr", data=values, chunks=(20, 20, 3))
    image = read_image(tmp_path / "in.zarr", axes=axes)
    assert (image.channel_axis, image.is_rgb) == (2, axes == "YXS")
    if target == "out.png" and axes == "YXC":
        with pytest.raises(ImageFileError, match="no place for 3 channels"):
            described_for(tmp_path / target, image)
        return
    copied(tmp_path / "in.zarr", tmp_path / target, axes=axes)
    found = read_image(tmp_path / target)
    assert found.is_rgb == (axes == "YXS")
    np.testing.assert_array_equal(np.asarray(found.data), values)
    assert found.data.shape[found.channel_axis] == 3


def test_colours_may_be_channels(tmp_path, stack):
    values = np.moveaxis(stack[0], 0, -1).astype(np.uint8)
    tifffile.imwrite(tmp_path / "in.tif", values, photometric="rgb", imagej=True)
    image = copied(tmp_path / "in.tif", tmp_path / "out.tif", channel_axis=-1)
    assert not image.is_rgb
    assert image.channel_axis == 2
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert file.pages[0].photometric == tifffile.PHOTOMETRIC.MINISBLACK
        assert len(file.pages) == 1
        np.testing.assert_array_equal(file.asarray(), values)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"axes": "ZYX"}, "are 3, and the image has 4"),
        ({"axes": "TTYX"}, "each but Q once"),
        ({"axes": "TAYX"}, "must be letters of TCZYXSQ"),
        ({"axes": "SZYX"}, "colours .* are 3, or 4"),
        ({"axes": "YXZT"}, "its last ones must be Y and X"),
        ({"channel_axis": 4}, "must lie between -4 and 3"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, stack, options, message):
    for name in ("own.ome.tif", "bare.zarr"):
        write(tmp_path / name, stack)
        with pytest.raises(ImageFileError, match=message):
            read_image(tmp_path / name, **options)


@given(st.permutations("TZC"), st.integers(3, 5), st.data())
def test_channels_are_where_they_are_told_and_only_there(letters, count, data):
    own = "".join(letters)[: count - 2] + "YX"
    axis = data.draw(st.integers(-count, count - 1))
    found = told_axes(own, (7,) * count, None, axis)
    assert found[axis] == "C"
    assert found.count("C") == 1
    assert found.replace("C", "").endswith("YX")
    assert len(found) == count
