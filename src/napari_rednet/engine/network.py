"""The RED-Net of Mao, Shen and Yang: its layers, the noise it is told, devices that compute it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

import psutil
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_rednet.engine.channel import MOST_NOISE

SIGMA = 2.0
RADIUS = 6
"""Rows and columns around a pixel that its value in the noise map depends on."""
MOST_CHANGE = 6.0
"""Largest change of a pixel, in standard deviations of its noise."""
OWN_ERROR = 0.003
"""Error of the network itself, as a fraction of the values around a pixel."""


@dataclass(frozen=True)
class NetworkConfig:
    """Everything that fixes the shape of a RED-Net.

    Parameters
    ----------
    layers : int
        Convolutions and deconvolutions together: 10, 20 or 30 in the paper.
    in_channels : int
        The first `out_channels` of them are the image, the others describe it (told noise, a mask).
    stride : {1, 2}
        2 halves the resolution in the first convolution and restores it in the last deconvolution,
        which costs a quarter of the operations.
    planes : int
        Odd number of planes of a stack that it sees, of which it restores the middle one: see
        `stack_inputs`.
    skips : bool
        Connect mirrored layers.
    bias : bool
        Without, the network scales with its input: ``net(a * x) = a * net(x)`` for a > 0, to
        rounding.
    rectify_sum : bool
        Where layers are connected, ``ReLU(deconvolution + skip)``, as the text of [1]_ has it, and
        not ``ReLU(deconvolution) + skip``, as in the code of its authors. A deconvolution can then
        also subtract, and learns even where it makes negative values only.

    References
    ----------
    .. [1] X. Mao, C. Shen, Y. Yang, "Image restoration using very deep convolutional
       encoder-decoder networks with symmetric skip connections", NIPS 2016; strided variant:
       arXiv:1606.08921.
    """

    layers: int = 20
    features: int = 64
    in_channels: int = 1
    out_channels: int = 1
    stride: int = 1
    planes: int = 1
    skips: bool = True
    bias: bool = False
    rectify_sum: bool = False

    def __post_init__(self) -> None:
        if self.layers < 4 or self.layers % 2:
            raise ValueError(f"layers must be an even number of at least 4, got {self.layers}")
        if self.stride not in (1, 2):
            raise ValueError(f"stride must be 1 or 2, got {self.stride}")
        if self.planes < 1 or self.planes % 2 == 0:
            raise ValueError(f"planes must be an odd number, got {self.planes}")
        if min(self.features, self.out_channels) < 1 or self.in_channels < self.out_channels:
            raise ValueError(
                "features and channels must be positive and in_channels at least out_channels, got "
                f"features={self.features}, in_channels={self.in_channels}, "
                f"out_channels={self.out_channels}"
            )

    @property
    def half(self) -> int:
        """Number of convolutions, which is also the number of deconvolutions."""
        return self.layers // 2

    @property
    def receptive_radius(self) -> int:
        """Pixels to each side of an output pixel that can influence it."""
        return self.layers if self.stride == 1 else 2 * self.layers - 1

    @property
    def skip_pairs(self) -> tuple[tuple[int, int], ...]:
        """Connected pairs (convolution, deconvolution), counted from 1.

        Deconvolution i, for odd i but the last layer, receives the output of convolution
        ``half - i``, the one that mirrors it.
        """
        if not self.skips:
            return ()
        return tuple((self.half - i, i) for i in range(1, self.half, 2))

    def operations_per_pixel(self) -> int:
        """Useful floating-point operations for one image pixel (a multiply-add counts 2)."""
        inner = 2 * (self.half - 1) * 9 * self.features**2
        kernel = 9 if self.stride == 1 else 16
        ends = kernel * self.features * (self.in_channels + self.out_channels)
        return round(2 * (inner + ends) / self.stride**2)

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain values, the inverse of ``NetworkConfig(**values)``."""
        return asdict(self)


def red10(**options: Any) -> NetworkConfig:
    """RED10: five convolutions, five deconvolutions, no skip connections."""
    return NetworkConfig(layers=10, **{"skips": False, **options})


def red20(**options: Any) -> NetworkConfig:
    """RED20: ten convolutions, ten deconvolutions, skip connections."""
    return NetworkConfig(layers=20, **options)


def red30(**options: Any) -> NetworkConfig:
    """RED30: fifteen convolutions, fifteen deconvolutions, skip connections."""
    return NetworkConfig(layers=30, **options)


class RedNet(nn.Module):
    """A RED-Net, which predicts the residual that restores its input, (N, in_channels, Y, X).

    With stride 2, odd sizes are extended by one replicated row or column and cut again.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        n, maps = config.half, config.features
        # With stride 2, only an even kernel avoids checkerboard artefacts in the deconvolution.
        stride, kernel = config.stride, config.stride + 2
        bias = config.bias
        # torch draws starting weights: keep that from changing its global random state.
        with torch.random.fork_rng(devices=[]):
            first = nn.Conv2d(config.in_channels, maps, kernel, stride, 1, bias=bias)
            last = nn.ConvTranspose2d(maps, config.out_channels, kernel, stride, 1, bias=bias)
            convolutions = [nn.Conv2d(maps, maps, 3, padding=1, bias=bias) for _ in range(n - 1)]
            deconvolutions = [
                nn.ConvTranspose2d(maps, maps, 3, padding=1, bias=bias) for _ in range(n - 1)
            ]
        self.conv = nn.ModuleList([first, *convolutions])
        self.deconv = nn.ModuleList([*deconvolutions, last])
        self.skip_into = {deconv - 1: conv - 1 for conv, deconv in config.skip_pairs}

    @classmethod
    def with_weights(cls, config: NetworkConfig, weights: Mapping[str, Tensor]) -> RedNet:
        """A network with these tensors as weights; raises `RuntimeError` if they do not fit."""
        with torch.device("meta"):
            network = cls(config)
        network.load_state_dict(weights, assign=True)
        return network

    def forward(self, image: Tensor) -> Tensor:
        """Restore a batch."""
        height, width = image.shape[-2:]
        stride = self.config.stride
        padded = image
        if height % stride or width % stride:
            padded = F.pad(image, (0, width % stride, 0, height % stride), mode="replicate")
        residual = self._residual(padded)[..., :height, :width]
        return image[:, : self.config.out_channels] + residual

    def _residual(self, x: Tensor) -> Tensor:
        outputs = []
        for layer in self.conv:
            x = F.relu(layer(x))
            outputs.append(x)
        last = len(self.deconv) - 1
        for i, layer in enumerate(self.deconv[:last]):
            x = deconvolve(x, layer)
            if i not in self.skip_into:
                x = F.relu(x)
            elif self.config.rectify_sum:
                x = F.relu(x + outputs[self.skip_into[i]])
            else:
                x = F.relu(x) + outputs[self.skip_into[i]]
        return deconvolve(x, self.deconv[last])

    def layers(self) -> Iterator[nn.Conv2d | nn.ConvTranspose2d]:
        """All layers in the order in which they run."""
        for layer in [*self.conv, *self.deconv]:
            yield cast("nn.Conv2d | nn.ConvTranspose2d", layer)

    def reoriented(self, turns: int, mirror: bool) -> RedNet:
        """A network that does to an image what this one does to the reoriented image.

        ``net.reoriented(k, m)(image)`` equals mirroring (last axis, if `mirror`) and rotating
        `image` by ``k`` quarter turns, applying ``net``, and undoing both; for stride 2 on even
        sizes. Ensembles over orientations turn the small kernels instead of the large image, so
        that it is read once and in its own order.
        """
        if (turns, mirror) == (0, False):
            return self
        weights = {
            name: (reorient(value, turns, mirror) if value.ndim == 4 else value).clone()
            for name, value in self.state_dict().items()
        }
        return RedNet.with_weights(self.config, weights).train(self.training)


def deconvolve(x: Tensor, layer: nn.Module) -> Tensor:
    """Apply a deconvolution; one of stride 1 as the equivalent convolution, which is faster."""
    if isinstance(layer, nn.ConvTranspose2d) and layer.stride == (1, 1):
        return F.conv2d(x, as_convolution(layer.weight), layer.bias, padding=1)
    result: Tensor = layer(x)
    return result


def as_convolution(weight: Tensor) -> Tensor:
    """Kernel of the convolution that equals a transposed convolution of stride 1."""
    return weight.flip(2, 3).transpose(0, 1)


# Output 2i depends on the inputs i - 1 and i, output 2i + 1 on i and i + 1. One row per parity of
# the output, one column per input from i - 1 to i + 1; entries are kernel taps, 4 stands for none.
_TAPS = ((3, 1, 4), (4, 2, 0))


def as_subpixel_convolution(weight: Tensor) -> Tensor:
    """Kernel of the convolution whose shuffled result equals a deconvolution of stride 2.

    A transposed convolution of kernel 4, stride 2 and padding 1 is a convolution of kernel 3 and
    padding 1 with 4 times as many feature maps, one for each pixel of a square of 2 x 2
    (`torch.nn.functional.pixel_shuffle`). It uses the matrix units of a device better. W. Shi et
    al., "Is the deconvolution layer the same as a convolutional layer?", arXiv:1609.07009.
    """
    taps = torch.tensor(_TAPS, device=weight.device)
    padded = F.pad(weight, (0, 1, 0, 1))
    kernels = padded[:, :, taps][..., taps]  # inputs, outputs, 2, 3, 2, 3
    return kernels.permute(1, 2, 4, 0, 3, 5).reshape(-1, weight.shape[0], 3, 3)


def reorient(x: Tensor, turns: int, mirror: bool) -> Tensor:
    """Undo "mirror the last axis, then rotate by quarter turns" on the last two axes."""
    turned = torch.rot90(x, -turns, (-2, -1))
    return turned.flip(-1) if mirror else turned


def orient(x: Tensor, turns: int, mirror: bool) -> Tensor:
    """Mirror the last axis, if asked, then rotate by quarter turns; inverse of `reorient`."""
    return torch.rot90(x.flip(-1) if mirror else x, turns, (-2, -1))


def orientations() -> Iterator[tuple[int, bool]]:
    """The 8 orientations of a square as (quarter turns, mirrored), the identity first."""
    for mirror in (False, True):
        for turns in range(4):
            yield turns, mirror


INITIALIZATIONS = ("he", "orthogonal")


def initialize(network: RedNet, generator: torch.Generator | None = None, kind: str = "he") -> None:
    """Draw starting weights in place: of unit gain for the hidden layers, small ones for the last.

    With a small last layer the network starts close to the identity. `kind` is 'he', normal weights
    (K. He et al., ICCV 2015), or 'orthogonal', orthogonal rows (A. Saxe et al., ICLR 2014), both of
    the same mean square.
    """
    last = network.deconv[-1]
    for layer in network.layers():
        fan_in = layer.in_channels * layer.weight[0, 0].numel()
        std = float(((0.01 if layer is last else 2.0) / fan_in) ** 0.5)
        with torch.no_grad():
            if kind == "orthogonal":
                nn.init.orthogonal_(layer.weight, generator=generator)
                layer.weight.mul_(std / layer.weight.square().mean().sqrt())
            else:
                layer.weight.normal_(0.0, std, generator=generator)
            if layer.bias is not None:
                layer.bias.zero_()


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """The torch device for a name; 'auto' takes the first of CUDA, MPS and CPU that exists.

    Raises `ValueError` if the name is unknown or this computer has no such device.
    """
    name = str(device)
    if name == "auto":
        return torch.device(available_devices()[0])
    found = available_devices()
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in found:
        raise ValueError(
            f"device {name!r} does not exist here; available: {', '.join(reversed(found))}"
        )
    return torch.device(wanted)


def available_devices() -> list[str]:
    """Names of the devices of this computer, the preferred one first, 'cpu' last."""
    cuda = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return [*cuda, *mps, "cpu"]


def devices_to_use(device: str = "auto") -> list[str]:
    """Names of the devices that a name stands for: all GPUs for 'cuda', else one."""
    resolve_device(device)
    found = [name for name in available_devices() if name.startswith("cuda")]
    return found if str(device) == "cuda" and len(found) > 1 else [str(device)]


def fast_dtype(device: torch.device) -> torch.dtype:
    """The fastest precision that the device computes natively and that is good enough."""
    if device.type == "cuda":
        return torch.float16
    if device.type == "cpu" and _has_native_bfloat16():
        return torch.bfloat16
    return torch.float32


def training_dtype(device: torch.device) -> torch.dtype:
    """Precision of the forward pass in training; float16 would need loss scaling."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    return torch.bfloat16 if fast_dtype(device) is torch.bfloat16 else torch.float32


def free_memory(device: torch.device) -> int:
    """Bytes that the device can give to one more computation."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def used_memory() -> int:
    """Bytes of main memory that this process holds and the system cannot reclaim.

    Pages of memory-mapped files are not counted where the system tells them apart: they grow with
    the image, and the system reclaims them when memory is short.
    """
    found = psutil.Process().memory_info()
    return int(found.rss - getattr(found, "shared", 0))


def _has_native_bfloat16() -> bool:
    # Emulated bfloat16 is slower than float32, so only the instruction sets count.
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, probe, bool)() for probe in probes)


def poisson_gaussian_std(
    signal: Tensor, gain: Tensor | float, read_noise: Tensor | float
) -> Tensor:
    """Standard deviation of photon and read noise at a signal whose black level is 0."""
    return torch.sqrt(gain * signal.clamp(min=0) + torch.as_tensor(read_noise) ** 2)


def told_noise(std: Tensor, along_y: Tensor | float, along_x: Tensor | float) -> Tensor:
    """Channels (N, 3, Y, X) that tell a network the noise.

    `std` is (N, 1, Y, X). `along_y` and `along_x` are the correlations, 0 to 1, of the noise of
    neighbours in a column and in a row. They are told times `std`, so that all inputs scale with
    the image.
    """
    return torch.cat([std, std * along_y, std * along_x], 1)


def stack_inputs(
    noisy: Tensor, std: Tensor, along_y: Tensor | float, along_x: Tensor | float
) -> Tensor:
    """Inputs (N, 2 P + 2, Y, X) of a denoiser for planes and their noise, (N, P, Y, X) each.

    The middle plane, which is restored, comes first, then its neighbours, then the `told_noise` of
    the middle plane, then the standard deviations of the neighbours.
    """
    middle = noisy.shape[1] // 2
    order = [middle, *range(middle), *range(middle + 1, noisy.shape[1])]
    noisy, std = noisy[:, order], std[:, order]
    return torch.cat([noisy, told_noise(std[:, :1], along_y, along_x), std[:, 1:]], 1)


def limited_residual(inputs: Tensor, residual: Tensor, planes: int = 1) -> Tensor:
    """A network's residual, limited to what the noise can explain.

    Where the noise is as weak as the network's own error, only a part of the residual is added,
    weighted like a Wiener filter for two errors of known variances, so that images with hardly any
    noise do not get worse. Non-finite residuals are kept, so that an overflow is noticed.

    `inputs`, (N, 2 P + 3, Y, X), are `stack_inputs` of P planes and the image's `amplitude`. Two
    more channels, from `doubtful_noise`, are a share of the residual, and what is added besides.
    """
    std = inputs[:, planes : planes + 1]
    largest, *more = torch.split(inputs[:, 2 * planes + 2 :], 1, 1)
    own = OWN_ERROR * largest
    share = std.square() / (std.square() + own.square()).clamp(min=torch.finfo(std.dtype).tiny)
    limited = share * residual.clamp(-MOST_CHANGE * std, MOST_CHANGE * std)
    if more:
        limited = more[0] * limited + more[1]
    return torch.where(torch.isfinite(residual), limited, residual)


def doubtful_noise(
    x: Tensor, std: Tensor, largest: Tensor, most: float, flat: Tensor
) -> tuple[Tensor, Tensor]:
    """Noise that an image cannot hold: the part of it to tell, and what `limited_residual` takes.

    Beyond `most`, or half of the `largest` values around a pixel if these are brighter, nothing is
    left to see, and no network has learned what to do: the result goes from that of the strongest
    noise that is told to the level `flat`. All in network units; `std` is (N, 1, Y, X).
    """
    limit = torch.clamp(MOST_NOISE * largest, min=most)
    told = torch.minimum(std, limit)
    share = (told / std.clamp(min=torch.finfo(std.dtype).tiny)).square()
    share = torch.where(std > limit, share, 1.0)
    return told, torch.cat([share, (1 - share) * (flat - x)], 1)


def amplitude(rows: Tensor) -> Tensor:
    """Largest absolute value around each pixel of a band that comes with `RADIUS` more rows."""
    side = 2 * RADIUS + 1
    return F.max_pool2d(rows.abs(), side, 1, (0, RADIUS))


def smooth_signal(image: Tensor) -> Tensor:
    """Gaussian blur of planes (..., Y, X), the signal of the noise map; borders are replicated."""
    planes = image.reshape(-1, 1, *image.shape[-2:])
    return _blur(F.pad(planes, (RADIUS,) * 4, mode="replicate")).reshape(image.shape)


def smooth_band(rows: Tensor) -> Tensor:
    """`smooth_signal` of a band that comes with `RADIUS` more rows above and below."""
    return _blur(F.pad(rows, (RADIUS, RADIUS, 0, 0), mode="replicate"))


def _blur(padded: Tensor) -> Tensor:
    offsets = torch.arange(-RADIUS, RADIUS + 1, dtype=padded.dtype, device=padded.device)
    kernel = torch.exp(-0.5 * (offsets / SIGMA) ** 2)
    kernel = kernel / kernel.sum()
    columns = F.conv2d(padded, kernel.view(1, 1, -1, 1))
    return F.conv2d(columns, kernel.view(1, 1, 1, -1))
