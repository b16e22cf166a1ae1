"""The demo: the bundled noisy stack, denoised, as files or in napari."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from napari_rednet.console import run_with_bar
from napari_rednet.engine.channel import PERCENTILES
from napari_rednet.errors import RednetError
from napari_rednet.sample_data import chromosomes_layer, sample_path

if TYPE_CHECKING:
    from napari_rednet.engine.channel import NoiseModel

_PLANE = 20
_STD = 25.0


def run_demo(folder: Path, device: str = "auto") -> None:
    """Denoise the bundled stack into a TIFF and a before/after picture, and print figures."""
    from napari_rednet.io.tiff import read_tiff, tiff_writer
    from napari_rednet.restoration.denoise import denoise_steps
    from napari_rednet.restoration.noise_estimate import estimate_noise

    folder.mkdir(parents=True, exist_ok=True)
    image = read_tiff(sample_path())
    noise: Any = estimate_noise(image.data)
    restored_path, picture = folder / "chromosomes-denoised.tif", folder / "before-after.png"
    begin = time.perf_counter()
    with tiff_writer(restored_path, image) as out:
        steps = denoise_steps(image.data, noise=noise, device=device, out=out)
        run_with_bar(steps, "denoise", quiet=False)
        restored = np.array(out)
    seconds = time.perf_counter() - begin
    save_before_after(picture, image.data[_PLANE], restored[_PLANE])
    _print_figures(image.data, restored, noise, seconds, device)
    for path in (restored_path, picture):
        Console().print(f"written: {path.resolve()}", soft_wrap=True, highlight=False)


def show_demo(device: str = "auto") -> None:
    """Show the bundled stack, denoised beside it, in napari.

    A `RednetError` is raised if there is no screen, or napari is not installed.
    """
    if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        raise RednetError("there is no screen to open napari on; leave out --napari")
    try:
        import napari
        import napari.qt
    except ImportError as error:
        raise RednetError("napari is not installed: pip install 'napari-rednet[all]'") from error
    from napari_rednet.restoration.denoise import denoise_steps

    viewer = napari.Viewer(title="napari-rednet demo")
    viewer.window.add_plugin_dock_widget("napari-rednet", "Denoise")
    stack, options, _ = chromosomes_layer()[0]
    # The same contrast for both, or the difference would be one of display.
    options["contrast_limits"] = tuple(np.percentile(stack, PERCENTILES))
    viewer.add_image(stack, **options)
    restored = run_with_bar(denoise_steps(stack, device=device), "denoise", quiet=False)
    viewer.add_image(restored, **{**options, "name": "chromosomes denoised"})
    viewer.canvas.grid.enabled = True
    napari.qt.get_qapp().processEvents()  # the canvas has its size only now
    viewer.reset_view()
    napari.run()


def save_before_after(
    path: Path, before: npt.NDArray[Any], after: npt.NDArray[Any], zoom: int = 4
) -> None:
    """Write two planes side by side as an 8-bit PNG, under the same contrast."""
    from skimage.io import imsave

    low, high = np.percentile(before, PERCENTILES)
    gap = np.full((before.shape[0], 4), high)
    pair = np.concatenate([before, gap, after], axis=1).repeat(zoom, 0).repeat(zoom, 1)
    gray = np.clip((pair - low) / (high - low), 0, 1) * 255
    imsave(path, gray.astype(np.uint8), check_contrast=False)


def _print_figures(
    stack: npt.NDArray[Any],
    restored: npt.NDArray[Any],
    noise: NoiseModel,
    seconds: float,
    device: str,
) -> None:
    levels = [float(np.quantile(restored, q)) for q in (0.05, 0.99)]
    removed = np.std(stack.astype(float) - restored)
    before, after = known_truth_psnr(device)
    table = Table("figure", "value", title="Bundled stack: mitotic chromosomes, 40 planes")
    table.add_row("estimated gain", f"{noise.gain:.2f} gray values per photon")
    table.add_row("noise, darkest / brightest", " / ".join(f"{noise.std(x):.1f}" for x in levels))
    table.add_row("standard deviation of what was removed", f"{removed:.1f}")
    table.add_row("speed", f"{stack.size / seconds / 1e6:.2f} Mpx/s ({seconds:.1f} s)")
    table.add_row(
        f"known truth: 'camera' + noise {_STD:.0f}", f"PSNR {before:.2f} -> {after:.2f} dB"
    )
    Console().print(table)


def known_truth_psnr(device: str = "auto") -> tuple[float, float]:
    """PSNR in dB before and after denoising scikit-image's camera with noise added (seed 0)."""
    from skimage import data, metrics

    from napari_rednet.restoration.denoise import denoise

    clean = data.camera().astype(np.float64)
    noisy = clean + np.random.default_rng(0).normal(0, _STD, clean.shape)
    restored = denoise(noisy, noise=_STD, device=device)
    before, after = (
        float(metrics.peak_signal_noise_ratio(clean, image, data_range=255))
        for image in (noisy, restored)
    )
    return before, after
