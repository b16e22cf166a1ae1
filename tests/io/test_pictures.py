"""PNG and JPEG files, written by Pillow and libpng and read again by them."""

import struct
import warnings
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo
from skimage import data
from tests.conftest import psnr, small_model
from tests.io.foreign import copied, seen
from tests.test_cli import call

import napari_rednet as nr
from napari_rednet.errors import ImageFileError
from napari_rednet.io import (
    described_for,
    image_writer,
    read_image,
    read_mask,
    remark_on_result,
    with_dtype,
)

ASTRONAUT = data.astronaut()[:48, 100:164]
GRAY = data.camera()[100:148, 100:164]
ALPHA = np.broadcast_to((np.arange(64) * 4).astype(np.uint8), GRAY.shape)
SHADES = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64) * 21
COLOURS_16 = np.stack([SHADES, SHADES[::-1], SHADES[:, ::-1]], -1)
FORMS = {
    "gray": GRAY,
    "gray, 16 bits": SHADES,
    "gray and transparency": np.dstack([GRAY, ALPHA]),
    "colours": ASTRONAUT,
    "colours and transparency": np.dstack([ASTRONAUT, ALPHA]),
    "colours, 16 bits": COLOURS_16,
    "gray and transparency, 16 bits": np.dstack([SHADES, SHADES[::-1]]),
}


def write_png(path, values, **options):
    if values.dtype == np.uint16 and values.ndim > 2:
        path.write_bytes(imagecodecs.png_encode(values))
    else:
        Image.fromarray(values).save(path, **options)
    return path


def pixels(path):
    """What libpng reads, all bits of it."""
    return np.squeeze(imagecodecs.png_decode(path.read_bytes()))


@pytest.mark.parametrize("form", FORMS)
def test_png_is_what_it_was(tmp_path, form):
    values = FORMS[form]
    image = copied(write_png(tmp_path / "in.png", values), tmp_path / "out.png")
    np.testing.assert_array_equal(pixels(tmp_path / "out.png"), values)
    assert pixels(tmp_path / "out.png").dtype == values.dtype
    assert image.is_rgb == form.startswith("colours")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.png", "out.png"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("target", ["out.tif", "out.ome.tif"])
def test_png_becomes_tiff_and_comes_back(tmp_path, form, target):
    values = FORMS[form]
    copied(write_png(tmp_path / "in.png", values), tmp_path / target)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / target), values)
    copied(tmp_path / target, tmp_path / "back.png")
    np.testing.assert_array_equal(pixels(tmp_path / "back.png"), values)


def test_few_bits_and_palettes_are_what_they_look_like(tmp_path):
    bits = GRAY > 128
    colours = Image.fromarray(ASTRONAUT).quantize(32)
    transparent = Image.fromarray(ASTRONAUT).quantize(8)
    transparent.info["transparency"] = 3
    gray = Image.fromarray(GRAY).quantize(16)
    cases = {"1": Image.fromarray(bits), "P": colours, "T": transparent, "G": gray}
    for name, file in cases.items():
        file.save(tmp_path / f"{name}.png")
        copied(tmp_path / f"{name}.png", tmp_path / f"{name}-out.png")
        mode = "RGBA" if name == "T" else "RGB"
        expected = seen(tmp_path / f"{name}.png", mode)
        np.testing.assert_array_equal(seen(tmp_path / f"{name}-out.png", mode), expected)
    assert read_image(tmp_path / "1.png").data.max() == 255
    assert read_image(tmp_path / "G.png").data.ndim == 2


def test_a_transparent_gray_or_colour_is_seen(tmp_path):
    for name, values, key in [
        ("L", GRAY, 100),
        ("RGB", ASTRONAUT, tuple(ASTRONAUT[3, 4].tolist())),
    ]:
        path = tmp_path / f"{name}.png"
        Image.fromarray(values).save(path, transparency=key)
        copied(path, tmp_path / "out.png")
        np.testing.assert_array_equal(seen(tmp_path / "out.png", "RGBA"), seen(path, "RGBA"))


def jpeg(path, values, orientation=1, **options):
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "A camera"
    exif[282] = exif[283] = 72
    exif.get_ifd(0x8769)[0xA002], exif.get_ifd(0x8769)[0xA003] = values.shape[1::-1]
    exif.get_ifd(0x8769)[0x829A] = 0.01
    Image.fromarray(values).save(path, quality=90, exif=exif, dpi=(72, 72), **options)
    return path


def shown(path):
    with Image.open(path) as file:
        return np.asarray(ImageOps.exif_transpose(file).convert("RGB")).astype(int)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("target", ["out.jpg", "out.png", "out.tif", "out.zarr"])
def test_photographs_are_shown_as_they_were(tmp_path, orientation, target):
    source = jpeg(tmp_path / "in.jpg", ASTRONAUT, orientation)
    expected = shown(source)
    image = described_for(tmp_path / target, read_image(source))
    with image_writer(tmp_path / target, image) as out:
        out[...] = image.data
    if target.endswith("zarr"):
        found = np.moveaxis(zarr.open_array(tmp_path / target / "0")[...], 0, -1)
    else:
        found = shown(tmp_path / target)
    assert found.shape == expected.shape
    if target.endswith("jpg"):
        assert psnr(expected, found) > 36
    else:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("target", ["out.jpg", "out.png"])
@pytest.mark.parametrize("scale", [1, 2])
def test_what_cameras_write_is_kept(tmp_path, target, scale):
    profile = b"a profile of colours" * 9
    source = jpeg(tmp_path / "in.jpg", ASTRONAUT, 6, icc_profile=profile, comment=b"no comment")
    image = read_image(source)
    with image_writer(tmp_path / target, image, scale) as out:
        out[...] = image.data.repeat(scale, 0).repeat(scale, 1)
    with Image.open(tmp_path / target) as file:
        exif = file.getexif()
        assert exif[0x0112] == 6
        assert exif[0x010F] == "A camera"
        assert exif[282] == 72 * scale
        assert exif.get_ifd(0x8769)[0x829A] == pytest.approx(0.01)
        assert (exif.get_ifd(0x8769)[0xA002], exif.get_ifd(0x8769)[0xA003]) == file.size
        assert file.info["icc_profile"] == profile
        assert file.info["dpi"][0] == pytest.approx(72 * scale, rel=0.01)
        told = file.info["comment"]
        assert told in (b"no comment", "no comment")
        file.load()
        assert file.size == (64 * scale, 48 * scale)


def test_texts_of_a_png_are_kept(tmp_path):
    texts = PngInfo()
    texts.add_text("Author", "Somebody")
    texts.add_itxt("Title", "Mikrometer: µ")
    Image.fromarray(GRAY).save(tmp_path / "in.png", pnginfo=texts, dpi=(300, 300))
    copied(tmp_path / "in.png", tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as file:
        assert file.text == {"Author": "Somebody", "Title": "Mikrometer: µ"}
        assert file.info["dpi"] == pytest.approx((300, 300), rel=1e-3)
    copied(tmp_path / "in.png", tmp_path / "out.tif")
    with Image.open(tmp_path / "out.tif") as file:
        assert file.info["dpi"] == pytest.approx((300, 300), rel=1e-3)


REFUSED = {
    "a stack": (np.zeros((3, 40, 50), np.uint8), {"metadata": {"axes": "ZYX"}}, "stacks"),
    "channels": (
        np.zeros((40, 50, 5), np.uint8),
        {"planarconfig": "contig", "extrasamples": [0] * 4},
        "5 channels",
    ),
    "fractions": (np.zeros((40, 50), np.float32), {}, "float32"),
    "white": (np.zeros((40, 50), np.uint8), {"photometric": "miniswhite"}, "zero is white"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_what_pictures_have_no_place_for_is_told(tmp_path, case, suffix):
    values, options, message = REFUSED[case]
    options = {"photometric": "minisblack", **options}
    tifffile.imwrite(tmp_path / "in.tif", values, **options)
    with pytest.raises(ImageFileError, match=f"has no place for .*{message}"):
        copied(tmp_path / "in.tif", tmp_path / f"out.{suffix}")
    assert [p.name for p in tmp_path.iterdir()] == ["in.tif"]


@pytest.mark.parametrize("form", ["gray, 16 bits", "colours and transparency"])
def test_jpeg_has_no_place_for_all(tmp_path, form):
    with pytest.raises(ImageFileError, match="JPEG has no place for"):
        copied(write_png(tmp_path / "in.png", FORMS[form]), tmp_path / "out.jpg")


def test_one_plane_of_a_stack_is_a_picture(tmp_path):
    tifffile.imwrite(tmp_path / "in.ome.tif", GRAY[None, None], metadata={"axes": "CZYX"})
    copied(tmp_path / "in.ome.tif", tmp_path / "out.png")
    np.testing.assert_array_equal(pixels(tmp_path / "out.png"), GRAY)


def test_inks_and_what_is_no_picture_are_named(tmp_path):
    Image.fromarray(ASTRONAUT).convert("CMYK").save(tmp_path / "inks.jpg")
    with pytest.raises(ImageFileError, match="are stored as CMYK"):
        read_image(tmp_path / "inks.jpg")
    (tmp_path / "words.png").write_text("no picture")
    with pytest.raises(ImageFileError, match=r"words\.png cannot be read: it is no PNG or JPEG"):
        read_image(tmp_path / "words.png")
    with pytest.raises(ImageFileError, match=r"there is no file .*none\.png"):
        read_image(tmp_path / "none.png")


@pytest.mark.parametrize("name", ["in.png", "in.jpg"])
def test_files_that_are_cut_off_are_named_wherever(tmp_path, name):
    Image.fromarray(ASTRONAUT).save(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    for share in (0.01, 0.2, 0.5, 0.9):
        (tmp_path / name).write_bytes(whole[: int(share * len(whole))])
        with warnings.catch_warnings(), pytest.raises(ImageFileError, match=f"{name} cannot be"):
            warnings.simplefilter("error")
            read_image(tmp_path / name)


def test_a_declared_size_is_not_believed(tmp_path):
    """A picture of a few bytes that would take 16 GB is refused, at once."""
    Image.fromarray(GRAY).save(tmp_path / "in.png")
    found = bytearray((tmp_path / "in.png").read_bytes())
    found[16:24] = struct.pack(">II", 120_000, 140_000)
    found[29:33] = struct.pack(">I", zlib.crc32(found[12:29]))
    (tmp_path / "in.png").write_bytes(found)
    with pytest.raises(ImageFileError, match="exceeds limit"):
        read_image(tmp_path / "in.png")


def test_a_folder_of_pictures_is_a_batch(tmp_path):
    (tmp_path / "in/sub").mkdir(parents=True)
    small_model("deblock").save(tmp_path / "tiny.safetensors")
    write_png(tmp_path / "in/a.png", GRAY)
    jpeg(tmp_path / "in/sub/b.JPG", ASTRONAUT, 3)
    places = ("deblock", tmp_path / "in", "--out", tmp_path / "out")
    code, text = call(*places, "--model", tmp_path / "tiny.safetensors")
    assert code == 0, text
    assert "2 restored" in text
    assert "JPEG loses a little again" in (tmp_path / "out/report.csv").read_text()
    expected = nr.deblock(GRAY, model=tmp_path / "tiny.safetensors")
    np.testing.assert_array_equal(pixels(tmp_path / "out/a.png"), expected)
    with Image.open(tmp_path / "out/sub/b.JPG") as file:
        assert file.format == "JPEG"
        assert file.getexif()[0x0112] == 3


def test_masks_and_psfs_among_the_images_are_none_of_them(tmp_path):
    (tmp_path / "in").mkdir()
    small_model("inpaint").save(tmp_path / "tiny.safetensors")
    write_png(tmp_path / "in/a.png", GRAY)
    mask = np.zeros_like(GRAY)
    mask[10:14] = 255
    write_png(tmp_path / "in/mask.png", mask)
    options = ("--mask", tmp_path / "in/mask.png", "--model", tmp_path / "tiny.safetensors")
    code, text = call("inpaint", tmp_path / "in", "--out", tmp_path / "out", *options)
    assert code == 0, text
    assert sorted(p.name for p in (tmp_path / "out").glob("*.png")) == ["a.png"]


def test_transparency_stays_what_it_was(tmp_path):
    """Even where a function takes it for a channel like others."""
    small_model("inpaint").save(tmp_path / "tiny.safetensors")
    for form in ("gray and transparency", "colours and transparency"):
        write_png(tmp_path / "in.png", FORMS[form])
        mask = np.zeros_like(GRAY)
        mask[10:30] = 255
        write_png(tmp_path / "mask.png", mask)
        options = ("--mask", tmp_path / "mask.png", "--model", tmp_path / "tiny.safetensors")
        code, text = call("inpaint", tmp_path / "in.png", tmp_path / "out.png", *options, "--force")
        assert code == 0, text
        found = pixels(tmp_path / "out.png")
        np.testing.assert_array_equal(found[..., -1], ALPHA)
        assert (found != FORMS[form]).any()


@pytest.mark.parametrize("form", ["colours and transparency", "colours, 16 bits"])
def test_results_may_have_other_bits(tmp_path, form):
    values = FORMS[form]
    other = np.dtype("uint16" if values.dtype == np.uint8 else "uint8")
    image = described_for(tmp_path / "out.png", read_image(write_png(tmp_path / "in.png", values)))
    with image_writer(tmp_path / "out.png", with_dtype(image, other.name)) as out:
        out[...] = 7
    found = pixels(tmp_path / "out.png")
    assert found.dtype == other
    assert (found[..., :3] == 7).all()
    if values.shape[-1] == 4:
        np.testing.assert_array_equal(found[..., 3], ALPHA.astype(np.uint16) * 257)


def test_a_painted_mask_may_have_a_palette(tmp_path):
    """Its numbers are what is painted, whatever their colours."""
    painted = Image.fromarray((GRAY > 128).astype(np.uint8)).convert("P")
    painted.putpalette([255, 255, 255, 0, 0, 0])
    painted.save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), GRAY > 128)


def test_what_16_bit_colours_lose_is_told(tmp_path):
    tifffile.imwrite(
        tmp_path / "in.tif", COLOURS_16, photometric="rgb", extratags=[(274, 3, 1, 6, 0)]
    )
    image = read_image(tmp_path / "in.tif")
    for name, told in (("out.png", "without EXIF data"), ("out.tif", "")):
        described = described_for(tmp_path / name, image)
        assert told in remark_on_result(described, tmp_path / name) or not told
        assert bool(remark_on_result(described, tmp_path / name)) == bool(told)
