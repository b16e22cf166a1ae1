"""Make the before/after pictures of the how-tos from one of scikit-image's test images.

python docs/pictures.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage import data
from torch import Tensor

import napari_rednet as nr
from napari_rednet.engine.degradations import code_jpeg, draw_mask, resample

IMAGES = Path(__file__).parent / "images"
DETAIL = (slice(60, 240), slice(150, 390))


def super_resolution(clean: Tensor) -> None:
    """Enlarge by 3."""
    rows, columns = clean.shape[-2:]
    small = resample(clean, (rows // 3, columns // 3))
    large = nr.super_resolve(small[0, 0].numpy(), 3)
    save("super-resolution", gray(resample(small, (rows, columns))), large, gray(clean))


def deblocking(clean: Tensor) -> None:
    """Remove the artefacts of quality 10."""
    coded = np.rint(gray(code_jpeg(clean / 255, 10)) * 255).astype(np.uint8)
    save("deblocking", coded, nr.deblock(coded), gray(clean))


def inpainting(clean: Tensor) -> None:
    """Take away text and scratches."""
    generator = torch.Generator().manual_seed(3)
    masks = [draw_mask(kind, clean, generator, 0.5) for kind in ("text", "scratches")]
    missing = gray(masks[0] | masks[1])
    image = np.rint(gray(clean)).astype(np.uint8)
    save("inpainting", np.where(missing, 255, image), nr.inpaint(image, missing), image)


def gray(image: Tensor) -> np.ndarray:
    """The single plane of a batch."""
    return image[0, 0].numpy()


def save(name: str, *images: np.ndarray) -> None:
    """Write details of images side by side, each pixel as four."""
    parts = [np.rint(image[DETAIL]).clip(0, 255).astype(np.uint8) for image in images]
    row = np.concatenate([np.pad(part, ((0, 0), (0, 4)), constant_values=255) for part in parts], 1)
    Image.fromarray(row.repeat(2, 0).repeat(2, 1)).save(IMAGES / f"{name}.png", optimize=True)


if __name__ == "__main__":
    camera = torch.from_numpy(data.camera()[:510, :510].astype(np.float32))[None, None]
    super_resolution(camera)
    deblocking(camera)
    inpainting(camera)
