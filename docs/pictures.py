"""Make the before/after pictures and the plots of the documentation from real images.

python docs/pictures.py
python docs/pictures.py denoising deblurring
python docs/pictures.py --data FOLDER real
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gallery import main, options, picture
from matplotlib import rcParams
from matplotlib.figure import Figure
from PIL import Image
from skimage.io import imread
from skimage.transform import rescale

import napari_rednet as nr
from napari_rednet import sample_data
from napari_rednet.engine.channel import PERCENTILES

# Name, file, axis of channels, and the part that is shown.
REAL = (
    ("nuclei", "stacks/xy_8bit__nuclei_very_noisy.tif", None, np.s_[:, :]),
    ("mitochondria", "correlated/mito_confocal_low.png", None, np.s_[490:750, 408:668]),
    ("secretion", "stacks/xy_calibrated_16bit__cells_eres_noisy.tif", None, np.s_[210:470, 90:350]),
    ("epithelium", "stacks/xyc_16bit__membranes_nuclei_hot_pixel.tif", 0, np.s_[1, :260, :260]),
    ("chromatin", "stacks/xy_16bit__nuclei_with_background.tif", None, np.s_[:212, :]),
    ("spots", "stacks/xyzc_16bit__spots.tif", 1, np.s_[8, 0]),
    ("embryo", "stacks/xy_16bit__embryo_transmission.tif", None, np.s_[:, :]),
)
# Better exposures of the same places.
EXPOSED = {"mitochondria": "correlated/mito_confocal_high.png"}

GRAY, BLUE, RED = "#7b8490", "#4a7fb5", "#d0605e"


@picture
def denoising() -> None:
    """A plane of the stack of chromosomes, with the noise that is estimated in all of it."""
    stack = sample_data.chromosomes()
    noisy = stack[20]
    restored = nr.denoise(noisy, noise=nr.estimate_noise(stack))
    limits = np.percentile(noisy, PERCENTILES)
    save("denoising", limits, 4, before=noisy[25:117], after=restored[25:117])


@picture
def planes() -> None:
    """That stack from above and from the side, planes each by itself and together."""
    stack = sample_data.chromosomes()
    noise = nr.estimate_noise(stack)
    limits = np.percentile(stack, PERCENTILES)
    alone, together = (
        nr.denoise(stack, noise=noise, along=along, dtype="float32") for along in (None, 0)
    )
    views = {"before": alone, "after": together}
    shown = {name: np.vstack([x[20, 25:117], x[:, 70].repeat(2, 0)]) for name, x in views.items()}
    save("planes", limits, 4, **shown)


@picture
def super_resolution() -> None:
    """A frame of the small membranes, enlarged by 2."""
    (small, shown, _), (original, *_) = sample_data.small()
    frame = small[0].astype(float)
    pictures = {
        "before": rescale(frame, 2, order=3, mode="edge"),
        "after": nr.super_resolve(frame, 2),
        "original": original[0],
    }
    save("super-resolution", shown["contrast_limits"], 3, **cropped(pictures))


@picture
def deblocking() -> None:
    """The epithelium as a JPEG of quality 10."""
    (coded, shown, _), (original, *_) = sample_data.jpeg()
    pictures = {"before": coded, "after": nr.deblock(coded), "original": original}
    save("deblocking", shown["contrast_limits"], 3, **cropped(pictures))


@picture
def deblurring() -> None:
    """A plane of the confocal grid, with the PSF of a bead."""
    (grid, shown, _), (bead, *_) = sample_data.blurred()
    sharp = nr.deblur(grid, bead, center="mass")
    middle = len(grid) // 2
    pictures = {"before": grid[middle], "after": sharp[middle]}
    save("deblurring", shown["contrast_limits"], 4, **cropped(pictures))


@picture
def inpainting() -> None:
    """The scratched epithelium."""
    (scratched, shown, _), (original, *_), (missing, *_) = sample_data.holes()
    filled = nr.inpaint(scratched, missing)
    pictures = {"before": scratched, "after": filled, "original": original}
    save("inpainting", shown["contrast_limits"], 3, **cropped(pictures))


@picture
def noise_plot() -> None:
    """The noise of the bundled stack at each signal level, and the line through it."""
    levels = nr.noise_levels(sample_data.chromosomes())
    signal = np.linspace(levels.signal.min(), levels.signal.max())
    figure, axes = plot("signal in gray values", "variance of the noise")
    axes.plot(levels.signal, levels.variance, "o", color=BLUE, label="measured")
    axes.plot(signal, levels.fit().variance(signal), color=RED, label="noise model")
    axes.legend(frameon=False, labelcolor=GRAY)
    write_plot(figure, "noise-plot")


@picture
def range_plot() -> None:
    """The values of the bundled stack, and those that the network gets as 0 and 1."""
    values = sample_data.chromosomes()
    figure, axes = plot("gray value", "pixels")
    edges = np.arange(values.min(), values.max() + 1)
    axes.hist(values.ravel(), edges, histtype="stepfilled", color=BLUE, log=True)
    for value, end in zip(np.percentile(values, PERCENTILES), "01", strict=True):
        axes.axvline(value, color=RED)
        place = {"ha": "center", "transform": axes.get_xaxis_transform()}
        axes.text(value, 1.02, f"becomes {end}", color=RED, **place)
    write_plot(figure, "range-plot")


@picture
def real() -> None:
    """Parts of images of other people's microscopes, restored with what is estimated in each."""
    if options.data is None:
        print("left out: real, which needs --data")
        return
    for name, file, channel_axis, part in REAL:
        noisy = imread(options.data / file)
        restored = nr.denoise(noisy, channel_axis=channel_axis, dtype="float32")
        limits = np.percentile(noisy[part], (0.5, 99.7))
        zoom = max(1, 260 // noisy[part].shape[0])
        pictures = {"before": noisy[part], "after": restored[part]}
        if name in EXPOSED:
            exposed = imread(options.data / EXPOSED[name])[part]
            pictures["original"] = like(exposed, noisy[part])
        save(f"real-{name}", limits, zoom, **pictures)


def like(original: Any, noisy: Any) -> Any:
    """An image of another exposure, with the mean and the contrast of the noisy one."""
    slope, offset = np.polyfit(original.ravel(), noisy.ravel(), 1)
    return slope * original + offset


def cropped(pictures: dict[str, Any]) -> dict[str, Any]:
    """The same pictures, a quarter less high."""
    return {what: pixels[len(pixels) // 4 :] for what, pixels in pictures.items()}


def save(name: str, limits: Any, zoom: int, **pictures: Any) -> None:
    """Write planes under one contrast, each pixel as several."""
    low, high = limits
    for what, pixels in pictures.items():
        shown = ((pixels.astype(float) - low) / (high - low) * 255).clip(0, 255).astype(np.uint8)
        enlarged = shown.repeat(zoom, 0).repeat(zoom, 1)
        Image.fromarray(enlarged).save(options.out / f"{name}-{what}.png", optimize=True)


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
