"""What a training makes small: the error of a pixel as a function of its difference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

_SOFTNESS = 1e-3


def charbonnier(difference: Tensor) -> Tensor:
    """The absolute difference, rounded off at 0.

    References
    ----------
    .. [1] P. Charbonnier et al., "Two deterministic half-quadratic regularization algorithms for
       computed imaging", ICIP 1994.
    """
    return torch.sqrt(difference.square() + _SOFTNESS**2)


LOSSES: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {"squared": torch.square, "absolute": torch.abs, "charbonnier": charbonnier}
)
