"""Fill missing pixels: a smooth guess from coarse to fine, corrected by a network.

Level n of an image pyramid has pixels of 2^n x 2^n pixels of the plane. In wide holes, the network
corrects the guess on coarse levels first: level 2, level 4, and so on until nothing is missing, so
that its view of the surroundings grows with the hole. Level 0 is streamed; level 2 is held whole.

The first guess: a pixel of a coarser level is the mean of the known ones among 2 x 2 of the level
below. Unknown pixels of a level are interpolated linearly from the next coarser one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_rednet.engine.channel import IntensityRange, working_dtype
from napari_rednet.engine.inference import Restorer
from napari_rednet.engine.planes import Plane, Strip, part_of, strip_around

REACH = 8
"""Pixels around a pixel that its guess depends on, given level 2 whole and filled."""
# Level 2 has one pixel for 4 x 4 of the plane.
_STEP = 4
_SMALLEST_SIDE = 8
_BAND_PIXELS = 2**22
# Pixels around a window that its holes are filled from, and a multiple of the pixel sizes of all
# relevant levels.
_SURROUNDINGS, _WHOLE_STEP = 448, 64


def fill_holes(image: Tensor, known: Tensor) -> Tensor:
    """Fill the pixels of images (N, 1, Y, X) smoothly where `known` is 0 instead of 1.

    Values must be finite. An image without any known pixel becomes 0.
    """
    if min(image.shape[-2:]) == 1 or bool(known.all()):
        return torch.where(known > 0, image, _mean(image, known))
    return fill_from(image, known, fill_holes(*halved(image, known)))


def fill_from(image: Tensor, known: Tensor, coarser: Tensor) -> Tensor:
    """Fill unknown pixels from the next coarser level, which has none."""
    guess = _doubled(_doubled(coarser).transpose(2, 3)).transpose(2, 3)
    return torch.where(known > 0, image, guess[..., : image.shape[-2], : image.shape[-1]])


def _doubled(x: Tensor) -> Tensor:
    """Linear enlargement along Y, with operations that give the same result in any window."""
    padded = F.pad(x, (0, 0, 1, 1), mode="replicate")
    before = 0.75 * x + 0.25 * padded[:, :, :-2]
    after = 0.75 * x + 0.25 * padded[:, :, 2:]
    return torch.stack([before, after], 3).reshape(len(x), 1, -1, x.shape[3])


def halved(image: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """The next coarser level: means of the known pixels, and its mask of known pixels."""
    pads = (0, image.shape[-1] % 2, 0, image.shape[-2] % 2)
    weight = F.avg_pool2d(F.pad(known, pads), 2)
    total = F.avg_pool2d(F.pad(torch.where(known > 0, image, 0.0), pads), 2)
    return total / weight.clamp(min=0.25), (weight > 0).to(image.dtype)


def _mean(image: Tensor, known: Tensor) -> Tensor:
    total = (image * known).sum((2, 3), keepdim=True)
    return total / known.sum((2, 3), keepdim=True).clamp(min=1)


class Inpainter:
    """Fills the missing pixels of planes with a network that takes a filled image and its mask."""

    row_margin: ClassVar[int | None] = None

    def __init__(self, restorer: Restorer) -> None:
        self._restorer = restorer

    def restore(self, plane: Plane) -> Iterator[int]:
        """Fill one plane, yielding the number of finished pixels after each band."""
        coarse = self._coarse(plane)
        if coarse is None:
            yield from _copy(plane)
        else:
            yield from self._restorer.restore(filled_plane(plane, coarse))

    def restore_window(self, plane: Plane, rows: slice, columns: slice) -> Iterator[int]:
        """Fill a window of a plane from all that lies within `_SURROUNDINGS` of it.

        The result is that of `restore`, unless that fills wide holes from further away.
        """
        strips = [
            strip_around(part, length, _SURROUNDINGS, _WHOLE_STEP)
            for part, length in zip((rows, columns), plane.shape, strict=True)
        ]
        seen = part_of(plane, *(Strip(strip.read, strip.read) for strip in strips))
        coarse = self._coarse(seen)
        inner = (strips[0].inner, strips[1].inner)
        if coarse is None:
            seen.write(*inner, np.asarray(seen.read(*inner)))
            yield (rows.stop - rows.start) * (columns.stop - columns.start)
        else:
            yield from self._restorer.restore_window(filled_plane(seen, coarse), *inner)

    @torch.inference_mode()
    def _coarse(self, plane: Plane) -> Tensor | None:
        """Level 2 of a plane, normalised and without holes; None if the plane has no holes."""
        levels, is_whole = [], True
        for values, known in _bands(plane):
            is_whole = is_whole and bool(known.all())
            levels.append(halved(*halved(values, known)))
        if is_whole:
            return None
        values, known = (torch.cat(parts, 2) for parts in zip(*levels, strict=True))
        # What is the same everywhere leaves a network nothing to correct.
        fill = fill_holes if all(plane.settings.is_constant) else self._filled
        return fill(values, known)

    def _filled(self, values: Tensor, known: Tensor) -> Tensor:
        """Fill a level: guess from two levels above, corrected by the network."""
        if bool(known.all()):
            return values
        if min(values.shape[2:]) < _SMALLEST_SIDE:
            return fill_holes(values, known)
        once = halved(values, known)
        guess = fill_from(values, known, fill_from(*once, self._filled(*halved(*once))))
        inputs = torch.cat([guess, 1 - known], 1).to(self._restorer.device)
        return torch.where(known > 0, values, self._restorer.runner.run(inputs).cpu())


def _copy(plane: Plane) -> Iterator[int]:
    for rows, columns in _windows(plane.shape):
        plane.write(rows, columns, np.asarray(plane.read(rows, columns)))
        yield rows.stop * plane.shape[1]


def _windows(shape: tuple[int, int]) -> Iterator[tuple[slice, slice]]:
    height, width = shape
    band = max(1, _BAND_PIXELS // width // _STEP) * _STEP
    for start in range(0, height, band):
        yield slice(start, min(height, start + band)), slice(0, width)


def _bands(plane: Plane) -> Iterator[tuple[Tensor, Tensor]]:
    for window in _windows(plane.shape):
        values, known = _window(plane, *window)
        yield _normalized(values, known, plane.settings.scale), _tensor(known, np.float32)


def filled_plane(plane: Plane, coarse: Tensor) -> Plane:
    """A plane that is read with its holes filled from `coarse`, and keeps its known pixels."""

    def read(rows: slice, columns: slice) -> npt.NDArray[np.floating]:
        wide = [
            _aligned(part, side) for part, side in zip((rows, columns), plane.shape, strict=True)
        ]
        values, known = _window(plane, *wide)
        filled = _fill_window(values, known, plane.settings.scale, _part_of(coarse, *wide))
        inner = (
            slice(part.start - w.start, part.stop - w.start)
            for part, w in zip((rows, columns), wide, strict=True)
        )
        return filled[tuple(inner)]

    def missing(rows: slice, columns: slice) -> npt.NDArray[np.bool_]:
        return ~_window(plane, rows, columns)[1]

    def write(rows: slice, columns: slice, restored: npt.NDArray[np.generic]) -> None:
        original = np.asarray(plane.read(rows, columns))
        mask = _mask(plane, rows, columns)
        plane.write(rows, columns, np.where(mask, restored, original))

    return replace(plane, read=read, write=write, mask=missing)


def _window(
    plane: Plane, rows: slice, columns: slice
) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.bool_]]:
    values = np.asarray(plane.read(rows, columns))
    return values, np.isfinite(values) & ~_mask(plane, rows, columns)


def _mask(plane: Plane, rows: slice, columns: slice) -> npt.NDArray[np.bool_]:
    if plane.mask is None:
        raise ValueError("a plane to inpaint needs a mask")
    return np.asarray(plane.mask(rows, columns))


def _aligned(part: slice, side: int) -> slice:
    """Widen a range of rows or columns by `REACH`, to whole pixels of level 2."""
    start = max(0, part.start - REACH) // _STEP * _STEP
    return slice(start, min(side, -(-(part.stop + REACH) // _STEP) * _STEP))


def _part_of(coarse: Tensor, rows: slice, columns: slice) -> Tensor:
    parts = (slice(p.start // _STEP, -(-p.stop // _STEP)) for p in (rows, columns))
    return coarse[(slice(None), slice(None), *parts)]


def _fill_window(
    values: npt.NDArray[np.generic],
    known: npt.NDArray[np.bool_],
    scale: IntensityRange,
    coarse: Tensor,
) -> npt.NDArray[np.floating]:
    wide = working_dtype(values.dtype)
    if known.all():
        return values.astype(wide)
    x, mask = _normalized(values, known, scale), _tensor(known, np.float32)
    filled = fill_from(x, mask, fill_from(*halved(x, mask), coarse))[0, 0].numpy()
    guess = filled.astype(wide) * wide(scale.span) + wide(scale.low)
    result: npt.NDArray[np.floating] = np.where(known, values.astype(wide), guess)
    return result


def _normalized(
    values: npt.NDArray[np.generic], known: npt.NDArray[np.bool_], scale: IntensityRange
) -> Tensor:
    wide = working_dtype(values.dtype)
    scaled = (np.where(known, values, 0).astype(wide) - wide(scale.low)) / wide(scale.span)
    return _tensor(np.where(known, scaled, 0), np.float32)


def _tensor(values: npt.NDArray[np.generic], dtype: type) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype))[None, None]
