"""RED-Net image restoration for napari and for scripts.

>>> import napari_rednet as nr
>>> restored = nr.denoise(noisy)  # doctest: +SKIP

Nothing heavy is imported until one of the names is used.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_rednet import psf, quality
    from napari_rednet.engine.channel import NoiseModel
    from napari_rednet.errors import (
        DeviceMemoryError,
        ImageFileError,
        ModelError,
        RednetError,
        TrainingError,
    )
    from napari_rednet.finetuning import fine_tune, prepare_fine_tuning
    from napari_rednet.models import (
        Model,
        add_model,
        list_models,
        load_model,
        remove_model,
        rename_model,
    )
    from napari_rednet.noise import NoiseLevels
    from napari_rednet.restoration import (
        deblock,
        deblock_steps,
        deblur,
        deblur_steps,
        denoise,
        denoise_steps,
        estimate_noise,
        find_defects,
        inpaint,
        inpaint_steps,
        noise_levels,
        super_resolve,
        super_resolve_steps,
    )

_HOMES = {
    "deblur": "restoration",
    "super_resolve_steps": "restoration",
    "super_resolve": "restoration",
    "inpaint_steps": "restoration",
    "inpaint": "restoration",
    "find_defects": "restoration",
    "deblock_steps": "restoration",
    "deblock": "restoration",
    "deblur_steps": "restoration",
    "denoise": "restoration",
    "denoise_steps": "restoration",
    "estimate_noise": "restoration",
    "noise_levels": "restoration",
    "fine_tune": "finetuning",
    "prepare_fine_tuning": "finetuning",
    "NoiseLevels": "noise",
    "NoiseModel": "engine.channel",
    "Model": "models",
    "add_model": "models",
    "list_models": "models",
    "load_model": "models",
    "remove_model": "models",
    "rename_model": "models",
    "RednetError": "errors",
    "ModelError": "errors",
    "DeviceMemoryError": "errors",
    "TrainingError": "errors",
    "ImageFileError": "errors",
}

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
    "noise_levels",
    "prepare_fine_tuning",
    "psf",
    "quality",
    "remove_model",
    "rename_model",
    "super_resolve",
    "super_resolve_steps",
]

__version__ = version("napari-rednet")


def __getattr__(name: str) -> Any:
    if name in ("psf", "quality"):
        return import_module(f"{__name__}.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
