"""Options that commands share, and how they report errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import typer
from rich.markup import escape

from napari_rednet.console import console
from napari_rednet.errors import RednetError

_SEVERAL = "Several images"

Paths = Annotated[
    list[Path],
    typer.Argument(
        metavar="IN... [OUT]",
        help="The image to read and the file to write (.tif, .tiff, .zarr). With --out: any number "
        'of images, folders, and patterns in quotes such as "folder/**/*.tif".',
        show_default=False,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
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
Noise = Annotated[
    float | None,
    typer.Option(help="Standard deviation of Gaussian noise; estimated if not given."),
]
Gain = Annotated[float | None, typer.Option(help="Image units per photon.")]
Offset = Annotated[float | None, typer.Option(help="Signal without light.")]
ReadNoise = Annotated[float | None, typer.Option(help="Noise without light.")]
GrainY = Annotated[
    float | None, typer.Option(help="Grain of the noise along Y in pixels; 0 if it is white.")
]
GrainX = Annotated[float | None, typer.Option(help="The same along X.")]
Strength = Annotated[float, typer.Option(help="Factor on the noise level.")]
Model = Annotated[str, typer.Option(help="fast, best, a model's name or a .safetensors file.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Memory = Annotated[
    str | None,
    typer.Option(help="Cap for what the program holds, such as 2GB.", show_default=False),
]
Tile = Annotated[int | None, typer.Option(help="Cap in pixels for what is held at once.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite results that exist.")]
Scheduler = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Compute on the workers of a dask.distributed scheduler, such as tcp://host:8786; "
        "for .zarr files that all of them can open.",
    ),
]
Ensemble = Annotated[bool, typer.Option("--ensemble", help="Mean over 8 orientations.")]
Defects = Annotated[
    str,
    typer.Option(
        help="What is done to hot and dead pixels before the network sees them: repair or keep."
    ),
]
Dtype = Annotated[
    str | None,
    typer.Option(
        help="Of the result, if not that of the image: float32 keeps what lies between integers, "
        "as the means of few photons do.",
        show_default=False,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]


@dataclass(frozen=True)
class Option:
    """An option of the commands that restore: type and help for typer, and default."""

    type: Any
    default: Any = None


def _number(text: str) -> Option:
    return Option(Annotated[float | None, typer.Option(help=text)])


OPTIONS: Mapping[str, Option] = MappingProxyType(
    {
        "scale": Option(Annotated[int, typer.Option(help="2, 3 or 4.")]),
        "mask": Option(
            Annotated[
                Path | None,
                typer.Option(
                    help="Image whose pixels that are not 0 are missing, in all images; if not "
                    "given, dead and hot pixels are found, in each image by itself."
                ),
            ]
        ),
        "psf": Option(Annotated[Path | None, typer.Option(help="TIFF with the image of a point.")]),
        "center": Option(
            Annotated[
                str,
                typer.Option(
                    metavar="array|mass",
                    help="Where in it the point is: in the middle of the array, or at the centre "
                    "of mass, as suits a bead that was cut out by hand.",
                ),
            ]
        ),
        "gaussian": _number("Standard deviation in pixels."),
        "disk": _number("Radius in pixels (out of focus)."),
        "motion": _number("Length in pixels."),
        "angle": _number("Of the motion, in degrees; 0 if not given."),
        "numerical_aperture": _number("Of a widefield microscope; with the next two."),
        "wavelength": _number("Of the light, as pixel size."),
        "pixel_size": _number("In the sample."),
        "noise": Option(Noise),
        "gain": Option(Gain),
        "offset": Option(Offset),
        "read_noise": Option(ReadNoise),
        "grain_y": Option(GrainY),
        "grain_x": Option(GrainX),
        "strength": Option(Strength),
        "iterations": Option(
            Annotated[int, typer.Option(help="How often data and prior take turns.")]
        ),
        "defects": Option(Defects),
        "dtype": Option(Dtype),
        "model": Option(Model),
        "ensemble": Option(Ensemble),
        "device": Option(Device),
        "tile": Option(Tile),
        "memory": Option(Memory),
    }
)
"""Options of restorations, in the order of the help; defaults of functions take precedence."""

FILE_OPTIONS: Mapping[str, Option] = MappingProxyType(
    {
        "paths": Option(Paths),
        "force": Option(Force, default=False),
        "quiet": Option(Quiet, default=False),
        "out": Option(Out),
        "skip": Option(Skip, default=False),
        "resume": Option(Resume, default=False),
        "report": Option(Report),
        "scheduler": Option(Scheduler),
    }
)
"""Options on files, named like the fields of `Places`."""


@contextmanager
def reported_errors() -> Iterator[None]:
    """Turn expected errors into one line and exit code 1."""
    try:
        yield
    except (RednetError, ValueError, TypeError) as error:
        console.print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(1) from error
