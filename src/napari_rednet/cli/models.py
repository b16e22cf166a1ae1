"""Commands for models: train, fine-tune, list and export them, and keep one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from napari_rednet.cli.files import reported_errors
from napari_rednet.cli.restoring import (
    Device,
    Gain,
    GrainX,
    GrainY,
    Model,
    Noise,
    Offset,
    Quiet,
    ReadNoise,
    noise_model,
)
from napari_rednet.console import console, printed_warnings, say
from napari_rednet.errors import ModelError

if TYPE_CHECKING:
    from napari_rednet.finetuning.session import FineTuning, FineTuningStatus

models = typer.Typer(help="List the models; add, rename and remove your own.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of a model of your own.")]


def fine_tune(
    stacks: Annotated[
        list[Path] | None,
        typer.Argument(metavar="STACK...", help="Images to learn from: files or folders."),
    ] = None,
    *,
    targets: Annotated[
        list[Path] | None, typer.Option(help="Clean images: files or folders; repeatable.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Model file (.safetensors) to write.")],
    task: Annotated[
        str, typer.Option(help="denoise, super_resolve, deblock or inpaint.")
    ] = "denoise",
    model: Model = "fast",
    minutes: Annotated[float, typer.Option(help="How long to train.")] = 10.0,
    steps: Annotated[int | None, typer.Option(help="Length in steps instead.")] = None,
    method: Annotated[
        str | None,
        typer.Option(help="paired, clean or pseudo-clean: see the docs."),
    ] = None,
    channel_axis: Annotated[
        int | None, typer.Option(help="Axis of the channels, if the files do not say.")
    ] = None,
    noise: Noise = None,
    gain: Gain = None,
    offset: Offset = None,
    read_noise: ReadNoise = None,
    grain_y: GrainY = None,
    grain_x: GrainX = None,
    batch: Annotated[int | None, typer.Option(help="Patches of a batch.")] = None,
    patch: Annotated[int, typer.Option(help="Side of the patches in pixels.")] = 64,
    rate: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    seed: Annotated[int, typer.Option(help="Of all that is random.")] = 0,
    name: Annotated[
        str | None, typer.Option(help="Name of the model; that of the file if not given.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted training.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite the model file and its training.")
    ] = False,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Adapt a model to your own images.

    Noisy STACKs with clean --targets, noisy STACKs alone, or clean --targets alone. Ctrl+C
    stops and keeps the best model; after anything worse, --resume goes on. Checkpoint and log lie
    in a folder beside the model.
    """
    from napari_rednet.finetuning import prepare_fine_tuning

    with reported_errors(), printed_warnings():
        _check_out(out, force=force or resume)
        tuning = prepare_fine_tuning(
            stacks or None,
            targets or None,
            task=task,
            model=model,
            minutes=minutes,
            steps=steps,
            channel_axis=channel_axis,
            noise=noise_model(noise, gain, offset, read_noise, grain_y, grain_x),
            method=method,
            batch=batch,
            patch=patch,
            rate=rate,
            seed=seed,
            device=device,
            name=name or out.stem,
            folder=out.with_suffix(".training"),
            resume=resume,
            overwrite=force,
        )
        say(_start(tuning), quiet=quiet)
        _train(tuning, quiet=quiet)
        tuning.model().save(out, overwrite=force or resume)
        say(f"{_end(tuning)}; written: {out}", quiet=quiet)


def _check_out(out: Path, *, force: bool) -> None:
    if out.suffix != ".safetensors":
        raise ModelError(f"the model must be a .safetensors file, got {out.name}")
    if not out.parent.is_dir():
        raise ModelError(f"there is no folder {out.parent} to write to")
    _refuse_existing(out, force=force)


def _refuse_existing(out: Path, *, force: bool) -> None:
    if out.exists() and not force:
        raise ModelError(f"{out} exists; add --force to overwrite it")


def _start(tuning: FineTuning) -> str:
    plan, step = tuning.plan, tuning.trainer.step
    went_on = f", going on at step {step}" if step else ""
    return (
        f"{plan.base.name} learns from {len(plan.training)} images ({plan.method_name}), "
        f"{len(plan.held_out)} held out{went_on}"
    )


def _end(tuning: FineTuning) -> str:
    gain = tuning.trainer.best_score
    if gain <= 0:
        return f"nothing better than {tuning.plan.base.name} was found; the model has its weights"
    return f"best model: {gain:+.2f} dB over {tuning.plan.base.name} on what was held out"


def _train(tuning: FineTuning, *, quiet: bool) -> None:
    """Train with a progress bar; Ctrl+C ends it as if its time were over."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:.0f} %"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=quiet) as bar:
        task = bar.add_task("training", total=1.0)
        try:
            for status in tuning.run():
                bar.update(task, completed=status.fraction, description=_describe(status))
                if status.is_check and not console.is_terminal:
                    say(_describe(status), quiet=quiet)
        except KeyboardInterrupt:
            say("stopped; the best model is kept", quiet=quiet)


def _describe(status: FineTuningStatus) -> str:
    return (
        f"step {status.step}, loss {status.loss:.5f}, best {status.best_gain:+.2f} dB, "
        f"{status.samples_per_second:.0f} patches/s"
    )


def train(
    recipe: Annotated[Path, typer.Argument(help="Recipe, as in weights/NAME.toml.")],
    *,
    data: Annotated[Path, typer.Option(help="Folder that the recipe's folders lie in.")],
    validation: Annotated[
        Path | None, typer.Option(help="Folder of clean images for the PSNR.")
    ] = None,
    runs: Annotated[Path, typer.Option(help="Where checkpoint, log and model are kept.")] = Path(
        "runs"
    ),
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint.")] = False,
    minutes: Annotated[float | None, typer.Option(help="Instead of the recipe's length.")] = None,
    steps: Annotated[int | None, typer.Option(help="Instead of the recipe's length.")] = None,
    device: Device = "auto",
) -> None:
    """Train a model as its recipe says; it can be killed at any moment and resumed."""
    from napari_rednet.training.recipes import RecipeTraining, read_recipe, with_length

    with reported_errors():
        plan = with_length(read_recipe(recipe), minutes, steps)
        folder = runs / plan.name
        if not resume and (folder / "checkpoint.pt").exists():
            raise ValueError(f"{folder} holds a training; add --resume, or remove it")
        training = RecipeTraining(plan, data, folder, validation=validation, device=device)
        if resume and training.trainer.resume():
            say(f"resumed at step {training.trainer.step}")
            if training.trainer.is_done:
                # It was killed between its last checkpoint and its model, and has no step left.
                training.model().save(folder / f"{plan.name}.safetensors")
        # Another job may have trained here since it was looked for a training.
        for status in training.run(overwrite=False):
            speed = status.samples_per_second
            operations = training.operations_per_patch()
            console.print(
                f"step {status.step:7d}  {status.minutes:6.1f} min  {status.fraction:4.0%}  "
                f"loss {status.loss:.6f}  PSNR {status.score:.3f} dB  "
                f"{speed:.0f} patches/s  {speed * operations / 1e9:,.0f} GFLOP/s",
                soft_wrap=True,
            )
            training.model().save(folder / f"{plan.name}.safetensors")
        say(f"written: {folder / plan.name}.safetensors")


@models.callback(invoke_without_command=True)
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


@models.command()
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


@models.command()
def show(
    model: Annotated[str, typer.Argument(help="A model's name or a .safetensors file.")],
) -> None:
    """Print what a model is for, where it fails, what it learned from and on what terms."""
    from napari_rednet.models import model_card

    with reported_errors():
        typer.echo(model_card(model).as_markdown(), nl=False)


@models.command()
def rename(
    old: Name,
    new: Annotated[str, typer.Argument(metavar="NEW", help="Its new name.")],
) -> None:
    """Give a model of your own another name."""
    from napari_rednet.models import rename_model

    with reported_errors():
        rename_model(old, new)
    say(f"{old} is now called {new}")


@models.command()
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


@models.command()
def folder() -> None:
    """Print the folder that your models lie in; NAPARI_REDNET_MODELS sets another."""
    from napari_rednet.models import user_models_folder

    typer.echo(user_models_folder())


@models.command("export")
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
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing export.")] = False,
) -> None:
    """Write a model as an ONNX file, or as a package for bioimage.io."""
    from napari_rednet.models import load_model

    with reported_errors():
        _refuse_existing(out, force=force)
        load_model(model).export(
            out,
            noise=noise,
            authors=author or (),
            license=license_,
            description=description,
            tags=tag or (),
            overwrite=force,
        )
        say(f"written: {out}")
