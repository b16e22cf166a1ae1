"""A call of a restoration function, in JSON types, and the files that its arrays came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from napari_rednet.io import TIFF_SUFFIXES, ZARR_SUFFIX, read_image
from napari_rednet.io.pictures import SUFFIXES as PICTURE_SUFFIXES
from napari_rednet.io.tiff import TiffImage, colour_options
from napari_rednet.tasks import VERBS

TakenAs = Literal["planes", "channels", "colours"]
Crop = tuple[tuple[int, int] | None, ...]
"""The first index and the end of a part along each axis but that of colours; None for all of it."""
# Pillow's modes: axes after Y and X, and dtype.
_MODES: dict[str, tuple[tuple[int, ...], str]] = {
    "L": ((), "uint8"),
    "I;16": ((), "uint16"),
    "RGB": ((3,), "uint8"),
    "RGBA": ((4,), "uint8"),
}


@dataclass(frozen=True)
class Call:
    """A restoration of an image, or of a part of it.

    `verb` is the function and `arguments` are its own, as plain values: `noise` is a list with the
    fields of a `NoiseModel` for each channel; `psf` has `function` and `values`, or the fields of
    an `Origin`; `mask` has these fields and `shape`. `crop` has the first index and the end of the
    part along each axis but that of colours, None for all of it. `channel_axis` is that of channels
    which are no colours.
    """

    verb: str
    source: Origin
    arguments: Mapping[str, Any] = field(default_factory=dict)
    rgb: bool = False
    alpha: bool = False
    crop: Crop | None = None
    channel_axis: int | None = None

    @property
    def record(self) -> dict[str, Any]:
        """The call in JSON types; `from_record` takes it."""
        crop = self.crop
        plain = None if crop is None else [None if part is None else list(part) for part in crop]
        return {**asdict(self), "crop": plain}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Call:
        """The call from its record, which may have been to JSON and back."""
        crop = record["crop"]
        if crop is not None:
            crop = tuple(None if part is None else tuple(part) for part in crop)
        return cls(**{**record, "source": Origin(**record["source"]), "crop": crop})

    @property
    def has_rgb(self) -> bool:
        """True if the image is RGB and the verb takes `rgb`, and so handles transparency itself."""
        return self.rgb and VERBS[self.verb].takes_rgb

    @property
    def changed(self) -> dict[str, Any]:
        """The arguments that differ from the defaults, in the order of the function."""
        defaults = VERBS[self.verb].options
        given = {name: self.arguments[name] for name in defaults if name in self.arguments}
        return {name: value for name, value in given.items() if value != defaults[name]}


def common_noise(noise: list[Mapping[str, float]]) -> Mapping[str, float] | None:
    """The noise that all channels share; None if they differ."""
    return noise[0] if all(level == noise[0] for level in noise) else None


def is_gaussian(noise: Mapping[str, float]) -> bool:
    """True if a standard deviation describes the noise."""
    return all(value == 0 for name, value in noise.items() if name != "read_noise")


@dataclass(frozen=True)
class Origin:
    """Where an array comes from.

    `name` is that of its layer. `path` is a file with this array and no other, `array` its path in
    a Zarr group. `taken_as` is how commands interpret an additional axis of the file; it is None if
    they cannot read the file. `channel_axis` is that of channels which are no colours.
    """

    name: str
    path: str | None = None
    array: str | None = None
    taken_as: TakenAs | None = None
    channel_axis: int | None = None


@dataclass(frozen=True)
class _Contents:
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    array: str | None = None
    taken_as: TakenAs | None = None
    channel_axis: int | None = None


def find_origin(name: str, path: str | None, shape: tuple[int, ...], dtype: Any) -> Origin:
    """The origin of an array that was opened from a file, or from none.

    Only headers are read. The path is left out if the file cannot be read or has another shape or
    dtype, as with one channel of several, or a stack of files.
    """
    origin = Origin(name)
    if path is None:
        return origin
    try:
        found = _describe(Path(path))
    except Exception:  # noqa: BLE001 - readers raise many kinds, and no file is a good answer
        return origin
    if found.shape != tuple(shape) or found.dtype != np.dtype(dtype):
        return origin
    return replace(
        origin,
        path=str(path),
        array=found.array,
        taken_as=found.taken_as,
        channel_axis=found.channel_axis,
    )


def read_array(origin: Origin) -> npt.NDArray[Any]:
    """Read the array of an origin from its file."""
    import tifffile
    from skimage.io import imread

    path = Path(str(origin.path))
    if path.suffix.lower() in TIFF_SUFFIXES:
        return np.asarray(tifffile.imread(path))
    if path.suffix.lower() == ZARR_SUFFIX:
        return np.asarray(read_image(path).data)
    return np.asarray(np.load(path) if path.suffix.lower() == ".npy" else imread(path))


def _describe(path: Path) -> _Contents:
    suffix = path.suffix.lower()
    by_suffix: dict[str, Callable[[Path], _Contents]] = {
        **dict.fromkeys(TIFF_SUFFIXES, _describe_tiff),
        ZARR_SUFFIX: _describe_zarr,
        ".npy": _describe_npy,
    }
    return by_suffix.get(suffix, _describe_picture)(path)


def _describe_tiff(path: Path) -> _Contents:
    import tifffile

    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        return _Contents(series.shape, series.dtype, None, *_taken_as(series))


def _taken_as(series: Any) -> tuple[TakenAs | None, int | None]:
    """How commands interpret the axes of a TIFF file, and the axis of channels.

    They cannot read it if both are None.
    """
    if not series.axes.replace("S", "").replace("C", "").endswith("YX"):
        return None, None
    try:
        image = TiffImage(series, series.axes, colour_options(series.keyframe))
    except ValueError:
        return None, None
    if image.is_rgb:
        return "colours", None
    return "planes" if image.channel_axis is None else "channels", image.channel_axis


def _describe_zarr(path: Path) -> _Contents:
    from napari_rednet.io.ome_zarr import read_ome_zarr

    image = read_ome_zarr(path)
    array = image.data
    axis = image.channel_axis
    taken_as: TakenAs = "planes" if axis is None else "channels"
    return _Contents(tuple(array.shape), array.dtype, array.path or None, taken_as, axis)


def _describe_npy(path: Path) -> _Contents:
    array = np.load(path, mmap_mode="r")
    return _Contents(array.shape, array.dtype)


def _describe_picture(path: Path) -> _Contents:
    from PIL import Image

    with Image.open(path) as file:
        if getattr(file, "n_frames", 1) != 1:
            raise ValueError("a film")
        samples, dtype = _MODES[file.mode]
        taken_as: TakenAs | None = "colours" if samples else "planes"
        if path.suffix.lower() not in PICTURE_SUFFIXES:
            taken_as = None
        return _Contents((file.height, file.width, *samples), np.dtype(dtype), None, taken_as)
