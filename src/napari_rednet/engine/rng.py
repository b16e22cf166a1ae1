"""Random numbers for a batch, from a seeded generator of the batch's device."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def normal(like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal numbers of the shape of `like`."""
    return torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)


def uniform(like: Tensor, generator: torch.Generator) -> Tensor:
    """One number in [0, 1) for each image of a batch: (N, 1, 1, 1)."""
    shape = (like.shape[0], 1, 1, 1)
    return torch.rand(shape, generator=generator, device=like.device, dtype=like.dtype)


def smooth_field(
    like: Tensor, generator: torch.Generator, low: float, high: float, knots: int = 3
) -> Tensor:
    """Smooth random fields between `low` and `high`, one for each image of a batch."""
    shape = (like.shape[0], 1, knots, knots)
    field = torch.rand(shape, generator=generator, device=like.device, dtype=like.dtype)
    smooth = F.interpolate(field, like.shape[-2:], mode="bicubic", align_corners=True)
    return low + (high - low) * smooth.clamp(0, 1)
