"""A first guess at missing pixels, which the network corrects: smooth, from coarse to fine.

Level 0 is the image. The pixels of level 1 are the means of the known ones among 2 x 2 of level 0,
those of level 2 of 4 x 4. Unknown pixels of a level are read off the next one, enlarged linearly.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

REACH = 8
"""Pixels around a pixel that its guess depends on, given level 2 whole and filled."""


def fill_holes(image: Tensor, known: Tensor) -> Tensor:
    """Fill the unknown pixels of images (N, 1, Y, X) smoothly.

    Parameters
    ----------
    image : (N, 1, Y, X) Tensor
        Any finite values; those of unknown pixels do not matter.
    known : (N, 1, Y, X) Tensor
        1 where a pixel is known, 0 where not. An image without any known pixel becomes 0.
    """
    if min(image.shape[-2:]) == 1 or bool(known.all()):
        return torch.where(known > 0, image, _mean(image, known))
    return fill_from(image, known, fill_holes(*halved(image, known)))


def fill_from(image: Tensor, known: Tensor, coarser: Tensor) -> Tensor:
    """Fill unknown pixels from the next coarser level, which has none."""
    guess = _doubled(_doubled(coarser).transpose(2, 3)).transpose(2, 3)
    return torch.where(known > 0, image, guess[..., : image.shape[-2], : image.shape[-1]])


def _doubled(x: Tensor) -> Tensor:
    """Linear enlargement along Y, by operations that give the same in any window."""
    padded = F.pad(x, (0, 0, 1, 1), mode="replicate")
    before = 0.75 * x + 0.25 * padded[:, :, :-2]
    after = 0.75 * x + 0.25 * padded[:, :, 2:]
    return torch.stack([before, after], 3).reshape(len(x), 1, -1, x.shape[3])


def halved(image: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """The next coarser level: means of the known pixels, and which pixels that leaves known."""
    pads = (0, image.shape[-1] % 2, 0, image.shape[-2] % 2)
    weight = F.avg_pool2d(F.pad(known, pads), 2)
    total = F.avg_pool2d(F.pad(torch.where(known > 0, image, 0.0), pads), 2)
    return total / weight.clamp(min=0.25), (weight > 0).to(image.dtype)


def _mean(image: Tensor, known: Tensor) -> Tensor:
    total = (image * known).sum((2, 3), keepdim=True)
    return total / known.sum((2, 3), keepdim=True).clamp(min=1)
