"""What a network is asked to learn: batches from patches of what the user has.

References
----------
.. [1] J. Lehtinen et al., "Noise2Noise: learning image restoration without clean data", ICML 2018.
.. [2] A. Krull, T.-O. Buchholz, F. Jug, "Noise2Void: learning denoising from single noisy images",
   CVPR 2019; J. Batson, L. Royer, "Noise2Self", ICML 2019.
.. [3] T. Huang et al., "Neighbor2Neighbor: self-supervised denoising from single noisy images",
   CVPR 2021.
.. [4] S. Lee et al., "Restore from restored: single image denoising with pseudo clean image",
   arXiv:2003.04721.
.. [5] M. Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from napari_rednet.engine.degradations.draws import normal, uniform
from napari_rednet.engine.training import Batch

Patches = Mapping[str, Tensor]
"""Rows of examples by name, (N, 1, Y, X) each."""

Corruption = Callable[[Tensor, torch.Generator], tuple[Tensor, ...]]
"""From clean images to inputs, targets and, perhaps, weights in the loss."""

TOLD = ("std", "std_y", "std_x")
"""Rows that a denoiser is told of the noise: see `engine.noise_map.told_noise`."""
_MAP_ERROR = 0.1
_LEAST_NOISE = 0.02
_LEAST_STD = 1e-6


class Method(Protocol):
    """Makes batches from patches.

    Attributes
    ----------
    rows : tuple of str
        Which rows of the examples it needs.
    has_clean_targets : bool
        Whether targets are free of noise, or taken for it.
    is_single : bool
        Whether targets are the very pixels of the noisy image that is to be restored.
    reach : float
        How far the result goes from the base (0) to what was learnt (1).
    margin : int
        Pixels at each side of a patch that it cuts off.
    """

    rows: ClassVar[tuple[str, ...]]
    has_clean_targets: ClassVar[bool]
    is_single: ClassVar[bool]
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
    has_clean_targets: ClassVar[bool] = True
    is_single: ClassVar[bool] = False
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
    has_clean_targets: ClassVar[bool] = True
    is_single: ClassVar[bool] = False
    reach: ClassVar[float] = 1.0

    def __call__(self, patches: Patches, generator: torch.Generator) -> Batch:
        """See `Method`."""
        inputs, targets, *more = self.corruption(patches["image"], generator)
        inner = slice(self.margin, patches["image"].shape[-1] - self.margin)
        weights = patches["weight"][..., inner, inner]
        return inputs, targets, weights * more[0] if more else weights


@dataclass(frozen=True)
class PseudoClean:
    """Restore from restored [4]: the base's own results, under the noise of the images.

    Real noise is never seen. Half-way between the base and what was learnt [5] most of the gain
    is left, and little of what made single images worse.
    """

    corruption: Corruption
    rows: ClassVar[tuple[str, ...]] = ("restored", "weight")
    has_clean_targets: ClassVar[bool] = True
    is_single: ClassVar[bool] = False
    reach: ClassVar[float] = 0.5
    margin: ClassVar[int] = 0

    def __call__(self, patches: Patches, generator: torch.Generator) -> Batch:
        """See `Method`."""
        inputs, targets = self.corruption(patches["restored"], generator)
        return inputs, targets, patches["weight"]


@dataclass(frozen=True)
class Neighbors:
    """Noise2Noise [1]: neighbouring planes show the same scene under other noise."""

    rows: ClassVar[tuple[str, ...]] = ("image", *TOLD, "other", "other_std", "weight")
    has_clean_targets: ClassVar[bool] = False
    is_single: ClassVar[bool] = False
    reach: ClassVar[float] = 1.0
    margin: ClassVar[int] = 0

    def __call__(self, patches: Patches, generator: torch.Generator) -> Batch:
        """See `Method`."""
        swap = uniform(patches["image"], generator) < 0.5
        image = torch.where(swap, patches["other"], patches["image"])
        std = torch.where(swap, patches["other_std"], patches["std"])
        target = torch.where(swap, patches["image"], patches["other"])
        # Neighbours share the grain.
        ratio = std / patches["std"].clamp(min=_LEAST_STD)
        told = {name: patches[name] * ratio for name in TOLD}
        inputs = torch.cat([image, _uncertain(told, generator)], 1)
        return inputs, target, patches["weight"] * _balance(std)


@dataclass(frozen=True)
class BlindSpot:
    """Noise2Void [2]: a pixel that is hidden from the network is what it is to find.

    Hidden pixels get the value of a random neighbour at most two pixels away.
    """

    share: float = 0.06
    rows: ClassVar[tuple[str, ...]] = ("image", *TOLD, "weight")
    has_clean_targets: ClassVar[bool] = False
    is_single: ClassVar[bool] = True
    reach: ClassVar[float] = 1.0
    margin: ClassVar[int] = 0

    def __call__(self, patches: Patches, generator: torch.Generator) -> Batch:
        """See `Method`."""
        image = patches["image"]
        chance = torch.rand(image.shape, generator=generator, device=image.device)
        hidden = chance < self.share
        seen = torch.where(hidden, _neighbours(image, generator), image)
        inputs = torch.cat([seen, _uncertain(patches, generator)], 1)
        weight = patches["weight"] * _balance(patches["std"]) * hidden / self.share
        return inputs, image, weight


@dataclass(frozen=True)
class Subsampled:
    """Neighbor2Neighbor [3]: of every 2 x 2 pixels one goes to the input, one to the target."""

    rows: ClassVar[tuple[str, ...]] = ("image", *TOLD, "weight")
    has_clean_targets: ClassVar[bool] = False
    is_single: ClassVar[bool] = True
    reach: ClassVar[float] = 1.0
    margin: ClassVar[int] = 0

    def __call__(self, patches: Patches, generator: torch.Generator) -> Batch:
        """See `Method`."""
        blocks = {name: _blocks(patches[name]) for name in self.rows}
        shape, device = (*blocks["image"].shape[:-1], 1), patches["image"].device
        first = torch.randint(4, shape, generator=generator, device=device)
        # The other of the same row, or of the same column.
        beside = torch.randint(1, 3, shape, generator=generator, device=device)
        second = first ^ beside
        picked = {name: block.gather(-1, first)[..., 0] for name, block in blocks.items()}
        target, weight = (blocks[name].gather(-1, second)[..., 0] for name in ("image", "weight"))
        inputs = torch.cat([picked["image"], _uncertain(picked, generator)], 1)
        return inputs, target, picked["weight"] * weight * _balance(picked["std"])


def _uncertain(patches: Patches, generator: torch.Generator) -> Tensor:
    """What is told of the noise, with an error, since in use it comes from an estimate."""
    told = torch.cat([patches[name] for name in TOLD], 1)
    return told * torch.exp(_MAP_ERROR * normal(told[:, :1, :1, :1], generator))


def _balance(std: Tensor) -> Tensor:
    """Weights of patches: strong noise has large errors, and its gradients are noisy."""
    return (0.1 / (std.mean((1, 2, 3), keepdim=True) + _LEAST_NOISE)).square()


def _neighbours(image: Tensor, generator: torch.Generator) -> Tensor:
    """For every pixel the value of another one, at most two rows and columns away."""
    height, width = image.shape[-2:]
    # 24 places around the pixel, counted row by row without the one in the middle.
    place = torch.randint(24, image.shape, generator=generator, device=image.device)
    place = place + (place >= 12)
    rows = torch.arange(height, device=image.device).view(-1, 1)
    columns = torch.arange(width, device=image.device)
    index = _beside(rows, place // 5 - 2, height) * width + _beside(columns, place % 5 - 2, width)
    return image.flatten(2).gather(2, index.flatten(2)).view(image.shape)


def _beside(position: Tensor, step: Tensor, length: int) -> Tensor:
    """A step away, the other way where that would leave the image: never back to the start."""
    there = position + step
    return torch.where((there < 0) | (there >= length), position - step, there)


def _blocks(image: Tensor) -> Tensor:
    """Blocks of 2 x 2 pixels: (N, 1, Y / 2, X / 2, 4); an odd last row or column is left out."""
    return image.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4)
