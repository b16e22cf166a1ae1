"""Train a model from its recipe, a TOML file with network, data, corruption and schedule."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_rednet.engine.degradations import (
    CORRUPTIONS,
    AnyCorruption,
    NoiseCorruption,
    StackSynthesis,
)
from napari_rednet.engine.network import (
    INITIALIZATIONS,
    NetworkConfig,
    RedNet,
    initialize,
    resolve_device,
    stack_inputs,
)
from napari_rednet.errors import TrainingError
from napari_rednet.models import Model, is_name, load_model
from napari_rednet.tasks import TASKS
from napari_rednet.training import TrainingConfig, TrainingStatus
from napari_rednet.training.batches import (
    CorruptedBatches,
    Corruption,
    DenoisingBatches,
    FloatArray,
    ImageFolder,
    PairFolders,
    PatchShape,
    held_out_files,
    image_files,
    normalized_planes,
)
from napari_rednet.training.growth import widened, without_biases
from napari_rednet.training.loop import Batch, Trainer
from napari_rednet.training.revival import revive

# Errors that invalid recipes raise; those of TOML are a kind of ValueError.
_WRONG = (OSError, KeyError, TypeError, AttributeError, ValueError)
# A multiple of every scale of super-resolution.
_VALIDATION_SIDE = 240
_VALIDATION_DRAWS = 3
_EXAMPLE_BATCHES = 16
_PATCH_KEYS = [field.name for field in fields(PatchShape)]


@dataclass(frozen=True)
class Start:
    """A trained model whose weights a training starts from.

    Without `noise`, the model is one for the same task. With `noise`, it is a denoiser: its second
    input, the noise map, is scaled by `noise` and becomes the second input of a network that has
    one; its other told noise is dropped. `revive` makes feature maps that are always 0 learn again,
    now and whenever they are found so. A network of more feature maps than the model begins by
    computing the same. `bias_level` is for a denoiser with biases and a network without: the
    standard deviation of the noise, as a fraction of the range, at which both do the same.
    """

    model: str
    noise: float | None = None
    revive: bool = False
    bias_level: float | None = None

    def copy_into(
        self,
        network: RedNet,
        task: str,
        draw: Callable[[], Tensor] | None = None,
        seed: int = 0,
    ) -> None:
        """Copy the model's weights into a network for a task; `draw` makes inputs of the network.

        They are needed where biases are to be replaced. Raises `ModelError` if there is no such
        model, and `TrainingError` if shapes differ in anything but what is said above.
        """
        found = load_model(self.model, task if self.noise is None else "denoise").network
        if self.bias_level is not None and draw is not None:
            found = without_biases(found, draw(), self.bias_level)
        if network.config.features > found.config.features:
            generator = torch.Generator().manual_seed(seed)
            found = widened(found, network.config.features, generator)
        state = found.state_dict()
        if self.noise is None:
            _add_neighbours(state, network.config.planes)
        else:
            _adapt_first_layer(state, self.noise, network.config.in_channels)
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            raise TrainingError(f"the network cannot start from {self.model}: {error}") from error


def _revive(network: RedNet, batches: Callable[[torch.Generator], Batch], seed: int) -> None:
    generator = torch.Generator(next(network.parameters()).device).manual_seed(seed)
    revive(network, _examples(batches, generator), generator)


def _examples(batches: Callable[[torch.Generator], Batch], generator: torch.Generator) -> Tensor:
    return torch.cat([batches(generator)[0] for _ in range(_EXAMPLE_BATCHES)])


def _adapt_first_layer(state: dict[str, Tensor], noise: float, channels: int) -> None:
    """Cut a denoiser's first layer down to the image and, for 2 channels, one scaled noise map."""
    first = state["conv.0.weight"]
    parts = [first[:, :1], noise * first[:, 1:2]]
    state["conv.0.weight"] = torch.cat(parts[:channels], 1)


def _add_neighbours(state: dict[str, Tensor], planes: int) -> None:
    """Let a denoiser of single planes see others too, which have no influence yet."""
    first = state["conv.0.weight"]
    added = 2 * (planes - 1)
    if first.shape[1] + added != TASKS["denoise"].channels_for(planes) or not added:
        return
    none = first.new_zeros((first.shape[0], added // 2, *first.shape[2:]))
    state["conv.0.weight"] = torch.cat([first[:, :1], none, first[:, 1:], none], 1)


@dataclass(frozen=True)
class Recipe:
    """The contents of a recipe file; see ``weights/README.md`` for its keys."""

    name: str
    task: str
    network: NetworkConfig
    training: TrainingConfig
    images: tuple[ImageFolder, ...]
    pairs: tuple[PairFolders, ...]
    corruption: NoiseCorruption | AnyCorruption
    patches: PatchShape
    stacks: StackSynthesis | None = None
    start: Start | None = None
    validation_stds: tuple[float, ...] = (25.0,)
    initialization: str = "he"


def read_recipe(path: Path) -> Recipe:
    """Read a recipe; raises `TrainingError` if the file cannot be used."""
    try:
        return as_recipe(tomllib.loads(path.read_text(encoding="utf-8")))
    except _WRONG as error:
        raise TrainingError(f"the recipe {path} cannot be used: {error}") from error


def as_recipe(values: Mapping[str, Any]) -> Recipe:
    """A recipe from its keys; raises `KeyError`, `TypeError` or `ValueError` for wrong ones."""
    task = values["task"]
    if task not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}, got {task!r}")
    network = NetworkConfig(**values["network"])
    _check_network(network, task, has_stacks="stacks" in values)
    if not is_name(values["name"]):
        # It names a folder, which must not lie elsewhere.
        raise ValueError(f"name must be one that a model can have, got {values['name']!r:.60}")
    if "pairs" in values and task != "denoise":
        raise ValueError(f"pairs of noisy and clean images are no use for {task}")
    initialization = values.get("initialization", INITIALIZATIONS[0])
    if initialization not in INITIALIZATIONS:
        raise ValueError(f"initialization must be one of {', '.join(INITIALIZATIONS)}")
    training = dict(values["training"])
    own = {key: training.pop(key) for key in _PATCH_KEYS if key in training}
    stds = tuple(training.pop("validation_stds", (25.0,)))
    corruption = NoiseCorruption if task == "denoise" else CORRUPTIONS[task]
    folders = [_with_tuples(entry) for entry in values["images"]]
    return Recipe(
        name=values["name"],
        task=task,
        network=network,
        training=TrainingConfig(**training),
        images=tuple(ImageFolder(**entry) for entry in folders),
        pairs=tuple(PairFolders(**entry) for entry in values.get("pairs", [])),
        corruption=corruption(**_with_tuples(values.get("corruption", {}))),
        patches=PatchShape(**own),
        stacks=StackSynthesis(network.planes, **values["stacks"]) if "stacks" in values else None,
        start=Start(**values["start"]) if "start" in values else None,
        validation_stds=stds,
        initialization=initialization,
    )


def _check_network(network: NetworkConfig, task: str, *, has_stacks: bool) -> None:
    channels = TASKS[task].channels_for(network.planes)
    if network.in_channels != channels:
        raise ValueError(f"in_channels must be {channels} for {task}, got {network.in_channels}")
    if network.planes > 1 and task != "denoise":
        raise ValueError(f"planes must be 1 for {task}, got {network.planes}")
    if has_stacks != (network.planes > 1):
        raise ValueError("stacks are for networks of several planes, and these need them")


def _with_tuples(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(v) if isinstance(v, list) else v for key, v in entry.items()}


def with_length(recipe: Recipe, minutes: float | None, steps: int | None) -> Recipe:
    """The recipe with another length of training, if one is given."""
    if minutes is None and steps is None:
        return recipe
    return replace(recipe, training=replace(recipe.training, minutes=minutes, steps=steps))


class RecipeTraining:
    """The training of a recipe: iterate over `run`, then take the `model`.

    The recipe's folders are relative to `data`; `folder` holds checkpoint and log. Images in the
    folder `validation` replace the held-out ones.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: Path,
        folder: Path,
        *,
        validation: Path | None = None,
        device: str = "auto",
    ) -> None:
        self.recipe = recipe
        self.device = resolve_device(device)
        network = RedNet(recipe.network)
        generator = torch.Generator().manual_seed(recipe.training.seed)
        initialize(network, generator, recipe.initialization)
        batches = _batches(recipe, recipe.patches, data, self.device)
        if recipe.start is not None:
            seed = recipe.training.seed
            draw = partial(_examples, batches, torch.Generator(self.device).manual_seed(seed))
            recipe.start.copy_into(network, recipe.task, lambda: draw().cpu(), seed)
        late = recipe.patches.late()
        self._batches = batches
        self._late_batches = _batches(recipe, late, data, self.device) if late else None
        tend = None
        if recipe.start is not None and recipe.start.revive:
            tend = partial(_revive, batches=batches, seed=recipe.training.seed)
            tend(network.to(self.device))
        self.trainer = Trainer(
            network,
            self._make_batch,
            recipe.training,
            self.device,
            validate=_validator(recipe, _validation_files(recipe, data, validation), self.device),
            folder=folder,
            tend=tend,
        )

    def run(self, *, overwrite: bool = True) -> Iterator[TrainingStatus]:
        """Train to the end, yielding a status at every interval; as `Trainer.run`."""
        return self.trainer.run(overwrite=overwrite)

    def _make_batch(self, generator: torch.Generator) -> Batch:
        if self._late_batches and self.trainer.fraction >= self.recipe.patches.late_from:
            return self._late_batches(generator)
        return self._batches(generator)

    def operations_per_patch(self) -> int:
        """Useful floating-point operations of a training step per patch, at the current patch size.

        The gradients of the feature maps and of the weights take as many as the restoration each.
        """
        patches = self.recipe.patches
        is_late = self.trainer.fraction >= patches.late_from
        side = patches.late_patch if is_late and patches.late_patch else patches.patch
        return 3 * self.recipe.network.operations_per_pixel() * side**2

    def model(self) -> Model:
        """The current model: the moving average of the weights."""
        network = RedNet(self.recipe.network)
        network.load_state_dict({k: v.cpu() for k, v in self.trainer.average.state_dict().items()})
        info = {
            "steps": self.trainer.step,
            "samples": self.trainer.step * self.recipe.patches.batch,  # of the first size
            "minutes": round(self.trainer.seconds / 60, 1),
            "device": torch.cuda.get_device_name(self.device)
            if self.device.type == "cuda"
            else "cpu",
            "seed": self.recipe.training.seed,
        }
        return Model(self.recipe.name, self.recipe.task, network.eval().requires_grad_(False), info)


def _batches(
    recipe: Recipe, shape: PatchShape, data: Path, device: torch.device
) -> Callable[[torch.Generator], Batch]:
    corruption = recipe.corruption
    if isinstance(corruption, NoiseCorruption):
        return DenoisingBatches(
            recipe.images, recipe.pairs, corruption, shape, data, device, recipe.stacks
        )
    return CorruptedBatches(recipe.images, corruption, corruption.margin, shape, data, device)


def _validation_files(recipe: Recipe, data: Path, folder: Path | None) -> list[Path]:
    if folder is not None:
        return image_files(folder)
    return [path for entry in recipe.images for path in held_out_files(entry, data)]


def _validator(
    recipe: Recipe, files: list[Path], device: torch.device
) -> Callable[[RedNet], float] | None:
    """Mean PSNR over images under corruptions of seed 0; None without validation images."""
    planes = [plane for path in files for plane in normalized_planes(path)]
    if isinstance(recipe.corruption, NoiseCorruption):
        cases = _noisy_cases(planes, recipe.validation_stds, recipe.network.planes)
    else:
        cases = _corrupted_cases(planes, recipe.corruption)
    if not cases:
        return None

    def validate(network: RedNet) -> float:
        with torch.no_grad():
            return float(np.mean([_psnr(network(x.to(device)).cpu(), y, w) for x, y, w in cases]))

    return validate


def _noisy_cases(planes: list[FloatArray], stds: tuple[float, ...], count: int = 1) -> list[Batch]:
    """Whole planes with Gaussian noise of each standard deviation, in gray levels.

    If a network sees `count` planes, these are repeats of one, and then such that are mirrored.
    """
    generator = torch.Generator().manual_seed(0)
    cases = []
    for std in stds:
        for plane in planes:
            clean = torch.from_numpy(plane)[None, None]
            for other in (clean, clean.flip(2, 3))[: 1 if count == 1 else 2]:
                side = other.expand(-1, count // 2, -1, -1)
                stack = torch.cat([side, clean, side], 1)
                noise = torch.randn(stack.shape, generator=generator) * (std / 255)
                inputs = stack_inputs(stack + noise, torch.full_like(stack, std / 255), 0.0, 0.0)
                cases.append((inputs, clean, torch.ones(1)))
    return cases


def _corrupted_cases(planes: list[FloatArray], corruption: Corruption) -> list[Batch]:
    """Square crops of the planes that are large enough, under several draws of the corruption."""
    generator = torch.Generator().manual_seed(0)
    side = _VALIDATION_SIDE
    return [
        corruption(torch.from_numpy(plane[:side, :side])[None, None], generator)
        for plane in planes
        if min(plane.shape) >= side
        for _ in range(_VALIDATION_DRAWS)
    ]


def _psnr(restored: Tensor, clean: Tensor, weights: Tensor) -> float:
    """PSNR over pixels of positive weight; known pixels of images with holes have weight 0."""
    counted = (weights > 0).expand_as(clean)
    return float(-10 * torch.log10((restored.float() - clean)[counted].square().mean()))
