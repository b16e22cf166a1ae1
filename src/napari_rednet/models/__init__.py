"""The available models, and the files that hold them."""

from napari_rednet.models.model import Model, read_model
from napari_rednet.models.registry import (
    DamagedModel,
    ModelInfo,
    add_model,
    damaged_models,
    is_name,
    list_models,
    load_model,
    load_model_for,
    model_told,
    on_change,
    remove_model,
    rename_model,
    user_model_file,
    user_models_folder,
)

__all__ = [
    "DamagedModel",
    "Model",
    "ModelInfo",
    "add_model",
    "damaged_models",
    "is_name",
    "list_models",
    "load_model",
    "load_model_for",
    "model_told",
    "on_change",
    "read_model",
    "remove_model",
    "rename_model",
    "user_model_file",
    "user_models_folder",
]
