"""Blur by a point spread function."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def blur(clean: Tensor, psf: Tensor) -> Tensor:
    """Convolve with a PSF (H, W) of odd sides; borders are replicated."""
    rows, columns = (side // 2 for side in psf.shape)
    padded = F.pad(clean, (columns, columns, rows, rows), mode="replicate")
    return F.conv2d(padded, psf.flip(0, 1)[None, None].to(clean.dtype))
