"""A RED-Net as an ONNX file, with the noise map of a denoiser computed inside.

The graph is written node by node: PyTorch's older exporter is about to be removed, and its newer
one is twenty times slower and differs between versions. Any image size is allowed.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from napari_rednet.engine.channel import NoiseModel
from napari_rednet.engine.network import (
    MOST_CHANGE,
    OWN_ERROR,
    RADIUS,
    SIGMA,
    RedNet,
    as_convolution,
)
from napari_rednet.errors import ModelError
from napari_rednet.files import replaced
from napari_rednet.models.export.contents import IMAGE, MASK, RESTORED, Contents

OPSET = 17
# The version that belongs to the opset; runtimes refuse files of newer versions.
_IR_VERSION = 8


def onnx_model(network: RedNet, noise: NoiseModel | None, has_mask: bool) -> Any:
    """The graph from normalised images to normalised results, float32 of shape (batch, 1, y, x).

    `noise` is that of normalised images, None for a network that is not told it. `has_mask` makes
    the network's second channel a second input.
    """
    onnx = optional_package("onnx")
    graph = _Graph(onnx.helper, onnx.numpy_helper)
    _connect(graph, network, noise, has_mask)
    names = [IMAGE, MASK] if has_mask else [IMAGE]
    inputs, outputs = ([_plane(onnx, n) for n in some] for some in (names, [RESTORED]))
    made = onnx.helper.make_graph(graph.nodes, "RED-Net", inputs, outputs, graph.weights)
    opset = onnx.helper.make_opsetid("", OPSET)
    return onnx.helper.make_model(made, ir_version=_IR_VERSION, opset_imports=[opset])


def _plane(onnx: Any, name: str) -> Any:
    shape = ["batch", 1, "y", "x"]
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)


@dataclass
class _Graph:
    helper: Any
    numpy_helper: Any
    nodes: list[Any] = field(default_factory=list)
    weights: list[Any] = field(default_factory=list)

    def add(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Add a node; return the name of its output."""
        output = name or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(self.helper.make_node(kind, inputs, [output], output, **attributes))
        return output

    def constant(self, value: Any, dtype: type = np.float32) -> str:
        """Add a constant or a weight; return its name."""
        name = f"value_{len(self.weights)}"
        self.weights.append(self.numpy_helper.from_array(np.asarray(value, dtype), name))
        return name


def _connect(graph: _Graph, network: RedNet, noise: NoiseModel | None, has_mask: bool) -> None:
    x, std = IMAGE, ""
    if has_mask:
        x = graph.add("Concat", IMAGE, MASK, axis=1)
    elif noise is not None:
        std = _noise_map(graph, noise)
        x = graph.add("Concat", IMAGE, _told_noise(graph, noise, std), axis=1)
    size = graph.add("Shape", IMAGE, start=2)
    if network.config.stride == 2:
        x = _extended(graph, x, size)
    residual = _residual(graph, network, x)
    start, axes = graph.constant([0, 0], np.int64), graph.constant([2, 3], np.int64)
    inside = graph.add("Slice", residual, start, size, axes)
    if std:
        inside = _limited(graph, inside, std)
    graph.add("Add", IMAGE, inside, name=RESTORED)


def _limited(graph: _Graph, residual: str, std: str) -> str:
    most = graph.add("Mul", std, graph.constant(MOST_CHANGE))
    limited = graph.add("Max", graph.add("Min", residual, most), graph.add("Neg", most))
    side = 2 * RADIUS + 1
    magnitude = graph.add("Abs", IMAGE)
    largest = graph.add("MaxPool", magnitude, kernel_shape=[side, side], pads=[RADIUS] * 4)
    own = graph.add("Mul", largest, graph.constant(OWN_ERROR))
    variance, error = (graph.add("Mul", one, one) for one in (std, own))
    least = graph.constant(np.finfo(np.float32).tiny)
    both = graph.add("Max", graph.add("Add", variance, error), least)
    return graph.add("Mul", graph.add("Div", variance, both), limited)


def _told_noise(graph: _Graph, noise: NoiseModel, std: str) -> str:
    grainy = [graph.add("Mul", std, graph.constant(along)) for along in noise.correlation]
    return graph.add("Concat", std, *grainy, axis=1)


def _noise_map(graph: _Graph, noise: NoiseModel) -> str:
    """The noise map as nodes, with the smoothed image as the signal."""
    if noise.gain == 0:
        read_noise = graph.constant(np.full((1, 1, 1, 1), noise.read_noise))
        return graph.add("Expand", read_noise, graph.add("Shape", IMAGE))
    light = graph.add("Sub", _smoothed(graph, IMAGE), graph.constant(noise.offset))
    photons = graph.add("Mul", graph.add("Relu", light), graph.constant(noise.gain))
    variance = graph.add("Add", photons, graph.constant(noise.read_noise**2))
    return graph.add("Sqrt", variance)


def _smoothed(graph: _Graph, x: str) -> str:
    sides = graph.constant([0, 0, RADIUS, RADIUS] * 2, np.int64)
    padded = graph.add("Pad", x, sides, mode="edge")
    kernel = np.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1) / SIGMA) ** 2)
    kernel /= kernel.sum()
    columns = graph.add("Conv", padded, graph.constant(kernel.reshape(1, 1, -1, 1)))
    return graph.add("Conv", columns, graph.constant(kernel.reshape(1, 1, 1, -1)))


def _extended(graph: _Graph, x: str, size: str) -> str:
    """Add a replicated row or column where their number is odd."""
    odd = graph.add("Mod", size, graph.constant([2], np.int64))
    sides = graph.add("Concat", graph.constant([0] * 6, np.int64), odd, axis=0)
    return graph.add("Pad", x, sides, mode="edge")


def _residual(graph: _Graph, network: RedNet, x: str) -> str:
    half, layers, outputs = network.config.half, list(network.layers()), []
    for layer in layers[:half]:
        x = graph.add("Relu", _layer(graph, layer, x))
        outputs.append(x)
    skips = {deconv: conv for conv, deconv in network.config.skip_pairs}
    for number, layer in enumerate(layers[half:], start=1):
        x = _layer(graph, layer, x)
        if number in skips and network.config.rectify_sum:
            x = graph.add("Relu", graph.add("Add", x, outputs[skips[number] - 1]))
        elif number in skips:
            x = graph.add("Add", graph.add("Relu", x), outputs[skips[number] - 1])
        elif number < half:
            x = graph.add("Relu", x)
    return x


def _layer(graph: _Graph, layer: nn.Conv2d | nn.ConvTranspose2d, x: str) -> str:
    kind, weight, stride = "Conv", layer.weight, layer.stride
    if isinstance(layer, nn.ConvTranspose2d):
        if stride == (1, 1):
            weight = as_convolution(layer.weight)
        else:
            kind = "ConvTranspose"
    bias = torch.zeros(layer.out_channels) if layer.bias is None else layer.bias
    values = [graph.constant(w.detach().cpu().numpy()) for w in (weight, bias)]
    return graph.add(kind, x, *values, strides=list(stride), pads=[1] * 4)


def optional_package(name: str) -> Any:
    """Import a package that only exporting needs; raises `ModelError` if it is not installed."""
    try:
        return import_module(name)
    except ImportError as error:
        raise ModelError(
            f"exporting needs {name.partition('.')[0]}, which is not installed; "
            'pip install "napari-rednet[export]"'
        ) from error


def write_whole(files: Mapping[Path, bytes], *, overwrite: bool) -> None:
    """Write several files and rename them when all are written; raises `ModelError`."""
    try:
        with ExitStack() as stack:
            # Left last to first, when all have been written.
            for target, content in files.items():
                stack.enter_context(replaced(target, overwrite=overwrite)).write_bytes(content)
    except OSError as error:
        told = f"{error.filename}: {error.strerror}" if error.filename else error
        raise ModelError(f"the model cannot be exported: {told}") from error


def write_onnx(contents: Contents, target: Path, *, overwrite: bool) -> None:
    """Write ``NAME.onnx`` and ``NAME-sample.npz``."""
    sample = target.with_name(f"{target.stem}-sample.npz")
    files = {sample: _sample_bytes(contents), target: onnx_bytes(contents)}
    write_whole(files, overwrite=overwrite)


def onnx_bytes(contents: Contents) -> bytes:
    """The graph with its weights, and README, licence and tags as its metadata."""
    helper = optional_package("onnx").helper
    has_mask = contents.interface.has_mask
    made = onnx_model(contents.model.network, contents.noise, has_mask)
    made.producer_name = "napari-rednet"
    made.doc_string = contents.description
    helper.set_model_props(made, contents.properties())
    content: bytes = made.SerializeToString()
    return content


def _sample_bytes(contents: Contents) -> bytes:
    planes: dict[str, Any] = contents.sample.normalized | {RESTORED: contents.sample.restored}
    file = io.BytesIO()
    np.savez_compressed(file, **{name: plane[None, None] for name, plane in planes.items()})
    return file.getvalue()
