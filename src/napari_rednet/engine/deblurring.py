"""Deblur planes of any size in overlapping blocks, with a network as the prior."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor

from napari_rednet.engine.channel import from_network, round_to, to_network
from napari_rednet.engine.deconvolution import ImageNoise, deblur_steps
from napari_rednet.engine.inference import is_out_of_memory
from napari_rednet.engine.network import RedNet, poisson_gaussian_std, smooth_signal, used_memory
from napari_rednet.engine.planes import (
    SMALLEST_SIDE,
    ChannelSettings,
    Plane,
    PointSpread,
    Strip,
    cut_into_strips,
    part_of,
    strip_around,
)
from napari_rednet.engine.streaming import NetworkRunner
from napari_rednet.errors import DeviceMemoryError

logger = logging.getLogger(__name__)

Sides = tuple[int, ...]
"""Pixels of a block along each axis."""

# Even without noise in the image, the prior has to remove artefacts of the data term.
_SMALLEST_STD = 0.5 / 255
# In units of the range of the image, of which a float32 resolves less.
_NO_NOISE = 1e-12
_SIDES = {"cpu": 1024, "cuda": 4096, "mps": 2048}
# Memory per pixel of a block; 280 were measured on a CPU.
_BYTES = 300


@dataclass
class BlockDeblurrer:
    """Deblurs block by block with one PSF; `network`, a denoiser, is the prior.

    `iterations` is how often data term and prior alternate, `tile` the most pixels of a block along
    each axis (None chooses it), and `memory` the limit in bytes for the memory of the process.
    """

    network: RedNet
    device: torch.device
    psf: PointSpread
    iterations: int = 8
    ensemble: bool = False
    tile: int | None = None
    memory: int | None = None
    row_margin: ClassVar[int | None] = None
    _runner: NetworkRunner = field(init=False)

    def __post_init__(self) -> None:
        self._runner = NetworkRunner(self.network, self.device, self.ensemble)

    def halved(self, sides: Sides) -> Sides:
        """Sides of smaller blocks, the same if there are none."""
        raise NotImplementedError

    def _restore_in_blocks(
        self,
        sides: Sides,
        cut: Callable[[Sides], Iterable[Sequence[Strip]]],
        restore_block: Callable[..., Iterator[int]],
    ) -> Iterator[int]:
        """Restore all blocks, in smaller ones each time that memory does not suffice.

        `cut` makes the strips of each axis, and `restore_block` yields the iterations of a block.
        Yields the number of finished pixels after each. Raises `DeviceMemoryError` if the smallest
        block does not fit into the device's memory.
        """
        while True:
            finished = 0
            try:
                for block in product(*cut(sides)):
                    size = math.prod(strip.kept for strip in block)
                    for i in restore_block(*block):
                        yield finished + size * i // self.iterations
                    finished += size
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                sides = self._smaller(sides, error)
            else:
                return

    def _smaller(self, sides: Sides, error: Exception) -> Sides:
        halved = self.halved(sides)
        if halved == sides:
            raise DeviceMemoryError(
                f"{self.device} has too little memory even for blocks of "
                f"{' × '.join(map(str, sides))} pixels; close other programs, choose another "
                "device, or a smaller PSF"
            ) from error
        logger.info("out of memory on %s; blocks of %s pixels now", self.device, halved)
        return halved

    def _iterated(self, x: Tensor, estimates: Iterable[Tensor]) -> Generator[int, None, Tensor]:
        """Count the iterations of a block `x`, but the last, and return the last estimate."""
        for i, estimate in enumerate(estimates, 1):
            x = estimate
            if i < self.iterations:
                yield i
        return x


@dataclass
class Deblurrer(BlockDeblurrer):
    """Deblurs planes."""

    @property
    def margin(self) -> int:
        """Pixels around a block that are restored with it and discarded."""
        return 4 * max(self.psf.reach) + 2 + self.network.config.receptive_radius

    def restore(self, plane: Plane) -> Iterator[int]:
        """Deblur a plane, yielding the number of finished pixels after each iteration.

        Raises `DeviceMemoryError` if the smallest block does not fit into the device's memory.
        """
        side = self.tile or self._side()
        yield from self._restore_in_blocks(
            (side, side),
            lambda sides: [
                cut_into_strips(n, side, self.margin)
                for n, side in zip(plane.shape, sides, strict=True)
            ],
            partial(self._restore_block, plane),
        )

    def restore_window(self, plane: Plane, rows: slice, columns: slice) -> Iterator[int]:
        """Deblur a window of a plane as one block, with a wider margin than blocks have.

        The result is close to that of `restore`: for `camera` under a Gaussian blur, the difference
        is within 3 % of the error of either.
        """
        margin = self.margin + self.network.config.receptive_radius
        strips = (
            strip_around(part, length, margin, 1)
            for part, length in zip((rows, columns), plane.shape, strict=True)
        )
        yield from self.restore(part_of(plane, *strips))

    def halved(self, sides: Sides) -> Sides:
        """Both sides cut in two, unless they are as short as can be."""
        return tuple(min(side, max(SMALLEST_SIDE, side // 2)) for side in sides)

    def _side(self) -> int:
        side = _SIDES[self.device.type]
        if self.memory is not None and self.device.type == "cpu":
            allowed = self.memory - used_memory()
            while side > SMALLEST_SIDE and _BYTES * (side + 2 * self.margin) ** 2 > allowed:
                side //= 2
        return max(side, SMALLEST_SIDE)

    @torch.inference_mode()
    def _restore_block(self, plane: Plane, rows: Strip, columns: Strip) -> Iterator[int]:
        block = Block(np.asarray(plane.read(rows.read, columns.read)), plane.settings, self.device)
        options = block.noise, self._denoise, self.iterations, block.known
        estimates = deblur_steps(block.image, self.psf, *options)
        x = yield from self._iterated(block.image, estimates)
        restored = block.finished(x, plane.dtype)
        plane.write(rows.keep, columns.keep, restored[rows.inner, columns.inner])
        yield self.iterations

    def _denoise(self, image: Tensor, told: Tensor) -> Tensor:
        return self._runner.run(torch.cat([image, told], 1))


class Block:
    """Data of a block of an image, a plane or a volume, in units of the network.

    `image` is (1, 1, [Z,] Y, X); `known` is False where it is not finite, None if all is.
    """

    def __init__(
        self, values: npt.NDArray[Any], settings: ChannelSettings, device: torch.device
    ) -> None:
        self._values, self._settings = values, settings
        normalized, self._finite = to_network(values, settings.scale)
        self.known: Tensor | None = None
        if self._finite is not None:
            normalized = filled(normalized, self._finite)
            self.known = torch.from_numpy(self._finite).to(device)[None, None]
        self.image = torch.from_numpy(normalized).to(device)[None, None]
        self.noise, self._share = believed_noise(image_noise(self.image, settings), settings)

    def finished(self, x: Tensor, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """A restored block in units of the image; pixels that are not finite stay."""
        settings = self._settings
        restored = from_network(x[0, 0].cpu().numpy(), settings.scale, dtype)
        if self._share < 1:
            flat = (1 - self._share) * settings.flat[0]
            restored = round_to(self._share * restored + flat, dtype)
        if self._finite is not None:
            restored[~self._finite] = self._values[~self._finite]
        if settings.is_constant[0]:
            restored[self._values == 0] = 0
        return restored


def image_noise(x: Tensor, settings: ChannelSettings) -> ImageNoise:
    """The noise of an image (1, 1, [Z,] Y, X), in the units that `settings` normalise it to."""
    span, strength, model = settings.scale.span, settings.strength, settings.noise
    typical = settings.noise_level / span
    std = None
    if model is not None and model.gain > 0:
        local = model.normalized(settings.scale.low, span)
        std = poisson_gaussian_std(smooth_signal(x) - local.offset, local.gain, local.read_noise)
        # The samples that were measured may have missed all of the little light that there is.
        typical = typical or float(std.square().mean().sqrt())
    level = strength * typical
    if model is None or level <= _NO_NOISE:
        return ImageNoise(_SMALLEST_STD)
    factor = max(1.0, _SMALLEST_STD / level)
    grain = model.grain_y, model.grain_x
    return ImageNoise(factor * level, None if std is None else factor * strength * std, grain)


def believed_noise(noise: ImageNoise, settings: ChannelSettings) -> tuple[ImageNoise, float]:
    """The noise, or as much as an image can hold, and the share of the result that it leaves.

    The rest of the result is flat: see `engine.channel.doubtful_noise`.
    """
    most = settings.most_noise / settings.scale.span
    if not settings.flat or noise.level <= most:
        return noise, 1.0
    ratio = most / noise.level
    std = None if noise.std is None else ratio * noise.std
    return replace(noise, level=most, std=std), ratio**2


def filled(
    values: npt.NDArray[np.float32], is_known: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float32]:
    """Replace each unknown value by that of the nearest known pixel; all 0 if none is known."""
    if not is_known.any():
        return np.zeros_like(values)
    nearest = ndimage.distance_transform_edt(~is_known, return_distances=False, return_indices=True)
    known: npt.NDArray[np.float32] = values[tuple(nearest)]
    return known
