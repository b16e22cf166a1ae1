"""An example to test an exported model on: its inputs and its result."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_rednet.engine.degradations.resampling import resample
from napari_rednet.engine.enlargement import enlarge
from napari_rednet.engine.hole_filling import fill_holes
from napari_rednet.engine.noise_map import (
    RADIUS,
    amplitude,
    limited_residual,
    poisson_gaussian_std,
    smooth_signal,
    told_noise,
)
from napari_rednet.engine.noise_model import NoiseModel
from napari_rednet.zoo.export.tasks import IMAGE, INTERFACES, MASK, Array

if TYPE_CHECKING:
    from napari_rednet.zoo.model import Model

_SIDE = 128
SMALLEST_SIDE = 64
"""Rows and columns that a sample must have."""
_QUALITY = 10
_ENLARGEMENT = 2
_UNKNOWN = 0.5


@dataclass(frozen=True)
class Sample:
    """An example of what a model does.

    Parameters
    ----------
    inputs : dict
        (Y, X) arrays by the names of the graph's inputs, the image in its own units.
    normalized : dict
        The same as the graph takes them.
    restored : (Y, X) ndarray
        What the graph gives, as PyTorch computes it.
    """

    inputs: dict[str, Array]
    normalized: dict[str, Array]
    restored: Array


def make_sample(model: Model, noise: NoiseModel | None, given: Any = None) -> Sample:
    """A sample from an image as users of the model have it, or from scikit-image's camera.

    Raises
    ------
    ValueError
        If the given image cannot be used.
    """
    image = _camera(model.task, noise) if given is None else _checked(given)
    inputs = _PREPARE.get(model.task, _as_it_is)(image)
    interface = INTERFACES[model.task]
    normalized = inputs | {IMAGE: interface.normalized(inputs[IMAGE])}
    return Sample(inputs, normalized, _restored(model, noise, normalized))


@torch.inference_mode()
def _restored(model: Model, noise: NoiseModel | None, inputs: dict[str, Array]) -> Array:
    channels = [_tensor(plane) for plane in inputs.values()]
    if noise is not None:
        channels.append(_told_noise(channels[0], noise))
    seen = torch.cat(channels, 1)
    restored = model.network(seen)
    if noise is not None:
        image = seen[:, :1]
        around = amplitude(F.pad(image, (0, 0, RADIUS, RADIUS)))
        restored = image + limited_residual(torch.cat([seen, around], 1), restored - image)
    return np.asarray(restored[0, 0], np.float32)


def _told_noise(image: Tensor, noise: NoiseModel) -> Tensor:
    light = smooth_signal(image) - noise.offset
    std = poisson_gaussian_std(light, noise.gain, noise.read_noise)
    return told_noise(std, *noise.correlation)


def _checked(given: Any) -> Array:
    """The middle of an image."""
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
    """The image as if it had been taken with pixels twice as large, and enlarged again."""
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
