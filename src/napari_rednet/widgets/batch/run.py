"""A batch in a worker's thread, and what the window may read of it meanwhile."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_rednet.batch import (
    REPORT,
    BatchFile,
    BatchRecord,
    BatchStatus,
    Existing,
    Outcome,
    plan_batch,
    restore_file,
    run_batch,
    write_report,
)
from napari_rednet.batch.planning import AS_TOLD
from napari_rednet.errors import ImageFileError, RednetError
from napari_rednet.io import names_image, read_mask
from napari_rednet.io.sources import Reading
from napari_rednet.widgets.shared.worker import PER_MILLE, WorkerSteps

if TYPE_CHECKING:
    from napari_rednet.batch import Work


@dataclass(frozen=True)
class BatchRequest:
    """What a batch is to do.

    Parameters
    ----------
    verb : str
        The function that restores.
    arguments : mapping
        Of it, by name.
    source, pattern : Path, str
        The folder of the images, and which of those below it; empty for all.
    out : Path
        The folder of the results.
    existing : str
        What becomes of results that are there.
    reading : Reading
        What is taken of each file.
    compression : str, optional
        Of the results, if not that of the images.
    """

    verb: str
    arguments: Mapping[str, Any]
    source: Path
    pattern: str
    out: Path
    existing: Existing
    reading: Reading = AS_TOLD
    compression: str | None = None

    def files(self) -> list[BatchFile]:
        """What is to be restored; nothing is written.

        Raises
        ------
        ImageFileError
            If folders or images are missing, or images would be overwritten.
        """
        if not self.source.is_dir():
            raise ImageFileError(f"there is no folder {self.source}")
        if names_image(self.out):
            raise ImageFileError(f"{self.out.name} is the name of an image; name a folder")
        mask = self.arguments.get("mask")
        helper = mask.resolve() if isinstance(mask, Path) else None
        planned = plan_batch([self.source], self.out, self.reading)
        files = [
            replace(file, compression=self.compression)
            for file in planned
            if file.source.resolve() != helper
        ]
        if not self.pattern:
            return files
        # Their places are below the folder, whatever of the path the pattern says.
        chosen = plan_batch([self.source / self.pattern], self.out, self.reading)
        matching = {file.source for file in chosen}
        found = [file for file in files if file.source in matching]
        if not found:
            raise ImageFileError(f"no images below {self.source} match {self.pattern}")
        return found

    def work(self) -> Work:
        """What is done to each image; the model is loaded, and the mask read if it is a file."""
        from napari_rednet.batch.restoring import make_work

        mask = self.arguments.get("mask")
        read = {"mask": read_mask(mask)} if isinstance(mask, Path) else {}
        return make_work(self.verb, {**self.arguments, **read})


class BatchRun:
    """A batch whose state one thread changes while the window reads it.

    Parameters
    ----------
    request : BatchRequest
        What to do.

    Attributes
    ----------
    files : sequence of BatchFile
        All files, in the order in which they are restored; empty before they are found.
    outcomes : list of Outcome
        What became of the first of them.
    counts : Counter
        How many of those were restored, skipped, failed.
    present : BatchStatus or None
        The last status.
    is_over : bool
        Whether it has ended, for whatever reason.
    problem : str
        What stopped the batch as a whole, or kept the report from being written.
    """

    def __init__(self, request: BatchRequest) -> None:
        self.request = request
        self.files: Sequence[BatchFile] = ()
        self.outcomes: list[Outcome] = []
        self.counts: Counter[str] = Counter()
        self.present: BatchStatus | None = None
        self.is_over = False
        self.problem = ""
        self._started = time.monotonic()

    @property
    def fraction(self) -> float:
        """The share of the work that is done; what is skipped is none."""
        done, to_do = self._done_of()
        return done / to_do if to_do else 1.0

    @property
    def remaining_minutes(self) -> float | None:
        """How long it will take; None before anything is known of it."""
        done, to_do = self._done_of()
        spent = (time.monotonic() - self._started) / 60
        return spent * (to_do - done) / done if done else None

    @property
    def share(self) -> float:
        """How much of the present file is done."""
        status = self.present
        if status is None or status.outcome is not None or not status.total:
            return 0.0
        return status.done / status.total

    @property
    def is_complete(self) -> bool:
        """Whether all files had their turn."""
        return bool(self.files) and len(self.outcomes) == len(self.files)

    def _done_of(self) -> tuple[float, int]:
        skipped = self.counts["skipped"]
        return len(self.outcomes) - skipped + self.share, len(self.files) - skipped

    def steps(self) -> WorkerSteps:
        """Restore, in another thread: yield (per mille done, 1000)."""
        yield 0, 0
        try:
            files, work = self.request.files(), self.request.work()
            yield from self._restore(files, work)
        except (RednetError, ValueError, OSError, RuntimeError) as error:
            self.problem = str(error)
            raise

    def _restore(self, files: list[BatchFile], work: Work) -> WorkerSteps:
        existing = self.request.existing
        record = BatchRecord(self.request.out, work.task)
        restore_one = partial(
            restore_file, work, resume=existing == "resume", overwrite=existing == "overwrite"
        )
        self.files, self._started = files, time.monotonic()
        try:
            with closing(run_batch(files, restore_one, record, existing)) as statuses:
                for status in statuses:
                    self._take(status)
                    yield round(PER_MILLE * self.fraction), PER_MILLE
        finally:
            self.is_over = True
            # Cancelled, the batch still tells what it has done.
            self._write_report()

    def _take(self, status: BatchStatus) -> None:
        self.present = status
        if status.outcome is not None:
            self.counts[status.outcome.status] += 1
            self.outcomes.append(status.outcome)

    def _write_report(self) -> None:
        if not self.outcomes:
            return
        try:
            done = zip(self.files, self.outcomes, strict=False)  # not all, if cancelled
            write_report(self.request.out / REPORT, done)
        except RednetError as error:
            # Nobody hears what a cancelled worker raises.
            self.problem = str(error)
