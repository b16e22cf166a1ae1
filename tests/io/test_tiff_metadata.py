"""What TIFF files tell besides their pixels is there again in what is made from them."""

import itertools
import struct

import numpy as np
import ome_types
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st
from ome_types import model as ome
from ome_types.model import Color
from PIL import Image
from tests.io.foreign import copied

from napari_rednet.io import described_for, image_writer, read_image, remark_on_result
from napari_rednet.io.tiff.description import finer_tags
from napari_rednet.io.tiff.ome import OmeSource, colour_number

STACK = (np.arange(2 * 3 * 4 * 20 * 24).reshape(2, 3, 4, 20, 24) % 60_000).astype(np.uint16)


def enlarged(source, target, scale, **reading):
    """The image of a file, every pixel `scale` times along Y and X."""
    image = described_for(target, read_image(source, **reading))
    with image_writer(target, image, scale) as out:
        values = np.asarray(image.data)
        for letter in "YX":
            values = values.repeat(scale, image.axes.index(letter))
        out[...] = values
    return image


def rich_ome(shape=STACK.shape, dtype="uint16", images=1):
    """An OME description with what microscopes write, of (T, C, Z, Y, X)."""
    times, channels, slices, height, width = shape
    count = times * channels * slices
    laser = ome.Laser(id="LightSource:0", wavelength=488, model="Blue")
    objective = ome.Objective(id="Objective:0", nominal_magnification=63, lens_na=1.4)
    detector = ome.Detector(id="Detector:0", gain=1.5)
    instrument = ome.Instrument(
        id="Instrument:0",
        microscope=ome.Microscope(manufacturer="A maker"),
        lasers=[laser],
        objectives=[objective],
        detectors=[detector],
    )
    note = ome.MapAnnotation(id="Annotation:0", value={"Stain": "Phalloidin 488, 1:200 – µ"})
    foreign = ome.XMLAnnotation(
        id="Annotation:1",
        value='<Key xmlns="http://a.maker.example/2020" a="1"><inner>text</inner></Key>',
    )

    def image(number):
        pixels = ome.Pixels(
            id=f"Pixels:{number}",
            dimension_order="XYZCT",
            type=dtype,
            size_x=width, size_y=height, size_z=slices, size_c=channels, size_t=times,
            physical_size_x=0.2, physical_size_y=0.21, physical_size_z=0.7,
            physical_size_x_unit="µm",
            significant_bits=12,
            channels=[
                ome.Channel(
                    id=f"Channel:{number}:{c}",
                    name=f"dye {c}",
                    color=Color(colour),
                    emission_wavelength=500 + c,
                    excitation_wavelength=450 + c,
                    detector_settings=ome.DetectorSettings(id="Detector:0", gain=2.0),
                    samples_per_pixel=1,
                )
                for c, colour in zip(range(channels), itertools.cycle(("red", "lime", "blue")))
            ],
            tiff_data_blocks=[
                ome.TiffData(ifd=number * count, plane_count=count)
            ],
            planes=[
                ome.Plane(
                    the_t=t, the_c=c, the_z=z,
                    exposure_time=0.1 * (c + 1), delta_t=t + z / 10,
                    position_x=11.0, position_y=12.0, position_z=float(z),
                )
                for t in range(times) for c in range(channels) for z in range(slices)
            ],
        )  # fmt: skip
        return ome.Image(
            id=f"Image:{number}",
            name=f"cells & more {number}",
            description="fixed, <third> wash",
            acquisition_date="2024-05-06T07:08:09",
            instrument_ref=ome.InstrumentRef(id="Instrument:0"),
            objective_settings=ome.ObjectiveSettings(id="Objective:0", refractive_index=1.51),
            imaging_environment=ome.ImagingEnvironment(temperature=37),
            annotation_refs=[ome.AnnotationRef(id="Annotation:0")],
            roi_refs=[ome.ROIRef(id="ROI:0")],
            pixels=pixels,
        )

    roi = ome.ROI(id="ROI:0", union=[ome.Rectangle(id="Shape:0", x=1, y=2, width=3, height=4)])
    return ome.OME(
        creator="A microscope",
        uuid="urn:uuid:b1f4bd5c-0000-4000-8000-000000000000",
        images=[image(i) for i in range(images)],
        instruments=[instrument],
        rois=[roi],
        structured_annotations=ome.StructuredAnnotations(
            map_annotations=[note], xml_annotations=[foreign]
        ),
    )


def write_ome(path, values=STACK, images=1, description=None):
    told = description or rich_ome(values.shape, values.dtype.name, images).to_xml()
    with tifffile.TiffWriter(path, ome=False) as file:
        for number in range(images):
            file.write(
                values,
                photometric="minisblack",
                description=told.encode() if number == 0 else None,
                metadata=None,
                contiguous=False,
            )
    return path


def told_by(path):
    """The OME description of a file, checked against the schema."""
    with tifffile.TiffFile(path) as file:
        xml = file.ome_metadata
        assert file.is_ome
        assert xml == file.pages[0].description
    ome_types.validate_xml(xml)
    return ome_types.from_xml(xml)


LEFT_ALONE = {"uuid", "images", "rois"}


@pytest.mark.parametrize("scale", [1, 3])
@pytest.mark.parametrize("name", ["out.ome.tif", "out.tif"])
def test_an_ome_description_is_edited_and_not_rewritten(tmp_path, scale, name):
    write_ome(tmp_path / "in.ome.tif")
    image = enlarged(tmp_path / "in.ome.tif", tmp_path / name, scale)
    before, after = told_by(tmp_path / "in.ome.tif"), told_by(tmp_path / name)
    assert after.creator == "A microscope"
    assert after.uuid is None
    assert after.instruments == before.instruments
    assert after.structured_annotations == before.structured_annotations
    (old,), (new,) = before.images, after.images
    for key in type(old).model_fields.keys() - {"pixels", "roi_refs"}:
        assert getattr(new, key) == getattr(old, key), key
    changed = {"size_x", "size_y", "physical_size_x", "physical_size_y", "tiff_data_blocks"}
    for key in type(old.pixels).model_fields.keys() - changed:
        assert getattr(new.pixels, key) == getattr(old.pixels, key), key
    assert new.pixels.physical_size_x == pytest.approx(0.2 / scale)
    assert new.pixels.physical_size_y == pytest.approx(0.21 / scale)
    assert (new.pixels.size_x, new.pixels.size_y) == (24 * scale, 20 * scale)
    assert bool(new.roi_refs) == bool(after.rois) == (scale == 1)
    told = remark_on_result(image, tmp_path / name, scale)
    assert ("regions of interest" in told) == (scale != 1)
    with tifffile.TiffFile(tmp_path / name) as file:
        assert file.series[0].axes == "TCZYX"
        expected = STACK.repeat(scale, -1).repeat(scale, -2)
        np.testing.assert_array_equal(file.series[0].asarray(), expected)


def test_a_result_of_another_type_says_so(tmp_path):
    from napari_rednet.io import with_dtype

    write_ome(tmp_path / "in.ome.tif")
    image = with_dtype(read_image(tmp_path / "in.ome.tif"), "float32")
    with image_writer(tmp_path / "out.ome.tif", image) as out:
        out[...] = STACK
    pixels = told_by(tmp_path / "out.ome.tif").images[0].pixels
    assert pixels.type.value == "float"
    assert pixels.significant_bits is None


def test_one_of_several_images_is_told_alone(tmp_path):
    write_ome(tmp_path / "in.ome.tif", images=2)
    copied(tmp_path / "in.ome.tif", tmp_path / "out.ome.tif", series=1)
    (image,) = told_by(tmp_path / "out.ome.tif").images
    assert image.id == "Image:1"
    assert image.name == "cells & more 1"
    assert image.pixels.tiff_data_blocks[0].ifd == 0


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_of_planes_that_are_missing_nothing_is_told(tmp_path, axis):
    """As after an acquisition that ended early: the description counts more than there is."""
    letter = "TCZ"[axis]
    told = rich_ome()
    pixels = told.images[0].pixels
    orders = {"T": "XYZCT", "C": "XYZTC", "Z": "XYCTZ"}
    pixels.dimension_order = orders[letter]
    order = [{"T": 0, "C": 1, "Z": 2}[a] for a in reversed(orders[letter][2:])]
    stack = STACK.transpose(*order, 3, 4)
    write_ome(tmp_path / "in.ome.tif", stack[:-1], description=told.to_xml())
    with tifffile.TiffFile(tmp_path / "in.ome.tif") as file:
        assert file.is_ome
    copied(tmp_path / "in.ome.tif", tmp_path / "out.ome.tif", missing="skip")
    found = told_by(tmp_path / "out.ome.tif").images[0].pixels
    kept = STACK.shape[axis] - 1
    assert getattr(found, f"size_{letter.lower()}") == kept
    numbers = {getattr(plane, f"the_{letter.lower()}") for plane in found.planes}
    assert numbers == set(range(kept))
    assert len(found.channels) == found.size_c
    found = tifffile.imread(tmp_path / "out.ome.tif")
    np.testing.assert_array_equal(found.reshape(stack[:-1].shape), stack[:-1])


@pytest.mark.parametrize("kept", [[0], [1], [2], [0, 2], [1, 2]])
def test_what_is_left_is_numbered_anew(kept):
    """Whichever planes are there, each is told as what it is."""
    source = rich_ome()
    shape = (2, len(kept), 4, 20, 24)
    told = OmeSource(source.to_xml(), 0, "TCZYX", shape, np.dtype("uint16"), {"C": kept})
    edited = told.described("TCZYX", shape, np.dtype("uint16"), 1).decode()
    ome_types.validate_xml(edited)
    found = ome_types.from_xml(edited).images[0].pixels
    assert [c.name for c in found.channels] == [f"dye {number}" for number in kept]
    exposures = {plane.the_c: plane.exposure_time for plane in found.planes}
    assert exposures == pytest.approx({i: 0.1 * (number + 1) for i, number in enumerate(kept)})
    assert len(found.planes) == 2 * len(kept) * 4


def test_other_axes_leave_no_channels_that_are_none(tmp_path):
    write_ome(tmp_path / "in.ome.tif")
    copied(tmp_path / "in.ome.tif", tmp_path / "out.ome.tif", axes="TZCYX")
    pixels = told_by(tmp_path / "out.ome.tif").images[0].pixels
    assert (pixels.size_c, pixels.size_z) == (4, 3)
    assert not pixels.channels
    assert not pixels.planes


@given(st.integers(0, 2**24 - 1))
def test_colours_have_a_number_in_ome(number):
    rgb = f"{number:06X}"
    value = colour_number(rgb)
    assert -(2**31) <= value < 2**31
    found = Color(value).as_rgb_tuple(alpha=False)
    assert found == tuple(bytes.fromhex(rgb))


def test_colours_and_names_go_to_ome_zarr_and_back(tmp_path):
    write_ome(tmp_path / "in.ome.tif")
    enlarged(tmp_path / "in.ome.tif", tmp_path / "out.zarr", 1)
    channels = zarr.open_group(tmp_path / "out.zarr", mode="r").attrs["ome"]["omero"]["channels"]
    assert [c["color"] for c in channels] == ["FF0000", "00FF00", "0000FF"]
    assert [c["label"] for c in channels] == ["dye 0", "dye 1", "dye 2"]
    enlarged(tmp_path / "out.zarr", tmp_path / "back.ome.tif", 1)
    found = told_by(tmp_path / "back.ome.tif").images[0].pixels.channels
    expected = told_by(tmp_path / "in.ome.tif").images[0].pixels.channels
    assert [c.color for c in found] == [c.color for c in expected]
    assert [c.name for c in found] == [c.name for c in expected]


TABLES = [np.outer(rgb, np.arange(256)).astype(np.uint8) for rgb in ([1, 0, 1], [0, 1, 0.5])]


def write_imagej(path, **metadata):
    told = {"axes": "ZCYX", "LUTs": TABLES, "Ranges": (3.0, 900.0, 5.0, 700.0), "mode": "composite"}
    told |= {"unit": "um", "spacing": 0.5, "Info": "objective: 40x\nnote: µ", **metadata}
    values = STACK[0, :, :2]
    resolution = {"resolution": (4, 5)}
    tifffile.imwrite(path, values, imagej=True, metadata=told, **resolution)
    return values


def test_imagej_keeps_its_display_and_its_words(tmp_path):
    write_imagej(tmp_path / "in.tif", Labels=[f"plane {i}" for i in range(6)])
    copied(tmp_path / "in.tif", tmp_path / "out.tif")
    with tifffile.TiffFile(tmp_path / "in.tif") as file:
        before = file.imagej_metadata
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        after = file.imagej_metadata
    assert before.keys() == after.keys()
    for key in before.keys() - {"LUTs"}:
        assert after[key] == before[key], key
    np.testing.assert_array_equal(after["LUTs"], before["LUTs"])


def test_imagej_colours_and_windows_are_translated(tmp_path):
    write_imagej(tmp_path / "in.tif")
    enlarged(tmp_path / "in.tif", tmp_path / "out.zarr", 1)
    channels = zarr.open_group(tmp_path / "out.zarr", mode="r").attrs["ome"]["omero"]["channels"]
    assert [c["color"] for c in channels] == ["FF00FF", "00FF7F"]
    assert [(c["window"]["start"], c["window"]["end"]) for c in channels] == [(3, 900), (5, 700)]
    enlarged(tmp_path / "in.tif", tmp_path / "out.ome.tif", 1)
    told = told_by(tmp_path / "out.ome.tif").images[0]
    assert [c.color.as_hex() for c in told.pixels.channels] == ["#f0f", "#00ff7f"]
    assert "objective: 40x" in told.description
    assert told.pixels.physical_size_x == 0.25
    assert told.pixels.physical_size_z == 0.5


def test_what_imagej_tells_in_pixels_is_scaled_or_left_out(tmp_path):
    write_imagej(tmp_path / "in.tif", xorigin=10.0, yorigin=7.0, ROI=b"Iout" + bytes(60))
    image = enlarged(tmp_path / "in.tif", tmp_path / "out.tif", 2)
    assert "regions of interest" in remark_on_result(image, tmp_path / "out.tif", 2)
    assert "regions" not in remark_on_result(image, tmp_path / "out.tif")
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        found = file.imagej_metadata
        assert (found["xorigin"], found["yorigin"]) == (20, 14)
        assert "ROI" not in found
        assert file.pages[0].tags["XResolution"].value == (8, 1)


TAGS = [
    (271, "s", 0, "A maker", True),
    (306, "s", 0, "2024:05:06 07:08:09", True),
    (315, "s", 0, "Somebody", True),
    (700, "B", 9, b"<x:xmp/>!", True),
    (33432, "s", 0, "© nobody".encode("latin-1"), True),
    (42113, "s", 0, "-9999", True),
]


def test_plain_tags_are_kept_byte_by_byte(tmp_path):
    profile = bytes(range(256)) * 2
    options = {"extratags": TAGS, "iccprofile": profile, "software": "Scanner 3"}
    for order in "<>":
        tifffile.imwrite(tmp_path / "in.tif", STACK[0, 0, 0], byteorder=order, **options)
        copied(tmp_path / "in.tif", tmp_path / "out.tif")
        with Image.open(tmp_path / "in.tif") as file:
            before = dict(file.tag_v2)
        with Image.open(tmp_path / "out.tif") as file:
            after = dict(file.tag_v2)
        for code in (305, 34675, *(tag[0] for tag in TAGS)):
            assert after[code] == before[code], code
        assert after[34675] == profile


def place_of(tags, x, y):
    """Where GeoTIFF says that a pixel is, by its pixel scale and tie point, or its matrix."""
    tags = {tag[0]: tag[3] for tag in tags}
    is_point = 34735 in tags and tags[34735][7] == 2
    x, y = (x, y) if is_point else (x + 0.5, y + 0.5)  # centres
    if 34264 in tags:
        matrix = np.reshape(tags[34264], (4, 4))
        return matrix[:2] @ [x, y, 0, 1]
    i, j, _, east, north, _ = tags[33922]
    return np.array([east + (x - i) * tags[33550][0], north - (y - j) * tags[33550][1]])


@pytest.mark.parametrize("raster", [1, 2], ids=["areas", "points"])
@pytest.mark.parametrize("by_matrix", [False, True])
@given(scale=st.integers(1, 4), numbers=st.lists(st.floats(-9, 9), min_size=6, max_size=6))
def test_places_on_earth_stay_where_they_are(raster, by_matrix, scale, numbers):
    keys = (1, 1, 0, 1, 1025, 0, 1, raster)
    a, b, c, d, e, f = numbers
    if by_matrix:
        matrix = (a, b, 0.0, c, d, e, 0.0, f, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
        tags = [(34264, 12, 16, matrix, True)]
    else:
        tags = [(33550, 12, 3, (abs(a) + 1, abs(b) + 1, 0.0), True)]
        tags.append((33922, 12, 6, (c, d, 0.0, e, f, 0.0), True))
    tags.append((34735, 3, 8, keys, True))
    finer = finer_tags(tags, scale)
    for x, y in ((0, 0), (5, 7)):
        inside = [
            place_of(finer, scale * x + i, scale * y + j)
            for i in range(scale)
            for j in range(scale)
        ]
        np.testing.assert_allclose(np.mean(inside, 0), place_of(tags, x, y), atol=1e-9)


def test_geotiff_goes_through_files(tmp_path):
    tags = [
        (33550, 12, 3, (0.5, 0.5, 0.0), True),
        (33922, 12, 6, (0.0, 0.0, 0.0, 4e5, 5e6, 0.0), True),
        (34735, 3, 8, (1, 1, 0, 1, 1025, 0, 1, 1), True),
        (34737, 2, 0, "WGS 84|", True),
    ]
    tifffile.imwrite(tmp_path / "in.tif", STACK[0, 0, 0], extratags=tags, metadata=None)
    enlarged(tmp_path / "in.tif", tmp_path / "out.tif", 2)
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        found = file.pages[0].tags
        assert found[33550].value[:2] == (0.25, 0.25)
        assert found[33922].value == (0, 0, 0, 4e5, 5e6, 0)
        assert found[34737].value == "WGS 84|"


def test_pixel_sizes_of_slides_are_scaled(tmp_path):
    words = "Aperio Image Library v11.2\r\n46000x32914 |AppMag = 20|MPP = 0.4990|Left = 25.69"
    values = np.zeros((64, 64, 3), np.uint8)
    options = {"description": words, "metadata": None, "photometric": "rgb"}
    tifffile.imwrite(tmp_path / "in.tif", values, **options)
    enlarged(tmp_path / "in.tif", tmp_path / "out.tif", 2)
    with Image.open(tmp_path / "out.tif") as file:
        assert file.tag_v2[270] == words.replace("0.4990", "0.2495")
    copied(tmp_path / "in.tif", tmp_path / "same.tif")
    with Image.open(tmp_path / "same.tif") as file:
        assert file.tag_v2[270] == words


def test_what_cannot_be_scaled_is_left_out_and_told(tmp_path):
    tags = [(51123, "s", 0, '{"PixelSizeUm": 0.1}', True)]
    tifffile.imwrite(tmp_path / "in.tif", STACK[0, 0, 0], extratags=tags)
    image = enlarged(tmp_path / "in.tif", tmp_path / "out.tif", 2)
    told = remark_on_result(image, tmp_path / "out.tif", 2)
    assert "told in pixels of before, and left out: MicroManagerMetadata" in told
    copied(tmp_path / "in.tif", tmp_path / "same.tif")
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert 51123 not in file.pages[0].tags
    with tifffile.TiffFile(tmp_path / "same.tif") as file:
        assert file.pages[0].tags[51123].value == {"PixelSizeUm": 0.1}


def test_metadata_are_written_in_the_order_of_the_file(tmp_path):
    """Numbers of a file in the other byte order are numbers, not bytes."""
    tags = [(33550, 12, 3, (0.5, 0.25, 0.0), True)]
    tifffile.imwrite(tmp_path / "in.tif", STACK[0, 0, 0], byteorder=">", extratags=tags)
    copied(tmp_path / "in.tif", tmp_path / "out.tif")
    with Image.open(tmp_path / "out.tif") as file:
        assert file.tag_v2[33550] == (0.5, 0.25, 0.0)
    assert struct.pack("<d", 0.5) in (tmp_path / "out.tif").read_bytes()
