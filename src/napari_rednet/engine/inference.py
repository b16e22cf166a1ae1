"""Restore a plane on a device: read, run the network, write, one band of rows at a time."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_rednet.engine.channel import (
    RADIUS,
    NoiseModel,
    amplitude,
    doubtful_noise,
    limited_residual,
    poisson_gaussian_std,
    smooth_band,
    told_noise,
)
from napari_rednet.engine.network import RedNet, fast_dtype, free_memory, used_memory
from napari_rednet.engine.planes import (
    Band,
    ChannelSettings,
    Fetching,
    NotFiniteError,
    PendingRows,
    Plane,
    RestoredRows,
    Strip,
    Tiling,
    choose_tiling,
    cut_into_strips,
    fill_band,
    one_ahead,
    one_behind,
    part_of,
    put_rows,
    read_bands,
    strip_around,
    to_device,
    whole,
)
from napari_rednet.engine.streaming import NetworkRunner, RowStream, add_residual, stream_bytes
from napari_rednet.errors import DeviceMemoryError, ModelError

# Orthogonal rows. The mean has the colours' range, the differences have the colours' noise.
_MEAN = (1 / 3, 1 / 3, 1 / 3)
_RED_BLUE = (0.5**0.5, 0.0, -(0.5**0.5))
_GREEN_OTHERS = (-((1 / 6) ** 0.5), (2 / 3) ** 0.5, -((1 / 6) ** 0.5))
# Shifts differences, which are around 0, to the middle of the range, where gray images are.
_MIDDLE = (0.0, 0.5, 0.5)
logger = logging.getLogger(__name__)
_MEGABYTE = 2**20
# Bands that fit into a CPU's cache and keep a GPU busy.
_BAND_PIXELS = {"cpu": 3 * 2**14, "cuda": 2**22, "mps": 2**21}
# Small planes, too, are cut into several bands where that costs little, so that progress shows
# soon and cancelling takes effect.
_LEAST_BAND_PIXELS = 3 * 2**13
_BANDS_OF_A_PLANE = 4
_CPU_BUDGET = 512 * _MEGABYTE
# The square of what a network is told must be a float32.
_MOST_STD = 1e12


@dataclass
class Restorer:
    """Runs one network, or its ensemble over 8 orientations, over planes.

    `tile` limits the columns and rows held at once (None chooses from the free memory), `memory`
    the bytes of main memory that the process holds. `dtype` None is the device's fastest good
    precision. `overlap` reads and writes in other threads where this pays: on a GPU, or from files.
    """

    network: RedNet
    device: torch.device
    ensemble: bool = False
    tile: int | None = None
    memory: int | None = None
    dtype: torch.dtype | None = None
    overlap: bool = True
    runner: NetworkRunner = field(init=False)

    def __post_init__(self) -> None:
        self.runner = NetworkRunner(self.network, self.device, self.ensemble)

    def restore(self, plane: Plane) -> Iterator[int]:
        """Restore one plane, yielding the number of finished pixels after each band.

        When device memory runs out, the tiling is halved and the current strip starts again; a
        non-finite result in low precision is computed in float32. Raises `DeviceMemoryError` if the
        smallest tiling does not fit either.
        """
        dtype = self.dtype or fast_dtype(self.device)
        tiling = self._tiling(plane.shape, dtype, max(1, len(plane.colors)))
        start = 0
        while start < plane.shape[1]:
            strip = self._strip_at(start, plane.shape[1], tiling)
            try:
                for pixels in self._restore_strip(plane, strip, tiling, dtype):
                    yield start * plane.shape[0] + pixels
            except NotFiniteError as error:
                if dtype is torch.float32:
                    raise ModelError(
                        "the network's result is not finite, even in float32"
                    ) from error
                logger.info("the result in %s is not finite; using float32", dtype)
                dtype = torch.float32
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                tiling = self._smaller(tiling, error)
            else:
                start = strip.keep.stop

    def restore_window(self, plane: Plane, rows: slice, columns: slice) -> Iterator[int]:
        """Restore a window of a plane as `restore` would, up to rounding."""
        stride = self.network.config.stride
        strips = (
            strip_around(part, length, self.margin, stride)
            for part, length in zip((rows, columns), plane.shape, strict=True)
        )
        yield from self.restore(part_of(plane, *strips))

    @property
    def margin(self) -> int:
        """Radius in pixels of what a result depends on: receptive field and noise map."""
        return self.network.config.receptive_radius + RADIUS

    @property
    def row_margin(self) -> int:
        """Rows that are restored with a segment and discarded."""
        return self.margin

    def _strip_at(self, start: int, width: int, tiling: Tiling) -> Strip:
        stride = self.network.config.stride
        found = cut_into_strips(width, tiling.side, self.margin, stride)
        strip = next(s for s in found if s.keep.stop > start)
        # After a change of tiling, a strip may begin in front of `start`.
        return Strip(strip.read, slice(start, strip.keep.stop))

    def _smaller(self, tiling: Tiling, error: Exception) -> Tiling:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        smaller = tiling.halved()
        if smaller == tiling:
            raise DeviceMemoryError(
                f"{self.device} has too little memory even for bands of {tiling.band} x "
                f"{tiling.side} pixels; close other programs or choose another device"
            ) from error
        logger.info("out of memory on %s; bands of %d rows now", self.device, smaller.band)
        return smaller

    def _tiling(self, shape: tuple[int, int], dtype: torch.dtype, colors: int = 1) -> Tiling:
        if self.tile is not None:
            return Tiling(self.tile, min(self.tile, shape[0]))
        config = self.network.config
        copies = colors * (8 if self.ensemble else 1)

        def size(side: int, band: int) -> int:
            read = min(shape[1], side + 2 * self.margin)
            return copies * stream_bytes(config, read, band, dtype.itemsize)

        pixels = _BAND_PIXELS[self.device.type]
        if self.device.type == "cpu":
            share = shape[0] * shape[1] // (_BANDS_OF_A_PLANE * config.stride**2)
            pixels = min(pixels, max(_LEAST_BAND_PIXELS, share))
        return choose_tiling(shape, pixels * config.stride**2 // colors, self._budget(), size)

    def _budget(self) -> int:
        """Bytes to use: part of the free memory, on a CPU no more than is useful."""
        free = free_memory(self.device)
        if self.device.type != "cpu":
            return free // 2
        allowed = free if self.memory is None else min(free, self.memory - used_memory())
        return min(max(0, allowed) // 4, _CPU_BUDGET)

    def _restore_strip(
        self, plane: Plane, strip: Strip, tiling: Tiling, dtype: torch.dtype
    ) -> Iterator[int]:
        pending = PendingRows()
        put = partial(put_rows, plane, strip, pending)
        bands = read_bands(plane, strip, tiling.band)
        if self._is_overlap_worth(plane) and tiling.band < plane.shape[0]:
            computed = self._computed(one_ahead(bands), plane, strip, pending, dtype)
            return one_behind(put, computed)
        return map(put, self._computed(bands, plane, strip, pending, dtype))

    def _is_overlap_worth(self, plane: Plane) -> bool:
        # Else the other threads would only take processor time from the network.
        return self.overlap and (self.device.type != "cpu" or plane.is_stored)

    @torch.inference_mode()
    def _computed(
        self,
        bands: Iterator[Band],
        plane: Plane,
        strip: Strip,
        pending: PendingRows,
        dtype: torch.dtype,
    ) -> Iterator[RestoredRows]:
        cuts = plane.cuts.within(plane.shape, whole(plane.shape[0]), strip)
        join = limited_residual if plane.is_told_noise else add_residual
        streams = [
            RowStream(network, strip.width, cuts, join) for network in self.runner.networks(dtype)
        ]
        done = 0
        for band in bands:
            pending.put(*band.originals())
            inputs = self._inputs(band, plane)
            outputs = [stream.push(inputs) for stream in streams]
            if band.rows.stop == plane.shape[0]:
                last = [stream.finish() for stream in streams]
                outputs = [torch.cat(pair, 2) for pair in zip(outputs, last, strict=True)]
            restored = torch.stack(outputs).mean(0) if len(outputs) > 1 else outputs[0]
            rows = slice(done, done + restored.shape[2])
            done = rows.stop
            result = mix_back(restored[:, 0]) if plane.colors else restored[0, 0]
            yield RestoredRows(rows, Fetching(result))

    def _inputs(self, band: Band, plane: Plane) -> Tensor:
        """Network inputs of a band: image, told noise, mask, as far as the network takes them.

        Told noise is followed by what only `limited_residual` uses: the amplitude, and more if the
        noise is doubtful.
        """
        pads = (0, 0, *band.lacking)
        x = F.pad(self._on_device(band.normalized), pads, mode="replicate")
        signal = None
        if band.finite is not None:
            known = F.pad(self._on_device(band.finite), pads, mode="replicate")
            x, signal = fill_band(x, known)
        settings, parts = plane.settings, [x[:, :, RADIUS:-RADIUS]]
        if plane.colors:
            maps = [
                _noise_map(
                    x[i : i + 1], None if signal is None else signal[i : i + 1], noise, settings
                )
                for i, noise in enumerate(plane.colors)
            ]
            along = np.mean([noise.correlation for noise in plane.colors], axis=0)
            largest = amplitude(x).amax(0, keepdim=True).expand_as(parts[0])
            image, std = to_opponent(parts[0]), opponent_std(torch.cat(maps))
            std, more = _believed(std, image, largest, settings)
            parts = [image, told_noise(std, *along), largest, *more]
        elif settings.noise is not None:
            largest = amplitude(x)
            std = _noise_map(x, signal, settings.noise, settings)
            std, more = _believed(std, parts[0], largest, settings)
            parts += [told_noise(std, *settings.noise.correlation), largest, *more]
        if band.mask is not None:
            parts.append(self._on_device(band.mask))
        return torch.cat(parts, 1)

    def _on_device(self, values: npt.NDArray[Any]) -> Tensor:
        tensor = to_device(np.asarray(values, np.float32), self.device)
        return tensor.view(-1, 1, *tensor.shape[-2:])


def _noise_map(
    x: Tensor, signal: Tensor | None, model: NoiseModel, settings: ChannelSettings
) -> Tensor:
    noise, strength = model.normalized(settings.scale.low, settings.scale.span), settings.strength
    if noise.gain == 0:
        std = min(strength * noise.read_noise, _MOST_STD)
        return torch.full_like(x[:, :, RADIUS:-RADIUS], std)
    light = (smooth_band(x) if signal is None else signal) - noise.offset
    local = poisson_gaussian_std(light, noise.gain, noise.read_noise)
    return torch.clamp(strength * local, max=_MOST_STD)


def _believed(
    std: Tensor, image: Tensor, largest: Tensor, settings: ChannelSettings
) -> tuple[Tensor, list[Tensor]]:
    """The noise to tell, and further channels for `limited_residual` if it may be too strong."""
    if not settings.flat:
        return std, []
    low, span = settings.scale.low, settings.scale.span
    flat = torch.tensor([(level - low) / span for level in settings.flat]).to(image)
    flat = flat.view(-1, 1, 1, 1)
    flat = to_opponent(flat) if len(flat) > 1 else flat
    told, more = doubtful_noise(image, std, largest, settings.most_noise / span, flat)
    return told, [more]


def is_out_of_memory(error: BaseException) -> bool:
    """True if an error of torch means that memory ran out, on any device."""
    words = ("out of memory", "not enough memory", "can't allocate memory")
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(word in text for word in words)


def to_opponent(colors: Tensor) -> Tensor:
    """Mean of the colours, red minus blue, green minus both: (3, ..., Y, X), normalised.

    K. Dabov et al., "Color image denoising via sparse 3D collaborative filtering", ICIP 2007.
    """
    return _mixed(_matrix(colors), colors) + _middle(colors)


def mix_back(changes: Tensor) -> Tensor:
    """Changes of the colours for changes of their opponent planes; inverse of `to_opponent`."""
    matrix = _matrix(changes)
    return _mixed((matrix / matrix.square().sum(1, keepdim=True)).T, changes)


def opponent_std(std: Tensor) -> Tensor:
    """Noise standard deviation of opponent planes, from that of the colours."""
    return _mixed(_matrix(std).square(), std.square()).sqrt()


def _mixed(matrix: Tensor, planes: Tensor) -> Tensor:
    mixed: Tensor = torch.tensordot(matrix, planes, 1)
    return mixed


def _matrix(like: Tensor) -> Tensor:
    return torch.tensor([_MEAN, _RED_BLUE, _GREEN_OTHERS], dtype=like.dtype, device=like.device)


def _middle(like: Tensor) -> Tensor:
    shape = (3, *[1] * (like.ndim - 1))
    return torch.tensor(_MIDDLE, dtype=like.dtype, device=like.device).view(shape)
