"""Commands that train a model, and that show one at work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_rednet.cli.options import Device, reported_errors
from napari_rednet.console import console, say


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
    from napari_rednet.recipes import RecipeTraining, read_recipe, with_length

    with reported_errors():
        plan = with_length(read_recipe(recipe), minutes, steps)
        folder = runs / plan.name
        if not resume and (folder / "checkpoint.pt").exists():
            raise ValueError(f"{folder} holds a training; add --resume, or remove it")
        training = RecipeTraining(plan, data, folder, validation=validation, device=device)
        if resume and training.trainer.resume():
            say(f"resumed at step {training.trainer.step}")
        operations = training.operations_per_patch()
        for status in training.run():
            speed = status.samples_per_second
            console.print(
                f"step {status.step:7d}  {status.minutes:6.1f} min  {status.fraction:4.0%}  "
                f"loss {status.loss:.6f}  PSNR {status.score:.3f} dB  "
                f"{speed:.0f} patches/s  {speed * operations / 1e9:,.0f} GFLOP/s",
                soft_wrap=True,
            )
            training.model().save(folder / f"{plan.name}.safetensors")
        say(f"written: {folder / plan.name}.safetensors")


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
