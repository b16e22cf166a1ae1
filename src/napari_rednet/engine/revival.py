"""Feature maps of a network that are always 0, made to learn again.

Behind a ReLU that never opens there is no gradient: what feeds it, and it alone, stays as it is.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_rednet.engine.network import RedNet, deconvolve

_SMALL = 0.05


@torch.no_grad()
def revive(network: RedNet, inputs: Tensor, generator: torch.Generator) -> int:
    """Give random kernels to feature maps that are 0 for all of `inputs`; return how many.

    They become so weak that the results of the network hardly change: a twentieth of the other maps
    of their layer or, if there are none, of those that are added to them.

    Parameters
    ----------
    inputs : (N, in_channels, Y, X) Tensor
        Examples of what the network sees.
    """
    revived, x = 0, inputs
    outputs: list[Tensor] = []
    for layer in list(network.layers())[:-1]:
        i = len(outputs)
        is_conv = i < len(network.conv)
        found = _output(layer, x)
        added = None if is_conv else _added(network, i - len(network.conv), outputs)
        dead = found.amax((0, 2, 3)) <= 0
        if dead.any():
            _randomize(layer, dead, generator)
            others = found[:, ~dead] if not dead.all() else added if added is not None else x
            level = _SMALL * others.square().mean().sqrt()
            _scale(layer, dead, level / _size(_output(layer, x)).clamp(min=1e-12))
            found = _output(layer, x)
            revived += int(dead.sum())
        outputs.append(found)
        x = found if added is None else found + added
    return revived


def _output(layer: nn.Module, x: Tensor) -> Tensor:
    return F.relu(layer(x) if isinstance(layer, nn.Conv2d) else deconvolve(x, layer))


def _added(network: RedNet, deconvolution: int, outputs: list[Tensor]) -> Tensor | None:
    """What a skip connection adds to the output of a deconvolution."""
    source = network.skip_into.get(deconvolution)
    return None if source is None else outputs[source]


def _size(maps: Tensor) -> Tensor:
    """Root mean square of each map."""
    return maps.square().mean((0, 2, 3)).sqrt()


def _kernels(layer: nn.Conv2d | nn.ConvTranspose2d) -> Tensor:
    """A view of a layer's kernels whose first axis is that of its outputs."""
    weight = layer.weight
    return weight if isinstance(layer, nn.Conv2d) else weight.transpose(0, 1)


def _randomize(
    layer: nn.Conv2d | nn.ConvTranspose2d, which: Tensor, generator: torch.Generator
) -> None:
    kernels = _kernels(layer)
    drawn = torch.randn(kernels.shape, generator=generator, device=kernels.device)
    kernels[which] = drawn[which]
    if layer.bias is not None:
        layer.bias[which] = 0


def _scale(layer: nn.Conv2d | nn.ConvTranspose2d, which: Tensor, factors: Tensor) -> None:
    kernels = _kernels(layer)
    kernels[which] *= factors[which].view(-1, 1, 1, 1)
