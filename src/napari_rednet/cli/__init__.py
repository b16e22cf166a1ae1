"""The command line: ``napari-rednet denoise in.tif out.tif`` and its sisters."""

import typer

from napari_rednet.cli import export, finetuning, models, restoring, training

app = typer.Typer(
    name="napari-rednet",
    help="RED-Net image restoration of TIFF stacks; models of your own; a demo.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command in (
    restoring.denoise,
    restoring.super_resolve,
    restoring.deblock,
    restoring.deblur,
    restoring.inpaint,
    finetuning.fine_tune,
    training.train,
    training.demo,
):
    app.command()(command)
models.app.command("export")(export.export_model)
app.add_typer(models.app, name="models")
