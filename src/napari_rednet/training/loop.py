"""The training loop, as a generator that can be watched, stopped, killed and resumed."""

from __future__ import annotations

import copy
import csv
import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from napari_rednet.engine.network import RedNet, training_dtype
from napari_rednet.errors import TrainingError
from napari_rednet.files import claimed, replaced
from napari_rednet.training import LOSSES, TrainingConfig, TrainingStatus
from napari_rednet.training.optimizers import make_optimizer

_MOST_RESTARTS = 5
_MANY_SAMPLES = 400
_DIVERGED = 5.0
_MOST_SKIPPED = 0.04
CHECKPOINT = "checkpoint.pt"
LOG = "log.csv"
Batch = tuple[Tensor, Tensor, Tensor]
"""Network inputs, targets, and loss weights that broadcast against the targets."""
Weights = dict[str, Tensor]


class Trainer:
    """Trains a network, in place, on batches that `make_batch` draws with a seeded generator.

    A step with a non-finite gradient is skipped. After many of them, or a sudden multiple increase
    of the loss, the weights go back to the last good ones and the rate is halved. `validate`
    returns a score, larger is better. `folder` holds ``checkpoint.pt`` and ``log.csv``; a
    checkpoint of another `identity` is not resumed. `tend` may change the network at each check.
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
        identity: str = "",
        tend: Callable[[RedNet], object] | None = None,
    ) -> None:
        self._tend = tend
        self.network = network.to(device).train()
        self.average = RedNet(network.config).to(device).eval()
        self.average.load_state_dict(network.state_dict())
        self.config = config
        self.step = 0
        self.seconds = self._clock_start = 0.0
        self.best: Weights = _copied(self.average)
        self.best_score = -math.inf
        self._make_batch = make_batch
        self._validate = validate
        self._folder = folder
        self._device = device
        self._identity = identity
        self._dtype = training_dtype(device)
        self._generator = torch.Generator(device).manual_seed(config.seed)
        self._optimizer = make_optimizer(self.network, config)
        self._peak_rates = [group["lr"] for group in self._optimizer.param_groups]
        self._checked = 0
        self._spread_checks = 0
        self._checks_without_gain = 0
        self._rate_factor = 1.0
        self._restarts = 0
        self._usual_losses: dict[str, float] = {}
        self._good = copy.deepcopy(self._state())

    @property
    def fraction(self) -> float:
        """Fraction of the training that is done, 0 to 1."""
        if self.config.steps is not None:
            return min(1.0, self.step / self.config.steps)
        return min(1.0, self.seconds / (60.0 * (self.config.minutes or 1.0)))

    @property
    def is_done(self) -> bool:
        """True if the length or the patience of the training is exhausted."""
        patience = self.config.patience
        return self.fraction >= 1.0 or 0 < patience <= self._checks_without_gain

    def run(self, *, overwrite: bool = True) -> Iterator[TrainingStatus]:
        """Train to the end, yielding a status every `interval` steps and at the end.

        Unless `overwrite`, a checkpoint that is not resumed is kept, and `TrainingError` raised.
        """
        if self._folder is None:
            yield from self._run()
            return
        prepare_folder(self._folder)
        with _claimed(self._folder):
            if self.step == 0:
                start_anew(self._folder, overwrite=overwrite)
            yield from self._run()

    def _run(self) -> Iterator[TrainingStatus]:
        if self.step == 0 and self._validate is not None:
            self._score()
        while not self.is_done:
            status = self._run_interval()
            if status is not None:
                yield status

    def _run_interval(self) -> TrainingStatus | None:
        """Train for an interval; None if it was undone."""
        begun, kind = self.seconds, self.config.loss_at(self.fraction)
        # Time between intervals does not count.
        self._clock_start = time.perf_counter() - begun
        samples, loss, norm = self._train_interval()
        speed = samples / (self._seconds_by_now() - begun)
        is_check = self._is_check_due()
        usual = self._usual_losses.get(kind, math.inf)
        if _has_diverged(loss, usual, samples) or (is_check and not self._is_sound()):
            self._restart()
            return None
        if samples >= _MANY_SAMPLES and kind == self.config.loss_at(self.fraction):
            self._usual_losses[kind] = min(usual, loss)
        score = self._score() if is_check and self._validate else math.nan
        if is_check and self._tend:
            self._tend(self.network)
        status = TrainingStatus(
            step=self.step,
            # Includes the time of checks, which the user waits for.
            minutes=self._seconds_by_now() / 60,
            fraction=self.fraction,
            loss=loss,
            gradient_norm=norm,
            rate=self.config.rate * self._height(),
            samples_per_second=speed,
            score=score,
        )
        if is_check:
            self._keep(status)
        return status

    def _train_interval(self) -> tuple[int, float, float]:
        """Train until a report is due: samples, mean loss, mean gradient norm."""
        begun, samples = self.seconds, 0
        losses: list[Tensor] = []
        norms: list[Tensor] = []
        while self.fraction < 1.0 and not (losses and self._is_report_due(self.seconds - begun)):
            loss, norm, count = self._train_step()
            losses.append(loss)
            norms.append(norm)
            samples += count
            self.step += 1
            self._seconds_by_now()
        # Reading the numbers waits for the device's work, which the clock has to include.
        return samples, *_usual_means(torch.stack(losses), torch.stack(norms))

    def _seconds_by_now(self) -> float:
        self.seconds = time.perf_counter() - self._clock_start
        return self.seconds

    def _train_step(self) -> tuple[Tensor, Tensor, int]:
        for group, peak in zip(self._optimizer.param_groups, self._peak_rates, strict=True):
            group["lr"] = peak * self._height()
        inputs, targets, weights = self._make_batch(self._generator)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self._device.type, self._dtype, self._dtype is not torch.float32):
            restored = self.network(inputs)
        error = LOSSES[self.config.loss_at(self.fraction)]
        loss = (weights * error(restored.float() - targets)).mean()
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip)
        if torch.isfinite(norm):
            self._optimizer.step()
            self._update_average()
        return loss.detach(), norm, len(inputs)

    def _height(self) -> float:
        return self._rate_factor * self.config.height_at(self.step, self.fraction)

    @torch.no_grad()
    def _update_average(self) -> None:
        # A smaller decay at first, or the average would keep the starting weights for long.
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        pairs = zip(self.average.parameters(), self.network.parameters(), strict=True)
        for mean, value in pairs:
            mean.lerp_(value, 1 - decay)

    def _is_sound(self) -> bool:
        """True if all weights are finite; the loss only shows those before the last step."""
        return all(bool(torch.isfinite(p).all()) for p in self.network.parameters())

    def _restart(self) -> None:
        """Go back to the last good state with half the rate; the patches that follow are new."""
        self._restarts += 1
        if self._restarts > _MOST_RESTARTS:
            raise TrainingError(
                f"the loss or the weights grow without bounds before step {self.step}, with ever "
                "lower rates; look for wrong values in the images"
            )
        drawn, factor, restarts = self._generator.get_state(), self._rate_factor, self._restarts
        seconds = self.seconds
        self._restore(self._good)
        self._generator.set_state(drawn)
        self._rate_factor, self._restarts, self.seconds = 0.5 * factor, restarts, seconds

    def _is_report_due(self, seconds: float) -> bool:
        return self.step % self.config.interval == 0 or seconds >= self.config.pulse

    def _is_check_due(self) -> bool:
        # Only at the ends of intervals: their number of steps does not depend on the clock.
        if self.step % self.config.interval and self.fraction < 1.0:
            return False
        since = self.step - self._checked
        is_spread = math.floor(self.fraction * self.config.checks) > self._spread_checks
        return is_spread or self.fraction >= 1.0 or since >= self.config.check_interval

    def _score(self) -> float:
        """Validate the average, and keep it if it is the best so far."""
        score = self._validate(self.average) if self._validate else math.nan
        self._checks_without_gain += 1
        if score > self.best_score:
            self.best, self.best_score = _copied(self.average), score
            self._checks_without_gain = 0
        return score

    def _keep(self, status: TrainingStatus) -> None:
        """Remember the state as a good one, in the folder as well if there is one."""
        self._checked = self.step
        self._spread_checks = math.floor(self.fraction * self.config.checks)
        self._restarts = 0
        self._good = copy.deepcopy(self._state())
        if self._folder is None:
            return
        try:
            # The log first: rows after the checkpoint are dropped on resuming.
            append_row(self._folder / LOG, asdict(status))
            write_checkpoint(self._folder / CHECKPOINT, self._state())
        except (OSError, TrainingError) as error:
            # Hours of training are worth more than the file; the previous checkpoint stays.
            warnings.warn(f"{error}; the training goes on, without it", stacklevel=2)

    def _state(self) -> dict[str, Any]:
        return {
            "identity": self._identity,
            "step": self.step,
            "seconds": self.seconds,
            "checked": self._checked,
            "checks_without_gain": self._checks_without_gain,
            "rate_factor": self._rate_factor,
            "best_score": self.best_score,
            "best": self.best,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "generator": self._generator.get_state(),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        # A copy, since the optimiser would change these tensors in place.
        self._optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        self._generator.set_state(state["generator"].cpu())
        self.best, self.best_score = state["best"], state["best_score"]
        self.step, self.seconds = state["step"], state["seconds"]
        self._checked = state["checked"]
        # Recomputed: the length may have changed since.
        self._spread_checks = math.floor(self.fraction * self.config.checks)
        self._checks_without_gain = state["checks_without_gain"]
        self._rate_factor = state["rate_factor"]

    def resume(self) -> bool:
        """Continue from the folder's checkpoint, if there is one; raises `TrainingError`."""
        path = self._folder / CHECKPOINT if self._folder else None
        if path is None or not path.exists():
            return False
        state = read_checkpoint(path, self._device, self._identity)
        try:
            self._restore(state)
        except (KeyError, RuntimeError, ValueError) as error:
            raise TrainingError(f"{path} belongs to another network: {error}") from error
        self._good = copy.deepcopy(self._state())
        drop_rows_after(path.with_name(LOG), self.step)
        return True


def _usual_means(losses: Tensor, norms: Tensor) -> tuple[float, float]:
    """Mean loss and norm of the steps that were not skipped; NaN if many were."""
    taken = torch.isfinite(norms)
    if float(taken.float().mean()) < 1 - _MOST_SKIPPED:
        return math.nan, math.nan
    return float(losses[taken].mean()), float(norms[taken].mean())


def _has_diverged(loss: float, usual: float, samples: int) -> bool:
    # If the rate is too high, the loss grows by ten to thirty times within some hundred steps and
    # stays there, finite. Between intervals of many samples it varies by far less.
    return not math.isfinite(loss) or (samples >= _MANY_SAMPLES and loss > _DIVERGED * usual)


def _copied(network: RedNet) -> Weights:
    return {name: value.clone() for name, value in network.state_dict().items()}


def prepare_folder(folder: Path) -> None:
    """Make a training folder and check that it can be written to.

    Raises `TrainingError` if it cannot, and `BusyError` if another job trains there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _claimed(folder):
            pass
    except OSError as error:
        raise TrainingError(f"the training cannot be kept in {folder}: {error}") from error


def _claimed(folder: Path) -> AbstractContextManager[None]:
    return claimed(folder / "training")


def start_anew(folder: Path, *, overwrite: bool = True) -> None:
    """Delete checkpoint and log of an earlier training; raises `TrainingError` if that fails.

    Unless `overwrite`, it raises that if there is a checkpoint, too.
    """
    if not overwrite and (folder / CHECKPOINT).exists():
        raise TrainingError(f"{folder} holds a training; add --resume, or remove it")
    try:
        (folder / CHECKPOINT).unlink(missing_ok=True)
    except OSError as error:
        raise TrainingError(f"the training in {folder} cannot be replaced: {error}") from error
    with suppress(OSError):  # if the log cannot be written, that is reported later
        (folder / LOG).unlink(missing_ok=True)


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint atomically; raises `TrainingError` if that fails, as on a full disk."""
    try:
        with replaced(path) as beside:
            torch.save(dict(state), beside)
    except (OSError, RuntimeError) as error:  # torch raises the latter for a full disk
        raise TrainingError(f"the checkpoint {path} cannot be written: {error}") from error


def read_checkpoint(path: Path, device: torch.device, identity: str = "") -> dict[str, Any]:
    """Read a checkpoint; raises `TrainingError` if it is damaged or has another identity."""
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise TrainingError(f"the checkpoint {path} cannot be read: {error}") from error
    found = state.get("identity", "")
    if found != identity:
        raise TrainingError(
            f"{path} belongs to another training: {found!r} instead of {identity!r}"
        )
    return state


def append_row(path: Path, row: Mapping[str, float]) -> None:
    """Append a row to a CSV file, with a header if the file is new."""
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if is_new:
            writer.writeheader()
        writer.writerow({k: v if isinstance(v, int) else f"{v:.6g}" for k, v in row.items()})


def read_rows(path: Path) -> list[dict[str, float]]:
    """The rows of a log; none if there is no file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["step"]]
    return [{k: int(v) if k == "step" else float(v) for k, v in row.items()} for row in rows]


def drop_rows_after(path: Path, step: int) -> None:
    """Remove the rows of a log that come after `step`."""
    kept = [row for row in read_rows(path) if row["step"] <= step]
    path.unlink(missing_ok=True)
    for row in kept:
        append_row(path, row)
