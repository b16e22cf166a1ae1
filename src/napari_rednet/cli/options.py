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
from napari_rednet.options import OPTIONS

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
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]


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
        "series": FileOption(Series, default="0"),
        "missing": FileOption(MissingPlanes, default="error"),
        "out": FileOption(Out),
        "skip": FileOption(Skip, default=False),
        "resume": FileOption(Resume, default=False),
        "report": FileOption(Report),
        "scheduler": FileOption(Scheduler),
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
