"""The parts of the Compare window that measure how good the result is, and where to trust it."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from magicgui.widgets import Container
from napari.layers import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QVBoxLayout, QWidget

from napari_rednet.engine.channel import NoiseModel
from napari_rednet.engine.planes import PlaneLayout
from napari_rednet.execution import drain
from napari_rednet.provenance import Crop
from napari_rednet.widgets.compare.pair import NEEDS_PAIR, ComparedPart
from napari_rednet.widgets.shared.controls import ChoiceBox
from napari_rednet.widgets.shared.docks import set_needs
from napari_rednet.widgets.shared.layers import layer_options
from napari_rednet.widgets.shared.style import ALIGNED_LABELS, focus_kept, make_button, make_label
from napari_rednet.widgets.shared.worker import WorkerSteps

if TYPE_CHECKING:
    from napari_rednet.quality import ErrorEstimate, Scores

PLANE, STACK = "this plane", "whole stack"
_NONE = "none"
_SCORES = (
    "PSNR: in dB, of the range of the reference (255 for 8-bit images).\n"
    "SSIM: structural similarity, at most 1, in Gaussian windows of sigma 1.5.\n"
    "PSNR scaled: after the factor and offset that bring the image closest to the reference, "
    "since microscopes have no absolute intensities.\n\n"
    "Without a reference, an estimate by Stein's formula: the model runs once more on the image "
    "with a little more noise (of large images, on the middle of up to 8 planes). On 60 test "
    "images, the error was estimated as 0.74 to 1.21 of the true one. The gain is as good as the "
    "noise model besides: weak noise in rich texture is overestimated, and so is the gain. A blur "
    "that was there before the noise is no part of it."
)
_PLACING = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
_SHOWN = 99.8  # percentile that is brightest
_MORE = 1.1  # than denoising ever changes a pixel
NO_NOISE = "Only denoised layers, whose noise is known, have a map of uncertainty."
"""What is said of other layers."""


class MeasureControls(QWidget):
    """Choice of reference and extent, buttons to measure and cancel, and the results as text."""

    def __init__(self, layers: Callable[[], list[Image]]) -> None:
        super().__init__()
        self.reference = ChoiceBox(
            name="reference",
            label="Reference",
            choices=lambda _: [(_NONE, None), *((layer.name, layer) for layer in layers())],
            tooltip="A clean image of the same shape as the result, if there is one.",
        )
        self.extent = ChoiceBox(
            name="extent",
            label="Of",
            choices=[PLANE, STACK],
            tooltip="Measure the plane that is shown, or all planes.",
        )
        self.start = make_button("Measure", "Say in figures how good the result is.")
        self.cancel = make_button("Cancel", "Stop measuring.")
        self.progress = QProgressBar()
        self.progress.setToolTip("How much is done.")
        self._said = self._doing = ""
        self.figures = make_label(_SCORES)
        self.figures.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._arrange()
        self.show_idle(has_pair=False)

    @property
    def is_whole(self) -> bool:
        """True if all planes are to be measured."""
        return bool(self.extent.value == STACK)

    def forget(self) -> None:
        """Clear the figures, which no longer fit the controls."""
        self.say("")

    def reset_choices(self, *_: Any) -> None:
        """Refresh the layers offered as reference."""
        self.reference.reset_choices()

    def show_idle(self, *, has_pair: bool) -> None:
        """Enable Measure if there is a pair, and hide the progress bar."""
        with focus_kept(self.start):
            set_needs(self.start, NEEDS_PAIR, missing=not has_pair)
            self.cancel.setEnabled(False)
        self.progress.hide()
        self._doing = ""
        self.say(self._said)

    def show_running(self, doing: str) -> None:
        """Enable Cancel, show the progress bar, and say what is done until it has ended."""
        self._doing = doing
        self.say(self._said)
        with focus_kept(self.cancel):
            self.start.setEnabled(False)
            self.cancel.setEnabled(True)
        self.show_progress((0, 0))
        self.progress.show()

    def show_progress(self, progress: tuple[int, int]) -> None:
        """Show (done, total); as busy while the total is 0."""
        done, total = progress
        self.progress.setMaximum(100 if total else 0)
        self.progress.setValue(100 * done // total if total else 0)

    def show_figures(self, measured: Comparison, what: str) -> None:
        """Show results; `what` names the plane or stack that they are of."""
        self.say(as_table(measured, what))

    def say(self, text: str) -> None:
        """Show text in place of the figures, once nothing runs."""
        self._said = text
        self.figures.setText(self._doing or text)

    def _arrange(self) -> None:
        controls = Container(widgets=[self.reference, self.extent])
        controls.native.setStyleSheet(ALIGNED_LABELS)
        controls.margins = (0, 0, 0, 0)
        controls.changed.connect(self.forget)
        self._controls = controls
        buttons = QHBoxLayout()
        buttons.addWidget(self.start)
        buttons.addWidget(self.cancel)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(controls.native)
        layout.addLayout(buttons)
        layout.addWidget(self.progress)
        layout.addWidget(self.figures)


def obstacle(
    pair: tuple[ComparedPart, ComparedPart] | None,
    reference: ComparedPart | None,
    *,
    has_noise: bool,
) -> str:
    """Why nothing can be measured, in words for the user; empty if something can."""
    if pair is None:
        return NEEDS_PAIR
    before, after = pair
    if reference is None:
        if not has_noise:
            return "Choose a reference. Only denoised layers can be judged without one."
        same = before.shape == after.shape
        return "" if same else "Before and after have different shapes: choose a reference."
    if reference.shape != after.shape:
        return (
            f"The reference has the shape {_shape(reference)}, the result {_shape(after)}. "
            "Choose one of the same shape."
        )
    return ""


def _shape(part: ComparedPart) -> str:
    return " × ".join(map(str, part.shape))


def as_table(measured: Comparison, what: str) -> str:
    """The results as rich text."""
    if measured.estimate is not None:
        found = measured.estimate
        return _table(
            f"Estimate, {what}",
            [
                ("noise before (rms)", _digits(found.noise, 3)),
                ("error left (rms)", _digits(found.error, 2)),
                ("gain in PSNR", f"about {found.gain:+.1f} dB"),
            ],
        )
    scores = (measured.before, measured.after)
    rows = [
        (label, *(f"{getattr(s, name):{form}}" if s is not None else "–" for s in scores))
        for label, name, form in (
            ("PSNR", "psnr", ".2f"),
            ("SSIM", "ssim", ".4f"),
            ("PSNR scaled", "invariant_psnr", ".2f"),
        )
    ]
    return _table(f"Figures, {what}", [("", "before", "after"), *rows])


def _digits(value: float, count: int) -> str:
    """A number with so many significant digits, and without an exponent."""
    return f"{float(f'{value:.{count}g}'):.10g}"


def _table(title: str, rows: Sequence[Sequence[str]]) -> str:
    cells = "".join(
        f"<tr><td>{name}</td>"
        + "".join(f'<td align="right">&nbsp;&nbsp;{value}</td>' for value in values)
        + "</tr>"
        for name, *values in rows
    )
    return f"<b>{title}</b><table>{cells}</table>".replace(str(math.inf), "∞")


@dataclass(frozen=True)
class Request:
    """A measurement to run.

    `reference` is None for an estimate without one. `noise` has a model per channel; it is None
    unless `after` was denoised from `before`. `settings` are the arguments of `denoise` for it, and
    `along` is the axis of the layers that planes were restored together along.
    """

    before: ComparedPart
    after: ComparedPart
    reference: ComparedPart | None
    noise: list[NoiseModel] | None
    settings: dict[str, Any]
    along: int | None = None

    def reach(self) -> int:
        """How many planes before and after it a plane was restored with."""
        from napari_rednet.restoration.denoise import prepare_denoise

        smallest = np.zeros((2, 1, 1), np.float32)
        return max(prepare_denoise(smallest, along=0, **self.settings).job.offsets)


@dataclass(frozen=True)
class Comparison:
    """Results of a measurement; None for what could not be measured."""

    before: Scores | None = None
    after: Scores | None = None
    estimate: ErrorEstimate | None = None


def compare(request: Request) -> Generator[tuple[int, int], None, Comparison]:
    """Compare with the reference, or estimate the error without one."""
    reference = request.reference
    if reference is None:
        return Comparison(estimate=(yield from _estimate(request)))
    before = None
    # The source of an enlarged result has another shape and cannot be compared.
    if request.before.shape == reference.shape:
        before = yield from _score(request.before, reference)
    return Comparison(before, (yield from _score(request.after, reference)))


def _score(part: ComparedPart, reference: ComparedPart) -> Generator[tuple[int, int], None, Scores]:
    from napari_rednet.quality import score_steps

    return (yield from score_steps(part.array, reference.array, channel_axis=part.channel_axis))


def _estimate(request: Request) -> Generator[tuple[int, int], None, ErrorEstimate]:
    from napari_rednet.quality import estimate_error_steps
    from napari_rednet.restoration.denoise import denoise_steps

    if request.along is not None:
        return (yield from _estimate_of_planes(request, request.along))
    (before, axis), (after, _) = (part.sample() for part in (request.before, request.after))
    noise, is_rgb = request.noise, request.before.is_rgb
    models: Any = noise if axis is not None or noise is None else noise[0]
    settings = {**request.settings, "rgb": is_rgb, "channel_axis": axis}
    restore = partial(denoise_steps, noise=models, **settings)
    before = _as_repaired(before, after, axis, noise or [], settings)
    steps = estimate_error_steps(before, after, restore, noise=models, channel_axis=axis)
    return (yield from steps)


def _estimate_of_planes(
    request: Request, along: int
) -> Generator[tuple[int, int], None, ErrorEstimate]:
    """Estimate the error of some planes, each of which is restored with its neighbours again."""
    from napari_rednet.quality import estimate_error_steps
    from napari_rednet.restoration.denoise import denoise_steps

    part, noise, reach = request.before, request.noise or [], request.reach()
    places, is_rgb, axis = part.places(), part.is_rgb, part.channel_axis
    settings = {**request.settings, "rgb": is_rgb, "along": 0}
    # Planes of several channels lie along the first axis, each with its own.
    own = [noise if is_rgb else noise[0 if axis is None else place[axis]] for place in places]

    def restore(nudged: Any) -> WorkerSteps:
        restored = []
        for number, (plane, place) in enumerate(zip(nudged, places, strict=True)):
            yield number, len(places)
            near, middle = part.with_neighbours(place, along, reach, whole=False)
            near = near.astype(np.float64)
            near[middle] = plane
            steps = denoise_steps(near, noise=own[number], **settings)
            found = drain(steps, False, "estimate error")
            restored.append(found[middle])
        return np.stack(restored)

    before, after = (np.stack([p.middle(place) for place in places]) for p in (part, request.after))
    models: Any = noise if is_rgb else own
    axis = -1 if is_rgb else 0
    before = _as_repaired(before, after, axis, models, settings)
    steps = estimate_error_steps(before, after, restore, noise=models, channel_axis=axis)
    return (yield from steps)


def _as_repaired(
    before: npt.NDArray[Any],
    after: npt.NDArray[Any],
    axis: int | None,
    noise: Sequence[NoiseModel],
    settings: dict[str, Any],
) -> npt.NDArray[np.float64]:
    """The image without what was repaired in it, such as hot pixels, which are no noise.

    Denoising changes no pixel as much. A single pixel of 65535 would outweigh all noise.
    """
    from napari_rednet.engine.network import MOST_CHANGE

    image, restored = (np.array(one, np.float64) for one in (before, after))
    if settings.get("defects") == "keep":
        return image
    most = _MORE * MOST_CHANGE * max(1.0, settings.get("strength", 1.0))
    for key in PlaneLayout(image.shape, axis).planes():
        plane, found = image[key.index], restored[key.index]
        repaired = np.abs(plane - found) > most * noise[key.channel].std(found) + 1  # of rounding
        plane[repaired] = found[repaired]
    return image


class UncertaintyControls(QWidget):
    """The button that starts it."""

    def __init__(self) -> None:
        super().__init__()
        self.start = make_button(
            "Uncertainty",
            "Add a layer that says how far the result may be off at each pixel, in image units: by "
            "how alike it comes out in eight orientations, and after noise is added again. What a "
            "network always gets wrong is not seen. Takes 12 times as long as denoising.",
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.start)

    def offer(self, *, has_pair: bool) -> None:
        """Enable the button if there is a pair."""
        set_needs(self.start, NEEDS_PAIR, missing=not has_pair)


def uncertainty_map_steps(request: Request) -> WorkerSteps:
    """Compute the uncertainty of a result: (..., Y, X), of colours as a whole."""
    from napari_rednet.quality.uncertainties import uncertainty_steps
    from napari_rednet.restoration.denoise import denoise_steps

    before, noise, along = request.before, request.noise or [], request.along
    axis, middle = before.channel_axis, None
    if along is not None and before.index:
        # Its neighbours have noise as well, which comes again.
        index, reach = before.index, request.reach()
        image, middle = before.with_neighbours(index, along, reach, whole=True)
        along = 0
    else:
        image = np.asarray(before.array)
    models: Any = noise if axis is not None else noise[0]
    settings = {**request.settings, "ensemble": False, "dtype": "float32", "along": along}
    settings |= {"rgb": before.is_rgb, "channel_axis": axis, "noise": models}
    restore = partial(_denoised, denoise_steps, settings)
    found = yield from uncertainty_steps(image, restore, noise=models, channel_axis=axis)
    if middle is not None:
        found = found[middle]
    return np.sqrt(np.square(found).mean(-1)) if before.is_rgb else found


def _denoised(steps: Callable[..., WorkerSteps], settings: dict[str, Any], image: Any) -> Any:
    return drain(steps(image, **settings), False, "uncertainty")


def uncertainty_layer(after: Image, index: tuple[int, ...], found: npt.NDArray[Any]) -> Image:
    """A layer of the uncertainty of a result, or of one plane of it, in its place."""
    plane: Crop = (*((i, i + 1) for i in index), None, None)
    options = layer_options(after, plane if index else None)
    data = found[(None,) * len(index)]
    return Image(
        data,
        name=f"{after.name}: uncertainty",
        colormap="magma",
        contrast_limits=(0, max(float(np.percentile(data, _SHOWN)), 1e-6)),
        multiscale=False,
        **{name: options[name] for name in _PLACING if name in options},
    )
