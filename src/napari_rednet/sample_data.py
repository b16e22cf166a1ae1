"""Images to try the package on: a bundled real one, and degraded ones of scikit-image's."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Layer = tuple[npt.NDArray[Any], dict[str, Any], str]

_SPACING = (0.15, 1 / 29.53846, 1 / 29.53846)
_CREDIT = "NEUBIAS training resources, CC-BY 4.0"
_SCIKIT_IMAGE_CREDIT = "scikit-image's test images, public domain (CC0)"


def sample_path() -> Path:
    """Path of the bundled noisy stack: mitotic chromosomes, 40 planes of 152 x 126 pixels.

    Source: NEUBIAS training resources (https://github.com/NEUBIAS/training-resources),
    CC-BY 4.0.
    """
    with as_file(files("napari_rednet").joinpath("data/chromosomes.tif")) as path:
        return path


def chromosomes() -> npt.NDArray[np.uint16]:
    """The bundled noisy stack as a (40, 152, 126) uint16 array; see `sample_path`."""
    import tifffile

    stack: npt.NDArray[np.uint16] = tifffile.imread(sample_path())
    return stack


def chromosomes_layer() -> list[tuple[npt.NDArray[np.uint16], dict[str, Any], str]]:
    """The bundled noisy stack as napari layer data, in micrometres."""
    options = {
        "name": "chromosomes",
        "scale": _SPACING,
        "units": ("um", "um", "um"),
        "axis_labels": ("z", "y", "x"),
        "metadata": {"source": _CREDIT},
    }
    return [(chromosomes(), options, "image")]


def noisy() -> list[Layer]:
    """A cell under photon noise, and as it was."""
    from napari_rednet.engine.degradations import add_noise
    from napari_rednet.engine.noise_map import poisson_gaussian_std

    clean = _tensor(_bundled("cell")[100:500, 80:528])
    std = poisson_gaussian_std(clean, gain=0.01, read_noise=0.02)
    return _layers("cell", "noisy", add_noise(clean, std, _generator()), clean)


def small() -> list[Layer]:
    """A photograph at half the resolution, and as it was."""
    from napari_rednet.engine.degradations import resample

    clean = _tensor(_bundled("camera"))
    rows, columns = (side // 2 for side in clean.shape[-2:])
    return _layers("camera", "small", resample(clean, (rows, columns)), clean)


def jpeg() -> list[Layer]:
    """A photograph coded as JPEG of quality 10, and as it was."""
    from napari_rednet.engine.degradations import code_jpeg

    clean = _tensor(_bundled("camera"))
    return _layers("camera", "JPEG", code_jpeg(clean, 10), clean)


def blurred() -> list[Layer]:
    """A photograph out of focus by a disk of 3 pixels' radius, and as it was."""
    import torch

    from napari_rednet import psf
    from napari_rednet.engine.degradations import add_noise, blur

    clean = _tensor(_bundled("camera"))
    blurry = blur(clean, torch.from_numpy(psf.disk(3)))
    return _layers("camera", "out of focus", add_noise(blurry, 0.01, _generator()), clean)


def holes() -> list[Layer]:
    """A photograph with scratches and dead pixels, marked in a Labels layer; and as it was."""
    import torch

    from napari_rednet.engine.degradations import draw_mask

    clean = _tensor(_bundled("camera"))
    generator = _generator()
    masks = [draw_mask(kind, clean, generator, 0.5) for kind in ("scratches", "dead")]
    missing = masks[0] | masks[1]
    layers = _layers("camera", "with holes", torch.where(missing, 1.0, clean), clean)
    labels = missing[0, 0].numpy().astype(np.uint8)
    return [*layers, (labels, {"name": "missing", "opacity": 0.5}, "labels")]


def _layers(name: str, how: str, degraded: Tensor, clean: Tensor) -> list[Layer]:
    """The degraded image, 8 bits again, and the original over the same area, hidden."""
    factor = clean.shape[-1] / degraded.shape[-1]
    shown = {"name": f"{name}, {how}", "scale": (factor,) * 2, "translate": ((factor - 1) / 2,) * 2}
    hidden = {"name": f"{name}, original", "visible": False}
    credit = {"metadata": {"source": _SCIKIT_IMAGE_CREDIT}}
    return [
        (_gray(degraded), {**shown, **credit}, "image"),  # first, so that widgets offer it first
        (_gray(clean), {**hidden, **credit}, "image"),
    ]


def _bundled(name: str) -> npt.NDArray[np.uint8]:
    """An image that comes with scikit-image."""
    from skimage import data

    image: npt.NDArray[np.uint8] = getattr(data, name)()
    return image


def _tensor(image: npt.NDArray[np.uint8]) -> Tensor:
    import torch

    return torch.from_numpy((image / 255).astype(np.float32))[None, None]


def _gray(image: Tensor) -> npt.NDArray[np.uint8]:
    gray: npt.NDArray[np.uint8] = (255 * image[0, 0]).round().clamp(0, 255).byte().numpy()
    return gray


def _generator() -> torch.Generator:
    import torch

    return torch.Generator().manual_seed(0)
