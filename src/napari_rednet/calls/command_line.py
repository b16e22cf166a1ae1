"""A call as a command of ``napari-rednet``."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from napari_rednet.calls.call import Call, common_noise, is_gaussian
from napari_rednet.calls.origins import Origin
from napari_rednet.calls.python import placeholder
from napari_rednet.io.files import TIFF_SUFFIXES
from napari_rednet.tasks import VERBS

_PSF_OPTIONS = {
    "gaussian": ("--gaussian",),
    "disk": ("--disk",),
    "motion": ("--motion", "--angle"),
    "widefield": ("--numerical-aperture", "--wavelength", "--pixel-size"),
}


def as_command_line(call: Call) -> str:
    """A command that repeats a call, and writes the result beside the image.

    Raises
    ------
    ValueError
        In words for the user, if no command does just this.
    """
    _check(call)
    source = _file("image", call.source)
    words = ["napari-rednet", VERBS[call.verb].command, source, _result(source, call.verb)]
    for name, value in call.changed.items():
        words += _option(name, value)
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def _check(call: Call) -> None:
    if call.plane is not None:
        raise ValueError("the command line restores all planes; copy as Python instead")
    if call.alpha and not call.has_rgb:
        raise ValueError(
            "the command line takes transparency for a channel like others; copy as Python instead"
        )
    taken_as, meant = call.source.taken_as, "colours" if call.rgb else "planes"
    if taken_as not in (None, meant):
        raise ValueError(
            f"the command line takes an axis of {call.source.path} for {taken_as}, the layer for "
            f"{meant}; copy as Python instead"
        )
    noise = call.arguments.get("noise")
    if noise is not None and common_noise(noise) is None:
        raise ValueError(
            "the command line knows one noise for all channels; copy as Python instead"
        )


def _file(variable: str, origin: Origin) -> str:
    """The file of an image, or what stands for it if commands cannot read it."""
    known = origin.path is not None and origin.taken_as is not None
    return str(origin.path) if known else placeholder(variable)


def _result(source: str, verb: str) -> str:
    path = Path(source)
    stem, dot, rest = path.name.partition(".")
    return str(path.with_name(f"{stem}-{VERBS[verb].result}{dot}{rest}"))


def _option(name: str, value: Any) -> list[str]:
    if value is True:
        return [f"--{name}"]
    special: dict[str, Callable[[Any], list[str]]] = {"psf": _psf, "mask": _mask, "noise": _noise}
    return special[name](value) if name in special else [f"--{name}", str(value)]


def _psf(psf: Mapping[str, Any]) -> list[str]:
    if "function" in psf:
        pairs = zip(_PSF_OPTIONS[psf["function"]], psf["values"], strict=True)
        return [word for option, value in pairs for word in (option, repr(value))]
    path = psf["path"]
    readable = path is not None and Path(path).suffix.lower() in TIFF_SUFFIXES
    return ["--psf", path if readable else placeholder("psf")]


def _mask(mask: Mapping[str, Any]) -> list[str]:
    return ["--mask", placeholder("mask") if mask["path"] is None else mask["path"]]


def _noise(levels: list[Mapping[str, float]]) -> list[str]:
    noise = levels[0]  # all are the same
    if is_gaussian(noise):
        return ["--noise", repr(noise["read_noise"])]
    named = {f"--{name.replace('_', '-')}": value for name, value in noise.items()}
    return [word for option, value in named.items() if value != 0 for word in (option, repr(value))]
