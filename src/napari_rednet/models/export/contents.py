"""Contents of an export besides the graph: an example of inputs and output, and a README."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_rednet.engine.channel import PERCENTILES, NoiseModel, noise_words
from napari_rednet.engine.inpainting import fill_holes
from napari_rednet.engine.network import (
    MOST_CHANGE,
    OWN_ERROR,
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
DOI = "10.48550/arXiv.1606.08921"
CITATION = (
    "X. Mao, C. Shen, Y. Yang, Image restoration using very deep convolutional encoder-decoder "
    "networks with symmetric skip connections, NIPS 2016; extended version arXiv:1606.08921"
)
_VALIDATION = """## Validation

Compare the result with a clean image of the same place, by PSNR and SSIM on the intensities that
you measure with. The sample that comes with the model shows that a program runs it as PyTorch does;
it does not tell how well it suits your images."""


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


@dataclass(frozen=True)
class Contents:
    """A model and everything that goes into an exported file with it.

    `noise` is that of normalised images, None for other tasks than denoising. `tags` include those
    of the task.
    """

    model: AnyModel
    noise: NoiseModel | None
    sample: Sample
    authors: tuple[str, ...]
    license: str
    description: str
    tags: tuple[str, ...]

    @property
    def interface(self) -> Interface:
        """The inputs and the output of the graph."""
        return INTERFACES[self.model.task]

    @property
    def margin(self) -> int:
        """Pixels around a pixel that its result depends on."""
        return self.model.config.receptive_radius + (RADIUS if self.noise else 0)

    @cached_property
    def readme(self) -> str:
        """The documentation, in Markdown."""
        return readme_text(self)

    def properties(self) -> dict[str, str]:
        """The metadata of an ONNX file."""
        return {
            "name": self.model.name,
            "task": self.model.task,
            "description": self.description,
            "authors": ", ".join(self.authors),
            "license": self.license,
            "tags": ", ".join(self.tags),
            "citation": f"{CITATION}; doi:{DOI}",
            "readme": self.readme,
            "info": json.dumps(dict(self.model.info), sort_keys=True),
            "napari_rednet": version("napari-rednet"),
        }


def described(model: AnyModel, noise: NoiseModel | None) -> str:
    """Default description of a model, in a sentence."""
    interface = INTERFACES[model.task]
    level = "" if noise is None else f" The noise model inside is {noise_words(noise)}."
    return f"{model.name}: a RED-Net (Mao et al. 2016) that {interface.purpose}.{level}"


def task_tags(task: str, tags: tuple[str, ...]) -> tuple[str, ...]:
    """The tags of a task and those of the user, each once."""
    return tuple(dict.fromkeys(("red-net", "image-restoration", INTERFACES[task].tag, "2d", *tags)))


def readme_text(contents: Contents) -> str:
    """The documentation in Markdown."""
    parts = [
        f"# {contents.model.name}\n\n{contents.description}",
        _tensors(contents),
        _intensities(contents),
        _noise(contents),
        _sizes(contents),
        _VALIDATION,
        _provenance(contents),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _tensors(contents: Contents) -> str:
    lines = [f"- `{name}`: {what}." for name, what in contents.interface.inputs.items()]
    lines.append(f"- `{RESTORED}`: the result, of the same shape.")
    note = ""
    if contents.interface.has_mask:
        note = "\n\nTake the pixels that were known from your image, the others from the result."
    return (
        "## Input and output\n\nAll are float32 of shape (batch, 1, y, x).\n\n"
        + "\n".join(lines)
        + note
    )


def _intensities(contents: Contents) -> str:
    if contents.interface.is_8_bit:
        return (
            "## Intensities\n\n"
            "The ONNX graph takes and gives gray levels divided by 255. In a bioimage.io package, "
            "pre- and postprocessing divide and multiply, so that the values are 0 to 255 on both "
            "sides. Bring images that were stretched since they were coded back to that range."
        )
    low, high = PERCENTILES
    return (
        "## Intensities\n\n"
        f"The ONNX graph takes `({IMAGE} - low) / (high - low)`, where `low` and `high` are the "
        f"percentiles {low} and {high} of the whole image (not of a tile), and gives its result on "
        "the same scale. In a bioimage.io package, the preprocessing `scale_range` normalises "
        f"(adding {EPSILON} to the range). No postprocessing of bioimage.io undoes it exactly, so "
        f"the result stays normalised; `{RESTORED} * (high - low) + low` is in the units of the "
        "input."
    )


def _noise(contents: Contents) -> str:
    noise = contents.noise
    if noise is None:
        return ""
    along_y, along_x = noise.correlation
    return (
        "## Noise\n\n"
        "The network is told the noise of every pixel. The graph computes it from the image: the "
        f"variance is `{noise.gain:.6g} * max(signal - {noise.offset:.6g}, 0) + "
        f"{noise.read_noise:.6g} ** 2`, with the image blurred by a Gaussian of 2 pixels as the "
        "signal, on the scale of the normalised image. The noise of neighbours is told to have the "
        f"correlation {along_y:.3g} along y and {along_x:.3g} along x. No pixel is changed by more "
        f"than {MOST_CHANGE:g} standard deviations, and where these are below {OWN_ERROR:g} of the "
        "image by little. The model suits images with such noise; other noise needs another export."
    )


def _sizes(contents: Contents) -> str:
    return (
        "## Sizes\n\n"
        "Images may have any size, odd or even. Who cuts large ones into tiles needs a margin of "
        f"{contents.margin} pixels around each tile, and should begin tiles at even rows and "
        "columns."
    )


def _provenance(contents: Contents) -> str:
    lines = [
        f"- Authors: {', '.join(contents.authors) or 'not named'}",
        f"- Licence: {contents.license}",
        f"- Tags: {', '.join(contents.tags)}",
        f"- Network: `{json.dumps(contents.model.config.to_dict())}`",
        f"- Training: `{json.dumps(dict(contents.model.info), sort_keys=True)}`",
        f"- Please cite: {CITATION} (doi:{DOI})",
        "- Made with napari-rednet",
    ]
    return "## Provenance\n\n" + "\n".join(lines)
