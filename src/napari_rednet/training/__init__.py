"""Training configuration, losses per pixel, and training status."""

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
    """The absolute difference, smooth at 0: P. Charbonnier et al., ICIP 1994."""
    return torch.sqrt(difference.square() + _SOFTNESS**2)


LOSSES: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {"squared": torch.square, "absolute": torch.abs, "charbonnier": charbonnier}
)


@dataclass(frozen=True)
class TrainingConfig:
    """How to train; exactly one of `steps` and `minutes` is set.

    Parameters
    ----------
    squared_from : float
        Share of the training, 0 to 1, after which the loss is the squared one.
    rate, muon_rate : float
        Peak learning rates of AdamW and Muon, reached after `warm_up` steps; they fall to zero on a
        cosine.
    ema : float
        Decay of the moving average of the weights, which is the result.
    interval, pulse : int, float
        Steps, and seconds, after which a report comes.
    check_interval, checks : int
        Steps between checks, which validate and write a checkpoint, and their least number. With an
        interval of 0, every report is a check.
    patience : int
        Consecutive checks without improvement after which the training ends; 0 for no limit.
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
        """Name of the loss when this fraction of the training is done."""
        return self.loss if fraction < self.squared_from else "squared"

    def height_at(self, step: int, fraction: float) -> float:
        """Learning rate relative to its peak, after some steps and a fraction of the training."""
        warm = min(1.0, (step + 1) / self.warm_up)
        return warm * 0.5 * (1 + math.cos(math.pi * fraction))


@dataclass(frozen=True)
class TrainingStatus:
    """One row of the training log; `score` is that of the validation, NaN between checks."""

    step: int
    minutes: float
    fraction: float
    loss: float
    gradient_norm: float
    rate: float
    samples_per_second: float
    score: float
