"""Is the network better than the one it started from? Measured on what was held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_rednet.engine.devices import training_dtype
from napari_rednet.engine.images import evenly
from napari_rednet.engine.network import RedNet
from napari_rednet.engine.stein import noise_passed, nudge
from napari_rednet.engine.training import Batch
from napari_rednet.finetuning.examples import Example
from napari_rednet.finetuning.methods import TOLD, Method, PseudoClean

FloatArray = npt.NDArray[np.float64]

# A multiple of the factors of super-resolution and of the strides.
_MULTIPLE = 12
_SIDE = 156
_MOST_CASES = 24
_DRAWS = 2
_FEWEST_KNOWN = 0.1
_STEP = 0.05
_TINY = 1e-9
# How much the noise model is trusted: what an error of it explains is no gain.
_NOISE_ERROR = 0.15


@dataclass(frozen=True)
class Preview:
    """A held-out part of an image: (Y, X) arrays in the network's units.

    Parameters
    ----------
    before, base, now : (Y, X) ndarray
        What the network sees, and what the base model and the present one make of it.
    target : (Y, X) ndarray, optional
        The clean image, if there is one.
    """

    before: npt.NDArray[np.float32]
    base: npt.NDArray[np.float32]
    now: npt.NDArray[np.float32]
    target: npt.NDArray[np.float32] | None


class Validation:
    """Compares networks with a base on held-out examples, always under the same draws.

    Where targets are noisy, the difference of two squared errors is still that of the errors to
    the clean image, since the noise is the same for both; only what it is a share of has to
    be estimated. Where the only targets are the very pixels that are restored, the error is
    estimated by Stein's formula [1]_, from the noise that passes into the result.

    References
    ----------
    .. [1] S. Ramani, T. Blu, M. Unser, "Monte-Carlo SURE", IEEE Trans. Image Process. 17 (2008).
    """

    def __init__(
        self,
        held_out: Sequence[Example],
        method: Method,
        base: RedNet,
        device: torch.device,
    ) -> None:
        self._device = device
        # Stein's term is a small difference, which bfloat16 would drown.
        self._dtype = torch.float32 if method.is_single else training_dtype(device)
        self._has_clean_targets = method.has_clean_targets
        generator = torch.Generator().manual_seed(0)
        squares = [s for e in held_out for s in _squares(e, method.margin)]
        known = [s for s in squares if s.rows["weight"].mean() >= _FEWEST_KNOWN] or squares
        squares = evenly(known, _MOST_CASES)
        draws = 1 if method.has_clean_targets or method.is_single else _DRAWS
        squares = [s for s in squares for _ in range(draws)]
        self._cases = [_case(s, method, generator) for s in squares]
        self._signs = [
            _random_signs(case[1], generator) if method.is_single else None for case in self._cases
        ]
        self._base = base.to(device)
        contrasts = [float(self._restore(base, case[0]).std()) for case in self._cases]
        shown = int(np.argmax(contrasts))
        self._shown = _shown(squares[shown], self._cases[shown], method)
        self._base_errors, self._base_passed = self._errors(base)
        if not method.has_clean_targets:
            self._noise = np.array([_noise_variance(case) for case in self._cases])
            expected = [self._expected_error(case, generator) for case in self._cases]
            self._expected = float(np.mean(expected / self._noise))

    def _errors(self, network: RedNet) -> tuple[FloatArray, FloatArray]:
        """Mean squared error of every case, and what of it is Stein's term."""
        cases = zip(self._cases, self._signs, strict=True)
        errors, passed = zip(*(self._error(network, *case) for case in cases), strict=True)
        return np.array(errors), np.array(passed)

    def __call__(self, network: RedNet) -> float:
        """Mean gain in dB over the base; an estimate where targets are noisy."""
        errors, passed = self._errors(network)
        if self._has_clean_targets:
            ratios = np.maximum(errors, _TINY) / np.maximum(self._base_errors, _TINY)
            return float(np.mean(_decibels(ratios)))
        doubt = _NOISE_ERROR * np.abs(passed - self._base_passed)
        # Estimates of single squares are too uncertain to divide by.
        change = np.mean((errors - self._base_errors + doubt) / self._noise)
        return float(_decibels(1 + change / self._expected))

    def preview(self, network: RedNet) -> Preview:
        """What there is to see of the case with most structure."""
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

    def _error(self, network: RedNet, case: Batch, signs: Tensor | None) -> tuple[float, float]:
        """Mean squared difference from the targets.

        With `signs`, the targets are the noisy image itself, and Stein's term is added for the
        noise that passes from the image into the result; it is returned as well.
        """
        inputs, targets, weights = case
        weights = weights.expand_as(targets)
        restored = self._restore(network, inputs)
        squares = _mean((restored - targets).square(), weights)
        if signs is None:
            return squares, 0.0
        change = self._nudged(network, inputs, signs) - restored
        passed = 2 * _mean(noise_passed(inputs[:, 1:2], signs, change, _STEP), weights)
        return squares + passed, passed

    def _nudged(self, network: RedNet, inputs: Tensor, signs: Tensor) -> Tensor:
        """What is made of an image with a little more noise."""
        image, told = inputs[:, :1], inputs[:, 1:]
        nudged = image + nudge(told[:, :1], signs, _STEP)
        return self._restore(network, torch.cat([nudged, told], 1))

    def _expected_error(self, case: Batch, generator: torch.Generator) -> float:
        """Mean squared error of the base, from the noise that it lets through.

        For the best estimate it is the variance of the noise times the derivative of the estimate
        by the pixel itself: Tweedie's formula, with the derivative by finite differences.
        """
        inputs = case[0]
        std = inputs[:, 1:2]
        signs = _random_signs(std, generator)
        change = self._nudged(self._base, inputs, signs) - self._restore(self._base, inputs)
        variance = float(std.square().mean())
        passed = float(noise_passed(std, signs, change, _STEP).mean())
        return max(passed, 1e-3 * variance, _TINY)


def _case(square: Example, method: Method, generator: torch.Generator) -> Batch:
    patches = _as_patches(square, method)
    if not method.is_single:
        return method(patches, generator)
    # As it will be used, with nothing hidden and in full resolution.
    return _noisy_inputs(square), patches["image"], patches["weight"]


def _decibels(ratio: FloatArray | np.floating) -> FloatArray:
    """Gain for errors that are a share of what they were."""
    return np.asarray(-10 * np.log10(np.maximum(ratio, 1e-3)))


def _shown(square: Example, case: Batch, method: Method) -> tuple[Tensor, Tensor | None]:
    """What the user gets to see: a case, or the user's own image where that made the case."""
    if isinstance(method, PseudoClean):
        return _noisy_inputs(square), None
    return case[0], case[1] if method.has_clean_targets else None


def _noisy_inputs(square: Example) -> Tensor:
    rows = [np.asarray(square.rows[name], np.float32) for name in ("image", *TOLD)]
    return torch.from_numpy(np.stack(rows))[None]


def _noise_variance(case: Batch) -> float:
    """Mean variance of the noise, in which errors of different images can be compared."""
    return max(float(case[0][:, 1:2].square().mean()), _TINY)


def _mean(values: Tensor, weights: Tensor) -> float:
    return float((weights * values).sum() / weights.sum().clamp(min=_TINY))


def _random_signs(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randint(2, like.shape, generator=generator) * 2.0 - 1


def _squares(example: Example, margin: int) -> list[Example]:
    """Squares of an example that networks and corruptions of all tasks can take."""
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
    """Rows as a batch of one."""
    return {name: torch.from_numpy(example.rows[name])[None, None].float() for name in method.rows}
