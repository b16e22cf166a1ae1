"""OME-Zarr images read and written again: what is kept."""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numcodecs import Blosc
from ome_zarr.format import FormatV04, FormatV05
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
from ome_zarr.writer import write_image
from tests.io.conftest import CAMERA, STACK, changed, copied, enlarged, ome_of, written
from zarr.codecs import BloscCodec, Crc32cCodec

from napari_rednet.errors import ImageFileError
from napari_rednet.io import ome_zarr
from napari_rednet.io.ome_zarr import read_ome_zarr


def test_everything_that_describes_an_image_is_kept(source, tmp_path, version):
    first = read_ome_zarr(source)
    again = copied(source, tmp_path / "out.ome.zarr")
    assert (again.version, again.zarr_format) == (version, 2 if version == "0.4" else 3)
    kept = ("axes", "scale", "translation", "units", "omero", "name", "chunks", "factors", "levels")
    for name in kept:
        assert getattr(again, name) == getattr(first, name), name
    assert (again.axes, again.channel_axis, again.is_rgb) == ("CZYX", 0, False)
    assert again.channel_names == ["DAPI", "GFP"]
    assert again.channel_colors == ["0000FF", "00FF00"]
    assert again.compressors == first.compressors
    assert again.data.dtype == STACK.dtype
    np.testing.assert_array_equal(again.data[...], STACK)


def test_reading_loads_no_pixels(source):
    assert isinstance(read_ome_zarr(source).data, zarr.Array)


def test_the_reference_reader_finds_what_was_written(source, tmp_path):
    copied(source, tmp_path / "out.zarr", 2)
    (node,) = Reader(parse_url(tmp_path / "out.zarr"))()
    assert [level.shape for level in node.data] == [(2, 3, 602, 804), (2, 3, 301, 402)]
    assert [axis["name"] for axis in node.metadata["axes"]] == list("czyx")
    assert node.metadata["channel_names"] == ["DAPI", "GFP"]
    assert node.metadata["contrast_limits"] == [[10, 60000]] * 2
    (scale, translation), _ = node.metadata["coordinateTransformations"]
    assert scale["scale"] == pytest.approx([1, 0.5, 0.055, 0.06])
    assert translation["translation"] == pytest.approx([0, 0, -0.0275, -0.03])
    np.testing.assert_array_equal(node.data[0][1, 2], enlarged(STACK[1, 2], 2))


def test_the_written_files_obey_the_specification(source, tmp_path, version):
    name = f"ome_zarr_models.v{version.replace('.', '')}.image"
    models = pytest.importorskip(name, reason="comes with ome-zarr >= 0.18")
    copied(source, tmp_path / "out.zarr")
    model = models.ImageAttrs.model_validate(ome_of(tmp_path / "out.zarr"))
    assert [dataset.path for dataset in model.multiscales[0].datasets] == ["0", "1"]


@pytest.mark.parametrize("rules", [FormatV04(), FormatV05()], ids=str)
def test_files_of_the_reference_implementation_are_read(tmp_path, rules):
    path = tmp_path / "in.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=rules.zarr_format)
    write_image(STACK[0], group, axes="zyx", fmt=rules, storage_options={"chunks": (1, 64, 64)})
    image = read_ome_zarr(path)
    assert (image.axes, image.version) == ("ZYX", rules.version)
    assert image.levels > 1
    assert set(image.factors) == {(1, 2, 2)}
    np.testing.assert_array_equal(image.data[...], STACK[0])


def test_transformations_are_combined_in_their_order(tmp_path):
    path = written(tmp_path / "in.zarr", [STACK[0]], "zyx")

    def change(attributes):
        multiscale = attributes["multiscales"][0]
        multiscale["datasets"][0]["coordinateTransformations"] = [
            {"type": "scale", "scale": [2, 3, 4]},
            {"type": "translation", "translation": [10, 20, 30]},
        ]
        multiscale["coordinateTransformations"] = [
            {"type": "scale", "scale": [0.5, 0.1, 10]},
            {"type": "translation", "translation": [1, 2, 3]},
        ]

    image = read_ome_zarr(changed(path, change))
    assert image.scale == pytest.approx((1, 0.3, 40))
    assert image.translation == pytest.approx((6, 4, 303))
    again = copied(path, tmp_path / "out.zarr")
    assert (again.scale, again.translation) == (image.scale, image.translation)
    assert "coordinateTransformations" not in ome_of(tmp_path / "out.zarr")["multiscales"][0]


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_all_levels_and_enlarged_images_cover_the_same_field(source, tmp_path, scale):
    """The outer edges of the first pixels of all levels are the same place."""
    first = read_ome_zarr(source)
    copied(source, tmp_path / "out.zarr", scale)
    edges = [t - s / 2 for t, s in zip(first.translation, first.scale, strict=True)]
    for dataset in ome_of(tmp_path / "out.zarr")["multiscales"][0]["datasets"]:
        steps = dataset["coordinateTransformations"]
        places = zip(steps[1]["translation"], steps[0]["scale"], strict=True)
        assert [t - s / 2 for t, s in places] == pytest.approx(edges)


def test_enlarged_images_keep_chunks_and_levels(source, tmp_path):
    first = read_ome_zarr(source)
    again = copied(source, tmp_path / "out.zarr", 2)
    assert again.data.shape == (2, 3, 602, 804)
    assert (again.chunks, again.factors) == (first.chunks, first.factors)


STORAGES = {
    "0.4": {
        "chunks": (1, 2, 70, 50),
        "compressors": Blosc("lz4", 3),
        "order": "F",
        "fill_value": 7,
        "chunk_key_encoding": {"name": "v2", "separator": "."},
    },
    "0.5": {
        "chunks": (1, 1, 32, 64),
        "shards": (1, 3, 128, 128),
        "compressors": [BloscCodec(cname="lz4", clevel=3), Crc32cCodec()],
        "fill_value": 7,
    },
}


def test_the_way_of_storing_is_kept(tmp_path, version):
    levels = [STACK, STACK[..., ::2, ::2]]
    path = written(tmp_path / "in.zarr", levels, "czyx", version=version, **STORAGES[version])
    first, again = read_ome_zarr(path), copied(path, tmp_path / "out.zarr")
    assert (again.chunks, again.shards) == (first.chunks, first.shards)
    assert again.chunks == STORAGES[version]["chunks"]
    assert again.shards == STORAGES[version].get("shards")
    assert again.compressors == first.compressors
    assert "lz4" in str(again.compressors)
    before, after = (
        zarr.open_array(p, mode="r").metadata for p in (path / "s0", tmp_path / "out.zarr/0")
    )
    assert after.to_dict() == before.to_dict() | (
        {} if version == "0.4" else {"dimension_names": tuple("czyx")}
    )
    np.testing.assert_array_equal(again.data[...], STACK)


@pytest.mark.parametrize("dtype", ["uint8", ">u2", "int32", ">f4", "float64"])
def test_dtypes_are_kept(tmp_path, version, dtype):
    image = CAMERA.astype(dtype)
    path = written(tmp_path / "in.zarr", [image], "yx", version=version)
    again = copied(path, tmp_path / "out.zarr")
    assert again.data.dtype == read_ome_zarr(path).data.dtype
    np.testing.assert_array_equal(again.data[...], image)


@given(
    axes=st.sampled_from(["yx", "zyx", "tyx", "cyx", "tcyx", "czyx", "tczyx"]),
    sizes=st.tuples(*[st.integers(1, 4)] * 3, *[st.integers(1, 40)] * 2),
    chunks=st.tuples(*[st.integers(1, 3)] * 3, *[st.integers(1, 50)] * 2),
    version=st.sampled_from(["0.4", "0.5"]),
    scale=st.integers(1, 2),
)
@settings(max_examples=12)
def test_any_axes_shapes_and_chunks_survive(axes, sizes, chunks, version, scale):
    image = np.resize(CAMERA[200:], sizes[-len(axes) :])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "in.zarr"
        coarse = image[..., ::2, ::2]
        written(path, [image, coarse], axes, version=version, chunks=chunks[-len(axes) :])
        first, again = read_ome_zarr(path), copied(path, Path(folder) / "out.zarr", scale)
        assert (again.axes, again.chunks) == (axes.upper(), first.chunks)
        assert again.levels == first.levels == 2
        np.testing.assert_array_equal(again.data[...], enlarged(image, scale))


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_bare_arrays_stay_bare(tmp_path, zarr_format):
    path = tmp_path / "in.zarr"
    array = zarr.create_array(
        path, shape=STACK.shape, dtype=STACK.dtype, chunks=(1, 1, 100, 100),
        zarr_format=zarr_format, attributes={"microscope": "the old one"},
    )  # fmt: skip
    array[...] = STACK
    again = copied(path, tmp_path / "out.zarr", 2)
    assert (again.axes, again.version, again.zarr_format) == ("QQYX", None, zarr_format)
    assert (again.channel_axis, again.units, again.omero) == (None, (None,) * 4, None)
    assert again.scale == (1, 1, 1, 1)
    assert isinstance(zarr.open(tmp_path / "out.zarr", mode="r"), zarr.Array)
    assert dict(again.data.attrs) == {"microscope": "the old one"}
    np.testing.assert_array_equal(again.data[...], enlarged(STACK, 2))


def test_missing_packages_are_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ome_zarr", None)
    with pytest.raises(ImageFileError, match=r"pip install 'napari-rednet\[zarr\]'"):
        read_ome_zarr(tmp_path / "in.zarr")
    monkeypatch.undo()
    monkeypatch.setattr(zarr, "__version__", "2.18.7")
    with pytest.raises(ImageFileError, match=r"napari-rednet\[zarr\].*2\.18\.7 is too old"):
        read_ome_zarr(tmp_path / "in.zarr")


def test_importing_loads_neither_zarr_nor_ome_zarr():
    program = (
        f"import sys; import {ome_zarr.__name__}; "
        "sys.exit(any(m in sys.modules for m in ('zarr', 'ome_zarr', 'dask')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
