"""Records of restorations that can be repeated: as plain values, in Python, as a command."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
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
_WIDTH = 88
_PACKAGES = {
    "np": "import numpy as np",
    "tifffile": "import tifffile",
    "zarr": "import zarr",
    "io": "from skimage import io",
}
_PSF_OPTIONS = {
    "gaussian": ("--gaussian",),
    "disk": ("--disk",),
    "motion": ("--motion", "--angle"),
    "widefield": ("--numerical-aperture", "--wavelength", "--pixel-size"),
    "widefield3d": (
        "--numerical-aperture",
        "--wavelength",
        "--pixel-size",
        "--z-step",
        "--refractive-index",
    ),
    "confocal3d": (
        "--numerical-aperture",
        "--wavelength",
        "--excitation",
        "--pixel-size",
        "--z-step",
        "--refractive-index",
        "--pinhole",
    ),
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


def as_python(call: Call) -> str:
    """Python script that repeats a call; the result is called `restored`.

    Images without a file are read from a placeholder path, as a comment says.
    """
    body = [*_reading("image", call.source), *_part_of("image", call.crop), *_other_arrays(call)]
    body += [_restoring(call), *_with_alpha(call)]
    return "\n".join([*_imports(body), "", *body, ""])


def _imports(body: list[str]) -> list[str]:
    """The imports that a script needs."""
    used = {line.partition(" = ")[2].partition(".")[0] for line in body}
    needed = [line for name, line in _PACKAGES.items() if name in used]
    return [*needed, *([""] if needed else []), "import napari_rednet as nr"]


def _reading(variable: str, origin: Origin) -> list[str]:
    """Lines that read an array from its file, or from a placeholder path."""
    if origin.path is not None:
        return [f"{variable} = {_reader(origin.path, origin.array)}"]
    file = placeholder(variable)
    return [
        f"# {file} stands for the layer {origin.name!r}: save it as TIFF and write its path here.",
        f"{variable} = {_reader(file)}",
    ]


def placeholder(variable: str) -> str:
    """Placeholder path for an array without a file."""
    return f"{variable.upper()}.tif"


def _reader(path: str, array: str | None = None) -> str:
    suffix = Path(path).suffix.lower()
    if suffix == ZARR_SUFFIX:
        inside = "" if array is None else f", path={array!r}"
        return f'zarr.open_array({path!r}{inside}, mode="r")'
    read = "tifffile.imread" if suffix in TIFF_SUFFIXES else "io.imread"
    return f"{'np.load' if suffix == '.npy' else read}({path!r})"


def _part_of(
    variable: str, crop: Crop | None, shape: Sequence[int] | None = None, channel: int | None = None
) -> list[str]:
    """Line that takes a part and keeps its axes; axes of length 1 in `shape` are taken whole.

    A `shape` with fewer axes is that of all planes, or of all of `channel`.
    """
    if crop is None:
        return []
    parts = list(crop)
    if shape is not None:
        if channel is not None and len(shape) == len(parts) - 1 > 2:
            del parts[channel]
        parts = parts[len(parts) - len(shape) :]
        parts = [None if n == 1 else part for part, n in zip(parts, shape, strict=True)]
    while parts and parts[-1] is None:
        parts.pop()
    index = [":" if part is None else f"{part[0]}:{part[1]}" for part in parts]
    return [f"{variable} = {variable}[{', '.join(index)}]"] if index else []


def _other_arrays(call: Call) -> list[str]:
    psf, mask = call.arguments.get("psf"), call.arguments.get("mask")
    lines = []
    if psf is not None and "function" not in psf:
        lines += _reading("psf", Origin(**psf))
    if mask is not None:
        fields = {name: value for name, value in mask.items() if name != "shape"}
        lines += _reading("mask", Origin(**fields))
        lines += _part_of("mask", call.crop, mask["shape"], call.channel_axis)
    return lines


def _restoring(call: Call) -> str:
    without_alpha = call.alpha and not call.has_rgb
    arguments = ["image[..., :3]" if without_alpha else "image"]
    if call.rgb:
        colours = "rgb=True" if call.has_rgb else "channel_axis=-1"
        arguments.append(colours)
    elif call.channel_axis is not None:
        arguments.append(f"channel_axis={call.channel_axis}")
    arguments += [_argument(name, value) for name, value in call.changed.items()]
    return _wrapped(f"restored = nr.{call.verb}", arguments)


def _argument(name: str, value: Any) -> str:
    special = {"psf": _psf, "mask": lambda _: "mask", "noise": _noise}
    return f"{name}={special.get(name, repr)(value)}"


def _psf(psf: Mapping[str, Any]) -> str:
    if "function" not in psf:
        return "psf"
    return f"nr.psf.{psf['function']}({', '.join(map(repr, psf['values']))})"


def _noise(levels: list[Mapping[str, float]]) -> str:
    common = common_noise(levels)
    if common is not None:
        return _noise_model(common)
    return f"[{', '.join(map(_noise_model, levels))}]"


def _noise_model(noise: Mapping[str, float]) -> str:
    if is_gaussian(noise):
        return repr(noise["read_noise"])
    return f"nr.NoiseModel({', '.join(f'{n}={v!r}' for n, v in noise.items() if v != 0)})"


def _wrapped(function: str, arguments: list[str]) -> str:
    line = f"{function}({', '.join(arguments)})"
    if len(line) <= _WIDTH:
        return line
    return "\n".join([f"{function}(", *(f"    {a}," for a in arguments), ")"])


def _with_alpha(call: Call) -> list[str]:
    """Line that appends the transparency to colours restored without it."""
    if not call.alpha or call.has_rgb:
        return []
    return ["restored = np.concatenate([restored, image[..., 3:]], axis=-1)"]


def as_command_line(call: Call) -> str:
    """Command that repeats a call, and writes the result beside the image.

    A `ValueError`, worded for the user, is raised if no command does just this.
    """
    _check(call)
    source = _as_path(_file("image", call.source))
    words = ["napari-rednet", VERBS[call.verb].command, source, _result(source, call.verb)]
    for name, value in call.changed.items():
        words += _option(name, value)
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def _check(call: Call) -> None:
    if call.crop is not None:
        raise ValueError("the command line restores whole images; copy as Python instead")
    if call.alpha and not call.has_rgb:
        raise ValueError(
            "the command line takes transparency for a channel like others; copy as Python instead"
        )
    taken_as = call.source.taken_as
    meant = "colours" if call.rgb else "planes" if call.channel_axis is None else "channels"
    same_axis = meant != "channels" or call.source.channel_axis == call.channel_axis
    if taken_as is not None and (taken_as != meant or not same_axis):
        raise ValueError(
            f"the command line takes an axis of {call.source.path} for {taken_as}, the layer for "
            f"{meant}; copy as Python instead"
        )
    noise = call.arguments.get("noise")
    if noise is not None and common_noise(noise) is None:
        raise ValueError(
            "the command line knows one noise for all channels; copy as Python instead"
        )


def _as_path(path: str) -> str:
    """A path that is no option, whatever its name begins with."""
    return str(Path(os.curdir)) + os.sep + path if path.startswith("-") else path


def _file(variable: str, origin: Origin) -> str:
    """Path of an image, or a placeholder if commands cannot read it."""
    known = origin.path is not None and origin.taken_as is not None
    return str(origin.path) if known else placeholder(variable)


def _result(source: str, verb: str) -> str:
    path = Path(source)
    stem, dot, rest = path.name.partition(".")
    return _as_path(str(path.with_name(f"{stem}-{VERBS[verb].result}{dot}{rest}")))


def _option(name: str, value: Any) -> list[str]:
    if value is True:
        return [f"--{name}"]
    special: dict[str, Callable[[Any], list[str]]] = {
        "psf": _psf_options,
        "mask": _mask,
        "noise": _noise_options,
    }
    return special[name](value) if name in special else [f"--{name}", _as_path(str(value))]


def _psf_options(psf: Mapping[str, Any]) -> list[str]:
    if "function" in psf:
        pairs = zip(_PSF_OPTIONS[psf["function"]], psf["values"], strict=True)
        return [word for option, value in pairs for word in (option, repr(value))]
    path = psf["path"]
    readable = path is not None and Path(path).suffix.lower() in TIFF_SUFFIXES
    return ["--psf", _as_path(path) if readable else placeholder("psf")]


def _mask(mask: Mapping[str, Any]) -> list[str]:
    path = mask["path"]
    return ["--mask", placeholder("mask") if path is None else _as_path(path)]


def _noise_options(levels: list[Mapping[str, float]]) -> list[str]:
    noise = levels[0]  # all are the same
    if is_gaussian(noise):
        return ["--noise", repr(noise["read_noise"])]
    named = {f"--{name.replace('_', '-')}": value for name, value in noise.items()}
    return [word for option, value in named.items() if value != 0 for word in (option, repr(value))]
