"""The image of a TIFF file, and the description of a file to write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_ALPHA: tuple[list[str], ...] = ([], ["assocalpha"], ["unassalpha"])


@dataclass(frozen=True)
class TiffImage:
    """The image of a TIFF file, and its metadata.

    `data` is memory-mapped where possible; large compressed images are a zarr array that decodes on
    access, if zarr is installed. `axes` has tifffile's letters: T, Z, C, Y, X, S (samples of a
    pixel: colours or channels), Q. `options` are arguments of tifffile's writer that give a new
    file the same description. `remarks` are for users, a clause each.
    """

    data: Any
    axes: str
    options: Mapping[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def channel_axis(self) -> int | None:
        """Position of the samples, or else of the channels."""
        for letter in "SC":
            if letter in self.axes:
                return self.axes.index(letter)
        return None

    @property
    def is_rgb(self) -> bool:
        """True if the channels are colours, with transparency or without.

        Samples that are not said to be colours are channels, and so are all samples of a pixel that
        has more than colours and transparency, such as near infrared.
        """
        is_colour = self.options.get("photometric") == "rgb"
        return "S" in self.axes and is_colour and self.options.get("extrasamples", []) in _ALPHA

    @property
    def orientation(self) -> int:
        """How rows and columns are to be shown (TIFF tag 274): 1 is as they are stored."""
        for code, _, _, value, *_ in self.options.get("extratags", ()):
            if code == ORIENTATION:
                return int(value)
        return 1

    def enlarged(self, scale: int) -> TiffDescription:
        """Description of the file with `scale` times more pixels along Y and X."""
        shape = (
            n * scale if a in "YX" else n for a, n in zip(self.axes, self.data.shape, strict=True)
        )
        return TiffDescription(tuple(shape), self.data.dtype, _finer(self.options, scale))


ORIENTATION = 274
"""The tag that says how rows and columns are to be shown."""


@dataclass(frozen=True)
class TiffDescription:
    """A file to write: shape, dtype, and arguments of tifffile's writer."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    options: Mapping[str, Any]


def _finer(options: Mapping[str, Any], scale: int) -> dict[str, Any]:
    """Options of a file with `scale` times more pixels along Y and X for the same length."""
    if scale == 1:
        return dict(options)
    finer = dict(options)
    if "resolution" in finer:
        finer["resolution"] = tuple((scale * n, d) for n, d in finer["resolution"])
    if finer.get("metadata"):
        metadata = dict(finer["metadata"])
        for key in ("PhysicalSizeX", "PhysicalSizeY"):
            if key in metadata:
                metadata[key] /= scale
        finer["metadata"] = metadata
    return finer
