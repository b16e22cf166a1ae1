"""Losses that models learn to undo besides noise: what JPEG coding loses, and holes.

ITU-T Recommendation T.81 (1992), annexes A.3 and K.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_rednet.engine.inpainting import fill_holes
from napari_rednet.engine.rng import normal, uniform

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
_PAGE_SIDE = 1024
_WORDS = (
    "restored pixels scratch 2.5 um overlay Text covers image FRAME 0042 channel depth time "
    "exposure 120 ms objective 60x Field of view dead Lines Scale bar"
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


@dataclass(frozen=True)
class HoleCorruption:
    """Missing pixels, filled smoothly; `shares` is how often each kind of mask is drawn.

    `margin` pixels at each side of a patch are filled with it and cut off.
    """

    shares: Mapping[str, float] = field(
        default_factory=lambda: {
            "random": 0.4,
            "text": 0.2,
            "scratches": 0.2,
            "blobs": 0.1,
            "dead": 0.1,
        }
    )
    margin: int = 0

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.shares if kind not in MASKS]
        if unknown:
            raise ValueError(f"the kinds of masks are {', '.join(MASKS)}, got {', '.join(unknown)}")

    def __call__(self, clean: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Corrupt a batch.

        Returns filled images and masks (N, 2, Y, X), clean images, and weights: 0 for known pixels,
        and larger for images with fewer missing pixels, which would hardly count otherwise.
        """
        missing = self._mask(clean, generator)
        filled = fill_holes(clean, 1 - missing)
        inner = slice(self.margin, clean.shape[-1] - self.margin)
        weights = missing / missing.mean((1, 2, 3), keepdim=True).clamp(min=0.01).sqrt()
        inputs = torch.cat([filled, missing], 1)
        return inputs[..., inner, inner], clean[..., inner, inner], weights[..., inner, inner]

    def _mask(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        amount, chosen = uniform(clean, generator), uniform(clean, generator)
        missing = torch.zeros_like(clean)
        share, low = sum(self.shares.values()), 0.0
        for kind, chance in self.shares.items():
            high = low + chance / share
            is_kind = (chosen >= low) & (chosen < high)
            mask = draw_mask(kind, clean, generator, amount)
            missing = torch.where(is_kind, mask.to(clean.dtype), missing)
            low = high
        return missing


DrawMask = Callable[[Tensor, Tensor, torch.Generator], Tensor]


def draw_mask(
    kind: str, like: Tensor, generator: torch.Generator, amount: Tensor | float = 0.5
) -> Tensor:
    """Draw a mask of a kind of `MASKS` for each image of a batch.

    `amount`, a float or (N, 1, 1, 1), is how much to cover, from 0 to 1 within the usual range of
    the kind: random pixels go from 10 % to 90 % of the image, dead ones from 0.1 % to 2 %. Text
    covers about the same share at any amount; its type grows instead.
    """
    amounts = torch.as_tensor(amount, device=like.device, dtype=like.dtype)
    return MASKS[kind](like, amounts.expand(len(like), 1, 1, 1), generator)


def _random_pixels(like: Tensor, amount: Tensor, generator: torch.Generator) -> Tensor:
    share = 0.1 + 0.8 * amount
    return torch.rand(like.shape, generator=generator, device=like.device) < share


def _dead_pixels(like: Tensor, amount: Tensor, generator: torch.Generator) -> Tensor:
    """Single pixels, and whole rows and columns one pixel wide."""
    height, width = like.shape[-2:]
    share = 0.001 + 0.019 * amount
    pixels = torch.rand(like.shape, generator=generator, device=like.device) < share
    lines = 0.2 * share
    rows = torch.rand((len(like), 1, height, 1), generator=generator, device=like.device)
    columns = torch.rand((len(like), 1, 1, width), generator=generator, device=like.device)
    return pixels | (rows < lines) | (columns < lines)


def _scratches(like: Tensor, amount: Tensor, generator: torch.Generator) -> Tensor:
    """Bent lines 1 to 5 pixels wide; their number grows with the image."""
    height, width = like.shape[-2:]
    grid = _grid(like)
    mask = torch.zeros(like.shape, dtype=torch.bool, device=like.device)
    most = max(2, round(12 * math.sqrt(height * width) / 256))
    for i in range(most):
        row, column = height * uniform(like, generator), width * uniform(like, generator)
        angle = math.pi * uniform(like, generator)
        bend = 0.004 * (uniform(like, generator) - 0.5)
        half_width = 0.5 + 2 * uniform(like, generator) ** 2
        half_length = 0.1 + 0.5 * uniform(like, generator)
        y, x = grid[0] - row, grid[1] - column
        along = x * torch.cos(angle) + y * torch.sin(angle)
        across = y * torch.cos(angle) - x * torch.sin(angle) - bend * along**2
        near = (across.abs() <= half_width) & (along.abs() < half_length * max(height, width))
        mask |= near & (i < 1 + amount * (most - 1))
    return mask


def _blobs(like: Tensor, amount: Tensor, generator: torch.Generator) -> Tensor:
    """Smooth regions of about 8 to 24 pixels, covering 5 % to 40 % of the image."""
    spacing = 8 + 16 * float(torch.rand(1, generator=generator, device=like.device))
    knots = tuple(max(2, round(side / spacing)) for side in like.shape[-2:])
    field = normal(like.new_empty((len(like), 1, *knots)), generator)
    smooth = F.interpolate(field, like.shape[-2:], mode="bicubic", align_corners=True)
    ranked = smooth.flatten(1).sort(1).values
    share = 0.05 + 0.35 * amount.flatten()
    last = ((1 - share) * (ranked.shape[1] - 1)).long()
    return smooth > ranked.gather(1, last[:, None]).view(-1, 1, 1, 1)


def _text(like: Tensor, amount: Tensor, generator: torch.Generator) -> Tensor:
    height, width = like.shape[-2:]
    draws = torch.rand((len(like), 3), generator=generator, device=like.device).tolist()
    pages = _pages()
    masks = []
    for (which, top, left), size in zip(draws, amount.flatten().tolist(), strict=True):
        page = pages[min(int((0.5 * which + 0.5 * size) * len(pages)), len(pages) - 1)]
        rows = (int(top * _PAGE_SIDE) + torch.arange(height)) % _PAGE_SIDE
        columns = (int(left * _PAGE_SIDE) + torch.arange(width)) % _PAGE_SIDE
        masks.append(page[rows[:, None], columns])
    return torch.stack(masks)[:, None].to(like.device)


@lru_cache(maxsize=1)
def _pages() -> tuple[Tensor, ...]:
    return tuple(_page(size) for size in (10, 14, 20))


def _page(size: int) -> Tensor:
    from PIL import Image, ImageDraw, ImageFont

    page = Image.new("L", (_PAGE_SIDE, _PAGE_SIDE))
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(size)
    words = np.random.default_rng(size)
    for top in range(0, _PAGE_SIDE, round(1.5 * size)):
        line = " ".join(words.choice(_WORDS.split(), _PAGE_SIDE // (3 * size)))
        draw.text((0, top), line, fill=255, font=font)
    return torch.from_numpy(np.asarray(page) > 96)


def _grid(like: Tensor) -> tuple[Tensor, Tensor]:
    rows, columns = (
        torch.arange(side, device=like.device, dtype=like.dtype) for side in like.shape[-2:]
    )
    return rows[:, None], columns[None, :]


MASKS: Mapping[str, DrawMask] = MappingProxyType(
    {
        "random": _random_pixels,
        "text": _text,
        "scratches": _scratches,
        "dead": _dead_pixels,
        "blobs": _blobs,
    }
)
