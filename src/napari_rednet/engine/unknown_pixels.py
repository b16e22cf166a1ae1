"""Pixels that are not finite: filled for the network, and put back afterwards."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_rednet.engine.noise_map import RADIUS, smooth_band


class FiniteRows:
    """Remembers the pixels that are not finite until their rows are restored.

    One thread may put rows while another one puts them back.
    """

    def __init__(self) -> None:
        self._bands: deque[tuple[npt.NDArray[np.bool_] | None, npt.NDArray[Any]]] = deque()
        self._first = 0

    def put(self, finite: npt.NDArray[np.bool_] | None, original: npt.NDArray[Any]) -> None:
        """Add a band as it was read."""
        kept = original[..., :0] if finite is None else original.copy()
        self._bands.append((finite, kept))

    def put_back(self, values: npt.NDArray[Any]) -> None:
        """Give the next rows their original values where those were not finite."""
        start = 0
        while start < values.shape[-2]:
            finite, original = self._bands[0]
            height = original.shape[-2]
            count = min(height - self._first, values.shape[-2] - start)
            if finite is not None:
                rows = (..., slice(self._first, self._first + count), slice(None))
                part = values[..., start : start + count, :]
                part[~finite[rows]] = original[rows][~finite[rows]]
            start += count
            self._first += count
            if self._first == height:
                self._bands.popleft()
                self._first = 0


def fill_band(x: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Fill unknown pixels from their neighbours; return also the smoothed signal of the band.

    Where nothing is known nearby, both are 0, the lower end of the range.
    """
    weight = smooth_band(known)
    signal = smooth_band(x * known) / weight.clamp(min=1e-6)
    filled = x.clone()
    inner = slice(RADIUS, -RADIUS)
    filled[:, :, inner] = torch.where(known[:, :, inner] > 0, x[:, :, inner], signal)
    return filled, signal


def fill_image(x: Tensor, known: Tensor) -> Tensor:
    """`fill_band` for an image that is there as a whole."""
    pads = (0, 0, RADIUS, RADIUS)
    padded = (F.pad(part, pads, mode="replicate") for part in (x, known))
    return fill_band(*padded)[0][:, :, RADIUS:-RADIUS]
