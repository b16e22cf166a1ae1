"""Images to read as users name them: a place or URL, which image of a file, what its axes are."""

from __future__ import annotations

import re
import zlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from napari_rednet.errors import ImageFileError

LETTERS = "TCZYXSQ"
"""Time, channels, Z, Y, X, samples of a pixel that are colours, and any other planes."""
Missing = Literal["error", "skip"]
"""What to do about planes that a file declares and does not hold: fail, or leave them out."""

if TYPE_CHECKING:
    _Local = Path
else:
    _Local = type(Path())  # Path itself cannot be derived from before Python 3.12

_URL = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+):/+")
_MARKS = ("zarr.json", ".zattrs", ".zgroup", ".zarray")


class RemotePath(_Local):
    """The place of a Zarr at a URL, which is used like one in a folder, to be read only."""

    @property
    def url(self) -> str:
        """The URL."""
        return _URL.sub(r"\1://", super().__str__().replace("\\", "/"))

    def __str__(self) -> str:
        return self.url

    def __fspath__(self) -> str:
        return self.url

    def exists(self, **_: Any) -> bool:
        """True if there is the metadata of a Zarr."""
        return bool(self.mark)

    def is_dir(self) -> bool:
        """True for what may be a Zarr, or lie in one."""
        return self.suffix.lower() in ("", ".zarr")

    def is_file(self) -> bool:
        """True for metadata that can be read."""
        return self.name in _MARKS and self.content() is not None

    def resolve(self, strict: bool = False) -> RemotePath:  # noqa: ARG002 (of Path)
        """The place itself."""
        return self

    def expanduser(self) -> RemotePath:
        """The place itself."""
        return self

    def samefile(self, other: Any) -> bool:
        """True for the same URL."""
        return str(other) == self.url

    def iterdir(self) -> Generator[RemotePath, None, None]:
        """Nothing: most servers do not list what they have."""
        yield from ()

    def read_text(self, *_: Any, **__: Any) -> str:
        """Text of a small file; raises `FileNotFoundError` if there is none."""
        found = self.content()
        if found is None:
            raise FileNotFoundError(self.url)
        return found.decode("utf-8")

    def content(self) -> bytes | None:
        """Bytes of a small file, None if there is none; `ImageFileError` if it cannot be asked."""
        try:
            from fsspec.core import url_to_fs
        except ImportError as error:
            raise ImageFileError(
                f"{self.url} needs: pip install fsspec, and what it needs for such a URL"
            ) from error
        try:
            system, place = url_to_fs(self.url)
            return bytes(system.cat_file(place))
        except FileNotFoundError:
            return None
        except Exception as error:  # file systems raise all kinds
            raise ImageFileError(f"{self.url} cannot be read: {error}") from error

    @property
    def mark(self) -> bytes:
        """The metadata of the Zarr; empty if there is none."""
        return next(filter(None, ((self / name).content() for name in _MARKS)), b"")

    @property
    def state(self) -> tuple[int, int]:
        """What changes if the metadata do: pixels at a URL have no dates."""
        return len(self.mark), zlib.crc32(self.mark)


def refuse_url(path: Path) -> None:
    """Raise `ImageFileError` if a place to write is a URL, even one that was taken for a path."""
    if _URL.match(str(path)):
        raise ImageFileError(f"results are not written to URLs, such as {path}; name a local place")


def as_path(text: str | Path) -> Path:
    """A place as users tell it: a path, or a URL."""
    return RemotePath(text) if _URL.match(str(text)) and "://" in str(text) else Path(text)


def store_at(path: Path) -> Any:
    """What `zarr.open` takes for a place."""
    if not isinstance(path, RemotePath):
        return path
    from zarr.storage import FsspecStore

    return FsspecStore.from_url(path.url, read_only=True)


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
