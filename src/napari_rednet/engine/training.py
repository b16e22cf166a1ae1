"""The training loop, as a generator that can be watched, stopped, killed and resumed."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from napari_rednet.engine.devices import training_dtype
from napari_rednet.engine.network import RedNet
from napari_rednet.errors import TrainingError

Batch = tuple[Tensor, Tensor, Tensor]
"""Network inputs, targets, and weights in the loss that broadcast against the targets."""


@dataclass(frozen=True)
class TrainingConfig:
    """How to train.

    Parameters
    ----------
    steps, minutes : int, float
        Length of the training; exactly one of the two is set.
    rate : float
        Peak learning rate, reached after `warm_up` steps; it falls to zero on a cosine.
    ema : float
        Decay of the moving average of the weights, which is the result.
    clip : float
        Largest norm of the gradient.
    interval : int
        Steps between reports, checkpoints and checks.
    seed : int
        Seed of the patches, the corruptions and the starting weights.
    """

    steps: int | None = None
    minutes: float | None = None
    rate: float = 1e-3
    warm_up: int = 200
    weight_decay: float = 0.0
    ema: float = 0.999
    clip: float = 1.0
    interval: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise ValueError("set either steps or minutes")
        length = self.steps if self.steps is not None else self.minutes
        if length is None or length <= 0:
            raise ValueError(f"the length of a training must be positive, got {length}")


@dataclass(frozen=True)
class TrainingStatus:
    """One row of the training log."""

    step: int
    minutes: float
    fraction: float
    loss: float
    gradient_norm: float
    rate: float
    samples_per_second: float
    psnr: float


class Trainer:
    """Trains a network on batches that a function makes.

    Parameters
    ----------
    network : RedNet
        The network; it is trained in place.
    make_batch : callable
        Takes a `torch.Generator` of the device and returns inputs, targets and weights.
    validate : callable, optional
        Takes a network and returns its PSNR in dB.
    folder : Path, optional
        Where ``checkpoint.pt`` and ``log.csv`` are kept.
    """

    def __init__(
        self,
        network: RedNet,
        make_batch: Callable[[torch.Generator], Batch],
        config: TrainingConfig,
        device: torch.device,
        *,
        validate: Callable[[RedNet], float] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.network = network.to(device).train()
        self.average = RedNet(network.config).to(device).eval()
        self.average.load_state_dict(network.state_dict())
        self.config = config
        self.step = 0
        self.seconds = 0.0
        self._make_batch = make_batch
        self._validate = validate
        self._folder = folder
        self._device = device
        self._dtype = training_dtype(device)
        self._generator = torch.Generator(device).manual_seed(config.seed)
        self._optimizer = torch.optim.AdamW(
            network.parameters(), lr=config.rate, weight_decay=config.weight_decay, fused=True
        )

    @property
    def fraction(self) -> float:
        """How much of the training is done, 0 to 1."""
        if self.config.steps is not None:
            return min(1.0, self.step / self.config.steps)
        return min(1.0, self.seconds / (60.0 * (self.config.minutes or 1.0)))

    def run(self) -> Iterator[TrainingStatus]:
        """Train to the end, yielding a status every `interval` steps and at the end."""
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
        while self.fraction < 1.0:
            status = self._run_interval()
            self._record(status)
            yield status

    def _run_interval(self) -> TrainingStatus:
        losses, norms, first, begun = [], [], self.step, self.seconds
        started = time.perf_counter()
        samples = 0
        while self.fraction < 1.0 and self.step - first < self.config.interval:
            loss, norm, count = self._train_step()
            losses.append(loss)
            norms.append(norm)
            samples += count
            self.step += 1
            self.seconds = begun + time.perf_counter() - started
        mean_loss = float(torch.stack(losses).mean())
        if not math.isfinite(mean_loss):
            raise TrainingError(
                f"the loss became {mean_loss} before step {self.step}; lower the rate"
            )
        # The loss was waited for above, so that the clock covers the device's work.
        self.seconds = begun + time.perf_counter() - started
        return TrainingStatus(
            step=self.step,
            minutes=self.seconds / 60,
            fraction=self.fraction,
            loss=mean_loss,
            gradient_norm=float(torch.stack(norms).mean()),
            rate=self._rate(),
            samples_per_second=samples / (self.seconds - begun),
            psnr=self._validate(self.average) if self._validate else math.nan,
        )

    def _train_step(self) -> tuple[Tensor, Tensor, int]:
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate()
        inputs, targets, weights = self._make_batch(self._generator)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        low_precision = self._dtype is not torch.float32
        with torch.autocast(self._device.type, self._dtype, enabled=low_precision):
            restored = self.network(inputs)
        loss = (weights * (restored.float() - targets).square()).mean()
        self._optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip)
        self._optimizer.step()
        self._update_average()
        return loss.detach(), norm, len(inputs)

    def _rate(self) -> float:
        warm = min(1.0, (self.step + 1) / self.config.warm_up)
        return self.config.rate * warm * 0.5 * (1 + math.cos(math.pi * self.fraction))

    @torch.no_grad()
    def _update_average(self) -> None:
        # The average of the first steps forgets fast, or it would keep the starting weights.
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        pairs = zip(self.average.parameters(), self.network.parameters(), strict=True)
        for mean, value in pairs:
            mean.lerp_(value, 1 - decay)

    def _record(self, status: TrainingStatus) -> None:
        if self._folder is None:
            return
        # The log first: rows that no checkpoint covers are dropped on resuming.
        append_row(self._folder / "log.csv", asdict(status))
        self.save_checkpoint(self._folder / "checkpoint.pt")

    def save_checkpoint(self, path: Path) -> None:
        """Write all that is needed to go on, beside `path` and then renamed onto it."""
        state = {
            "config": asdict(self.config),
            "step": self.step,
            "seconds": self.seconds,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "generator": self._generator.get_state(),
        }
        beside = path.with_name(path.name + ".part")
        torch.save(state, beside)
        beside.replace(path)

    def resume(self) -> bool:
        """Continue from the folder's checkpoint; return whether there was one.

        Raises
        ------
        TrainingError
            If the checkpoint cannot be read or belongs to another network.
        """
        path = None if self._folder is None else self._folder / "checkpoint.pt"
        if path is None or not path.exists():
            return False
        state = _read_checkpoint(path, self._device)
        try:
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self._optimizer.load_state_dict(state["optimizer"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise TrainingError(f"{path} belongs to another network: {error}") from error
        self.step, self.seconds = state["step"], state["seconds"]
        self._generator.set_state(state["generator"].cpu())
        drop_rows_after(path.with_name("log.csv"), self.step)
        return True


def _read_checkpoint(path: Path, device: torch.device) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise TrainingError(f"the checkpoint {path} cannot be read: {error}") from error
    return state


def append_row(path: Path, row: dict[str, float]) -> None:
    """Append a row to a CSV file, with a header if the file is new."""
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(TrainingStatus)])
        if is_new:
            writer.writeheader()
        writer.writerow({k: v if isinstance(v, int) else f"{v:.6g}" for k, v in row.items()})


def drop_rows_after(path: Path, step: int) -> None:
    """Remove the rows of a log that lie after `step`."""
    if not path.exists():
        return
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if int(row["step"] or 0) <= step]
    path.unlink()
    for row in rows:
        append_row(path, {k: int(v) if k == "step" else float(v) for k, v in row.items()})
