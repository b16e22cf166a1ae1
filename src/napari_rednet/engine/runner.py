"""A network, or its ensemble over orientations, made ready for each precision when it is needed."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from napari_rednet.engine.devices import fast_dtype
from napari_rednet.engine.network import RedNet, orientations
from napari_rednet.engine.streaming import StreamableNetwork, run_in_bands

_BAND = 64


@dataclass
class NetworkRunner:
    """Runs a network over images that are there as a whole, and prepares it for streaming.

    Parameters
    ----------
    network : RedNet
        The network.
    device : torch.device
        Where to run.
    ensemble : bool
        Average over the 8 orientations.
    """

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
