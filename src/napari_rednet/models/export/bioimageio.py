"""A model package for bioimage.io: ONNX weights, tests, documentation and a cover, in a zip."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import tifffile

from napari_rednet.engine.channel import PERCENTILES
from napari_rednet.errors import ModelError
from napari_rednet.models.export.contents import (
    CITATION,
    DOI,
    EPSILON,
    IMAGE,
    MASK,
    RESTORED,
    SMALLEST_SIDE,
    Array,
    Contents,
)
from napari_rednet.models.export.onnx import OPSET, onnx_bytes, optional_package, write_whole

# The format requires an author; do not make one up.
_NO_AUTHOR = "author not named, made with napari-rednet"
_LONGEST_NAME = 64


def write_bioimageio(contents: Contents, target: Path, *, overwrite: bool) -> None:
    """Write a package of format 0.5; raises `ModelError` if the format refuses an entry."""
    spec = optional_package("bioimageio.spec")
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _write_parts(contents, folder)
        try:
            # The description has no URL, so that validation stays offline.
            with spec.ValidationContext(root=folder, log_warnings=False, progressbar=False):
                made = spec.save_bioimageio_package(
                    _description(contents), output_path=folder / "package.zip"
                )
        except ValueError as error:
            raise ModelError(f"the bioimage.io format refuses the model: {error}") from error
        write_whole({target: made.read_bytes()}, overwrite=overwrite)


def _write_parts(contents: Contents, folder: Path) -> None:
    (folder / "README.md").write_text(contents.readme, encoding="utf-8")
    (folder / "model.onnx").write_bytes(onnx_bytes(contents))
    _cover(contents).save(folder / "cover.png")
    for name, plane in _planes(contents).items():
        np.save(folder / f"test_{name}.npy", plane[None, None])
        tifffile.imwrite(folder / f"sample_{name}.tif", plane)


def _planes(contents: Contents) -> dict[str, Array]:
    """Inputs as users have them, and the result after postprocessing."""
    restored = contents.sample.restored * np.float32(255 if contents.interface.is_8_bit else 1)
    return contents.sample.inputs | {RESTORED: restored}


def _cover(contents: Contents) -> Any:
    from PIL import Image

    before = contents.sample.normalized[IMAGE]
    if contents.interface.has_mask:
        before = before * (1 - contents.sample.normalized[MASK])
    both = [_square(plane) for plane in (before, contents.sample.restored)]
    levels = np.rint(255 * np.hstack(both).clip(0, 1)).astype(np.uint8)
    return Image.fromarray(levels.repeat(2, 0).repeat(2, 1))


def _square(plane: Array) -> Array:
    side = min(plane.shape)
    return plane[:side, :side]


def _description(contents: Contents) -> Any:
    v0_5 = optional_package("bioimageio.spec.model.v0_5")
    names = contents.authors or (_NO_AUTHOR,)
    weights = v0_5.OnnxWeightsDescr(source="model.onnx", opset_version=OPSET)
    return v0_5.ModelDescr(
        name=_name(contents.model.name),
        description=contents.description,
        authors=[v0_5.Author(name=name) for name in names],
        cite=[v0_5.CiteEntry(text=CITATION, doi=DOI)],
        license=contents.license,
        tags=list(contents.tags),
        documentation={"source": "README.md"},
        covers=[{"source": "cover.png"}],
        inputs=[_input(contents, name, v0_5) for name in contents.interface.inputs],
        outputs=[_output(contents, v0_5)],
        weights=v0_5.WeightsDescr(onnx=weights),
    )


def _name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_+\-() ]", "-", f"RED-Net {name}")[:_LONGEST_NAME]


def _input(contents: Contents, name: str, v0_5: Any) -> Any:
    processing = [] if name == MASK else [_normalisation(contents, v0_5)]
    free = v0_5.ParameterizedSize(min=SMALLEST_SIDE, step=1)
    y, x = (_as_large(axis, v0_5) if name == MASK else free for axis in "yx")
    return v0_5.InputTensorDescr(
        id=name,
        description=contents.interface.inputs[name],
        axes=[
            *_first_axes(v0_5),
            v0_5.SpaceInputAxis(id="y", size=y),
            v0_5.SpaceInputAxis(id="x", size=x),
        ],
        preprocessing=processing,
        **_examples(name),
    )


def _output(contents: Contents, v0_5: Any) -> Any:
    is_8_bit = contents.interface.is_8_bit
    y, x = (v0_5.SpaceOutputAxis(id=axis, size=_as_large(axis, v0_5)) for axis in "yx")
    scale = "0 to 255" if is_8_bit else f"0 and 1 are the percentiles {PERCENTILES} of the input"
    return v0_5.OutputTensorDescr(
        id=RESTORED,
        description=f"Restored image; {scale}",
        axes=[*_first_axes(v0_5), y, x],
        postprocessing=[_linear(255, v0_5)] if is_8_bit else [],
        **_examples(RESTORED),
    )


def _first_axes(v0_5: Any) -> list[Any]:
    return [v0_5.BatchAxis(), v0_5.ChannelAxis(channel_names=["intensity"])]


def _as_large(axis: str, v0_5: Any) -> Any:
    return v0_5.SizeReference(tensor_id=IMAGE, axis_id=axis)


def _normalisation(contents: Contents, v0_5: Any) -> Any:
    if contents.interface.is_8_bit:
        return _linear(1 / 255, v0_5)
    low, high = PERCENTILES
    kwargs = v0_5.ScaleRangeKwargs(
        axes=("channel", "y", "x"), min_percentile=low, max_percentile=high, eps=EPSILON
    )
    return v0_5.ScaleRangeDescr(kwargs=kwargs)


def _linear(gain: float, v0_5: Any) -> Any:
    return v0_5.ScaleLinearDescr(kwargs=v0_5.ScaleLinearKwargs(gain=gain))


def _examples(name: str) -> dict[str, Any]:
    return {
        "test_tensor": {"source": f"test_{name}.npy"},
        "sample_tensor": {"source": f"sample_{name}.tif"},
    }
