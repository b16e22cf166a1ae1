"""Whatever the samples of a TIFF mean, other programs show the copy as they show the source."""

import io
import itertools
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage import data
from tests.io.foreign import copied, gray_tags, raw_tiff, seen

from napari_rednet.errors import ImageFileError
from napari_rednet.io import described_for, image_writer, read_image

pytest.importorskip("imagecodecs")
COLOURS = data.astronaut()[:96, :128]
GRAY = COLOURS[..., 1]


def jpeg_in_tiff(path, *, old, tiled, subsampling):
    """COLOURS as JPEG of luminance and chrominance."""
    if not old:
        shape = {"tile": (64, 64)} if tiled else {"rowsperstrip": 32}
        options = {"compression": "jpeg", "compressionargs": {"level": 95}}
        tifffile.imwrite(
            path, COLOURS, photometric="rgb", subsampling=subsampling, **shape, **options
        )
        return
    stream = io.BytesIO()
    names = {(1, 1): "4:4:4", (2, 1): "4:2:2", (2, 2): "4:2:0"}
    Image.fromarray(COLOURS).save(stream, "JPEG", quality=95, subsampling=names[subsampling])
    whole = stream.getvalue()
    tags = gray_tags(96, 128, t258=(3, [8, 8, 8]), t259=(3, [6]), t262=(3, [6]), t277=(3, [3]))
    tags |= {279: (4, [len(whole)]), 530: (3, list(subsampling))}
    if tiled:  # not really: the other way in which old files name the place of the stream
        tags |= {513: (4, [0]), 514: tags.pop(279)}
        del tags[273], tags[278]
    raw_tiff(path, tags, [whole])


SUBSAMPLINGS = {False: [(1, 1), (2, 1), (2, 2), (4, 1)], True: [(1, 1), (2, 1), (2, 2)]}
JPEGS = [
    (old, tiled, subsampling)
    for old, tiled in itertools.product([False, True], repeat=2)
    for subsampling in SUBSAMPLINGS[old]
]


@pytest.mark.parametrize(("old", "tiled", "subsampling"), JPEGS)
def test_colours_in_jpeg_are_written_as_rgb(tmp_path, old, tiled, subsampling):
    jpeg_in_tiff(tmp_path / "in.tif", old=old, tiled=tiled, subsampling=subsampling)
    with Image.open(tmp_path / "in.tif") as file:
        assert file.tag_v2[262] == 6, "the source is not YCbCr"
    image = copied(tmp_path / "in.tif", tmp_path / "out.tif")
    assert image.is_rgb
    with Image.open(tmp_path / "out.tif") as file:
        assert file.tag_v2[262] == 2
    result = seen(tmp_path / "out.tif")
    assert abs(result - seen(tmp_path / "in.tif")).mean() < 1  # decoders enlarge chrominance
    assert abs(result - COLOURS).mean() < 6


@pytest.mark.parametrize("lazily", [False, True])
def test_a_stack_of_jpegs_is_written_as_rgb(tmp_path, monkeypatch, lazily):
    if lazily:
        pytest.importorskip("zarr")
        monkeypatch.setattr("napari_rednet.io.tiff.reading._MOST_DECODED", 0)
    stack = np.stack([COLOURS, COLOURS[::-1]])
    tifffile.imwrite(
        tmp_path / "in.tif", stack, photometric="rgb", compression="jpeg", tile=(32, 32)
    )
    copied(tmp_path / "in.tif", tmp_path / "out.tif")
    with Image.open(tmp_path / "out.tif") as file:
        for number, frame in enumerate([COLOURS, COLOURS[::-1]]):
            file.seek(number)
            assert abs(np.asarray(file).astype(int) - frame).mean() < 6


def saved_by_pillow(mode, **options):
    return lambda path: Image.fromarray(COLOURS).convert(mode).save(path, **options)


def saved_as(photometric, values=COLOURS):
    return lambda path: tifffile.imwrite(path, values, photometric=photometric)


@pytest.mark.parametrize(
    ("save", "words"),
    [
        (saved_by_pillow("CMYK"), r"inks \(CMYK\)"),
        (saved_by_pillow("CMYK", compression="jpeg"), r"inks \(CMYK\)"),
        (saved_by_pillow("YCbCr", compression="tiff_lzw"), "YCbCr without JPEG"),
        (saved_by_pillow("YCbCr"), "YCbCr without JPEG"),
        (saved_as("cielab"), "CIELab"),
        (saved_as("icclab"), "ICCLab"),
        (saved_as("itulab"), "ITULab"),
        (saved_as("cfa", GRAY), "mosaic"),
        (saved_as("logluv"), "logluv"),
        (lambda path: raw_tiff(path, gray_tags(8, 8, t262=(3, [99])), [bytes(64)]), "99"),
    ],
)
def test_what_is_neither_gray_nor_rgb_is_refused_in_words(tmp_path, save, words):
    save(tmp_path / "in.tif")
    with pytest.raises(ImageFileError, match=rf"in\.tif .*{words}.*; convert it to gray or RGB"):
        read_image(tmp_path / "in.tif")


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_white_stays_white_where_zero_is_white(tmp_path, dtype, compression):
    values = GRAY.astype(dtype) * (1 if dtype == "uint8" else 257)
    tifffile.imwrite(tmp_path / "in.tif", values, photometric="miniswhite", compression=compression)
    copied(tmp_path / "in.tif", tmp_path / "out.tif")
    np.testing.assert_array_equal(seen(tmp_path / "out.tif", "I"), seen(tmp_path / "in.tif", "I"))
    with Image.open(tmp_path / "out.tif") as file:
        assert file.tag_v2[262] == 0
    if dtype == "uint8":
        np.testing.assert_array_equal(seen(tmp_path / "out.tif", "L"), 255 - GRAY.astype(int))


def test_zero_is_never_white_in_a_zarr(tmp_path):
    pytest.importorskip("zarr", minversion="3")
    tifffile.imwrite(tmp_path / "in.tif", GRAY, photometric="miniswhite")
    image = read_image(tmp_path / "in.tif")
    with (
        pytest.raises(ImageFileError, match="zero is white"),
        image_writer(tmp_path / "out.zarr", image),
    ):
        pytest.fail("written in negative")


def shown(path):
    """A file as Pillow shows it, which turns rows and columns as the file says.

    From memory, since Pillow maps the rows of files with those that were turned already.
    """
    with Image.open(io.BytesIO(path.read_bytes())) as file:
        return np.asarray(file)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("values", [GRAY, COLOURS], ids=["gray", "colours"])
def test_orientation_is_kept_by_tiff_and_applied_for_zarr(tmp_path, orientation, values):
    photometric = "rgb" if values.ndim == 3 else "minisblack"
    tags = [(274, 3, 1, orientation, False)]
    tifffile.imwrite(tmp_path / "in.tif", values, photometric=photometric, extratags=tags)
    assert (shown(tmp_path / "in.tif").shape != values.shape) == (orientation > 4)
    image = copied(tmp_path / "in.tif", tmp_path / "out.tif")
    np.testing.assert_array_equal(shown(tmp_path / "out.tif"), shown(tmp_path / "in.tif"))
    zarr = pytest.importorskip("zarr", minversion="3")
    upright = shown(tmp_path / "in.tif")
    if values.ndim == 3:
        upright = np.moveaxis(upright, -1, 0)
    described = described_for(tmp_path / "out.zarr", image)
    with image_writer(tmp_path / "out.zarr", described) as out:
        out[...] = described.data
    np.testing.assert_array_equal(zarr.open_group(tmp_path / "out.zarr")["0"][...], upright)


RAMP = np.linspace(0, 65535, 256).astype(np.uint16)
LUTS = {
    "gray": np.stack([RAMP] * 3),
    "inverted": np.stack([RAMP[::-1]] * 3),
    "stretched": np.stack([np.clip(RAMP.astype(int) * 3, 0, 65535)] * 3).astype(np.uint16),
    **{
        "".join(map(str, on)): np.stack([RAMP * np.uint16(part) for part in on])
        for on in itertools.product([0, 1], repeat=3)
        if any(on)
    },
    "orange": np.stack([RAMP, RAMP // 2, RAMP // 8]),
}


@pytest.mark.parametrize("imagej", [False, True])
@pytest.mark.parametrize("lut", LUTS)
def test_a_display_palette_of_one_colour_is_kept(tmp_path, lut, imagej):
    metadata = {"imagej": True} if imagej else {}
    tifffile.imwrite(
        tmp_path / "in.tif", GRAY, photometric="palette", colormap=LUTS[lut], **metadata
    )
    image = copied(tmp_path / "in.tif", tmp_path / "out.tif")
    np.testing.assert_array_equal(image.data, GRAY)
    np.testing.assert_array_equal(seen(tmp_path / "out.tif"), seen(tmp_path / "in.tif"))
    with Image.open(tmp_path / "out.tif") as file:
        assert file.mode == "P"
        np.testing.assert_array_equal(np.asarray(file), GRAY)


NUMBERS = np.random.default_rng(0).integers(0, 65535, (3, 256)).astype(np.uint16)
PALETTES = {
    "random": NUMBERS,
    "rolled": np.stack([np.roll(RAMP, 60 * i) for i in range(3)]),
    "two colours": np.stack([RAMP, RAMP[::-1], 0 * RAMP]),
    "shuffled gray": np.stack([np.random.default_rng(0).permutation(RAMP)] * 3),
    "black": np.zeros((3, 256), np.uint16),
}


@pytest.mark.parametrize("palette", PALETTES)
def test_numbers_of_colours_are_refused(tmp_path, palette):
    tifffile.imwrite(tmp_path / "in.tif", GRAY, photometric="palette", colormap=PALETTES[palette])
    with pytest.raises(ImageFileError, match="numbers of colours"):
        read_image(tmp_path / "in.tif")


def test_without_a_decoder_the_package_is_named(tmp_path):
    tifffile.imwrite(tmp_path / "in.tif", COLOURS, photometric="rgb", compression="jpeg")
    code = (
        "import sys; sys.modules['imagecodecs'] = None\n"
        "from pathlib import Path; from napari_rednet.io.tiff import read_tiff\n"
        f"read_tiff(Path({str(tmp_path / 'in.tif')!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "in.tif cannot be read as TIFF" in done.stderr
    assert "pip install imagecodecs" in done.stderr
