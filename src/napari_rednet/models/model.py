"""A trained model, and the file that holds it.

A safetensors file begins with the length of its header, 8 bytes, and the header, JSON that names
the dtype, shape and place of each tensor. Model files are data: they may come from anywhere, and
nothing in them is believed that the rest of the file does not bear out.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.torch import load, save

from napari_rednet.engine.network import NetworkConfig, RedNet
from napari_rednet.errors import ModelError
from napari_rednet.files import replaced
from napari_rednet.tasks import TASKS

if TYPE_CHECKING:
    from torch import Tensor

    from napari_rednet.engine.channel import NoiseModel

HEADER = "napari_rednet"
FORMAT = 2
_LENGTH = 8
_MOST_HEADER = 2**22
_MOST_LAYERS, _MOST_FEATURES, _MOST_CHANNELS = 1000, 4096, 1024
_LONGEST_NAME = 200
# As many bytes as a network of 100 layers and 1000 feature maps has.
_MOST_WEIGHTS = 2**31
_BYTES = {"F16": 2, "F32": 4}
Tensors = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Contract:
    """Description in a model file: name, task, network, and `info` on where it comes from.

    `text` is all of it as it stands in the file, and `checksum` that of the text and the weights.
    """

    name: str
    task: str
    config: NetworkConfig
    info: Mapping[str, Any]
    text: str
    checksum: str


def read_contract(path: Path) -> Contract:
    """Header of a model file, without its weights; raises `ModelError` if these do not fit it."""
    header, held = _header(path)
    try:
        return _checked(path, header, held)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ModelError(f"the header of {path} makes no sense: {reason:.500}") from error


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """The header, and how many bytes follow it."""
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode):  # opening a pipe might wait for ever
            raise ModelError(f"{path} is no file with a model")
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_LENGTH), "little")
            _check_length(length, state.st_size)
            header = json.loads(file.read(length))
    except FileNotFoundError as error:
        raise ModelError(f"there is no model file {path}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} is damaged or not a safetensors file: {error}") from error
    if not isinstance(header, dict):
        raise ModelError(f"{path} is damaged or not a safetensors file: its header is no mapping")
    return header, state.st_size - _LENGTH - length


def _check_length(length: int, size: int) -> None:
    if not 0 < length <= min(_MOST_HEADER, size - _LENGTH):
        raise ValueError("its header is cut off, or absurdly long")


def _checked(path: Path, header: dict[str, Any], held: int) -> Contract:
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or HEADER not in metadata:
        raise ModelError(f"{path} is a safetensors file but not a napari-rednet model")
    text, checksum = (_text(metadata.get(key, ""), key) for key in (HEADER, "sha256"))
    contract = json.loads(text)
    if not isinstance(contract, dict):
        raise TypeError("it holds no mapping")
    _check_format(path, contract["format"])
    name, task = (_text(contract[key], key) for key in ("name", "task"))
    if len(name) > _LONGEST_NAME:
        raise ValueError(f"the name has {len(name)} letters")
    info = contract["info"]
    if not isinstance(info, dict):
        raise TypeError("info is no mapping")
    if task not in TASKS:
        raise ModelError(f"{path} was made for {task!r:.60}; this version knows {', '.join(TASKS)}")
    config = _config(contract["network"])
    _check_tensors(config, header)
    _check_size(path, header, held)
    return Contract(name, task, config, info, text, checksum)


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} is no text")
    return value


def _check_format(path: Path, number: Any) -> None:
    if type(number) is not int:
        raise TypeError("format is no number")
    if number > FORMAT:
        raise ModelError(f"{path} was written by a newer version; update napari-rednet")
    if number < FORMAT:
        raise ModelError(
            f"{path} belongs to version 0.1 of napari-rednet, whose networks were told less of the "
            "noise; train or fine-tune it anew"
        )


def _config(network: Any) -> NetworkConfig:
    if not isinstance(network, dict):
        raise TypeError("network is no mapping")
    kinds = {field.name: type(field.default) for field in fields(NetworkConfig)}
    for name, value in network.items():
        if type(value) is not kinds.get(name):
            raise TypeError(f"{name} of the network must not be {value!r:.50}")
    config = NetworkConfig(**network)
    most = {"layers": _MOST_LAYERS, "features": _MOST_FEATURES, "in_channels": _MOST_CHANNELS}
    for name, limit in most.items():
        if getattr(config, name) > limit:
            raise ValueError(f"{name} of the network must be at most {limit}")
    return config


def expected_shapes(config: NetworkConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of the weights of a network, without building it."""
    maps, last, kernel = config.features, config.half - 1, config.stride + 2
    for part, outer in (("conv", config.in_channels), ("deconv", config.out_channels)):
        for i in range(config.half):
            is_outer = i == (0 if part == "conv" else last)
            side = kernel if is_outer else 3
            yield f"{part}.{i}.weight", (maps, outer if is_outer else maps, side, side)
            if config.bias:
                outputs = outer if is_outer and part == "deconv" else maps
                yield f"{part}.{i}.bias", (outputs,)


def _check_tensors(config: NetworkConfig, tensors: Tensors) -> None:
    """Raise `ValueError` unless there are just the weights of the network, and they are floats."""
    expected = dict(expected_shapes(config))
    for name in (*expected, *tensors):
        if name not in tensors or name not in expected:
            told = "is missing" if name in expected else "belongs to no layer"
            raise ValueError(f"the tensor {name:.50} {told}")
        shape, dtype = tensors[name]["shape"], tensors[name]["dtype"]
        if shape != list(expected[name]):
            raise ValueError(f"{name} has the shape {shape!r:.50}, not {list(expected[name])}")
        if dtype not in _BYTES:
            raise ValueError(f"{name} holds {dtype!r:.20}, not floats of 16 or 32 bits")


def _check_size(path: Path, tensors: Tensors, held: int) -> None:
    """Raise an error unless the file holds just the weights, and these can be loaded."""
    needed = sum(math.prod(one["shape"]) * _BYTES[one["dtype"]] for one in tensors.values())
    if needed > _MOST_WEIGHTS:
        raise ValueError(f"its weights have {needed} bytes, more than {_MOST_WEIGHTS}")
    if needed != held:
        raise ModelError(
            f"{path} is damaged or not a safetensors file: {needed} bytes of weights are declared, "
            f"and {held} are there"
        )


@dataclass(frozen=True, eq=False)
class Model:
    """A network with its weights, and what is known of it.

    Parameters
    ----------
    name : str
        Name in lists and of result layers.
    task : str
        Task that it was trained for, such as 'denoise'.
    network : RedNet
        The network, on the CPU in float32.
    info : dict
        Provenance: training data, steps, figures. Plain JSON values.
    """

    name: str
    task: str
    network: RedNet
    info: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        config = self.network.config
        return (
            f"Model({self.name!r}, task={self.task!r}, layers={config.layers}, "
            f"stride={config.stride}, features={config.features})"
        )

    @property
    def config(self) -> NetworkConfig:
        """The configuration of the network."""
        return self.network.config

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = True) -> None:
        """Write the model to one ``.safetensors`` file, weights in half precision.

        The file is written beside `path` and renamed, so that `path` is whole or absent.

        Parameters
        ----------
        path : str or path
            The file.
        overwrite : bool
            Replace a file that is there.

        Raises
        ------
        ModelError
            If the file cannot be written, or is there and must not be overwritten.
        BusyError
            If another job is writing it.
        """
        target = Path(path)
        if target.suffix != ".safetensors":
            raise ValueError(f"path must end in .safetensors, got {target.name!r}")
        weights = {k: v.half().contiguous() for k, v in self.network.state_dict().items()}
        contract = {
            "format": FORMAT,
            "name": self.name,
            "task": self.task,
            "network": self.config.to_dict(),
            "info": dict(self.info),
        }
        header = {HEADER: json.dumps(contract, sort_keys=True)}
        header["sha256"] = _digest(header[HEADER], weights)
        try:
            with replaced(target, overwrite=overwrite) as beside:
                beside.write_bytes(save(weights, metadata=header))
        except OSError as error:
            reason = error.strerror or error
            raise ModelError(f"the model cannot be written to {target}: {reason}") from error

    def export(
        self,
        path: str | os.PathLike[str],
        *,
        noise: float | NoiseModel | None = None,
        sample: Any = None,
        authors: Sequence[str] = (),
        license: str = "BSD-3-Clause",  # noqa: A002 - the word of bioimage.io
        description: str | None = None,
        tags: Sequence[str] = (),
        overwrite: bool = True,
    ) -> None:
        """Write the model for other programs: an ONNX file, or a package for bioimage.io.

        Parameters
        ----------
        path : str or path
            ``NAME.onnx`` gets the graph in float32 with README, licence and tags as its metadata,
            and ``NAME-sample.npz`` beside it, with inputs and output by the graph's names.
            ``NAME.zip`` becomes a bioimage.io package of format 0.5, with all of it inside.
        noise : float or NoiseModel, optional
            For denoising: the noise of images whose range is 0 to 1, since other programs give
            the graph nothing but an image; a float is the standard deviation of Gaussian
            noise. If None, the one in ``info["noise_model"]``, which fine-tuned models have.
        sample : (Y, X) array, optional
            Image whose middle 128 x 128 pixels become the example; at least 64 x 64. To be
            denoised or deblocked it is taken as it is; to be super-resolved or inpainted it is
            shrunk or gets holes first. If None, scikit-image's camera, degraded for the task.
        authors : sequence of str
            Names of the authors. If empty, no author is named.
        license : str
            SPDX identifier. The default is that of the weights that come with the package; give
            another one if your own model has another licence.
        description : str, optional
            A sentence on the model; written automatically if not given.
        tags : sequence of str
            In addition to those of the task.
        overwrite : bool
            Replace files that are there.

        Raises
        ------
        ValueError, TypeError
            If an argument is not as described here; nothing has been written then.
        ModelError
            If packages are missing (``pip install "napari-rednet[export]"``), a model of
            denoising knows no noise, or the files cannot be written, or are there and must not be
            overwritten.
        """
        from napari_rednet.models.export import export_model

        export_model(
            self,
            path,
            noise=noise,
            sample=sample,
            authors=authors,
            license=license,
            description=description,
            tags=tags,
            overwrite=overwrite,
        )


def read_model(path: str | os.PathLike[str]) -> Model:
    """Read a model file; raises `ModelError` if it is missing, damaged, or fails its checksum."""
    import torch

    source = Path(path)
    contract = read_contract(source)
    try:
        # Not mapped: a file that is cut off meanwhile must not end the process.
        weights = load(source.read_bytes())
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{source} is damaged or not a safetensors file: {error}") from error
    if _digest(contract.text, weights) != contract.checksum:
        raise ModelError(f"{source} does not match its own checksum; get the file again")
    exact = {name: values.float() for name, values in weights.items()}
    if not all(bool(torch.isfinite(values).all()) for values in exact.values()):
        raise ModelError(f"{source} holds weights that are no numbers")
    network = RedNet.with_weights(contract.config, exact).eval().requires_grad_(False)
    return Model(contract.name, contract.task, network, contract.info)


def _digest(contract: str, weights: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(contract.encode())
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].numpy().tobytes())
    return digest.hexdigest()
