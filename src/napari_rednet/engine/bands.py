"""Bands of rows of a plane on their way to the network and back through a device's memory.

Non-finite pixels are filled for the network and put back afterwards. Reading the next band and
writing the last one overlap with computing: they run in other threads, and file access,
decompression and NumPy release Python's lock::

    reading      │ band 1 │ band 2 │ band 3 │
    computing             │ band 1 │ band 2 │ band 3 │
    writing                        │ band 1 │ band 2 │ band 3 │
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_rednet.engine.images import changed, from_network, to_network
from napari_rednet.engine.noise_map import RADIUS, smooth_band
from napari_rednet.engine.planes import Plane, Strip


def to_device(values: npt.NDArray[Any], device: torch.device) -> Tensor:
    """Copy an array to the device; for a GPU, asynchronously from pinned memory."""
    tensor = torch.from_numpy(values)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


class Fetching:
    """An asynchronous copy of a tensor to the CPU; it starts at once, and `take` waits for it."""

    def __init__(self, tensor: Tensor) -> None:
        self._done: torch.cuda.Event | None = None
        self._tensor = tensor
        if tensor.device.type == "cuda":
            self._tensor = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            self._tensor.copy_(tensor, non_blocking=True)
            self._done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._done.record(torch.cuda.current_stream(tensor.device))

    def take(self) -> npt.NDArray[Any]:
        """The values."""
        if self._done is not None:
            self._done.synchronize()
        return np.asarray(self._tensor.cpu())


class NotFiniteError(Exception):
    """A result overflowed."""


@dataclass(frozen=True)
class Band:
    """A band of rows as read, with the rows around them that the noise map depends on.

    `rows` are those to restore, `seen` up to `RADIUS` more above and below. `values` (image units),
    `normalized` (network units) and `finite` (None if all pixels are) cover `seen`, with a leading
    axis of 3 for colours. `mask`, True where pixels are missing, covers `rows`.
    """

    rows: slice
    seen: slice
    values: npt.NDArray[Any]
    normalized: npt.NDArray[np.float32]
    finite: npt.NDArray[np.bool_] | None
    mask: npt.NDArray[np.bool_] | None

    @property
    def lacking(self) -> tuple[int, int]:
        """How many of the `RADIUS` rows above and below lie outside of the plane."""
        return RADIUS - (self.rows.start - self.seen.start), RADIUS - (
            self.seen.stop - self.rows.stop
        )

    def originals(self) -> tuple[npt.NDArray[np.bool_] | None, npt.NDArray[Any]]:
        """Finite mask (None if all are) and values of `rows`, without the rows around them."""
        first = self.rows.start - self.seen.start
        inner = slice(first, first + self.rows.stop - self.rows.start)
        finite = None if self.finite is None else self.finite[..., inner, :]
        return finite, self.values[..., inner, :]


def read_bands(plane: Plane, strip: Strip, height: int) -> Iterator[Band]:
    """Read a strip in bands of `height` rows."""
    for start in range(0, plane.shape[0], height):
        rows = slice(start, min(plane.shape[0], start + height))
        seen = slice(max(0, rows.start - RADIUS), min(plane.shape[0], rows.stop + RADIUS))
        values = np.asarray(plane.read(seen, strip.read))
        normalized, finite = to_network(values, plane.settings.scale)
        mask = None if plane.mask is None else plane.mask(rows, strip.read)
        yield Band(rows, seen, values, normalized, finite, mask)


@dataclass(frozen=True)
class RestoredRows:
    """Final rows in network units, on their way from the device.

    If the network is told the noise, `values` are what is added to the image.
    """

    rows: slice
    values: Fetching


def put_rows(plane: Plane, strip: Strip, pending: PendingRows, restored: RestoredRows) -> int:
    """Write rows in image units; return how many pixels of the strip are done.

    Raises `NotFiniteError` if the network's result is not finite.
    """
    found = restored.values.take()
    if not np.isfinite(found).all():
        raise NotFiniteError
    if found.size:
        finite, original = pending.take(found.shape[-2])
        scale = plane.settings.scale
        if plane.is_told_noise:
            values = changed(original, found, scale, plane.dtype)
        else:
            values = from_network(found, scale, plane.dtype)
        values[~finite] = original[~finite]
        plane.write(restored.rows, strip.keep, values[..., strip.inner])
    return int(restored.rows.stop) * strip.kept


class PendingRows:
    """Queue of rows as read; one thread may put rows while another one takes them."""

    def __init__(self) -> None:
        self._bands: deque[tuple[npt.NDArray[np.bool_] | None, npt.NDArray[Any]]] = deque()

    def put(self, finite: npt.NDArray[np.bool_] | None, original: npt.NDArray[Any]) -> None:
        """Add a band and its finite mask, None if all pixels are finite."""
        self._bands.append((finite, original.copy()))

    def take(self, count: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[Any]]:
        """Finite mask and values of the next `count` rows."""
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
    """Fill unknown pixels with the smoothed signal around them; return filled band and signal.

    Where nothing is known nearby, both are 0, the lower end of the range.
    """
    weight = smooth_band(known)
    signal = smooth_band(x * known) / weight.clamp(min=1e-6)
    filled = x.clone()
    inner = slice(RADIUS, -RADIUS)
    filled[:, :, inner] = torch.where(known[:, :, inner] > 0, x[:, :, inner], signal)
    return filled, signal


def fill_image(x: Tensor, known: Tensor) -> Tensor:
    """`fill_band` for a whole image."""
    pads = (0, 0, RADIUS, RADIUS)
    padded = (F.pad(part, pads, mode="replicate") for part in (x, known))
    return fill_band(*padded)[0][:, :, RADIUS:-RADIUS]


Item = TypeVar("Item")
Result = TypeVar("Result")


def one_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The items, each made in another thread while the one before it is in use."""
    end = object()
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = pool.submit(next, items, end)
            yield item  # type: ignore[misc]  # it is not the end


def one_behind(work: Callable[[Item], Result], items: Iterator[Item]) -> Iterator[Result]:
    """``map(work, items)``, with `work` done in another thread while the next item is made."""
    with ThreadPoolExecutor(1) as pool:
        working: list[Future[Result]] = []
        for item in items:
            # Nothing is begun after work that failed.
            done = [future.result() for future in working]
            working = [pool.submit(work, item)]
            yield from done
        yield from (future.result() for future in working)
