"""The command line: ``napari-rednet denoise in.tif out.tif`` and the other commands."""

from pathlib import Path
from typing import Annotated

import typer

from napari_rednet.cli.files import reported_errors
from napari_rednet.cli.models import fine_tune, models, train
from napari_rednet.cli.restoring import Device, app, command_for
from napari_rednet.tasks import VERBS

__all__ = ["app"]


def demo(
    folder: Annotated[Path, typer.Argument(help="Where the results are written.")] = Path(
        "rednet-demo"
    ),
    *,
    napari: Annotated[
        bool, typer.Option("--napari", help="Show before and after in napari instead.")
    ] = False,
    device: Device = "auto",
) -> None:
    """Denoise the bundled noisy stack and show the result."""
    from napari_rednet.demo import run_demo, show_demo

    with reported_errors():
        if napari:
            show_demo(device)
        else:
            run_demo(folder, device)


for verb in VERBS.values():
    app.command()(command_for(verb))
for command in (fine_tune, train, demo):
    app.command()(command)
app.add_typer(models, name="models")


@app.command()
def info() -> None:
    """Print versions, devices, models and folders, to paste into an issue."""
    from napari_rednet.about import as_text, describe

    typer.echo(as_text(describe()))
