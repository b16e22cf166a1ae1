"""Restore a plane on a device: read, run the network, write, one band of rows at a time.

Non-finite pixels are filled for the network and put back afterwards. Reading the next band and
writing the last one overlap with computing: they run in other threads, and file access,
decompression and NumPy release Python's lock::

    reading      │ band 1 │ band 2 │ band 3 │
    computing             │ band 1 │ band 2 │ band 3 │
    writing                        │ band 1 │ band 2 │ band 3 │
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_rednet.engine.channel import NoiseModel, changed, from_network, to_network
from napari_rednet.engine.network import (
    RADIUS,
    RedNet,
    amplitude,
    doubtful_noise,
    fast_dtype,
    free_memory,
    limited_residual,
    poisson_gaussian_std,
    smooth_band,
    stack_inputs,
    used_memory,
)
from napari_rednet.engine.planes import (
    ChannelSettings,
    Plane,
    Strip,
    Tiling,
    choose_tiling,
    cut_into_strips,
    part_of,
    strip_around,
    whole,
)
from napari_rednet.engine.streaming import NetworkRunner, RowStream, add_residual, stream_bytes
from napari_rednet.errors import DeviceMemoryError, ModelError

Item = TypeVar("Item")
Result = TypeVar("Result")

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
        planes = self.network.config.planes
        join = partial(limited_residual, planes=planes) if plane.is_told_noise else add_residual
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
        """Network inputs of a band: images, told noise, mask, as far as the network takes them.

        Told noise is followed by what only `limited_residual` uses: the amplitude, and more if the
        noise is doubtful.
        """
        settings, own = plane.settings, (band.normalized, band.finite)
        x, signal = self._filled(own, band.lacking)
        parts = [_inner(x)]
        if plane.is_told_noise:
            before = len(band.neighbours) // 2
            filled = [self._filled(one, band.lacking) for one in band.neighbours]
            filled.insert(before, (x, signal))
            noises = plane.colors or (settings.noise,)
            along = np.mean([noise.correlation for noise in noises if noise], axis=0)
            images = torch.cat([_inner(image) for image, _ in filled], 1)
            stds = torch.cat([_noise_maps(*one, noises, settings) for one in filled], 1)
            if band.share is not None:
                stds = stds * self._on_device(band.share)
            largest = amplitude(x)
            if plane.colors:
                images, stds = to_opponent(images), opponent_std(stds)
                largest = largest.amax(0, keepdim=True).expand_as(largest)
            here = slice(before, before + 1)
            stds[:, here], more = _believed(stds[:, here], images[:, here], largest, settings)
            parts = [stack_inputs(images, stds, *along), largest, *more]
        if band.mask is not None:
            parts.append(self._on_device(band.mask))
        return torch.cat(parts, 1)

    def _filled(self, part: Normalized, lacking: tuple[int, int]) -> tuple[Tensor, Tensor | None]:
        """Rows with those around them, non-finite pixels filled; the signal if there were any."""
        values, finite = part
        pads = (0, 0, *lacking)
        x = F.pad(self._on_device(values), pads, mode="replicate")
        if finite is None:
            return x, None
        return fill_band(x, F.pad(self._on_device(finite), pads, mode="replicate"))

    def _on_device(self, values: npt.NDArray[Any]) -> Tensor:
        tensor = to_device(np.asarray(values, np.float32), self.device)
        return tensor.view(-1, 1, *tensor.shape[-2:])


def _inner(rows: Tensor) -> Tensor:
    return rows[:, :, RADIUS:-RADIUS]


def _noise_maps(
    x: Tensor,
    signal: Tensor | None,
    noises: Sequence[NoiseModel | None],
    settings: ChannelSettings,
) -> Tensor:
    """The noise map of a band (N, 1, Y, X) by the noise model of each of its images."""
    maps = [
        _noise_map(x[i : i + 1], None if signal is None else signal[i : i + 1], noise, settings)
        for i, noise in enumerate(noises)
        if noise is not None
    ]
    return torch.cat(maps)


def _noise_map(
    x: Tensor, signal: Tensor | None, model: NoiseModel, settings: ChannelSettings
) -> Tensor:
    noise, strength = model.normalized(settings.scale.low, settings.scale.span), settings.strength
    if noise.gain == 0:
        return torch.full_like(_inner(x), min(strength * noise.read_noise, _MOST_STD))
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
    # Threads need memory as well.
    words = (
        "out of memory", "not enough memory", "allocate memory", "can't start new thread",
        "resource temporarily unavailable",
    )  # fmt: skip
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


Normalized = tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_] | None]
"""Values in network units, and which are finite; None if all are."""


@dataclass(frozen=True)
class Band:
    """A band of rows as read, with the rows around them that the noise map depends on.

    `rows` are those to restore, `seen` up to `RADIUS` more above and below. `values` (image units),
    `normalized` (network units) and `finite` (None if all pixels are) cover `seen`, with a leading
    axis of 3 for colours. `neighbours` are the other planes, normalised. `mask`, True where pixels
    are missing, and `share`, of the noise that an average has, cover `rows`.
    """

    rows: slice
    seen: slice
    values: npt.NDArray[Any]
    normalized: npt.NDArray[np.float32]
    finite: npt.NDArray[np.bool_] | None
    mask: npt.NDArray[np.bool_] | None
    neighbours: tuple[Normalized, ...] = ()
    share: npt.NDArray[Any] | None = None

    @property
    def lacking(self) -> tuple[int, int]:
        """How many of the `RADIUS` rows above and below lie outside of the plane."""
        return RADIUS - (self.rows.start - self.seen.start), RADIUS - (
            self.seen.stop - self.rows.stop
        )

    def originals(self) -> tuple[npt.NDArray[np.bool_] | None, npt.NDArray[Any]]:
        """Finite mask (None if all are) and values of `rows`, without the rows around them."""
        finite = None
        if self.finite is not None:
            finite = _inner_rows(self.finite, self.rows, self.seen)
        return finite, _inner_rows(self.values, self.rows, self.seen)


def read_bands(plane: Plane, strip: Strip, height: int) -> Iterator[Band]:
    """Read a strip in bands of `height` rows."""
    for start in range(0, plane.shape[0], height):
        rows = slice(start, min(plane.shape[0], start + height))
        seen = slice(max(0, rows.start - RADIUS), min(plane.shape[0], rows.stop + RADIUS))
        values = np.asarray(plane.read(seen, strip.read))
        normalized, finite = to_network(values, plane.settings.scale)
        mask = None if plane.mask is None else plane.mask(rows, strip.read)
        neighbours = tuple(
            to_network(np.asarray(read(seen, strip.read)), plane.settings.scale)
            for read in plane.neighbours
        )
        share = (
            None if plane.share is None else _inner_rows(plane.share(seen, strip.read), rows, seen)
        )
        yield Band(rows, seen, values, normalized, finite, mask, neighbours, share)


def _inner_rows(values: npt.NDArray[Any], rows: slice, seen: slice) -> npt.NDArray[Any]:
    first = rows.start - seen.start
    return values[..., first : first + rows.stop - rows.start, :]


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
        kept = ~finite | _constant_pixels(plane.settings, original)
        values[kept] = original[kept]
        plane.write(restored.rows, strip.keep, values[..., strip.inner])
    return int(restored.rows.stop) * strip.kept


def _constant_pixels(
    settings: ChannelSettings, values: npt.NDArray[Any]
) -> npt.NDArray[np.bool_] | np.bool_:
    """True where a channel that is constant, or a colour, has its constant value."""
    if not any(settings.is_constant):
        return np.False_
    flags = np.array(settings.is_constant)
    is_there = flags[:, None, None] if values.ndim == 3 else flags[:1]
    return np.asarray((values == 0) & is_there, bool)


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
