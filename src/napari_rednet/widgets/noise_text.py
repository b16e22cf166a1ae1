"""How well a noise model fits what was measured, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from napari_rednet.engine.noise import NoiseModel
    from napari_rednet.noise import NoiseLevels

FloatArray = npt.NDArray[np.float64]

_GOOD, _FAIR = 0.1, 0.25
_ONE_SIDED = 0.8
_FEW_LEVELS = 8
_NARROW, _GROWTH = 3.0, 1.5
_ENOUGH_PIXELS = 2000.0
_CLIPPED = 0.01


def is_far_off(deviation: FloatArray) -> npt.NDArray[np.bool_]:
    """Which levels deviate so much that they should be looked at."""
    far: npt.NDArray[np.bool_] = np.abs(deviation) > _FAIR
    return far


def describe_fit(levels: NoiseLevels, model: NoiseModel) -> str:
    """What users should know of measured levels and a model, fitted to them or typed."""
    if not len(levels.signal):
        return "Too few pixels to measure noise."
    if not levels.variance.any():
        return "No noise: all measured pixels are like their neighbours. Are they saturated?"
    return " ".join([_fit(levels, model), *_reservations(levels, model)])


def _fit(levels: NoiseLevels, model: NoiseModel) -> str:
    deviation = levels.deviation(model)
    if not np.isfinite(deviation).all():
        return "Poor fit: there is noise where the line is at 0."
    trust = np.minimum(levels.count, _ENOUGH_PIXELS)
    misfit, bias = (float(np.average(d, weights=trust)) for d in (abs(deviation), deviation))
    one_sided = abs(bias) > _ONE_SIDED * misfit
    more = "more" if bias > 0 else "less"
    if misfit <= _GOOD:
        return f"Good fit: noise within {misfit:.0%} of the line on average."
    if misfit <= _FAIR and one_sided:
        return f"Fair fit: {misfit:.0%} {more} noise than the line says."
    if misfit <= _FAIR:
        return f"Fair fit: noise within {misfit:.0%} of the line on average."
    if one_sided:
        so = "too little" if bias > 0 else "too much"
        return f"Poor fit: {misfit:.0%} {more} noise than the line says, which smooths {so}."
    return (
        f"Poor fit: noise {misfit:.0%} off the line on average. Fine structure may pass for "
        "noise: measure in a region without it, or type the values of the camera."
    )


def _reservations(levels: NoiseLevels, model: NoiseModel) -> list[str]:
    """What makes the fit less certain."""
    found = []
    far, count = int(is_far_off(levels.deviation(model)).sum()), len(levels.signal)
    if 0 < far < count / 2:
        found.append(f"Far off (orange): {far} of {count} levels.")
    if count < _FEW_LEVELS:
        found.append("There are few levels: measure in more of the image.")
    elif _is_narrow(levels):
        found.append(
            "All is about equally bright, so the gain is uncertain: include darker and brighter "
            "places."
        )
    if levels.clipped > _CLIPPED:
        found.append(f"{levels.clipped:.0%} of the pixels are saturated or black, and left out.")
    return found


def _is_narrow(levels: NoiseLevels) -> bool:
    """Whether the signal varies less than the noise, and does not change it."""
    bright = levels.signal > np.median(levels.signal)
    darker, brighter = (
        np.average(levels.variance[half], weights=levels.count[half]) for half in (~bright, bright)
    )
    noise = np.sqrt(np.median(levels.variance))
    return bool(np.ptp(levels.signal) < _NARROW * noise and brighter < _GROWTH * darker)
