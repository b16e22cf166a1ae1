"""Random training patches from images of any sizes that stay on the training device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_rednet.errors import TrainingError


class PatchSampler:
    """Draws augmented square patches.

    All images lie behind each other in one half-precision tensor on the device, so that a batch
    is one gather, wherever its patches come from and however they are mirrored and rotated.

    Parameters
    ----------
    images : sequence of (C, Y, X) float ndarray
        Images of any sizes, all with the same channels, of a range of about 0 to 1.
    patch : int
        Side of the patches in pixels.
    weights : sequence of float, optional
        How often each image is drawn; by its number of pixels if not given.
    """

    def __init__(
        self,
        images: Sequence[npt.NDArray[np.floating]],
        patch: int,
        device: torch.device,
        weights: Sequence[float] | None = None,
    ) -> None:
        if not images:
            raise TrainingError("there are no training images")
        sizes = np.array([image.shape[-2:] for image in images])
        if sizes.min() < patch:
            raise TrainingError(
                f"training images must measure at least {patch} x {patch} pixels, "
                f"got one of {' x '.join(map(str, sizes[sizes.min(1).argmin()]))}"
            )
        flat = [np.asarray(image, np.float16).reshape(len(image), -1) for image in images]
        self.patch = patch
        self._pixels = torch.from_numpy(np.concatenate(flat, axis=1)).to(device)
        areas = sizes.prod(1)
        self._sizes = torch.from_numpy(sizes).to(device)
        self._starts = torch.from_numpy(np.cumsum(areas) - areas).to(device)
        chances = areas if weights is None else np.asarray(weights)
        self._weights = torch.as_tensor(chances, dtype=torch.float32, device=device)

    def __len__(self) -> int:
        return len(self._starts)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw `count` patches: (count, C, patch, patch), float32."""
        device = self._pixels.device
        which = torch.multinomial(self._weights, count, replacement=True, generator=generator)
        chance = torch.rand((count, 5), generator=generator, device=device)
        room = self._sizes[which] - self.patch + 1
        corner = (chance[:, :2] * room).long().minimum(room - 1)
        rows, columns = self._offsets(chance[:, 2:] < 0.5)
        width = self._sizes[which, 1].view(-1, 1, 1)
        first = (self._starts[which] + corner[:, 0] * width.flatten() + corner[:, 1]).view(-1, 1, 1)
        return self._pixels[:, first + rows * width + columns].transpose(0, 1).float()

    def _offsets(self, flips: Tensor) -> tuple[Tensor, Tensor]:
        """Row and column of every patch pixel, under (flip, flip, transpose) of each patch."""
        steps = torch.arange(self.patch, device=flips.device).expand(len(flips), -1)
        rows = torch.where(flips[:, :1], self.patch - 1 - steps, steps).unsqueeze(2)
        columns = torch.where(flips[:, 1:2], self.patch - 1 - steps, steps).unsqueeze(1)
        swap = flips[:, 2].view(-1, 1, 1)
        turned = rows.transpose(1, 2), columns.transpose(1, 2)
        return torch.where(swap, turned[0], rows), torch.where(swap, turned[1], columns)
