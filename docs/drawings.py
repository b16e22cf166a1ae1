"""Draw the network and the streaming of rows as SVG.

python docs/drawings.py

The colours are readable on white and on black, since a page may be either.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
from gallery import main, options, picture
from PIL import Image
from scipy import ndimage

import napari_rednet as nr
from napari_rednet.engine.network import NetworkConfig
from napari_rednet.sample_data import chromosomes

CONVOLUTION, DECONVOLUTION, SKIP = "#4a7fb5", "#d0605e", "#3d9a6c"
LINE = "#7b8490"
BOX, STEP = 24, 36


@picture
def network() -> None:
    """The denoiser: layers, skip connections, the noise map, the halved resolution."""
    config = NetworkConfig(layers=20, in_channels=2, stride=2)
    write("network.svg", 1064, 390, network_parts(config))


def network_parts(config: NetworkConfig) -> Iterator[str]:
    """Input, layers with their skip connections, output."""
    middle, left = 220, 150
    layers = [left + i * STEP for i in range(config.layers)]
    end = layers[-1] + STEP + 30
    noisy, noise, restored = signals()
    yield plane(20, middle - 105, noisy, "noisy image")
    yield plane(20, middle + 15, noise, "noise of", "each pixel")
    yield arrow(f"M105 {middle - 65} C125 {middle - 65} 120 {middle} {left - 3} {middle}")
    yield arrow(f"M105 {middle + 55} C125 {middle + 55} 120 {middle} {left - 3} {middle}")
    for i, x in enumerate(layers):
        yield layer(config, i, x, middle)
    for conv, deconv in config.skip_pairs:
        yield skip(layers[conv - 1], layers[config.half + deconv - 1], middle, tall=conv == 1)
    yield arrow(f"M{layers[-1] + BOX} {middle} H{end - 13}")
    yield plus(end, middle)
    yield arrow(f"M62 {middle - 108} V22 H{end} V{middle - 13}")
    yield text(end - 14, 42, "what the network says is added to the image", "end")
    yield arrow(f"M{end + 11} {middle} H{end + 32}")
    yield plane(end + 36, middle - 40, restored, "restored")
    yield from captions(config, layers, middle)


def signals() -> tuple[Any, Any, Any]:
    """A detail of the bundled stack, the noise map that the network is told, the result."""
    stack = chromosomes()
    noise = nr.estimate_noise(stack)
    noisy = stack[20, 15:99, 10:98].astype(float)
    level = noise.std(ndimage.gaussian_filter(noisy, 2.0))
    return noisy, level, nr.denoise(noisy, noise=noise)


def captions(config: NetworkConfig, layers: list[int], middle: int) -> Iterator[str]:
    """What the colours and sizes mean."""
    half = config.half
    yield text(layers[half // 2], middle + 88, f"{half} convolutions", colour=CONVOLUTION)
    yield text(
        layers[half + half // 2], middle + 88, f"{half} deconvolutions", colour=DECONVOLUTION
    )
    low, high = layers[1], layers[-2] + BOX
    yield line(f"M{low} {middle + 112} v10 H{high} v-10", LINE)
    yield text((low + high) // 2, middle + 144, "half the resolution, 64 feature maps: stride 2")


def layer(config: NetworkConfig, number: int, x: int, middle: int) -> str:
    """A layer; those at full resolution are taller."""
    tall = number in (0, config.layers - 1)
    colour = CONVOLUTION if number < config.half else DECONVOLUTION
    height = 120 if tall else 60
    box = rectangle(x, middle - height // 2, BOX, height, colour)
    more = "" if number == config.layers - 1 else line(f"M{x + BOX} {middle} h{STEP - BOX}", LINE)
    return box + more


def skip(start: int, end: int, middle: int, *, tall: bool) -> str:
    """An arch from a convolution to what the mirrored deconvolution gives."""
    rise = 40 + (end - start) // 8
    x, y, target = start + BOX // 2, middle - 33, end + BOX // 2
    begin = y - 30 if tall else y
    return arrow(f"M{x} {begin} C{x} {y - rise} {target} {y - rise} {target} {y}", SKIP)


@picture
def streaming() -> None:
    """A plane runs through the layers in bands; each layer keeps the last rows of its input."""
    write("streaming.svg", 900, 330, streaming_parts())


def streaming_parts() -> Iterator[str]:
    """The image, three layers, the result."""
    top, height, band = 50, 200, 40
    yield bands(20, top, height, band, 3, "image", "rows come in bands")
    for i, name in enumerate(("convolution", "…", "deconvolution")):
        x = 250 + 150 * i
        colour = DECONVOLUTION if i == 2 else CONVOLUTION
        yield arrow(f"M{x - 57} {top + 100} H{x - 4}")
        yield rectangle(x, top + 55, 90, 26, SKIP)
        yield rectangle(x, top + 85, 90, band, colour)
        yield text(x + 45, top + 155, name, colour=colour)
    yield text(295, top + 45, "kept: its last rows", colour=SKIP)
    yield arrow(f"M295 {top + 178} C330 {top + 250} 560 {top + 250} 595 {top + 178}", SKIP)
    yield text(445, top + 258, "skip connection: a queue of rows", colour=SKIP)
    yield arrow(f"M643 {top + 100} H690")
    yield bands(700, top, height, band, 2, "result", "rows that are final")


def bands(x: int, y: int, height: int, band: int, ready: int, name: str, what: str) -> str:
    """A plane that is cut into bands, some of which are ready."""
    parts = [text(x + 75, y - 14, name), text(x + 75, y + height + 26, what)]
    for i in range(height // band):
        colour = CONVOLUTION if i < ready else "none"
        parts.append(rectangle(x, y + i * band, 150, band, colour, LINE))
    return "".join(parts)


def plane(x: int, y: int, pixels: Any, *names: str) -> str:
    """A picture with its name below."""
    lines = [text(x + 42, y + 98 + 19 * i, name) for i, name in enumerate(names)]
    low, high = np.percentile(pixels, (0.5, 99.8))
    gray = ((pixels - low) / (high - low) * 255).clip(0, 255).astype(np.uint8)
    file = BytesIO()
    Image.fromarray(gray).save(file, "PNG", optimize=True)
    place = f'x="{x}" y="{y}" width="84" height="80" preserveAspectRatio="none"'
    source = f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"
    return f'<image {place} href="{source}"/>' + "".join(lines)


def plus(x: int, y: int) -> str:
    """The sum of two signals."""
    ring = f'<circle cx="{x}" cy="{y}" r="11" fill="none" stroke="{LINE}" stroke-width="2"/>'
    return ring + line(f"M{x - 6} {y} h12 M{x} {y - 6} v12", LINE)


def rectangle(x: int, y: int, width: int, height: int, fill: str, stroke: str = "none") -> str:
    """A box."""
    place = f'x="{x}" y="{y}" width="{width}" height="{height}"'
    return f'<rect {place} rx="3" fill="{fill}" stroke="{stroke}" stroke-width="1.5"/>'


def text(x: int, y: int, words: str, anchor: str = "middle", colour: str = LINE) -> str:
    """A caption."""
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{colour}">{words}</text>'


def arrow(path: str, colour: str = LINE) -> str:
    """A path with a head."""
    head = "skip" if colour == SKIP else "head"
    return line(path, colour, f' marker-end="url(#{head})"')


def line(path: str, colour: str, more: str = "") -> str:
    """A path."""
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"{more}/>'


def write(file: str, width: int, height: int, parts: Iterator[str]) -> None:
    """Write a drawing; its parts are a line each."""
    heads = "".join(
        f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" '
        f'orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="{colour}"/></marker>'
        for name, colour in (("head", LINE), ("skip", SKIP))
    )
    font = 'font-family="sans-serif" font-size="17"'
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    start = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>'
    drawing = "\n".join([start, f"<defs>{heads}</defs>", *parts, "</svg>\n"])
    (options.out / file).write_text(drawing, encoding="utf-8")


if __name__ == "__main__":
    main()
