"""Side by side with other programs that denoise, each in a process of its own.

::

    python -m benchmarks.peers --data ../shared/data/dev/w2s
    python -m benchmarks.peers --data FOLDER --minutes 5 --side 4096 --install

`FOLDER` has folders ``noisy`` and ``clean`` with images of the same names. What is not installed is
left out: ``pip install bm3d PyWavelets ndsafir careamics`` brings all. Programs that ask for the
standard deviation of the noise get that of scikit-image's `estimate_sigma`, which is what their
manuals say, and once more the true one, which nobody has. CAREamics' N2V learns from all noisy
images at once, for `minutes`, and its time for an image holds its share of that. With
``--install``, each program is also installed by pip into a virtual environment of its own, timed
until its first result.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

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

_PHOTONS, _GAIN, _BLACK = 20, 2.0, 100.0
# The environment of a program holds nothing but the program.
_IMAGE = """
import numpy as np
x = np.linspace(0, 20, 512)
image = np.random.default_rng(0).poisson(20 + 15 * np.outer(np.sin(x), np.cos(x)))
image = image.astype(np.float32)
"""


@dataclass(frozen=True)
class Peer:
    """A program: the distribution that brings it, the module to look for, and how it is run.

    `denoise` gets an image and the standard deviation of its noise, None if it is not told; `noise`
    says if it makes use of that. `learn` gets all images and the minutes that it may take. `first`
    is Python that makes a first result of the array `image`; `source` is what pip installs, if
    that is not the distribution.
    """

    distribution: str
    module: str
    denoise: Callable[[Image, Any], Any] | None = None
    learn: Callable[[Sequence[Image], float], list[Image]] | None = None
    noise: Literal["unused", "optional", "needed"] = "unused"
    first: str = ""
    source: str = ""

    @property
    def is_installed(self) -> bool:
        """True if it can be run here."""
        return find_spec(self.module) is not None


def _by_this(image: Image, sigma: float | None) -> Any:
    import napari_rednet as nr

    return nr.denoise(image, noise=sigma)


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
    "napari-rednet, fast": Peer(
        "napari-rednet",
        "napari_rednet",
        _by_this,
        noise="optional",
        first="import napari_rednet as nr; nr.denoise(image)",
        source=str(Path(__file__).parents[1]),
    ),
    "Gaussian blur, σ = 2 px": Peer(
        "scipy", "scipy", lambda image, _: gaussian_filter(image, sigma=2)
    ),
    "non-local means, fast mode": Peer(
        "scikit-image",
        "skimage",
        non_local_means,
        noise="needed",
        first=(
            "from skimage.restoration import denoise_nl_means as nlm; nlm(image, h=3.6, sigma=4.5)"
        ),
    ),
    "wavelets, BayesShrink": Peer("scikit-image", "pywt", wavelet, noise="needed"),
    "BM3D": Peer(
        "bm3d",
        "bm3d",
        bm3d,
        noise="needed",
        first="from bm3d import bm3d; bm3d(image, 4.5)",
    ),
    "NDSAFIR": Peer(
        "ndsafir",
        "ndsafir",
        _by_ndsafir,
        noise="needed",
        first="from ndsafir import denoise_gaussian as d; d(image, axes='YX', noise_std=4.5)",
    ),
    "CAREamics, N2V": Peer("careamics", "careamics", learn=_by_careamics),
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
    patience: Annotated[float, typer.Option(help="Minutes until a program is ended.")] = 15.0,
    install: Annotated[bool, typer.Option(help="Also time installations.")] = False,
    limit: Annotated[int | None, typer.Option(help="Only so many pairs.")] = None,
    name: Annotated[list[str] | None, typer.Option(help="Only these; repeatable.")] = None,
    out: Out = None,
) -> None:
    """Compare with other programs that are installed."""
    peers = [
        label for label, peer in PEERS.items() if peer.is_installed and (not name or label in name)
    ]
    tables = [_quality(data.name, read_pairs(data, limit), peers, minutes, patience)]
    if side:
        tables.append(_large(peers, side, patience))
    if install:
        tables.append(_installed(peers))
    notes = _notes(minutes, patience)
    publish("Other programs", tables, notes, describe_machine(torch.device("cpu")), out)


def _quality(
    data: str,
    pairs: Sequence[tuple[Image, Image]],
    peers: Sequence[str],
    minutes: float,
    patience: float,
) -> Table:
    columns = ["program", "version", "dB", "over the blur", "dB, told the noise"]
    table = Table(f"{data}, {len(pairs)} pairs", [*columns, "s for an image", "peak MB"])
    noisy = [one for one, _ in pairs]
    true = [_true_noise(*pair) for pair in pairs]
    unknown = [None] * len(pairs)

    def mean(images: Sequence[Image]) -> float:
        scores = [_psnr(clean, one) for (_, clean), one in zip(pairs, images, strict=True)]
        return float(np.mean(scores))

    blur = mean([gaussian_filter(one, 2) for one in noisy])
    for label in watched(list(peers), "comparing"):
        peer = PEERS[label]
        found = _alone(label, noisy, unknown, minutes, patience)
        row = [label, version(peer.distribution)]
        if found is None:
            table.rows.append([*row, "", "", "", f"> {60 * patience / len(pairs):.0f}", ""])
            continue
        reached = mean(found.images)
        told = None
        if peer.noise != "unused":
            told = _alone(label, noisy, true, minutes, patience)
        told_reached = "" if told is None else f"{mean(told.images):.2f}"
        seconds = f"{found.seconds / len(pairs):.1f}"
        row += [f"{reached:.2f}", f"{reached - blur:+.2f}", told_reached]
        table.rows.append([*row, seconds, megabytes(found.memory)])
    return table


def _true_noise(noisy: Image, clean: Image) -> float:
    """Standard deviation of what no affine function of the clean image explains."""
    slope, offset = np.polyfit(clean.ravel(), noisy.ravel(), 1)
    return float(np.std(noisy - (slope * clean + offset)))


def _large(peers: Sequence[str], side: int, patience: float) -> Table:
    """Time and memory for one large image; those that learn would learn from it alone."""
    table = Table(f"{side} × {side} pixels of uint16", ["program", "s", "peak MB"])
    counts = np.random.default_rng(0).poisson(_PHOTONS, (side, side))
    image = (_GAIN * counts + _BLACK).astype(np.float32)
    for label in watched([one for one in peers if PEERS[one].denoise is not None], "large"):
        found = _alone(label, [image], [None], 0.0, patience)
        if found is None:
            table.rows.append([label, f"> {60 * patience:.0f}", ""])
        else:
            table.rows.append([label, f"{found.seconds:.0f}", megabytes(found.memory)])
    return table


def _installed(peers: Sequence[str]) -> Table:
    table = Table(
        "From an empty environment to the first result, 512 × 512 pixels",
        ["program", "s to install", "s to the result", "MB on disk"],
    )
    for label in watched([one for one in peers if PEERS[one].first], "installing"):
        peer = PEERS[label]
        with tempfile.TemporaryDirectory() as folder:
            python = Path(folder) / "bin" / "python"
            _run(sys.executable, "-m", "venv", folder)
            source = peer.source or peer.distribution
            to_install = _run(str(python), "-m", "pip", "install", "--quiet", source)
            to_result = _run(str(python), "-c", _IMAGE + peer.first)
            files = [path.stat() for path in Path(folder).rglob("*") if path.is_file()]
            table.rows.append(
                [
                    label,
                    f"{to_install:.0f}",
                    f"{to_result:.1f}",
                    megabytes(sum(file.st_size for file in files)),
                ]
            )
    return table


def _run(*command: str) -> float:
    begun = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - begun


def _alone(
    label: str, images: list[Image], sigmas: Sequence[float | None], minutes: float, patience: float
) -> Found | None:
    """What a program makes in a process of its own; None if it was ended."""
    with fresh_process() as process, contextlib.suppress(BrokenProcessPool):
        return process.submit(run, label, images, sigmas, minutes, patience).result()
    return None


def run(
    label: str, images: list[Image], sigmas: Sequence[float | None], minutes: float, patience: float
) -> Found:
    """Restore images by a program, in this process, which ends if that takes too long."""
    from skimage.restoration import estimate_sigma

    peer = PEERS[label]
    signal.alarm(int(60 * patience))
    begun = time.perf_counter()
    if peer.learn is not None:
        restored = peer.learn(images, minutes)
    else:
        assert peer.denoise is not None
        restored = []
        for image, sigma in zip(images, sigmas, strict=True):
            if sigma is None and peer.noise == "needed":
                told: float | None = float(estimate_sigma(image))
            else:
                told = sigma
            restored.append(np.asarray(peer.denoise(image, told), np.float32))
    return Found(restored, time.perf_counter() - begun, peak_resident())


def _psnr(clean: Image, restored: npt.NDArray[Any]) -> float:
    return invariant_psnr(clean, np.asarray(restored, np.float32))


def _notes(minutes: float, patience: float) -> list[str]:
    return [
        "Scale-invariant PSNR: least-squares affine fit of the restored image to the clean one, "
        "then PSNR over the range of the clean image. Means over the pairs.",
        "Programs that ask for the standard deviation of the noise are told that of scikit-image's "
        "estimate_sigma, which misses most of the noise where the background is cut off at black; "
        "then the true one of each image, which nobody has.",
        f"N2V learns from all noisy images at once, for {minutes:g} minutes, with the defaults of "
        "its configuration; its seconds hold the share of that for each image. On GPUs, and in "
        "hours, it reaches more.",
        "Each program runs in a process of its own; its first image pays for what it loads, and "
        f"memory is all physical memory, libraries included. It is ended after {patience:g} "
        "minutes.",
    ]


if __name__ == "__main__":
    typer.run(main)
