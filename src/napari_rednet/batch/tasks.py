"""What a function of the package does to a file, as the `Work` of a batch.

The functions are imported when they are used: what only lists files need not wait for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_rednet.batch.restoring import Prepared, Work, digest
from napari_rednet.engine.noise_model import NoiseModel
from napari_rednet.execution import Repairs
from napari_rednet.tasks import VERBS

if TYPE_CHECKING:
    from napari_rednet.arguments import Noise
    from napari_rednet.io.files import OpenImage

# What does not change a result; the image says how it is laid out.
_HOW = ("model", "device", "memory", "tile", "progress", "out", "channel_axis", "rgb")


def make_work(verb: str, arguments: Mapping[str, Any]) -> Work:
    """What a function does to each file, its arguments being checked; the model is loaded.

    Parameters
    ----------
    verb : str
        The function.
    arguments : mapping
        By the names of the function; the others are as by default. One `noise` for all channels of
        all files, or None to estimate it in each file; one `mask` for all files, or None to find
        dead and hot pixels in each.

    Raises
    ------
    ValueError, TypeError, ModelError
        As the function.
    """
    from napari_rednet.arguments import CHECKS, check_options
    from napari_rednet.restoration import find_defects

    row = VERBS[verb]
    given = {**row.options, **arguments}
    for name, check in CHECKS.items():
        if name in given:
            check(given[name])
    shared = (given[name] for name in ("model", "ensemble", "tile", "device", "memory"))
    options = check_options(row.task, *shared)
    taken = {**arguments, "model": options.model}  # loaded once for all files
    make_steps = partial(row.function("_steps"), **taken)
    of_the_image = [name for name in ("noise", "mask") if name in row.options]

    def prepare(image: OpenImage) -> Prepared:
        own: dict[str, Any] = {"rgb": image.is_rgb} if row.takes_rgb else {}
        noise: Sequence[NoiseModel] = ()
        remark = ""
        if "noise" in of_the_image:
            noise = own["noise"] = _noise_of(image, given["noise"], row.takes_rgb)
        if "mask" in of_the_image and given["mask"] is None:
            found = find_defects(image.data, channel_axis=image.channel_axis)
            own["mask"], remark = found, f"dead and hot pixels found: {found.sum()}"
        repairs = Repairs()
        if row.repairs:
            own["repairs"] = repairs
        return Prepared(partial(make_steps, **own), noise, remark, repairs)

    recorded = {name: _recorded(value) for name, value in given.items() if name not in _HOW}
    if row.tile_matters:
        recorded |= {"tile": given["tile"], "memory": given["memory"]}
    scale, dtype = given.get("scale", 1), given.get("dtype")
    return Work(row.command, options.model, prepare, recorded, scale, dtype)


def _recorded(value: Any) -> Any:
    """An argument as JSON: arrays by their values."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return repr(value) if isinstance(value, NoiseModel) else digest(value)


def _noise_of(image: OpenImage, given: Noise | None, takes_rgb: bool) -> list[NoiseModel]:
    """One noise model a channel: the given one or, if there is none, from the image."""
    from napari_rednet.arguments import as_image, noise_per_channel
    from napari_rednet.restoration import estimate_noise

    _, layout = as_image(image.data, image.channel_axis)
    noise: Any = given
    if given is None:
        noise = estimate_noise(image.data, channel_axis=image.channel_axis)
    found = noise_per_channel(noise, layout.channels) or []
    if takes_rgb and image.is_rgb:
        del found[3:]  # transparency has none
    return found
