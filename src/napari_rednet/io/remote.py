"""Zarrs at a URL, such as s3:// and https://, by fsspec, if it is installed."""

from __future__ import annotations

import re
import zlib
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_rednet.errors import ImageFileError

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
