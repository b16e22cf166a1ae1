"""Bicubic resampling: antialiased when it makes images smaller, as in the super-resolution papers.

Along each axis it is a product with a matrix, so that each patch of a batch can have a factor of
its own. Large planes are enlarged by `napari_rednet.engine.enlargement`, with the same kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_rednet.engine.degradations.draws import uniform

_A = -0.5


def resample(image: Tensor, shape: tuple[int, int]) -> Tensor:
    """Bicubic resampling (a = -0.5) to another shape, antialiased along axes that shrink.

    Parameters
    ----------
    image : (N, C, Y, X) Tensor
        Of any values.
    shape : (rows, columns)
        Of the result.
    """
    rows, columns = (
        torch.from_numpy(bicubic_matrix(old, new)).to(image)
        for old, new in zip(image.shape[-2:], shape, strict=True)
    )
    return rows @ image @ columns.T


@lru_cache(maxsize=32)
def bicubic_matrix(old: int, new: int) -> npt.NDArray[np.float64]:
    """Weights (new, old) that resample a line of pixels; rows add up to 1.

    Pixels are areas: those of both grids span the same length. Beyond the ends nothing is
    assumed; the weights of the pixels there are are scaled up.

    References
    ----------
    .. [1] R. Keys, "Cubic convolution interpolation for digital image processing", IEEE TASSP
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
    """Bicubic enlargements of images made smaller, the input of super-resolution.

    Each image of a batch gets one of the factors at random.

    Parameters
    ----------
    scales : tuple of int
        Factors.
    margin : int
        Pixels at each side of a patch that are cut off: what was beyond them is not known.
    """

    scales: tuple[int, ...] = (2, 3, 4)
    margin: int = 16

    def __call__(self, clean: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Corrupt a batch of square patches.

        Returns
        -------
        inputs, targets : (N, 1, Y - 2 margin, X - 2 margin) Tensor
            The enlargements, and the images as they were.
        weights : (N, 1, 1, 1) Tensor
            Larger for small factors, whose errors are small.
        """
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
