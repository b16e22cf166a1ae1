"""Commands that restore files."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_rednet.cli.blur import choose_psf
from napari_rednet.cli.files import Places, read_mask, restore
from napari_rednet.cli.options import (
    Device,
    Ensemble,
    Force,
    Gain,
    Memory,
    Model,
    Noise,
    Offset,
    Out,
    Paths,
    Quiet,
    ReadNoise,
    Report,
    Resume,
    Skip,
    Strength,
    Tile,
    reported_errors,
)
from napari_rednet.engine.noise_model import NoiseModel

if TYPE_CHECKING:
    from napari_rednet.arguments import Options
    from napari_rednet.batch import Prepared
    from napari_rednet.io.files import OpenImage


def denoise(
    paths: Paths,
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
    memory: Memory = None,
    force: Force = False,
    quiet: Quiet = False,
    out: Out = None,
    skip: Skip = False,
    resume: Resume = False,
    report: Report = None,
) -> None:
    """Remove noise from images or stacks; axes, dtype, units and metadata are kept."""
    from napari_rednet.arguments import check_number, check_options
    from napari_rednet.batch import Prepared, Work
    from napari_rednet.restoration import denoise_steps

    with reported_errors():
        given = noise_model(noise, gain, offset, read_noise)
        check_number("strength", strength)
        options = check_options("denoise", model, ensemble, tile, device, memory)
        make_steps = partial(
            denoise_steps, strength=strength, **_shared(options), memory=options.memory
        )

        def prepare(image: OpenImage) -> Prepared:
            levels = noise_levels(image, given)
            return Prepared(partial(make_steps, noise=levels), levels)

        arguments = {"noise": repr(given), "strength": strength, "ensemble": ensemble}
        places = Places(paths, out, report, skip, force, resume, quiet)
        restore(places, Work("denoise", options.model, prepare, arguments))


def super_resolve(
    paths: Paths,
    *,
    scale: Annotated[int, typer.Option(help="2, 3 or 4.")] = 2,
    model: Model = "fast",
    ensemble: Ensemble = False,
    device: Device = "auto",
    tile: Tile = None,
    memory: Memory = None,
    force: Force = False,
    quiet: Quiet = False,
    out: Out = None,
    skip: Skip = False,
    resume: Resume = False,
    report: Report = None,
) -> None:
    """Enlarge images or stacks in Y and X; the pixel size is adapted."""
    from napari_rednet.arguments import check_options, check_scale
    from napari_rednet.batch import Prepared, Work
    from napari_rednet.restoration import super_resolve_steps

    with reported_errors():
        factor = check_scale(scale)
        options = check_options("super_resolve", model, ensemble, tile, device, memory)
        make_steps = partial(
            super_resolve_steps, scale=factor, **_shared(options), memory=options.memory
        )

        def prepare(image: OpenImage) -> Prepared:
            return Prepared(partial(make_steps, rgb=image.is_rgb))

        arguments = {"scale": factor, "ensemble": ensemble}
        places = Places(paths, out, report, skip, force, resume, quiet)
        restore(places, Work("super-resolve", options.model, prepare, arguments, factor))


def deblock(
    paths: Paths,
    *,
    model: Model = "fast",
    ensemble: Ensemble = False,
    device: Device = "auto",
    tile: Tile = None,
    memory: Memory = None,
    force: Force = False,
    quiet: Quiet = False,
    out: Out = None,
    skip: Skip = False,
    resume: Resume = False,
    report: Report = None,
) -> None:
    """Remove JPEG artefacts from images or stacks that were coded as JPEG before."""
    from napari_rednet.arguments import check_options
    from napari_rednet.batch import Prepared, Work
    from napari_rednet.restoration import deblock_steps

    with reported_errors():
        options = check_options("deblock", model, ensemble, tile, device, memory)
        make_steps = partial(deblock_steps, **_shared(options), memory=options.memory)

        def prepare(image: OpenImage) -> Prepared:
            return Prepared(partial(make_steps, rgb=image.is_rgb))

        places = Places(paths, out, report, skip, force, resume, quiet)
        restore(places, Work("deblock", options.model, prepare, {"ensemble": ensemble}))


def deblur(
    paths: Paths,
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
    out: Out = None,
    skip: Skip = False,
    resume: Resume = False,
    report: Report = None,
) -> None:
    """Undo a known blur of images or stacks, plane by plane; name one kind of blur."""
    from napari_rednet.arguments import check_count, check_number, check_options
    from napari_rednet.batch import Prepared, Work, digest
    from napari_rednet.restoration import deblur_steps

    with reported_errors():
        widefield = (numerical_aperture, wavelength, pixel_size)
        kernel = choose_psf(psf, gaussian, disk, motion, angle, widefield)
        given = noise_model(noise, gain, offset, read_noise)
        check_number("strength", strength)
        turns = check_count("iterations", iterations)
        options = check_options("denoise", model, ensemble, tile, device)
        make_steps = partial(
            deblur_steps, psf=kernel, strength=strength, iterations=turns, **_shared(options)
        )

        def prepare(image: OpenImage) -> Prepared:
            levels = noise_levels(image, given)
            return Prepared(partial(make_steps, noise=levels), levels)

        arguments = {
            "psf": digest(kernel),
            "noise": repr(given),
            "strength": strength,
            "iterations": turns,
            "ensemble": ensemble,
            # Here alone it changes the result a little.
            "tile": tile,
        }
        places = Places(paths, out, report, skip, force, resume, quiet)
        restore(places, Work("deblur", options.model, prepare, arguments))


def inpaint(
    paths: Paths,
    *,
    mask: Annotated[
        Path | None,
        typer.Option(
            help="Image whose pixels that are not 0 are missing, in all images; if not given, dead "
            "and hot pixels are found, in each image by itself."
        ),
    ] = None,
    model: Model = "fast",
    ensemble: Ensemble = False,
    device: Device = "auto",
    tile: Tile = None,
    memory: Memory = None,
    force: Force = False,
    quiet: Quiet = False,
    out: Out = None,
    skip: Skip = False,
    resume: Resume = False,
    report: Report = None,
) -> None:
    """Fill missing pixels of images or stacks; known ones are kept as they are."""
    from napari_rednet.arguments import check_options
    from napari_rednet.batch import Prepared, Work, digest
    from napari_rednet.restoration import find_defects, inpaint_steps

    with reported_errors():
        options = check_options("inpaint", model, ensemble, tile, device, memory)
        make_steps = partial(inpaint_steps, **_shared(options), memory=options.memory)
        given = None if mask is None else read_mask(mask)

        def prepare(image: OpenImage) -> Prepared:
            if given is not None:
                return Prepared(partial(make_steps, mask=given))
            found = find_defects(image.data, channel_axis=image.channel_axis)
            told = f"dead and hot pixels found: {found.sum()}"
            return Prepared(partial(make_steps, mask=found), remark=told)

        arguments = {"mask": None if given is None else digest(given), "ensemble": ensemble}
        places = Places(paths, out, report, skip, force, resume, quiet)
        restore(places, Work("inpaint", options.model, prepare, arguments))


def _shared(options: Options) -> dict[str, Any]:
    """The arguments that all verbs have, with the model loaded once for all files."""
    return {
        "model": options.model,
        "ensemble": options.ensemble,
        "tile": options.tile,
        "device": options.device,
    }


def noise_levels(image: OpenImage, given: float | NoiseModel | None) -> list[NoiseModel]:
    """One noise model a channel: the given one or, if there is none, from the image."""
    from napari_rednet.arguments import as_image, noise_per_channel
    from napari_rednet.restoration import estimate_noise

    _, layout = as_image(image.data, image.channel_axis)
    noise: Any = given
    if given is None:
        noise = estimate_noise(image.data, channel_axis=image.channel_axis)
    return noise_per_channel(noise, layout) or []


def noise_model(
    noise: float | None, gain: float | None, offset: float | None, read_noise: float | None
) -> float | NoiseModel | None:
    """The noise that the options say; None if they do not."""
    from napari_rednet.arguments import check_number

    parts = (gain, offset, read_noise)
    if all(part is None for part in parts):
        if noise is not None:
            check_number("noise", noise)
        return noise
    if noise is not None:
        raise ValueError("give either --noise or --gain, --offset and --read-noise")
    return NoiseModel(gain or 0.0, offset or 0.0, read_noise or 0.0)
