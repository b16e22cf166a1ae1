"""Play the five-minute tutorial by its own words, and take its pictures.

xvfb-run -a -s "-screen 0 1600x1000x24" python docs/tutorial.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from gallery import main, picture
from new_user import choose, press, save_selected, says, type_into
from windows import open_viewer, process_events, shoot, wait_for

SAMPLE = "Denoise: chromosomes (z-stack, as recorded)"


@picture
def five_minutes() -> None:
    """From an empty window to a saved file."""
    viewer = open_viewer()
    choose(viewer, f"File → Open Sample → RED-Net → {SAMPLE}")
    choose(viewer, "Layers → Filter → Denoise (RED-Net)")
    wait_for(lambda: says(viewer, "Takes about"))  # the models have been looked for
    shoot(viewer, "tutorial-open.png")
    press(viewer, "Preview")
    wait_for(lambda: len(viewer.layers) == 2)
    for strength in ("2", "1"):
        type_into(viewer, "Strength", strength)
    process_events(3)
    shoot(viewer, "tutorial-preview.png")
    press(viewer, "Preview")
    press(viewer, "Run")
    wait_for(lambda: "chromosomes denoised" in viewer.layers)
    shoot(viewer, "tutorial-run.png")
    choose(viewer, "Plugins → RED-Net → Compare")
    press(viewer, "Split")
    press(viewer, "Measure")
    wait_for(lambda: says(viewer, "gain in PSNR"))
    shoot(viewer, "tutorial-compare.png")
    press(viewer, "Show the residual")
    wait_for(lambda: says(viewer, "The residual looks like noise"))
    press(viewer, "Show the residual")
    viewer.layers.selection.active = viewer.layers["chromosomes denoised"]
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "denoised.ome.tif")
        save_selected(viewer, str(result))
        wait_for(result.exists)
    viewer.close()


if __name__ == "__main__":
    main()
