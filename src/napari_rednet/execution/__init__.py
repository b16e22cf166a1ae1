"""Run a model over all planes of an array, at once or lazily, step by step."""

from napari_rednet.execution.job import Job, is_dask, plane_keys, plane_of, sample_windows
from napari_rednet.execution.outputs import ResumableOutput
from napari_rednet.execution.steps import Progress, Steps, drain, restoration_steps

__all__ = [
    "Job",
    "Progress",
    "ResumableOutput",
    "Steps",
    "drain",
    "is_dask",
    "plane_keys",
    "plane_of",
    "restoration_steps",
    "sample_windows",
]
