"""Bicubic enlargement of windows of a plane: the input of super-resolution, read band by band."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_rednet.engine.degradations.resampling import cubic_kernel
from napari_rednet.engine.images import working_dtype
from napari_rednet.engine.planes import ReadWindow
from napari_rednet.engine.unknown_pixels import fill_image

REACH = 8
"""Pixels around a pixel that its enlargement depends on: two of the kernel, six of the filling."""


def enlarge(image: Tensor, scale: int) -> Tensor:
    """Bicubic enlargement (a = -0.5) of images (N, 1, Y, X) by an integer factor.

    It equals `napari_rednet.engine.degradations.resample`, but needs time and memory in proportion
    to the image. Each pixel becomes `scale` x `scale` pixels, whose weights repeat.
    """
    return _enlarge_rows(_enlarge_rows(image, scale).transpose(2, 3), scale).transpose(2, 3)


def _enlarge_rows(image: Tensor, scale: int) -> Tensor:
    # Sums of shifted rows: unlike a library's convolution, they give a pixel the same value to
    # the last digit whatever window it is computed in.
    inside = F.pad(torch.ones_like(image[:1, :, :, :1]), (0, 0, 2, 2))
    padded = F.pad(image, (0, 0, 2, 2))
    parts = []
    for weights in _phases(scale):
        terms = [
            (weight, slice(k, k + image.shape[2])) for k, weight in enumerate(weights) if weight
        ]
        # Beyond the border nothing is assumed: the weights that remain are scaled up.
        parts.append(_weighted(padded, terms) / _weighted(inside, terms))
    stacked = torch.stack(parts, 3)
    return stacked.reshape(len(image), 1, -1, image.shape[3])


def _weighted(padded: Tensor, terms: list[tuple[float, slice]]) -> Tensor:
    (first, rows), *others = terms
    total = first * padded[:, :, rows]
    for weight, shifted in others:
        total = total + weight * padded[:, :, shifted]
    return total


@lru_cache(maxsize=8)
def _phases(scale: int) -> tuple[tuple[float, ...], ...]:
    """Weights of a pixel and its four neighbours for each of the pixels that it becomes."""
    positions = (np.arange(scale) + 0.5) / scale - 0.5
    weights = cubic_kernel(np.arange(-2, 3) - positions[:, None])
    return tuple(tuple(map(float, row)) for row in weights)


def read_enlarged(read: ReadWindow, shape: tuple[int, int], scale: int) -> ReadWindow:
    """A function that reads windows of an enlarged plane; float, in the plane's units.

    Pixels that are not finite become as many that have their value, and do not spread.
    """

    def read_window(rows: slice, columns: slice) -> npt.NDArray[np.floating]:
        wide = [
            _source(part, side, scale) for part, side in zip((rows, columns), shape, strict=True)
        ]
        values = np.asarray(read(*wide))
        large = _enlarged_values(values, scale)
        first = [
            part.start - scale * w.start for part, w in zip((rows, columns), wide, strict=True)
        ]
        sides = [part.stop - part.start for part in (rows, columns)]
        return large[first[0] : first[0] + sides[0], first[1] : first[1] + sides[1]]

    return read_window


def _source(part: slice, side: int, scale: int) -> slice:
    """Pixels of the small plane that a part of the large one is made of."""
    return slice(max(0, part.start // scale - REACH), min(side, -(-part.stop // scale) + REACH))


def _enlarged_values(values: npt.NDArray[np.generic], scale: int) -> npt.NDArray[np.floating]:
    wide = working_dtype(values.dtype)
    x = torch.from_numpy(values.astype(wide))[None, None]
    finite = torch.isfinite(x)
    if bool(finite.all()):
        return np.asarray(enlarge(x, scale)[0, 0])
    known = finite.to(x.dtype)
    large = enlarge(fill_image(torch.where(finite, x, 0.0), known), scale)
    original = x.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    return np.asarray(torch.where(torch.isfinite(original), large, original)[0, 0])
