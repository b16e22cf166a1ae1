"""An array together with how to restore it; and how long that will take, which is measured."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_rednet.engine.color import ColorMode
from napari_rednet.execution.job import Job, MaskedImage, plane_keys, sampled_windows
from napari_rednet.execution.samples import Repairs, Samples
from napari_rednet.execution.steps import Steps, restoration_steps

if TYPE_CHECKING:
    from napari_rednet.engine.planes import ChannelSettings, Plane

# Enough for a device to show what it can do, and for a CPU less than a second's work mostly.
_SIDE, _WARM_UP_ROWS = 256, 32
_MISSING = 0.02


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
        return restoration_steps(self.job, self.array, out, self.find_mask, repairs)


@dataclass(frozen=True)
class Speed:
    """How fast jobs of a kind are done.

    Parameters
    ----------
    measuring : float
        Seconds for a pixel of the sample windows.
    restoring : float
        Seconds for a pixel of the result.
    """

    measuring: float
    restoring: float

    def seconds(self, job: Job) -> float:
        """How long a job of the same kind takes, whatever its size; reading it is not counted."""
        windows = [index for channel in sampled_windows(job) for index in channel]
        sampled = sum(_pixels(index) for index in windows)
        pixels = math.prod(job.layout.enlarged(job.scale).plane_shape)
        planes = sum(1 for _ in plane_keys(job)) * (3 if job.color is ColorMode.OPPONENT else 1)
        return self.measuring * sampled + self.restoring * pixels * planes


def speed_steps(restoration: Restoration) -> Steps:
    """Measure: yield now and then, return the `Speed` of jobs that differ in their size only."""
    job, has_mask = restoration.job, restoration.find_mask is not None
    image = np.random.default_rng(0).normal(100, 10, (_SIDE, _SIDE)).astype(np.float32)
    begun = time.perf_counter()
    settings = job.settings(Samples([image]), 0)
    measured = time.perf_counter()
    yield 0, 0
    restorer = job.make_restorer()
    for _ in restorer.restore(_plane(image[:_WARM_UP_ROWS], settings, has_mask=has_mask)):
        yield 0, 0
    warm = time.perf_counter()
    for _ in restorer.restore(_plane(image, settings, has_mask=has_mask)):
        yield 0, 0
    restored = time.perf_counter()
    return Speed((measured - begun) / image.size, (restored - warm) / image.size)


def _plane(image: npt.NDArray[np.float32], settings: ChannelSettings, *, has_mask: bool) -> Plane:
    """A plane whose result is thrown away."""
    from napari_rednet.engine.planes import Plane

    missing = np.random.default_rng(1).random(image.shape) < _MISSING

    def read_mask(rows: slice, columns: slice) -> npt.NDArray[np.bool_]:
        return missing[rows, columns]

    return Plane(
        (image.shape[0], image.shape[1]),
        image.dtype,
        read=lambda rows, columns: image[rows, columns],
        write=lambda *_: None,
        settings=settings,
        mask=read_mask if has_mask else None,
    )


def _pixels(index: tuple[int | slice, ...]) -> int:
    return math.prod(part.stop - part.start for part in index if isinstance(part, slice))
