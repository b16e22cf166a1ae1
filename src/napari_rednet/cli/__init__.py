"""The command line: ``napari-rednet denoise in.tif out.tif`` and the other commands."""

import os
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from napari_rednet import __version__
from napari_rednet.cli import finetuning, models
from napari_rednet.cli.restoring import command_for
from napari_rednet.tasks import VERBS


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(f"napari-rednet {__version__}")
        raise typer.Exit


class _Group(TyperGroup):
    """The command and all below it; `~` is the home wherever a path is told, as in --out=~/x."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [_with_home(argument) for argument in args])


def _with_home(argument: str) -> str:
    option, equals, value = argument.partition("=")
    if option.startswith("--") and equals:
        return f"{option}={os.path.expanduser(value)}"  # noqa: PTH111 (unknown users stay names)
    return os.path.expanduser(argument)  # noqa: PTH111


class _App(typer.Typer):
    def __call__(self, *args: Any, **options: Any) -> Any:
        # On Windows, click would expand patterns, even in quotes, and lose their folders.
        return super().__call__(*args, **{"windows_expand_args": False, **options})


app = _App(
    name="napari-rednet",
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def about(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_tell_version, is_eager=True, help="Tell the version."),
    ] = False,
) -> None:
    """RED-Net image restoration of image files, one or many; models of your own; a demo."""


for verb in VERBS.values():
    app.command()(command_for(verb))
for command in (finetuning.fine_tune, finetuning.train, finetuning.demo):
    app.command()(command)
app.add_typer(models.app, name="models")


@app.command()
def info() -> None:
    """Print versions, devices, models and folders, to paste into an issue."""
    from napari_rednet.about import as_text, describe

    typer.echo(as_text(describe()))
