"""The runs of a restoration widget on layers: what is asked for, done, and added."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from napari.layers import Image
from napari.utils.notifications import show_error

from napari_rednet.calls import Call
from napari_rednet.execution import repaired_words
from napari_rednet.widgets import jobs, memory
from napari_rednet.widgets.layers import as_shown, check_restorable, insert_quietly
from napari_rednet.widgets.worker import Steps

if TYPE_CHECKING:
    from napari_rednet.widgets.base import RestoreWidget


class LayerRuns:
    """Restores the layers that a widget's controls say, in one run.

    Parameters
    ----------
    widget : RestoreWidget
        Whose hooks do the work.
    """

    def __init__(self, widget: RestoreWidget) -> None:
        self._widget = widget
        self._repaired = 0

    def present_call(self) -> Call | None:
        """What a run would do now to the chosen layer; None without one."""
        widget, layer = self._widget, self._widget.common.image.value
        return None if layer is None else self._job(layer).call(widget.verb, widget.known_used())

    def start(self) -> None:
        """Restore in a worker; each layer gets a result of its own, as soon as it is done."""
        widget, layers = self._widget, self._widget.extent.layers()
        if not layers:
            return
        try:
            todo = jobs.prepare(layers, self._job)
        except ValueError as error:
            show_error(str(error))
            return
        widget.preview.switch_off()
        memory.remember(widget.verb, widget.parameters())
        self._repaired = 0
        others = f" {len(todo) - 1} other layers and" if len(todo) > 1 else ""
        run = jobs.JobsRun(todo, self._restore)
        show = partial(self._show, run)
        widget.start(run.steps, widget.row.doing + others, show, show)

    def _job(self, layer: Image) -> jobs.Job:
        check_restorable(layer)
        widget = self._widget
        return jobs.make_job(layer, widget.extent.image(layer), widget.arguments_for(layer))

    def _restore(self, job: jobs.Job) -> Steps:
        """Run the widget's steps with a loaded model, and record how."""
        from napari_rednet.zoo import load_model_for

        model = load_model_for(self._widget.row.task, job.arguments["model"])
        steps = self._widget.steps(job.image, **{**job.arguments, "model": model})
        return (yield from jobs.recorded(job, self._widget.verb, model, steps))

    def _show(self, run: jobs.JobsRun, _: None = None) -> None:
        """Add the results that there are; the last one is selected, as users expect of napari.

        Those before it come quietly: whoever paints or looks on meanwhile keeps the selection.
        """
        for outcome in run.take():
            if isinstance(outcome, jobs.Failed):
                show_error(f"{outcome.layer.name}: {outcome.error}")
            elif outcome.layer in self._widget.viewer.layers:
                self._add_result(outcome, selected=run.is_over)
            self._widget.runs.let_go_of(outcome.layer)
        if run.is_over and self._repaired:
            self._widget.runs.tell_result(repaired_words(self._repaired).capitalize() + ".")

    def _add_result(self, result: jobs.Restored, *, selected: bool) -> None:
        widget, source = self._widget, result.layer
        layer = Image(
            **as_shown(result.array, rgb=source.rgb),
            name=f"{source.name} {widget.row.result}",
            metadata={**source.metadata, "napari_rednet": result.record},
            **widget.result_options(source, result.record),
        )
        self._repaired += result.record.get("repaired", 0)
        if selected:
            widget.viewer.add_layer(layer)
        else:
            insert_quietly(widget.viewer, len(widget.viewer.layers), layer)
        if source is widget.common.image.value:
            widget.show_used(result.used)
