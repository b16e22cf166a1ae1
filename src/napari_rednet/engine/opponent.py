"""Colours for a network that has only seen gray images: as their mean and two differences.

Natural images and stained sections have most of their structure in the mean, where the noise
of three colours averages out. What is left in the differences is smooth, and tolerates that they
are restored by themselves.
"""

from __future__ import annotations

import torch
from torch import Tensor

# The mean has the colours' range, the differences have the colours' noise; all are orthogonal.
_MEAN = (1 / 3, 1 / 3, 1 / 3)
_RED_BLUE = (0.5**0.5, 0.0, -(0.5**0.5))
_GREEN_OTHERS = (-((1 / 6) ** 0.5), (2 / 3) ** 0.5, -((1 / 6) ** 0.5))
# Differences are around 0, and gray images around the middle of their range.
_MIDDLE = (0.0, 0.5, 0.5)


def to_opponent(colors: Tensor) -> Tensor:
    """Mean of the colours, red minus blue, green minus both: (3, ..., Y, X), normalised.

    References
    ----------
    .. [1] K. Dabov et al., "Color image denoising via sparse 3D collaborative filtering with
       grouping constraint in luminance-chrominance space", ICIP 2007.
    """
    return _mixed(_matrix(colors), colors) + _middle(colors)


def mix_back(changes: Tensor) -> Tensor:
    """Changes of the colours from changes of what `to_opponent` makes of them."""
    matrix = _matrix(changes)
    return _mixed((matrix / matrix.square().sum(1, keepdim=True)).T, changes)


def opponent_std(std: Tensor) -> Tensor:
    """Standard deviation of the noise of what `to_opponent` makes of colours with such noise."""
    return _mixed(_matrix(std).square(), std.square()).sqrt()


def _mixed(matrix: Tensor, planes: Tensor) -> Tensor:
    mixed: Tensor = torch.tensordot(matrix, planes, 1)
    return mixed


def _matrix(like: Tensor) -> Tensor:
    return torch.tensor([_MEAN, _RED_BLUE, _GREEN_OTHERS], dtype=like.dtype, device=like.device)


def _middle(like: Tensor) -> Tensor:
    shape = (3, *[1] * (like.ndim - 1))
    return torch.tensor(_MIDDLE, dtype=like.dtype, device=like.device).view(shape)
