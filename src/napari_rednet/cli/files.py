"""Files of the commands that restore: what is read, what is written, and what is not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from napari_rednet.console import run_with_bar, say
from napari_rednet.engine.noise_model import noise_words
from napari_rednet.errors import ImageFileError, RednetError
from napari_rednet.execution import repaired_words

if TYPE_CHECKING:
    from napari_rednet.batch import Existing, Figures, Prepared, Work
    from napari_rednet.io.files import OpenImage


INTERRUPTED = 130
"""The exit code after Ctrl+C."""
_LONGEST_WAIT = 10  # seconds, for a scheduler


@dataclass(frozen=True)
class Places:
    """What the arguments of a restoring command say about files.

    Parameters
    ----------
    paths : list of Path
        IN and OUT; with `out`, all that is to be read.
    out, report : Path or None
        The folder of the results of a batch, and where its table goes if not there.
    skip, force, resume : bool
        What becomes of results that are there.
    quiet : bool
        Print nothing but errors.
    scheduler : str or None
        Address of the scheduler on whose workers all is computed.
    """

    paths: list[Path]
    out: Path | None
    report: Path | None
    skip: bool
    force: bool
    resume: bool
    quiet: bool
    scheduler: str | None = None

    @property
    def is_lazy(self) -> bool:
        """Whether dask computes."""
        return self.scheduler is not None

    @property
    def existing(self) -> Existing:
        """What becomes of results that are there, in one word."""
        if self.skip:
            return "skip"
        if self.force:
            return "overwrite"
        return "resume" if self.resume else "refuse"


def restore(places: Places, work: Work) -> None:
    """Restore one file into another, or with --out all files of a batch."""
    from napari_rednet.cli.batch import restore_batch

    if places.skip + places.force + places.resume > 1:
        raise ValueError("give one of --skip, --force and --resume")
    with _workers(places.scheduler):
        if places.out is not None:
            restore_batch(places, places.out, work)
            return
        if places.skip or places.report is not None:
            raise ValueError("--skip and --report are for several images, with --out FOLDER")
        _restore_single(*_in_and_out(places.paths), work, places)


@contextmanager
def _workers(scheduler: str | None) -> Iterator[None]:
    """Let a scheduler compute what is lazy."""
    if scheduler is None:
        yield
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise RednetError("--scheduler needs: pip install 'napari-rednet[dask]'") from error
    try:
        # One that never got there would stay dask's default, and be waited for.
        client = Client(scheduler, timeout=_LONGEST_WAIT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise RednetError(f"there is no scheduler at {scheduler}: {error}") from error
    with client, client.as_current():
        yield


def _in_and_out(paths: list[Path]) -> tuple[Path, Path]:
    if len(paths) != 2:
        raise ImageFileError(
            "name one image and the file to write, or add --out FOLDER for the results of "
            f"several; got {len(paths)} of them"
        )
    return paths[0], paths[1]


def _restore_single(source: Path, target: Path, work: Work, places: Places) -> None:
    from napari_rednet.batch import BatchFile, restore_file

    _check_single(source, target, places)

    def prepare(image: OpenImage) -> Prepared:
        prepared = work.prepare(image)
        _tell(prepared, quiet=places.quiet)
        return prepared

    file = BatchFile(source, target, target.name)
    steps = restore_file(
        replace(work, prepare=prepare), file, resume=places.resume, lazy=places.is_lazy
    )
    with _said_how_to_go_on(target, quiet=places.quiet):
        figures: Figures = run_with_bar(steps, source.name, quiet=places.quiet)
    if figures.repaired:
        say(repaired_words(figures.repaired), quiet=places.quiet)
    if figures.remark:
        say(f"warning: {figures.remark}", quiet=places.quiet)
    say(f"written: {target}", quiet=places.quiet)


@contextmanager
def _said_how_to_go_on(target: Path, *, quiet: bool) -> Iterator[None]:
    from napari_rednet.io.files import can_be_continued

    try:
        yield
    except KeyboardInterrupt:
        if can_be_continued(target):
            say("stopped; to go on, run the same command with --resume", quiet=quiet)
        raise typer.Exit(INTERRUPTED) from None


def _check_single(source: Path, target: Path, places: Places) -> None:
    """Check both paths before any work."""
    from napari_rednet.io.files import can_be_continued, check_output_name, check_places

    check_output_name(target)
    if _stands_for_several(source):
        raise ImageFileError(
            f"{source} stands for several images; add --out FOLDER for the results"
        )
    if not target.parent.is_dir():
        raise ImageFileError(f"there is no folder {target.parent} to write to")
    check_places(source, target)
    if places.resume and not can_be_continued(target):
        raise ValueError("--resume goes on with a .zarr file, or with several images (--out)")
    if target.exists() and not places.force:
        raise ImageFileError(f"{target} exists; add --force to overwrite it")


def _stands_for_several(source: Path) -> bool:
    from napari_rednet.batch.planning import is_pattern
    from napari_rednet.io.files import is_image

    if source.is_dir():
        return not is_image(source)
    return is_pattern(source) and not source.exists()


def _tell(prepared: Prepared, *, quiet: bool) -> None:
    """Print what was found in an image before it is restored."""
    for channel, level in enumerate(prepared.noise):
        say(
            f"noise of channel {channel}: {noise_words(level)}",
            quiet=quiet,
        )
    if prepared.remark:
        say(prepared.remark, quiet=quiet)


def read_mask(path: Path) -> Any:
    """The mask in a TIFF, a Zarr, or any other image file."""
    import numpy as np
    from PIL import Image

    from napari_rednet.io.files import is_image, read_image

    if is_image(path):
        return np.asarray(read_image(path).data)
    try:
        with Image.open(path) as file:
            return np.asarray(file)
    except OSError as error:
        raise ImageFileError(f"{path} cannot be read as an image: {error}") from error
