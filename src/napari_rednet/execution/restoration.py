"""An array together with how to restore it, as a whole or in part."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from napari_rednet.execution.job import Job
from napari_rednet.execution.masked import MaskedImage
from napari_rednet.execution.repairs import Repairs
from napari_rednet.execution.steps import Steps, restoration_steps


@dataclass(frozen=True)
class Restoration:
    """What a verb makes of its arguments once they are checked.

    Parameters
    ----------
    job : Job
        How to restore.
    array : array
        What.
    find_mask : callable, optional
        Returns which of its pixels are missing, as bool of its shape. That may take time.
    """

    job: Job
    array: Any
    find_mask: Callable[[], Any] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the result."""
        return self.job.shape

    def mask(self) -> Any:
        """Which pixels are missing; None if none are."""
        return None if self.find_mask is None else self.find_mask()

    def steps(self, out: Any = None, repairs: Repairs | None = None) -> Steps:
        """Restore everything into `out`, or into a new array; `repairs` count what is repaired."""
        if isinstance(self.array, MaskedImage) and self.array.is_unknown:
            warnings.warn("image is masked as a whole; it stays as it is", stacklevel=2)
        steps = restoration_steps(self.job, self.array, out, self.mask(), repairs)
        restored = yield from steps
        if out is None and isinstance(self.array, MaskedImage):
            return self.array.result(restored, self.job.layout.spatial_axes, self.job.scale)
        return restored
