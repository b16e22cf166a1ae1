"""Files that are written whole or not at all, by one process at a time.

What is unfinished lies beside its place under a hidden name, and takes it at the end. Who writes
holds a lock there, which the operating system drops when the process ends, however it ends: a lock
file that is left behind by a killed process locks nothing.
"""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from napari_rednet.errors import BusyError

_TRIES = 10
_LONGEST_NAME = 255  # bytes, on common file systems
_LOCKED = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)
_MOST_READ = 300
# Windows locks bytes against reading as well: one that nobody reads.
_LOCKED_BYTE = 1000


def beside(path: Path, ending: str) -> Path:
    """A hidden place beside a file, or folder, whose name tells whose it is, if that can be."""
    name = f".{path.name}.{ending}"
    if len(os.fsencode(name)) > _LONGEST_NAME:
        digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:32]
        name = f".{digest}.{ending}"
    return path.with_name(name)


def part_of(path: Path) -> Path:
    """Where a file, or folder, lies until it is finished."""
    return beside(path, "part")


def real_place(path: Path) -> Path:
    """The place that a path stands for: links to files are kept, and what they name is written."""
    return path.resolve() if path.is_symlink() else path


@contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Be the only one who writes a file, or folder, until the end of the block.

    Raises `BusyError` if another process does, or another job of this one, and `OSError` if its
    folder cannot be written to.
    """
    lock = beside(path, "lock")
    descriptor = _locked(lock, path)
    try:
        # In here, so that a disk that is too full even for this leaves no lock behind.
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()} {socket.gethostname()}".encode())
        yield
    finally:
        # Removed before it is unlocked, so that nobody locks what is about to vanish; Windows
        # removes no open file.
        with suppress(OSError):
            lock.unlink()
        os.close(descriptor)
        if os.name == "nt":
            with suppress(OSError):
                lock.unlink()


@contextmanager
def replaced(path: Path, *, overwrite: bool = True) -> Iterator[Path]:
    """Give a place for a new file, which becomes `path` at the end if there is no error.

    An existing file passes on its mode, and links stay links. With `overwrite` False, a file that
    is there, or appears during the block, is left alone, and `FileExistsError` raised. Raises
    `BusyError` and `OSError` as `claimed` does.
    """
    target = real_place(path)
    part = part_of(target)
    with claimed(target):
        if not overwrite:
            refuse_existing(target)
        before = _state(target)
        try:
            create_anew(part)
            yield part
            if before is not None:
                part.chmod(stat.S_IMODE(before.st_mode))
            put_in_place(part, target, overwrite=overwrite)
        finally:
            with suppress(OSError):
                part.unlink()


def create_anew(part: Path) -> None:
    """Create an empty file; what lies in its place, maybe a link to elsewhere, is removed."""
    part.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    os.close(os.open(part, flags, 0o666))


def put_in_place(part: Path, target: Path, *, overwrite: bool) -> None:
    """Rename a file; `FileExistsError` if there is one in its place that is not to be replaced."""
    if not overwrite:
        try:
            os.link(part, target)  # a rename would replace what is there
        except FileExistsError as error:
            raise _kept(target) from error
        except OSError:  # a file system without links
            refuse_existing(target)
        else:
            return
    part.replace(target)


def refuse_existing(target: Path) -> None:
    """Raise `FileExistsError` if there is something, whatever was seen there before."""
    if os.path.lexists(target):
        raise _kept(target)


def _kept(target: Path) -> FileExistsError:
    told = "it is there by now, and is kept; --force would overwrite it"
    return FileExistsError(errno.EEXIST, told, str(target))


def _state(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _locked(lock: Path, path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    for _ in range(_TRIES):
        if lock.is_symlink():
            lock.unlink()
        descriptor = os.open(lock, flags, 0o666)
        try:
            _lock(descriptor, path)
            if _is_at(lock, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # who held it has just removed it
    raise BusyError(f"other jobs are writing {path}; wait for them, or write elsewhere")


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except OSError:
        return False


def _lock(descriptor: int, path: Path) -> None:
    """Lock an open file, or raise `BusyError`; where there are no locks, believe what it says."""
    try:
        _lock_by_system(descriptor)
    except OSError as error:
        number, host = _holder(descriptor)
        if error.errno in _LOCKED or (host == socket.gethostname() and psutil.pid_exists(number)):
            raise BusyError(_words(path, number, host)) from None


def _lock_by_system(descriptor: int) -> None:
    if os.name == "nt":
        import msvcrt

        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _holder(descriptor: int) -> tuple[int, str]:
    """Process number and host that a lock file names; 0 and nothing if it names none."""
    with suppress(OSError, ValueError):
        os.lseek(descriptor, 0, os.SEEK_SET)
        number, _, host = os.read(descriptor, _MOST_READ).decode().partition(" ")
        return int(number), host
    return 0, ""


def _words(path: Path, number: int, host: str) -> str:
    who = "another process"
    if number == os.getpid() and host == socket.gethostname():
        who = f"another job of this process, {number},"
    elif number:
        where = "" if host == socket.gethostname() else f" on {host}"
        who = f"process {number}{where}"
    return f"{who} is writing {path}; wait until it has ended, or write elsewhere"
