"""Which way to learn: chosen by what the user has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_rednet.finetuning.examples import SettingsOf
from napari_rednet.finetuning.stacks import Stack

METHODS = ("paired", "clean", "pseudo-clean", "neighbors", "blind-spot", "subsampled")
"""The ways to learn; see `fine_tune`."""

FROM_NOISY = METHODS[2:]

_SAME_SCENE = 1.2


def choose_method(task: str, method: str | None, *, images: bool, targets: bool) -> str:
    """The way to learn for what is given.

    Raises
    ------
    ValueError
        If the method is unknown, or does not go with what is given.
    """
    if method is not None and method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if not images and not targets:
        raise ValueError("give images, targets (clean images), or both")
    possible = _possible(task, images, targets)
    if not possible:
        raise ValueError(
            f"{task} learns from clean images alone, given as images, and makes its own bad ones"
        )
    if method is None:
        return possible[0]
    if method not in possible:
        raise ValueError(
            f"method {method!r} does not go with what is given; possible: {', '.join(possible)}"
        )
    return method


def _possible(task: str, images: bool, targets: bool) -> tuple[str, ...]:
    if task == "denoise":
        if not targets:
            return FROM_NOISY
        return ("paired", "clean") if images else ("clean",)
    if not targets:
        return ("clean",)
    return ("paired",) if task == "deblock" and images else ()


def repeating_axis(stacks: Sequence[Stack], settings_of: SettingsOf) -> int | None:
    """The axis along which neighbouring planes of all stacks show the same scene.

    There, neighbours differ by hardly more than the noise of both.
    """
    ndims = {len(stack.layout.shape) for stack in stacks}
    if len(ndims) > 1:
        return None
    axes = [axis for axis in range(ndims.pop()) if _is_plane_axis(stacks, axis)]
    ratios = {axis: max(_difference(s, axis, settings_of) for s in stacks) for axis in axes}
    best = min(ratios, key=lambda axis: ratios[axis], default=None)
    return best if best is not None and ratios[best] < _SAME_SCENE else None


def _is_plane_axis(stacks: Sequence[Stack], axis: int) -> bool:
    return all(
        axis not in (*s.layout.spatial_axes, s.layout.channel) and s.layout.shape[axis] > 1
        for s in stacks
    )


def _difference(stack: Stack, axis: int, settings_of: SettingsOf) -> float:
    """Mean squared difference of neighbours over what their noise explains, of the worst channel.

    Windows that represent the channel are compared with the same ones of the next plane.
    """
    return max(
        _difference_in_channel(stack, axis, settings_of, channel)
        for channel in range(stack.layout.channels)
    )


def _difference_in_channel(stack: Stack, axis: int, settings_of: SettingsOf, channel: int) -> float:
    noise = settings_of(stack, channel).noise
    squares, explained = 0.0, np.finfo(float).tiny
    for index in stack.layout.sample_windows(channel):
        first, second = _neighbouring(stack, axis, index)
        known = np.isfinite(first) & np.isfinite(second)
        signal = (first[known] + second[known]) / 2
        squares += float(np.square(first[known] - second[known]).sum())
        explained += 2 * float(np.sum(noise.variance(signal))) if noise is not None else 0.0
    return squares / explained


def _neighbouring(
    stack: Stack, axis: int, index: Sequence[Any]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    position = index[axis]
    step = 1 if position + 1 < stack.layout.shape[axis] else -1
    beside = tuple(i + step if a == axis else i for a, i in enumerate(index))
    first, second = (np.asarray(stack.array[i]).astype(np.float64) for i in (tuple(index), beside))
    return first, second
