"""Commands in processes of their own, forked from one that has loaded the libraries.

Each is a process as users have it, but for the seconds of its imports; of signals that come in
these, `tests/test_signals.py` knows.
"""

import itertools
import multiprocessing
import os
import resource
import signal
import sys
from contextlib import suppress

from napari_rednet.command import main

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        "pytest", "tests.reliability.commands", "napari_rednet.cli", "napari_rednet.cli.restoring",
        "napari_rednet.restoration.denoise", "napari_rednet.restoration.deblur",
        "napari_rednet.restoration.super_resolve", "napari_rednet.restoration.inpaint",
        "napari_rednet.restoration.deblock", "napari_rednet.finetuning", "napari_rednet.batch",
        "napari_rednet.models.export", "napari_rednet.io", "onnx", "tifffile", "torch", "zarr",
        "scipy.ndimage", "scipy.optimize", "skimage.metrics", "skimage.transform",
    ]
)  # fmt: skip


# What Python reports of changes of files and folders, but for those that are opened to be written.
_CHANGES = {f"os.{change}" for change in ("chmod", "link", "mkdir", "remove", "rename", "rmdir")}


class Command:
    """A command that runs in a folder, perhaps with a limit on the size of files.

    It may be `killed_before` it changes a file or folder for so many times; if that is never, it
    ends with how often it did.
    """

    def __init__(self, words, folder, environment, limit=None, killed_before=None):
        self._reader, writer = _FORKS.Pipe(duplex=False)
        told = (list(map(str, words)), str(folder), environment, limit, killed_before, writer)
        self._process = _FORKS.Process(target=_run, args=told)
        self._process.start()
        writer.close()

    def send_signal(self, number):
        with suppress(ProcessLookupError):
            os.kill(self._process.pid, number)

    def wait(self):
        """What it has told, on standard output and standard error, once it has ended."""
        parts = iter(lambda: os.read(self._reader.fileno(), 2**16), b"")
        told = b"".join(parts).decode()
        self._process.join()
        self._reader.close()
        return told

    @property
    def returncode(self):
        return self._process.exitcode


def _kill_before(change):
    """Kill this process before its nth change of a file; return what tells how many there were."""
    changes = itertools.count()

    def hook(event, arguments):
        is_change = event in _CHANGES or (
            event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        )
        if is_change and next(changes) == change:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return lambda: sys.stdout.write(f"changes: {next(changes)}")


def _run(words, folder, environment, limit, killed_before, writer):
    # Whoever starts the tests in the background has let them ignore Ctrl+C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(folder)
    os.environ.update(environment)
    for stream in (1, 2):
        os.dup2(writer.fileno(), stream)
    writer.close()
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    sys.argv = ["napari-rednet", *words]
    if killed_before is None:
        main()
    tell = _kill_before(killed_before)
    try:
        main()
    finally:
        tell()
