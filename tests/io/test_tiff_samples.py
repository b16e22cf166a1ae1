"""Several samples a pixel: channels, unless the file says that they are colours."""

import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage import data
from tests.conftest import small_model
from tests.io.foreign import copied, seen
from tests.test_cli import call

import napari_rednet as nr
from napari_rednet.io import read_image, read_planes
from napari_rednet.provenance import find_origin

LIKELY = data.camera()[:80, :96]
# Both came with imagecodecs 2026, which needs NumPy 2.
PACKS_BITS = pytest.mark.skipif(
    not hasattr(imagecodecs, "CCITTFAX4"), reason="imagecodecs packs no bits, and reads no faxes"
)


def bands(count, dtype="uint8"):
    return np.stack([np.roll(LIKELY, 9 * i) // (i + 1) for i in range(count)], -1).astype(dtype)


def written(path, values, *, planar, frames=1, **options):
    """Samples side by side or in planes of their own, in one page or more, as tifffile does it."""
    stored = np.moveaxis(values, -1, 0) if planar else values
    with tifffile.TiffWriter(path) as file:
        for _ in range(frames):
            file.write(
                stored,
                planarconfig="separate" if planar else "contig",
                **{"photometric": "minisblack", "metadata": None, **options},
            )


def samples_of(path):
    """Samples of the first page, with its tags, from its own bytes: Pillow takes no such file."""
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        strips = []
        for start, count in zip(page.dataoffsets, page.databytecounts, strict=True):
            file.filehandle.seek(start)
            strips.append(file.filehandle.read(count))
        if page.compression == tifffile.COMPRESSION.ADOBE_DEFLATE:
            strips = map(zlib.decompress, strips)
        rows = np.frombuffer(b"".join(strips), page.dtype.newbyteorder(file.byteorder))
        return rows.reshape(page.shape), page.photometric, page.extrasamples


@pytest.mark.parametrize("planar", [False, True], ids=["interleaved", "planar"])
@pytest.mark.parametrize("count", [2, 3, 4, 5, 7])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_samples_without_colours_are_channels(tmp_path, planar, count, dtype, compression):
    values = bands(count, dtype)
    written(tmp_path / "in.tif", values, planar=planar, compression=compression)
    image = copied(tmp_path / "in.tif", tmp_path / "out.tif")
    assert not image.is_rgb
    assert image.data.shape[image.channel_axis] == count
    samples, photometric, extra = samples_of(tmp_path / "out.tif")
    np.testing.assert_array_equal(np.moveaxis(samples, 0, -1) if planar else samples, values)
    assert photometric == tifffile.PHOTOMETRIC.MINISBLACK
    assert list(extra) == [0] * (count - 1)


@pytest.mark.parametrize("planar", [False, True], ids=["interleaved", "planar"])
def test_frames_of_samples_keep_both_axes(tmp_path, planar):
    written(tmp_path / "in.tif", bands(2), planar=planar, frames=3)
    image = copied(tmp_path / "in.tif", tmp_path / "out.tif")
    axis = image.axes.index("S")
    assert (image.channel_axis, image.data.shape[axis], image.data.shape[0]) == (axis, 2, 3)
    np.testing.assert_array_equal(
        tifffile.imread(tmp_path / "out.tif"), tifffile.imread(tmp_path / "in.tif")
    )


@pytest.mark.parametrize("mode", ["LA", "RGBA", "RGB"])
def test_what_pillow_reads_looks_the_same(tmp_path, mode):
    values = bands(len(mode))
    Image.fromarray(values, mode).save(tmp_path / "in.tif")
    image = copied(tmp_path / "in.tif", tmp_path / "out.tif")
    assert image.is_rgb == (mode != "LA")
    with Image.open(tmp_path / "out.tif") as file:
        assert file.mode == mode
    np.testing.assert_array_equal(seen(tmp_path / "out.tif", mode), values)


@pytest.mark.parametrize("planar", [False, True], ids=["interleaved", "planar"])
@pytest.mark.parametrize(
    ("extra", "is_rgb"),
    [
        ([], True),
        (["unassalpha"], True),
        (["assocalpha"], True),
        (["unspecified"], False),
        (["unspecified"] * 2, False),
        (["unassalpha", "unspecified"], False),
    ],
)
def test_colours_with_more_than_transparency_are_channels(tmp_path, planar, extra, is_rgb):
    values = bands(3 + len(extra))
    options = {"extrasamples": extra} if extra else {}
    written(tmp_path / "in.tif", values, planar=planar, photometric="rgb", **options)
    image = copied(tmp_path / "in.tif", tmp_path / "out.tif")
    assert image.is_rgb == is_rgb
    samples, photometric, found = samples_of(tmp_path / "out.tif")
    np.testing.assert_array_equal(np.moveaxis(samples, 0, -1) if planar else samples, values)
    assert photometric == tifffile.PHOTOMETRIC.RGB
    assert [tifffile.EXTRASAMPLE(sample).name.lower() for sample in found] == extra


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize(
    ("bits", "compression"),
    [
        (1, None),
        (1, "zlib"),
        pytest.param(2, None, marks=PACKS_BITS),
        pytest.param(4, None, marks=PACKS_BITS),
    ],
)
def test_few_bits_are_as_bright_as_they_look(tmp_path, bits, photometric, compression):
    values = LIKELY[:, :90] >> (8 - bits)
    stored = values.astype(bool) if bits == 1 else values
    options = {"photometric": photometric, "compression": compression, "bitspersample": bits}
    tifffile.imwrite(tmp_path / "in.tif", stored, **options, metadata=None)
    image = copied(tmp_path / "in.tif", tmp_path / "out.tif")
    np.testing.assert_array_equal(image.data, values * (255 // (2**bits - 1)))
    if bits == 1 or photometric == "minisblack":  # what Pillow does not get wrong
        np.testing.assert_array_equal(
            seen(tmp_path / "out.tif", "L"), seen(tmp_path / "in.tif", "L")
        )


@pytest.mark.parametrize(
    "compression",
    [
        pytest.param("group3", marks=PACKS_BITS),
        pytest.param("group4", marks=PACKS_BITS),
        "tiff_lzw",
        "packbits",
        None,
    ],
)
def test_scans_of_two_levels_are_restored(tmp_path, compression):
    """As Pillow writes them: zero is white or black, and the codecs are those of fax machines."""
    small_model("denoise").save(tmp_path / "tiny.safetensors")
    Image.fromarray(LIKELY > 128).save(tmp_path / "in.tif", compression=compression)
    options = ("--model", tmp_path / "tiny.safetensors", "--noise", 0)
    code, text = call("denoise", tmp_path / "in.tif", tmp_path / "out.tif", *options)
    assert code == 0, text
    np.testing.assert_array_equal(seen(tmp_path / "out.tif", "L"), seen(tmp_path / "in.tif", "L"))


def test_each_sample_has_its_own_noise_model(tmp_path):
    small_model("denoise").save(tmp_path / "tiny.safetensors")
    noise = np.random.default_rng(0).normal(0, [2, 20], (*LIKELY.shape, 2))
    values = (bands(2) / 2 + 60 + noise).clip(0, 255).astype(np.uint8)
    written(tmp_path / "in.tif", values, planar=False)
    model = tmp_path / "tiny.safetensors"
    code, text = call("denoise", tmp_path / "in.tif", tmp_path / "out.tif", "--model", model)
    assert code == 0, text
    assert "noise of channel 0" in text
    assert "noise of channel 1" in text
    expected = nr.denoise(values, channel_axis=-1, model=model)
    np.testing.assert_array_equal(samples_of(tmp_path / "out.tif")[0], expected)


@pytest.mark.parametrize("planar", [False, True], ids=["interleaved", "planar"])
@pytest.mark.parametrize("count", [2, 5])
def test_samples_become_channels_of_a_zarr(tmp_path, planar, count):
    pytest.importorskip("zarr", minversion="3")
    values = bands(count)
    written(tmp_path / "in.tif", values, planar=planar)
    small_model("denoise").save(tmp_path / "tiny.safetensors")
    options = ("--model", tmp_path / "tiny.safetensors", "--noise", 0)
    assert call("denoise", tmp_path / "in.tif", tmp_path / "b.zarr", *options)[0] == 0
    stored = read_image(tmp_path / "b.zarr")
    assert stored.axes == "CYX"
    np.testing.assert_array_equal(stored.data[...], np.moveaxis(values, -1, 0))


@pytest.mark.parametrize("planar", [False, True], ids=["interleaved", "planar"])
@pytest.mark.parametrize(
    ("photometric", "count"), [("minisblack", 2), ("minisblack", 4), ("rgb", 3)]
)
def test_code_to_copy_and_training_take_them_as_commands_do(tmp_path, planar, photometric, count):
    path = tmp_path / "in.tif"
    written(path, bands(count), planar=planar, photometric=photometric)
    image = read_image(path)
    origin = find_origin("layer", str(path), image.data.shape, image.data.dtype)
    assert origin.taken_as == ("colours" if image.is_rgb else "channels")
    planes = read_planes(path)
    if image.is_rgb:
        assert len(planes) == 1
        gray = Image.fromarray(bands(3)).convert("L")
        assert abs(planes[0].astype(int) - np.asarray(gray)).max() <= 1
    else:
        np.testing.assert_array_equal(planes, np.moveaxis(bands(count), -1, 0))
