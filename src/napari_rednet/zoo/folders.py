"""Where model files lie."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from platformdirs import user_data_path

_VARIABLE = "NAPARI_REDNET_MODELS"


def installed_models_folder() -> Path:
    """The folder of the models that come with the package."""
    return Path(str(files("napari_rednet").joinpath("weights")))


def user_models_folder() -> Path:
    """The folder of the user's models; it need not exist.

    The environment variable ``NAPARI_REDNET_MODELS`` puts it elsewhere, for instance where all
    nodes of a cluster see it.
    """
    elsewhere = os.environ.get(_VARIABLE)
    if elsewhere:
        return Path(elsewhere).expanduser()
    return user_data_path("napari-rednet", appauthor=False) / "models"
