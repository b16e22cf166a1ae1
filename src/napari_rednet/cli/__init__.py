"""The command line: ``napari-rednet denoise in.tif out.tif`` and its sisters."""

import typer

from napari_rednet.cli import restoring, training

app = typer.Typer(
    name="napari-rednet",
    help="RED-Net image restoration of TIFF stacks; training of models; a demo.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command in (
    restoring.denoise,
    restoring.super_resolve,
    restoring.deblock,
    restoring.deblur,
    restoring.inpaint,
    training.models,
    training.train,
    training.demo,
):
    app.command()(command)
