"""Export a model for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_rednet.cli.options import reported_errors
from napari_rednet.console import say


def export_model(
    model: Annotated[str, typer.Argument(help="A model's name or a .safetensors file.")],
    out: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="NAME.onnx, or NAME.zip for a bioimage.io package."),
    ],
    *,
    noise: Annotated[
        float | None,
        typer.Option(
            help="For denoising: standard deviation of Gaussian noise in images of range 0 to 1."
        ),
    ] = None,
    author: Annotated[
        list[str] | None, typer.Option(help="Who made the model; may be repeated.")
    ] = None,
    license_: Annotated[
        str, typer.Option("--license", help="SPDX identifier of the model's licence.")
    ] = "BSD-3-Clause",
    description: Annotated[str | None, typer.Option(help="A sentence on the model.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="In addition to the task's; may be repeated.")
    ] = None,
) -> None:
    """Write a model as an ONNX file, or as a package for bioimage.io."""
    from napari_rednet.zoo import load_model

    with reported_errors():
        load_model(model).export(
            out,
            noise=noise,
            authors=author or (),
            license=license_,
            description=description,
            tags=tag or (),
        )
        say(f"written: {out}")
