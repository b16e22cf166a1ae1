"""From what a user gives to the plan of a fine-tuning."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from importlib.metadata import version
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_rednet.arguments import Noise, noise_per_channel
from napari_rednet.engine.degradations import (
    CameraNoise,
    EnlargementCorruption,
    HoleCorruption,
    JpegCorruption,
    NoiseCorruption,
)
from napari_rednet.engine.intensity import PERCENTILES, measure_range
from napari_rednet.engine.noise_model import NoiseModel
from napari_rednet.engine.planes import ChannelSettings
from napari_rednet.engine.schedule import TrainingConfig
from napari_rednet.finetuning.choice import FROM_NOISY, SINGLE, repeating_axis
from napari_rednet.finetuning.examples import (
    Example,
    SettingsOf,
    clean_settings,
    noisy_settings,
    read_examples,
    split,
)
from napari_rednet.finetuning.methods import (
    BlindSpot,
    Corrupted,
    Method,
    Neighbors,
    Paired,
    Subsampled,
)
from napari_rednet.finetuning.session import Plan
from napari_rednet.finetuning.stacks import Stack
from napari_rednet.zoo import Model

# Peak learning rate and patches of a batch. Noisy targets make noisy gradients, which only small
# steps and large batches average out; and few numbers are learnt then, lest the noise be learnt.
_RATES = {
    "paired": 3e-4,
    "clean": 3e-4,
    "neighbors": 1e-4,
    "blind-spot": 1e-4,
    "subsampled": 1e-4,
}
_BATCH, _BATCH_OF_NOISY = 8, 32
_PULSE = 0.5
_CHECKS = 20
_CHECK_INTERVAL = 500


@dataclass(frozen=True)
class Schedule:
    """How long and how to train; rate and batch depend on the method if they are None."""

    minutes: float
    steps: int | None
    rate: float | None
    seed: int
    batch: int | None
    patch: int

    def batch_of(self, method: str) -> int:
        """Patches of a batch."""
        if self.batch is not None:
            return self.batch
        return _BATCH_OF_NOISY if method in FROM_NOISY else _BATCH

    def config(self, method: str) -> TrainingConfig:
        """The configuration of the training loop."""
        return TrainingConfig(
            steps=self.steps,
            minutes=None if self.steps is not None else self.minutes,
            rate=_RATES[method] if self.rate is None else self.rate,
            factors_only=method in FROM_NOISY,
            warm_up=50,
            interval=10,
            pulse=_PULSE,
            check_interval=_CHECK_INTERVAL,
            checks=_CHECKS,
            patience=_CHECKS // 2,
            seed=self.seed,
        )


@dataclass(frozen=True)
class Given:
    """What the user gives: images, clean targets, and what is known of the noise."""

    images: Sequence[Stack] | None
    targets: Sequence[Stack] | None
    noise: Noise | Sequence[Noise] | None = None

    def __post_init__(self) -> None:
        for stack in [*(self.images or []), *(self.targets or [])]:
            noise_per_channel(self.noise, stack.layout)

    @property
    def first(self) -> Stack:
        """The first of all stacks."""
        return (self.images or self.targets or [])[0]

    def check_pairs(self) -> None:
        """Raise unless images and targets match in number and shapes."""
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

    def noisy_settings(self) -> SettingsOf:
        """How noisy images are presented."""

        def settings(stack: Stack, channel: int) -> ChannelSettings:
            known = noise_per_channel(self.noise, stack.layout)
            return noisy_settings(known)(stack, channel)

        return settings


def make_plan(given: Given, method: str | None, base: Model, schedule: Schedule, name: str) -> Plan:
    """Read the images and choose the way to learn, where that depends on them."""
    check_patch(base.task, schedule.patch)
    axis = None
    if method in (None, "neighbors"):
        axis = repeating_axis(given.images or [], given.noisy_settings())
        if axis is None and method is not None:
            raise ValueError(
                "neighboring planes do not show the same scene, or there is only one; "
                f"take {SINGLE!r}"
            )
        method = SINGLE if axis is None else "neighbors"
    maker = _METHODS[method]
    examples, taught = maker(given, base, axis)
    side = schedule.patch + 2 * taught.margin
    # Neighbours share a plane: held-out ones would be trained on.
    training, held_out = split(examples, side, by_planes=method != "neighbors")
    return Plan(
        name=name,
        base=base,
        method=taught,
        method_name=method,
        training=training,
        held_out=held_out,
        has_clean_targets=method in ("paired", "clean"),
        config=schedule.config(method),
        batch=schedule.batch_of(method),
        patch=schedule.patch,
        rehearses=base.task == "denoise" and method not in FROM_NOISY,
        info=_info(given, examples, base),
    )


def check_patch(task: str, patch: int) -> None:
    """Raise unless patches can be made smaller by all factors of super-resolution."""
    corruption = EnlargementCorruption()
    side = patch + 2 * corruption.margin
    if task == "super_resolve" and any(side % scale for scale in corruption.scales):
        raise ValueError(f"patch must be 64, 76, 88 or so (12 n + 4) for {task}, got {patch}")


def _paired(given: Given, base: Model, _: int | None) -> tuple[list[Example], Method]:
    given.check_pairs()
    is_denoiser = base.task == "denoise"
    settings = given.noisy_settings() if is_denoiser else clean_settings
    examples = read_examples(given.images or [], settings, targets=given.targets)
    return examples, Paired(is_denoiser)


def _noisy(method: Method, given: Given, axis: int | None) -> tuple[list[Example], Method]:
    return read_examples(given.images or [], given.noisy_settings(), axis=axis), method


def _clean(given: Given, base: Model, _: int | None) -> tuple[list[Example], Method]:
    if base.task != "denoise":
        corruption = _CORRUPTIONS[base.task]()
        examples = read_examples(given.images or [], clean_settings)
        return examples, Corrupted(corruption, corruption.margin)
    examples = read_examples(given.targets or [], _by_range)
    models = _noise_models(given)
    if models:
        return examples, Corrupted(CameraNoise(models))
    return examples, Corrupted(_broad_noise)


def _broad_noise(clean: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Noise of many levels, for cameras that nothing is known of."""
    noisy, std = NoiseCorruption()(clean, generator)
    return torch.cat([noisy, std], 1), clean


def _by_range(stack: Stack, channel: int) -> ChannelSettings:
    return ChannelSettings(measure_range(stack.samples(channel)))


def _noise_models(given: Given) -> list[NoiseModel]:
    """Noise of the user's cameras, in the network's units."""
    settings = [_setting(given, stack, channel) for stack, channel in _noisy_channels(given)]
    return [s.noise.normalized(s.scale.low, s.scale.span) for s in settings if s.noise is not None]


def _noisy_channels(given: Given) -> list[tuple[Stack, int]]:
    """Channels whose noise is known or can be estimated."""
    known = given.images or (given.targets if given.noise is not None else None) or []
    return [(stack, channel) for stack in known for channel in range(stack.layout.channels)]


def _setting(given: Given, stack: Stack, channel: int) -> ChannelSettings:
    """How a channel is presented; clean ones are to get the noise that is given."""
    if given.images:
        return given.noisy_settings()(stack, channel)
    models = noise_per_channel(given.noise, stack.layout) or []
    return replace(_by_range(stack, channel), noise=models[channel])


def _info(given: Given, examples: Sequence[Example], base: Model) -> dict[str, Any]:
    """What the model file says of where the model comes from."""
    info: dict[str, Any] = {
        "base": base.name,
        "version": version("napari-rednet"),
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d"),
        "data": {
            "stacks": len(given.images or given.targets or []),
            "planes": len(examples),
            "pixels": sum(e.rows["image"].size for e in examples),
            "dtype": str(given.first.array.dtype),
        },
    }
    scale = _by_range(given.first, 0).scale
    info["normalization"] = {
        "low": scale.low,
        "high": scale.high,
        "percentiles": list(PERCENTILES),
    }
    if base.task == "denoise" and _noisy_channels(given):
        info["noise_model"] = asdict(_typical_noise(given))
    return info


def _typical_noise(given: Given) -> NoiseModel:
    """The median of the noise of all channels, for images whose range is 0 to 1."""
    values = []
    for stack, channel in _noisy_channels(given):
        noise, scale = _setting(given, stack, channel).noise, _by_range(stack, channel).scale
        if noise is not None:
            values.append(astuple(noise.normalized(scale.low, scale.span)))
    return NoiseModel(*map(float, np.median(values, axis=0)))


_CORRUPTIONS: Mapping[str, type[EnlargementCorruption | JpegCorruption | HoleCorruption]] = (
    MappingProxyType(
        {
            "super_resolve": EnlargementCorruption,
            "deblock": JpegCorruption,
            "inpaint": HoleCorruption,
        }
    )
)
_METHODS: Mapping[str, Callable[[Given, Model, int | None], tuple[list[Example], Method]]] = (
    MappingProxyType(
        {
            "paired": _paired,
            "clean": _clean,
            "neighbors": lambda given, _, axis: _noisy(Neighbors(), given, axis),
            "blind-spot": lambda given, _, axis: _noisy(BlindSpot(), given, axis),
            "subsampled": lambda given, _, axis: _noisy(Subsampled(), given, axis),
        }
    )
)
