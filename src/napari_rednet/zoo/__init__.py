"""Which models exist, and the files that hold them."""

from napari_rednet.zoo.model import TASKS, Model, read_model
from napari_rednet.zoo.registry import ModelInfo, list_models, load_model, load_model_for

__all__ = [
    "TASKS",
    "Model",
    "ModelInfo",
    "list_models",
    "load_model",
    "load_model_for",
    "read_model",
]
