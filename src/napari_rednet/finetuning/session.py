"""A running fine-tuning, which can be watched, paused, stopped and resumed."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_rednet.engine.degradations import NoiseCorruption
from napari_rednet.engine.network import RedNet, resolve_device, training_dtype
from napari_rednet.engine.planes import evenly
from napari_rednet.errors import ModelError
from napari_rednet.finetuning.examples import Example
from napari_rednet.finetuning.methods import TOLD, Method, PseudoClean
from napari_rednet.models import Model
from napari_rednet.training import TrainingConfig
from napari_rednet.training.batches import PatchSampler
from napari_rednet.training.loop import Batch, Trainer

FloatArray = npt.NDArray[np.float64]

# A multiple of the factors of super-resolution and of the strides.
_MULTIPLE = 12
_SIDE = 156
_MOST_CASES = 24
_FEWEST_KNOWN = 0.1
_TINY = 1e-9
# Included in scikit-image, so that nothing has to be downloaded.
_PHOTOGRAPHS = ("astronaut", "brick", "camera", "chelsea", "coffee", "coins", "grass", "gravel")
# Share of a batch. Without it, a network fine-tuned on 72 pairs lost 2.5 dB on photographs.
_REHEARSED = 0.25


@dataclass(frozen=True)
class HeldOutPart:
    """A held-out part of an image: (Y, X) arrays in network units.

    `before` is the network's input; `base` and `now` are the results of the base and the current
    model.
    """

    before: npt.NDArray[np.float32]
    base: npt.NDArray[np.float32]
    now: npt.NDArray[np.float32]
    target: npt.NDArray[np.float32] | None


class Validation:
    """Compares networks with a base on held-out examples, always with the same corruptions."""

    def __init__(
        self,
        held_out: Sequence[Example],
        method: Method,
        base: RedNet,
        device: torch.device,
    ) -> None:
        self._device = device
        self._dtype = training_dtype(device)
        generator = torch.Generator().manual_seed(0)
        squares = [s for e in held_out for s in _squares(e, method.margin)]
        known = [s for s in squares if s.rows["weight"].mean() >= _FEWEST_KNOWN] or squares
        squares = evenly(known, _MOST_CASES)
        self._cases = [method(_as_patches(s, method), generator) for s in squares]
        self._base = base.to(device)
        contrasts = [float(self._restore(base, case[0]).std()) for case in self._cases]
        shown = int(np.argmax(contrasts))
        self._shown = _shown(squares[shown], self._cases[shown], method)
        self._base_errors = self._errors(base)

    def __call__(self, network: RedNet) -> float:
        """Mean gain in dB over the base."""
        ratios = self._errors(network) / self._base_errors
        return float(np.mean(-10 * np.log10(np.maximum(ratios, 1e-3))))

    def preview(self, network: RedNet) -> HeldOutPart:
        """Preview of the case with most structure."""
        inputs, targets = self._shown
        images = [inputs[:, :1], self._restore(self._base, inputs), self._restore(network, inputs)]
        before, base, now = (image[0, 0].cpu().numpy() for image in images)
        target = None if targets is None else targets[0, 0].numpy()
        return HeldOutPart(before, base, now, target)

    @torch.no_grad()
    def _restore(self, network: RedNet, inputs: Tensor) -> Tensor:
        seen = inputs.to(self._device, memory_format=torch.channels_last)
        low_precision = self._dtype is not torch.float32
        with torch.autocast(self._device.type, self._dtype, enabled=low_precision):
            restored: Tensor = network(seen)
        return restored.float().cpu()

    def _errors(self, network: RedNet) -> FloatArray:
        return np.array([self._error(network, *case) for case in self._cases])

    def _error(self, network: RedNet, inputs: Tensor, targets: Tensor, weights: Tensor) -> float:
        weights = weights.expand_as(targets)
        squares = weights * (self._restore(network, inputs) - targets).square()
        return max(float(squares.sum() / weights.sum().clamp(min=_TINY)), _TINY)


def _shown(square: Example, case: Batch, method: Method) -> tuple[Tensor, Tensor | None]:
    """Inputs and target for the preview; the user's own noisy image for `PseudoClean`."""
    if isinstance(method, PseudoClean):
        return _noisy_inputs(square), None
    inputs, targets, _ = case
    return inputs, targets


def _noisy_inputs(square: Example) -> Tensor:
    rows = [np.asarray(square.rows[name], np.float32) for name in ("image", *TOLD)]
    return torch.from_numpy(np.stack(rows))[None]


def _squares(example: Example, margin: int) -> list[Example]:
    """Square crops that the networks and corruptions of all tasks can take."""
    side = min(_SIDE, *example.shape)
    if side >= _MULTIPLE + 2 * margin:
        side -= side % _MULTIPLE
    height, width = example.shape
    return [
        example.part(slice(y, y + side), slice(x, x + side))
        for y in range(0, height - side + 1, side)
        for x in range(0, width - side + 1, side)
    ]


def _as_patches(example: Example, method: Method) -> dict[str, Tensor]:
    return {name: torch.from_numpy(example.rows[name])[None, None].float() for name in method.rows}


class Rehearsal:
    """Makes batches of photographs with Gaussian and photon noise of all levels."""

    def __init__(self, patch: int, device: torch.device) -> None:
        from skimage import data
        from skimage.color import rgb2gray
        from skimage.util import img_as_float32

        pictures = [getattr(data, name)() for name in _PHOTOGRAPHS]
        gray = [img_as_float32(rgb2gray(p) if p.ndim == 3 else p) for p in pictures]
        images = [_at_least(np.asarray(image), patch)[None] for image in gray]
        self._sampler = PatchSampler(images, patch, device)
        self._corruption = NoiseCorruption(margin=0)

    def __call__(self, count: int, generator: torch.Generator) -> Batch:
        """Draw `count` noisy patches with their noise maps."""
        inputs, clean, weights = self._corruption(self._sampler.sample(count, generator), generator)
        return inputs, clean, weights.expand_as(clean)


def _at_least(image: npt.NDArray[np.float32], side: int) -> npt.NDArray[np.float32]:
    """The image, mirrored at its end where it is smaller than a patch."""
    return np.pad(image, [(0, max(0, side - length)) for length in image.shape], "symmetric")


@dataclass(frozen=True)
class FineTuningStatus:
    """Progress of a fine-tuning.

    Parameters
    ----------
    step : int
        Steps done.
    minutes, remaining_minutes : float
        Time spent, and the time left at this speed.
    fraction : float
        Fraction done, 0 to 1.
    loss : float
        Mean over the steps since the last status.
    gain : float
        Gain over the base model on the held-out parts, in dB; NaN between checks.
    best_gain : float
        Best gain so far; 0 is the base model itself.
    samples_per_second : float
        Training patches per second.
    """

    step: int
    minutes: float
    remaining_minutes: float
    fraction: float
    loss: float
    gain: float
    best_gain: float
    samples_per_second: float

    @property
    def is_check(self) -> bool:
        """True if the network was just validated."""
        return math.isfinite(self.gain)


@dataclass(frozen=True)
class Plan:
    """Everything a fine-tuning needs.

    `held_out` examples are for checks. `patch` is in pixels, without the margin of `method`.
    `rehearses` mixes photographs into the batches. `info` are further entries of the model file.
    """

    name: str
    base: Model
    method: Method
    method_name: str
    training: Sequence[Example]
    held_out: Sequence[Example]
    config: TrainingConfig
    batch: int
    patch: int
    rehearses: bool
    info: Mapping[str, Any]


class FineTuning:
    """A running fine-tuning: iterate over `run`, then take the `model`.

    It only works while it is iterated over: pause between two statuses, or stop by not going on.
    What has been learnt until then is kept.

    Parameters
    ----------
    plan : Plan
        Base model, examples, method and schedule.
    device : str
        Where to compute.
    folder : Path, optional
        Folder for checkpoint, log, best and last model.
    """

    def __init__(self, plan: Plan, device: str = "auto", folder: Path | None = None) -> None:
        self.plan = plan
        self.device = resolve_device(device)
        self.folder = folder
        self._base = _copy(plan.base.network).to(self.device)
        self._validation = Validation(plan.held_out, plan.method, self._base, self.device)
        self.trainer = Trainer(
            _copy(plan.base.network).requires_grad_(True),
            _batches(plan, self.device),
            plan.config,
            self.device,
            validate=lambda network: self._validation(self._kept(network.state_dict())),
            folder=folder,
            identity=_identity(plan),
        )

    def resume(self) -> bool:
        """Continue from the folder's checkpoint; return whether there was one.

        Raises
        ------
        TrainingError
            If it is damaged, or of another training.
        """
        return self.trainer.resume()

    def run(self) -> Iterator[FineTuningStatus]:
        """Train, yielding a status about every half second; stop iterating to stop."""
        for status in self.trainer.run():
            if math.isfinite(status.score):
                self._keep_models()
            yield FineTuningStatus(
                step=status.step,
                minutes=status.minutes,
                remaining_minutes=status.minutes * (1 / status.fraction - 1),
                fraction=status.fraction,
                loss=status.loss,
                gain=status.score,
                best_gain=self.trainer.best_score,
                samples_per_second=status.samples_per_second,
            )

    def model(self) -> Model:
        """The best model so far on the held-out parts; the base's weights if none was better."""
        return self._as_model(self.trainer.best)

    def last_model(self) -> Model:
        """The current model."""
        return self._as_model(self.trainer.average.state_dict())

    def preview(self) -> HeldOutPart:
        """A held-out part of an image, before and after."""
        return self._validation.preview(self._kept(self.trainer.average.state_dict()))

    def _as_model(self, weights: Mapping[str, torch.Tensor]) -> Model:
        info = {**self.plan.info, "training": self._summary()}
        network = self._kept(weights).cpu()
        return Model(self.plan.name, self.plan.base.task, network, info)

    def _kept(self, weights: Mapping[str, torch.Tensor]) -> RedNet:
        """The network between the base and the learnt weights, at the `reach` of the method."""
        network = _copy(self._base).to(self.device)
        reach = self.plan.method.reach
        for name, value in network.state_dict().items():
            # Copy for a reach of 1: base + 1 * (learnt - base) may round to something else.
            value.copy_(weights[name] if reach == 1 else value.lerp(weights[name], reach))
        return network

    def _summary(self) -> dict[str, Any]:
        config = self.plan.config
        gain = self.trainer.best_score
        return {
            "method": self.plan.method_name,
            "steps": self.trainer.step,
            "minutes": round(self.trainer.seconds / 60, 2),
            "rate": config.rate,
            "batch": self.plan.batch,
            "patch": self.plan.patch,
            "seed": config.seed,
            "device": self.device.type,
            "gain_over_base_in_db": round(gain, 3) if math.isfinite(gain) else None,
        }

    def _keep_models(self) -> None:
        if self.folder is None:
            return
        for name, model in (("best", self.model()), ("last", self.last_model())):
            try:
                model.save(self.folder / f"{name}.safetensors")
            except ModelError as error:
                # As for the checkpoint: the training is worth more than the file.
                warnings.warn(f"{error}; the training goes on, without it", stacklevel=2)


def _copy(network: RedNet) -> RedNet:
    copy = RedNet(network.config)
    copy.load_state_dict(network.state_dict())
    return copy.eval().requires_grad_(False)


def _batches(plan: Plan, device: torch.device) -> Callable[[torch.Generator], Batch]:
    names = plan.method.rows
    side = plan.patch + 2 * plan.method.margin
    images = [np.stack([e.rows[name] for name in names]) for e in plan.training]
    sampler = PatchSampler(images, side, device)
    rehearsed = _rehearsed(plan)
    rehearsal = Rehearsal(plan.patch, device) if rehearsed else None

    def make_batch(generator: torch.Generator) -> Batch:
        patches = sampler.sample(plan.batch - rehearsed, generator)
        batch = plan.method({n: patches[:, i : i + 1] for i, n in enumerate(names)}, generator)
        if rehearsal is None:
            return batch
        more = rehearsal(rehearsed, generator)
        inputs, targets, weights = (torch.cat(p) for p in zip(batch, more, strict=True))
        return inputs, targets, weights

    return make_batch


def _rehearsed(plan: Plan) -> int:
    """Number of photograph patches in a batch; 0 if the batch has only one patch."""
    if not plan.rehearses or plan.batch == 1:
        return 0
    return max(1, round(_REHEARSED * plan.batch))


def _identity(plan: Plan) -> str:
    """Identity that a checkpoint must match to be resumed: everything but the length."""
    config = plan.config
    return (
        f"{plan.method_name} for {plan.base.task} from {plan.base.name}, images and weights "
        f"{_fingerprint(plan)}, {plan.batch} x {plan.patch}, rate {config.rate:g}, "
        f"seed {config.seed}"
    )


def _fingerprint(plan: Plan) -> str:
    """Hash of all examples, and of the weights that the training starts from."""
    digest = hashlib.sha256()
    for example in plan.training:
        # 'restored' follows from the rest, and differs slightly between devices.
        for name in sorted(example.rows.keys() - {"restored"}):
            digest.update(np.ascontiguousarray(example.rows[name]).data)
    for value in plan.base.network.state_dict().values():
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()[:12]
