"""Noisy images, restored by the base model, to be learnt from as if they were clean.

A base model may know neither the noise of the user's camera nor what the user's images look like.
What it makes of them, under the noise that was measured in them, teaches it both [1]_.

References
----------
.. [1] S. Lee, D. Cho, J. Kim, T. H. Kim, "Restore from restored: single image denoising with pseudo
   clean image", arXiv:2003.04721.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from napari_rednet.engine.images import evenly
from napari_rednet.engine.intensity import measure_range
from napari_rednet.engine.network import RedNet
from napari_rednet.engine.runner import NetworkRunner
from napari_rednet.finetuning.examples import Example, FloatArray, by_channel
from napari_rednet.finetuning.methods import TOLD

_MOST_MEASURED = 12


def with_restored(
    examples: Sequence[Example], network: RedNet, device: torch.device
) -> list[Example]:
    """Add what a denoiser makes of each example, as 'restored'; its range is 0 to 1."""
    runner = NetworkRunner(network, device)
    return [found for group in by_channel(examples) for found in _with_restored(group, runner)]


def _with_restored(group: Sequence[Example], runner: NetworkRunner) -> Iterator[Example]:
    images = [_restored(example, runner) for example in group]
    scale = measure_range(evenly(images, _MOST_MEASURED))
    for example, image in zip(group, images, strict=True):
        normal = ((image - scale.low) / scale.span).astype(np.float32)
        yield replace(example, rows={**example.rows, "restored": normal})


@torch.inference_mode()
def _restored(example: Example, runner: NetworkRunner) -> FloatArray:
    rows = (example.rows[name].astype(np.float32) for name in ("image", *TOLD))
    inputs = torch.stack([torch.from_numpy(row) for row in rows])[None].to(runner.device)
    return runner.run(inputs)[0, 0].cpu().numpy()
