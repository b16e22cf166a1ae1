"""The noise of an array of any axes, or of a region of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_rednet.arguments import NOISY, as_image
from napari_rednet.engine.channel import NoiseModel, find_basis
from napari_rednet.engine.planes import PlaneLayout, evenly
from napari_rednet.execution import Samples, Steps, drain
from napari_rednet.execution.job import readable
from napari_rednet.masks import as_region
from napari_rednet.noise import NoiseLevels, measure_noise

BoolArray = npt.NDArray[np.bool_]
Index = tuple[int | slice, ...]

_SIDE = 256
_MARGIN = 8
_MOST_WINDOWS = 48
_MOST_PLANES = 12
_MOST_LOOKED_AT = 1000
# Channels are few, and one noise model misses theirs by 5 and 12 times in two microscopes' files;
# planes of stacks and time series differ by up to 1.9.
_MOST_CHANNELS, _FEW_WINDOWS, _VERY_DIFFERENT = 8, 8, 2.5


def region_windows(region: Any, layout: PlaneLayout, channel: int) -> list[Index]:
    """Indices of windows with pixels of a region, which has the shape of the image, in a channel.

    At most 48 windows of 256 x 256 pixels, drawn at random from up to 12 planes; the same ones each
    time. Of more than 1000 planes, 1000 are looked at.
    """
    keys = layout.some_planes(channel, _MOST_LOOKED_AT)
    lot = np.random.default_rng(0)
    windows: list[Index] = []
    planes = 0
    for i in lot.permutation(len(keys)):
        boxes = _boxes(np.asarray(region[keys[i].index]))
        windows += [keys[i].window(*box) for box in boxes]
        planes += bool(boxes)
        if planes == _MOST_PLANES:
            break
    return [windows[i] for i in lot.permutation(len(windows))[:_MOST_WINDOWS]]


def _boxes(marked: BoolArray) -> list[tuple[slice, slice]]:
    """Boxes of a grid over the marked pixels of a plane, without the empty ones."""
    rows, columns = (_spans(np.logical_or.reduce(marked, axis)) for axis in (1, 0))
    return [(r, c) for r in rows for c in columns if marked[r, c].any()]


def _spans(marked: BoolArray) -> list[slice]:
    """Slices of an axis from the first mark to the last, with a margin."""
    places = np.flatnonzero(marked)
    if not len(places):
        return []
    first, end = max(0, int(places[0]) - _MARGIN), int(places[-1]) + 1 + _MARGIN
    return [slice(start, min(start + _SIDE, end)) for start in range(first, end, _SIDE)]


def estimate_noise(
    image: Any, *, channel_axis: int | None = None, region: Any = None
) -> NoiseModel | list[NoiseModel]:
    """Estimate the Poisson-Gaussian noise of an image or a stack from itself.

    Parameters
    ----------
    image : (..., Y, X) array
        Image of any real dtype. Of large stacks, a sample of windows is used.
    channel_axis : int, optional
        Axis of the channels.
    region : (Y, X) or (..., Y, X) array of bool or int, optional
        Where to estimate it: true, or not 0. Either one region for all planes, or of the image's
        shape, with or without the channel axis. Everywhere if not given.

    Returns
    -------
    noise : NoiseModel, or a list of one per channel if `channel_axis` is given
        Gain, offset and read noise in image units; ``noise.std(signal)`` is the
        standard deviation at a signal.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described here, or `region` has too few usable pixels.

    See Also
    --------
    noise_levels : What the model is fitted to.

    Examples
    --------
    >>> import numpy as np
    >>> from skimage import data
    >>> photons = np.random.default_rng(0).poisson(data.moon().astype(float))
    >>> noise = estimate_noise(100 + 2 * photons)
    >>> bool(1.8 < noise.gain < 2.2)
    True
    """
    steps = noise_levels_steps(image, channel_axis=channel_axis, region=region)
    models = [levels.fit() for levels in drain(steps, False, "noise")]
    return models[0] if channel_axis is None else models


def noise_levels(
    image: Any, *, channel_axis: int | None = None, region: Any = None
) -> NoiseLevels | list[NoiseLevels]:
    """Measure the noise variance over the signal: the points of a photon transfer curve.

    Parameters
    ----------
    image, channel_axis, region :
        As for `estimate_noise`.

    Returns
    -------
    levels : NoiseLevels, or a list of one per channel if `channel_axis` is given
        ``levels.fit()`` is the model that `estimate_noise` returns.

    Raises
    ------
    TypeError, ValueError
        As for `estimate_noise`.

    References
    ----------
    .. [1] J. R. Janesick, "Photon Transfer", SPIE Press, 2007.

    Examples
    --------
    >>> import numpy as np
    >>> from skimage import data
    >>> photons = np.random.default_rng(0).poisson(data.moon().astype(float))
    >>> levels = noise_levels(100 + 2 * photons)
    >>> line = levels.fit().variance(levels.signal)  # to plot beside levels.variance
    >>> bool(np.median(abs(line / levels.variance - 1)) < 0.1)
    True
    """
    steps = noise_levels_steps(image, channel_axis=channel_axis, region=region)
    levels: list[NoiseLevels] = drain(steps, False, "noise")
    return levels[0] if channel_axis is None else levels


def noise_levels_steps(image: Any, *, channel_axis: int | None = None, region: Any = None) -> Steps:
    """`noise_levels`, step by step: arguments are checked at once.

    Yields (windows done, windows in all) and returns a list of `NoiseLevels`, one per channel.
    """
    array, layout = as_image(image, channel_axis)
    marked = None if region is None else as_region(region, layout)
    return _measure(array, layout, marked)


def _measure(array: Any, layout: PlaneLayout, region: Any) -> Steps:
    channels = [_windows(layout, c, region) for c in range(layout.channels)]
    total = sum(map(len, channels))
    done = 0
    source = readable(array)
    measured = []
    for indices in channels:
        images = []
        for index in indices:
            yield done, total
            images.append(np.asarray(source[index]))
            done += 1
        regions = None if region is None else [np.asarray(region[index]) for index in indices]
        basis = find_basis(images)
        if basis is not None:
            images = [basis.inside(image) for image in images]
        # Hot pixels, which are repaired before noise is removed, are no noise.
        rest = Samples(images).without_outliers(NOISY)
        levels = measure_noise(list(rest), regions)
        measured.append(levels if basis is None else levels.outside(basis))
        if region is not None and not len(measured[-1].signal):
            raise ValueError(
                "region has too few pixels to measure noise in; clipped ones do not count. "
                "Mark more of the image"
            )
    return measured


def _windows(layout: PlaneLayout, channel: int, region: Any) -> list[tuple[int | slice, ...]]:
    if region is None:
        return layout.sample_windows(channel)
    return region_windows(region, layout, channel)


@dataclass(frozen=True)
class UnevenNoise:
    """Planes along an axis whose noise differs by a factor, as that of channels does."""

    axis: int
    factor: float

    def __str__(self) -> str:
        return f"noise differs {self.factor:.0f}-fold along axis {self.axis}, as between channels"


def find_uneven_noise(array: Any, *, channel_axis: int | None = None) -> UnevenNoise | None:
    """The axis along which planes have very different noise; None if there is none.

    Only short axes are looked at, and none if the channels are known. One noise model for all
    planes is wrong then for most of them.
    """
    if channel_axis is not None:
        return None
    array, _ = as_image(array, None)  # a mapped file is read by position
    few = [a for a, n in enumerate(array.shape[:-2]) if 1 < n <= _MOST_CHANNELS]
    found = [UnevenNoise(axis, _spread_of_noise(array, axis)) for axis in few]
    worst = max(found, key=lambda one: one.factor, default=None)
    return worst if worst is not None and worst.factor > _VERY_DIFFERENT else None


def _spread_of_noise(array: Any, axis: int) -> float:
    """How much more noise some planes along an axis have than others, by one model for all."""
    layout = PlaneLayout(tuple(array.shape), axis)
    parts = [_few_windows(array, layout, channel) for channel in range(layout.channels)]
    model = measure_noise([window for part in parts for window in part]).fit()
    ratios = [_excess(measure_noise(part), model) for part in parts]
    known = [ratio for ratio in ratios if np.isfinite(ratio) and ratio > 0]
    return max(known) / min(known) if known else 1.0


def _few_windows(array: Any, layout: PlaneLayout, channel: int) -> Sequence[npt.NDArray[Any]]:
    indices = evenly(layout.sample_windows(channel), _FEW_WINDOWS)
    return list(Samples(np.asarray(array[i]) for i in indices).without_outliers(NOISY))


def _excess(levels: NoiseLevels, model: NoiseModel) -> float:
    """Measured standard deviation over that of a model, on average over the levels."""
    deviation = levels.deviation(model)
    is_known = np.isfinite(deviation)
    if not is_known.any():
        return float("nan")
    return 1 + float(np.average(deviation[is_known], weights=levels.count[is_known]))
