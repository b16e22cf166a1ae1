"""Train a model as its recipe, a TOML file, says.

The recipe is the record of a model: network, data, corruption and schedule. The weights in
``weights/`` lie beside the recipes that made them.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_rednet.engine.degradations import NoiseCorruption
from napari_rednet.engine.devices import resolve_device
from napari_rednet.engine.intensity import measure_range
from napari_rednet.engine.network import NetworkConfig, RedNet, initialize
from napari_rednet.engine.noise_map import smooth_signal
from napari_rednet.engine.patches import PatchSampler
from napari_rednet.engine.training import Batch, Trainer, TrainingConfig, TrainingStatus
from napari_rednet.errors import TrainingError
from napari_rednet.io.planes import read_planes
from napari_rednet.noise import fit_noise
from napari_rednet.zoo.model import TASKS, Model

FloatArray = npt.NDArray[np.float32]
_SMALLEST_MEAN_NOISE = 0.02


@dataclass(frozen=True)
class ImageFolder:
    """Clean images for training: where they lie and which share of the patches they give.

    `scales` adds smaller versions of every image: other textures, and less of the noise that
    clean micrographs still have.
    """

    folder: str
    share: float
    scales: tuple[float, ...] = (1.0,)


@dataclass(frozen=True)
class PairFolders:
    """Real noisy images and the clean images of the same name that belong to them."""

    noisy: str
    clean: str
    share: float


@dataclass(frozen=True)
class Recipe:
    """What a recipe file says; see ``weights/README.md`` for its keys."""

    name: str
    task: str
    network: NetworkConfig
    training: TrainingConfig
    images: tuple[ImageFolder, ...]
    pairs: tuple[PairFolders, ...]
    corruption: NoiseCorruption
    patch: int = 64
    batch: int = 8
    validation_stds: tuple[float, ...] = (25.0,)


def read_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises
    ------
    TrainingError
        If the file is missing, is no TOML, or has unknown or wrong keys.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        return _recipe(values)
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise TrainingError(f"the recipe {path} cannot be used: {error}") from error


def _recipe(values: dict[str, Any]) -> Recipe:
    if values["task"] not in TASKS:
        raise ValueError(f"task must be one of {TASKS}, got {values['task']!r}")
    network = NetworkConfig(**values["network"])
    if network.in_channels != 2:
        raise ValueError(
            f"in_channels must be 2, the image and its noise map, got {network.in_channels}"
        )
    training = dict(values["training"])
    own = {key: training.pop(key) for key in ("patch", "batch") if key in training}
    stds = tuple(training.pop("validation_stds", (25.0,)))
    folders = [
        {**entry, "scales": tuple(entry.get("scales", (1.0,)))} for entry in values["images"]
    ]
    return Recipe(
        name=values["name"],
        task=values["task"],
        network=network,
        training=TrainingConfig(**training),
        images=tuple(ImageFolder(**entry) for entry in folders),
        pairs=tuple(PairFolders(**entry) for entry in values.get("pairs", [])),
        corruption=NoiseCorruption(**values.get("corruption", {})),
        validation_stds=stds,
        **own,
    )


def with_length(recipe: Recipe, minutes: float | None, steps: int | None) -> Recipe:
    """The recipe with another length of training, if one is given."""
    if minutes is None and steps is None:
        return recipe
    return replace(recipe, training=replace(recipe.training, minutes=minutes, steps=steps))


class RecipeTraining:
    """A recipe being carried out: iterate over `run`, then take the `model`.

    Parameters
    ----------
    recipe : Recipe
        What to train and how.
    data : Path
        The folder that the recipe's folders are relative to.
    folder : Path
        Where checkpoint and log are kept.
    validation : Path, optional
        A folder of clean images to measure the PSNR on.
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
        initialize(network, torch.Generator().manual_seed(recipe.training.seed))
        self.trainer = Trainer(
            network,
            DenoisingBatches(recipe, data, self.device),
            recipe.training,
            self.device,
            validate=_validator(recipe, validation, self.device) if validation else None,
            folder=folder,
        )

    def run(self) -> Iterator[TrainingStatus]:
        """Train to the end, yielding a status at every interval."""
        return self.trainer.run()

    def model(self) -> Model:
        """The model as it is now: the moving average of the weights."""
        network = RedNet(self.recipe.network)
        network.load_state_dict({k: v.cpu() for k, v in self.trainer.average.state_dict().items()})
        info = {
            "steps": self.trainer.step,
            "samples": self.trainer.step * self.recipe.batch,
            "minutes": round(self.trainer.seconds / 60, 1),
            "device": torch.cuda.get_device_name(self.device)
            if self.device.type == "cuda"
            else "cpu",
            "seed": self.recipe.training.seed,
        }
        return Model(self.recipe.name, self.recipe.task, network.eval().requires_grad_(False), info)


class DenoisingBatches:
    """Makes batches of noisy images with their noise maps, synthetic and real."""

    def __init__(self, recipe: Recipe, data: Path, device: torch.device) -> None:
        self._recipe = recipe
        images, weights = _load_images(recipe, data)
        self._clean = PatchSampler(images, recipe.patch, device, weights)
        self._pairs: PatchSampler | None = None
        self._pair_share = sum(pair.share for pair in recipe.pairs)
        if recipe.pairs:
            self._pairs = PatchSampler(_load_pairs(recipe, data), recipe.patch, device)

    def __call__(self, generator: torch.Generator) -> Batch:
        """Draw a batch; the weights make up for strong noise having large errors."""
        count = self._recipe.batch
        clean = _vary_contrast(self._clean.sample(count, generator), generator)
        noisy, std = self._recipe.corruption(clean, generator)
        if self._pairs is not None:
            real = self._pairs.sample(count, generator)
            chance = torch.rand((count, 1, 1, 1), generator=generator, device=real.device)
            error = torch.randn((count, 1, 1, 1), generator=generator, device=real.device)
            is_real = chance < self._pair_share
            clean = torch.where(is_real, real[:, :1], clean)
            noisy = torch.where(is_real, real[:, 1:2], noisy)
            real_std = real[:, 2:] * torch.exp(self._recipe.corruption.map_error * error)
            std = torch.where(is_real, real_std, std)
        weights = 0.1 / (std.mean((1, 2, 3)) + _SMALLEST_MEAN_NOISE).sqrt()
        return torch.cat([noisy, std], 1), clean, weights


def _vary_contrast(clean: Tensor, generator: torch.Generator) -> Tensor:
    """Random contrast and brightness: users' images do not fill the range as photographs do."""
    shape = (len(clean), 1, 1, 1)
    draw = torch.rand((2, *shape), generator=generator, device=clean.device)
    contrast = 1 - 0.5 * draw[0] ** 2
    return clean * contrast + (1 - contrast) * draw[1]


def _load_images(recipe: Recipe, data: Path) -> tuple[list[FloatArray], list[float]]:
    """All clean images, (1, Y, X) each, and how often to draw them."""
    images, weights = [], []
    for entry in recipe.images:
        found = [
            version[None]
            for path in _files(data / entry.folder)
            for plane in _normalized_planes(path)
            for version in _rescaled(plane, entry.scales)
            if min(version.shape) >= recipe.patch
        ]
        areas = np.array([image.size for image in found], float)
        images += found
        weights += list(entry.share * areas / areas.sum())
    return images, weights


def _files(folder: Path) -> list[Path]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    if not paths:
        raise TrainingError(f"there are no images in {folder}")
    return paths


def _normalized_planes(path: Path) -> Iterator[FloatArray]:
    for plane in read_planes(path):
        if plane.dtype == np.uint8:
            yield (plane / 255).astype(np.float32)
            continue
        span = measure_range([plane])
        yield ((plane - span.low) / span.span).clip(0, 2).astype(np.float32)


def _rescaled(plane: FloatArray, scales: Sequence[float]) -> Iterator[FloatArray]:
    from skimage.transform import rescale

    for scale in scales:
        yield plane if scale == 1 else rescale(plane, scale, anti_aliasing=True).astype(np.float32)


def _load_pairs(recipe: Recipe, data: Path) -> list[FloatArray]:
    """Real pairs as (clean, noisy, noise map), (3, Y, X) each."""
    return [
        _registered_pair(noisy, clean)
        for entry in recipe.pairs
        for path in _files(data / entry.noisy)
        for noisy, clean in zip(
            read_planes(path), read_planes(data / entry.clean / path.name), strict=True
        )
    ]


def _registered_pair(noisy: npt.NDArray[Any], clean: npt.NDArray[Any]) -> FloatArray:
    """Give the clean image the intensities of the noisy one; add the estimated noise map."""
    columns = np.stack([clean.ravel(), np.ones(clean.size)], axis=1).astype(np.float64)
    gain, offset = np.linalg.lstsq(columns, noisy.ravel().astype(np.float64), rcond=None)[0]
    span = measure_range([noisy])
    model = fit_noise([noisy]).normalized(span.low, span.span)
    scaled = ((noisy - span.low) / span.span).astype(np.float32)
    signal = smooth_signal(torch.from_numpy(scaled)[None, None])[0, 0].numpy()
    target = (gain * clean + offset - span.low) / span.span
    return np.stack([target, scaled, model.std(signal)]).astype(np.float32)


def _validator(recipe: Recipe, folder: Path, device: torch.device) -> Callable[[RedNet], float]:
    """Mean PSNR over a folder's images at the recipe's noise levels, noise of seed 0."""
    planes = [p for path in _files(folder) for p in _normalized_planes(path)]
    generator = torch.Generator().manual_seed(0)
    cases = []
    for std in recipe.validation_stds:
        for plane in planes:
            clean = torch.from_numpy(plane)[None, None]
            noise = torch.randn(clean.shape, generator=generator) * (std / 255)
            inputs = torch.cat([clean + noise, torch.full_like(clean, std / 255)], 1)
            cases.append((inputs, clean))

    def validate(network: RedNet) -> float:
        with torch.no_grad():
            return float(np.mean([_psnr(network(x.to(device)).cpu(), y) for x, y in cases]))

    return validate


def _psnr(restored: Tensor, clean: Tensor) -> float:
    return float(-10 * torch.log10((restored.float() - clean).square().mean()))
