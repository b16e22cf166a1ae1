"""What the exported graph of each task takes and gives."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from napari_rednet.engine.intensity import PERCENTILES

Array = npt.NDArray[np.float32]

IMAGE, MASK, RESTORED = "image", "mask", "restored"
"""Names of the inputs and of the output."""
EPSILON = 1e-6
"""What bioimage.io adds to a range, against division by 0."""


@dataclass(frozen=True)
class Interface:
    """How other programs see the models of a task.

    Parameters
    ----------
    purpose : str
        What the models do, in words that follow "RED-Net that".
    image : str
        What the input image holds.
    tag : str
        The usual word for the task.
    is_8_bit : bool
        Whether 0 and 255 become 0 and 1, instead of two percentiles.
    has_mask : bool
        Whether a second input tells which pixels are unknown.
    """

    purpose: str
    image: str
    tag: str
    is_8_bit: bool = False
    has_mask: bool = False

    @property
    def inputs(self) -> dict[str, str]:
        """Names of the inputs, and what they hold."""
        mask = {MASK: "1 where a pixel is unknown, 0 where it is known"}
        return {IMAGE: self.image} | (mask if self.has_mask else {})

    def normalized(self, image: Array) -> Array:
        """An image as the graph takes it."""
        if self.is_8_bit:
            return image * np.float32(1 / 255)
        low, high = np.percentile(image, PERCENTILES)
        return np.asarray((image - low) / (high - low + EPSILON), np.float32)


INTERFACES = MappingProxyType(
    {
        "denoise": Interface("removes noise from images", "Noisy image", "denoising"),
        "super_resolve": Interface(
            "sharpens images that were enlarged by a factor of 2 to 4",
            "Image, already enlarged to its final size by bicubic interpolation",
            "super-resolution",
        ),
        "deblock": Interface(
            "removes the blocks and ringing of JPEG coding",
            "Image decoded from a JPEG file, 0 to 255",
            "jpeg-artifact-removal",
            is_8_bit=True,
        ),
        "inpaint": Interface(
            "fills missing pixels of images",
            "Image whose unknown pixels hold a guess, smooth from the known ones around",
            "inpainting",
            has_mask=True,
        ),
    }
)
"""The tasks, as other programs see them."""
