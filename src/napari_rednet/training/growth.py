"""Turn a trained network into one without biases, or of more feature maps, that does the same."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from napari_rednet.engine.network import RedNet
from napari_rednet.training.revival import kernels_of, outputs_of

_CARRIED = 4.0


@torch.no_grad()
def without_biases(network: RedNet, inputs: Tensor, level: float) -> RedNet:
    """A denoiser whose biases grow with the noise that it is told, instead of being constant.

    One map of each layer carries the noise, the one of the least values for `inputs`, (N,
    in_channels, Y, X), and a kernel that reads it stands for the bias. Where the noise has the
    standard deviation `level`, the result is that of `network`, but for the maps given up (those of
    trained networks are often 0) and next to borders; elsewhere it is its result for an image of
    other contrast. The new network scales with its input. Its second input is the noise.
    """
    config = network.config
    result = RedNet(replace(config, bias=False))
    carriers = _carriers(network, inputs)
    layers = list(zip(network.layers(), result.layers(), strict=True))
    for i, (old, new) in enumerate(layers):
        weight, bias = kernels_of(old).clone(), old.bias
        if bias is None:
            raise ValueError("the network has no biases")
        # An even kernel, of stride 2, reads four pixels: their mean.
        size = weight.shape[-1]
        middle = slice((size - 1) // 2, size // 2 + 1)
        if i == 0:
            weight[:, 1, middle, middle] += _spread(bias / level, size)
            weight[carriers[0]] = 0
            weight[carriers[0], 1, middle, middle] = _spread(weight.new_tensor(_CARRIED), size)
        else:
            weight[:, carriers[i - 1]] = 0
            # The last deconvolution of stride 2 meets each pixel with four taps of its kernel.
            taps = 1.0 if size % 2 else 4.0
            weight[:, carriers[i - 1], middle, middle] = taps * _spread(
                bias / (_CARRIED * level), size
            )
            if i < len(layers) - 1:
                weight[carriers[i]] = 0
                # Where layers are connected, the skip connection brings it.
                if i - config.half not in network.skip_into:
                    weight[carriers[i], carriers[i - 1], middle, middle] = 1
        kernels_of(new).copy_(weight)
    return result.train(network.training)


def _spread(value: Tensor, size: int) -> Tensor:
    pixels = 1.0 if size % 2 else 4.0
    return (value / pixels).reshape(-1, 1, 1) if value.ndim else value / pixels


def _carriers(network: RedNet, inputs: Tensor) -> list[int]:
    """For each layer but the last, the map with the least values; connected layers share it."""
    found = [maps.square().mean((0, 2, 3)) for maps in outputs_of(network, inputs)]
    for deconvolution, convolution in network.skip_into.items():
        both = found[convolution] + found[network.config.half + deconvolution]
        found[convolution] = found[network.config.half + deconvolution] = both
    return [int(values.argmin()) for values in found]


@torch.no_grad()
def widened(network: RedNet, features: int, generator: torch.Generator) -> RedNet:
    """A network with `features` maps a layer that computes the same.

    The new maps read all maps of the layer before, by random kernels (K. He et al., ICCV 2015), but
    no old map reads them yet: T. Chen, I. Goodfellow and J. Shlens, "Net2Net", ICLR 2016, copy maps
    instead, which then have to part.
    """
    config = network.config
    if features < config.features:
        raise ValueError(f"features must be at least {config.features}, got {features}")
    result = RedNet(replace(config, features=features))
    for old, new in zip(network.layers(), result.layers(), strict=True):
        had, has = kernels_of(old), kernels_of(new)
        std = (2.0 / has[0].numel()) ** 0.5
        drawn = torch.randn(has.shape, generator=generator, device=generator.device) * std
        has.copy_(drawn)
        has[: len(had)] = 0
        has[: len(had), : had.shape[1]] = had
        if new.bias is not None and old.bias is not None:
            new.bias.zero_()
            new.bias[: len(had)] = old.bias
    return result.train(network.training)
