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


class PendingRows:
    """Rows as they were read, until they are restored.

    One thread may put rows while another one takes them.
    """

    def __init__(self) -> None:
        self._bands: deque[tuple[npt.NDArray[np.bool_] | None, npt.NDArray[Any]]] = deque()

    def put(self, finite: npt.NDArray[np.bool_] | None, original: npt.NDArray[Any]) -> None:
        """Add a band, and which of its pixels are finite, None if all are."""
        self._bands.append((finite, original.copy()))

    def take(self, count: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[Any]]:
        """Which pixels of the next rows are finite, and the rows."""
        taken = []
        while count > 0:
            finite, original = self._bands.popleft()
            known = np.ones(original.shape, bool) if finite is None else finite
            taken.append((known[..., :count, :], original[..., :count, :]))
            if count < original.shape[-2]:
                self._bands.appendleft((known[..., count:, :], original[..., count:, :]))
            count -= taken[-1][1].shape[-2]
        known, rows = zip(*taken, strict=True)
        return np.concatenate(known, -2), np.concatenate(rows, -2)


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
