"""The table of tasks that models are trained for, and of the functions that restore with them.

Command line, batches, windows and copied code take names and texts from here, and the options of
a function from its signature.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from types import MappingProxyType, ModuleType
from typing import Any


@dataclass(frozen=True)
class Task:
    """A task that models are trained for.

    The names of its models begin with `prefix`. `in_channels` of the network are the image, and
    maps that describe it, if any.
    """

    prefix: str
    in_channels: int

    def channels_for(self, planes: int) -> int:
        """Channels of a network that sees so many planes, each with its noise."""
        return self.in_channels + 2 * (planes - 1)


TASKS: Mapping[str, Task] = MappingProxyType(
    {
        "denoise": Task("denoise", 4),
        "super_resolve": Task("sr", 1),
        "deblock": Task("deblock", 1),
        "inpaint": Task("inpaint", 2),
    }
)
"""The tasks that networks are trained for."""


@dataclass(frozen=True)
class Verb:
    """A function of the package that restores.

    `task` tells whose models it uses, and `sample` is the key of the sample that shows it. `help`
    is a sentence for the command line; `label`, `doing` and `result` are words for windows, such as
    "Denoise", "Denoising" and "denoised". If `takes_rgb`, it has the argument `rgb` and handles
    transparency; if `repairs`, it first repairs hot and dead pixels; if `tile_matters`, `tile` and
    `memory` change the result a little.
    """

    name: str
    task: str
    help: str
    label: str
    doing: str
    result: str
    sample: str
    takes_rgb: bool = True
    repairs: bool = True
    tile_matters: bool = False

    @cached_property
    def command(self) -> str:
        """Its name on the command line."""
        return self.name.replace("_", "-")

    @cached_property
    def module(self) -> ModuleType:
        """The module that the function lies in, with its form that ends in ``_steps``."""
        return import_module(f"napari_rednet.restoration.{self.name}")

    @cached_property
    def options(self) -> Mapping[str, Any]:
        """Names and defaults of its arguments, without the image."""
        parameters = inspect.signature(getattr(self.module, self.name)).parameters
        return MappingProxyType(
            {name: p.default for name, p in parameters.items() if name != "image"}
        )


VERBS: Mapping[str, Verb] = MappingProxyType(
    {
        verb.name: verb
        for verb in (
            Verb(
                "denoise",
                "denoise",
                "Remove noise from images or stacks; axes, dtype, units and metadata are kept.",
                "Denoise",
                "Denoising",
                "denoised",
                "chromosomes",
            ),
            Verb(
                "super_resolve",
                "super_resolve",
                "Enlarge images or stacks in Y and X; the pixel size is adapted.",
                "Super-resolve",
                "Super-resolving",
                "super-resolved",
                "small",
            ),
            Verb(
                "deblock",
                "deblock",
                "Remove JPEG artefacts from images or stacks that were coded as JPEG before.",
                "Deblock",
                "Deblocking",
                "deblocked",
                "jpeg",
            ),
            Verb(
                "deblur",
                "denoise",  # a denoiser is the prior
                "Undo a known blur of images or stacks, plane by plane; name one kind of blur.",
                "Deblur",
                "Deblurring",
                "deblurred",
                "blurred",
                takes_rgb=False,
                tile_matters=True,
            ),
            Verb(
                "inpaint",
                "inpaint",
                "Fill missing pixels of images or stacks; known ones are kept as they are.",
                "Inpaint",
                "Inpainting",
                "inpainted",
                "holes",
                takes_rgb=False,
                repairs=False,
            ),
        )
    }
)
"""The functions that restore, by their names."""
