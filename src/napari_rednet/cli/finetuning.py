"""The command that adapts a model to one's own images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from napari_rednet.cli.options import (
    Device,
    Gain,
    GrainX,
    GrainY,
    Model,
    Noise,
    Offset,
    Quiet,
    ReadNoise,
    reported_errors,
)
from napari_rednet.cli.restoring import noise_model
from napari_rednet.console import console, printed_warnings, say
from napari_rednet.errors import ModelError

if TYPE_CHECKING:
    from napari_rednet.finetuning.session import FineTuning, FineTuningStatus


def fine_tune(
    stacks: Annotated[
        list[Path] | None,
        typer.Argument(metavar="STACK...", help="Images to learn from: files or folders."),
    ] = None,
    *,
    targets: Annotated[
        list[Path] | None, typer.Option(help="Clean images: files or folders; repeatable.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Model file (.safetensors) to write.")],
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
        tuning.model().save(out)
        say(f"{_end(tuning)}; written: {out}", quiet=quiet)


def _check_out(out: Path, *, force: bool) -> None:
    if out.suffix != ".safetensors":
        raise ModelError(f"the model must be a .safetensors file, got {out.name}")
    if not out.parent.is_dir():
        raise ModelError(f"there is no folder {out.parent} to write to")
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
    """Train under a bar; Ctrl+C ends it as if its time were over."""
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
