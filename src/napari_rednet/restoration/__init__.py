"""The restoration verbs: check what was given, choose the model, run it over all planes.

Each verb has a form that works step by step: arguments are checked at once, the work is done
by iterating, closing the generator cancels.
"""

from napari_rednet.restoration.deblock import deblock, deblock_steps
from napari_rednet.restoration.deblur import deblur, deblur_steps
from napari_rednet.restoration.denoise import denoise, denoise_steps
from napari_rednet.restoration.inpaint import find_defects, inpaint, inpaint_steps
from napari_rednet.restoration.noise_estimate import (
    estimate_noise,
    noise_levels,
    noise_levels_steps,
)
from napari_rednet.restoration.super_resolve import super_resolve, super_resolve_steps

__all__ = [
    "deblock",
    "deblock_steps",
    "deblur",
    "deblur_steps",
    "denoise",
    "denoise_steps",
    "estimate_noise",
    "find_defects",
    "inpaint",
    "inpaint_steps",
    "noise_levels",
    "noise_levels_steps",
    "super_resolve",
    "super_resolve_steps",
]
