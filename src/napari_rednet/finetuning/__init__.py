"""Adapt models to one's own images: what is learnt from, how, and the training itself."""

from napari_rednet.finetuning.fine_tune import fine_tune, prepare_fine_tuning
from napari_rednet.finetuning.methods import METHODS

__all__ = ["METHODS", "fine_tune", "prepare_fine_tuning"]
