"""Letters of axes: which there are, and those that users tell where a file tells none or others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from napari_rednet.errors import ImageFileError

LETTERS = "TCZYXSQ"
"""Time, channels, Z, Y, X, samples of a pixel that are colours, and any other planes."""
Missing = Literal["error", "skip"]
"""What to do about planes that a file declares and does not hold: fail, or leave them out."""


@dataclass(frozen=True)
class Reading:
    """What is taken of a file, and what is known of its axes.

    Parameters
    ----------
    series : int or None
        Which image of the file, counted from 0; None for all of them.
    missing : {'error', 'skip'}
        What to do about planes that the file declares and does not hold.
    axes : str, optional
        A letter for each axis in the order of the file (`LETTERS`), instead of those that the file
        tells.
    channel_axis : int, optional
        The axis of the channels, instead of the one that the file tells.
    """

    series: int | None = 0
    missing: Missing = "error"
    axes: str | None = None
    channel_axis: int | None = None


def told_axes(own: str, shape: Sequence[int], axes: str | None, channel_axis: int | None) -> str:
    """A letter for each axis: those of the file, if users do not tell others.

    Raises `ImageFileError` if what they tell does not fit to the shape.
    """
    letters = own if axes is None else _checked(axes.upper(), shape)
    return letters if channel_axis is None else _with_channels(letters, shape, channel_axis)


def _checked(axes: str, shape: Sequence[int]) -> str:
    if len(axes) != len(shape):
        raise ImageFileError(
            f"the axes {axes} (--axes) are {len(axes)}, and the image has {len(shape)}: its shape "
            f"is {tuple(shape)}"
        )
    unknown = [letter for letter in axes if letter not in LETTERS]
    twice = [letter for letter in LETTERS[:-1] if axes.count(letter) > 1]
    if unknown or twice:
        raise ImageFileError(
            f"the axes {axes} (--axes) must be letters of {LETTERS} (time, channels, Z, Y, X, "
            "colours, any other planes), each but Q once"
        )
    if "S" in axes and shape[axes.index("S")] not in (3, 4):
        count = shape[axes.index("S")]
        raise ImageFileError(f"colours (S in --axes {axes}) are 3, or 4 with transparency: {count}")
    check_spatial(axes, "--axes")
    return axes


def check_spatial(axes: str, name: str, *, channels_anywhere: bool = True) -> None:
    """Raise `ImageFileError` unless the last axes of what is called `name` are Y and X.

    With `channels_anywhere`, channels or colours may come after them, or between.
    """
    if not (axes.replace("S", "").replace("C", "") if channels_anywhere else axes).endswith("YX"):
        raise ImageFileError(f"{name} has the axes {axes}; its last ones must be Y and X")


def _with_channels(letters: str, shape: Sequence[int], channel_axis: int) -> str:
    """The letters with channels at an axis; what it was called is no other axis' name, but Y, X."""
    count = len(letters)
    if not -count <= channel_axis < count:
        raise ImageFileError(
            f"--channel-axis must lie between {-count} and {count - 1}, got {channel_axis}: the "
            f"shape of the image is {tuple(shape)}"
        )
    place = channel_axis % count
    if "S" in letters.replace(letters[place], ""):
        raise ImageFileError(f"the image has colours in axis {letters.index('S')}, no channels")
    planes = letters[:place] + letters[place + 1 :]
    if letters[place] in "YX":
        # Two others are rows and columns, then: those that come last.
        planes = "".join(letter for letter in planes if letter not in "YX")
        planes = planes[: count - 3] + "YX"
    planes = planes.replace("C", "Q")
    if len(planes) != count - 1:
        raise ImageFileError(f"an image with channels has three axes or more, not {tuple(shape)}")
    return f"{planes[:place]}C{planes[place:]}"
