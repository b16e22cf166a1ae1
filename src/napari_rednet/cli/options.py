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

Source = Annotated[Path, typer.Argument(metavar="IN", help="TIFF or OME-TIFF to read.")]
Target = Annotated[Path, typer.Argument(metavar="OUT", help="TIFF to write.")]
Noise = Annotated[
    float | None,
    typer.Option(help="Standard deviation of Gaussian noise; estimated if not given."),
]
Gain = Annotated[float | None, typer.Option(help="Image units per photon.")]
Offset = Annotated[float | None, typer.Option(help="Signal without light.")]
ReadNoise = Annotated[float | None, typer.Option(help="Noise without light.")]
Strength = Annotated[float, typer.Option(help="Factor on the noise level.")]
Model = Annotated[str, typer.Option(help="fast, best, a model's name or a .safetensors file.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Tile = Annotated[int | None, typer.Option(help="Cap in pixels for what is held at once.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite the output.")]
Ensemble = Annotated[bool, typer.Option("--ensemble", help="Mean over 8 orientations.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]


@contextmanager
def reported_errors() -> Iterator[None]:
    """Turn expected errors into one line and exit code 1."""
    try:
        yield
    except (RednetError, ValueError, TypeError) as error:
        console.print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(1) from error
