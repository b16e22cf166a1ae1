"""Make the before/after pictures and the plots of the documentation from real images.

python docs/pictures.py
python docs/pictures.py denoising deblurring
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gallery import main, options, picture
from matplotlib import rcParams
from matplotlib.figure import Figure
from PIL import Image
from skimage import data
from torch import Tensor

import napari_rednet as nr
from napari_rednet.engine.degradations import code_jpeg, draw_mask, resample
from napari_rednet.engine.intensity import PERCENTILES
from napari_rednet.noise import measure_noise
from napari_rednet.sample_data import chromosomes

DETAIL = (slice(60, 240), slice(150, 390))
PLANE = 20
GRAY, BLUE, RED = "#7b8490", "#4a7fb5", "#d0605e"


@picture
def denoising() -> None:
    """A plane of the bundled stack, with the noise that is estimated in all of it."""
    stack = chromosomes()
    noise = nr.estimate_noise(stack)
    low, high = np.percentile(stack[PLANE], PERCENTILES)
    for name, plane in (("before", stack[PLANE]), ("after", nr.denoise(stack[PLANE], noise=noise))):
        shown = (plane[25:117].astype(float) - low) / (high - low) * 255
        write(f"denoising-{name}", shown.clip(0, 255), zoom=4)


@picture
def original() -> None:
    """What the next three are to come close to."""
    write("camera-original", gray(camera())[DETAIL], zoom=3)


@picture
def super_resolution() -> None:
    """Enlarge by 3."""
    clean = camera()
    rows, columns = clean.shape[-2:]
    small = resample(clean, (rows // 3, columns // 3))
    large = nr.super_resolve(gray(small), 3)
    save("super-resolution", gray(resample(small, (rows, columns))), large)


@picture
def deblocking() -> None:
    """Remove the artefacts of quality 10."""
    clean = camera()
    coded = np.rint(gray(code_jpeg(clean / 255, 10)) * 255).astype(np.uint8)
    save("deblocking", coded, nr.deblock(coded))


@picture
def inpainting() -> None:
    """Take away text and scratches."""
    clean = camera()
    generator = torch.Generator().manual_seed(3)
    masks = [draw_mask(kind, clean, generator, 0.5) for kind in ("text", "scratches")]
    missing = gray(masks[0] | masks[1])
    image = np.rint(gray(clean)).astype(np.uint8)
    save("inpainting", np.where(missing, 255, image), nr.inpaint(image, missing))


@picture
def noise_plot() -> None:
    """The noise of the bundled stack at each signal level, and the line through it."""
    levels = measure_noise(list(chromosomes()[::4]))
    signal = np.linspace(levels.signal.min(), levels.signal.max())
    figure, axes = plot("signal in gray values", "variance of the noise")
    axes.plot(levels.signal, levels.variance, "o", color=BLUE, label="measured")
    axes.plot(signal, levels.fit().variance(signal), color=RED, label="noise model")
    axes.legend(frameon=False, labelcolor=GRAY)
    write_plot(figure, "noise-plot")


@picture
def range_plot() -> None:
    """The values of the bundled stack, and those that the network gets as 0 and 1."""
    values = chromosomes()
    figure, axes = plot("gray value", "pixels")
    edges = np.arange(values.min(), values.max() + 1)
    axes.hist(values.ravel(), edges, histtype="stepfilled", color=BLUE, log=True)
    for value, end in zip(np.percentile(values, PERCENTILES), "01", strict=True):
        axes.axvline(value, color=RED)
        place = {"ha": "center", "transform": axes.get_xaxis_transform()}
        axes.text(value, 1.02, f"becomes {end}", color=RED, **place)
    write_plot(figure, "range-plot")


def camera() -> Tensor:
    """scikit-image's camera, gray levels, (1, 1, Y, X)."""
    return torch.from_numpy(data.camera()[:510, :510].astype(np.float32))[None, None]


def gray(image: Tensor) -> np.ndarray:
    """The single plane of a batch."""
    return image[0, 0].numpy()


def save(name: str, before: np.ndarray, after: np.ndarray) -> None:
    """Write details of two images by themselves."""
    for image, what in ((before, "before"), (after, "after")):
        write(f"{name}-{what}", np.rint(image[DETAIL]).clip(0, 255), zoom=3)


def write(name: str, pixels: np.ndarray, zoom: int) -> None:
    """Write gray levels, each pixel as several."""
    enlarged = pixels.astype(np.uint8).repeat(zoom, 0).repeat(zoom, 1)
    Image.fromarray(enlarged).save(options.out / f"{name}.png", optimize=True)


def plot(x: str, y: str) -> tuple[Figure, Any]:
    """A plot whose words and lines can be read on white and on black."""
    rcParams.update({"svg.hashsalt": "napari-rednet", "svg.fonttype": "none", "font.size": 11})
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.set_facecolor("none")
    axes.set_xlabel(x, color=GRAY)
    axes.set_ylabel(y, color=GRAY)
    axes.tick_params(which="both", colors=GRAY)
    axes.spines[:].set_color(GRAY)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def write_plot(figure: Figure, name: str) -> None:
    """Write a plot that is the same whenever it is drawn."""
    figure.savefig(options.out / f"{name}.svg", transparent=True, metadata={"Date": None})


if __name__ == "__main__":
    main()
