"""Fine-tuning methods, which make training batches from patches of the user's images.

References
----------
.. [1] S. Lee et al., "Restore from restored", arXiv:2003.04721.
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

Patches = Mapping[str, Tensor]
"""Rows of examples by name, (N, 1, Y, X) each."""
Corruption = Callable[[Tensor, torch.Generator], tuple[Tensor, ...]]
"""Maps clean images to inputs, targets and, perhaps, loss weights."""
TOLD = ("std", "std_y", "std_x")
"""Rows with the told noise of a denoiser: see `engine.network.told_noise`."""
_MAP_ERROR = 0.1
_LEAST_NOISE = 0.02


class Method(Protocol):
    """Makes batches from patches of the `rows` of examples.

    `reach` is where the resulting weights lie between the base (0) and the learnt ones (1).
    """

    rows: ClassVar[tuple[str, ...]]
    reach: ClassVar[float]

    @property
    def margin(self) -> int:
        """Pixels at each side of a patch that are cut off."""

    def __call__(self, patches: Patches, generator: torch.Generator) -> Batch:
        """Network inputs, targets, and loss weights."""


@dataclass(frozen=True)
class Paired:
    """Noisy and clean images of the same scene; `is_told_noise` for denoisers."""

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
    """Clean images, corrupted for the task."""

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
    """Restore from restored [1]: the base's own results with added noise like that of the images.

    The network never sees real noise. Weights half-way between the base and the learnt ones [2]
    keep most of the gain and lose little on images that would otherwise get worse.
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
    """The told noise with a random error, since in use it is an estimate."""
    told = torch.cat([patches[name] for name in TOLD], 1)
    return told * torch.exp(_MAP_ERROR * normal(told[:, :1, :1, :1], generator))


def _balance(std: Tensor) -> Tensor:
    """Loss weights that are small for strong noise, whose errors are large and gradients noisy."""
    return (0.1 / (std.mean((1, 2, 3), keepdim=True) + _LEAST_NOISE)).square()
