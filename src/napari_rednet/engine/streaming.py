"""Exact execution of a RED-Net in bands of rows, with memory that does not depend on the height.

Every layer keeps the last rows of its input, so that the next band continues where this one
ended and each layer emits only rows that are final::

    rows in        conv 1         conv 2          ...        deconv n      rows out
    ┌──────┐  push ┌──────┐  push ┌──────┐                   ┌──────┐
    │ band │ ────▶ │carry │ ────▶ │carry │ ────▶  ...  ────▶ │carry │ ────▶ rows that are
    └──────┘       │ band │       │ band │                   │ band │       final now
                   └──────┘       └──────┘                   └──────┘
                       └── skip: a queue of rows ──────▶ + ──┘

A zero row above the first row and one below the last are the zero padding of the paper. Nothing
is computed twice, and the result does not depend on where the bands are cut.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_rednet.engine.network import (
    NetworkConfig,
    RedNet,
    as_convolution,
    as_subpixel_convolution,
)
from napari_rednet.errors import ModelError

_LAYOUT = torch.channels_last


@dataclass(frozen=True)
class Layer:
    """Weights of one layer, in the precision and on the device that it runs in."""

    weight: Tensor
    bias: Tensor
    stride: int

    @property
    def kernel(self) -> int:
        """Height of the kernel in rows."""
        return self.weight.shape[-1]


class StreamableNetwork:
    """A RED-Net made ready to run in bands; shared by any number of streams.

    Parameters
    ----------
    network : RedNet
        The network; its weights are copied.
    device, dtype :
        Where and in which precision to run. The sum with the input is always float32.
    """

    def __init__(self, network: RedNet, device: torch.device, dtype: torch.dtype) -> None:
        self.config = network.config
        self.device = device
        self.dtype = dtype
        self.layers = [self._prepare(layer) for layer in network.layers()]
        half = self.config.half
        self.source_of = {half + i - 1: conv - 1 for conv, i in self.config.skip_pairs}
        self.skip_sources = frozenset(self.source_of.values())
        self._can_fuse = _can_fuse(device, dtype)

    def convolve(self, x: Tensor, layer: Layer) -> Tensor:
        """Convolve rows that bring their own vertical padding; ReLU for all layers but the last."""
        if x.shape[3] < 2 * layer.stride and layer.stride > 1:
            # Where one column comes out, oneDNN (PyTorch 2.13, bfloat16 on AMX) reads memory that
            # is not the image's.
            return self.convolve(F.pad(x, (0, layer.stride)), layer)[..., :1]
        is_hidden = layer is not self.layers[-1]
        stride, padding = [layer.stride] * 2, [0, 1]
        if self._can_fuse:
            after = "relu" if is_hidden else "none"
            fused: Tensor = torch.ops.mkldnn._convolution_pointwise(  # noqa: SLF001
                x, layer.weight, layer.bias, padding, stride, [1, 1], 1, after, [None], None
            )
            return fused
        y = F.conv2d(x, layer.weight, layer.bias, stride, padding)
        return F.relu_(y) if is_hidden else y

    def _prepare(self, layer: nn.Conv2d | nn.ConvTranspose2d) -> Layer:
        weight = layer.weight.detach()
        bias = torch.zeros(layer.out_channels) if layer.bias is None else layer.bias.detach()
        if not (torch.isfinite(weight).all() and torch.isfinite(bias).all()):
            # A fused ReLU would turn what comes of it into zeros, and nobody would notice.
            raise ModelError("the weights are damaged: they hold values that are not finite")
        stride = layer.stride[0]
        if isinstance(layer, nn.ConvTranspose2d):
            bias = bias.repeat_interleave(stride**2)
            weight = as_convolution(weight) if stride == 1 else as_subpixel_convolution(weight)
            stride = 1
        return Layer(
            weight.to(self.device, self.dtype, memory_format=_LAYOUT),
            bias.to(self.device, self.dtype),
            stride,
        )


class RowStream:
    """One pass of a network over the rows of a batch of planes of one width.

    Parameters
    ----------
    network : StreamableNetwork
        What to run.
    width : int
        Columns of the planes.

    Examples
    --------
    ``torch.cat([stream.push(band) for band in bands] + [stream.finish()], dim=2)`` is the
    network's result for ``torch.cat(bands, dim=2)``.
    """

    def __init__(self, network: StreamableNetwork, width: int) -> None:
        self._network = network
        self._extra_column = width % network.config.stride
        self._carries: list[Tensor | None] = [None] * len(network.layers)
        self._skips = {source: _RowQueue() for source in network.skip_sources}
        self._inputs = _RowQueue()
        self._workspaces: dict[int, Tensor] = {}
        self._last_row: Tensor | None = None
        self._rows_in = self._rows_out = 0

    def push(self, rows: Tensor) -> Tensor:
        """Add rows (N, in_channels, rows, X), float32; return the output rows final now."""
        if rows.shape[2] == 0:
            return self._cut(rows)
        padded = F.pad(rows, (0, self._extra_column, 0, 0), mode="replicate")
        self._rows_in += rows.shape[2]
        self._last_row = padded[:, :, -1:]
        return self._advance(padded, is_last=False)

    def finish(self) -> Tensor:
        """End the planes; return their remaining output rows."""
        if self._last_row is None:
            raise ValueError("finish() needs at least one row")
        extra = self._last_row[:, :, : self._rows_in % self._network.config.stride]
        return self._advance(extra, is_last=True)

    def _advance(self, rows: Tensor, is_last: bool) -> Tensor:
        network, config = self._network, self._network.config
        self._inputs.put(rows[:, : config.out_channels])
        x = rows.to(network.dtype, memory_format=_LAYOUT)
        for i, layer in enumerate(network.layers):
            seen = self._joined(i, x, is_last)
            del x  # so that the layer's result takes its place, which is in the cache
            x = self._run(i, layer, seen)
            if i in network.skip_sources:
                self._skips[i].put(x)
        restored = F.pixel_shuffle(x.float(), config.stride)
        self._inputs.add_to(restored, restored)
        return self._cut(restored)

    def _run(self, i: int, layer: Layer, seen: Tensor) -> Tensor:
        """Apply layer `i` to the rows that have become complete, and keep what it needs later."""
        count = max(0, (seen.shape[2] - layer.kernel) // layer.stride + 1)
        used = count * layer.stride
        self._carries[i] = seen[:, :, used:].clone(memory_format=_LAYOUT)
        if count == 0:
            return _no_rows(seen, layer.weight.shape[0], seen.shape[3] // layer.stride)
        return self._network.convolve(seen, layer)

    def _joined(self, i: int, x: Tensor, is_last: bool) -> Tensor:
        """What layer `i` sees: the rows it kept, the new ones, and zeros at the top and the end.

        The new ones are what the layer before made, and what a skip connection adds to it. All
        layers use the same memory in turn: fresh memory for each would cost more than the copies.
        """
        carry, source = self._carries[i], self._network.source_of.get(i - 1)
        start = 1 if carry is None else carry.shape[2]
        stop = start + x.shape[2]
        seen = self._workspace(x, stop + is_last)
        seen[:, :, :start] = 0 if carry is None else carry
        if source is None:
            seen[:, :, start:stop] = x
        else:
            self._skips[source].add_to(x, seen[:, :, start:stop])
        seen[:, :, stop:] = 0
        return seen

    def _workspace(self, x: Tensor, rows: int) -> Tensor:
        """Memory for rows like those of `x`, without gaps between planes, which would be copied."""
        planes, channels, _, width = x.shape
        count = planes * rows * width * channels
        found = self._workspaces.get(channels)
        if found is None or len(found) < count:
            found = self._workspaces[channels] = x.new_empty(count)
        return found[:count].view(planes, rows, width, channels).permute(0, 3, 1, 2)

    def _cut(self, rows: Tensor) -> Tensor:
        """Remove what odd sizes were extended by."""
        kept = rows[:, : self._network.config.out_channels]
        kept = kept[:, :, : self._rows_in - self._rows_out]
        self._rows_out += kept.shape[2]
        return kept[..., : kept.shape[3] - self._extra_column]


def run_in_bands(network: StreamableNetwork, image: Tensor, band: int) -> Tensor:
    """Run a network over an image that is there as a whole, in bands for the cache's sake."""
    stream = RowStream(network, image.shape[3])
    parts = [stream.push(rows) for rows in torch.split(image, band, 2)]
    return torch.cat([*parts, stream.finish()], 2)


class _RowQueue:
    """Rows that wait for the layers in between to catch up."""

    def __init__(self) -> None:
        self._bands: deque[Tensor] = deque()

    def put(self, rows: Tensor) -> None:
        if rows.shape[2]:
            self._bands.append(rows)

    def add_to(self, rows: Tensor, out: Tensor) -> None:
        """Take as many rows as `rows` has, and write the sum to `out`, which may be `rows`."""
        start = 0
        while start < rows.shape[2]:
            band = self._bands.popleft()
            stop = min(start + band.shape[2], rows.shape[2])
            here, count = (..., slice(start, stop), slice(None)), stop - start
            torch.add(rows[here], band[:, :, :count], out=out[here])
            if count < band.shape[2]:
                self._bands.appendleft(band[:, :, count:])
            start = stop


def _can_fuse(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether oneDNN's convolution with ReLU, which spares a pass over memory, can be called."""
    if device.type != "cpu" or not torch.backends.mkldnn.enabled:
        return False
    if not hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
        return False
    if dtype is torch.bfloat16:  # oneDNN has it from AVX-512 on; elsewhere it is emulated
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001
    return dtype is torch.float32


def _no_rows(like: Tensor, channels: int, width: int) -> Tensor:
    return like.new_empty((like.shape[0], channels, 0, width))


def stream_bytes(config: NetworkConfig, width: int, band: int, item_bytes: int) -> int:
    """Memory that a stream holds at its peak, in bytes, for one plane.

    Parameters
    ----------
    width, band : int
        Columns of the plane and rows of a band, in image pixels.
    item_bytes : int
        Bytes per value: 2 in half precision, 4 in float32.
    """
    columns, rows = -(-width // config.stride), -(-band // config.stride)
    carried = 2 * config.layers
    waiting = sum(2 * i + 1 + (config.half - i - 1) * 2 for _, i in config.skip_pairs)
    waiting += len(config.skip_pairs) * rows
    working = 4 * (rows + 2)
    hidden = (carried + waiting + working) * columns * config.features * item_bytes
    return hidden + 16 * config.in_channels * width * (band + config.receptive_radius)
