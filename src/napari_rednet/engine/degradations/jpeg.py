"""The lossy steps of JPEG coding of luminance: transform, quantisation and rounding.

ITU-T Recommendation T.81 (1992), annexes A.3 and K.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_rednet.engine.rng import uniform

_BLOCK = 8
_ROOT = math.sqrt(_BLOCK)
# T.81, table K.1.
_LUMINANCE_STEPS = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)


def code_jpeg(image: Tensor, quality: Tensor | float) -> Tensor:
    """Code gray images (N, 1, Y, X) from 0 to 1 as JPEG and decode them, as 8-bit values / 255.

    `quality`, a float or (N, 1, 1, 1), is on libjpeg's scale, 1 to 100.
    """
    height, width = image.shape[-2:]
    padded = F.pad(image, (0, -width % _BLOCK, 0, -height % _BLOCK), mode="replicate")
    rows, columns = padded.shape[-2] // _BLOCK, padded.shape[-1] // _BLOCK
    levels = torch.round(padded.clamp(0, 1) * 255) - 128
    blocks = levels.view(-1, rows, _BLOCK, columns, _BLOCK).transpose(2, 3)
    cosines = _cosines().to(image)
    steps = _steps(torch.as_tensor(quality, device=image.device, dtype=image.dtype))
    # libjpeg's transform keeps two binary digits between rows and columns and outputs eighths;
    # halves of a step are rounded away from 0. Steps often divide eighths exactly, so it matters.
    by_rows = torch.floor(blocks @ cosines.T * (4 * _ROOT) + 0.5)
    eighths = torch.floor(cosines @ by_rows * (_ROOT / 4) + 0.5)
    numbers = torch.floor((eighths.abs() + 4 * steps) / (8 * steps)) * eighths.sign()
    decoded = (cosines.T @ (numbers * steps) @ cosines).transpose(2, 3).reshape(padded.shape)
    return (torch.round(decoded + 128).clamp(0, 255) / 255)[..., :height, :width]


def _cosines() -> Tensor:
    """The orthonormal DCT-II of 8 values."""
    k = torch.arange(_BLOCK, dtype=torch.float64)
    waves = torch.cos(math.pi * k[:, None] * (2 * k + 1) / (2 * _BLOCK)) * math.sqrt(2 / _BLOCK)
    waves[0] /= math.sqrt(2)
    return waves


def _steps(quality: Tensor) -> Tensor:
    """Quantisation steps on libjpeg's scale: quality 50 is the standard's table."""
    percent = torch.where(quality < 50, torch.floor(5000 / quality), 200 - 2 * quality)
    table = torch.tensor(_LUMINANCE_STEPS, device=quality.device, dtype=quality.dtype)
    steps = torch.floor((table * percent.reshape(-1, 1, 1, 1, 1) + 50) / 100)
    return steps.clamp(1, 255)


@dataclass(frozen=True)
class JpegCorruption:
    """JPEG coding of random quality, cropped at random to hide where the 8 x 8 blocks lie.

    Qualities from `lowest` to `highest`; low ones, with more to restore, are drawn more often.
    `margin` pixels at each side of a patch are coded with it and cut off.
    """

    lowest: int = 5
    highest: int = 95
    margin: int = 8

    def __call__(self, clean: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Corrupt a batch: decoded images, 8-bit originals, weights that favour high qualities."""
        chance = uniform(clean, generator)
        quality = torch.round(self.lowest + (self.highest - self.lowest) * chance**2)
        coded = code_jpeg(clean, quality)
        corner = torch.rand(2, generator=generator, device=clean.device) * 2 * self.margin
        rows, columns = (
            slice(int(start), int(start) + side - 2 * self.margin)
            for start, side in zip(corner, clean.shape[-2:], strict=True)
        )
        targets = torch.round(clean.clamp(0, 1) * 255) / 255
        return coded[..., rows, columns], targets[..., rows, columns], quality.sqrt() / 10
