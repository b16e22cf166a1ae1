"""PNG and JPEG in and out, by Pillow: gray or colours, transparency, orientation, resolution."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_rednet.errors import ImageFileError
from napari_rednet.files import replaced
from napari_rednet.io.sources import told_axes
from napari_rednet.io.tiff.description import ORIENTATION
from napari_rednet.io.tiff.image import Storage, TiffImage

if TYPE_CHECKING:
    from PIL import Image

JPEG = (".jpg", ".jpeg")
SUFFIXES = (".png", *JPEG)
"""Suffixes of the pictures that can be read and written."""
_LONGEST = {".png": 2**31 - 1, ".jpg": 65500, ".jpeg": 65500}
_QUALITY = 95
_LOSSY = "JPEG loses a little again; .png and .tif lose nothing"
_BARE = "colours of 16 bits are written without EXIF data and colour profile"
_GRAY_16 = ("I", "I;16", "I;16B")
_PNG = b"\x89PNG\r\n\x1a\n"
_SAMPLES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
# Tags of EXIF: where its part with the size of the image is, and the size.
_EXIF, _WIDTH, _HEIGHT = 0x8769, 0xA002, 0xA003
_RESOLUTION = (282, 283)


@dataclass(frozen=True)
class Picture(TiffImage):
    """A picture, described as the TIFF file that it could be.

    `exif` is its EXIF data and `alpha` its transparency, if there is any; `texts` are those of a
    PNG file, or the comment of a JPEG file.
    """

    exif: bytes = b""
    alpha: npt.NDArray[Any] | None = None
    texts: Mapping[str, str] = field(default_factory=dict)


def read_picture(path: Path, axes: str | None = None, channel_axis: int | None = None) -> Picture:
    """Read a PNG or JPEG file.

    Pixels are as they are stored; how they are to be turned is told by `orientation`. A palette
    becomes what it stands for, and bits become 0 and 255. Raises `ImageFileError` if the file
    cannot be read, or has inks instead of colours.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=("PNG", "JPEG")) as file:
                picture = _described(path, file)
    except FileNotFoundError as error:
        raise ImageFileError(f"there is no file {path}") from error
    except ImageFileError:
        raise
    except Exception as error:  # damaged files make Pillow raise many kinds
        told = "it is no PNG or JPEG file" if "cannot identify" in str(error) else error
        raise ImageFileError(f"{path} cannot be read: {told}") from error
    letters = told_axes(picture.axes, picture.data.shape, axes, channel_axis)
    return picture.with_axes(letters)


def _described(path: Path, file: Image.Image) -> Picture:
    count = getattr(file, "n_frames", 1)
    remarks = (f"it has {count} pictures, of which the first was taken",) * (count > 1)
    exif = file.getexif()
    pixels = _pixels(path, file)
    options = _options(pixels, file)
    if exif.get(ORIENTATION) in range(2, 9):
        options["extratags"] = [(ORIENTATION, 3, 1, exif[ORIENTATION], False)]
    texts = dict(getattr(file, "text", {}))
    if isinstance(file.info.get("comment"), bytes):
        texts["comment"] = file.info["comment"].decode("latin-1")
    axes = "YXS" if pixels.ndim > 2 else "YX"
    told = exif.tobytes() if len(exif) else b""
    return Picture(
        pixels,
        axes,
        options,
        remarks,
        storage=Storage("deflate", predictor=True),
        exif=told,
        alpha=_alpha(pixels),
        texts=texts,
    )


def _alpha(pixels: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
    """The last of two or four samples."""
    return pixels[..., -1] if pixels.ndim > 2 and pixels.shape[2] in (2, 4) else None


def _options(pixels: npt.NDArray[Any], file: Image.Image) -> dict[str, Any]:
    """Arguments of tifffile's writer for the same picture."""
    samples = pixels.shape[2] if pixels.ndim > 2 else 1
    options: dict[str, Any] = {"photometric": "rgb" if samples > 2 else "minisblack"}
    if samples > 1:
        options["planarconfig"] = "contig"
    if samples in (2, 4):
        options["extrasamples"] = ["unassalpha"]
    if "icc_profile" in file.info:
        options["iccprofile"] = file.info["icc_profile"]
    dpi = file.info.get("dpi", (0, 0))
    if all(n > 0 for n in dpi):
        parts = (Fraction(float(n)).limit_denominator(10_000) for n in dpi)
        options["resolution"] = tuple((part.numerator, part.denominator) for part in parts)
        options["resolutionunit"] = 2
    return {**options, "metadata": {"axes": "YXS" if samples > 1 else "YX"}}


def _pixels(path: Path, file: Image.Image) -> npt.NDArray[Any]:
    """(Y, X) or (Y, X, samples), uint8 or uint16."""
    if _is_deep_colour(path):
        return np.asarray(_imagecodecs(path).png_decode(path.read_bytes()))
    if file.mode in _GRAY_16:
        return np.asarray(file).astype(np.uint16)
    if file.mode == "P":
        file = file.convert("RGBA" if "transparency" in file.info else "RGB")
        return _gray_if_gray(np.asarray(file))
    if file.mode == "1":
        return np.asarray(file.convert("L"))
    if "transparency" in file.info and file.mode in ("L", "RGB"):
        return np.asarray(file.convert("LA" if file.mode == "L" else "RGBA"))
    if file.mode not in _SAMPLES.values():
        raise ImageFileError(
            f"the colours of {path} are stored as {file.mode}; convert them to gray or RGB"
        )
    return np.asarray(file)


def _is_deep_colour(path: Path) -> bool:
    """True for PNG files of 16 bits that are not gray alone, which Pillow cuts down to 8."""
    with path.open("rb") as file:
        head = file.read(26)
    return head.startswith(_PNG) and head[24] == 16 and head[25] != 0


def _gray_if_gray(colours: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """One sample instead of three that are the same everywhere."""
    first, others = colours[..., :1], colours[..., 1:3]
    if colours.shape[-1] == 3 and (first == others).all():
        return first[..., 0]
    return colours


def _imagecodecs(path: Path) -> Any:
    try:
        import imagecodecs
    except ImportError as error:
        raise ImageFileError(
            f"{path} has colours of 16 bits, which need: pip install imagecodecs"
        ) from error
    return imagecodecs


def as_picture(image: TiffImage, path: Path) -> Picture:
    """Describe an image as a picture of the format of `path`, with Y and X first.

    Raises `ImageFileError` if it is no single plane of gray or colours, or if the format has no
    place for its pixels.
    """
    suffix = path.suffix.lower()
    picture = image if isinstance(image, Picture) else _flat(image, suffix)
    samples = picture.data.shape[2] if picture.data.ndim > 2 else 1
    dtype = np.dtype(picture.data.dtype)
    fits = dtype in (np.uint8, np.uint16) if suffix == ".png" else dtype == np.uint8
    if not fits:
        raise _refusal(suffix, f"pixels of the type {dtype}")
    if suffix in JPEG and samples in (2, 4):
        raise _refusal(suffix, "transparency")
    if samples > 1 and dtype == np.uint16:
        _imagecodecs(path)
    return picture


def _flat(image: TiffImage, suffix: str) -> Picture:
    """A single plane, colours last."""
    if image.options.get("photometric") == "miniswhite":
        raise _refusal(suffix, "images in which zero is white")
    sizes = dict(zip(image.axes, image.data.shape, strict=True))
    samples = sizes.pop("S", 1)
    if samples not in _SAMPLES or (samples > 2 and not image.is_rgb):
        raise _refusal(suffix, f"{samples} channels")
    if any(n > 1 for letter, n in sizes.items() if letter not in "YX"):
        raise _refusal(suffix, f"stacks (axes {image.axes}, shape {tuple(image.data.shape)})")
    data = np.asarray(image.data)
    if "S" in image.axes:
        data = np.moveaxis(data, image.axes.index("S"), -1)
    shape = (sizes["Y"], sizes["X"], *([samples] if "S" in image.axes else []))
    axes = "YXS" if "S" in image.axes else "YX"
    exif = _exif_of(image.orientation)
    data = data.reshape(shape)
    return Picture(data, axes, image.options, image.remarks, exif=exif, alpha=_alpha(data))


def _refusal(suffix: str, what: str) -> ImageFileError:
    name = "PNG" if suffix == ".png" else "JPEG"
    return ImageFileError(f"{name} has no place for {what}; write a .tif or .zarr file")


def _exif_of(orientation: int) -> bytes:
    from PIL import Image

    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif.tobytes() if orientation != 1 else b""


def picture_remarks(picture: Picture, path: Path) -> tuple[str, ...]:
    """What users should know of a picture that is written to `path`."""
    if path.suffix.lower() in JPEG:
        return (_LOSSY,)
    is_deep = picture.data.ndim > 2 and picture.data.dtype == np.uint16
    return (_BARE,) if is_deep and (picture.exif or "iccprofile" in picture.options) else ()


@contextmanager
def picture_writer(
    path: Path, like: Picture, scale: int = 1, *, overwrite: bool = True
) -> Iterator[npt.NDArray[Any]]:
    """Give an array to fill, which becomes the file `path` if there is no error.

    Metadata and shape are those of `like` (`as_picture`), with Y and X `scale` times longer;
    transparency stays what it was. The file is renamed from beside `path`, which is whole or
    untouched, and replaced only with `overwrite`. Raises `ImageFileError` if it cannot be written.
    """
    height, width, *samples = like.data.shape
    shape = (height * scale, width * scale, *samples)
    suffix = path.suffix.lower()
    if max(shape[:2]) > _LONGEST[suffix]:
        raise _refusal(suffix, f"{shape[1]} x {shape[0]} pixels")
    try:
        with replaced(path, overwrite=overwrite) as beside:
            out: npt.NDArray[Any] = np.zeros(shape, np.dtype(like.data.dtype).newbyteorder("="))
            yield out
            _with_own_transparency(out, like)
            beside.write_bytes(_encoded(out, like, suffix, scale))
    except OSError as error:
        raise ImageFileError(f"{path} cannot be written: {error.strerror or error}") from error


def _with_own_transparency(out: npt.NDArray[Any], like: Picture) -> None:
    from PIL import Image

    if like.alpha is None:
        return
    alpha = _of_type(np.ascontiguousarray(like.alpha), out.dtype)
    if out.shape[:2] == alpha.shape:
        out[..., -1] = alpha
    elif out.shape[2] == 2:
        enlarged = Image.fromarray(alpha).resize(out.shape[1::-1], Image.Resampling.BICUBIC)
        out[..., -1] = np.asarray(enlarged)


def _of_type(alpha: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Transparency in another number of bits; opaque stays opaque."""
    if alpha.dtype.itemsize == dtype.itemsize:
        return alpha
    return alpha.astype(dtype) * 257 if dtype.itemsize > 1 else (alpha // 257).astype(dtype)


def _encoded(out: npt.NDArray[Any], like: Picture, suffix: str, scale: int) -> bytes:
    from io import BytesIO

    from PIL import Image

    if out.ndim > 2 and out.dtype == np.uint16:
        return bytes(_imagecodecs(Path(suffix)).png_encode(out))
    options: dict[str, Any] = {"exif": _finer_exif(like.exif, out.shape, scale)}
    if "iccprofile" in like.options:
        options["icc_profile"] = like.options["iccprofile"]
    dpi = _dots_per_inch(like, scale)
    if dpi:
        options["dpi"] = dpi
    if suffix == ".png":
        options |= {"format": "PNG", "pnginfo": _png_texts(like.texts)}
    else:
        options |= {"format": "JPEG", "quality": _QUALITY, "subsampling": 0}
        options["comment"] = like.texts.get("comment", "")
    buffer = BytesIO()
    Image.fromarray(out).save(buffer, **{k: v for k, v in options.items() if v})
    return buffer.getvalue()


def _png_texts(texts: Mapping[str, str]) -> Any:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    for key, text in texts.items():
        info.add_text(key, text)
    return info


def _dots_per_inch(like: Picture, scale: int) -> tuple[float, ...] | None:
    per_unit = {2: 1.0, 3: 2.54}.get(like.options.get("resolutionunit", 1))
    if per_unit is None or "resolution" not in like.options:
        return None
    pairs = like.options["resolution"]
    return tuple(scale * per_unit * n / d for n, d in pairs) if all(d for _, d in pairs) else None


def _finer_exif(exif: bytes, shape: tuple[int, ...], scale: int) -> bytes:
    """EXIF data of a picture with `scale` times more pixels along Y and X."""
    from PIL import Image

    if not exif or scale == 1:
        return exif
    found = Image.Exif()
    found.load(exif)
    for tag in _RESOLUTION:
        if tag in found:
            found[tag] = found[tag] * scale
    part = found.get_ifd(_EXIF)
    if _WIDTH in part:
        part[_WIDTH], part[_HEIGHT] = shape[1], shape[0]
    try:
        return found.tobytes()
    except (struct.error, TypeError, ValueError):  # what a camera wrote need not be valid
        return exif
