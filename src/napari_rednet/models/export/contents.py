"""The contents of exported files: model, sample, metadata and documentation."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version

from napari_rednet.engine.channel import PERCENTILES, NoiseModel, noise_words
from napari_rednet.engine.network import MOST_CHANGE, OWN_ERROR, RADIUS
from napari_rednet.models.export.sample import (
    EPSILON,
    IMAGE,
    INTERFACES,
    RESTORED,
    AnyModel,
    Interface,
    Sample,
)

DOI = "10.48550/arXiv.1606.08921"
CITATION = (
    "X. Mao, C. Shen, Y. Yang, Image restoration using very deep convolutional encoder-decoder "
    "networks with symmetric skip connections, NIPS 2016; extended version arXiv:1606.08921"
)
_VALIDATION = """## Validation

Compare the result with a clean image of the same place, by PSNR and SSIM on the intensities that
you measure with. The sample that comes with the model shows that a program runs it as PyTorch does;
it does not tell how well it suits your images."""


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
