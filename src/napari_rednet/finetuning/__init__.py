"""Adapt a model to one's own images; the kind of images decides on the method."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_rednet.arguments import (
    LARGEST_SEED,
    Noise,
    check_count,
    check_device_name,
    check_number,
)
from napari_rednet.execution import Progress, Steps, drain
from napari_rednet.finetuning.stacks import as_stacks

if TYPE_CHECKING:
    from napari_rednet.arguments import ModelLike
    from napari_rednet.finetuning.planning import Schedule
    from napari_rednet.finetuning.session import FineTuning
    from napari_rednet.models import Model

METHODS = ("paired", "clean", "pseudo-clean")

_PER_MILLE = 1000
_RATE, _BATCH = 3e-4, 8


def fine_tune(
    images: Any = None,
    targets: Any = None,
    *,
    task: str = "denoise",
    model: ModelLike = "fast",
    minutes: float = 10.0,
    steps: int | None = None,
    channel_axis: int | None = None,
    noise: Noise | Sequence[Noise] | None = None,
    method: str | None = None,
    batch: int | None = None,
    patch: int = 64,
    rate: float | None = None,
    seed: int = 0,
    device: str = "auto",
    name: str | None = None,
    folder: str | os.PathLike[str] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool | Progress = False,
) -> Model:
    """Adapt a model to your own kind of images.

    The arguments decide on the method. For denoising:

    - `images` and `targets`, noisy and clean images of the same scenes: from the pairs;
    - `targets` alone: from clean images, to which noise is added;
    - `images` alone: from noisy images, without any clean one.

    For super-resolution, deblocking and inpainting, `images` are good images, which are degraded
    for training. (Deblocking also takes pairs.)

    Parameters
    ----------
    images, targets : (..., Y, X) array, path, or a list of them
        Stacks of any axes, dtypes and sizes: numpy, dask, zarr or memory-mapped; or image files, or
        folders of them. Targets have the shapes of the images. Their intensities may differ
        by a gain and an offset, which are fitted for every stack and channel.
    task : {'denoise', 'super_resolve', 'deblock', 'inpaint'}
        Task of the model.
    model : str, path or Model
        The model to start from: 'fast', a name that `list_models` tells, or a file.
    minutes, steps : float, int
        How long to train; `steps`, if given, decides.
    channel_axis : int, optional
        Axis of the channels of arrays; all channels are learnt from. Files know theirs.
    noise : float, NoiseModel, or a sequence of one of them per channel, optional
        Noise of noisy images, in their units, if it is known; it is estimated otherwise. With
        targets alone: the noise to add, in units of the targets. If None, noise of many levels.
    method : {'paired', 'clean', 'pseudo-clean'}, optional
        Another method than the default. 'clean', with both given: `images` need not show the
        scenes of `targets`; only their noise is measured. 'pseudo-clean' (Restore from restored
        [1]_), the method for noisy images alone, learns from results of the base model.
    batch : int, optional
        Patches of a batch; 8 if not given.
    patch : int
        Side of the patches in pixels.
    rate : float, optional
        Peak learning rate; 0.0003 if not given.
    seed : int
        Seed of all that is random.
    device : {'auto', 'cpu', 'cuda', 'cuda:N', 'mps'}
        Where to compute.
    name : str, optional
        Name of the new model.
    folder : path, optional
        Folder for checkpoint, log, best and last model, so that the training can be resumed.
    resume : bool
        Continue from the checkpoint in `folder`.
    overwrite : bool
        Start anew although `folder` holds a training, which is lost when this one begins.
    progress : bool or callable
        True shows a progress bar; a callable receives (per mille done, 1000).

    Returns
    -------
    model : Model
        The best one found, on images or parts of them that were held out from the training. If
        none was better than `model`, it has its weights, and a warning says so.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described here; nothing has been computed then.
    TrainingError
        If there is nothing to learn, the folder cannot be written to, or the loss explodes.
    ModelError
        If the model is unknown, damaged, or made for another task.

    References
    ----------
    .. [1] S. Lee et al., "Restore from restored", arXiv:2003.04721.

    Examples
    --------
    >>> import numpy as np
    >>> from skimage import data
    >>> clean = data.cell()[:200, :200]
    >>> noisy = np.random.default_rng(0).poisson(clean)
    >>> fine_tune(noisy, clean, steps=1, name="cells")
    Model('cells', task='denoise', layers=20, stride=2, features=64)
    """
    tuning = prepare_fine_tuning(
        images,
        targets,
        task=task,
        model=model,
        minutes=minutes,
        steps=steps,
        channel_axis=channel_axis,
        noise=noise,
        method=method,
        batch=batch,
        patch=patch,
        rate=rate,
        seed=seed,
        device=device,
        name=name,
        folder=folder,
        resume=resume,
        overwrite=overwrite,
    )
    drain(_as_steps(tuning), progress, "fine-tune")
    if tuning.trainer.best_score <= 0:
        warnings.warn(
            f"nothing better than {tuning.plan.base.name} was found; the model has its weights",
            stacklevel=2,
        )
    return tuning.model()


def prepare_fine_tuning(
    images: Any = None,
    targets: Any = None,
    *,
    task: str = "denoise",
    model: ModelLike = "fast",
    minutes: float = 10.0,
    steps: int | None = None,
    channel_axis: int | None = None,
    noise: Noise | Sequence[Noise] | None = None,
    method: str | None = None,
    batch: int | None = None,
    patch: int = 64,
    rate: float | None = None,
    seed: int = 0,
    device: str = "auto",
    name: str | None = None,
    folder: str | os.PathLike[str] | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> FineTuning:
    """`fine_tune`, step by step: check the arguments and read the images, but do not train yet.

    Returns
    -------
    tuning : FineTuning
        Iterate over its `run`; then its `model` is what `fine_tune` returns.
    """
    check_device_name(device)
    from napari_rednet.engine.network import resolve_device
    from napari_rednet.finetuning.planning import TrainingData, make_plan
    from napari_rednet.finetuning.session import FineTuning
    from napari_rednet.models import load_model_for
    from napari_rednet.tasks import TASKS

    if task not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}, got {task!r}")
    chosen = choose_method(task, method, images=images is not None, targets=targets is not None)
    schedule = _schedule(minutes, steps, rate, seed, batch, patch)
    resolve_device(device)
    base = load_model_for(task, model)
    data = TrainingData(
        None if images is None else as_stacks("images", images, channel_axis),
        None if targets is None else as_stacks("targets", targets, channel_axis),
        noise,
        device,
    )
    kept = _check_folder(folder, resume, overwrite)
    plan = make_plan(data, chosen, base, schedule, name or f"{base.name}-tuned")
    tuning = FineTuning(plan, device, kept)
    if resume:
        tuning.resume()
    return tuning


def _as_steps(tuning: FineTuning) -> Steps:
    for status in tuning.run():
        yield round(_PER_MILLE * status.fraction), _PER_MILLE


def _schedule(
    minutes: float, steps: int | None, rate: float | None, seed: int, batch: int | None, patch: int
) -> Schedule:
    from napari_rednet.finetuning.planning import Schedule

    if steps is None:
        check_number("minutes", minutes)
    for name, value, least in (("steps", steps, 1), ("batch", batch, 1), ("patch", patch, 24)):
        if value is not None:
            check_count(name, value, least)
    if rate is not None:
        check_number("rate", rate)
        if rate == 0:
            raise ValueError("rate must be above 0")
    return Schedule(
        minutes,
        steps,
        _RATE if rate is None else rate,
        check_count("seed", seed, 0, LARGEST_SEED),
        _BATCH if batch is None else batch,
        patch,
    )


def _check_folder(
    folder: str | os.PathLike[str] | None, resume: bool, overwrite: bool
) -> Path | None:
    from napari_rednet.training.loop import CHECKPOINT, prepare_folder

    if folder is None:
        if resume:
            raise ValueError("resume needs the folder of the training")
        return None
    path = Path(folder)
    prepare_folder(path)
    if (path / CHECKPOINT).exists() and not resume and not overwrite:
        raise ValueError(f"{path} holds a training; resume it, or overwrite it")
    return path


def choose_method(task: str, method: str | None, *, images: bool, targets: bool) -> str:
    """The method for what is given; raises `ValueError` if `method` is unknown or does not fit."""
    if method is not None and method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if not images and not targets:
        raise ValueError("give images, targets (clean images), or both")
    possible = _possible(task, images, targets)
    if not possible:
        raise ValueError(
            f"{task} learns from clean images alone, given as images, and makes its own bad ones"
        )
    if method is None:
        return possible[0]
    if method not in possible:
        raise ValueError(
            f"method {method!r} does not go with what is given; possible: {', '.join(possible)}"
        )
    return method


def _possible(task: str, images: bool, targets: bool) -> tuple[str, ...]:
    if task == "denoise":
        if not targets:
            return ("pseudo-clean",)
        return ("paired", "clean") if images else ("clean",)
    if not targets:
        return ("clean",)
    return ("paired",) if task == "deblock" and images else ()
