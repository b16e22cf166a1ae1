"""A trained model, and the file that holds it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from napari_rednet.engine.network import NetworkConfig, RedNet
from napari_rednet.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

    from napari_rednet.engine.channel import NoiseModel

Taken = TypeVar("Taken")
_HEADER = "napari_rednet"
_FORMAT = 2


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

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to one ``.safetensors`` file, weights in half precision.

        The file is written beside `path` and renamed, so that `path` is whole or absent.

        Raises
        ------
        ModelError
            If the file cannot be written.
        """
        target = Path(path)
        if target.suffix != ".safetensors":
            raise ValueError(f"path must end in .safetensors, got {target.name!r}")
        weights = {k: v.half().contiguous() for k, v in self.network.state_dict().items()}
        contract = {
            "format": _FORMAT,
            "name": self.name,
            "task": self.task,
            "network": self.config.to_dict(),
            "info": dict(self.info),
        }
        header = {_HEADER: json.dumps(contract, sort_keys=True)}
        header["sha256"] = _digest(header[_HEADER], weights)
        beside = target.with_name(target.name + ".part")
        try:
            beside.write_bytes(save(weights, metadata=header))
            beside.replace(target)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise ModelError(f"the model cannot be written to {target}: {error}") from error

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

        Raises
        ------
        ValueError, TypeError
            If an argument is not as described here; nothing has been written then.
        ModelError
            If packages are missing (``pip install "napari-rednet[export]"``), a model of
            denoising knows no noise, or the files cannot be written.
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
        )


def read_model(path: str | os.PathLike[str]) -> Model:
    """Read a model file; raises `ModelError` if it is missing, damaged, or fails its checksum."""
    source = Path(path)
    header, weights = _read_file(source, _all_tensors)
    contract = _contract(source, header)
    if _digest(header[_HEADER], weights) != header.get("sha256"):
        raise ModelError(f"{source} does not match its own checksum; get the file again")
    exact = {name: values.float() for name, values in weights.items()}
    network = RedNet.with_weights(NetworkConfig(**contract["network"]), exact)
    network = network.eval().requires_grad_(False)
    return Model(contract["name"], contract["task"], network, contract["info"])


def read_contract(path: Path) -> dict[str, Any]:
    """Header of a model file, without the weights: name, task, network, info."""
    return _contract(path, _read_file(path, lambda _: None)[0])


def _all_tensors(file: Any) -> dict[str, Tensor]:
    names = file.keys()
    return {name: file.get_tensor(name) for name in names}


def _read_file(path: Path, take: Callable[[Any], Taken]) -> tuple[dict[str, str], Taken]:
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}, take(file)
    except FileNotFoundError as error:
        raise ModelError(f"there is no model file {path}") from error
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path} is damaged or not a safetensors file: {error}") from error


def _contract(path: Path, header: Mapping[str, str]) -> dict[str, Any]:
    if _HEADER not in header:
        raise ModelError(f"{path} is a safetensors file but not a napari-rednet model")
    contract: dict[str, Any] = json.loads(header[_HEADER])
    if contract["format"] > _FORMAT:
        raise ModelError(f"{path} was written by a newer version; update napari-rednet")
    if contract["format"] < _FORMAT:
        raise ModelError(
            f"{path} belongs to version 0.1 of napari-rednet, whose networks were told less of the "
            "noise; train or fine-tune it anew"
        )
    return contract


def _digest(contract: str, weights: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(contract.encode())
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].numpy().tobytes())
    return digest.hexdigest()
