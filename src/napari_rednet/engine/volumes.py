"""Deblur volumes of any size in overlapping blocks, with a network for planes as the prior."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from napari_rednet.engine.deblurring import Block, BlockDeblurrer, Sides
from napari_rednet.engine.deconvolution import deblur_steps
from napari_rednet.engine.light import Counting, deblur_light_steps
from napari_rednet.engine.network import used_memory
from napari_rednet.engine.planes import (
    SMALLEST_SIDE,
    ChannelSettings,
    Strip,
    Volume,
    cut_into_strips,
    strip_around,
)

# Voxels of a block with what is computed around it, if memory is not bounded.
_VOXELS = {"cpu": 2**24, "cuda": 2**27, "mps": 2**25}
# Memory per voxel of that; 164 were measured on a CPU.
_BYTES = 180
_LEAST: Sides = (8, SMALLEST_SIDE, SMALLEST_SIDE)


@dataclass
class VolumeDeblurrer(BlockDeblurrer):
    """Deblurs volumes with a PSF of three axes; the network restores their planes."""

    @property
    def margin(self) -> tuple[int, int, int]:
        """Planes, rows and columns around a block that are restored with it and discarded."""
        radius = self.network.config.receptive_radius
        z, y, x = self.psf.reach
        return 3 * z + 2, 3 * y + radius, 3 * x + radius

    def restore(self, volume: Volume) -> Iterator[int]:
        """Deblur a volume, yielding the number of finished pixels after each iteration.

        Raises `DeviceMemoryError` if the smallest block does not fit into the device's memory.
        """
        _, height, width = volume.shape
        yield from self.restore_window(volume, slice(0, height), slice(0, width))

    def restore_window(self, volume: Volume, rows: slice, columns: slice) -> Iterator[int]:
        """Deblur a window of the kept planes of a volume; the result is close to `restore`'s."""
        kept, whole = (volume.keep, rows, columns), (len(volume.planes), *volume.planes[0].shape)
        yield from self._restore_in_blocks(
            self._sides(volume, rows, columns),
            lambda sides: map(_strips, kept, whole, sides, self.margin),
            partial(self._restore_block, volume),
        )

    def halved(self, sides: Sides) -> Sides:
        """The longest side cut in two, in units of the least, unless all are as short as that."""
        longest = max(range(3), key=lambda axis: sides[axis] / _LEAST[axis])
        found = list(sides)
        found[longest] = min(sides[longest], max(_LEAST[longest], -(-sides[longest] // 2)))
        return tuple(found)

    def computed(self, sides: Sides, shape: Sides) -> int:
        """Voxels that are computed for a block of a volume of a shape."""
        parts = zip(sides, shape, self.margin, self.psf.reach, strict=True)
        return math.prod(min(n, side + 2 * m) + 2 * r for side, n, m, r in parts)

    def _sides(self, volume: Volume, rows: slice, columns: slice) -> Sides:
        shape = (len(volume.planes), *volume.planes[0].shape)
        kept = (volume.shape[0], rows.stop - rows.start, columns.stop - columns.start)
        if self.tile is not None:
            return tuple(min(side, self.tile) for side in kept)
        allowed = _VOXELS[self.device.type]
        if self.memory is not None and self.device.type == "cpu":
            allowed = min(allowed, (self.memory - used_memory()) // _BYTES)
        sides: Sides = kept
        while self.computed(sides, shape) > allowed and (halved := self.halved(sides)) != sides:
            sides = halved
        return sides

    @torch.inference_mode()
    def _restore_block(
        self, volume: Volume, depth: Strip, rows: Strip, columns: Strip
    ) -> Iterator[int]:
        planes, first = volume.planes, volume.planes[0]
        values = [np.asarray(p.read(rows.read, columns.read)) for p in planes[depth.read]]
        block = Block(np.stack(values), first.settings, self.device)
        x = yield from self._iterated(block.image, self._steps(block, first.settings))
        restored = block.finished(x, first.dtype)[depth.inner, rows.inner, columns.inner]
        for plane, result in zip(planes[depth.keep], restored, strict=True):
            plane.write(rows.keep, columns.keep, result)
        yield self.iterations

    def _steps(self, block: Block, settings: ChannelSettings) -> Iterator[Tensor]:
        known, counting = block.known, counting_of(block, settings)
        options = self._denoise, self.iterations, known
        if counting is None:
            return deblur_steps(block.image, self.psf, block.noise, *options)
        return deblur_light_steps(block.image, self.psf, block.noise, counting, *options)

    def _denoise(self, image: Tensor, told: Tensor) -> Tensor:
        """Each plane by itself."""
        restored = torch.empty_like(image)
        for z in range(image.shape[2]):
            restored[:, :, z] = self._runner.run(torch.cat([image[:, :, z], told[:, :, z]], 1))
        return restored


def counting_of(block: Block, settings: ChannelSettings) -> Counting | None:
    """How photons became the values of a block; None if its noise is not that of photons."""
    model, span = settings.noise, settings.scale.span
    if model is None or model.gain == 0 or block.noise.std is None:
        return None
    local = model.normalized(settings.scale.low, span)
    # Noise that is taken for stronger is that of fewer photons.
    typical = settings.noise_level / span
    factor = block.noise.level / typical if typical else settings.strength
    return Counting(local.offset, factor**2 * local.gain, factor * local.read_noise)


def _strips(kept: slice, length: int, side: int, margin: int) -> list[Strip]:
    """Strips of at most `side` for what is kept of an axis, and margins within its length."""
    cuts = cut_into_strips(kept.stop - kept.start, side, 0)
    places = (slice(kept.start + c.keep.start, kept.start + c.keep.stop) for c in cuts)
    return [strip_around(place, length, margin, 1) for place in places]
