"""Arrays on their way to a device and back, while the device and this thread go on working."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def to_device(values: npt.NDArray[Any], device: torch.device) -> Tensor:
    """A copy on the device; a GPU fetches it from pinned memory by itself."""
    tensor = torch.from_numpy(values)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


class Fetching:
    """A tensor that is being copied from its device; begun at once, waited for when it is taken.

    Parameters
    ----------
    tensor : Tensor
        What to copy, once it has been computed.
    """

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
