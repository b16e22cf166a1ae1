"""The command line: ``napari-rednet denoise in.tif out.tif`` and its sisters."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
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
    from napari_rednet.execution import Steps
    from napari_rednet.io.tiff import TiffImage

app = typer.Typer(
    name="napari-rednet",
    help="RED-Net image restoration: denoise and deblur TIFF stacks, train models, try the demo.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Source = Annotated[Path, typer.Argument(metavar="IN", help="TIFF or OME-TIFF to read.")]
Target = Annotated[Path, typer.Argument(metavar="OUT", help="TIFF to write.")]
Noise = Annotated[
    float | None,
    typer.Option(help="Standard deviation of Gaussian noise; estimated if not given."),
]
Gain = Annotated[float | None, typer.Option(help="Image units per photon.")]
Offset = Annotated[float | None, typer.Option(help="Signal without light.")]
ReadNoise = Annotated[float | None, typer.Option(help="Noise without light.")]
Strength = Annotated[float, typer.Option(help="Factor on the noise level.")]
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
    source: Source,
    target: Target,
    *,
    noise: Noise = None,
    gain: Gain = None,
    offset: Offset = None,
    read_noise: ReadNoise = None,
    strength: Strength = 1.0,
    model: Model = "fast",
    ensemble: Ensemble = False,
    device: Device = "auto",
    tile: Tile = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Remove noise from a TIFF image or stack; axes, dtype, units and metadata are kept."""
    from napari_rednet.restoration import denoise_steps

    with reported_errors():
        image = open_image(source, target, force=force)
        levels = noise_levels(image, noise, gain, offset, read_noise)
        make_steps = partial(
            denoise_steps,
            noise=levels,
            strength=strength,
            model=model,
            ensemble=ensemble,
            device=device,
            tile=tile,
        )
        restore_file(image, source, target, make_steps, levels, quiet=quiet)


@app.command()
def deblur(
    source: Source,
    target: Target,
    *,
    psf: Annotated[Path | None, typer.Option(help="TIFF with the image of a point.")] = None,
    gaussian: Annotated[float | None, typer.Option(help="Standard deviation in pixels.")] = None,
    disk: Annotated[float | None, typer.Option(help="Radius in pixels (out of focus).")] = None,
    motion: Annotated[float | None, typer.Option(help="Length in pixels.")] = None,
    angle: Annotated[float, typer.Option(help="Of the motion, in degrees.")] = 0.0,
    numerical_aperture: Annotated[
        float | None, typer.Option(help="Of a widefield microscope; with the next two.")
    ] = None,
    wavelength: Annotated[float | None, typer.Option(help="Of the light, as pixel size.")] = None,
    pixel_size: Annotated[float | None, typer.Option(help="In the sample.")] = None,
    noise: Noise = None,
    gain: Gain = None,
    offset: Offset = None,
    read_noise: ReadNoise = None,
    strength: Strength = 1.0,
    iterations: Annotated[int, typer.Option(help="How often data and prior take turns.")] = 8,
    model: Model = "fast",
    ensemble: Ensemble = False,
    device: Device = "auto",
    tile: Tile = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Undo a known blur of a TIFF image or stack, plane by plane; name one kind of blur."""
    from napari_rednet.restoration import deblur_steps

    with reported_errors():
        image = open_image(source, target, force=force)
        kernel = choose_psf(
            {
                "psf": (psf,),
                "gaussian": (gaussian,),
                "disk": (disk,),
                "motion": (motion, angle) if motion is not None else (None,),
                "widefield": (numerical_aperture, wavelength, pixel_size),
            }
        )
        levels = noise_levels(image, noise, gain, offset, read_noise)
        make_steps = partial(
            deblur_steps,
            psf=kernel,
            noise=levels,
            strength=strength,
            iterations=iterations,
            model=model,
            ensemble=ensemble,
            device=device,
            tile=tile,
        )
        restore_file(image, source, target, make_steps, levels, quiet=quiet)


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


def restore_file(
    image: TiffImage,
    source: Path,
    target: Path,
    make_steps: Callable[..., Steps],
    levels: list[NoiseModel],
    *,
    quiet: bool,
) -> None:
    """Run steps from an image into a file of the same description."""
    from napari_rednet.io.tiff import tiff_writer

    if not quiet:
        _print_noise(levels)
    with tiff_writer(target, image) as out:
        steps = make_steps(image.data, channel_axis=image.channel_axis, out=out)
        run_with_bar(steps, source.name, quiet=quiet)
    if not quiet:
        console.print(f"written: {target}", soft_wrap=True)


def choose_psf(given: Mapping[str, tuple[Any, ...]]) -> Any:
    """The PSF of the one kind whose parameters are given.

    Raises
    ------
    ValueError
        If none is given, or more than one, or not all parameters of it.
    """
    from napari_rednet import psf as psfs
    from napari_rednet.io.tiff import read_tiff

    kinds = [kind for kind, values in given.items() if any(v is not None for v in values)]
    if len(kinds) != 1:
        raise ValueError(
            "give one of --psf, --gaussian, --disk, --motion, or --numerical-aperture with "
            f"--wavelength and --pixel-size; got {len(kinds)} of them"
        )
    (kind,) = kinds
    if any(value is None for value in given[kind]):
        raise ValueError("--numerical-aperture, --wavelength and --pixel-size belong together")
    if kind == "psf":
        return read_tiff(given[kind][0]).data
    return getattr(psfs, kind)(*given[kind])


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
