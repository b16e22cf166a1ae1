"""The command that adapts a model to one's own images."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from napari_rednet.cli.options import Device, Quiet, reported_errors
from napari_rednet.cli.restoring import noise_model
from napari_rednet.console import console
from napari_rednet.errors import ModelError

if TYPE_CHECKING:
    from napari_rednet.finetuning.session import FineTuning, FineTuningStatus

_PER_MILLE = 1000


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
    model: Annotated[str, typer.Option(help="Model to start from: a name or a file.")] = "fast",
    minutes: Annotated[float, typer.Option(help="How long to train.")] = 10.0,
    steps: Annotated[int | None, typer.Option(help="Length in steps instead.")] = None,
    method: Annotated[
        str | None,
        typer.Option(help="paired, clean, neighbors, blind-spot or subsampled; see the tutorial."),
    ] = None,
    channel_axis: Annotated[
        int | None, typer.Option(help="Axis of the channels, if the files do not say.")
    ] = None,
    noise: Annotated[
        float | None, typer.Option(help="Standard deviation of the noise, if it is known.")
    ] = None,
    gain: Annotated[float | None, typer.Option(help="Image units per photon.")] = None,
    offset: Annotated[float | None, typer.Option(help="Signal without light.")] = None,
    read_noise: Annotated[float | None, typer.Option(help="Noise without light.")] = None,
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
    force: Annotated[bool, typer.Option("--force", help="Overwrite the model file.")] = False,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Adapt a model to your own images.

    Noisy STACKs with clean --targets, noisy STACKs alone, or clean --targets alone. Ctrl+C
    stops and keeps the best model; after anything worse, --resume goes on. Checkpoint and log lie
    in a folder beside the model.
    """
    from napari_rednet.engine.checkpoints import CHECKPOINT, LOG
    from napari_rednet.finetuning import prepare_fine_tuning

    with reported_errors(), _printed_warnings():
        _check_out(out, force=force or resume)
        folder = out.with_suffix(".training")
        if force and not resume:
            (folder / CHECKPOINT).unlink(missing_ok=True)
            (folder / LOG).unlink(missing_ok=True)
        known = noise_model(noise, gain, offset, read_noise)
        tuning = prepare_fine_tuning(
            stacks or None,
            targets or None,
            task=task,
            model=model,
            minutes=minutes,
            steps=steps,
            channel_axis=channel_axis,
            noise=known,
            method=method,
            batch=batch,
            patch=patch,
            rate=rate,
            seed=seed,
            device=device,
            name=name or out.stem,
            folder=folder,
            resume=resume,
        )
        _say(_start(tuning), quiet=quiet)
        _train(tuning, quiet=quiet)
        tuning.model().save(out)
        _say(f"{_end(tuning)}; written: {out}", quiet=quiet)


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
        task = bar.add_task("training", total=_PER_MILLE)
        try:
            for status in tuning.run():
                bar.update(
                    task, completed=_PER_MILLE * status.fraction, description=_describe(status)
                )
                if status.is_check and not console.is_terminal:
                    _say(_describe(status), quiet=quiet)
        except KeyboardInterrupt:
            _say("stopped; the best model is kept", quiet=quiet)


def _describe(status: FineTuningStatus) -> str:
    return (
        f"step {status.step}, loss {status.loss:.5f}, best {status.best_gain:+.2f} dB, "
        f"{status.samples_per_second:.0f} patches/s"
    )


@contextmanager
def _printed_warnings() -> Iterator[None]:
    """Warnings as one line each, once, instead of with the line of code that they come from."""
    shown: set[str] = set()

    def show(message: Warning | str, *_: object, **__: object) -> None:
        if str(message) not in shown:
            shown.add(str(message))
            console.print(f"[yellow]warning:[/] {escape(str(message))}", soft_wrap=True)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show
        yield


def _say(text: str, *, quiet: bool) -> None:
    if not quiet:
        console.print(escape(text), soft_wrap=True, highlight=False)
