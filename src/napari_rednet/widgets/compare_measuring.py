"""How good a result is, measured in another thread."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_rednet.engine.noise import NoiseModel
from napari_rednet.widgets.compare_planes import Part

if TYPE_CHECKING:
    from napari_rednet.quality import ErrorEstimate, Scores


@dataclass(frozen=True)
class Request:
    """What is to be measured.

    Parameters
    ----------
    before, after : Part
        Of the pair.
    reference : Part or None
        What both are compared with.
    noise : list of NoiseModel or None
        The noise before, if the result was denoised.
    settings : dict
        Arguments of `denoise` that made the result.
    """

    before: Part
    after: Part
    reference: Part | None
    noise: list[NoiseModel] | None
    settings: dict[str, Any]


@dataclass(frozen=True)
class Measured:
    """What was found; None for what could not be measured."""

    before: Scores | None = None
    after: Scores | None = None
    estimate: ErrorEstimate | None = None


def measure(request: Request) -> Generator[tuple[int, int], None, Measured]:
    """Compare with the reference, or estimate the error without one."""
    reference = request.reference
    if reference is None:
        return Measured(estimate=(yield from _estimate(request)))
    before = None
    # A source of another size, of an enlarged result, has no pixels to compare.
    if request.before.shape == reference.shape:
        before = yield from _score(request.before, reference)
    return Measured(before, (yield from _score(request.after, reference)))


def _score(part: Part, reference: Part) -> Generator[tuple[int, int], None, Scores]:
    from napari_rednet.quality import score_steps

    return (yield from score_steps(part.array, reference.array, channel_axis=part.channel_axis))


def _estimate(request: Request) -> Generator[tuple[int, int], None, ErrorEstimate]:
    from napari_rednet.quality import estimate_error_steps
    from napari_rednet.restoration import denoise_steps

    axis, noise = request.before.channel_axis, request.noise
    models: Any = noise if axis is not None or noise is None else noise[0]
    restore = partial(denoise_steps, noise=models, rgb=axis is not None, **request.settings)
    before, after = (part.sample() for part in (request.before, request.after))
    steps = estimate_error_steps(before, after, restore, noise=models, channel_axis=axis)
    return (yield from steps)
