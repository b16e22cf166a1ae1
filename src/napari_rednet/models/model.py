"""A trained model, and the file that holds it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.torch import load, save

from napari_rednet.engine.network import NetworkConfig, RedNet
from napari_rednet.errors import ModelError
from napari_rednet.files import replaced
from napari_rednet.models.contract import FORMAT, HEADER, read_contract

if TYPE_CHECKING:
    from torch import Tensor

    from napari_rednet.engine.channel import NoiseModel


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
