"""Commands that restore files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_rednet.cli.blur import choose_psf
from napari_rednet.cli.files import Places, read_mask, restore
from napari_rednet.cli.options import (
    Defects,
    Device,
    Dtype,
    Ensemble,
    Force,
    Gain,
    GrainX,
    GrainY,
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
    Scheduler,
    Skip,
    Strength,
    Tile,
    reported_errors,
)
from napari_rednet.console import printed_warnings
from napari_rednet.engine.noise_model import NoiseModel


def denoise(
    paths: Paths,
    *,
    noise: Noise = None,
    gain: Gain = None,
    offset: Offset = None,
    read_noise: ReadNoise = None,
    grain_y: GrainY = None,
    grain_x: GrainX = None,
    strength: Strength = 1.0,
    defects: Defects = "repair",
    dtype: Dtype = None,
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
    scheduler: Scheduler = None,
) -> None:
    """Remove noise from images or stacks; axes, dtype, units and metadata are kept."""
    from napari_rednet.arguments import check_defects, check_dtype, check_number, check_options
    from napari_rednet.batch.tasks import denoise_work

    with reported_errors():
        check_defects(defects)
        given = noise_model(noise, gain, offset, read_noise, grain_y, grain_x)
        check_number("strength", strength)
        check_dtype(dtype, None)
        options = check_options("denoise", model, ensemble, tile, device, memory)
        places = Places(paths, out, report, skip, force, resume, quiet, scheduler)
        with printed_warnings(quiet=quiet):
            restore(places, denoise_work(options, given, strength, defects, dtype))


def super_resolve(
    paths: Paths,
    *,
    scale: Annotated[int, typer.Option(help="2, 3 or 4.")] = 2,
    defects: Defects = "repair",
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
    scheduler: Scheduler = None,
) -> None:
    """Enlarge images or stacks in Y and X; the pixel size is adapted."""
    from napari_rednet.arguments import check_defects, check_options, check_scale
    from napari_rednet.batch.tasks import super_resolve_work

    with reported_errors():
        check_defects(defects)
        factor = check_scale(scale)
        options = check_options("super_resolve", model, ensemble, tile, device, memory)
        places = Places(paths, out, report, skip, force, resume, quiet, scheduler)
        restore(places, super_resolve_work(options, factor, defects))


def deblock(
    paths: Paths,
    *,
    defects: Defects = "repair",
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
    scheduler: Scheduler = None,
) -> None:
    """Remove JPEG artefacts from images or stacks that were coded as JPEG before."""
    from napari_rednet.arguments import check_defects, check_options
    from napari_rednet.batch.tasks import deblock_work

    with reported_errors():
        check_defects(defects)
        options = check_options("deblock", model, ensemble, tile, device, memory)
        places = Places(paths, out, report, skip, force, resume, quiet, scheduler)
        restore(places, deblock_work(options, defects))


def deblur(
    paths: Paths,
    *,
    psf: Annotated[Path | None, typer.Option(help="TIFF with the image of a point.")] = None,
    center: Annotated[
        str,
        typer.Option(
            metavar="array|mass",
            help="Where in it the point is: in the middle of the array, or at the centre of mass, "
            "as suits a bead that was cut out by hand.",
        ),
    ] = "array",
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
    grain_y: GrainY = None,
    grain_x: GrainX = None,
    strength: Strength = 1.0,
    iterations: Annotated[int, typer.Option(help="How often data and prior take turns.")] = 8,
    defects: Defects = "repair",
    dtype: Dtype = None,
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
    scheduler: Scheduler = None,
) -> None:
    """Undo a known blur of images or stacks, plane by plane; name one kind of blur."""
    from napari_rednet.arguments import (
        check_count,
        check_defects,
        check_dtype,
        check_number,
        check_options,
    )
    from napari_rednet.batch.tasks import deblur_work
    from napari_rednet.psf import check_center

    with reported_errors():
        check_defects(defects)
        widefield = (numerical_aperture, wavelength, pixel_size)
        kernel = choose_psf(psf, gaussian, disk, motion, angle, widefield)
        given = noise_model(noise, gain, offset, read_noise, grain_y, grain_x)
        check_number("strength", strength)
        turns = check_count("iterations", iterations)
        check_dtype(dtype, None)
        options = check_options("denoise", model, ensemble, tile, device)
        places = Places(paths, out, report, skip, force, resume, quiet, scheduler)
        where = check_center(center)
        work = deblur_work(options, kernel, given, strength, turns, where, defects, dtype)
        with printed_warnings(quiet=quiet):
            restore(places, work)


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
    scheduler: Scheduler = None,
) -> None:
    """Fill missing pixels of images or stacks; known ones are kept as they are."""
    from napari_rednet.arguments import check_options
    from napari_rednet.batch.tasks import inpaint_work

    with reported_errors():
        options = check_options("inpaint", model, ensemble, tile, device, memory)
        given = None if mask is None else read_mask(mask)
        places = Places(paths, out, report, skip, force, resume, quiet, scheduler)
        restore(places, inpaint_work(options, given))


def noise_model(
    noise: float | None,
    gain: float | None,
    offset: float | None,
    read_noise: float | None,
    grain_y: float | None,
    grain_x: float | None,
) -> float | NoiseModel | None:
    """The noise that the options say; None if they do not."""
    from napari_rednet.arguments import check_number

    grain = (grain_y or 0.0, grain_x or 0.0)
    if noise is not None:
        check_number("noise", noise)
        if (gain, offset, read_noise) != (None, None, None):
            raise ValueError("give either --noise or --gain, --offset and --read-noise")
        return NoiseModel(0.0, 0.0, noise, *grain) if any(grain) else noise
    if (gain, offset, read_noise) != (None, None, None):
        return NoiseModel(gain or 0.0, offset or 0.0, read_noise or 0.0, *grain)
    if any(grain):
        raise ValueError("--grain-y and --grain-x go with --noise, or with --gain and its kin")
    return None
