"""Parts of the Fine-tune window: its texts, and the area of its controls."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtWidgets import QFrame, QLabel, QScrollArea, QSizePolicy, QWidget

from napari_rednet.widgets.fine_tune_run import FineTuningRun

_WIDEST, _LOWEST, _HIGHEST = 290, 110, 600
_SPARE = 8


def best_gain(run: FineTuningRun | None) -> float:
    """How much better than the base model the best one is, in dB."""
    return 0.0 if run is None or run.status is None else run.status.best_gain


def progress_text(run: FineTuningRun) -> str:
    """How far a run is."""
    if run.is_stopped:
        return "Stopping…"
    if run.preview is None:
        return "Reading the images…"
    if run.status is None:
        return "The first steps…"
    step, left = f"step {run.status.step}", f"{clock(run.status.remaining_minutes)} left"
    gain = [] if run.last_gain is None else [f"{run.last_gain:+.2f} dB over the base"]
    if run.is_paused:
        left = "paused" if run.is_resting else "pausing…"
    return ", ".join([step, *gain, left])


def outcome_text(run: FineTuningRun, has_model: bool) -> str:
    """What came of a run."""
    if not has_model:
        return "It ended without a model."
    status, gain = run.status, best_gain(run)
    spent = "" if status is None else f" after {status.step} steps, {clock(status.minutes)}"
    if gain > 0:
        return f"The best model is {gain:+.2f} dB over the base{spent}."
    return f"Nothing better than the base was found{spent}. More time or images may help."


def clock(minutes: float) -> str:
    """A time such as 3:20 or 1:03:20."""
    seconds = round(60 * minutes)
    hours, rest = divmod(seconds, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


def make_label(tooltip: str) -> QLabel:
    """A text of several lines that explains itself."""
    label = QLabel()
    label.setWordWrap(True)
    label.setToolTip(tooltip)
    return label


class Scrolling(QScrollArea):
    """Controls that give way to curves and pictures in a low window."""

    def __init__(self, native: QWidget) -> None:
        super().__init__()
        self.setWidget(native)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """As high as what there is to see."""
        return self._fit(self.widget().sizeHint()).boundedTo(QSize(_WIDEST, _HIGHEST))

    def minimumSizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Wide enough for all controls and the scroll bar, high enough for a few."""
        inner = self._fit(self.widget().minimumSizeHint())
        return QSize(inner.width(), min(inner.height(), _LOWEST))

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """Follow when controls appear or vanish; called by Qt."""
        if event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return bool(super().eventFilter(watched, event))

    def _fit(self, inner: QSize) -> QSize:
        bar = self.verticalScrollBar().sizeHint().width()
        # Frames of napari's theme are higher than they say.
        return QSize(inner.width() + bar, inner.height() + _SPARE)
