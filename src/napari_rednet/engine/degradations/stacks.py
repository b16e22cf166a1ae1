"""Stacks made of single images, to train networks that see neighbouring planes.

A stack (N, P, Y, X) has P planes, the middle one of which is to be restored. Between the planes
objects move, turn, come and go, blink, bleach, or lie in and out of focus; some planes have nothing
to do with each other, as the positions of a stage have not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_rednet.engine.degradations.processing import gaussian_kernels, separably_filtered
from napari_rednet.engine.rng import normal, smooth_field, uniform

ROOM = 16
"""Pixels around a plane that may move into it."""
KINDS = ("static", "moving", "objects", "depth", "unrelated")
_MOST_SPEED = 12.0
_MOST_DEFOCUS = 2.5
_BRIGHTEST_FLASH = 200.0
_BROKEN, _ENDING = 0.08, 0.12


@dataclass(frozen=True)
class StackSynthesis:
    """Makes stacks of images and of others that they are combined with.

    Parameters
    ----------
    planes : int
        Odd number of planes of a stack.
    shares : mapping of str to float
        Shares of the `KINDS`, of a sum of 1: repeats of one image; an image that moves, turns and
        warps; two objects, one moving over the other; two depths, defocused by their distance;
        unrelated images.
    changing_share : float
        Probability of each: bleaching, blinking, an object in some of the planes only.
    """

    planes: int
    shares: Mapping[str, float] = field(
        default_factory=lambda: {
            "static": 0.2,
            "moving": 0.3,
            "objects": 0.2,
            "depth": 0.15,
            "unrelated": 0.15,
        }
    )
    changing_share: float = 0.12

    def __post_init__(self) -> None:
        if self.planes < 1 or self.planes % 2 == 0:
            raise ValueError(f"planes must be an odd number, got {self.planes}")
        unknown = set(self.shares) - set(KINDS)
        if unknown:
            raise ValueError(f"shares must be of {', '.join(KINDS)}, got {', '.join(unknown)}")

    def __call__(self, images: Tensor, others: Tensor, generator: torch.Generator) -> Tensor:
        """Make stacks (N, planes, Y, X) of two different images (N, 1, Y + 2 ROOM, X + 2 ROOM)."""
        kinds = self._draw_kinds(images, generator)
        make = {
            "static": self._repeated,
            "moving": self._moving,
            "objects": self._objects,
            "depth": self._focused,
            "unrelated": self._unrelated,
        }
        stack = _inner(images).repeat(1, self.planes, 1, 1)
        for i, name in enumerate(KINDS):
            chosen = (kinds == i).nonzero().flatten()
            if len(chosen):
                stack[chosen] = make[name](images[chosen], others[chosen], generator)
        return self._changing(stack, others, generator)

    @property
    def _offsets(self) -> list[int]:
        """Distances of the planes from the middle one."""
        return [i - self.planes // 2 for i in range(self.planes)]

    def _draw_kinds(self, images: Tensor, generator: torch.Generator) -> Tensor:
        shares = torch.tensor([self.shares.get(name, 0.0) for name in KINDS], device=images.device)
        chance = uniform(images, generator).flatten().float() * shares.sum()
        found = torch.searchsorted(shares.cumsum(0), chance, right=True)
        return found.clamp(max=len(KINDS) - 1)

    def _repeated(self, images: Tensor, _others: Tensor, _: torch.Generator) -> Tensor:
        return _inner(images).repeat(1, self.planes, 1, 1)

    def _moving(self, images: Tensor, _: Tensor, generator: torch.Generator) -> Tensor:
        return self._sampled(images, self._grid(images, _speed(images, generator), generator))

    def _objects(self, images: Tensor, others: Tensor, generator: torch.Generator) -> Tensor:
        """One object that moves over another, which moves slowly."""
        speed = _speed(images, generator)
        behind = self._sampled(images, self._grid(images, 0.3 * speed, generator))
        grid = self._grid(others, speed, generator)
        shape = smooth_field(others, generator, -1.0, 1.0, knots=5)
        cover = (8 * (shape + 0.4 * uniform(others, generator) - 0.1)).sigmoid()
        share, object_ = self._sampled(cover, grid), self._sampled(others, grid)
        return behind * (1 - share) + object_ * share

    def _grid(self, images: Tensor, speed: Tensor, generator: torch.Generator) -> Tensor:
        """Where the pixels of each plane come from, as `speed` pixels a plane move an image.

        (N, P, Y, X, 2) without the `ROOM`, as `F.grid_sample` takes it; `speed` is (N, 1, 1, 1).
        """
        side = images.shape[-1]
        direction = 2 * math.pi * uniform(images, generator)
        turn = 0.02 * speed * (uniform(images, generator) - 0.5)
        turn = torch.where(uniform(images, generator) < 0.5, turn, 0.0)
        inside = _inner(images)
        bend = [speed * smooth_field(inside, generator, -1.0, 1.0, knots=4) for _ in range(2)]
        bends = torch.where(uniform(images, generator) < 0.3, 1.0, 0.0)
        offsets = torch.tensor(self._offsets, device=images.device, dtype=images.dtype)
        offsets = offsets.view(1, -1, 1, 1)
        jitter = (
            0.3
            * speed
            * torch.randn(
                (2, len(images), self.planes, 1, 1), generator=generator, device=images.device
            )
        )
        jitter = torch.where(offsets == 0, 0.0, jitter)
        steps = torch.arange(inside.shape[-1], device=images.device, dtype=images.dtype)
        steps = steps - (len(steps) - 1) / 2
        y, x = steps.view(1, 1, -1, 1), steps.view(1, 1, 1, -1)
        cosine, sine = (offsets * turn).cos(), (offsets * turn).sin()
        at_y = y * cosine - x * sine + offsets * (speed * direction.sin() + bends * bend[0])
        at_x = y * sine + x * cosine + offsets * (speed * direction.cos() + bends * bend[1])
        return torch.stack([at_x + jitter[1], at_y + jitter[0]], -1) / ((side - 1) / 2)

    def _sampled(self, images: Tensor, grid: Tensor) -> Tensor:
        """The planes (N, P, Y, X) of images at the places of a grid; the middle one exactly."""
        count, _, height, width, _ = grid.shape
        found = F.grid_sample(
            images,
            grid.view(count, -1, width, 2),
            "bicubic",
            padding_mode="reflection",
            align_corners=True,
        ).view(count, self.planes, height, width)
        middle = self.planes // 2
        return torch.cat([found[:, :middle], _inner(images), found[:, middle + 1 :]], 1)

    def _focused(self, images: Tensor, others: Tensor, generator: torch.Generator) -> Tensor:
        """Two objects at different depths, each blurred by its distance from the plane."""
        step = _MOST_DEFOCUS * (0.1 + 0.9 * uniform(images, generator))
        depths = [2 * (2 * uniform(images, generator) - 1) for _ in range(2)]
        share = 0.3 + 0.6 * uniform(images, generator)
        planes = []
        for offset in self._offsets:
            parts = []
            for image, depth in zip((images, others), depths, strict=True):
                kernel = gaussian_kernels((0.15 + step * (offset - depth).abs()).flatten())
                parts.append(separably_filtered(image, kernel, kernel))
            planes.append(share * parts[0] + (1 - share) * parts[1])
        return _inner(torch.cat(planes, 1))

    def _unrelated(self, images: Tensor, others: Tensor, _: torch.Generator) -> Tensor:
        found = [images if o == 0 else others.roll(o, 0).flip(2 + o % 2) for o in self._offsets]
        return _inner(torch.cat(found, 1))

    def _changing(self, stack: Tensor, others: Tensor, generator: torch.Generator) -> Tensor:
        """Bleach, let spots blink, and put an object into some of the planes only."""
        chances = [uniform(others, generator) < self.changing_share for _ in range(3)]
        rate = torch.where(chances[0], 0.5 * uniform(others, generator), 0.0)
        offsets = torch.tensor(self._offsets, device=stack.device).view(1, -1, 1, 1)
        stack = stack * torch.exp(-rate * offsets)
        place = torch.exp(
            -8 * (smooth_field(others, generator, 0.0, 1.0, knots=4) - 0.8).clamp(max=0).square()
        )
        spot = _inner(torch.where(place > 0.9, place, 0.0))
        is_on = torch.randint(0, 2, stack.shape[:2], generator=generator, device=stack.device)
        is_on = is_on.view(*stack.shape[:2], 1, 1)
        stack = torch.where(chances[1], stack * (1 - spot * is_on * 0.8), stack)
        mixed = stack * (1 - spot * is_on) + _inner(others) * spot * is_on
        return torch.where(chances[2], mixed, stack)


def with_breaks(
    noisy: Tensor, clean: Tensor, std: Tensor, is_photon: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Break the neighbours of some stacks, and end others; return noisy planes and noise maps.

    One neighbour is a flash or dark in `_BROKEN` of the stacks. `_ENDING` of them end within the
    planes: beyond, the last plane is repeated with its noise.
    Noise grows with a flash where photons are counted, `is_photon` (N, 1, 1, 1).
    """
    like, count = noisy[:, :1], noisy.shape[1]
    planes, middle = torch.arange(count, device=noisy.device).view(1, -1, 1, 1), count // 2
    is_broken = uniform(like, generator) < _BROKEN
    which = (uniform(like, generator) * count).long()
    chosen = is_broken & (planes == which) & (planes != middle)
    flash = _BRIGHTEST_FLASH ** uniform(like, generator)
    factor = torch.where(uniform(like, generator) < 0.5, flash, 0.0)
    grown = torch.where(is_photon, factor.clamp(min=0.01).sqrt(), 1.0)
    broken = factor * clean + grown * (noisy - clean)
    noisy = torch.where(chosen, broken, noisy)
    std = torch.where(chosen, grown * std, std)
    is_ending = uniform(like, generator) < _ENDING
    side = torch.where(uniform(like, generator) < 0.5, 1, -1)
    kept = torch.where(is_ending, (middle * uniform(like, generator)).long(), middle)
    steps = planes - middle
    nearest = torch.where(steps * side > kept, kept * side, steps) + middle
    index = nearest.expand(noisy.shape)
    return noisy.gather(1, index), std.gather(1, index)


def _speed(images: Tensor, generator: torch.Generator) -> Tensor:
    """Pixels a plane (N, 1, 1, 1), mostly few."""
    return torch.exp(1.1 * normal(images[:, :, :1, :1], generator)).clamp(max=_MOST_SPEED)


def _inner(images: Tensor) -> Tensor:
    return images[..., ROOM:-ROOM, ROOM:-ROOM]
