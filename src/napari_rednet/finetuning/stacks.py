"""Training images given as arrays, lists of them, files or folders, as stacks of planes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_rednet.arguments import as_image
from napari_rednet.engine.planes import PlaneKey, PlaneLayout
from napari_rednet.errors import ImageFileError
from napari_rednet.execution import Samples, sample_windows

# Enough pixels of one kind of image; in half precision they fit into any memory.
_MOST_PIXELS = 2**25
_BOX = 512
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp")


@dataclass(frozen=True, eq=False)  # a key of dictionaries, and arrays do not compare
class Stack:
    """An array (..., Y, X) to learn from and its axes; `name` is for messages."""

    array: Any
    layout: PlaneLayout
    name: str

    def samples(self, channel: int) -> Samples:
        """Windows that represent a channel."""
        return sample_windows(self.array, self.layout, channel)

    def read(self, window: Window) -> npt.NDArray[np.float64]:
        """The values of a window."""
        values = np.asarray(self.array[window.key.window(window.rows, window.columns)])
        return values.astype(np.float64)


@dataclass(frozen=True)
class Window:
    """A part of a plane of a stack."""

    key: PlaneKey
    rows: slice
    columns: slice

    @property
    def size(self) -> int:
        """Number of pixels."""
        height, width = (int(s.stop) - int(s.start) for s in (self.rows, self.columns))
        return height * width


NumberedWindow = tuple[int, Window]
"""The number of a stack, and a window of it."""


def as_stacks(name: str, images: Any, channel_axis: int | None) -> list[Stack]:
    """Check an argument called `name` and return its stacks.

    `images` is an array, the path of a file or folder, or a list of these. Raises `TypeError` or
    `ValueError` if there is no image, and `ImageFileError` if a file cannot be read.
    """
    given = list(images) if _is_list(images) else [images]
    stacks = [stack for item in given for stack in _stacks_of(name, item, channel_axis)]
    if not stacks:
        raise ValueError(f"{name} must hold at least one image, got none")
    for stack in stacks:
        if 0 in stack.layout.shape:
            raise ValueError(f"{stack.name} is empty: its shape is {stack.layout.shape}")
    return stacks


def _is_list(images: Any) -> bool:
    if not isinstance(images, (list, tuple)):
        return False
    return not images or hasattr(images[0], "shape") or isinstance(images[0], (str, os.PathLike))


def _stacks_of(name: str, item: Any, channel_axis: int | None) -> Iterator[Stack]:
    if isinstance(item, (str, os.PathLike)):
        for path in _image_files(Path(item)):
            yield _read_stack(path, channel_axis)
        return
    if item is None:
        raise TypeError(f"{name} must hold images, got None")
    array, layout = as_image(item, channel_axis)
    yield Stack(array, layout, f"{name} of shape {layout.shape}")


def _image_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    from napari_rednet.io.tiff import SUFFIXES

    found = sorted(p for p in path.rglob("*") if p.suffix.lower() in (*SUFFIXES, *_PICTURES))
    if not found:
        raise ImageFileError(f"there are no images in {path}")
    return found


def _read_stack(path: Path, channel_axis: int | None) -> Stack:
    from napari_rednet.io.tiff import SUFFIXES, read_tiff

    if path.suffix.lower() in SUFFIXES:
        image = read_tiff(path)
        found, values = image.channel_axis, image.data
    else:
        values = _read_picture(path)
        found = -1 if values.ndim == 3 else None
    axis = found if channel_axis is None else channel_axis
    array, layout = as_image(values, axis)
    return Stack(array, layout, str(path))


def _read_picture(path: Path) -> npt.NDArray[Any]:
    from skimage.io import imread

    try:
        return np.asarray(imread(path))
    except (
        OSError,
        ValueError,
        SyntaxError,
    ) as error:  # SyntaxError: from Pillow, for damaged files
        raise ImageFileError(f"{path} cannot be read as an image: {error}") from error


def windows(stacks: Sequence[Stack]) -> list[list[Window]]:
    """Windows to learn from, per stack: whole planes, or parts if there are too many pixels."""
    whole = [[_whole(stack, key) for key in stack.layout.planes()] for stack in stacks]
    pixels = sum(window.size for part in whole for window in part)
    if pixels <= _MOST_PIXELS:
        return whole
    boxes = [(i, box) for i, part in enumerate(whole) for w in part for box in _boxes(w)]
    chosen: list[list[Window]] = [[] for _ in stacks]
    for number, box in _one_of_every(-(-pixels // _MOST_PIXELS), boxes):
        chosen[number].append(box)
    return chosen


def _one_of_every(count: int, boxes: Sequence[NumberedWindow]) -> Iterator[NumberedWindow]:
    """One of every `count` boxes, at random: a fixed step would hit the same places of planes."""
    random = np.random.default_rng(0)
    for start in range(0, len(boxes), count):
        group = boxes[start : start + count]
        yield group[int(random.integers(len(group)))]


def _whole(stack: Stack, key: PlaneKey) -> Window:
    height, width = stack.layout.plane_shape
    return Window(key, slice(0, height), slice(0, width))


def _boxes(window: Window) -> Iterator[Window]:
    for rows in _parts(window.rows.stop):
        for columns in _parts(window.columns.stop):
            yield Window(window.key, rows, columns)


def _parts(length: int) -> list[slice]:
    edges = np.linspace(0, length, max(1, round(length / _BOX)) + 1).astype(int)
    return [slice(int(a), int(b)) for a, b in pairwise(edges)]
