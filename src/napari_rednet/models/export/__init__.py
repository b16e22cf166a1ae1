"""Export models for other programs: as an ONNX graph, or as a package for bioimage.io."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari_rednet.engine.channel import NoiseModel
from napari_rednet.errors import ModelError
from napari_rednet.models.export.bioimageio import write_bioimageio
from napari_rednet.models.export.contents import (
    AnyModel,
    Contents,
    described,
    make_sample,
    task_tags,
)
from napari_rednet.models.export.onnx import write_onnx

__all__ = ["export_model"]

_WRITERS = {".onnx": write_onnx, ".zip": write_bioimageio}


def export_model(
    model: AnyModel,
    path: str | os.PathLike[str],
    *,
    noise: float | NoiseModel | None,
    sample: Any,
    authors: Sequence[str],
    license: str,  # noqa: A002 - the word of `Model.export`
    description: str | None,
    tags: Sequence[str],
    overwrite: bool,
) -> None:
    """Implementation of `Model.export`, which documents it."""
    target = Path(path)
    if target.suffix not in _WRITERS:
        raise ValueError(f"path must end in {' or '.join(_WRITERS)}, got {target.name!r}")
    if not target.parent.is_dir():
        raise ModelError(f"the model cannot be exported: there is no folder {target.parent}")
    if not license.strip():
        raise ValueError("license must be an SPDX identifier such as BSD-3-Clause, got none")
    _check_channels(model)
    told = _noise_of(model, noise)
    contents = Contents(
        model,
        told,
        make_sample(model, told, sample),
        _words("authors", authors),
        license,
        description or described(model, told),
        task_tags(model.task, _words("tags", tags)),
    )
    _WRITERS[target.suffix](contents, target, overwrite=overwrite)


def _words(name: str, given: Sequence[str]) -> tuple[str, ...]:
    if isinstance(given, str) or not all(isinstance(word, str) for word in given):
        raise TypeError(f"{name} must be a sequence of strings, got {given!r}")
    return tuple(given)


def _check_channels(model: AnyModel) -> None:
    from napari_rednet.tasks import TASKS

    config = model.config
    if config.planes > 1:
        raise ModelError(
            f"{model.name!r} sees neighbouring planes, which the formats of other programs do not "
            "provide for"
        )
    expected = TASKS[model.task].in_channels
    if (config.in_channels, config.out_channels) != (expected, 1):
        raise ModelError(
            f"{model.name!r} cannot be exported: a model of {model.task} has {expected} channels "
            f"in and 1 out, this one {config.in_channels} and {config.out_channels}"
        )


def _noise_of(model: AnyModel, noise: float | NoiseModel | None) -> NoiseModel | None:
    """Noise model for normalised images: the given one, or that of the model."""
    if model.task != "denoise":
        if noise is not None:
            raise ValueError(f"noise is for denoising; {model.name!r} is for {model.task}")
        return None
    if noise is None:
        return _stored_noise(model)
    told = noise if isinstance(noise, NoiseModel) else NoiseModel(read_noise=float(noise))
    if not 0 < told.std(1.0) <= 1:
        raise ValueError(
            "noise must be that of an image whose range is 0 to 1: its standard deviation at 1 "
            f"must be above 0 and at most 1, got {told.std(1.0):.4g}"
        )
    return told


def _stored_noise(model: AnyModel) -> NoiseModel:
    stored = model.info.get("noise_model")
    if stored is None:
        raise ModelError(
            f"{model.name!r} denoises images of any noise, and other programs cannot say which; "
            "pass noise=, a standard deviation or NoiseModel in units of the normalised range 0..1 "
            "(napari_rednet.estimate_noise(image).normalized(low, high - low))"
        )
    return NoiseModel(**{name: float(value) for name, value in stored.items()})
