"""What every exported file tells about its model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING

from napari_rednet.engine.noise_map import RADIUS
from napari_rednet.engine.noise_model import NoiseModel, noise_words
from napari_rednet.zoo.export.readme import CITATION, DOI, readme_text
from napari_rednet.zoo.export.sample import Sample
from napari_rednet.zoo.export.tasks import INTERFACES, Interface

if TYPE_CHECKING:
    from napari_rednet.zoo.model import Model


@dataclass(frozen=True)
class Contents:
    """A model and all that goes into an exported file with it.

    Parameters
    ----------
    model : Model
        The model.
    noise : NoiseModel or None
        Noise of normalised images, for denoising.
    sample : Sample
        An example of what the model does.
    authors, tags : tuple of str
        As for `Model.export`, with the tags of the task.
    license, description : str
        As for `Model.export`.
    """

    model: Model
    noise: NoiseModel | None
    sample: Sample
    authors: tuple[str, ...]
    license: str
    description: str
    tags: tuple[str, ...]

    @property
    def interface(self) -> Interface:
        """What the graph takes and gives."""
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


def described(model: Model, noise: NoiseModel | None) -> str:
    """What is said of a model in a sentence, if the user says nothing."""
    interface = INTERFACES[model.task]
    level = "" if noise is None else f" The noise model inside is {noise_words(noise)}."
    return f"{model.name}: a RED-Net (Mao et al. 2016) that {interface.purpose}.{level}"


def task_tags(task: str, tags: tuple[str, ...]) -> tuple[str, ...]:
    """The tags of a task and those of the user, each once."""
    return tuple(dict.fromkeys(("red-net", "image-restoration", INTERFACES[task].tag, "2d", *tags)))
