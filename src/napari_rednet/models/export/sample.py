"""The exported graph's inputs and output for each task, and an example to test it on."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_rednet.engine.channel import PERCENTILES, NoiseModel
from napari_rednet.engine.inpainting import fill_holes
from napari_rednet.engine.network import (
    RADIUS,
    NetworkConfig,
    RedNet,
    amplitude,
    limited_residual,
    poisson_gaussian_std,
    smooth_signal,
    told_noise,
)
from napari_rednet.engine.resampling import enlarge, resample

Array = npt.NDArray[np.float32]
IMAGE, MASK, RESTORED = "image", "mask", "restored"
"""Names of the inputs and of the output."""
EPSILON = 1e-6
"""Added by bioimage.io to a range, to avoid division by 0."""
_SIDE = 128
SMALLEST_SIDE = 64
"""Least number of rows and columns of a sample."""
_QUALITY = 10
_ENLARGEMENT = 2
_UNKNOWN = 0.5


class AnyModel(Protocol):
    """The part of `Model` that exporting uses; avoids a circular import."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def task(self) -> str:
        """Its task."""

    @property
    def network(self) -> RedNet:
        """Its network."""

    @property
    def config(self) -> NetworkConfig:
        """The configuration of the network."""

    @property
    def info(self) -> Mapping[str, Any]:
        """Its provenance."""


@dataclass(frozen=True)
class Interface:
    """The models of a task as other programs see them.

    `purpose` completes "a RED-Net that ...". `is_8_bit` maps 0 and 255 to 0 and 1, instead of two
    percentiles. `has_mask` adds an input for the unknown pixels.
    """

    purpose: str
    image: str
    tag: str
    is_8_bit: bool = False
    has_mask: bool = False

    @property
    def inputs(self) -> dict[str, str]:
        """Names and descriptions of the inputs."""
        mask = {MASK: "1 where a pixel is unknown, 0 where it is known"}
        return {IMAGE: self.image} | (mask if self.has_mask else {})

    def normalized(self, image: Array) -> Array:
        """An image normalised for the graph."""
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
"""The interface of each task."""


@dataclass(frozen=True)
class Sample:
    """An example of a model's inputs and output, as (Y, X) arrays.

    `inputs` are in image units, `normalized` as the graph takes them; `restored` is its output.
    """

    inputs: dict[str, Array]
    normalized: dict[str, Array]
    restored: Array


def make_sample(model: AnyModel, noise: NoiseModel | None, given: Any = None) -> Sample:
    """A sample from a user's image, or from scikit-image's camera; raises `ValueError`."""
    image = _camera(model.task, noise) if given is None else _checked(given)
    inputs = _PREPARE.get(model.task, _as_it_is)(image)
    interface = INTERFACES[model.task]
    normalized = inputs | {IMAGE: interface.normalized(inputs[IMAGE])}
    return Sample(inputs, normalized, _restored(model, noise, normalized))


@torch.inference_mode()
def _restored(model: AnyModel, noise: NoiseModel | None, inputs: dict[str, Array]) -> Array:
    channels = [_tensor(plane) for plane in inputs.values()]
    if noise is not None:
        channels.append(_told_noise(channels[0], noise))
    seen = torch.cat(channels, 1)
    restored = model.network(seen)
    if noise is not None:
        image = seen[:, :1]
        around = amplitude(F.pad(image, (0, 0, RADIUS, RADIUS), mode="replicate"))
        told = torch.cat([seen, around], 1)
        restored = image + limited_residual(told, restored - image)
    return np.asarray(restored[0, 0], np.float32)


def _told_noise(image: Tensor, noise: NoiseModel) -> Tensor:
    light = smooth_signal(image) - noise.offset
    std = poisson_gaussian_std(light, noise.gain, noise.read_noise)
    return told_noise(std, *noise.correlation)


def _checked(given: Any) -> Array:
    image = np.asarray(given)
    if image.ndim != 2 or min(image.shape) < SMALLEST_SIDE or image.dtype.kind not in "iufb":
        raise ValueError(
            f"sample must be a 2-D image of real numbers with at least {SMALLEST_SIDE} rows and "
            f"columns, got {image.dtype} of shape {image.shape}"
        )
    y, x = ((max(0, n - _SIDE) // 2) for n in image.shape)
    middle: Array = np.asarray(image[y : y + _SIDE, x : x + _SIDE], np.float32)
    if not np.isfinite(middle).all() or np.ptp(middle) == 0:
        raise ValueError("sample must be finite and must not be constant")
    return middle


def _camera(task: str, noise: NoiseModel | None) -> Array:
    from skimage import data

    clean = data.camera()[100 : 100 + _SIDE, 180 : 180 + _SIDE]
    if task == "deblock":
        return _coded(clean)
    if noise is None:
        return np.asarray(clean, np.float32)
    signal = clean / 255
    noisy = np.random.default_rng(0).normal(signal, noise.std(signal))
    return np.asarray(255 * noisy, np.float32)


def _coded(image: Any) -> Array:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=_QUALITY)
    return np.asarray(Image.open(file), np.float32)


def _as_it_is(image: Array) -> dict[str, Array]:
    return {IMAGE: image}


def _enlarged(image: Array) -> dict[str, Array]:
    """The image shrunk by half and enlarged again."""
    rows, columns = (n // _ENLARGEMENT for n in image.shape)
    small = resample(_tensor(image), (rows, columns))
    return {IMAGE: enlarge(small, _ENLARGEMENT)[0, 0].numpy()}


def _with_holes(image: Array) -> dict[str, Array]:
    mask = np.random.default_rng(0).random(image.shape, np.float32) < _UNKNOWN
    filled = fill_holes(_tensor(image), 1 - _tensor(mask))
    return {IMAGE: filled[0, 0].numpy(), MASK: mask.astype(np.float32)}


_PREPARE: dict[str, Callable[[Array], dict[str, Array]]] = {
    "super_resolve": _enlarged,
    "inpaint": _with_holes,
}


def _tensor(plane: Any) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(plane, np.float32))[None, None]
