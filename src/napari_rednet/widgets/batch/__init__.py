"""The widget that restores the image files of a folder."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

from napari.layers import Labels
from napari.viewer import Viewer
from qtpy.compat import isalive
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QSplitter, QVBoxLayout, QWidget

from napari_rednet.tasks import VERBS
from napari_rednet.widgets.batch.controls import BatchControls
from napari_rednet.widgets.batch.run import BatchRun
from napari_rednet.widgets.batch.table import FileTable
from napari_rednet.widgets.layer_files import FileImage, add_files, read_files
from napari_rednet.widgets.shared import model_chosen, models_changed
from napari_rednet.widgets.shared.controls import LOOKING, Choices, find_choices
from napari_rednet.widgets.shared.docks import RunningWidget, Scrolling, clock, shown_errors
from napari_rednet.widgets.shared.layers import image_layers
from napari_rednet.widgets.shared.style import (
    CANCEL_KEYS,
    RUN_KEYS,
    add_shortcut,
    focus_kept,
    make_button,
    make_label,
)
from napari_rednet.widgets.shared.worker import PER_MILLE, compute_in_background

# napari's style has none.
_HANDLE = "QSplitter::handle { border-top: 2px solid rgba(128, 128, 128, 150); margin: 3px 90px; }"


class BatchWidget(RunningWidget):
    """Restore the image files of a folder into another one, and look at the results.

    Parameters
    ----------
    napari_viewer : Viewer
        Where results are opened; napari passes it.

    Attributes
    ----------
    controls : BatchControls
        Which files, what is done to them, where the results go.
    run_button, cancel_button : QPushButton
        Start and stop a run.
    table : FileTable
        The files and what became of them.
    text : QLabel
        How far a run is, or what came of it.
    open_button, compare_button : QPushButton
        Open the selected result, without or with its source.
    parts : QSplitter
        The controls above, the files below.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self._run: BatchRun | None = None
        self._has_choices = False
        self.controls = BatchControls(lambda *_: image_layers(self.viewer), self._masks)
        self.run_button = make_button("Run", "Restore all the images.")
        self.cancel_button = make_button(
            "Cancel", "Stop now. Results that are finished stay; resume goes on from there."
        )
        self.progress = QProgressBar()
        self.progress.setToolTip("How much of all files is done.")
        self.text = make_label("How far it is, and what became of the files.")
        self.table = FileTable()
        self.open_button = make_button("Open result", "Show the selected result in the viewer.")
        self.compare_button = make_button(
            "Compare", "Show the selected result over the image that it was made from."
        )
        self._arrange()
        self._connect()
        self._show_idle()
        self._find_choices()

    def _find_layers(self) -> None:
        """Refresh the layers that may hold a PSF or a mask."""
        self.controls.reset_choices()

    # Runs ----------------------------------------------------------------------------------

    def _start(self) -> None:
        if self.is_running:
            return
        with shown_errors():
            self._run = run = BatchRun(self.controls.request())
            self._start_run(
                run.steps,
                f"Restoring {run.request.source.name}",
                on_wait=self._show_state,
                on_progress=self._follow,
                on_result=lambda _: None,
                on_end=self._end,
            )
            self._show_running()
            # The controls are of no use now; the table may be.
            self.parts.setSizes([0, self.parts.height()])

    def _cancel(self) -> None:
        self._quit()
        self._show_state()

    def _follow(self, progress: tuple[int, int]) -> None:
        done, total = progress
        self.progress.setMaximum(total)
        self.progress.setValue(done)
        self._show_state()

    def _end(self) -> None:
        self._worker = None
        self._show_idle()

    @property
    def _is_stopping(self) -> bool:
        return self._worker is not None and bool(self._worker.abort_requested)

    # The results ---------------------------------------------------------------------------

    def _open_result(self) -> None:
        self._open(with_source=False)

    def _open_both(self) -> None:
        self._open(with_source=True)

    def _open(self, *, with_source: bool) -> None:
        file, run = self.table.selected, self._run
        if file is None or run is None:
            return
        add = partial(add_files, self.viewer, file, f" {VERBS[run.request.verb].result}")
        compute_in_background(
            partial(read_files, file, with_source=with_source),
            partial(self._if_open, partial(self._add, add)),
        )

    def _add(self, add: Any, images: list[FileImage]) -> None:
        with shown_errors():
            add(images)

    # The window ----------------------------------------------------------------------------

    def _arrange(self) -> None:
        files = QWidget()
        below = QVBoxLayout(files)
        below.setContentsMargins(0, 0, 0, 0)
        below.addLayout(_row(self.run_button, self.cancel_button))
        below.addWidget(self.progress)
        below.addWidget(self.text)
        below.addWidget(self.table, stretch=1)
        below.addLayout(_row(self.open_button, self.compare_button))
        # Before a run the controls are wanted, and afterwards the table.
        self.parts = QSplitter(Qt.Orientation.Vertical)
        self.parts.setChildrenCollapsible(False)
        self.parts.setStyleSheet(_HANDLE)
        self.parts.addWidget(Scrolling(self.controls.native))
        self.parts.addWidget(files)
        layout = QVBoxLayout(self)
        layout.addWidget(self.parts)
        add_shortcut(self, self.run_button, RUN_KEYS)
        add_shortcut(self, self.cancel_button, CANCEL_KEYS)

    def _connect(self) -> None:
        self.run_button.clicked.connect(self._start)
        self.cancel_button.clicked.connect(self._cancel)
        self.open_button.clicked.connect(self._open_result)
        self.compare_button.clicked.connect(self._open_both)
        self.table.doubleClicked.connect(self._open_result)
        self.table.selectionModel().selectionChanged.connect(self._show_what_can_be_done)
        self.controls.task.changed.connect(self._change_task)
        models_changed.connect(self._follow_models)
        model_chosen.connect(self._follow_models)

    def _follow_models(self, task: str | None = None, name: str | None = None) -> None:
        """Models have come or gone, or another window wants one of a task to be chosen."""
        if not isalive(self):
            models_changed.disconnect(self._follow_models)
            model_chosen.disconnect(self._follow_models)
        elif task in (None, self._models_task):
            self._find_choices(name)

    @property
    def _models_task(self) -> str:
        """Whose models are offered."""
        return VERBS[self.controls.task.value].task

    def _masks(self) -> list[Labels]:
        return [layer for layer in self.viewer.layers if isinstance(layer, Labels)]

    def _change_task(self) -> None:
        self._find_choices()

    def _find_choices(self, model: str | None = None) -> None:
        task = self._models_task
        if "torch" in sys.modules:
            self._offer(model, find_choices(task))
        else:
            # Importing torch would keep the window from opening for seconds.
            offer = partial(self._if_open, partial(self._offer, model))
            compute_in_background(partial(find_choices, task), offer)

    def _offer(self, model: str | None, choices: Choices) -> None:
        self._has_choices = True
        self.controls.offer(choices, model)
        self._show_state()

    def _show_what_can_be_done(self, *_: Any) -> None:
        running = self.is_running
        with focus_kept(self.run_button, self.cancel_button, self.table):
            self.run_button.setEnabled(self._has_choices and not running)
            self.cancel_button.setEnabled(running and not self._is_stopping)
            self.controls.native.setEnabled(not running)
        for button in (self.open_button, self.compare_button):
            button.setEnabled(self.table.selected is not None)

    def _show_running(self) -> None:
        self.progress.setMaximum(0)  # busy, of unknown length
        self.progress.show()
        self._show_state()

    def _show_idle(self) -> None:
        self.progress.hide()
        self.progress.setMaximum(PER_MILLE)
        self._show_state()

    def _show_state(self) -> None:
        if self._run is not None:
            self.table.show_run(self._run)
            shown = self._progress_text if self.is_running else outcome_text
            self.text.setText(_breakable(shown(self._run)))
        else:
            self.text.setText("" if self._has_choices else LOOKING)
        self.text.setVisible(bool(self.text.text()))  # an empty line would be a gap
        self._show_what_can_be_done()

    def _progress_text(self, run: BatchRun) -> str:
        return self._waiting_text or ("Stopping…" if self._is_stopping else progress_text(run))


def progress_text(run: BatchRun) -> str:
    """How far a run is."""
    if run.present is None:
        return "Looking for the images, loading the model…"
    place = f"file {run.present.number} of {len(run.files)}"
    left = run.remaining_minutes
    failed = run.counts["failed"]
    told = [place, *([] if left is None else [f"{clock(left)} left"])]
    return ", ".join([*told, *([f"{failed} failed"] if failed else [])])


def outcome_text(run: BatchRun) -> str:
    """What came of a run."""
    problem = [f"Error: {run.problem}"] if run.problem else []
    if not run.files:
        return "\n".join(problem) or "Stopped before the first file."
    counts = run.counts
    summary = ", ".join(f"{counts[name]} {name}" for name in ("restored", "skipped", "failed"))
    if not run.is_complete:
        place = f"stopped after {len(run.outcomes)} of {len(run.files)} files"
        summary = f"{summary}; {place}; to go on, run again with resume"
    return "\n".join([summary, *problem])


def _breakable(text: str) -> str:
    """A text whose long paths do not widen the dock: lines may end at each separator."""
    return text.replace("/", "/\u200b").replace("\\", "\\\u200b")


def _row(*widgets: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    for widget in widgets:
        row.addWidget(widget)
    return row
