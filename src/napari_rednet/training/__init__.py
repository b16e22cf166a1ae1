"""How to train, by which error of a pixel, and how far a training is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

_SOFTNESS = 1e-3
OPTIMIZERS = ("adamw", "muon")


def charbonnier(difference: Tensor) -> Tensor:
    """The absolute difference, rounded off at 0.

    References
    ----------
    .. [1] P. Charbonnier et al., "Two deterministic half-quadratic regularization algorithms for
       computed imaging", ICIP 1994.
    """
    return torch.sqrt(difference.square() + _SOFTNESS**2)


LOSSES: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {"squared": torch.square, "absolute": torch.abs, "charbonnier": charbonnier}
)


@dataclass(frozen=True)
class TrainingConfig:
    """How to train.

    Parameters
    ----------
    steps, minutes : int, float
        Length of the training; exactly one of the two is set.
    loss : {'squared', 'absolute', 'charbonnier'}
        The error of a pixel, see `LOSSES`.
    squared_from : float
        Share of the training, 0 to 1, after which the error is the squared one.
    optimizer : {'adamw', 'muon'}
        What learns the kernels of the hidden layers, see `engine.optimizers`.
    rate : float
        Peak learning rate of AdamW, reached after `warm_up` steps; it falls to zero on a cosine.
    muon_rate : float
        The same of Muon.
    ema : float
        Decay of the moving average of the weights, which is the result.
    clip : float
        Largest norm of the gradient.
    interval : int
        Steps between reports.
    pulse : float
        Seconds after which there is a report though the interval is not over.
    check_interval : int
        Steps between checks, which validate and write a checkpoint; every report is one if 0.
    checks : int
        At least so many checks, evenly spread over the length of the training.
    patience : int
        Checks in a row without a better one after which the training ends; 0 for none.
    seed : int
        Seed of the patches, the corruptions and the starting weights.
    """

    steps: int | None = None
    minutes: float | None = None
    loss: str = "squared"
    squared_from: float = 1.0
    optimizer: str = "adamw"
    rate: float = 1e-3
    muon_rate: float = 0.01
    warm_up: int = 200
    weight_decay: float = 0.0
    ema: float = 0.999
    clip: float = 1.0
    interval: int = 500
    pulse: float = math.inf
    check_interval: int = 0
    checks: int = 0
    patience: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise ValueError("set either steps or minutes")
        length = self.steps if self.steps is not None else self.minutes
        if length is None or not 0 < length < math.inf:
            raise ValueError(f"the length of a training must be positive, got {length}")
        if self.loss not in LOSSES:
            raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {self.loss!r}")
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(
                f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {self.optimizer!r}"
            )

    def loss_at(self, fraction: float) -> str:
        """The error that counts when so much of the training is done."""
        return self.loss if fraction < self.squared_from else "squared"

    def height_at(self, step: int, fraction: float) -> float:
        """Share of the peak rates after so many steps, with so much of the training done."""
        warm = min(1.0, (step + 1) / self.warm_up)
        return warm * 0.5 * (1 + math.cos(math.pi * fraction))


@dataclass(frozen=True)
class TrainingStatus:
    """One row of the training log; `score` is what the validation found, NaN between checks."""

    step: int
    minutes: float
    fraction: float
    loss: float
    gradient_norm: float
    rate: float
    samples_per_second: float
    score: float
