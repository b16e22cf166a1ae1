"""Find the dead and hot pixels and lines of a camera in the images that it made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from napari_rednet.engine.images import PlaneLayout
from napari_rednet.engine.intensity import measure_range
from napari_rednet.engine.noise_model import NoiseModel
from napari_rednet.noise import fit_noise

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

_RADIUS = 2
_BAND_PIXELS = 2**18
# Beyond what noise does in any image of less than a billion pixels.
_MOST_NOISE = 6.5
_LEAST_SHARE_OF_RANGE = 0.05
# A real point is spread over several pixels by the optics; the neighbours of a defect know nothing
# of it, but for the four others of a dead line that the 5 x 5 window sees.
_OUTER_NEIGHBOURS = 5
_MOST_NEIGHBOUR_SHARE = 0.2
# A line that stands out from both of its sides this many times more than lines usually do, in the
# same direction in most of its pixels.
_LEAST_LINE_SCORE = 20.0
_LEAST_LINE_SHARE_OF_RANGE = 0.01
_LEAST_AGREEMENT = 0.6


def defects_of(planes: Sequence[npt.NDArray[np.generic]]) -> BoolArray:
    """Pixels that stand out from their neighbours in at least half of the planes.

    Parameters
    ----------
    planes : sequence of (Y, X) array
        Planes of one channel, from one camera.

    Returns
    -------
    defects : (Y, X) ndarray of bool
    """
    votes = np.zeros(planes[0].shape, np.int32)
    for plane in planes:
        votes += _outliers(np.asarray(plane))
    defects: BoolArray = 2 * votes >= max(1, len(planes))
    return defects & (votes > 0)


def _outliers(plane: npt.NDArray[np.generic]) -> BoolArray:
    if plane.size == 0:
        return np.zeros(plane.shape, bool)
    windows = [np.asarray(plane[i]) for i in PlaneLayout(plane.shape).sample_windows(0)]
    noise, span = fit_noise(windows), measure_range(windows).span
    least, least_line = _LEAST_SHARE_OF_RANGE * span, _LEAST_LINE_SHARE_OF_RANGE * span
    found = np.concatenate([_stands_out(band, noise, least) for band in _bands(plane)])
    rows, columns = _odd_lines(plane, least_line), _odd_lines(plane.T, least_line)
    found |= rows[:, None] | columns[None, :]
    return found


def _odd_lines(plane: npt.NDArray[np.generic], least: float) -> BoolArray:
    """Rows that lie above, or below, the rows on both of their sides."""
    measured = [_line_scores(band) for band in _bands(plane)]
    scores, shares = (np.concatenate(parts) for parts in zip(*measured, strict=True))
    usual = np.median(scores)
    spread = np.median(np.abs(scores - usual)) / 0.6745
    enough = usual + _LEAST_LINE_SCORE * max(spread, 0.05 * usual)
    odd: BoolArray = (scores > max(least, enough)) & (shares >= _LEAST_AGREEMENT)
    return odd


def _line_scores(band: FloatArray) -> tuple[FloatArray, FloatArray]:
    """How far, in the mean, each row lies beyond the nearer of what is above and below it.

    Also returns the share of its pixels that do so in the same direction.
    """
    inner = slice(_RADIUS, -_RADIUS)
    rows = band[inner, inner]
    above = rows - (band[1:-3, inner] + band[:-4, inner]) / 2
    below = rows - (band[3:-1, inner] + band[4:, inner]) / 2
    nearer = np.where(np.abs(above) < np.abs(below), above, below)
    beyond = np.where(np.sign(above) == np.sign(below), nearer, 0)
    shares = np.maximum((beyond > 0).mean(1), (beyond < 0).mean(1))
    return np.abs(beyond).mean(1), shares.astype(np.float32)


def _bands(plane: npt.NDArray[np.generic]) -> Iterator[FloatArray]:
    """Bands of rows with the rows and columns around them, mirrored beyond the border.

    What is not finite becomes NaN, whose comparisons are all false.
    """
    rows, columns = (np.pad(np.arange(n), _RADIUS, mode="symmetric") for n in plane.shape)
    height = max(1, _BAND_PIXELS // plane.shape[1])
    for start in range(0, plane.shape[0], height):
        seen = rows[start : start + height + 2 * _RADIUS]
        band = np.asarray(plane[seen][:, columns], np.float32)
        yield np.where(np.isfinite(band), band, np.float32(np.nan))


def _stands_out(band: FloatArray, noise: NoiseModel, least: float) -> BoolArray:
    side = 2 * _RADIUS + 1
    windows = sliding_window_view(band, (side, side)).reshape(-1, side * side)
    centre = windows[:, side * side // 2]
    around = np.delete(windows, side * side // 2, axis=1)
    low, middle, high = _OUTER_NEIGHBOURS, around.shape[1] // 2, -_OUTER_NEIGHBOURS - 1
    around.partition((low, middle, around.shape[1] + high), axis=1)
    median = around[:, middle]
    difference = centre - median
    farthest = np.maximum(around[:, high] - median, median - around[:, low])
    enough = np.maximum(least, _MOST_NOISE * noise.std(median.astype(np.float64)))
    is_outlier = (np.abs(difference) > enough) & (
        farthest < _MOST_NEIGHBOUR_SHARE * np.abs(difference)
    )
    # Where a neighbour is not finite, nothing can be said.
    rows = band.shape[0] - 2 * _RADIUS
    result: BoolArray = (is_outlier & np.isfinite(difference)).reshape(rows, -1)
    return result
