"""Run a model over all planes of an array, at once or lazily, step by step."""

from napari_rednet.execution.job import (
    Job,
    MaskedImage,
    is_dask,
    plane_keys,
    plane_of,
    sample_windows,
)
from napari_rednet.execution.parts import ResumableOutput
from napari_rednet.execution.places import MappedImage, share_storage, without_map
from napari_rednet.execution.reading import Repairs, Samples, repaired_words
from napari_rednet.execution.restoration import (
    FEW_CHANNELS,
    Measured,
    Progress,
    Restoration,
    Speed,
    Steps,
    Window,
    Windows,
    drain,
    measure,
    restoration_steps,
    speed_steps,
)

__all__ = [
    "FEW_CHANNELS",
    "Job",
    "MappedImage",
    "MaskedImage",
    "Measured",
    "Progress",
    "Repairs",
    "Restoration",
    "ResumableOutput",
    "Samples",
    "Speed",
    "Steps",
    "Window",
    "Windows",
    "drain",
    "is_dask",
    "measure",
    "plane_keys",
    "plane_of",
    "repaired_words",
    "restoration_steps",
    "sample_windows",
    "share_storage",
    "speed_steps",
    "without_map",
]
