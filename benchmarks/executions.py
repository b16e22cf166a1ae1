"""The ways to run a network over a plane that the speed benchmark compares.

Each is measured in a process of its own, so that its peak memory is its own; the processes take
turns, so that a disturbance of the machine meets all of them.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import zarr
from torch import Tensor

from benchmarks.baselines import installed_baselines
from benchmarks.common import peak_resident
from napari_rednet.engine.channel import IntensityRange, NoiseModel, from_network, to_network
from napari_rednet.engine.inference import Restorer
from napari_rednet.engine.network import (
    RedNet,
    initialize,
    poisson_gaussian_std,
    red20,
    red30,
    resolve_device,
    smooth_signal,
)
from napari_rednet.engine.planes import ChannelSettings, PlaneLayout, Strip, cut_into_strips
from napari_rednet.execution import Job, drain, restoration_steps
from napari_rednet.models import load_model_for

STREAM = "row streaming"
PLAIN = "row streaming, one thing at a time"
STORED = "row streaming, Zarr to Zarr"
STORED_PLAIN = "Zarr to Zarr, one thing at a time"
WHOLE = "whole plane"
TILES = "tiles "
EXECUTIONS = (STREAM, PLAIN, STORED, STORED_PLAIN, WHOLE, f"{TILES}256", f"{TILES}512")
_STREAMS = {STREAM: True, PLAIN: False, STORED: True, STORED_PLAIN: False}

_UNTRAINED = {"red30": red30(in_channels=2), "red20-stride2": red20(in_channels=2, stride=2)}
_GAIN, _READ_NOISE = 0.005, 0.02
_WARM_SIZE = 256
_CHUNK = 512
_MATRICES = {
    "cpu": ((1024, 1024, 1024), (2048, 2048, 2048), (4096, 4096, 4096), (65536, 576, 64)),
    "cuda": ((4096, 4096, 4096), (8192, 8192, 8192), (16384, 8192, 8192), (2**20, 576, 64)),
}
_MATRIX_SECONDS = 0.2

Run = Callable[[], npt.NDArray[Any] | Tensor]
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Case:
    """One execution of one network on one plane.

    Parameters
    ----------
    network : str
        'red30', 'red20-stride2' (untrained), or a denoising model's name or file.
    execution : str
        One of `EXECUTIONS`, or the name of a baseline.
    size : int
        Rows and columns of the plane.
    device : str
        Of torch.
    precision : str
        A torch dtype.
    """

    network: str
    execution: str
    size: int
    device: str
    precision: str

    @property
    def dtype(self) -> torch.dtype:
        """The precision as torch has it."""
        dtype = getattr(torch, self.precision)
        if not isinstance(dtype, torch.dtype):
            raise TypeError(f"{self.precision!r} is no torch dtype")
        return dtype


def seconds(case: Case) -> float:
    """Time of one run; what is needed once, and a warm-up, come before."""
    run = _prepared(case)
    device = resolve_device(case.device)
    if device.type == "cuda":
        run()  # once more, since memory is handed back below, and getting it takes time
    _synchronize(device)
    start = time.perf_counter()
    run()
    _synchronize(device)
    taken = time.perf_counter() - start
    if device.type == "cuda":
        torch.cuda.empty_cache()  # the other cases' processes need it now
    return taken


def peak_memory(device: str) -> int:
    """Most memory of the device that this process has had, in bytes."""
    if resolve_device(device).type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return peak_resident()


def difference(case: Case) -> float:
    """Largest difference of a result from the whole plane's in float32, per intensity range."""
    image = _plane(case.size, np.dtype(np.float32))
    exact = replace(case, execution=WHOLE, precision="float32")
    wanted = _finished(_execution(exact, image)())
    found = _finished(_execution(case, image)())
    return float(np.abs(found - wanted).max())


def matrix_speeds(device: str, precision: str) -> dict[tuple[int, int, int], float]:
    """FLOP/s of matrix products of several shapes: the best that the device can be hoped to do."""
    # Convolutions of torch use TF32 in float32 by default; their peak has to do so as well.
    torch.set_float32_matmul_precision("high")
    target = resolve_device(device)
    shapes = _MATRICES.get(target.type, _MATRICES["cpu"])
    return {shape: _matrix_speed(shape, target, getattr(torch, precision)) for shape in shapes}


def _matrix_speed(shape: tuple[int, int, int], device: torch.device, dtype: torch.dtype) -> float:
    rows, inner, columns = shape
    a = torch.randn(rows, inner, device=device).to(dtype)
    b = torch.randn(inner, columns, device=device).to(dtype)
    times: list[float] = []
    while len(times) < 4 or sum(times) < _MATRIX_SECONDS:
        start = time.perf_counter()
        torch.mm(a, b)
        _synchronize(device)
        times.append(time.perf_counter() - start)
    return 2.0 * rows * inner * columns / min(times[1:])


def operations_per_pixel(network: str) -> int:
    """Useful operations of a network for one pixel."""
    return _network(network).config.operations_per_pixel()


@functools.cache
def _prepared(case: Case) -> Run:
    """What `case` runs, warmed up with a small plane."""
    _any_run(replace(case, size=min(case.size, _WARM_SIZE)))()
    return _any_run(case)


def _any_run(case: Case) -> Run:
    if case.execution in EXECUTIONS:
        return _execution(case, _plane(case.size, np.dtype(np.uint16)))
    noisy = _plane(case.size, np.dtype(np.float32))
    return functools.partial(installed_baselines()[case.execution], noisy, 2 * _READ_NOISE)


def _execution(case: Case, image: Array) -> Run:
    network = _network(case.network)
    device = resolve_device(case.device)
    if case.execution in _STREAMS:
        overlap = _STREAMS[case.execution]
        restorer = Restorer(network, device, dtype=case.dtype, overlap=overlap)
        if case.execution in (STORED, STORED_PLAIN):
            image = _stored(image)
        return functools.partial(_stream, restorer, image)
    inputs = _inputs(image).to(device, memory_format=torch.channels_last)
    network = network.to(device)
    if case.execution == WHOLE:
        return functools.partial(_forward, network, inputs, case.dtype)
    side = int(case.execution.removeprefix(TILES))
    return functools.partial(_tiled, network, inputs, side, case.dtype)


def _stored(image: Any) -> Any:
    """A compressed Zarr array on disk with the values of a plane."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    chunks = (_CHUNK, _CHUNK)
    found = zarr.create_array(folder, shape=image.shape, chunks=chunks, dtype=image.dtype)
    found[:] = image[:]
    return found


def _stream(restorer: Restorer, image: Any) -> Array:
    """All that `denoise` does with a plane once the noise is known."""
    settings = _settings(image.dtype)
    job = Job(PlaneLayout(image.shape), lambda **_: restorer, lambda *_: settings)
    target = np.empty_like(image) if isinstance(image, np.ndarray) else _stored(image)
    drain(restoration_steps(job, image, target), False, "")
    return np.asarray(target[:])


@torch.inference_mode()
def _forward(network: RedNet, inputs: Tensor, dtype: torch.dtype) -> Tensor:
    # Autocast leaves the final sum in float32, as row streaming does.
    with torch.autocast(inputs.device.type, dtype, enabled=dtype is not torch.float32):
        restored: Tensor = network(inputs)
    return restored


def _tiled(network: RedNet, inputs: Tensor, side: int, dtype: torch.dtype) -> Tensor:
    """Tiles with the receptive field as halo, clipped at the border of the plane."""
    restored = torch.empty_like(inputs[:, :1])
    height, width = inputs.shape[-2:]
    for rows, columns in product(*[_strips(network, n, side) for n in (height, width)]):
        tile = inputs[..., rows.read, columns.read]
        tile = tile.contiguous(memory_format=torch.channels_last)
        inner = (..., rows.inner, columns.inner)
        restored[..., rows.keep, columns.keep] = _forward(network, tile, dtype)[inner]
    return restored


def _strips(network: RedNet, length: int, side: int) -> list[Strip]:
    config = network.config
    return cut_into_strips(length, side, config.receptive_radius, config.stride)


@functools.cache
def _network(name: str) -> RedNet:
    if name not in _UNTRAINED:
        return load_model_for("denoise", name).network
    network = RedNet(_UNTRAINED[name]).eval().requires_grad_(False)
    initialize(network, torch.Generator().manual_seed(0))
    return network


def _plane(size: int, dtype: np.dtype[Any]) -> Array:
    """A smooth image with photon and read noise."""
    generator = torch.Generator().manual_seed(0)
    waves = torch.sin(torch.arange(size) / 9.0)
    clean = 0.5 + 0.3 * torch.outer(waves, waves)
    noise = poisson_gaussian_std(clean, _GAIN, _READ_NOISE)
    noisy = clean + noise * torch.randn(clean.shape, generator=generator)
    return from_network(noisy.numpy(), _settings(dtype).scale, dtype)


def _settings(dtype: np.dtype[Any]) -> ChannelSettings:
    span = 1.0 if dtype.kind == "f" else float(np.iinfo(dtype).max)
    noise = NoiseModel(gain=_GAIN * span, read_noise=_READ_NOISE * span)
    return ChannelSettings(IntensityRange(0.0, span), noise)


def _inputs(image: Array) -> Tensor:
    """The network's input for a whole plane: image and noise map."""
    values, _ = to_network(image, _settings(image.dtype).scale)
    x = torch.from_numpy(values)[None, None]
    return torch.cat([x, poisson_gaussian_std(smooth_signal(x), _GAIN, _READ_NOISE)], 1)


def _finished(result: Array | Tensor) -> Array:
    """The result as a plane of numpy, once the device has it."""
    if isinstance(result, np.ndarray):
        return result
    plane: Array = result[0, 0].cpu().numpy()
    return plane


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
