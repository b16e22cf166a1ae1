"""Revive dead feature maps of a network, which are always 0.

A ReLU that never opens has no gradient, so that layers that feed only it never learn.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_rednet.engine.network import RedNet, deconvolve

_SMALL = 0.05
_RANDOM = 0.1
_MOST = 2.0


@torch.no_grad()
def revive(network: RedNet, inputs: Tensor, generator: torch.Generator) -> int:
    """Give new kernels to feature maps that are 0 for all of `inputs`; return their number.

    The new maps are weak, so that the results of the network hardly change: a twentieth of the
    other maps of their layer or, if there are none, of the maps of the skip connection. If a whole
    layer is 0, all layers that feed only it have learnt nothing: they begin anew as well, as nearly
    the identity. Random ones were dead again after some thousand steps: what they add is of no use
    at first, and the quickest way to get rid of it is to close the ReLU. What is known already
    does no harm. `inputs`, (N, in_channels, Y, X), are examples of the network's inputs.
    """
    layers, outputs = list(network.layers())[:-1], outputs_of(network, inputs)
    convolutions = len(network.conv)
    dead = [_is_dead(found) for found in outputs]
    whole = [
        i for i, maps in enumerate(dead) if maps.all() and i - convolutions in network.skip_into
    ]
    fresh = range(0)
    if whole:
        fresh = range(network.skip_into[whole[-1] - convolutions] + 1, whole[-1] + 1)
    done: list[Tensor] = []
    x = inputs
    for i, layer in enumerate(layers):
        source = network.skip_into.get(i - convolutions)
        added = None if source is None else done[source]
        found = _output(layer, x)
        which = torch.ones_like(dead[i]) if i in fresh else _is_dead(found)
        if which.any():
            level = _level(found, x, added, which, is_fresh=i in fresh)
            if which.all() and kernels_of(layer).shape[0] == kernels_of(layer).shape[1]:
                _make_identity(layer, generator)
                sizes = _output(layer, x).square().mean().sqrt().expand(len(which))
            else:
                _randomize(layer, which, generator)
                # Of inputs that are never negative, some kernels make nothing but negative values.
                _scale(layer, which & _is_dead(_output(layer, x)), -torch.ones(len(which)))
                sizes = _sizes(_output(layer, x))
            # Where what was drawn nearly cancels, a weaker map does.
            _scale(layer, which, (level / sizes).nan_to_num(0.0, 0.0).clamp(max=_MOST))
            found = _output(layer, x)
        done.append(found)
        x = found if added is None else found + added
    return sum(int(maps.sum()) for maps in dead)


def _level(
    found: Tensor, x: Tensor, added: Tensor | None, which: Tensor, *, is_fresh: bool
) -> Tensor:
    if is_fresh:
        like, share = (x, 1.0) if added is None else (added, _SMALL)
    elif which.all():
        like, share = (x if added is None else added), _SMALL
    else:
        like, share = found[:, ~which], _SMALL
    return share * like.square().mean().sqrt()


def outputs_of(network: RedNet, x: Tensor) -> list[Tensor]:
    """Outputs of all layers but the last, before skip connections are added."""
    outputs: list[Tensor] = []
    for i, layer in enumerate(list(network.layers())[:-1]):
        outputs.append(_output(layer, x))
        source = network.skip_into.get(i - len(network.conv))
        x = outputs[-1] if source is None else outputs[-1] + outputs[source]
    return outputs


def _output(layer: nn.Module, x: Tensor) -> Tensor:
    return F.relu(layer(x) if isinstance(layer, nn.Conv2d) else deconvolve(x, layer))


def _is_dead(maps: Tensor) -> Tensor:
    return maps.amax((0, 2, 3)) <= 0


def _sizes(maps: Tensor) -> Tensor:
    return maps.square().mean((0, 2, 3)).sqrt()


def kernels_of(layer: nn.Conv2d | nn.ConvTranspose2d) -> Tensor:
    """A view of a layer's kernels with the outputs as first axis."""
    weight = layer.weight
    return weight if isinstance(layer, nn.Conv2d) else weight.transpose(0, 1)


def _make_identity(layer: nn.Conv2d | nn.ConvTranspose2d, generator: torch.Generator) -> None:
    """Let a layer hand on its input, which is never negative, with a little that is random."""
    kernels = kernels_of(layer)
    drawn = torch.randn(kernels.shape, generator=generator, device=kernels.device)
    kernels.copy_(drawn * (_RANDOM / kernels[0].numel() ** 0.5))
    rows, columns = (n // 2 for n in kernels.shape[2:])
    kernels[:, :, rows, columns] += torch.eye(len(kernels), device=kernels.device)
    if layer.bias is not None:
        layer.bias.zero_()


def _randomize(
    layer: nn.Conv2d | nn.ConvTranspose2d, which: Tensor, generator: torch.Generator
) -> None:
    kernels = kernels_of(layer)
    drawn = torch.randn(kernels.shape, generator=generator, device=kernels.device)
    kernels[which] = drawn[which]
    if layer.bias is not None:
        layer.bias[which] = 0


def _scale(layer: nn.Conv2d | nn.ConvTranspose2d, which: Tensor, factors: Tensor) -> None:
    kernels = kernels_of(layer)
    kernels[which] *= factors[which].view(-1, 1, 1, 1)
