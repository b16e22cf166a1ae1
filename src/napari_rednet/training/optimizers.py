"""Optimisers: Muon for the kernels of hidden layers, AdamW for the rest or for everything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from napari_rednet.engine.network import RedNet
from napari_rednet.training import TrainingConfig

# A quintic that drives all singular values of a matrix of norm 1 to about 1; see `Muon`.
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_NOTHING = 1e-12


class Optimizer(Protocol):
    """The part of an optimiser that the training loop uses."""

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Groups whose ``lr`` the loop sets; their initial ``lr`` are the peak rates."""

    def zero_grad(self) -> None:
        """Clear the gradients."""

    def step(self) -> Any:
        """Take a step."""

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to resume."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a state."""


def make_optimizer(network: RedNet, config: TrainingConfig) -> Optimizer:
    """The optimiser of a training; Muon leaves biases and the first and last layer to AdamW."""
    if config.optimizer == "muon":
        return MuonWithAdamW(network, config)
    return _adamw(list(network.parameters()), config)


def _adamw(parameters: Sequence[Tensor], config: TrainingConfig) -> torch.optim.AdamW:
    return torch.optim.AdamW(
        parameters, lr=config.rate, weight_decay=config.weight_decay, fused=True
    )


class MuonWithAdamW:
    """Muon for the kernels of a network's hidden layers, AdamW for all other parameters."""

    def __init__(self, network: RedNet, config: TrainingConfig) -> None:
        hidden = [layer.weight for layer in list(network.layers())[1:-1]]
        others = {id(p): p for p in network.parameters()}
        for kernel in hidden:
            del others[id(kernel)]
        self._muon = Muon(hidden, config.muon_rate)
        self._adamw = _adamw(list(others.values()), config)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of both optimisers."""
        return [*self._muon.param_groups, *self._adamw.param_groups]

    def zero_grad(self) -> None:
        """Clear the gradients."""
        self._muon.zero_grad()
        self._adamw.zero_grad()

    def step(self) -> None:
        """Take a step."""
        self._muon.step()
        self._adamw.step()

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to resume."""
        return {"muon": self._muon.state_dict(), "adamw": self._adamw.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a state."""
        self._muon.load_state_dict(state["muon"])
        self._adamw.load_state_dict(state["adamw"])


class Muon(torch.optim.Optimizer):
    """Nesterov momentum with orthogonalised steps, so that all directions of a kernel count alike.

    A kernel (A, B, H, W) counts as a matrix A x (B H W); since hidden layers have as many inputs as
    outputs, this suits convolutions and transposed ones. `lr` is about the root mean square of the
    singular values of a step. K. Jordan et al., 2024, https://kellerjordan.github.io/posts/muon.
    """

    def __init__(self, kernels: Sequence[Tensor], lr: float, momentum: float = 0.95) -> None:
        super().__init__(list(kernels), {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # without torch's closure
        """Take a step."""
        for group in self.param_groups:
            kernels = [p for p in group["params"] if p.grad is not None]
            for shape in dict.fromkeys(p.shape for p in kernels):
                self._step_alike([p for p in kernels if p.shape == shape], group)

    def _step_alike(self, kernels: Sequence[Tensor], group: dict[str, Any]) -> None:
        gradients = torch.stack([_gradient(p) for p in kernels])
        buffers = [self.state[p].setdefault("momentum", torch.zeros_like(p)) for p in kernels]
        momentum = torch.stack(buffers).lerp_(gradients, 1 - group["momentum"])
        ahead = gradients.lerp(momentum, group["momentum"])
        steps = orthogonalized(ahead.flatten(2)).view_as(ahead)
        # Behind dead units there is no gradient. What is left of momentum would be brought to full
        # size at each step, and would carry kernels far away before it is gone.
        steps[~gradients.flatten(1).any(1)] = 0
        rows, columns = ahead.flatten(2).shape[1:]
        rate = group["lr"] * max(1.0, rows / columns) ** 0.5
        for kernel, buffer, value, step in zip(kernels, buffers, momentum, steps, strict=True):
            buffer.copy_(value)
            kernel.sub_(step, alpha=rate)


def _gradient(kernel: Tensor) -> Tensor:
    return torch.zeros_like(kernel) if kernel.grad is None else kernel.grad


def orthogonalized(matrices: Tensor) -> Tensor:
    """Matrices (N, A, B) with the same singular vectors and singular values near 1.

    Five Newton-Schulz iterations bring large ones to 0.7 to 1.2; matrices of nearly 0 stay so.
    """
    is_tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if is_tall else matrices
    # Momentum that has decayed to 0, as behind dead units, makes no step.
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=_NOTHING)
    a, b, c = _QUINTIC
    for _ in range(_ITERATIONS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    orthogonal: Tensor = x.mT if is_tall else x
    return orthogonal
