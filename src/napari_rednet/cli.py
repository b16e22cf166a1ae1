"""The command line: ``napari-rednet denoise in.tif out.tif`` and its sisters."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from napari_rednet.console import console, run_with_bar
from napari_rednet.engine.noise_model import NoiseModel
from napari_rednet.errors import ImageFileError, RednetError

if TYPE_CHECKING:
    from napari_rednet.io.tiff import TiffImage

app = typer.Typer(
    name="napari-rednet",
    help="RED-Net image restoration: denoise TIFF stacks, train models, try the demo.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Model = Annotated[str, typer.Option(help="fast, best, a model's name or a .safetensors file.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Tile = Annotated[int | None, typer.Option(help="Cap in pixels for what is held at once.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite the output.")]
Ensemble = Annotated[bool, typer.Option("--ensemble", help="Mean over 8 orientations.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]


@contextmanager
def reported_errors() -> Iterator[None]:
    """Turn expected errors into one line and exit code 1."""
    try:
        yield
    except (RednetError, ValueError, TypeError) as error:
        console.print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(1) from error


@app.command()
def denoise(
    source: Annotated[Path, typer.Argument(metavar="IN", help="TIFF or OME-TIFF to read.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="TIFF to write.")],
    *,
    noise: Annotated[
        float | None,
        typer.Option(help="Standard deviation of Gaussian noise; estimated if not given."),
    ] = None,
    gain: Annotated[float | None, typer.Option(help="Image units per photon.")] = None,
    offset: Annotated[float | None, typer.Option(help="Signal without light.")] = None,
    read_noise: Annotated[float | None, typer.Option(help="Noise without light.")] = None,
    strength: Annotated[float, typer.Option(help="Factor on the noise level.")] = 1.0,
    model: Model = "fast",
    ensemble: Ensemble = False,
    device: Device = "auto",
    tile: Tile = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Remove noise from a TIFF image or stack; axes, dtype, units and metadata are kept."""
    from napari_rednet.io.tiff import tiff_writer
    from napari_rednet.restoration import denoise_steps

    with reported_errors():
        image = open_image(source, target, force=force)
        levels = noise_levels(image, noise, gain, offset, read_noise)
        if not quiet:
            _print_noise(levels)
        with tiff_writer(target, image) as out:
            steps = denoise_steps(
                image.data,
                noise=levels,
                strength=strength,
                model=model,
                channel_axis=image.channel_axis,
                ensemble=ensemble,
                device=device,
                tile=tile,
                out=out,
            )
            run_with_bar(steps, source.name, quiet=quiet)
        if not quiet:
            console.print(f"written: {target}", soft_wrap=True)


@app.command()
def models() -> None:
    """List the models that are installed."""
    from napari_rednet.zoo import list_models

    table = Table("name", "task", "layers", "stride", "feature maps")
    with reported_errors():
        for info in list_models():
            table.add_row(
                info.name, info.task, *map(str, (info.layers, info.stride, info.features))
            )
    Console().print(table)


@app.command()
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
            console.print(f"resumed at step {training.trainer.step}")
        for status in training.run():
            console.print(
                f"step {status.step:7d}  {status.minutes:6.1f} min  {status.fraction:4.0%}  "
                f"loss {status.loss:.6f}  PSNR {status.psnr:.3f} dB  "
                f"{status.samples_per_second:.0f} patches/s",
                soft_wrap=True,
            )
            training.model().save(folder / f"{plan.name}.safetensors")
        console.print(f"written: {folder / plan.name}.safetensors", soft_wrap=True)


@app.command()
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


def open_image(source: Path, target: Path, *, force: bool) -> TiffImage:
    """Check both paths and read the source; nothing is written yet."""
    from napari_rednet.io.tiff import SUFFIXES, read_tiff

    if target.suffix.lower() not in SUFFIXES:
        raise ImageFileError(f"the output must be a .tif or .tiff file, got {target.name}")
    if not target.parent.is_dir():
        raise ImageFileError(f"there is no folder {target.parent} to write to")
    if target.exists() and source.exists() and target.samefile(source):
        raise ImageFileError("the output must be another file than the input")
    if target.exists() and not force:
        raise ImageFileError(f"{target} exists; add --force to overwrite it")
    return read_tiff(source)


def noise_levels(
    image: TiffImage,
    noise: float | None,
    gain: float | None,
    offset: float | None,
    read_noise: float | None,
) -> list[NoiseModel]:
    """One noise model a channel, from the options or, if there are none, from the image."""
    from napari_rednet.arguments import as_image, noise_per_channel
    from napari_rednet.restoration import estimate_noise

    parts = (gain, offset, read_noise)
    if noise is not None and any(part is not None for part in parts):
        raise ValueError("give either --noise or --gain, --offset and --read-noise")
    _, layout = as_image(image.data, image.channel_axis)
    given: Any = noise
    if any(part is not None for part in parts):
        given = NoiseModel(gain or 0.0, offset or 0.0, read_noise or 0.0)
    elif noise is None:
        given = estimate_noise(image.data, channel_axis=image.channel_axis)
    return noise_per_channel(given, layout) or []


def _print_noise(levels: list[NoiseModel]) -> None:
    for channel, level in enumerate(levels):
        console.print(
            f"noise of channel {channel}: gain {level.gain:.4g}, offset {level.offset:.4g}, "
            f"read noise {level.read_noise:.4g}",
            highlight=False,
        )


if __name__ == "__main__":
    sys.exit(app())
