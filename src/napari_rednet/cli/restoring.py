"""The command line, and its commands that restore: one for each verb, with its options."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from napari_rednet import __version__
from napari_rednet.cli.files import Places, reported_errors, restore
from napari_rednet.console import printed_warnings
from napari_rednet.engine.channel import NoiseModel
from napari_rednet.io import read_mask
from napari_rednet.io.sources import as_path
from napari_rednet.io.tiff.image import COMPRESSIONS
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
            "z_step",
            "refractive_index",
            "excitation",
            "pinhole",
        ),
        "noise": ("noise", "gain", "offset", "read_noise", "grain_y", "grain_x"),
        **dict.fromkeys(("channel_axis", "rgb", "progress", "out"), ()),
    }
)
_SEVERAL = "Several images"
Paths = Annotated[
    list[Path],
    typer.Argument(
        parser=as_path,
        metavar="IN... [OUT]",
        help="The image to read and the file to write (.tif, .png, .jpg, .zarr). With --out: "
        'any number of images, folders, and patterns in quotes such as "folder/**/*.tif".',
        show_default=False,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="FOLDER",
        help="Where the results go, in the same folders and under the same names as the images.",
        rich_help_panel=_SEVERAL,
    ),
]
Skip = Annotated[
    bool,
    typer.Option("--skip", help="Leave results that exist as they are.", rich_help_panel=_SEVERAL),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on where a batch, or a single .zarr file, stopped; images or options that "
        "changed are done again.",
    ),
]
Report = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Table (.csv) of all images; report.csv beside the results if not given.",
        rich_help_panel=_SEVERAL,
    ),
]
Noise = Annotated[float | None, typer.Option(help=OPTIONS["noise"].help)]
Gain = Annotated[float | None, typer.Option(help=OPTIONS["gain"].help)]
Offset = Annotated[float | None, typer.Option(help=OPTIONS["offset"].help)]
ReadNoise = Annotated[float | None, typer.Option(help=OPTIONS["read_noise"].help)]
GrainY = Annotated[float | None, typer.Option(help=OPTIONS["grain_y"].help)]
GrainX = Annotated[float | None, typer.Option(help=OPTIONS["grain_x"].help)]
Model = Annotated[str, typer.Option(help=OPTIONS["model"].help)]
Device = Annotated[str, typer.Option(help=OPTIONS["device"].help)]
Force = Annotated[bool, typer.Option("--force", help="Overwrite results that exist.")]
Scheduler = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Compute on the workers of a dask.distributed scheduler, such as tcp://host:8786; "
        "for .zarr files that all of them can open.",
    ),
]
Series = Annotated[
    str,
    typer.Option(
        metavar="N|all",
        help="Which image of a file that has several, counted from 0; thumbnails and lower "
        "resolutions do not count. all: a result for each, such as cells-0.tif.",
    ),
]
MissingPlanes = Annotated[
    str,
    typer.Option(
        metavar="error|skip",
        help="What to do about planes that a file declares and does not hold, as of an acquisition "
        "that was aborted, or if other files of the image are missing: fail, or leave them out.",
    ),
]
Axes = Annotated[
    str | None,
    typer.Option(
        metavar="LETTERS",
        help="A letter for each axis in the order of the file, such as TZYX, where it tells none "
        "or wrong ones: T, C (channels), Z, Y, X, S (colours), Q (other planes).",
        show_default=False,
    ),
]
ChannelAxis = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Number of the axis that the channels lie along, from 0 on, or from -1 backwards; "
        "each has a noise of its own.",
        show_default=False,
    ),
]
Compression = Annotated[
    str | None,
    typer.Option(
        metavar="|".join(COMPRESSIONS),
        help="Of the result, which loses nothing by it; that of the image if not given, deflate "
        "where that would lose. Zarrs have none, deflate or zstd.",
        show_default=False,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
AsJson = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print a line of JSON for each file to standard output: its result, what became of it "
        "and why, noise, seconds.",
    ),
]


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(f"napari-rednet {__version__}")
        raise typer.Exit


class _Group(TyperGroup):
    """The command and all below it; `~` is the home wherever a path is told, as in --out=~/x."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [_with_home(argument) for argument in args])


def _with_home(argument: str) -> str:
    option, equals, value = argument.partition("=")
    if option.startswith("--") and equals:
        return f"{option}={os.path.expanduser(value)}"  # noqa: PTH111 (unknown users stay names)
    return os.path.expanduser(argument)  # noqa: PTH111


class _App(typer.Typer):
    def __call__(self, *args: Any, **options: Any) -> Any:
        # On Windows, click would expand patterns, even in quotes, and lose their folders.
        return super().__call__(*args, **{"windows_expand_args": False, **options})


app = _App(
    name="napari-rednet",
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def about(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_tell_version, is_eager=True, help="Tell the version."),
    ] = False,
) -> None:
    """RED-Net image restoration of image files, one or many; models of your own; a demo."""


def command_for(verb: Verb) -> Callable[..., None]:
    """Make the command of a verb, with the options of its function."""
    names = {part for name in verb.options for part in _PARTS.get(name, (name,))}
    own = [name for name in OPTIONS if name in names]
    told = [name for name in verb.options if _PARTS.get(name, (name,))]

    def command(**given: Any) -> None:
        with reported_errors():
            helpers = [given[name] for name in ("mask", "psf") if given.get(name) is not None]
            places = Places(
                **{name: given[name] for name in FILE_OPTIONS},
                helpers=frozenset(path.resolve() for path in helpers),
            )
            with printed_warnings(quiet=places.quiet):
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

    restore(places, partial(make_work, verb.name, arguments))


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
    *optics: float | None,
) -> Any:
    """The PSF from the options, or the microscope that it depends on besides each image.

    Raises `ValueError` unless just one kind is given, with all its values.
    """
    if angle is not None and motion is None:
        raise ValueError("--angle belongs to --motion, which is not given")
    kinds: dict[str, tuple[Any, ...]] = {
        "psf": (psf,),
        "gaussian": (gaussian,),
        "disk": (disk,),
        "motion": (motion, angle or 0.0) if motion is not None else (None,),
        "microscope": optics,
    }
    given = {kind: values for kind, values in kinds.items() if any(v is not None for v in values)}
    if len(given) != 1:
        raise ValueError(
            "give one of --psf, --gaussian, --disk, --motion, or --numerical-aperture with "
            f"--wavelength and --pixel-size; got {len(given)} of them"
        )
    ((kind, values),) = given.items()
    if kind == "microscope":
        return _microscope(*values)
    return _psf(kind, values)


def _microscope(aperture: Any, wavelength: Any, *rest: Any) -> Any:
    from napari_rednet.psf import Microscope

    if aperture is None or wavelength is None:
        raise ValueError(
            "--numerical-aperture and --wavelength belong together, with --pixel-size if the file "
            "does not tell it"
        )
    *_, excitation, pinhole = rest
    if pinhole is not None and excitation is None:
        raise ValueError("--pinhole belongs to a confocal microscope, with --excitation")
    microscope = Microscope(aperture, wavelength, *rest)
    microscope.psf({"X": wavelength / 4, "Z": wavelength})  # tells what is wrong at once
    return microscope


def _psf(kind: str, values: tuple[Any, ...]) -> Any:
    from napari_rednet import psf as psfs
    from napari_rednet.io.tiff import read_tiff

    return read_tiff(*values).data if kind == "psf" else getattr(psfs, kind)(*values)


def typed(name: str) -> Any:
    """An option of the table as a parameter of a command."""
    option = OPTIONS[name]
    flag = (f"--{name}",) if option.type is bool else ()
    shown = option.shows_default
    return Annotated[
        option.type,
        typer.Option(*flag, help=option.help, metavar=option.metavar, show_default=shown),
    ]


@dataclass(frozen=True)
class FileOption:
    """An option that says what is read or written: its type for typer, and its default."""

    type: Any
    default: Any = None


FILE_OPTIONS: Mapping[str, FileOption] = MappingProxyType(
    {
        "paths": FileOption(Paths),
        "force": FileOption(Force, default=False),
        "quiet": FileOption(Quiet, default=False),
        "as_json": FileOption(AsJson, default=False),
        "series": FileOption(Series, default="0"),
        "missing": FileOption(MissingPlanes, default="error"),
        "compression": FileOption(Compression),
        "axes": FileOption(Axes),
        "channel_axis": FileOption(ChannelAxis),
        "out": FileOption(Out),
        "skip": FileOption(Skip, default=False),
        "resume": FileOption(Resume, default=False),
        "report": FileOption(Report),
        "scheduler": FileOption(Scheduler),
    }
)
"""Options on files, named like the fields of `Places`."""
