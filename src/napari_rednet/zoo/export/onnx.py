"""A bare ONNX file, which tells all about itself, and its sample beside it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from napari_rednet.zoo.export.contents import Contents
from napari_rednet.zoo.export.files import optional_package, write_whole
from napari_rednet.zoo.export.graph import onnx_model
from napari_rednet.zoo.export.tasks import RESTORED


def write_onnx(contents: Contents, target: Path) -> None:
    """Write ``NAME.onnx`` and ``NAME-sample.npz``."""
    sample = target.with_name(f"{target.stem}-sample.npz")
    write_whole({sample: _sample_bytes(contents), target: onnx_bytes(contents)})


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
    """Inputs and output as the graph takes and gives them, by its names."""
    planes: dict[str, Any] = contents.sample.normalized | {RESTORED: contents.sample.restored}
    file = io.BytesIO()
    np.savez_compressed(file, **{name: plane[None, None] for name, plane in planes.items()})
    return file.getvalue()
