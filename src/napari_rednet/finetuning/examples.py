"""Training examples: planes normalised, registered, and split for training and checks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from napari_rednet.engine.network import smooth_signal
from napari_rednet.engine.planes import ChannelSettings
from napari_rednet.errors import TrainingError
from napari_rednet.finetuning.stacks import Stack, Window, windows

FloatArray = npt.NDArray[np.float32]
Rows = dict[str, npt.NDArray[np.floating]]
SettingsOf = Callable[[Stack, int], ChannelSettings]
"""Returns the settings of a channel of a stack."""

_HELD_OUT = 0.15
_ENOUGH_PLANES = 8
_FEWEST_FINITE = 0.1
_WEAKEST_CORRELATION = 0.05
# In medians of the absolute deviation. Photon noise reaches 31 of them (72 frames of W2S).
_OUTLIER = 50.0


@dataclass(frozen=True)
class Example:
    """A part of a plane to learn from.

    `rows` are (Y, X) arrays in network units: 'image', its noise map 'std', the same times the
    correlations, 'std_y' and 'std_x', the clean 'target', the base model's result 'restored', and
    the loss weight 'weight'.
    """

    rows: Mapping[str, npt.NDArray[np.floating]]
    window: Window
    stack: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        height, width = self.rows["image"].shape
        return height, width

    def part(self, rows: slice, columns: slice) -> Example:
        """A smaller example."""
        cut = {name: values[rows, columns] for name, values in self.rows.items()}
        return replace(self, rows=cut)


def read_examples(
    stacks: Sequence[Stack],
    settings_of: SettingsOf,
    *,
    targets: Sequence[Stack] | None = None,
) -> list[Example]:
    """Read and normalise training examples; `targets` are clean stacks of the same shapes."""
    found = []
    for number, (stack, chosen) in enumerate(zip(stacks, windows(stacks), strict=True)):
        settings = [settings_of(stack, c) for c in range(stack.layout.channels)]
        target = None if targets is None else targets[number]
        for window in chosen:
            setting = settings[window.key.channel]
            rows = _rows(stack, window, setting)
            if rows is None:
                continue
            if target is not None:
                rows["target"] = target.read(window)
            found.append(Example(rows, window, number))
    if not found:
        raise TrainingError(
            "there is nothing to learn: all images are constant, or hardly a pixel is finite"
        )
    return _registered(found) if targets is not None else found


def _rows(stack: Stack, window: Window, setting: ChannelSettings) -> Rows | None:
    """Image, told noise and weights; None if there is nothing to learn from it."""
    values = stack.read(window)
    finite = np.isfinite(values)
    if finite.mean() < _FEWEST_FINITE or np.ptp(values[finite]) == 0:
        return None
    image, std = _presented(values, finite, setting)
    along_y, along_x = (0.0, 0.0) if setting.noise is None else setting.noise.correlation
    return {
        "image": image,
        "std": std,
        "std_y": np.float32(along_y) * std,
        "std_x": np.float32(along_x) * std,
        "weight": finite.astype(np.float32),
    }


def _presented(
    values: npt.NDArray[np.float64], finite: npt.NDArray[np.bool_], setting: ChannelSettings
) -> tuple[FloatArray, FloatArray]:
    """A plane in network units, 0 where it is not finite, and its noise map."""
    scale = setting.scale
    normal = (np.where(finite, values, scale.low) - scale.low) / scale.span
    image = normal.astype(np.float32)
    if setting.noise is None:
        return image, np.zeros_like(image)
    signal = smooth_signal(torch.from_numpy(image)).numpy()
    std = setting.noise.normalized(scale.low, scale.span).std(signal)
    return image, np.asarray(std, np.float32)


def _registered(examples: list[Example]) -> list[Example]:
    """Give the targets of each stack and channel the intensities of the images.

    Real pairs differ in gain and offset: exposure, averaging, background. The noisy image is fitted
    as a function of the clean one, whose errors are smaller.
    """
    return [fitted for group in by_channel(examples) for fitted in _fitted(group)]


def by_channel(examples: Sequence[Example]) -> list[list[Example]]:
    """Examples in groups of one stack and channel, which share range and noise."""
    groups: dict[tuple[int, int], list[Example]] = {}
    for example in examples:
        groups.setdefault((example.stack, example.window.key.channel), []).append(example)
    return list(groups.values())


def _fitted(group: Sequence[Example]) -> Iterator[Example]:
    # In double precision, since a large offset costs digits.
    targets = np.concatenate([e.rows["target"].ravel() for e in group])
    images = np.concatenate([e.rows["image"].ravel() for e in group]).astype(np.float64)
    weights = np.concatenate([e.rows["weight"].ravel() for e in group])
    known = np.isfinite(targets) & (weights > 0)
    gain, offset = _line(targets[known], images[known])
    for example in group:
        target = gain * example.rows["target"] + offset
        finite = np.isfinite(target)
        rows = {
            **example.rows,
            "target": np.where(finite, target, 0).astype(np.float32),
            "weight": example.rows["weight"] * finite,
        }
        yield replace(example, rows=rows)


def _line(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Gain and offset that bring targets to the intensities of the images."""
    spread_x = float(x.std()) if len(x) else 0.0
    if spread_x == 0:
        raise TrainingError("a target is constant: there is nothing to learn from it")
    # Hot pixels would dominate the variance of a dim image.
    clipped = y.clip(*np.percentile(y, (0.1, 99.9)))
    gain, offset, correlation = _least_squares(x, clipped)
    if correlation < _WEAKEST_CORRELATION:
        raise TrainingError(
            f"images and targets do not show the same: their correlation is {correlation:.2f}; "
            "look at their order"
        )
    deviation = np.abs(y - gain * x - offset)
    usual = deviation <= _OUTLIER * np.median(deviation)
    return _least_squares(x[usual], y[usual])[:2] if usual.any() else (gain, offset)


def _least_squares(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]
) -> tuple[float, float, float]:
    covariance = float(((x - x.mean()) * (y - y.mean())).mean())
    spread_x, spread_y = float(x.std()), float(y.std())
    if not spread_x * spread_y:
        return 0.0, float(y.mean()), 0.0
    gain = covariance / spread_x**2
    return gain, float(y.mean() - gain * x.mean()), covariance / (spread_x * spread_y)


def split(examples: Sequence[Example], patch: int) -> tuple[list[Example], list[Example]]:
    """Split examples into those for training and held-out ones for checks.

    Of many planes some are held out, of few the last rows of each. If that leaves too little,
    checks use the training examples.
    """
    fitting = [e for e in examples if min(e.shape) >= patch]
    if not fitting:
        largest = max((e.shape for e in examples), key=min)
        raise ValueError(
            f"images must measure at least patch = {patch} pixels along Y and X, got "
            f"{largest[0]} x {largest[1]}; take a smaller patch"
        )
    if len(fitting) < len(examples):
        dropped = len(examples) - len(fitting)
        warnings.warn(f"{dropped} images are smaller than a patch of {patch} pixels", stacklevel=2)
    if len(fitting) >= _ENOUGH_PLANES:
        count = max(1, round(_HELD_OUT * len(fitting)))
        held = set(np.linspace(0, len(fitting) - 1, count + 2).astype(int)[1:-1].tolist())
        training = [e for i, e in enumerate(fitting) if i not in held]
        return training, [fitting[i] for i in sorted(held)]
    parts = [_split_rows(example, patch) for example in fitting]
    return [a for a, _ in parts], [b for _, b in parts]


def _split_rows(example: Example, patch: int) -> tuple[Example, Example]:
    height = example.shape[0]
    rows = max(round(_HELD_OUT * height), patch)
    if height - rows < patch:
        return example, example
    everything = slice(None)
    return (
        example.part(slice(0, height - rows), everything),
        example.part(slice(height - rows, height), everything),
    )
