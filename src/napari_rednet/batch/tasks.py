"""What each task does to a file, as the `Work` of a batch; its record is the same for all callers.

The verbs are imported when they are used: what only lists files need not wait for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_rednet.batch.restoring import Prepared, Work, digest
from napari_rednet.engine.noise_model import NoiseModel
from napari_rednet.execution import Repairs

if TYPE_CHECKING:
    from napari_rednet.arguments import Options
    from napari_rednet.execution import Steps
    from napari_rednet.io.files import OpenImage
    from napari_rednet.psf import Center

GivenNoise = float | NoiseModel | None
"""Noise of all channels of all files; None if it is estimated in each file."""


def denoise_work(
    options: Options,
    noise: GivenNoise = None,
    strength: float = 1.0,
    defects: str = "repair",
    dtype: str | None = None,
) -> Work:
    """Remove noise."""
    from napari_rednet.restoration import denoise_steps

    make_steps = partial(
        denoise_steps,
        strength=strength,
        defects=defects,
        dtype=dtype,
        **_shared(options),
        memory=options.memory,
    )

    def prepare(image: OpenImage) -> Prepared:
        levels = noise_levels(image, noise)
        if image.is_rgb:
            del levels[3:]  # transparency has none
        return _counting(partial(make_steps, noise=levels, rgb=image.is_rgb), levels)

    arguments = {
        "noise": repr(noise),
        "strength": strength,
        "defects": defects,
        "ensemble": options.ensemble,
        "dtype": dtype,
    }
    return Work("denoise", options.model, prepare, arguments, dtype=dtype)


def super_resolve_work(options: Options, scale: int = 2, defects: str = "repair") -> Work:
    """Enlarge."""
    from napari_rednet.restoration import super_resolve_steps

    make_steps = partial(
        super_resolve_steps,
        scale=scale,
        defects=defects,
        **_shared(options),
        memory=options.memory,
    )

    def prepare(image: OpenImage) -> Prepared:
        return _counting(partial(make_steps, rgb=image.is_rgb))

    arguments = {"scale": scale, "defects": defects, "ensemble": options.ensemble}
    return Work("super-resolve", options.model, prepare, arguments, scale)


def deblock_work(options: Options, defects: str = "repair") -> Work:
    """Remove JPEG artefacts."""
    from napari_rednet.restoration import deblock_steps

    make_steps = partial(deblock_steps, defects=defects, **_shared(options), memory=options.memory)

    def prepare(image: OpenImage) -> Prepared:
        return _counting(partial(make_steps, rgb=image.is_rgb))

    arguments = {"defects": defects, "ensemble": options.ensemble}
    return Work("deblock", options.model, prepare, arguments)


def deblur_work(
    options: Options,
    psf: Any,
    noise: GivenNoise = None,
    strength: float = 1.0,
    iterations: int = 8,
    center: Center = "array",
    defects: str = "repair",
    dtype: str | None = None,
) -> Work:
    """Undo a blur."""
    from napari_rednet.restoration import deblur_steps

    make_steps = partial(
        deblur_steps,
        psf=psf,
        center=center,
        strength=strength,
        iterations=iterations,
        defects=defects,
        dtype=dtype,
        **_shared(options),
    )

    def prepare(image: OpenImage) -> Prepared:
        levels = noise_levels(image, noise)
        return _counting(partial(make_steps, noise=levels), levels)

    arguments = {
        "psf": digest(psf),
        "center": center,
        "noise": repr(noise),
        "strength": strength,
        "iterations": iterations,
        "defects": defects,
        "ensemble": options.ensemble,
        # Here alone it changes the result a little.
        "tile": options.tile,
        "dtype": dtype,
    }
    return Work("deblur", options.model, prepare, arguments, dtype=dtype)


def inpaint_work(options: Options, mask: Any = None) -> Work:
    """Fill what a mask covers or, without one, the dead and hot pixels of each file."""
    from napari_rednet.restoration import find_defects, inpaint_steps

    make_steps = partial(inpaint_steps, **_shared(options), memory=options.memory)

    def prepare(image: OpenImage) -> Prepared:
        if mask is not None:
            return Prepared(partial(make_steps, mask=mask))
        found = find_defects(image.data, channel_axis=image.channel_axis)
        told = f"dead and hot pixels found: {found.sum()}"
        return Prepared(partial(make_steps, mask=found), remark=told)

    arguments = {"mask": None if mask is None else digest(mask), "ensemble": options.ensemble}
    return Work("inpaint", options.model, prepare, arguments)


def _counting(make_steps: Callable[..., Steps], noise: Sequence[NoiseModel] = ()) -> Prepared:
    """How an image is restored, with a count of what is repaired in it."""
    repairs = Repairs()
    return Prepared(partial(make_steps, repairs=repairs), noise, repairs=repairs)


def _shared(options: Options) -> dict[str, Any]:
    """The arguments that all verbs have, with the model loaded once for all files."""
    return {
        "model": options.model,
        "ensemble": options.ensemble,
        "tile": options.tile,
        "device": options.device,
    }


def noise_levels(image: OpenImage, given: GivenNoise) -> list[NoiseModel]:
    """One noise model a channel: the given one or, if there is none, from the image."""
    from napari_rednet.arguments import as_image, noise_per_channel
    from napari_rednet.restoration import estimate_noise

    _, layout = as_image(image.data, image.channel_axis)
    noise: Any = given
    if given is None:
        noise = estimate_noise(image.data, channel_axis=image.channel_axis)
    return noise_per_channel(noise, layout.channels) or []
