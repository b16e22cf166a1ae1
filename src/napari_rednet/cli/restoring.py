"""Commands that restore a file."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_rednet.cli.files import open_image, read_mask, restore_file
from napari_rednet.cli.options import (
    Device,
    Ensemble,
    Force,
    Gain,
    Model,
    Noise,
    Offset,
    Quiet,
    ReadNoise,
    Source,
    Strength,
    Target,
    Tile,
    reported_errors,
)
from napari_rednet.console import console
from napari_rednet.engine.noise_model import NoiseModel

if TYPE_CHECKING:
    from napari_rednet.io.tiff import TiffImage


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
        print_noise(levels, quiet=quiet)
        restore_file(image, source, target, make_steps, quiet=quiet)


def super_resolve(
    source: Source,
    target: Target,
    *,
    scale: Annotated[int, typer.Option(help="2, 3 or 4.")] = 2,
    model: Model = "fast",
    ensemble: Ensemble = False,
    device: Device = "auto",
    tile: Tile = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Enlarge a TIFF image or stack in Y and X; the pixel size is adapted."""
    from napari_rednet.arguments import check_scale
    from napari_rednet.restoration import super_resolve_steps

    with reported_errors():
        image = open_image(source, target, force=force)
        make_steps = partial(
            super_resolve_steps,
            scale=check_scale(scale),
            rgb=image.is_rgb,
            model=model,
            ensemble=ensemble,
            device=device,
            tile=tile,
        )
        restore_file(image, source, target, make_steps, scale=scale, quiet=quiet)


def deblock(
    source: Source,
    target: Target,
    *,
    model: Model = "fast",
    ensemble: Ensemble = False,
    device: Device = "auto",
    tile: Tile = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Remove JPEG artefacts from a TIFF image or stack that was coded as JPEG before."""
    from napari_rednet.restoration import deblock_steps

    with reported_errors():
        image = open_image(source, target, force=force)
        make_steps = partial(
            deblock_steps,
            rgb=image.is_rgb,
            model=model,
            ensemble=ensemble,
            device=device,
            tile=tile,
        )
        restore_file(image, source, target, make_steps, quiet=quiet)


def deblur(
    source: Source,
    target: Target,
    *,
    psf: Annotated[Path | None, typer.Option(help="TIFF with the image of a point.")] = None,
    gaussian: Annotated[float | None, typer.Option(help="Standard deviation in pixels.")] = None,
    disk: Annotated[float | None, typer.Option(help="Radius in pixels (out of focus).")] = None,
    motion: Annotated[float | None, typer.Option(help="Length in pixels.")] = None,
    angle: Annotated[
        float | None, typer.Option(help="Of the motion, in degrees; 0 if not given.")
    ] = None,
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
        if angle is not None and motion is None:
            raise ValueError("--angle belongs to --motion, which is not given")
        kernel = choose_psf(
            {
                "psf": (psf,),
                "gaussian": (gaussian,),
                "disk": (disk,),
                "motion": (motion, angle or 0.0) if motion is not None else (None,),
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
        print_noise(levels, quiet=quiet)
        restore_file(image, source, target, make_steps, quiet=quiet)


def inpaint(
    source: Source,
    target: Target,
    *,
    mask: Annotated[
        Path | None,
        typer.Option(
            help="Image whose pixels that are not 0 are missing; if not given, dead and hot "
            "pixels are found."
        ),
    ] = None,
    model: Model = "fast",
    ensemble: Ensemble = False,
    device: Device = "auto",
    tile: Tile = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Fill missing pixels of a TIFF image or stack; known ones are kept as they are."""
    from napari_rednet.restoration import find_defects, inpaint_steps

    with reported_errors():
        image = open_image(source, target, force=force)
        if mask is None:
            missing = find_defects(image.data, channel_axis=image.channel_axis)
            if not quiet:
                console.print(f"dead and hot pixels found: {missing.sum()}", highlight=False)
        else:
            missing = read_mask(mask)
        make_steps = partial(
            inpaint_steps,
            mask=missing,
            model=model,
            ensemble=ensemble,
            device=device,
            tile=tile,
        )
        restore_file(image, source, target, make_steps, quiet=quiet)


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

    _, layout = as_image(image.data, image.channel_axis)
    given: Any = noise_model(noise, gain, offset, read_noise)
    if given is None:
        given = estimate_noise(image.data, channel_axis=image.channel_axis)
    return noise_per_channel(given, layout) or []


def noise_model(
    noise: float | None, gain: float | None, offset: float | None, read_noise: float | None
) -> float | NoiseModel | None:
    """The noise that the options say; None if they do not."""
    parts = (gain, offset, read_noise)
    if all(part is None for part in parts):
        return noise
    if noise is not None:
        raise ValueError("give either --noise or --gain, --offset and --read-noise")
    return NoiseModel(gain or 0.0, offset or 0.0, read_noise or 0.0)


def print_noise(levels: list[NoiseModel], *, quiet: bool) -> None:
    """Tell the noise models that are used, one a channel."""
    if quiet:
        return
    for channel, level in enumerate(levels):
        console.print(
            f"noise of channel {channel}: gain {level.gain:.4g}, offset {level.offset:.4g}, "
            f"read noise {level.read_noise:.4g}",
            highlight=False,
        )
