"""Options that commands share, and how they report errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

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


@contextmanager
def reported_errors() -> Iterator[None]:
    """Turn expected errors into one line and exit code 1."""
    try:
        yield
    except (RednetError, ValueError, TypeError) as error:
        console.print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(1) from error
