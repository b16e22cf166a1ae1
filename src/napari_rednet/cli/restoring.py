"""Commands that restore: one for each verb, with the options of its function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from napari_rednet.cli.files import Places, restore
from napari_rednet.cli.options import FILE_OPTIONS, reported_errors, typed
from napari_rednet.console import printed_warnings
from napari_rednet.engine.channel import NoiseModel
from napari_rednet.io import read_mask
from napari_rednet.options import OPTIONS
from napari_rednet.tasks import Verb

# Arguments that are set by several options, or by none, since files or the command set them.
_PARTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "psf": (
            "psf",
            "gaussian",
            "disk",
            "motion",
            "angle",
            "numerical_aperture",
            "wavelength",
            "pixel_size",
        ),
        "noise": ("noise", "gain", "offset", "read_noise", "grain_y", "grain_x"),
        **dict.fromkeys(("channel_axis", "rgb", "progress", "out"), ()),
    }
)


def command_for(verb: Verb) -> Callable[..., None]:
    """Make the command of a verb, with the options of its function."""
    names = {part for name in verb.options for part in _PARTS.get(name, (name,))}
    own = [name for name in OPTIONS if name in names]

    def command(**given: Any) -> None:
        with reported_errors():
            places = Places(**{name: given[name] for name in FILE_OPTIONS})
            with printed_warnings(quiet=places.quiet):
                told = [name for name in verb.options if _PARTS.get(name, (name,))]
                _restore(verb, {name: _argument(name, given) for name in told}, places)

    kinds = {"paths": FILE_OPTIONS["paths"].type, **{name: typed(name) for name in own}}
    kinds |= {name: option.type for name, option in FILE_OPTIONS.items()}
    defaults: dict[str, Any] = {name: option.default for name, option in FILE_OPTIONS.items()}
    defaults |= dict.fromkeys(own)
    defaults |= {n: v for n, v in verb.options.items() if n in own and n not in _PARTS}
    defaults["paths"] = inspect.Parameter.empty
    command.__name__, command.__doc__, command.__annotations__ = verb.name, verb.help, kinds
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=defaults[name], annotation=kind
            )
            for name, kind in kinds.items()
        ]
    )
    return command


def _argument(name: str, given: Mapping[str, Any]) -> Any:
    """An argument of the function, from the options."""
    if name == "psf":
        return choose_psf(*(given[part] for part in _PARTS["psf"]))
    if name == "noise":
        return noise_model(*(given[part] for part in _PARTS["noise"]))
    if name == "mask":
        return None if given["mask"] is None else read_mask(given["mask"])
    return given[name]


def _restore(verb: Verb, arguments: Mapping[str, Any], places: Places) -> None:
    from napari_rednet.batch.restoring import make_work

    restore(places, make_work(verb.name, arguments))


def noise_model(
    noise: float | None,
    gain: float | None,
    offset: float | None,
    read_noise: float | None,
    grain_y: float | None,
    grain_x: float | None,
) -> float | NoiseModel | None:
    """The noise from the options; None if they do not give any."""
    from napari_rednet.arguments import check_number

    grain = (grain_y or 0.0, grain_x or 0.0)
    if noise is not None:
        check_number("noise", noise)
        if (gain, offset, read_noise) != (None, None, None):
            raise ValueError("give either --noise or --gain, --offset and --read-noise")
        return NoiseModel(0.0, 0.0, noise, *grain) if any(grain) else noise
    if (gain, offset, read_noise) != (None, None, None):
        return NoiseModel(gain or 0.0, offset or 0.0, read_noise or 0.0, *grain)
    if any(grain):
        raise ValueError("--grain-y and --grain-x go with --noise, or with --gain and its kin")
    return None


def choose_psf(
    psf: Path | None,
    gaussian: float | None,
    disk: float | None,
    motion: float | None,
    angle: float | None,
    *widefield: float | None,
) -> Any:
    """The PSF from the options; `ValueError` unless just one kind is given, with all its values."""
    if angle is not None and motion is None:
        raise ValueError("--angle belongs to --motion, which is not given")
    kinds: dict[str, tuple[Any, ...]] = {
        "psf": (psf,),
        "gaussian": (gaussian,),
        "disk": (disk,),
        "motion": (motion, angle or 0.0) if motion is not None else (None,),
        "widefield": widefield,
    }
    given = {kind: values for kind, values in kinds.items() if any(v is not None for v in values)}
    if len(given) != 1:
        raise ValueError(
            "give one of --psf, --gaussian, --disk, --motion, or --numerical-aperture with "
            f"--wavelength and --pixel-size; got {len(given)} of them"
        )
    ((kind, values),) = given.items()
    if None in values:
        raise ValueError("--numerical-aperture, --wavelength and --pixel-size belong together")
    return _psf(kind, values)


def _psf(kind: str, values: tuple[Any, ...]) -> Any:
    from napari_rednet import psf as psfs
    from napari_rednet.io.tiff import read_tiff

    return read_tiff(*values).data if kind == "psf" else getattr(psfs, kind)(*values)
