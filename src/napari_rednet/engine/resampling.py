"""Bicubic resampling, antialiased when it makes images smaller.

Each axis is multiplied by a matrix, so that each patch of a batch can have its own factor. Windows
of large planes are enlarged with the same kernel, read band by band.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_rednet.engine.channel import working_dtype
from napari_rednet.engine.inference import fill_image
from napari_rednet.engine.planes import ReadWindow
from napari_rednet.engine.rng import uniform

_A = -0.5
REACH = 8
"""Pixels around a pixel that its enlargement depends on: two of the kernel, six of the filling."""


def resample(image: Tensor, shape: tuple[int, int]) -> Tensor:
    """Bicubic resampling (a = -0.5) of (N, C, Y, X), antialiased along axes that shrink."""
    rows, columns = (
        torch.from_numpy(bicubic_matrix(old, new)).to(image)
        for old, new in zip(image.shape[-2:], shape, strict=True)
    )
    return rows @ image @ columns.T


@lru_cache(maxsize=32)
def bicubic_matrix(old: int, new: int) -> npt.NDArray[np.float64]:
    """Weights (new, old) that resample a line of pixels; rows add up to 1.

    Pixels are areas: those of both grids span the same length. Weights of pixels beyond the ends
    are dropped and the others scaled up. R. Keys, "Cubic convolution interpolation", IEEE TASSP
    1981.
    """
    ratio = old / new
    width = max(ratio, 1.0)
    centres = (np.arange(new) + 0.5) * ratio - 0.5
    weights = cubic_kernel((np.arange(old) - centres[:, None]) / width)
    normalized: npt.NDArray[np.float64] = weights / weights.sum(1, keepdims=True)
    return normalized


def cubic_kernel(distance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Keys' cubic convolution kernel with a = -0.5."""
    x = np.abs(distance)
    near = (_A + 2) * x**3 - (_A + 3) * x**2 + 1
    far = _A * (x**3 - 5 * x**2 + 8 * x - 4)
    result: npt.NDArray[np.float64] = np.where(x <= 1, near, np.where(x < 2, far, 0.0))
    return result


@dataclass(frozen=True)
class EnlargementCorruption:
    """Bicubic enlargements of shrunk images, each with one of the factors `scales` at random.

    `margin` pixels at each side of a patch are cut off, since they depend on pixels beyond it.
    """

    scales: tuple[int, ...] = (2, 3, 4)
    margin: int = 16

    def __call__(self, clean: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Corrupt square patches: enlargements, originals, weights that favour small factors."""
        there_and_back = torch.stack([self._matrix(clean, s) for s in self.scales])
        chosen = (uniform(clean, generator) * len(self.scales)).long().flatten()
        matrices = there_and_back[chosen].unsqueeze(1)
        enlarged = matrices @ clean @ matrices.transpose(2, 3)
        inner = slice(self.margin, clean.shape[-1] - self.margin)
        scales = torch.tensor(self.scales, device=clean.device)[chosen]
        weights = (1.0 / scales).view(-1, 1, 1, 1)
        return enlarged[..., inner, inner], clean[..., inner, inner], weights

    def _matrix(self, clean: Tensor, scale: int) -> Tensor:
        side = clean.shape[-1]
        if side % scale:
            raise ValueError(f"patches with their margins must be multiples of {scale}, got {side}")
        small = bicubic_matrix(side, side // scale)
        return torch.from_numpy(bicubic_matrix(side // scale, side) @ small).to(clean)


def blur(clean: Tensor, psf: Tensor) -> Tensor:
    """Convolve with a PSF (H, W) of odd sides; borders are replicated."""
    rows, columns = (side // 2 for side in psf.shape)
    padded = F.pad(clean, (columns, columns, rows, rows), mode="replicate")
    return F.conv2d(padded, psf.flip(0, 1)[None, None].to(clean.dtype))


def enlarge(image: Tensor, scale: int) -> Tensor:
    """Bicubic enlargement (a = -0.5) of images (N, 1, Y, X) by an integer factor.

    It equals `resample`, but needs time and memory in proportion to the image.
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
        # Weights of pixels beyond the border are dropped and the others scaled up.
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
    """Weights of a pixel and its four neighbours for each of the `scale` pixels that it becomes."""
    positions = (np.arange(scale) + 0.5) / scale - 0.5
    weights = cubic_kernel(np.arange(-2, 3) - positions[:, None])
    return tuple(tuple(map(float, row)) for row in weights)


def read_enlarged(read: ReadWindow, shape: tuple[int, int], scale: int) -> ReadWindow:
    """Make a function that reads windows of an enlarged plane as floats in the plane's units.

    A non-finite pixel becomes `scale` x `scale` pixels of its value and does not spread.
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
