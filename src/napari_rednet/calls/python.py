"""A call as a Python script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_rednet.calls.call import Call, common_noise, is_gaussian
from napari_rednet.calls.origins import Origin
from napari_rednet.io.files import TIFF_SUFFIXES, ZARR_SUFFIX

_WIDTH = 88
_PACKAGES = {
    "np": "import numpy as np",
    "tifffile": "import tifffile",
    "zarr": "import zarr",
    "io": "from skimage import io",
}


def as_python(call: Call) -> str:
    """A script that repeats a call; the result is called `restored`.

    Images without a file of their own are read from one to be named, as a comment says.
    """
    body = [*_reading("image", call.source), *_plane_of("image", call.plane), *_other_arrays(call)]
    body += [_restoring(call), *_with_alpha(call)]
    return "\n".join([*_imports(body), "", *body, ""])


def _imports(body: list[str]) -> list[str]:
    """The imports that a script needs."""
    used = {line.partition(" = ")[2].partition(".")[0] for line in body}
    needed = [line for name, line in _PACKAGES.items() if name in used]
    return [*needed, *([""] if needed else []), "import napari_rednet as nr"]


def _reading(variable: str, origin: Origin) -> list[str]:
    """Lines that read an array from its file, or from one that the user has to name."""
    if origin.path is not None:
        return [f"{variable} = {_reader(origin.path, origin.array)}"]
    file = placeholder(variable)
    return [
        f"# {file} stands for the layer {origin.name!r}: save it as TIFF and write its path here.",
        f"{variable} = {_reader(file)}",
    ]


def placeholder(variable: str) -> str:
    """What stands for a file that there is not."""
    return f"{variable.upper()}.tif"


def _reader(path: str, array: str | None = None) -> str:
    suffix = Path(path).suffix.lower()
    if suffix == ZARR_SUFFIX:
        inside = "" if array is None else f", path={array!r}"
        return f'zarr.open_array({path!r}{inside}, mode="r")'
    read = "tifffile.imread" if suffix in TIFF_SUFFIXES else "io.imread"
    return f"{'np.load' if suffix == '.npy' else read}({path!r})"


def _plane_of(
    variable: str, plane: Sequence[int] | None, shape: Sequence[int] | None = None
) -> list[str]:
    """The line that takes a plane, whose axes stay; all of axes that are of length 1 in `shape`."""
    if plane is None or (shape is not None and all(n == 1 for n in shape)):
        return []
    sizes = [0] * len(plane) if shape is None else shape
    index = (":" if n == 1 else f"{i}:{i + 1}" for i, n in zip(plane, sizes, strict=True))
    return [f"{variable} = {variable}[{', '.join(index)}]"]


def _other_arrays(call: Call) -> list[str]:
    psf, mask = call.arguments.get("psf"), call.arguments.get("mask")
    lines = []
    if psf is not None and "function" not in psf:
        lines += _reading("psf", Origin(**psf))
    if mask is not None:
        fields = {name: value for name, value in mask.items() if name != "planes"}
        lines += _reading("mask", Origin(**fields))
        lines += _plane_of("mask", call.plane, mask["planes"])
    return lines


def _restoring(call: Call) -> str:
    without_alpha = call.alpha and not call.has_rgb
    arguments = ["image[..., :3]" if without_alpha else "image"]
    if call.rgb:
        colours = "rgb=True" if call.has_rgb else "channel_axis=-1"
        arguments.append(colours)
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
    """The line that gives transparency back to colours restored without it."""
    if not call.alpha or call.has_rgb:
        return []
    return ["restored = np.concatenate([restored, image[..., 3:]], axis=-1)"]
