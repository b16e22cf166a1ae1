"""The restoration verbs: check what was given, choose the model, run it over all planes.

Each verb has a form that works step by step: arguments are checked at once, iterating does the
work, closing the generator cancels. `prepare_*` only check the arguments, for callers that
restore a part.
"""

from napari_rednet.restoration.deblock import deblock, deblock_steps, prepare_deblock
from napari_rednet.restoration.deblur import deblur, deblur_steps, prepare_deblur
from napari_rednet.restoration.denoise import denoise, denoise_steps, prepare_denoise
from napari_rednet.restoration.inpaint import find_defects, inpaint, inpaint_steps, prepare_inpaint
from napari_rednet.restoration.noise_estimate import (
    UnevenNoise,
    estimate_noise,
    find_uneven_noise,
    noise_levels,
    noise_levels_steps,
)
from napari_rednet.restoration.super_resolve import (
    prepare_super_resolve,
    super_resolve,
    super_resolve_steps,
)

__all__ = [
    "UnevenNoise",
    "deblock",
    "deblock_steps",
    "deblur",
    "deblur_steps",
    "denoise",
    "denoise_steps",
    "estimate_noise",
    "find_defects",
    "find_uneven_noise",
    "inpaint",
    "inpaint_steps",
    "noise_levels",
    "noise_levels_steps",
    "prepare_deblock",
    "prepare_deblur",
    "prepare_denoise",
    "prepare_inpaint",
    "prepare_super_resolve",
    "super_resolve",
    "super_resolve_steps",
]
