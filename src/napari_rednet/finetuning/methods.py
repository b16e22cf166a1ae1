"""What a network is asked to learn: batches from patches of what the user has, in several ways.

References
----------
.. [1] S. Lee et al., "Restore from restored: single image denoising with pseudo clean image",
   arXiv:2003.04721.
.. [2] M. Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from napari_rednet.engine.rng import normal
from napari_rednet.training.loop import Batch

"""The ways to learn; see `fine_tune`."""
Patches = Mapping[str, Tensor]
"""Rows of examples by name, (N, 1, Y, X) each."""
Corruption = Callable[[Tensor, torch.Generator], tuple[Tensor, ...]]
"""From clean images to inputs, targets and, perhaps, weights in the loss."""
TOLD = ("std", "std_y", "std_x")
"""Rows that a denoiser is told of the noise: see `engine.noise_map.told_noise`."""
_MAP_ERROR = 0.1
_LEAST_NOISE = 0.02


class Method(Protocol):
    """Makes batches from patches.

    Attributes
    ----------
    rows : tuple of str
        Which rows of the examples it needs.
    reach : float
        How far the result goes from the base (0) to what was learnt (1).
    margin : int
        Pixels at each side of a patch that it cuts off.
    """

    rows: ClassVar[tuple[str, ...]]
    reach: ClassVar[float]

    @property
    def margin(self) -> int:
        """Pixels at each side of a patch that are cut off."""

    def __call__(self, patches: Patches, generator: torch.Generator) -> Batch:
        """Network inputs, targets, and weights in the loss."""


@dataclass(frozen=True)
class Paired:
    """Noisy images and the clean ones of the same scene; `is_told_noise` for denoisers."""

    is_told_noise: bool = True
    rows: ClassVar[tuple[str, ...]] = ("image", *TOLD, "target", "weight")
    reach: ClassVar[float] = 1.0
    margin: ClassVar[int] = 0

    def __call__(self, patches: Patches, generator: torch.Generator) -> Batch:
        """See `Method`."""
        image = patches["image"]
        if not self.is_told_noise:
            return image, patches["target"], patches["weight"]
        inputs = torch.cat([image, _uncertain(patches, generator)], 1)
        return inputs, patches["target"], patches["weight"] * _balance(patches["std"])


@dataclass(frozen=True)
class Corrupted:
    """Clean images, corrupted as the task has it."""

    corruption: Corruption
    margin: int = 0
    rows: ClassVar[tuple[str, ...]] = ("image", "weight")
    reach: ClassVar[float] = 1.0

    def __call__(self, patches: Patches, generator: torch.Generator) -> Batch:
        """See `Method`."""
        inputs, targets, *more = self.corruption(patches["image"], generator)
        inner = slice(self.margin, patches["image"].shape[-1] - self.margin)
        weights = patches["weight"][..., inner, inner]
        return inputs, targets, weights * more[0] if more else weights


@dataclass(frozen=True)
class PseudoClean:
    """Restore from restored [1]: the base's own results, under the noise of the images.

    Real noise is never seen. Half-way between the base and what was learnt [2] most of the gain
    is left, and little of what made single images worse.
    """

    corruption: Corruption
    rows: ClassVar[tuple[str, ...]] = ("restored", "weight")
    reach: ClassVar[float] = 0.5
    margin: ClassVar[int] = 0

    def __call__(self, patches: Patches, generator: torch.Generator) -> Batch:
        """See `Method`."""
        inputs, targets = self.corruption(patches["restored"], generator)
        return inputs, targets, patches["weight"]


def _uncertain(patches: Patches, generator: torch.Generator) -> Tensor:
    """What is told of the noise, with an error, since in use it comes from an estimate."""
    told = torch.cat([patches[name] for name in TOLD], 1)
    return told * torch.exp(_MAP_ERROR * normal(told[:, :1, :1, :1], generator))


def _balance(std: Tensor) -> Tensor:
    """Weights of patches: strong noise has large errors, and its gradients are noisy."""
    return (0.1 / (std.mean((1, 2, 3), keepdim=True) + _LEAST_NOISE)).square()
