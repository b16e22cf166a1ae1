"""Point spread functions: generated ones, those of beads, and checks of what users hand over."""

from napari_rednet.psf.generated import disk, gaussian, motion, widefield
from napari_rednet.psf.measured import (
    CENTERS,
    Center,
    as_psf,
    center_remark,
    check_center,
    from_beads,
    reach_remark,
    rim_remark,
)
from napari_rednet.psf.volumes import Microscope, confocal3d, widefield3d

__all__ = [
    "CENTERS",
    "Center",
    "Microscope",
    "as_psf",
    "center_remark",
    "check_center",
    "confocal3d",
    "disk",
    "from_beads",
    "gaussian",
    "motion",
    "reach_remark",
    "rim_remark",
    "widefield",
    "widefield3d",
]
