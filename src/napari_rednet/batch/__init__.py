"""Many files restored one after the other: which, where to, what was done, and going on later.

Nothing here knows a terminal or a window: `run_batch` yields what happens.
"""

from napari_rednet.batch.planning import BatchFile, plan_batch
from napari_rednet.batch.record import BatchRecord, Figures
from napari_rednet.batch.restoring import Prepared, Work, digest, restore_file
from napari_rednet.batch.running import (
    REPORT,
    BatchStatus,
    Existing,
    Outcome,
    run_batch,
    write_report,
)

__all__ = [
    "REPORT",
    "BatchFile",
    "BatchRecord",
    "BatchStatus",
    "Existing",
    "Figures",
    "Outcome",
    "Prepared",
    "Work",
    "digest",
    "plan_batch",
    "restore_file",
    "run_batch",
    "write_report",
]
