"""Compute devices, their precisions, and their free memory."""

from __future__ import annotations

import re

import psutil
import torch

_ACCEPTED = "'auto', 'cpu', 'cuda', 'cuda:N' or 'mps'"


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """The torch device for a name; 'auto' takes the first of CUDA, MPS and CPU that exists.

    Raises `ValueError` if the name is unknown or this computer has no such device.
    """
    name = str(device)
    if name == "auto":
        return torch.device(available_devices()[0])
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", name):
        raise ValueError(f"device must be {_ACCEPTED}, got {name!r}")
    found = available_devices()
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in found:
        raise ValueError(
            f"device {name!r} does not exist here; available: {', '.join(reversed(found))}"
        )
    return torch.device(wanted)


def available_devices() -> list[str]:
    """Names of the devices of this computer, the preferred one first, 'cpu' last."""
    cuda = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return [*cuda, *mps, "cpu"]


def devices_to_use(device: str = "auto") -> list[str]:
    """Names of the devices that a name stands for: all GPUs for 'cuda', else one."""
    resolve_device(device)
    found = [name for name in available_devices() if name.startswith("cuda")]
    return found if str(device) == "cuda" and len(found) > 1 else [str(device)]


def fast_dtype(device: torch.device) -> torch.dtype:
    """The fastest precision that the device computes natively and that is good enough."""
    if device.type == "cuda":
        return torch.float16
    if device.type == "cpu" and _has_native_bfloat16():
        return torch.bfloat16
    return torch.float32


def training_dtype(device: torch.device) -> torch.dtype:
    """Precision of the forward pass in training; float16 would need loss scaling."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    return torch.bfloat16 if fast_dtype(device) is torch.bfloat16 else torch.float32


def free_memory(device: torch.device) -> int:
    """Bytes that the device can give to one more computation."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def used_memory() -> int:
    """Bytes of main memory that this process holds and the system cannot reclaim.

    Pages of memory-mapped files are not counted where the system tells them apart: they grow with
    the image, and the system reclaims them when memory is short.
    """
    found = psutil.Process().memory_info()
    return int(found.rss - getattr(found, "shared", 0))


def _has_native_bfloat16() -> bool:
    # Emulated bfloat16 is slower than float32, so only the instruction sets count.
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, probe, bool)() for probe in probes)
