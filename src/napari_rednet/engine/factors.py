"""Learn a factor and an offset of every feature map, and nothing else.

All weights of a network are enough to learn the noise of noisy targets by heart; few numbers
are not.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from napari_rednet.engine.network import RedNet


class FactorOptimizer:
    """Adam for the factors and offsets of a network's feature maps, used like torch's optimisers.

    The kernels of a map keep their shape; their gradient is that of their common factor.
    """

    def __init__(self, network: RedNet, rate: float) -> None:
        self._layers = list(network.layers())
        self._kernels = [layer.weight.detach().clone() for layer in self._layers]
        self._factors = [torch.ones_like(layer.weight[_one_map(layer)]) for layer in self._layers]
        for factor in self._factors:
            factor.requires_grad_(True)
        offsets = [layer.bias for layer in self._layers if layer.bias is not None]
        self._adam = torch.optim.Adam([*self._factors, *offsets], lr=rate)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Where the rate is set."""
        return self._adam.param_groups

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self._adam.zero_grad()
        for layer in self._layers:
            layer.weight.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Take a step along the gradients of the network's weights."""
        rows = zip(self._layers, self._kernels, self._factors, strict=True)
        for layer, kernel, factor in rows:
            if layer.weight.grad is not None:
                slope = layer.weight.grad * kernel
                factor.grad = slope.sum(_other_axes(layer), keepdim=True)
        self._adam.step()
        self._apply()

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on."""
        factors = [factor.detach() for factor in self._factors]
        return {"adam": self._adam.state_dict(), "factors": factors, "kernels": self._kernels}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        for factor, value in zip(self._factors, state["factors"], strict=True):
            factor.copy_(value)
        self._kernels = list(state["kernels"])
        self._adam.load_state_dict(state["adam"])
        self._apply()

    def _apply(self) -> None:
        rows = zip(self._layers, self._kernels, self._factors, strict=True)
        for layer, kernel, factor in rows:
            layer.weight.copy_(kernel * factor)


def _other_axes(layer: nn.Module) -> tuple[int, ...]:
    """All axes of a kernel but that of the maps that it makes."""
    return (0, 2, 3) if isinstance(layer, nn.ConvTranspose2d) else (1, 2, 3)


def _one_map(layer: nn.Module) -> tuple[slice, ...]:
    """Index that leaves one number for each map."""
    return tuple(slice(0, 1) if a in _other_axes(layer) else slice(None) for a in range(4))
