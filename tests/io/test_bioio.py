"""Files of microscopes by the true readers of bioio, where these are installed.

CZI is written by Zeiss's own library, LIF by hand, as Leica's description of it has it, and so is
ND2.
"""

import struct

import numpy as np
import ome_types
import pytest
import tifffile
from skimage import data
from tests.io.foreign import copied
from tests.io.nd2_files import write_nd2

from napari_rednet.errors import ImageFileError
from napari_rednet.io import count_images, read_image

bioio = pytest.importorskip("bioio")
CAMERA = data.camera()[:48, :64]
# T, C, Z, Y, X: each plane is another.
STACK = np.stack([np.roll(CAMERA, 3 * i, 1) + np.uint16(i) for i in range(12)])
STACK = STACK.reshape(2, 2, 3, 48, 64)


def write_czi(path, values, colours=False, compression=None):
    """Write planes (T, C, Z, Y, X), or with colours behind them."""
    czi = pytest.importorskip("pylibCZIrw.czi")
    pytest.importorskip("bioio_czi")
    times, channels, slices = values.shape[:3]
    options = {} if compression is None else {"compression_options": compression}
    with czi.create_czi(str(path), exist_ok=True, **options) as file:
        for t, c, z in np.ndindex(times, channels, slices):
            plane = values[t, c, z]
            samples = plane[..., ::-1] if colours else plane[..., None]
            file.write(np.ascontiguousarray(samples), plane={"T": t, "C": c, "Z": z})
        names = {} if colours else {c: f"dye {c}" for c in range(channels)}
        sizes = {"scale_x": 0.2e-6, "scale_y": 0.2e-6, "scale_z": 0.5e-6}
        file.write_metadata(document_name="cells", channel_names=names, **sizes)


def name_scenes(path, names):
    """Describe the scenes of a CZI file as ZEN does, in metadata behind all that is there."""
    content = bytearray(path.read_bytes())
    pointer = 92  # of the place of the metadata, in the header of the file
    (place,) = struct.unpack_from("<q", content, pointer)
    (size,) = struct.unpack_from("<i", content, place + 32)
    start = place + 32 + 256
    told = "".join(f'<Scene Index="{i}" Name="{name}"/>' for i, name in enumerate(names))
    scenes = f"<Dimensions><S><Scenes>{told}</Scenes></S>"
    xml = content[start : start + size].decode().replace("<Dimensions>", scenes, 1).encode()
    body = struct.pack("<ii", len(xml), 0) + bytes(248) + xml
    body += bytes(-len(body) % 32)
    content += bytes(-len(content) % 32)
    struct.pack_into("<q", content, pointer, len(content))
    content += b"ZISRAWMETADATA\0\0" + struct.pack("<qq", len(body), len(body)) + body
    path.write_bytes(content)


def write_lif(path, images):
    """Write images of 8 bits, (channels, Y, X) each, with pixels of a fifth of a micrometre."""
    pytest.importorskip("bioio_lif")
    parts = "".join(lif_element(number, values) for number, values in enumerate(images))
    xml = (
        '<LMSDataContainerHeader Version="2"><Element Name="project" Visibility="1"><Data/>'
        f'<Memory Size="0" MemoryBlockID="MemBlock_p"/><Children>{parts}</Children></Element>'
        "</LMSDataContainerHeader>"
    ).encode("utf-16-le")
    content = struct.pack("<iiBi", 0x70, 5 + len(xml), 0x2A, len(xml) // 2) + xml
    for number, values in enumerate(images):
        name = f"MemBlock_{number}".encode("utf-16-le")
        head = struct.pack("<BqBi", 0x2A, values.nbytes, 0x2A, len(name) // 2) + name
        content += struct.pack("<ii", 0x70, len(head)) + head + values.tobytes()
    path.write_bytes(content)


def lif_element(number, values):
    channels, height, width = values.shape
    told = "".join(
        f'<ChannelDescription DataType="0" ChannelTag="0" Resolution="8" Min="0" Max="255" '
        f'NameOfMeasuredQuantity="" Unit="" IsLUTInverted="0" LUTName="{lut}" '
        f'BytesInc="{c * height * width}" BitInc="0"/>'
        for c, lut in enumerate(["Green", "Red"][:channels])
    )
    sides = "".join(
        f'<DimensionDescription DimID="{n}" NumberOfElements="{size}" Origin="0" '
        f'Length="{(size - 1) * 0.2e-6}" Unit="m" BitInc="0" BytesInc="{step}"/>'
        for n, size, step in ((1, width, 1), (2, height, width))
    )
    return (
        f'<Element Name="cell {number}" Visibility="1"><Data><Image><ImageDescription>'
        f"<Channels>{told}</Channels><Dimensions>{sides}</Dimensions></ImageDescription></Image>"
        f'</Data><Memory Size="{values.nbytes}" MemoryBlockID="MemBlock_{number}"/></Element>'
    )


def described(path):
    with tifffile.TiffFile(path) as file:
        ome_types.validate_xml(file.ome_metadata)
        return ome_types.from_xml(file.ome_metadata).images[0].pixels


@pytest.mark.parametrize("compression", [None, "zstd1:ExplicitLevel=2"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_czi_is_read_with_its_axes_sizes_and_channels(tmp_path, dtype, compression):
    values = STACK.astype(dtype)
    write_czi(tmp_path / "in.czi", values, compression=compression)
    image = copied(tmp_path / "in.czi", tmp_path / "out.ome.tif")
    assert (image.axes, image.data.dtype) == ("TCZYX", dtype)
    np.testing.assert_array_equal(image.data, values)
    pixels = described(tmp_path / "out.ome.tif")
    assert (pixels.size_t, pixels.size_c, pixels.size_z) == (2, 2, 3)
    assert [channel.name for channel in pixels.channels] == ["dye 0", "dye 1"]
    assert pixels.physical_size_x == pytest.approx(0.2)
    assert pixels.physical_size_z == pytest.approx(0.5)


def test_scenes_of_a_czi_are_images(tmp_path):
    """Each of its own size, and none with the pixels of its neighbour."""
    czi = pytest.importorskip("pylibCZIrw.czi")
    pytest.importorskip("bioio_czi")
    path, images = tmp_path / "in.czi", [CAMERA, np.roll(CAMERA, 5)[:40, :56]]
    with czi.create_czi(str(path)) as file:
        for number, values in enumerate(images):
            plane = np.ascontiguousarray(values[..., None])
            file.write(plane, location=(50 * number, 0), plane={"C": 0}, scene=number)
        file.write_metadata("wells", scale_x=0.2e-6, scale_y=0.2e-6)
    name_scenes(path, ["A1", "B2"])
    assert count_images(path) == 2
    for number, values in enumerate(images):
        image = copied(path, tmp_path / f"{number}.ome.tif", series=number)
        np.testing.assert_array_equal(np.squeeze(image.data), values)
        assert f"image {number} of 2" in image.remarks[0]
        assert described(tmp_path / f"{number}.ome.tif").physical_size_x == pytest.approx(0.2)


def test_colours_of_a_czi_are_in_order(tmp_path):
    colours = data.astronaut()[:48, :64]
    write_czi(tmp_path / "in.czi", colours[None, None, None], colours=True)
    image = copied(tmp_path / "in.czi", tmp_path / "out.ome.tif")
    assert image.is_rgb
    np.testing.assert_array_equal(image.data, colours)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.ome.tif"), colours)


def test_images_of_a_lif_are_scenes(tmp_path):
    images = [np.stack([CAMERA, np.roll(CAMERA, 5)])[: 2 - n, :, : 64 - 8 * n] for n in range(2)]
    write_lif(tmp_path / "in.lif", [np.ascontiguousarray(values) for values in images])
    assert count_images(tmp_path / "in.lif") == 2
    for number, values in enumerate(images):
        image = copied(tmp_path / "in.lif", tmp_path / f"{number}.ome.tif", series=number)
        np.testing.assert_array_equal(np.asarray(image.data).reshape(values.shape), values)
        assert f"image {number} of 2" in image.remarks[0]
        assert described(tmp_path / f"{number}.ome.tif").physical_size_x == pytest.approx(0.2)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 2, 2, 3), (2, 1, 2, 3), (3, 2, 1, 1)])
def test_an_nd2_is_read_with_its_positions_axes_and_channels(tmp_path, shape, dtype):
    pytest.importorskip("bioio_nd2")
    planes = [np.roll(CAMERA, 5 * i).astype(dtype) + dtype(i) for i in range(np.prod(shape))]
    values = np.stack(planes).reshape(*shape, 48, 64)
    write_nd2(tmp_path / "in.nd2", values)
    assert count_images(tmp_path / "in.nd2") == shape[0]
    for number, expected in enumerate(values):
        image = copied(tmp_path / "in.nd2", tmp_path / f"{number}.ome.tif", series=number)
        letters = [letter for letter, n in zip("TCZ", shape[1:], strict=True) if n > 1]
        assert (image.axes, image.data.dtype) == ("".join(letters) + "YX", dtype)
        np.testing.assert_array_equal(image.data, expected.squeeze())
        pixels = described(tmp_path / f"{number}.ome.tif")
        assert (pixels.size_t, pixels.size_c, pixels.size_z) == shape[1:]
        assert pixels.physical_size_x == pytest.approx(0.2)
        if shape[2] > 1:
            assert [channel.name for channel in pixels.channels] == ["dye 0", "dye 1"]
        if shape[3] > 1:
            assert pixels.physical_size_z == pytest.approx(0.5)


@pytest.mark.parametrize("suffix", ["czi", "lif", "nd2"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.9])
def test_files_that_are_cut_off_are_told(tmp_path, suffix, share):
    path = tmp_path / f"in.{suffix}"
    if suffix == "czi":
        write_czi(path, STACK)
    elif suffix == "nd2":
        pytest.importorskip("bioio_nd2")
        write_nd2(path, STACK[None])
    else:
        write_lif(path, [CAMERA[None]])
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ImageFileError, match=path.name):
        copied(path, tmp_path / "out.ome.tif")
    with pytest.raises(ImageFileError, match="there is no file"):
        read_image(tmp_path / f"none.{suffix}")
