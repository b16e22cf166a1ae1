"""Quality of a restored image: against a reference, from the noise alone, or by its residual."""

from napari_rednet.quality.error import ErrorEstimate, estimate_error, estimate_error_steps
from napari_rednet.quality.residuals import ResidualReport, residual, residual_report
from napari_rednet.quality.scores import Scores, score, score_steps
from napari_rednet.quality.show import Shown, show
from napari_rednet.quality.uncertainties import uncertainty, uncertainty_steps

__all__ = [
    "ErrorEstimate",
    "ResidualReport",
    "Scores",
    "Shown",
    "estimate_error",
    "estimate_error_steps",
    "residual",
    "residual_report",
    "score",
    "score_steps",
    "show",
    "uncertainty",
    "uncertainty_steps",
]
