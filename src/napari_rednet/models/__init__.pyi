from .cards import ModelCard, model_card
from .folders import check_named, user_models_folder
from .model import Model, read_model
from .registry import (
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
)

__all__ = [
    "DamagedModel",
    "Model",
    "ModelCard",
    "ModelInfo",
    "add_model",
    "check_named",
    "damaged_models",
    "is_name",
    "list_models",
    "load_model",
    "load_model_for",
    "model_card",
    "model_told",
    "on_change",
    "read_model",
    "remove_model",
    "rename_model",
    "user_model_file",
    "user_models_folder",
]
