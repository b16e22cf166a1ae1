"""Adapt models to one's own images: what is learnt from, how, and the training itself."""

from napari_rednet.finetuning.choice import METHODS
from napari_rednet.finetuning.fine_tune import fine_tune, prepare_fine_tuning

__all__ = ["METHODS", "fine_tune", "prepare_fine_tuning"]
