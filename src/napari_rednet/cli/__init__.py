"""The command line: ``napari-rednet denoise in.tif out.tif`` and the other commands."""

from typing import Any

import typer

from napari_rednet.cli import finetuning, models
from napari_rednet.cli.restoring import command_for
from napari_rednet.tasks import VERBS


class _App(typer.Typer):
    def __call__(self, *args: Any, **options: Any) -> Any:
        # On Windows, click would expand patterns, even in quotes, and lose their folders.
        return super().__call__(*args, **{"windows_expand_args": False, **options})


app = _App(
    name="napari-rednet",
    help="RED-Net image restoration of TIFF and OME-Zarr images, one or many; models of your own; "
    "a demo.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for verb in VERBS.values():
    app.command()(command_for(verb))
for command in (finetuning.fine_tune, finetuning.train, finetuning.demo):
    app.command()(command)
app.add_typer(models.app, name="models")
