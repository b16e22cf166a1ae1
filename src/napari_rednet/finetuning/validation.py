"""Validation on held-out parts: the gain of a network over the one it started from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_rednet.engine.network import RedNet, training_dtype
from napari_rednet.engine.planes import evenly
from napari_rednet.finetuning.examples import Example
from napari_rednet.finetuning.methods import TOLD, Method, PseudoClean
from napari_rednet.training.loop import Batch

FloatArray = npt.NDArray[np.float64]

# A multiple of the factors of super-resolution and of the strides.
_MULTIPLE = 12
_SIDE = 156
_MOST_CASES = 24
_FEWEST_KNOWN = 0.1
_TINY = 1e-9


@dataclass(frozen=True)
class Preview:
    """A held-out part of an image: (Y, X) arrays in network units.

    `before` is the network's input; `base` and `now` are the results of the base and the current
    model.
    """

    before: npt.NDArray[np.float32]
    base: npt.NDArray[np.float32]
    now: npt.NDArray[np.float32]
    target: npt.NDArray[np.float32] | None


class Validation:
    """Compares networks with a base on held-out examples, always with the same corruptions."""

    def __init__(
        self,
        held_out: Sequence[Example],
        method: Method,
        base: RedNet,
        device: torch.device,
    ) -> None:
        self._device = device
        self._dtype = training_dtype(device)
        generator = torch.Generator().manual_seed(0)
        squares = [s for e in held_out for s in _squares(e, method.margin)]
        known = [s for s in squares if s.rows["weight"].mean() >= _FEWEST_KNOWN] or squares
        squares = evenly(known, _MOST_CASES)
        self._cases = [method(_as_patches(s, method), generator) for s in squares]
        self._base = base.to(device)
        contrasts = [float(self._restore(base, case[0]).std()) for case in self._cases]
        shown = int(np.argmax(contrasts))
        self._shown = _shown(squares[shown], self._cases[shown], method)
        self._base_errors = self._errors(base)

    def __call__(self, network: RedNet) -> float:
        """Mean gain in dB over the base."""
        ratios = self._errors(network) / self._base_errors
        return float(np.mean(-10 * np.log10(np.maximum(ratios, 1e-3))))

    def preview(self, network: RedNet) -> Preview:
        """Preview of the case with most structure."""
        inputs, targets = self._shown
        images = [inputs[:, :1], self._restore(self._base, inputs), self._restore(network, inputs)]
        before, base, now = (image[0, 0].cpu().numpy() for image in images)
        target = None if targets is None else targets[0, 0].numpy()
        return Preview(before, base, now, target)

    @torch.no_grad()
    def _restore(self, network: RedNet, inputs: Tensor) -> Tensor:
        seen = inputs.to(self._device, memory_format=torch.channels_last)
        low_precision = self._dtype is not torch.float32
        with torch.autocast(self._device.type, self._dtype, enabled=low_precision):
            restored: Tensor = network(seen)
        return restored.float().cpu()

    def _errors(self, network: RedNet) -> FloatArray:
        return np.array([self._error(network, *case) for case in self._cases])

    def _error(self, network: RedNet, inputs: Tensor, targets: Tensor, weights: Tensor) -> float:
        weights = weights.expand_as(targets)
        squares = weights * (self._restore(network, inputs) - targets).square()
        return max(float(squares.sum() / weights.sum().clamp(min=_TINY)), _TINY)


def _shown(square: Example, case: Batch, method: Method) -> tuple[Tensor, Tensor | None]:
    """Inputs and target for the preview; the user's own noisy image for `PseudoClean`."""
    if isinstance(method, PseudoClean):
        return _noisy_inputs(square), None
    inputs, targets, _ = case
    return inputs, targets


def _noisy_inputs(square: Example) -> Tensor:
    rows = [np.asarray(square.rows[name], np.float32) for name in ("image", *TOLD)]
    return torch.from_numpy(np.stack(rows))[None]


def _squares(example: Example, margin: int) -> list[Example]:
    """Square crops that the networks and corruptions of all tasks can take."""
    side = min(_SIDE, *example.shape)
    if side >= _MULTIPLE + 2 * margin:
        side -= side % _MULTIPLE
    height, width = example.shape
    return [
        example.part(slice(y, y + side), slice(x, x + side))
        for y in range(0, height - side + 1, side)
        for x in range(0, width - side + 1, side)
    ]


def _as_patches(example: Example, method: Method) -> dict[str, Tensor]:
    return {name: torch.from_numpy(example.rows[name])[None, None].float() for name in method.rows}
