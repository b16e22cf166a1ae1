"""Code that repeats a call: a Python script, or a command of napari-rednet."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_rednet.io import TIFF_SUFFIXES, ZARR_SUFFIX
from napari_rednet.provenance.record import Call, Crop, Origin, common_noise, is_gaussian
from napari_rednet.tasks import VERBS

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
