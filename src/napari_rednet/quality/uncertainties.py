"""Where a restored image cannot be trusted: how far it is off, estimated at each pixel."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_rednet.arguments import (
    LARGEST_SEED,
    Noise,
    as_floats,
    as_image,
    check_count,
    noise_per_channel,
)
from napari_rednet.engine.channel import NoiseModel, find_basis
from napari_rednet.engine.planes import PlaneLayout
from napari_rednet.execution import Steps, drain
from napari_rednet.quality.scores import unit_of

FloatArray = npt.NDArray[np.floating[Any]]
# Neighbours are as uncertain as each other, and a few samples at one pixel say little.
_BLUR = 1.5
# Both spreads miss what all runs have in common. On six real frames (w2s), 68 %
# of the pixels are within this factor; docs/how-to-compare.md has the coverage on others.
_FACTOR = 1.4


def uncertainty(
    image: Any,
    restore: Callable[[Any], Any],
    *,
    noise: Noise | Sequence[Noise],
    channel_axis: int | None = None,
    samples: int = 4,
    seed: int = 0,
) -> FloatArray:
    """Estimate how far a restored image is off at each pixel.

    What is restored is made noisy again, and restored once more: how far that is off is known.
    Then the image is restored in its eight orientations, which a network that knew would restore
    alike. Both spreads together are the uncertainty. It is small where both agree, also on an
    error that the network makes each time: structure that it takes for noise in all of them.

    Parameters
    ----------
    image : (..., Y, X) array
        The noisy image, in memory.
    restore : callable
        Takes an image like it, of float32, and returns it restored, such as
        ``lambda image: denoise(image, noise=noise)``.
    noise : float, NoiseModel, or a sequence of one of them per channel
        Of the image.
    channel_axis : int, optional
        Axis of the channels.
    samples : int
        How often it is made noisy again.
    seed : int
        Of that noise.

    Returns
    -------
    uncertainty : (..., Y, X) ndarray of float32
        Standard deviation of the error, in image units; NaN where the result is not finite. Of
        float64, as what `restore` is given, for constant images and values that float32 does not
        resolve.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described here.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_rednet as nr
    >>> noisy = np.random.default_rng(0).normal(100, 5, (64, 64))
    >>> found = uncertainty(noisy, lambda image: nr.denoise(image, noise=5), noise=5)
    >>> bool(0 < found.mean() < 5)
    True
    """
    steps = uncertainty_steps(
        image, restore, noise=noise, channel_axis=channel_axis, samples=samples, seed=seed
    )
    found: FloatArray = drain(steps, False, "uncertainty")
    return found


def uncertainty_steps(
    image: Any,
    restore: Callable[[Any], Any],
    *,
    noise: Noise | Sequence[Noise],
    channel_axis: int | None = None,
    samples: int = 4,
    seed: int = 0,
) -> Steps:
    """`uncertainty`, step by step: yields (runs done, runs in all)."""
    array, layout = as_image(image, channel_axis)
    models = noise_per_channel(noise, layout.channels) or []
    count, draw = check_count("samples", samples), check_count("seed", seed, 0, LARGEST_SEED)
    basis = find_basis([np.asarray(array)])
    values = as_floats("image", array)
    kind = np.float32 if basis is None else np.float64
    return _spread(values.astype(kind), layout, restore, models, count, draw)


def _spread(
    image: FloatArray,
    layout: PlaneLayout,
    restore: Callable[[Any], Any],
    models: Sequence[NoiseModel],
    samples: int,
    seed: int,
) -> Steps:
    turns = list(_turns(layout, models))
    total = samples + len(turns)
    yield 0, total
    restored = np.asarray(restore(image), image.dtype)
    restored = np.where(np.isfinite(restored), restored, np.nan)
    # The largest values, and their noise: in this unit, squares are numbers.
    most = float(np.abs(image[np.isfinite(image)]).max(initial=0.0))
    unit = unit_of(np.array([most, *(model.std(most) for model in models)]))
    lot = np.random.default_rng(seed)
    of_noise = np.zeros(image.shape, np.float64)
    for number in range(samples):
        yield number, total
        again = restore(_noisy(restored, layout, models, lot))
        of_noise += _squares(again, restored, unit) / samples
    of_network = np.zeros(image.shape, np.float64)
    for number, (turn, turn_back) in enumerate(turns):
        yield samples + number, total
        other = turn_back(np.asarray(restore(np.ascontiguousarray(turn(image)))))
        of_network += _squares(other, restored, unit) / max(1, len(turns))
    sigma = [_BLUR if axis in layout.spatial_axes else 0.0 for axis in range(image.ndim)]
    variance = of_noise + of_network
    is_known = np.isfinite(variance)
    # What is not known has no part in the mean of its surroundings.
    summed, share = (
        ndimage.gaussian_filter(values, sigma)
        for values in (np.where(is_known, variance, 0.0), is_known.astype(np.float64))
    )
    smooth = summed / np.where(is_known, share, np.nan)
    return (unit * _FACTOR * np.sqrt(smooth.clip(0))).astype(image.dtype)


def _squares(one: Any, other: FloatArray, unit: float) -> FloatArray:
    """Squared differences, in this unit."""
    return np.square(np.asarray(one, np.float64) / unit - other / unit)


Turn = Callable[[Any], Any]


def _turns(layout: PlaneLayout, models: Sequence[NoiseModel]) -> Iterator[tuple[Turn, Turn]]:
    """The orientations but the first, and their inverses; rows stay rows if noise tells them."""
    y, x = layout.spatial_axes
    is_even = all(math.isclose(*model.correlation, abs_tol=1e-3) for model in models)
    for swap, *flips in product((False, True), repeat=3):
        axes = tuple(axis for axis, is_flipped in zip((y, x), flips, strict=True) if is_flipped)
        if (not swap and not axes) or (swap and not is_even):
            continue

        def turn(image: Any, axes: tuple[int, ...] = axes, *, swap: bool = swap) -> Any:
            flipped = np.flip(image, axes)
            return np.swapaxes(flipped, y, x) if swap else flipped

        def turn_back(image: Any, axes: tuple[int, ...] = axes, *, swap: bool = swap) -> Any:
            return np.flip(np.swapaxes(image, y, x) if swap else image, axes)

        yield turn, turn_back


def _noisy(
    clean: FloatArray,
    layout: PlaneLayout,
    models: Sequence[NoiseModel],
    lot: np.random.Generator,
) -> FloatArray:
    """An image made noisy: with grain, if the noise has some."""
    noisy = clean.copy()
    axis = layout.channel
    for channel, model in enumerate(models):
        index = tuple(channel if a == axis else slice(None) for a in range(clean.ndim))
        part = clean[index]
        white = lot.standard_normal(part.shape)
        noisy[index] += (model.std(part) * _grainy(white, model)).astype(noisy.dtype)
    return noisy


def _grainy(white: npt.NDArray[np.float64], model: NoiseModel) -> npt.NDArray[np.float64]:
    """White noise with the grain of a model, of the same variance."""
    grain = (model.grain_y, model.grain_x)
    if model.correlation == (0.0, 0.0):
        return white
    sigma = [0.0] * (white.ndim - 2) + list(grain)
    filtered: npt.NDArray[np.float64] = ndimage.gaussian_filter(white, sigma)
    return filtered / max(float(filtered.std()), 1e-12)
