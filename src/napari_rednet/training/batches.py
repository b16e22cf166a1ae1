"""Training batches of a recipe: patches from its image folders, with its corruption."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_rednet.engine.channel import measure_range
from napari_rednet.engine.degradations import NoiseCorruption, StackSynthesis, evened_weights
from napari_rednet.engine.degradations.stacks import ROOM
from napari_rednet.engine.network import smooth_signal, stack_inputs
from napari_rednet.errors import TrainingError
from napari_rednet.io import read_planes
from napari_rednet.noise import fit_noise
from napari_rednet.training.loop import Batch

FloatArray = npt.NDArray[np.float32]
Corruption = Callable[[Tensor, torch.Generator], Batch]


class PatchSampler:
    """Draws augmented square patches from images (C, Y, X), `patch` pixels wide.

    All images lie one after the other in a half-precision tensor on the device, so that a batch is
    one gather, wherever its patches come from and however they are mirrored and rotated. By
    default, images are drawn in proportion to their pixels.
    """

    def __init__(
        self,
        images: Sequence[npt.NDArray[np.floating]],
        patch: int,
        device: torch.device,
        weights: Sequence[float] | None = None,
    ) -> None:
        if not images:
            raise TrainingError("there are no training images")
        sizes = np.array([image.shape[-2:] for image in images])
        if sizes.min() < patch:
            raise TrainingError(
                f"training images must measure at least {patch} x {patch} pixels, "
                f"got one of {' x '.join(map(str, sizes[sizes.min(1).argmin()]))}"
            )
        flat = [np.asarray(image, np.float16).reshape(len(image), -1) for image in images]
        self.patch = patch
        self._pixels = torch.from_numpy(np.concatenate(flat, axis=1)).to(device)
        areas = sizes.prod(1)
        self._sizes = torch.from_numpy(sizes).to(device)
        self._starts = torch.from_numpy(np.cumsum(areas) - areas).to(device)
        chances = areas if weights is None else np.asarray(weights)
        self._weights = torch.as_tensor(chances, dtype=torch.float32, device=device)

    def __len__(self) -> int:
        return len(self._starts)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw `count` patches: (count, C, patch, patch), float32."""
        device = self._pixels.device
        which = torch.multinomial(self._weights, count, replacement=True, generator=generator)
        chance = torch.rand((count, 5), generator=generator, device=device)
        room = self._sizes[which] - self.patch + 1
        corner = (chance[:, :2] * room).long().minimum(room - 1)
        rows, columns = self._offsets(chance[:, 2:] < 0.5)
        width = self._sizes[which, 1].view(-1, 1, 1)
        first = (self._starts[which] + corner[:, 0] * width.flatten() + corner[:, 1]).view(-1, 1, 1)
        return self._pixels[:, first + rows * width + columns].transpose(0, 1).float()

    def _offsets(self, flips: Tensor) -> tuple[Tensor, Tensor]:
        """Row and column of every patch pixel, under (flip, flip, transpose) of each patch."""
        steps = torch.arange(self.patch, device=flips.device).expand(len(flips), -1)
        rows = torch.where(flips[:, :1], self.patch - 1 - steps, steps).unsqueeze(2)
        columns = torch.where(flips[:, 1:2], self.patch - 1 - steps, steps).unsqueeze(1)
        swap = flips[:, 2].view(-1, 1, 1)
        turned = rows.transpose(1, 2), columns.transpose(1, 2)
        return torch.where(swap, turned[0], rows), torch.where(swap, turned[1], columns)


@dataclass(frozen=True)
class ImageFolder:
    """A folder of clean training images; `share` is its share of the patches.

    `scales` adds shrunk versions of every image: other textures, and less of the noise that clean
    micrographs still have. Every `held_out`-th file, unless 0, is kept for validation.
    """

    folder: str
    share: float
    scales: tuple[float, ...] = (1.0,)
    held_out: int = 0


@dataclass(frozen=True)
class PairFolders:
    """Folders of real noisy images and of their clean counterparts, which have the same names."""

    noisy: str
    clean: str
    share: float


@dataclass(frozen=True)
class PatchShape:
    """Patches per batch, and their side in pixels.

    After the share `late_from` of the training, patches have the side `late_patch`, and batches as
    many pixels as before. Raises `ValueError` if that is not a whole number of patches.
    """

    batch: int = 8
    patch: int = 64
    late_patch: int | None = None
    late_from: float = 0.75

    def __post_init__(self) -> None:
        if self.late_patch is not None and self.batch * self.patch**2 % self.late_patch**2:
            raise ValueError(
                f"late_patch must make whole patches of the pixels of a batch, {self.batch} x "
                f"{self.patch} x {self.patch}, got {self.late_patch}"
            )

    def late(self) -> PatchShape | None:
        """The shape towards the end, None if it stays the same."""
        if self.late_patch is None:
            return None
        return PatchShape(self.batch * self.patch**2 // self.late_patch**2, self.late_patch)


class CorruptedBatches:
    """Makes batches of images that a corruption has been applied to."""

    def __init__(
        self,
        folders: Sequence[ImageFolder],
        corruption: Corruption,
        margin: int,
        shape: PatchShape,
        data: Path,
        device: torch.device,
    ) -> None:
        self._count = shape.batch
        self._corruption = corruption
        self._clean = _sampler(folders, data, shape.patch + 2 * margin, device)

    def __call__(self, generator: torch.Generator) -> Batch:
        """Draw a batch."""
        clean = vary_contrast(self._clean.sample(self._count, generator), generator)
        return self._corruption(clean, generator)


class DenoisingBatches:
    """Makes batches of noisy images with their noise maps, synthetic and real.

    With `stacks`, they are stacks made of two images each; real ones have no neighbours.
    """

    def __init__(
        self,
        folders: Sequence[ImageFolder],
        pairs: Sequence[PairFolders],
        corruption: NoiseCorruption,
        shape: PatchShape,
        data: Path,
        device: torch.device,
        stacks: StackSynthesis | None = None,
    ) -> None:
        self._count = shape.batch
        self._corruption = corruption
        self._stacks = stacks
        room = corruption.margin if stacks is None else corruption.margin + ROOM
        self._clean = _sampler(folders, data, shape.patch + 2 * room, device)
        self._pairs: PatchSampler | None = None
        self._pair_share = sum(pair.share for pair in pairs)
        if pairs:
            self._pairs = PatchSampler(_load_pairs(pairs, data), shape.patch, device)

    def __call__(self, generator: torch.Generator) -> Batch:
        """Draw a batch."""
        clean = self._drawn(generator)
        if self._stacks is not None:
            clean = self._stacks(clean, self._drawn(generator), generator)
        batch = self._corruption(clean, generator)
        if self._pairs is None:
            return batch
        real = self._real_batch(generator)
        chance = torch.rand((self._count, 1, 1, 1), generator=generator, device=clean.device)
        is_real = chance < self._pair_share
        inputs, targets, weights = (
            torch.where(is_real, one, other) for one, other in zip(real, batch, strict=True)
        )
        return inputs, targets, weights

    def _drawn(self, generator: torch.Generator) -> Tensor:
        return vary_contrast(self._clean.sample(self._count, generator), generator)

    def _real_batch(self, generator: torch.Generator) -> Batch:
        if self._pairs is None:
            raise TrainingError("there are no pairs")
        clean, noisy, std = torch.split(self._pairs.sample(self._count, generator), 1, 1)
        error = torch.randn((self._count, 1, 1, 1), generator=generator, device=std.device)
        std = std * torch.exp(self._corruption.map_error * error)
        planes = 1 if self._stacks is None else self._stacks.planes
        noisy, levels = (x.expand(-1, planes, -1, -1) for x in (noisy, std))
        return stack_inputs(noisy, levels, 0.0, 0.0), clean, evened_weights(std)


def vary_contrast(clean: Tensor, generator: torch.Generator) -> Tensor:
    """Draw contrast and brightness: users' images do not fill the range as photographs do."""
    shape = (len(clean), 1, 1, 1)
    draw = torch.rand((2, *shape), generator=generator, device=clean.device)
    contrast = 1 - 0.5 * draw[0] ** 2
    return clean * contrast + (1 - contrast) * draw[1]


def _sampler(
    folders: Sequence[ImageFolder], data: Path, side: int, device: torch.device
) -> PatchSampler:
    """A sampler for all clean images, (1, Y, X) each, weighted by the shares of their folders."""
    images, weights = [], []
    for entry in folders:
        found = [
            version[None]
            for path in training_files(entry, data)
            for plane in normalized_planes(path)
            for version in _rescaled(plane, entry.scales)
            if min(version.shape) >= side
        ]
        areas = np.array([image.size for image in found], float)
        images += found
        weights += list(entry.share * areas / areas.sum())
    return PatchSampler(images, side, device, weights)


def training_files(entry: ImageFolder, data: Path) -> list[Path]:
    """The files of a folder that are trained on."""
    held = set(held_out_files(entry, data))
    return [path for path in image_files(data / entry.folder) if path not in held]


def held_out_files(entry: ImageFolder, data: Path) -> list[Path]:
    """The files of a folder that are kept for validation."""
    return image_files(data / entry.folder)[:: entry.held_out] if entry.held_out else []


def image_files(folder: Path) -> list[Path]:
    """All files of a folder and its subfolders; raises `TrainingError` if there are none."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    if not paths:
        raise TrainingError(f"there are no images in {folder}")
    return paths


def normalized_planes(path: Path) -> Iterator[FloatArray]:
    """The planes of a file, normalised to about 0 to 1."""
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


def _load_pairs(pairs: Sequence[PairFolders], data: Path) -> list[FloatArray]:
    """Real pairs as (clean, noisy, noise map), (3, Y, X) each."""
    return [
        _registered_pair(noisy, clean)
        for entry in pairs
        for path in image_files(data / entry.noisy)
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
    signal = smooth_signal(torch.from_numpy(scaled)).numpy()
    target = (gain * clean + offset - span.low) / span.span
    return np.stack([target, scaled, model.std(signal)]).astype(np.float32)
