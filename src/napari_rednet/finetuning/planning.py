"""From what a user gives to the plan of a fine-tuning."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
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
from napari_rednet.engine.training import TrainingConfig
from napari_rednet.finetuning.choice import SINGLE, repeating_axis
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

# Peak learning rates. Noisy targets make noisy gradients, which only small steps average out.
_RATES = {
    "paired": 3e-4,
    "clean": 3e-4,
    "neighbors": 3e-5,
    "blind-spot": 3e-5,
    "subsampled": 3e-5,
}
_CHECKS = 20
_CHECK_INTERVAL = 500


@dataclass(frozen=True)
class Schedule:
    """How long and how to train; the rate depends on the method if it is None."""

    minutes: float
    steps: int | None
    rate: float | None
    seed: int
    batch: int
    patch: int

    def config(self, method: str) -> TrainingConfig:
        """The configuration of the training loop."""
        return TrainingConfig(
            steps=self.steps,
            minutes=None if self.steps is not None else self.minutes,
            rate=_RATES[method] if self.rate is None else self.rate,
            warm_up=50,
            interval=10,
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
    axis = None
    if method in (None, "neighbors"):
        axis = repeating_axis(given.images or [], given.noisy_settings())
        if axis is None and method is not None:
            raise ValueError(
                "neighboring planes do not show the same scene, or there is only one; "
                f"take {' or '.join(repr(m) for m in (SINGLE, 'blind-spot'))}"
            )
        method = SINGLE if axis is None else "neighbors"
    maker = _METHODS[method]
    examples, taught = maker(given, base, axis)
    training, held_out = split(examples, schedule.patch + 2 * taught.margin)
    return Plan(
        name=name,
        base=base,
        method=taught,
        method_name=method,
        training=training,
        held_out=held_out,
        has_clean_targets=method in ("paired", "clean"),
        config=schedule.config(method),
        batch=schedule.batch,
        patch=schedule.patch,
        info=_info(given, examples, base),
    )


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
    """Noise of the user's cameras, for images whose range is 0 to 1."""
    if given.noise is None:
        stacks, settings_of = given.images or [], given.noisy_settings()
        return [_normalized(settings_of(s, c)) for s in stacks for c in range(s.layout.channels)]
    found = []
    for stack in given.targets or []:
        for channel, model in enumerate(noise_per_channel(given.noise, stack.layout) or []):
            found.append(_normalized(replace(_by_range(stack, channel), noise=model)))
    return found


def _normalized(setting: ChannelSettings) -> NoiseModel:
    noise = setting.noise or NoiseModel()
    return noise.normalized(setting.scale.low, setting.scale.span)


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
    settings = given.noisy_settings() if base.task == "denoise" and given.images else _by_range
    first = settings(given.first, 0)
    info["normalization"] = {
        "low": first.scale.low,
        "high": first.scale.high,
        "percentiles": list(PERCENTILES),
    }
    if base.task == "denoise":
        models = _noise_models(given)
        if models:
            info["noise_model"] = asdict(_typical(models))
    return info


def _typical(models: Sequence[NoiseModel]) -> NoiseModel:
    """The median of noise models, parameter by parameter."""
    values = np.median([(m.gain, m.offset, m.read_noise) for m in models], axis=0)
    return NoiseModel(*map(float, values))


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
