"""Side by side with other programs that denoise, each in a process of its own.

::

    python -m benchmarks.peers --data ../shared/data/dev/w2s
    python -m benchmarks.peers --data FOLDER --minutes 5 --side 4096

`FOLDER` has folders ``noisy`` and ``clean`` with images of the same names. What is not installed is
left out: ``pip install bm3d PyWavelets ndsafir careamics`` brings all. No program is told the
noise: those that need its standard deviation get that of scikit-image's `estimate_sigma`, which is
what their manuals say. CAREamics' N2V learns from all noisy images at once, for `minutes`, and
its time for an image holds its share of that.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import torch
import typer
from scipy.ndimage import gaussian_filter

from benchmarks.baselines import Image, bm3d, non_local_means, wavelet
from benchmarks.common import (
    Out,
    Table,
    describe_machine,
    fresh_process,
    megabytes,
    peak_resident,
    publish,
    watched,
)
from benchmarks.quality import invariant_psnr, read_pairs

Restore = Callable[[Sequence[Image]], list[Image]]
_PHOTONS, _GAIN, _BLACK = 20, 2.0, 100.0


@dataclass(frozen=True)
class Peer:
    """A program: the distribution that brings it, the module to look for, and how it is run."""

    distribution: str
    module: str
    restore: Callable[[Sequence[Image], float], list[Image]]
    learns: bool = False

    @property
    def is_installed(self) -> bool:
        """True if it can be run here."""
        return find_spec(self.module) is not None


def _each(restore: Callable[[Image], Any]) -> Callable[[Sequence[Image], float], list[Image]]:
    def all_of_them(images: Sequence[Image], _minutes: float) -> list[Image]:
        return [np.asarray(restore(image), np.float32) for image in images]

    return all_of_them


def _told(restore: Callable[[Image, float], Image]) -> Callable[[Image], Image]:
    def estimated(image: Image) -> Image:
        from skimage.restoration import estimate_sigma

        return restore(image, float(estimate_sigma(image)))

    return estimated


def _by_this(image: Image) -> Any:
    import napari_rednet as nr

    return nr.denoise(image)


def _by_ndsafir(image: Image, sigma: float) -> Any:
    from ndsafir import denoise_gaussian

    return denoise_gaussian(image, axes="YX", noise_std=sigma, nthreads=torch.get_num_threads())


def _by_careamics(images: Sequence[Image], minutes: float) -> list[Image]:
    """CAREamics' Noise2Void with the settings of its own guide, stopped after some minutes."""
    from careamics import CAREamist
    from careamics.config import create_n2v_config
    from lightning.pytorch.callbacks import Timer

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    stack = np.stack(images)
    config = create_n2v_config(
        experiment_name="peers",
        data_type="array",
        axes="SYX",
        patch_size=[64, 64],
        batch_size=32,
        num_epochs=1000,
    )
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        timer = Timer(duration={"minutes": minutes})
        careamist = CAREamist(config, work_dir=folder, callbacks=[timer], enable_progress_bar=False)
        careamist.train(train_data=stack)
        found, _ = careamist.predict(stack, tile_size=(256, 256))
    return [np.squeeze(image) for image in np.concatenate(found)]


PEERS = {
    "napari-rednet, fast": Peer("napari-rednet", "napari_rednet", _each(_by_this)),
    "Gaussian blur, σ = 2 px": Peer("scipy", "scipy", _each(partial(gaussian_filter, sigma=2))),
    "non-local means, fast mode": Peer("scikit-image", "skimage", _each(_told(non_local_means))),
    "wavelets, BayesShrink": Peer("scikit-image", "pywt", _each(_told(wavelet))),
    "BM3D": Peer("bm3d", "bm3d", _each(_told(bm3d))),
    "NDSAFIR": Peer("ndsafir", "ndsafir", _each(_told(_by_ndsafir))),
    "CAREamics, N2V": Peer("careamics", "careamics", _by_careamics, learns=True),
}


@dataclass(frozen=True)
class Found:
    """What a program made of images, the seconds that it took, and the most memory, in bytes."""

    images: list[Image]
    seconds: float
    memory: int


def main(
    *,
    data: Annotated[Path, typer.Option(help="Folder with noisy/ and clean/.")],
    minutes: Annotated[float, typer.Option(help="How long those that learn may do so.")] = 5.0,
    side: Annotated[int, typer.Option(help="Side of the large image; 0 for none.")] = 4096,
    limit: Annotated[int | None, typer.Option(help="Only so many pairs.")] = None,
    name: Annotated[list[str] | None, typer.Option(help="Only these; repeatable.")] = None,
    out: Out = None,
) -> None:
    """Compare with other programs that are installed."""
    pairs = read_pairs(data, limit)
    peers = {
        label: peer
        for label, peer in PEERS.items()
        if peer.is_installed and (not name or label in name)
    }
    quality = Table(
        f"{data.name}, {len(pairs)} pairs",
        ["program", "version", "dB", "over the blur", "s for an image", "peak MB"],
    )
    noisy = [one for one, _ in pairs]
    blurred = np.mean([_psnr(clean, gaussian_filter(one, 2)) for one, clean in pairs])
    for label in watched(list(peers), "comparing"):
        found = _alone(label, noisy, minutes)
        mean = np.mean([_psnr(c, one) for (_, c), one in zip(pairs, found.images, strict=True)])
        quality.rows.append(
            [
                label,
                version(peers[label].distribution),
                f"{mean:.2f}",
                f"{mean - blurred:+.2f}",
                f"{found.seconds / len(pairs):.1f}",
                megabytes(found.memory),
            ]
        )
    tables = [quality]
    if side:
        tables.append(_large(peers, side))
    publish("Other programs", tables, _notes(minutes), describe_machine(torch.device("cpu")), out)


def _large(peers: dict[str, Peer], side: int) -> Table:
    """Time and memory for one large image; those that learn would learn from it alone."""
    table = Table(f"{side} × {side} pixels of uint16", ["program", "s", "peak MB"])
    counts = np.random.default_rng(0).poisson(_PHOTONS, (side, side))
    image = (_GAIN * counts + _BLACK).astype(np.float32)
    for label in watched([one for one, peer in peers.items() if not peer.learns], "large"):
        found = _alone(label, [image], 0.0)
        table.rows.append([label, f"{found.seconds:.1f}", megabytes(found.memory)])
    return table


def _alone(label: str, images: list[Image], minutes: float) -> Found:
    with fresh_process() as process:
        return process.submit(run, label, images, minutes).result()


def run(label: str, images: list[Image], minutes: float) -> Found:
    """Restore images by a program, in this process."""
    begun = time.perf_counter()
    restored = PEERS[label].restore(images, minutes)
    return Found(restored, time.perf_counter() - begun, peak_resident())


def _psnr(clean: Image, restored: npt.NDArray[Any]) -> float:
    return invariant_psnr(clean, np.asarray(restored, np.float32))


def _notes(minutes: float) -> list[str]:
    return [
        "Scale-invariant PSNR: least-squares affine fit of the restored image to the clean one, "
        "then PSNR over the range of the clean image. Means over the pairs.",
        "The noise is known to none. Programs that ask for its standard deviation are told that of "
        "scikit-image's estimate_sigma.",
        f"N2V learns from all noisy images at once, for {minutes:g} minutes, with the defaults of "
        "its configuration; its seconds hold the share of that for each image. On GPUs, and in "
        "hours, it reaches more.",
        "Each program runs in a process of its own; its first image pays for what it loads, and "
        "memory is all physical memory, libraries included.",
    ]


if __name__ == "__main__":
    typer.run(main)
