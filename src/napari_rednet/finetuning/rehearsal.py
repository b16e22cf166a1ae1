"""Photographs learnt along with the user's images, lest the network forget what it could."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from napari_rednet.engine.degradations import NoiseCorruption
from napari_rednet.engine.patches import PatchSampler
from napari_rednet.engine.training import Batch

# They come with scikit-image, so that nothing has to be downloaded.
_PHOTOGRAPHS = ("astronaut", "brick", "camera", "chelsea", "coffee", "coins", "grass", "gravel")


class Rehearsal:
    """Makes batches of photographs with Gaussian and photon noise of all levels."""

    def __init__(self, patch: int, device: torch.device) -> None:
        from skimage import data
        from skimage.color import rgb2gray
        from skimage.util import img_as_float32

        pictures = [getattr(data, name)() for name in _PHOTOGRAPHS]
        gray = [img_as_float32(rgb2gray(p) if p.ndim == 3 else p) for p in pictures]
        images = [_at_least(np.asarray(image), patch)[None] for image in gray]
        self._sampler = PatchSampler(images, patch, device)
        self._corruption = NoiseCorruption(margin=0)

    def __call__(self, count: int, generator: torch.Generator) -> Batch:
        """Draw `count` noisy patches with their noise maps."""
        inputs, clean, weights = self._corruption(self._sampler.sample(count, generator), generator)
        return inputs, clean, weights.expand_as(clean)


def _at_least(image: npt.NDArray[np.float32], side: int) -> npt.NDArray[np.float32]:
    """An image, continued by its mirror image where it is smaller than a patch."""
    return np.pad(image, [(0, max(0, side - length)) for length in image.shape], "symmetric")
