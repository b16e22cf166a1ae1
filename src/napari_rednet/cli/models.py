"""Commands for models: list and export them, and keep one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from napari_rednet.cli.restoring import reported_errors
from napari_rednet.console import say

app = typer.Typer(help="List the models; add, rename and remove your own.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of a model of your own.")]


@app.callback(invoke_without_command=True)
def list_all(context: typer.Context) -> None:
    """List the models; add, rename and remove your own."""
    if context.invoked_subcommand is not None:
        return
    from napari_rednet.models import list_models

    table = Table("name", "task", "origin", "layers", "stride", "feature maps")
    with reported_errors():
        for info in list_models():
            numbers = map(str, (info.layers, info.stride, info.features))
            table.add_row(escape(info.name), info.task, info.origin, *numbers)
    Console().print(table)


@app.command()
def add(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Model (.safetensors) to copy.")],
    *,
    name: Annotated[
        str | None, typer.Option(help="What to call it; as it is called if not given.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace your model of this name.")
    ] = False,
) -> None:
    """Put a model file into the folder of your models, so that it is found by name."""
    from napari_rednet.models import add_model

    with reported_errors():
        info = add_model(file, name, overwrite=force)
    say(f"{info.name} has been added to the models for {info.task}")


@app.command()
def rename(
    old: Name,
    new: Annotated[str, typer.Argument(metavar="NEW", help="Its new name.")],
) -> None:
    """Give a model of your own another name."""
    from napari_rednet.models import rename_model

    with reported_errors():
        rename_model(old, new)
    say(f"{old} is now called {new}")


@app.command()
def remove(
    name: Name,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete a model of your own."""
    from napari_rednet.models import remove_model, user_model_file

    with reported_errors():
        path = user_model_file(name)
        if not yes:
            typer.confirm(f"Delete {path}?", abort=True)
        remove_model(name)
    say(f"{name} has been removed")


@app.command()
def folder() -> None:
    """Print the folder that your models lie in; NAPARI_REDNET_MODELS sets another."""
    from napari_rednet.models import user_models_folder

    typer.echo(user_models_folder())


@app.command("export")
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
    from napari_rednet.models import load_model

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
