"""Make the plan of a fine-tuning from what the user gives."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field, replace
from functools import partial
from importlib.metadata import version
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from napari_rednet.arguments import Noise, noise_per_channel
from napari_rednet.engine.channel import PERCENTILES, IntensityRange, NoiseModel, measure_range
from napari_rednet.engine.degradations import (
    CORRUPTIONS,
    CameraNoise,
    EnlargementCorruption,
    NoiseCorruption,
)
from napari_rednet.engine.network import RedNet, resolve_device
from napari_rednet.engine.planes import ChannelSettings, evenly
from napari_rednet.engine.streaming import NetworkRunner
from napari_rednet.execution.reading import as_coded, by_range
from napari_rednet.finetuning.examples import (
    Example,
    FloatArray,
    by_channel,
    read_examples,
    split,
)
from napari_rednet.finetuning.methods import TOLD, Corrupted, Method, Paired, PseudoClean
from napari_rednet.finetuning.session import Plan
from napari_rednet.finetuning.stacks import Stack
from napari_rednet.models import Model
from napari_rednet.restoration.denoise import denoise_settings
from napari_rednet.training import TrainingConfig

_MOST_MEASURED = 12
_PULSE = 0.5
_CHECKS = 20
_CHECK_INTERVAL = 500


def with_restored(
    examples: Sequence[Example], network: RedNet, device: torch.device
) -> list[Example]:
    """Add the denoiser's result for each example as 'restored', normalised to 0 to 1."""
    runner = NetworkRunner(network, device)
    return [found for group in by_channel(examples) for found in _with_restored(group, runner)]


def _with_restored(group: Sequence[Example], runner: NetworkRunner) -> Iterator[Example]:
    images = [_restored(example, runner) for example in group]
    scale = measure_range(evenly(images, _MOST_MEASURED))
    for example, image in zip(group, images, strict=True):
        normal = ((image - scale.low) / scale.span).astype(np.float32)
        yield replace(example, rows={**example.rows, "restored": normal})


@torch.inference_mode()
def _restored(example: Example, runner: NetworkRunner) -> FloatArray:
    rows = (example.rows[name].astype(np.float32) for name in ("image", *TOLD))
    inputs = torch.stack([torch.from_numpy(row) for row in rows])[None].to(runner.device)
    return runner.run(inputs)[0, 0].cpu().numpy()


@dataclass(frozen=True)
class Schedule:
    """Length and settings of the training."""

    minutes: float
    steps: int | None
    rate: float
    seed: int
    batch: int
    patch: int

    @property
    def config(self) -> TrainingConfig:
        """The configuration of the training loop."""
        return TrainingConfig(
            steps=self.steps,
            minutes=None if self.steps is not None else self.minutes,
            rate=self.rate,
            warm_up=50,
            interval=10,
            pulse=_PULSE,
            check_interval=_CHECK_INTERVAL,
            checks=_CHECKS,
            patience=_CHECKS // 2,
            seed=self.seed,
        )


@dataclass(frozen=True)
class TrainingData:
    """The user's images, clean targets, known noise, and device."""

    images: Sequence[Stack] | None
    targets: Sequence[Stack] | None
    noise: Noise | Sequence[Noise] | None = None
    device: str = "auto"
    _measured: dict[tuple[Stack, int], tuple[ChannelSettings, IntensityRange]] = field(
        default_factory=dict, init=False, repr=False
    )

    def __post_init__(self) -> None:
        for stack in [*(self.images or []), *(self.targets or [])]:
            noise_per_channel(self.noise, stack.layout.channels)

    @property
    def first(self) -> Stack:
        """The first of all stacks."""
        return (self.images or self.targets or [])[0]

    def check_pairs(self) -> None:
        """Raise `ValueError` unless images and targets match in number and shapes."""
        images, targets = self.images or [], self.targets or []
        if len(images) != len(targets):
            raise ValueError(
                f"targets must be as many as images, got {len(targets)} for {len(images)}"
            )
        for image, target in zip(images, targets, strict=True):
            if image.layout.shape != target.layout.shape:
                raise ValueError(
                    f"targets must have the shapes of the images, got {target.layout.shape} "
                    f"({target.name}) for {image.layout.shape} ({image.name})"
                )

    def as_noisy(self, stack: Stack, channel: int) -> ChannelSettings:
        """Settings of a noisy image, as `denoise` measures them."""
        return self._measure(stack, channel)[0]

    def cameras(self) -> list[NoiseModel]:
        """Noise models of all channels whose noise is known, in units of their normalised range."""
        if self.images is None and self.noise is None:
            return []
        # With targets alone, the given noise is the one to add to them.
        stacks = self.images or self.targets or []
        measured = [self._measure(s, c) for s in stacks for c in range(s.layout.channels)]
        return [s.noise.normalized(r.low, r.span) for s, r in measured if s.noise]

    def _measure(self, stack: Stack, channel: int) -> tuple[ChannelSettings, IntensityRange]:
        """Settings and range of a channel; cached, since measuring takes time."""
        key = stack, channel
        if key not in self._measured:
            known = noise_per_channel(self.noise, stack.layout.channels)
            noise = None if known is None else known[channel]
            samples = stack.samples(channel)
            self._measured[key] = denoise_settings(samples, noise, 1.0), samples.range
        return self._measured[key]


def make_plan(data: TrainingData, method: str, base: Model, schedule: Schedule, name: str) -> Plan:
    """Read the images and plan the training."""
    _check_patch(base.task, schedule.patch)
    examples, taught = _METHODS[method](data, base)
    side = schedule.patch + 2 * taught.margin
    training, held_out = split(examples, side)
    return Plan(
        name=name,
        base=base,
        method=taught,
        method_name=method,
        training=training,
        held_out=held_out,
        config=schedule.config,
        batch=schedule.batch,
        patch=schedule.patch,
        rehearses=base.task == "denoise",
        info=_info(data, examples, base),
    )


def _check_patch(task: str, patch: int) -> None:
    """Raise unless all factors of super-resolution divide the patch with its margins."""
    corruption = EnlargementCorruption()
    side = patch + 2 * corruption.margin
    if task == "super_resolve" and any(side % scale for scale in corruption.scales):
        raise ValueError(f"patch must be 64, 76, 88 or so (12 n + 4) for {task}, got {patch}")


def _paired(data: TrainingData, base: Model) -> tuple[list[Example], Method]:
    data.check_pairs()
    is_denoiser = base.task == "denoise"
    settings = data.as_noisy if is_denoiser else partial(as_clean, base.task)
    examples = read_examples(data.images or [], settings, targets=data.targets)
    return examples, Paired(is_denoiser)


def _pseudo_clean(data: TrainingData, base: Model) -> tuple[list[Example], Method]:
    examples = read_examples(data.images or [], data.as_noisy)
    restored = with_restored(examples, base.network, resolve_device(data.device))
    return restored, PseudoClean(CameraNoise(data.cameras()))


def _clean(data: TrainingData, base: Model) -> tuple[list[Example], Method]:
    images = data.targets if base.task == "denoise" else data.images
    examples = read_examples(images or [], partial(as_clean, base.task))
    if base.task != "denoise":
        corruption = CORRUPTIONS[base.task]()
        return examples, Corrupted(corruption, corruption.margin)
    cameras = data.cameras()
    # Unknown cameras get noise of many levels.
    return examples, Corrupted(CameraNoise(cameras) if cameras else NoiseCorruption(margin=0))


def as_clean(task: str, stack: Stack, channel: int) -> ChannelSettings:
    """Settings of a good image, measured as the task's function measures degraded ones."""
    is_coded = task == "deblock" and stack.array.dtype == np.uint8
    return (as_coded if is_coded else by_range)(stack.samples(channel), channel)


def _info(data: TrainingData, examples: Sequence[Example], base: Model) -> dict[str, Any]:
    info: dict[str, Any] = {
        "base": base.name,
        "version": version("napari-rednet"),
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d"),
        "data": {
            "stacks": len(data.images or data.targets or []),
            "planes": len(examples),
            "pixels": sum(e.rows["image"].size for e in examples),
            "dtype": str(data.first.array.dtype),
        },
    }
    scale = as_clean(base.task, data.first, 0).scale
    info["normalization"] = {
        "low": scale.low,
        "high": scale.high,
        "percentiles": list(PERCENTILES),
    }
    cameras = data.cameras() if base.task == "denoise" else []
    if cameras:
        typical = np.median([astuple(camera) for camera in cameras], axis=0)
        info["noise_model"] = asdict(NoiseModel(*map(float, typical)))
    return info


_METHODS: Mapping[str, Callable[[TrainingData, Model], tuple[list[Example], Method]]] = (
    MappingProxyType({"paired": _paired, "clean": _clean, "pseudo-clean": _pseudo_clean})
)
