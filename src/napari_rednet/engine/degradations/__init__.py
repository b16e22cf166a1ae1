"""Corruptions of clean images as batched, seeded torch code that runs on any device.

Images are float tensors (N, 1, Y, X) with values of the order of 1. Random corruptions take a
`torch.Generator` of the same device, so that a seed gives the same corruption every time. Training,
sample data, tests and benchmarks share them.
"""

from collections.abc import Mapping
from types import MappingProxyType

from napari_rednet.engine.degradations.losses import (
    MASKS,
    HoleCorruption,
    JpegCorruption,
    code_jpeg,
    draw_mask,
)
from napari_rednet.engine.degradations.noise import (
    CameraNoise,
    NoiseCorruption,
    add_noise,
    evened_weights,
)
from napari_rednet.engine.degradations.stacks import StackSynthesis
from napari_rednet.engine.resampling import EnlargementCorruption, blur, resample
from napari_rednet.engine.rng import smooth_field

AnyCorruption = EnlargementCorruption | JpegCorruption | HoleCorruption

CORRUPTIONS: Mapping[str, type[AnyCorruption]] = MappingProxyType(
    {
        "super_resolve": EnlargementCorruption,
        "deblock": JpegCorruption,
        "inpaint": HoleCorruption,
    }
)
"""The corruption that the models of each task besides denoising learn to undo."""

__all__ = [
    "CORRUPTIONS",
    "MASKS",
    "AnyCorruption",
    "CameraNoise",
    "EnlargementCorruption",
    "HoleCorruption",
    "JpegCorruption",
    "NoiseCorruption",
    "StackSynthesis",
    "add_noise",
    "blur",
    "code_jpeg",
    "draw_mask",
    "evened_weights",
    "resample",
    "smooth_field",
]
