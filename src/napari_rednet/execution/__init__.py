"""Run a model over all planes of an array, at once or lazily, step by step."""

from napari_rednet.execution.job import (
    Job,
    MaskedImage,
    is_dask,
    plane_keys,
    plane_of,
    sample_windows,
)
from napari_rednet.execution.outputs import ResumableOutput
from napari_rednet.execution.restoration import (
    Progress,
    Restoration,
    Speed,
    Steps,
    drain,
    restoration_steps,
    speed_steps,
)
from napari_rednet.execution.samples import Repairs, Samples, repaired_words
from napari_rednet.execution.windows import Measured, Window, Windows, measure

__all__ = [
    "Job",
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
    "speed_steps",
]
