"""How good a restored image is: against a reference, by the noise, by what was taken out."""

from napari_rednet.quality.error import ErrorEstimate, estimate_error, estimate_error_steps
from napari_rednet.quality.residuals import ResidualReport, residual, residual_report
from napari_rednet.quality.scores import Scores, score, score_steps

__all__ = [
    "ErrorEstimate",
    "ResidualReport",
    "Scores",
    "estimate_error",
    "estimate_error_steps",
    "residual",
    "residual_report",
    "score",
    "score_steps",
]
