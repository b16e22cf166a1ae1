"""Make the picture of the how-to on deblurring from the stacks of a grid and a bead.

python docs/deblur_picture.py GRID.tif BEAD.tif
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import tifffile

import napari_rednet as nr
from napari_rednet.demo import save_before_after

PLANE = 10


def main(grid: str, bead: str) -> None:
    """Deblur the grid with the sharpest plane of the bead."""
    points = tifffile.imread(bead).astype(float)
    z, y, x = np.unravel_index(points.argmax(), points.shape)
    psf = points[z, y - 15 : y + 16, x - 15 : x + 16] - np.median(points) - 1
    sample = tifffile.imread(grid).astype(np.float32)
    sharp = nr.deblur(sample, psf.clip(0), progress=True)
    target = Path(__file__).parent / "images" / "deblur-grid.png"
    save_before_after(target, sample[PLANE], sharp[PLANE])


if __name__ == "__main__":
    main(*sys.argv[1:])
