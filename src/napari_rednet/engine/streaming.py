"""Exact execution of a RED-Net in bands of rows, with memory that does not depend on the height.

Every layer keeps the last rows of its input, so that the next band continues where this one ended
and each layer emits only rows that are final::

    rows in        conv 1         conv 2          ...        deconv n      rows out
    ┌──────┐  push ┌──────┐  push ┌──────┐                   ┌──────┐
    │ band │ ────▶ │carry │ ────▶ │carry │ ────▶  ...  ────▶ │carry │ ────▶ rows that are
    └──────┘       │ band │       │ band │                   │ band │       final now
                   └──────┘       └──────┘                   └──────┘
                       └── skip: a queue of rows ──────▶ + ──┘

Images are padded with zeros as in the paper. Nothing is computed twice, and the result does not
depend on where the bands are cut. At cut sides, which are not image borders, there is no padding:
every layer's result is smaller than its input, by the pixels that depend on what lies beyond.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_rednet.engine.network import (
    NetworkConfig,
    RedNet,
    as_convolution,
    as_subpixel_convolution,
    fast_dtype,
    orientations,
)
from napari_rednet.engine.planes import NOT_CUT, Cuts
from napari_rednet.errors import ModelError

_LAYOUT = torch.channels_last
_BAND = 64


@dataclass(frozen=True)
class Layer:
    """Weights of one layer, in the precision and on the device that it runs in; its own ReLU."""

    weight: Tensor
    bias: Tensor
    stride: int
    is_rectified: bool

    @property
    def kernel(self) -> int:
        """Rows, and columns, of the kernel."""
        return self.weight.shape[-1]

    def made_of(self, length: int) -> int:
        """Output length for an input length that includes the padding."""
        return max(0, (length - self.kernel) // self.stride + 1)

    def padding(self, is_cut: bool) -> int:
        """Zeros to pad a side with; at a cut side 0, or -1 (crop one) with stride 2."""
        return 1 - self.stride if is_cut else 1


Join = Callable[[Tensor, Tensor], Tensor]
"""Makes the restored image from the network's inputs and its residual."""


def add_residual(inputs: Tensor, residual: Tensor) -> Tensor:
    """Add a network's residual to the image in the first channels of its inputs."""
    return inputs[:, : residual.shape[1]] + residual


class StreamableNetwork:
    """A RED-Net prepared to run in bands; shared by any number of streams.

    Weights are copied to `device` in `dtype`; the sum with the input is always float32.
    """

    def __init__(self, network: RedNet, device: torch.device, dtype: torch.dtype) -> None:
        self.config = network.config
        self.device = device
        self.dtype = dtype
        half, last = self.config.half, self.config.layers - 1
        self.source_of = {half + i - 1: conv - 1 for conv, i in self.config.skip_pairs}
        sums = self.source_of if self.config.rectify_sum else ()
        self.layers = [
            self._prepare(layer, is_rectified=i != last and i not in sums)
            for i, layer in enumerate(network.layers())
        ]
        self.skip_sources = frozenset(self.source_of.values())
        self._can_fuse = _can_fuse(device, dtype)

    def convolve(self, x: Tensor, layer: Layer) -> Tensor:
        """Convolve rows that include their padding, and rectify the result."""
        if layer.stride > 1 and layer.made_of(x.shape[3]) == 1:
            # For a single output column, oneDNN (PyTorch 2.13, bfloat16 on AMX) reads memory
            # outside of the image.
            return self.convolve(F.pad(x, (0, layer.stride)), layer)[..., :1]
        stride, padding = [layer.stride] * 2, [0, 0]
        if self._can_fuse:
            after = "relu" if layer.is_rectified else "none"
            fused: Tensor = torch.ops.mkldnn._convolution_pointwise(  # noqa: SLF001
                x, layer.weight, layer.bias, padding, stride, [1, 1], 1, after, [None], None
            )
            return fused
        y = F.conv2d(x, layer.weight, layer.bias, stride, padding)
        return F.relu_(y) if layer.is_rectified else y

    def _prepare(self, layer: nn.Conv2d | nn.ConvTranspose2d, *, is_rectified: bool) -> Layer:
        weight = layer.weight.detach()
        bias = torch.zeros(layer.out_channels) if layer.bias is None else layer.bias.detach()
        if not (torch.isfinite(weight).all() and torch.isfinite(bias).all()):
            # A fused ReLU would turn NaN into zeros, and nobody would notice.
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
            is_rectified,
        )


class RowStream:
    """One pass of a network over the rows of a batch of planes, `width` columns each.

    ``torch.cat([*map(stream.push, bands), stream.finish()], 2)`` is the network's result for
    ``torch.cat(bands, 2)``. Results closer to the sides in `cuts` than the receptive field are
    meaningless. `join` makes the result from inputs and residual, by default `add_residual`.
    """

    def __init__(
        self,
        network: StreamableNetwork,
        width: int,
        cuts: Cuts = NOT_CUT,
        join: Join | None = None,
    ) -> None:
        reach = network.config.layers * network.config.stride
        if width < sum(cuts.margins(reach)[:2]):
            cuts = replace(cuts, left=False, right=False)  # nothing would be left
        self._network, self._cuts, self._margins = network, cuts, cuts.margins(reach)
        self._extra_column = width % network.config.stride
        self._carries: list[Tensor | None] = [None] * len(network.layers)
        self._skips = {
            source: _RowQueue(cuts, target - source, rectify=network.config.rectify_sum)
            for target, source in network.source_of.items()
        }
        self._inputs = _RowQueue()
        self._join = join or add_residual
        self._workspaces: dict[int, Tensor] = {}
        self._last_row: Tensor | None = None
        self._rows_in = self._rows_out = 0

    def push(self, rows: Tensor, *, is_last: bool = False) -> Tensor:
        """Add rows (N, in_channels, rows, X), float32; return the output rows that are final now.

        Additional channels are for `join` alone. `is_last` is for `finish`, which pushes the row
        that odd heights are extended by.
        """
        if not is_last:
            if rows.shape[2] == 0:
                return self._cut(rows)
            rows = self._extended(rows)
        network, config = self._network, self._network.config
        self._inputs.put(rows)
        x = rows[:, : config.in_channels].to(network.dtype, memory_format=_LAYOUT)
        for i, layer in enumerate(network.layers):
            seen = self._joined(i, x, is_last)
            del x  # so that the layer's result takes its place, which is in the cache
            count = layer.made_of(seen.shape[2])
            self._carries[i] = seen[:, :, count * layer.stride :].clone(memory_format=_LAYOUT)
            x = network.convolve(seen, layer) if count else _no_rows(seen, layer)
            if i in network.skip_sources:
                self._skips[i].put(x)
        residual = self._framed(F.pixel_shuffle(x.float(), config.stride), is_last)
        return self._cut(self._join(self._inputs.take(residual.shape[2], rows), residual))

    def finish(self) -> Tensor:
        """End the planes; return their remaining output rows."""
        if self._last_row is None:
            raise ValueError("finish() needs at least one row")
        if self._rows_in < sum(self._margins[2:]):
            raise ValueError(f"{self._rows_in} rows are too few for planes that are cut")
        extra = self._last_row[:, :, : self._rows_in % self._network.config.stride]
        return self.push(extra, is_last=True)

    def _extended(self, rows: Tensor) -> Tensor:
        padded = F.pad(rows, (0, self._extra_column, 0, 0), mode="replicate")
        self._rows_in += rows.shape[2]
        self._last_row = padded[:, :, -1:]
        return padded

    def _joined(self, i: int, x: Tensor, is_last: bool) -> Tensor:
        """Input of layer `i`: the rows it kept, the new ones, and zeros around the image.

        The new rows are the output of the layer before, plus that of a skip connection. All layers
        use the same memory in turn: fresh memory for each would cost more than the copies.
        """
        layer, carry = self._network.layers[i], self._carries[i]
        source = self._network.source_of.get(i - 1)
        left, right = layer.padding(self._cuts.left), layer.padding(self._cuts.right)
        start = layer.padding(self._cuts.top) if carry is None else carry.shape[2]
        x = x[:, :, max(0, -start) :, max(0, -left) : x.shape[3] + min(0, right)]
        left, right, start = max(0, left), max(0, right), max(0, start)
        stop = start + x.shape[2]
        columns = slice(left, left + x.shape[3])
        seen = self._workspace(x, stop + (is_last and not self._cuts.bottom), columns.stop + right)
        seen[:, :, :start] = 0 if carry is None else carry
        seen[:, :, start:stop, :left] = 0
        seen[:, :, start:stop, columns.stop :] = 0
        new = seen[:, :, start:stop, columns]
        if source is None:
            new[:] = x
        else:
            self._skips[source].add_to(x, new)
        seen[:, :, stop:] = 0
        return seen

    def _framed(self, residual: Tensor, is_last: bool) -> Tensor:
        """Pad the residual with zeros where cut sides left nothing to compute."""
        if self._cuts == NOT_CUT:
            return residual
        left, right, top, bottom = self._margins
        begins = self._rows_out == 0 and (residual.shape[2] > 0 or is_last)
        planes, channels, rows, width = residual.shape
        start = top * begins
        height = start + rows + bottom * is_last
        framed = residual.new_zeros((planes, channels, height, left + width + right))
        framed[:, :, start : start + rows, left : left + width] = residual
        return framed

    def _workspace(self, x: Tensor, rows: int, width: int) -> Tensor:
        """Reused memory for rows like those of `x`; gaps between planes would force copies."""
        planes, channels = x.shape[:2]
        count = planes * rows * width * channels
        found = self._workspaces.get(channels)
        if found is None or len(found) < count:
            found = self._workspaces[channels] = x.new_empty(count)
        return found[:count].view(planes, rows, width, channels).permute(0, 3, 1, 2)

    def _cut(self, rows: Tensor) -> Tensor:
        kept = rows[:, : self._network.config.out_channels]
        kept = kept[:, :, : self._rows_in - self._rows_out]
        self._rows_out += kept.shape[2]
        return kept[..., : kept.shape[3] - self._extra_column]


def run_in_bands(network: StreamableNetwork, image: Tensor, band: int) -> Tensor:
    """Run a network over a whole image, in bands that fit into the cache."""
    stream = RowStream(network, image.shape[3])
    parts = [stream.push(rows) for rows in torch.split(image, band, 2)]
    return torch.cat([*parts, stream.finish()], 2)


class _RowQueue:
    """Rows of a skip connection, waiting for the layers in between, which crop cut sides."""

    def __init__(self, cuts: Cuts = NOT_CUT, layers: int = 0, *, rectify: bool = False) -> None:
        self._bands: deque[Tensor] = deque()
        self._rectify = rectify
        self._left, self._right, self._unused, _ = cuts.margins(layers)

    def put(self, rows: Tensor) -> None:
        unused = min(self._unused, rows.shape[2])
        self._unused -= unused
        if rows.shape[2] > unused:
            self._bands.append(rows[:, :, unused:, self._left : rows.shape[3] - self._right])

    def take(self, count: int, like: Tensor) -> Tensor:
        """Take `count` rows, with the channels of `like`."""
        taken = [like[:, :, :0]]
        while count > 0:
            band = self._bands.popleft()
            taken.append(band[:, :, :count])
            if count < band.shape[2]:
                self._bands.appendleft(band[:, :, count:])
            count -= taken[-1].shape[2]
        return torch.cat(taken, 2) if len(taken) > 2 else taken[-1]

    def add_to(self, rows: Tensor, out: Tensor) -> None:
        """Take as many rows as `rows` has; write the sum, rectified or not, to `out`."""
        start = 0
        while start < rows.shape[2]:
            band = self._bands.popleft()
            stop = min(start + band.shape[2], rows.shape[2])
            here, count = (..., slice(start, stop), slice(None)), stop - start
            total = torch.add(rows[here], band[:, :, :count], out=out[here])
            if self._rectify:
                F.relu_(total)
            if count < band.shape[2]:
                self._bands.appendleft(band[:, :, count:])
            start = stop


def _can_fuse(device: torch.device, dtype: torch.dtype) -> bool:
    """True if oneDNN's convolution with ReLU, which saves a pass over memory, can be called."""
    if device.type != "cpu" or not torch.backends.mkldnn.enabled:
        return False
    if not hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
        return False
    if dtype is torch.bfloat16:  # oneDNN has it from AVX-512 on; elsewhere it is emulated
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001
    return dtype is torch.float32


def _no_rows(seen: Tensor, layer: Layer) -> Tensor:
    return seen.new_empty((seen.shape[0], layer.weight.shape[0], 0, layer.made_of(seen.shape[3])))


def stream_bytes(config: NetworkConfig, width: int, band: int, item_bytes: int) -> int:
    """Peak memory of a stream in bytes for one plane; `width` and `band` are in image pixels."""
    columns, rows = -(-width // config.stride), -(-band // config.stride)
    carried = 2 * config.layers
    waiting = sum(2 * i + 1 + (config.half - i - 1) * 2 for _, i in config.skip_pairs)
    waiting += len(config.skip_pairs) * rows
    working = 4 * (rows + 2)
    hidden = (carried + waiting + working) * columns * config.features * item_bytes
    return hidden + 16 * config.in_channels * width * (band + config.receptive_radius)


@dataclass
class NetworkRunner:
    """Runs a network, or its ensemble over 8 orientations, over whole images."""

    network: RedNet
    device: torch.device
    ensemble: bool = False
    _ready: dict[torch.dtype, list[StreamableNetwork]] = field(default_factory=dict, init=False)

    def networks(self, dtype: torch.dtype) -> list[StreamableNetwork]:
        """The network, or its eight orientations, in a precision."""
        if dtype not in self._ready:
            turns = orientations() if self.ensemble else [(0, False)]
            self._ready[dtype] = [
                StreamableNetwork(self.network.reoriented(*turn), self.device, dtype)
                for turn in turns
            ]
        return self._ready[dtype]

    def run(self, inputs: Tensor) -> Tensor:
        """Restore inputs (1, C, Y, X); in float32 where the fast precision overflows."""
        restored = self._run(inputs, fast_dtype(self.device))
        if torch.isfinite(restored).all():
            return restored
        return self._run(inputs, torch.float32)

    def _run(self, inputs: Tensor, dtype: torch.dtype) -> Tensor:
        results = [run_in_bands(network, inputs, _BAND) for network in self.networks(dtype)]
        return torch.stack(results).mean(0) if len(results) > 1 else results[0]
