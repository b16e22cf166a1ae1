from . import psf, quality
from .engine.channel import NoiseModel
from .errors import (
    DeviceMemoryError,
    ImageFileError,
    ModelError,
    RednetError,
    TrainingError,
)
from .finetuning import fine_tune, prepare_fine_tuning
from .models import (
    Model,
    add_model,
    list_models,
    load_model,
    model_card,
    remove_model,
    rename_model,
)
from .noise import NoiseLevels
from .quality.show import show
from .restoration.deblock import deblock, deblock_steps
from .restoration.deblur import deblur, deblur_steps
from .restoration.denoise import denoise, denoise_steps
from .restoration.inpaint import find_defects, inpaint, inpaint_steps
from .restoration.noise_estimate import estimate_noise, noise_levels
from .restoration.super_resolve import super_resolve, super_resolve_steps

__all__ = [
    "DeviceMemoryError",
    "ImageFileError",
    "Model",
    "ModelError",
    "NoiseLevels",
    "NoiseModel",
    "RednetError",
    "TrainingError",
    "add_model",
    "deblock",
    "deblock_steps",
    "deblur",
    "deblur_steps",
    "denoise",
    "denoise_steps",
    "estimate_noise",
    "find_defects",
    "fine_tune",
    "inpaint",
    "inpaint_steps",
    "list_models",
    "load_model",
    "model_card",
    "noise_levels",
    "prepare_fine_tuning",
    "psf",
    "quality",
    "remove_model",
    "rename_model",
    "show",
    "super_resolve",
    "super_resolve_steps",
]

__version__: str
