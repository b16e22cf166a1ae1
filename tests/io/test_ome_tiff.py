"""A file named .ome.tif has OME-XML, whatever it comes from."""

from xml.etree import ElementTree as ET

import numpy as np
import pytest
import tifffile
from skimage import data
from tests.conftest import small_model
from tests.io.foreign import copied, gray_tags, raw_tiff
from tests.test_cli import call

from napari_rednet.errors import ImageFileError
from napari_rednet.io import image_writer, read_image

GRAY = data.camera()[:40, :48]
STACK = np.stack([GRAY, GRAY[::-1], GRAY[:, ::-1]])
COLOURS = data.astronaut()[:40, :48]
IMAGEJ = {"imagej": True, "resolution": (5, 4)}
CALIBRATION = {"unit": "um", "spacing": 0.7, "finterval": 3}
RAMP = np.linspace(0, 65535, 256).astype(np.uint16)


def plain(values, **options):
    return values, {"photometric": "minisblack", "metadata": None, **options}


# Pixels, how they are written, and what OME-XML must say of them.
SOURCES = {
    "a plane": (*plain(GRAY), {"SizeZ": 1}),
    "pages": (*plain(STACK), {"SizeZ": 3, "SizeC": 1}),
    "tifffile": (STACK, {"photometric": "minisblack"}, {"SizeZ": 3}),
    "named axes": (STACK, {"photometric": "minisblack", "metadata": {"axes": "TYX"}}, {"SizeT": 3}),
    "described": (*plain(GRAY, description="by hand & <eye>"), {}),
    "described in µm": (*plain(GRAY, description="5 µm".encode()), {}),
    "inches": (*plain(GRAY, resolution=(254, 127), resolutionunit="INCH"),
               {"PhysicalSizeX": 100.0, "PhysicalSizeY": 200.0, "PhysicalSizeXUnit": "µm"}),
    "ImageJ": (STACK, {**IMAGEJ, "metadata": {"axes": "ZYX", **CALIBRATION}},
               {"SizeZ": 3, "PhysicalSizeX": 0.2, "PhysicalSizeY": 0.25, "PhysicalSizeZ": 0.7,
                "PhysicalSizeXUnit": "µm"}),
    "ImageJ film": (STACK, {**IMAGEJ, "metadata": {"axes": "TYX", **CALIBRATION}},
                    {"SizeT": 3, "TimeIncrement": 3.0, "TimeIncrementUnit": "s"}),
    "colours": (COLOURS, {"photometric": "rgb"}, {"SizeC": 3}),
    "colours in planes": (np.moveaxis(COLOURS, -1, 0),
                          {"photometric": "rgb", "planarconfig": "separate"}, {"SizeC": 3}),
    "samples": (COLOURS[..., :2], {"photometric": "minisblack", "planarconfig": "contig"},
                {"SizeC": 2}),
    "white is zero": (GRAY, {"photometric": "miniswhite"}, {}),
    "palette": (GRAY, {"photometric": "palette", "colormap": np.stack([RAMP] * 3)}, {}),
    "turned": (*plain(GRAY, extratags=[(274, 3, 1, 6, False)]), {}),
    **{dtype: (*plain(GRAY.astype(dtype)), {}) for dtype in ("int8", "uint32", "float64", ">i2")},
}  # fmt: skip


def pixels_of(path):
    """Attributes of the only image, checked against what the file holds."""
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        (image,) = ET.fromstring(file.ome_metadata).iterfind("{*}Image")
        (pixels,) = image.iterfind("{*}Pixels")
        number = int(pixels.get("SizeT")) * int(pixels.get("SizeC")) * int(pixels.get("SizeZ"))
        assert number == len(file.pages) * page.samplesperpixel
        size = int(pixels.get("SizeX")), int(pixels.get("SizeY"))
        assert size == (page.imagewidth, page.imagelength)
    return pixels.attrib, image


@pytest.mark.parametrize("kind", SOURCES)
def test_any_tiff_becomes_an_ome_tiff(tmp_path, kind):
    values, options, expected = SOURCES[kind]
    byteorder = values.dtype.byteorder if values.dtype.byteorder == ">" else None
    tifffile.imwrite(tmp_path / "in.tif", values, byteorder=byteorder, **options)
    copied(tmp_path / "in.tif", tmp_path / "out.ome.tif")
    found, image = pixels_of(tmp_path / "out.ome.tif")
    for key, value in expected.items():
        assert type(value)(found[key]) == pytest.approx(value), key
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.ome.tif"), values)
    with (
        tifffile.TiffFile(tmp_path / "in.tif") as one,
        tifffile.TiffFile(tmp_path / "out.ome.tif") as other,
    ):
        tags = [
            {k: f.pages.first.tags.valueof(k) for k in (262, 274, 320, 338)} for f in (one, other)
        ]
        np.testing.assert_equal(*tags)
    if "description" in options:
        told = options["description"]
        told = told.decode() if isinstance(told, bytes) else told
        assert image.findtext("{*}Description") == told


@pytest.mark.parametrize("dtype", ["float16", "int64", "uint64"])
@pytest.mark.parametrize("suffix", [".ome.tif", ".OME.TIFF"])
def test_a_type_that_ome_does_not_know_is_refused(tmp_path, dtype, suffix):
    tifffile.imwrite(tmp_path / "in.tif", GRAY.astype(dtype))
    image = read_image(tmp_path / "in.tif")
    with (
        pytest.raises(
            ImageFileError, match=f"no pixels of the type {dtype}; write a .tif or .zarr"
        ),
        image_writer(tmp_path / f"out{suffix}", image),
    ):
        pytest.fail("written without OME-XML")
    copied(tmp_path / "in.tif", tmp_path / "out.tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), GRAY.astype(dtype))


def test_the_command_writes_it(tmp_path):
    small_model("denoise").save(tmp_path / "tiny.safetensors")
    model = ("--model", tmp_path / "tiny.safetensors")
    tifffile.imwrite(tmp_path / "in.tif", STACK, **IMAGEJ, metadata={"axes": "ZYX", **CALIBRATION})
    code, text = call("denoise", tmp_path / "in.tif", tmp_path / "out.ome.tif", *model)
    assert code == 0, text
    assert pixels_of(tmp_path / "out.ome.tif")[0]["SizeZ"] == "3"
    options = ("--dtype", "float32", *model)
    code, text = call("denoise", tmp_path / "in.tif", tmp_path / "float.ome.tif", *options)
    assert code == 0, text
    assert pixels_of(tmp_path / "float.ome.tif")[0]["Type"] == "float"


DESCRIPTIONS = {
    "µ in UTF-8": "0.2 µm".encode(),
    "µ in Latin-1": "0.2 µm".encode("latin-1"),
    "Japanese": "細胞".encode("shift-jis"),
    "no text": bytes(range(1, 256)),
    "lines": b"a\r\nb\n\n",
    "ImageJ, µ in UTF-8": "ImageJ=1.54f\nunit=µm\nspacing=0.2\n".encode(),
    "ImageJ, µ in Latin-1": "ImageJ=1.54f\nunit=µm\nspacing=0.2\n".encode("latin-1"),
    "ImageJ, µ escaped": b"ImageJ=1.54f\nunit=\\u00B5m\nspacing=0.2\n",
    "ImageJ, Greek": "ImageJ=1.54f\nunit=μm\nInfo=α\n".encode(),
    "ImageJ, odd bytes": b"ImageJ=1.54f\nunit=\x81\xff\xfem\nspacing=0.2\n",
    "not OME": b"<?xml version='1.0'?><OME>\xb5</OME>",
}


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif"])
@pytest.mark.parametrize("kind", DESCRIPTIONS)
def test_bytes_in_descriptions_are_no_reason_to_fail(tmp_path, kind, suffix):
    text = DESCRIPTIONS[kind]
    tags = gray_tags(*GRAY.shape, t270=(2, text + b"\0"))
    raw_tiff(tmp_path / "in.tif", tags, [GRAY.tobytes()])
    image = copied(tmp_path / "in.tif", tmp_path / f"out{suffix}")
    np.testing.assert_array_equal(image.data, GRAY)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / f"out{suffix}"), GRAY)
    if suffix == ".tif" and not text.startswith((b"ImageJ", b"<?xml", b"{")):
        assert text in (tmp_path / "out.tif").read_bytes()
