"""Tiny networks, real images, and short trainings of the one on the other."""

from functools import partial

import numpy as np
import torch
from skimage import data

import napari_rednet as nr
from napari_rednet.engine.network import NetworkConfig, RedNet, initialize
from napari_rednet.finetuning import prepare_fine_tuning
from napari_rednet.finetuning.planning import TrainingData, as_clean
from napari_rednet.models import Model
from napari_rednet.tasks import TASKS

STD = 20.0

clean_settings = partial(as_clean, "inpaint")


def tiny(task="denoise", seed=0, features=8):
    """A network that has learnt nothing yet but hands its input on, so that it learns fast."""
    channels = TASKS[task].in_channels
    network = RedNet(NetworkConfig(layers=6, features=features, in_channels=channels))
    initialize(network, torch.Generator().manual_seed(seed))
    return Model("tiny", task, network.eval().requires_grad_(False))


def noisy_settings(noise=None):
    """How noisy images are presented, with the noise of each channel if it is known."""
    return TrainingData(None, None, noise).as_noisy


def clean_image():
    return data.camera()[100:260, 150:330].astype(np.float64)


def with_noise(clean, seed=0, std=STD):
    return clean + np.random.default_rng(seed).normal(0, std, clean.shape)


def options(**changes):
    usual = {"steps": 100, "rate": 2e-3, "batch": 4, "patch": 32, "device": "cpu"}
    model = changes.get("model", "") or tiny(changes.get("task", "denoise"))
    return {**usual, **changes, "model": model}


def tuned(*images, **changes):
    return nr.fine_tune(*images, **options(**changes))


def prepared(*images, **changes):
    return prepare_fine_tuning(*images, **options(**changes))


def go_to(step, run):
    """Take a run to a step that it reports; on a slow machine it reports others on the way."""
    for status in run:
        if status.step == step:
            return run
    raise AssertionError(f"the run ended before step {step}")


def weights_of(model):
    """All weights of a model or a network, one after another."""
    network = model.network if isinstance(model, Model) else model
    return torch.cat([value.flatten() for value in network.state_dict().values()])


def best_of(tuning):
    return weights_of(tuning.model())
