"""Images with missing pixels, as the network for inpainting sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from napari_rednet.engine.degradations.draws import uniform
from napari_rednet.engine.degradations.masks import MASKS, draw_mask
from napari_rednet.engine.hole_filling import fill_holes


@dataclass(frozen=True)
class HoleCorruption:
    """Missing pixels of several kinds, filled smoothly.

    Parameters
    ----------
    shares : mapping of str to float
        How often each kind of mask is drawn (`napari_rednet.engine.degradations.MASKS`).
    margin : int
        Pixels at each side of a patch that are filled with it and cut off.
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

        Returns
        -------
        inputs : (N, 2, Y, X) Tensor
            The images with their holes filled, and 1 where pixels were missing.
        targets : (N, 1, Y, X) Tensor
            The images as they were.
        weights : (N, 1, Y, X) Tensor
            0 for known pixels, and larger for images that miss fewer, lest they count for nothing.
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
