"""Base of the restoration windows: controls, runs and results."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from magicgui.widgets import Container
from magicgui.widgets.bases import ValueWidget, Widget
from napari.layers import Image, Layer
from napari.utils.notifications import show_error
from napari.viewer import Viewer
from qtpy.compat import isalive

from napari_rednet.execution import Repairs, is_dask, repaired_words
from napari_rednet.provenance import Call
from napari_rednet.tasks import VERBS, Verb
from napari_rednet.widgets.restore import jobs
from napari_rednet.widgets.restore.extent import ExtentControls
from napari_rednet.widgets.restore.jobs import SoFar, SoFarLayer, restored_plane_by_plane
from napari_rednet.widgets.restore.paired_layers import Companion
from napari_rednet.widgets.restore.parameter_menu import ParameterMenu
from napari_rednet.widgets.restore.preview import Preview, Previewer
from napari_rednet.widgets.restore.run_control import RunControl, TimeEstimate, in_words
from napari_rednet.widgets.shared import model_chosen, models_changed, persistence
from napari_rednet.widgets.shared.controls import (
    LOOKING,
    Choices,
    CommonControls,
    OptionControls,
    find_choices,
    widen_unlabelled,
)
from napari_rednet.widgets.shared.docks import Scrolling, TabIfCrowded
from napari_rednet.widgets.shared.layers import (
    LayerImage,
    as_shown,
    brighten,
    check_restorable,
    image_layers,
    insert_quietly,
    is_seen_through,
    layer_image,
    layer_options,
    look_of,
)
from napari_rednet.widgets.shared.persistence import read_controls, write_controls
from napari_rednet.widgets.shared.style import (
    ALIGNED_LABELS,
    CANCEL_KEYS,
    RUN_KEYS,
    SampleHint,
    add_shortcut,
    set_look,
)
from napari_rednet.widgets.shared.worker import WorkerSteps, compute_in_background

if TYPE_CHECKING:
    from napari_rednet.execution import Restoration


_MARGIN = 4  # narrow, as scroll bars take their part of narrow docks


class RestoreWidget(Container):
    """Base of the restoration windows.

    Subclasses set `verb`, a key of `tasks.VERBS`, and override `prepare` and other hooks. Of these,
    `prepare`, `complete` and `steps` run in a worker thread and must not touch any control.
    `preview_remark` is shown with previews that may differ from the result. `companion`, made in
    `extra_controls`, chooses the PSF or mask that comes with a sample.
    """

    verb: ClassVar[str]
    preview_remark: ClassVar[str] = ""
    companion: Companion | None = None

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        row = self.row
        self.hint = SampleHint(self.native, napari_viewer, row.sample, self._use_sample)
        self.common = CommonControls(self._image_layers, row.options)
        self.extent = ExtentControls(napari_viewer, lambda: self.common.image.value)
        self.preview = Preview(
            napari_viewer,
            lambda: self.common.image.value,
            self.extent.previewed,
            self.arguments,
            Previewer(row.task, self.complete, self.prepare),
            self.preview_remark,
        )
        self.runs = runs = RunControl(napari_viewer)
        self.run, self.cancel = runs.run, runs.cancel
        self.progress, self.status = runs.progress, runs.status
        ask, tell = self._ask_for_estimate, runs.tell_estimate
        self.estimate = TimeEstimate(self.native, self.verb, row.task, self.prepare, ask, tell)
        self._arrange()
        self.layer_runs = LayerRuns(self)
        self.menu = ParameterMenu(
            self,
            self.viewer,
            self.layer_runs.present_call,
            self.extent.channels.told,
            self.extent.part_in_words,
        )
        self.runs.widgets[0].append(self.menu.button)
        self._connect()
        self.set_parameters(persistence.last_parameters(self.verb))
        self._choose_active_layer()
        if self.companion is not None:
            self.companion.begin()
        self._find_choices()

    def reset_choices(self, *_: Any) -> None:
        """Refresh the layer choices; called by napari when layers are added, removed or renamed."""
        if not isalive(self.native):  # see RunningWidget
            return
        super().reset_choices()
        self.controls.reset_choices()
        if self.companion is not None:
            self.companion.update()

    @property
    def row(self) -> Verb:
        """The entry of `verb` in `tasks.VERBS`."""
        return VERBS[self.verb]

    @property
    def option(self) -> OptionControls:
        """The controls of the simple options of the function."""
        return self.common.option

    # Hooks ---------------------------------------------------------------------------------

    def extra_controls(self) -> list[Widget]:
        """Controls of this task, shown below the model."""
        return []

    def arguments_for(self, layer: Image | None) -> dict[str, Any]:  # noqa: ARG002
        """Arguments of `steps` for a layer; a `ValueError` is worded for the user."""
        return self.common.arguments()

    def remembered(self) -> list[ValueWidget]:
        """Controls whose values are kept between sessions."""
        return self.common.remembered

    def parameters(self) -> dict[str, Any]:
        """The values of the remembered controls, in JSON types."""
        return read_controls(self.remembered())

    def set_parameters(self, parameters: persistence.Parameters) -> None:
        """Set the remembered controls, as far as the values fit."""
        write_controls(self.remembered(), parameters)
        self.common.want(parameters)

    def known_used(self) -> dict[str, Any]:
        """Values that copied code has to state; a `ValueError`, if unknown yet, is for the user."""
        return {}

    def prepare(self, image: LayerImage, **arguments: Any) -> Restoration:
        """Check the arguments, but compute nothing yet."""
        raise NotImplementedError

    def complete(self, image: LayerImage, arguments: Mapping[str, Any]) -> WorkerSteps:  # noqa: ARG002
        """Compute arguments that the controls leave open; return all arguments of `prepare`."""
        yield 0, 0
        return arguments

    def steps(self, image: LayerImage, **arguments: Any) -> WorkerSteps:
        """Restore: yield (done, total), words on what is done, or a `SoFar`.

        Returns the array to show and a dict of what was used.
        """
        repairs = Repairs()
        restoration = self.prepare(image, **arguments)
        yield "Restoring…"
        restored = yield from restored_plane_by_plane(restoration, image, repairs)
        used = {"repaired": repairs.count} if self.row.repairs else {}
        return image.with_alpha(restored), used

    def show_used(self, used: dict[str, Any], channels: range) -> None:
        """Show values that a run has determined in some channels."""

    def layer_changed(self, image: LayerImage | None) -> None:
        """React to another selected layer, or to none."""

    def result_options(
        self,
        source: Image,
        image: LayerImage,
        arguments: Mapping[str, Any],  # noqa: ARG002 - of others
    ) -> dict[str, Any]:
        """Arguments of `add_image` that place the result of an image of a layer."""
        return layer_options(source, image.crop)

    # Runs ----------------------------------------------------------------------------------

    def start(
        self,
        make_steps: Callable[[], WorkerSteps],
        doing: str,
        take: Callable[..., None],
        follow: Callable[[Any], None] | None = None,
        on_end: Callable[[], None] | None = None,
    ) -> None:
        """Run steps on the selected layer; `take` gets the result, `follow` all that is yielded."""
        source, name = self.common.image.value, self.common.image.current_choice
        self.runs.start(make_steps, f"{doing} {name}", source, take, follow, on_end)

    def arguments(self) -> dict[str, Any]:
        """`arguments_for` the selected layer."""
        return self.arguments_for(self.common.image.value)

    @property
    def is_running(self) -> bool:
        """True while a run works or waits."""
        return self.runs.is_running

    def selected(self) -> LayerImage | None:
        """The image of the selected layer; None without one."""
        layer = self.common.image.value
        if layer is None:
            return None
        return layer_image(layer, channel=self.extent.channels.axis_of(layer))

    def _ask_for_estimate(self) -> tuple[list[LayerImage], Mapping[str, Any]]:
        """Images and arguments of a run, for the time estimate; lazy results take no time."""
        images = [self.extent.image(layer) for layer in self.extent.layers()]
        return [image for image in images if not is_dask(image.data)], self.arguments()

    # The window ----------------------------------------------------------------------------

    def _arrange(self) -> None:
        set_look(self.native, ALIGNED_LABELS)
        parameters = [*self.common.source, *self.extra_controls(), *self.common.computing]
        parameters[1:1] = self.extent.widgets
        for control in parameters:
            control.changed.connect(self.preview.parameters_changed)
            control.changed.connect(self.estimate.request)
        # Buttons are reached however low the window is.
        self.controls = Container(widgets=parameters, labels=True)
        self.controls.margins = (0, 0, 0, 0)
        self.margins = (_MARGIN,) * 4
        layout, above = self.native.layout(), [self.hint, Scrolling(self.controls.native)]
        for part in above:  # Tab goes through the parts in the order in which they are added
            layout.addWidget(part)
        self.extend([*self.preview.widgets, *self.runs.widgets])
        for place, part in enumerate(above):  # magicgui has put its own before them
            layout.removeWidget(part)
            layout.insertWidget(place, part)
        layout.addStretch()
        for rows in (self.controls, self):
            widen_unlabelled(rows)
        TabIfCrowded(self.native)
        add_shortcut(self.native, self.run.native, RUN_KEYS)
        add_shortcut(self.native, self.cancel.native, CANCEL_KEYS)

    def _connect(self) -> None:
        self.run.changed.connect(self.layer_runs.start)
        self.common.image.changed.connect(self._change_layer)
        self.native_parent_changed.connect(self._stop_if_closed)
        models_changed.connect(self._follow_models)
        model_chosen.connect(self._follow_models)
        self._change_layer()

    def _find_choices(self, model: str | None = None) -> None:
        """Offer models and devices, and choose a model if one is named."""
        if "torch" in sys.modules:
            self._offer(find_choices(self.row.task), model)
        else:
            self.runs.tell_result(LOOKING)
            # Importing torch would keep the window from opening for seconds.
            offer = self._while_open(partial(self._offer, model=model))
            compute_in_background(partial(find_choices, self.row.task), offer)

    def _offer(self, choices: Choices, model: str | None) -> None:
        self.runs.tell_result("")
        self.common.offer(choices, model)
        self.estimate.request()

    def _follow_models(self, task: str | None = None, name: str | None = None) -> None:
        """Update after models changed, or choose the model that another window asks for."""
        if not isalive(self.native):
            models_changed.disconnect(self._follow_models)
            model_chosen.disconnect(self._follow_models)
        elif task in (None, self.row.task):
            self._find_choices(name)
            self.preview.models_changed()

    def _while_open(self, callback: Callable[..., None]) -> Callable[..., None]:
        """Wrap a callback so that it does nothing once the window is deleted."""

        def call(*arguments: Any) -> None:
            if isalive(self.native):
                callback(*arguments)

        return call

    def _image_layers(self, *_: Any) -> list[Image]:
        return image_layers(self.viewer)

    def _choose_active_layer(self) -> None:
        """Choose the active layer, unless it is hidden.

        After opening a sample, the hidden original may be the active layer.
        """
        active = self.viewer.layers.selection.active
        if active in self.common.image.choices and active.visible:
            self.common.image.value = active

    def _use_sample(self, layers: list[Layer]) -> None:
        self.common.image.value = layers[0]

    def _change_layer(self) -> None:
        self.preview.switch_off()
        self.runs.offer(has_source=self.common.image.value is not None)
        self.hint.setVisible(self.common.image.value is None)
        self.runs.tell_result("")
        self.runs.tell_estimate(None)
        self.extent.update()
        self.layer_changed(self.selected())

    def _stop_if_closed(self) -> None:
        if self.native.parent() is None:
            self.preview.switch_off()
            self.estimate.stop()
            self.runs.stop()


def done_words(records: Sequence[Mapping[str, Any]]) -> str:
    """What a run has done, by the records of its results; empty if it has computed none yet."""
    done = [record for record in records if not record["is_lazy"]]
    if not done:
        return ""
    words = [f"Done in {in_words(sum(record['seconds'] for record in done))}."]
    repaired, filled = (sum(r.get(name, 0) for r in done) for name in ("repaired", "filled"))
    if repaired:
        words.append(f"{repaired_words(repaired).capitalize()}.")
    if filled:
        planes = sum(record["filled_planes"] for record in done)
        words.append(f"Filled {_counted(filled, 'pixel')} in {_counted(planes, 'plane')}.")
    return " ".join([*words, *dict.fromkeys(r["uneven"] for r in done if r.get("uneven"))])


def left_out_words(layers: Sequence[Layer]) -> str:
    """A sentence on channels that are shown, and that a run has left alone; empty without any."""
    if not layers:
        return ""
    names = " and ".join(f"“{layer.name}”" for layer in layers)
    return f"Not done: {names}; to do all channels, select them in the layer list."


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


class LayerRuns:
    """Restores the chosen layers of a window in one run."""

    def __init__(self, widget: RestoreWidget) -> None:
        self._widget = widget
        self._records: list[dict[str, Any]] = []
        self._left_out: list[Image] = []
        self._so_far: SoFarLayer | None = None

    def present_call(self) -> Call | None:
        """The call that a run would make now for the selected layer; None without one."""
        widget, layer = self._widget, self._widget.common.image.value
        return None if layer is None else self._job(layer).call(widget.verb, widget.known_used())

    def start(self) -> None:
        """Start a run; each layer gets a result of its own, as soon as it is done."""
        widget, layers = self._widget, self._widget.extent.layers()
        if not layers:
            return
        try:
            todo = jobs.prepare(layers, self._job)
        except ValueError as error:
            show_error(str(error))
            return
        for layer in layers:
            brighten(layer)
        widget.preview.pause()
        persistence.remember(widget.verb, widget.parameters())
        self._records, self._left_out = [], widget.extent.left_out()
        others = f" {len(todo) - 1} other layers and" if len(todo) > 1 else ""
        run = jobs.JobsRun(todo, self._restore)
        widget.estimate.note_start()
        take, follow = partial(self._show, run), partial(self._follow, run)
        widget.start(run.steps, widget.row.doing + others, take, follow, self._end)

    def _job(self, layer: Image) -> jobs.LayerJob:
        check_restorable(layer)
        widget = self._widget
        image, arguments = widget.extent.image(layer), widget.arguments_for(layer)
        options = widget.result_options(layer, image, arguments)
        return jobs.make_job(layer, image, arguments, options)

    def _restore(self, job: jobs.LayerJob) -> WorkerSteps:
        """Load the model, run the steps of the window, and record how."""
        from napari_rednet.models import model_told

        yield "Loading the model…"
        model = model_told(self._widget.row.task, job.arguments)
        steps = self._widget.steps(job.image, **{**job.arguments, "model": model})
        return (yield from jobs.recorded(job, self._widget.verb, model, steps))

    def _follow(self, run: jobs.JobsRun, progress: Any) -> None:
        if isinstance(progress, SoFar):
            self._show_from_now_on(run.present, progress)
        elif self._so_far is not None:
            self._so_far.update()
        self._show(run)

    def _show_from_now_on(self, job: jobs.LayerJob | None, so_far: SoFar) -> None:
        self._end()
        if job is not None and job.layer in self._widget.viewer.layers:
            self._so_far = SoFarLayer(self._widget.viewer, so_far, job.layer, job.options)

    def _end(self) -> None:
        """The run has ended, or goes on to another layer."""
        if self._so_far is not None:
            self._so_far.close()
            self._so_far = None

    def _show(self, run: jobs.JobsRun, _: None = None) -> None:
        """Add the finished results, and select the last one of the run, as users expect of napari.

        Earlier ones leave the selection alone, since users may be painting meanwhile.
        """
        for outcome in run.take():
            if isinstance(outcome, jobs.Failed):
                show_error(f"{outcome.layer.name}: {outcome.error}")
            elif outcome.layer in self._widget.viewer.layers:
                self._add_result(outcome, selected=run.is_over)
            self._widget.runs.let_go_of(outcome.layer)
        if run.is_over:
            left = left_out_words(self._left_out)
            self._widget.runs.tell_result(f"{done_words(self._records)} {left}".strip())
            if run.is_done(len(self._records)):
                self._widget.estimate.learn(sum(record["seconds"] for record in self._records))

    def _add_result(self, result: jobs.Restored, *, selected: bool) -> None:
        widget, source = self._widget, result.layer
        layer = Image(
            **as_shown(result.array, rgb=result.job.image.rgb),
            name=f"{source.name} {widget.row.result}",
            metadata={**source.metadata, "napari_rednet": result.record},
            **{**result.job.options, **look_of(source)},
        )
        self._records.append(result.record)
        self._end()
        if is_seen_through(source):
            source.visible = False  # or both would be seen at once, twice as bright
        if selected:
            widget.viewer.add_layer(layer)
        else:
            insert_quietly(widget.viewer, len(widget.viewer.layers), layer)
        if source is widget.common.image.value:
            widget.show_used(result.used, result.job.image.channel_numbers)
