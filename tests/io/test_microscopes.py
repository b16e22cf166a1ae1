"""Files of microscopes: TIFF by other names, Zarr in a zip file, and what bioio reads."""

import struct
import sys
import types
from zipfile import ZipFile

import dask.array as da
import numpy as np
import ome_types
import pytest
import tifffile
import zarr
from skimage import data
from tests.conftest import small_model
from tests.io.conftest import written
from tests.io.foreign import copied, packed, raw_tiff
from tests.io.test_tiff_metadata import rich_ome
from tests.test_cli import call

import napari_rednet as nr
from napari_rednet.batch import plan_batch
from napari_rednet.errors import ImageFileError
from napari_rednet.io import described_for, image_writer, read_image, remark_on
from napari_rednet.io.sources import Reading
from napari_rednet.io.tiff.description import vendor_options

CAMERA = data.camera()[:48, :64]
STACK = np.stack([np.roll(CAMERA, 3 * i, 1) for i in range(12)]).reshape(2, 3, 2, 48, 64)


def write_lsm(path, values, thumbnails=True):
    """As Zeiss does it: samples are channels, every second page is a thumbnail; (T, Z, C, Y, X)."""
    times, slices, channels, height, width = values.shape
    known = {
        "MagicNumber": 67127628, "DimensionX": width, "DimensionY": height, "DimensionZ": slices,
        "DimensionChannels": channels, "DimensionTime": times, "DataType": 1,
        "VoxelSizeX": 1.5e-7, "VoxelSizeY": 1.5e-7, "VoxelSizeZ": 4e-7,
        "ScanType": 6, "TimeIntervall": 2.5,
    }  # fmt: skip
    codes = {"u4": "I", "i4": "i", "f8": "d", "u2": "H", "i2": "h"}
    fields = [f for f in tifffile.TIFF.CZ_LSMINFO if f[1] in codes][:24]
    known["StructureSize"] = sum(struct.calcsize(f"<{codes[kind]}") for _, kind in fields)
    blob = b"".join(struct.pack(f"<{codes[kind]}", known.get(name, 0)) for name, kind in fields)
    with tifffile.TiffWriter(path, byteorder="<") as file:
        for number, page in enumerate(values.reshape(-1, channels, height, width)):
            tags = [(34412, 1, len(blob), blob, True)] if number == 0 else []
            file.write(
                page,
                photometric="rgb" if channels == 3 else "minisblack",
                planarconfig="separate" if channels > 1 else None,
                metadata=None,
                contiguous=False,
                extratags=tags,
            )
            if thumbnails:
                small = np.ascontiguousarray(page[:, ::4, ::4])
                plain = {"photometric": "minisblack", "metadata": None, "contiguous": False}
                plain["planarconfig"] = "separate" if channels > 1 else None
                file.write(small, subfiletype=1, **plain)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_lsm_files_are_channels_with_their_sizes(tmp_path, channels):
    values = np.concatenate([STACK, STACK], 2)[:, :, :channels]
    write_lsm(tmp_path / "in.lsm", values)
    image = copied(tmp_path / "in.lsm", tmp_path / "out.ome.tif")
    np.testing.assert_array_equal(np.asarray(image.data).reshape(values.shape), values)
    assert not image.is_rgb
    with tifffile.TiffFile(tmp_path / "out.ome.tif") as file:
        ome_types.validate_xml(file.ome_metadata)
        pixels = ome_types.from_xml(file.ome_metadata).images[0].pixels
        np.testing.assert_array_equal(file.asarray().reshape(values.shape), values)
    assert (pixels.size_t, pixels.size_z, pixels.size_c) == (2, 3, channels)
    assert pixels.physical_size_x == pytest.approx(0.15)
    assert pixels.physical_size_z == pytest.approx(0.4)
    assert pixels.time_increment == 2.5


def test_colours_of_lsm_files_and_units_of_stk_files_are_translated():
    colours = {"Colors": [[255, 0, 0, 0], [0, 128, 255, 0]], "ColorNames": ["A", "B"]}
    file = types.SimpleNamespace(lsm_metadata={"VoxelSizeX": 1e-7, "ChannelColors": colours})
    found = vendor_options(file, types.SimpleNamespace(kind="lsm"), "CYX")["metadata"]
    assert found["Channel"]["Name"] == ["A", "B"]
    assert [n & 0xFFFFFFFF for n in found["Channel"]["Color"]] == [0xFF0000FF, 0x0080FFFF]
    assert found["PhysicalSizeX"] == pytest.approx(0.1)
    told = {"XCalibration": 0.2, "YCalibration": 0.3, "ZDistance": np.array([0.5, 0.5])}
    for unit, sizes in (("um", [0.2, 0.3, 0.5]), ("pixel", [None] * 3)):
        file = types.SimpleNamespace(stk_metadata={**told, "CalibrationUnits": unit})
        found = vendor_options(file, types.SimpleNamespace(kind="stk"), "ZYX")["metadata"]
        assert [found.get(f"PhysicalSize{axis}") for axis in "XYZ"] == sizes


def test_stk_files_have_all_their_planes(tmp_path):
    """As MetaMorph does it: one page, and the planes one after the other."""
    planes = np.ascontiguousarray(STACK[0, :, 0])
    rest = struct.pack("<6I", 1, 1, 0, 0, 0, 0)
    height, width = planes.shape[1:]
    tags = {
        256: (4, [width]), 257: (4, [height]), 258: (3, [8]), 259: (3, [1]), 262: (3, [1]),
        273: (4, [0]), 277: (3, [1]), 278: (4, [height]), 279: (4, [width * height]),
        33628: (5, packed(4, [1, 2] * 3), 3), 33629: (5, rest * 3, 3),
    }  # fmt: skip
    raw_tiff(tmp_path / "in.stk", tags, [planes.tobytes()])
    image = copied(tmp_path / "in.stk", tmp_path / "out.ome.tif")
    np.testing.assert_array_equal(image.data, planes)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.ome.tif"), planes)


APERIO = "Aperio Image Library v11.2\r\n640x480 (64x64) JPEG/RGB Q=70|AppMag = 20|MPP = 0.4990"


def write_svs(path):
    coffee = data.coffee()[:256, :320]
    options = {"photometric": "rgb", "metadata": None, "contiguous": False}
    with tifffile.TiffWriter(path) as file:
        file.write(coffee, tile=(64, 64), compression="jpeg", description=APERIO, **options)
        file.write(coffee[::8, ::8], description=APERIO, **options)
        file.write(coffee[::4, ::4], tile=(64, 64), description=APERIO, subfiletype=1, **options)
        file.write(coffee[::8, ::8], subfiletype=1, description="label", **options)
    return coffee


def test_slides_are_their_finest_level_with_its_size(tmp_path):
    coffee = write_svs(tmp_path / "in.svs")
    image = described_for(tmp_path / "out.ome.tif", read_image(tmp_path / "in.svs"))
    with image_writer(tmp_path / "out.ome.tif", image, 2) as out:
        out[...] = np.asarray(image.data).repeat(2, 0).repeat(2, 1)
    assert image.data.shape == coffee.shape
    with tifffile.TiffFile(tmp_path / "out.ome.tif") as file:
        pixels = ome_types.from_xml(file.ome_metadata).images[0].pixels
        assert file.pages[0].is_tiled
    assert pixels.physical_size_x == pytest.approx(0.2495)
    assert "AppMag = 20" in image.options["metadata"]["Description"]


@pytest.mark.parametrize("name", ["in.btf", "in.ome.btf"])
def test_big_files_stay_big(tmp_path, name):
    tifffile.imwrite(tmp_path / name, STACK[0, 0], bigtiff=True, ome=".ome." in name)
    copied(tmp_path / name, tmp_path / name.replace("in", "out"))
    with tifffile.TiffFile(tmp_path / name.replace("in", "out")) as file:
        assert file.is_bigtiff
        assert file.is_ome == (".ome." in name)
        np.testing.assert_array_equal(file.asarray(), STACK[0, 0])


@pytest.mark.parametrize("inside", ["", "a.zarr/"])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_zarr_in_a_zip_file_is_read(tmp_path, inside, version):
    path = written(tmp_path / "a.zarr", [STACK[0, 0]], "zyx", version=version)
    with ZipFile(tmp_path / "in.zarr.zip", "w") as file:
        for part in sorted(path.rglob("*")):
            if part.is_file():
                file.write(part, inside + part.relative_to(path).as_posix())
    small_model("denoise").save(tmp_path / "tiny.safetensors")
    model = ("--model", tmp_path / "tiny.safetensors")
    code, text = call("denoise", tmp_path / "in.zarr.zip", "-o", tmp_path / "out", *model)
    assert code == 0, text
    expected = nr.denoise(STACK[0, 0], model=model[1])
    found = zarr.open_group(tmp_path / "out/in.zarr", mode="r")["0"][...]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.lsm", "a.ome.tif"), ("b.STK", "b.ome.tif"), ("c.svs", "c.ome.tif"),
        ("d.czi", "d.ome.tif"),
        ("e.nd2", "e.ome.tif"), ("f.btf", "f.btf"), ("g.tif", "g.tif"), ("h.PNG", "h.PNG"),
        ("i.zarr.zip", "i.zarr"),
    ],
)  # fmt: skip
def test_results_have_names_of_formats_that_are_written(tmp_path, name, expected):
    (tmp_path / "in/sub").mkdir(parents=True)
    (tmp_path / "in/sub" / name).touch()
    (file,) = plan_batch([tmp_path / "in"], tmp_path / "out")
    assert file.name == f"sub/{expected}"
    (file,) = plan_batch([tmp_path / "in/sub" / name], tmp_path / "out")
    assert file.name == expected


def test_results_of_one_name_are_refused(tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a.czi", "a.ome.tif"):
        (tmp_path / "in" / name).touch()
    with pytest.raises(ImageFileError, match="would both be written"):
        plan_batch([tmp_path / "in"], tmp_path / "out")


class UnsupportedFileFormatError(Exception):
    pass


class BioImage:
    """What bioio shows of a file, here of TIFF pages in it, a scene each; none is read at once."""

    read = 0

    def __init__(self, path):
        if path.suffix not in (".czi", ".xyz"):
            raise UnsupportedFileFormatError(path)
        with tifffile.TiffFile(path) as file:
            self.arrays = [series.asarray() for series in file.series]
        self.scenes = tuple(f"Position {i}" for i in range(len(self.arrays)))
        self.set_scene(0)

    def set_scene(self, number):
        array = self.arrays[number]

        def plane(block_info=None):
            BioImage.read += 1
            starts = [start for start, _ in block_info[None]["array-location"]]
            return array[tuple(starts[:3])][None, None, None]

        chunks = (*((1,) * n for n in array.shape[:3]), *((n,) for n in array.shape[3:]))
        self.dask_data = da.map_blocks(plane, chunks=chunks, dtype=array.dtype, meta=array[:0])
        order = "TCZYXS" if array.ndim == 6 else "TCZYX"
        self.dims = types.SimpleNamespace(order=order)
        self.physical_pixel_sizes = types.SimpleNamespace(Z=0.5, Y=0.25, X=0.2)
        self.channel_names = [f"dye {c}" for c in range(array.shape[1])]

    @property
    def ome_metadata(self):
        if len(self.arrays) > 1:
            raise NotImplementedError
        return rich_ome(self.arrays[0].shape, "uint8")


@pytest.fixture
def bioio(monkeypatch):
    module = types.ModuleType("bioio")
    module.BioImage = BioImage
    module.__spec__ = types.SimpleNamespace(name="bioio")
    monkeypatch.setitem(sys.modules, "bioio", module)


SCENES = [np.swapaxes(STACK, 1, 2), np.swapaxes(STACK, 1, 2)[::-1, :1, :, ::-1]]


def write_scenes(path, scenes):
    with tifffile.TiffWriter(path) as file:
        for scene in scenes:
            file.write(scene, photometric="minisblack", contiguous=False)
    return path


def test_what_bioio_reads_is_restored_with_its_metadata(tmp_path, bioio):
    write_scenes(tmp_path / "in.czi", SCENES[:1])
    small_model("denoise").save(tmp_path / "tiny.safetensors")
    model = ("--model", tmp_path / "tiny.safetensors", "--noise", 5)
    code, text = call("denoise", tmp_path / "in.czi", tmp_path / "out.ome.tif", *model)
    assert code == 0, text
    expected = nr.denoise(SCENES[0], noise=5, channel_axis=1, model=model[1])
    with tifffile.TiffFile(tmp_path / "out.ome.tif") as file:
        np.testing.assert_array_equal(file.asarray(), expected)
        ome_types.validate_xml(file.ome_metadata)
        (image,) = ome_types.from_xml(file.ome_metadata).images
    assert image.acquisition_date is not None
    code, text = call("denoise", tmp_path / "in.czi", tmp_path / "out.zarr", *model)
    assert code == 0, text
    assert np.isin(zarr.open_group(tmp_path / "out.zarr", mode="r")["0"][...], expected).all()


def test_all_scenes_are_restored(tmp_path, bioio):
    write_scenes(tmp_path / "in.czi", SCENES)
    image = read_image(tmp_path / "in.czi", 1)
    assert (image.axes, image.channel_axis) == ("TZYX", None)
    assert "image 1 of 2" in remark_on(image)
    np.testing.assert_array_equal(np.asarray(image.data), SCENES[1][:, 0])
    found = plan_batch([tmp_path / "in.czi"], tmp_path / "out", Reading(None))
    assert [file.name for file in found] == ["in-0.ome.tif", "in-1.ome.tif"]
    copied(tmp_path / "in.czi", tmp_path / "out.ome.tif", series=0)
    with tifffile.TiffFile(tmp_path / "out.ome.tif") as file:
        pixels = ome_types.from_xml(file.ome_metadata).images[0].pixels
    assert (pixels.physical_size_x, pixels.physical_size_z) == (0.2, 0.5)
    assert [c.name for c in pixels.channels] == ["dye 0", "dye 1"]
    with pytest.raises(ImageFileError, match="has 2 images, counted from 0, and none is 2"):
        read_image(tmp_path / "in.czi", 2)


def test_planes_are_read_when_they_are_needed(tmp_path, bioio):
    image = read_image(write_scenes(tmp_path / "in.czi", SCENES[:1]))
    BioImage.read = 0
    assert image.data.chunks == (1, 1, 1, 48, 64)  # what is read and kept at once
    image.data[1, 0, 2, :9]
    assert BioImage.read == 1
    turned = described_for(tmp_path / "out.zarr", image)
    assert BioImage.read == 1
    assert turned.data.chunks == (1, 1, 1, 48, 64)
    np.testing.assert_array_equal(np.asarray(turned.data[0, 1, 1]), SCENES[0][0, 1, 1])
    assert BioImage.read == 2


def test_colours_and_other_axes(tmp_path, bioio):
    coffee = data.coffee()[None, None, None, :48, :64]
    tifffile.imwrite(tmp_path / "in.xyz", coffee, photometric="rgb")
    image = copied(tmp_path / "in.xyz", tmp_path / "out.png")
    assert image.is_rgb
    assert read_image(tmp_path / "in.xyz", channel_axis=2).is_rgb is False


def test_without_bioio_or_a_reader_both_are_named(tmp_path, bioio, monkeypatch):
    for name in ("a.nd2", "b.txt"):
        (tmp_path / name).write_text("words")
    with pytest.raises(ImageFileError, match="bioio has no reader for it: pip install bioio-czi"):
        read_image(tmp_path / "a.nd2")
    (tmp_path / "c.czi").write_text("words")
    with pytest.raises(ImageFileError, match=r"c\.czi cannot be read: not a TIFF file"):
        read_image(tmp_path / "c.czi")
    monkeypatch.setitem(sys.modules, "bioio", None)  # as if it were not installed
    for name in ("a.nd2", "b.txt"):
        with pytest.raises(ImageFileError, match=r"need: pip install 'napari-rednet\[bioio\]'"):
            read_image(tmp_path / name)
