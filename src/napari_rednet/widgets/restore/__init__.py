"""The windows that restore: denoise, deblur, super-resolve, deblock, inpaint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from magicgui.widgets import PushButton
from magicgui.widgets.bases import ValueWidget, Widget
from napari.layers import Image, Labels, Layer, Shapes
from napari.viewer import Viewer

from napari_rednet.psf import from_beads
from napari_rednet.sample_data import MASK, PSF
from napari_rednet.widgets.restore.base import RestoreWidget
from napari_rednet.widgets.restore.extent import pixel_sizes, plane_axis
from napari_rednet.widgets.restore.jobs import restored_plane_by_plane
from napari_rednet.widgets.restore.noise_controls import NoiseAwareWidget
from napari_rednet.widgets.restore.paired_layers import (
    FOUND,
    Companion,
    LayerMask,
    layer_mask,
    only_labels,
)
from napari_rednet.widgets.restore.psf_controls import LAYER, ChosenPsf, PsfControls
from napari_rednet.widgets.shared.controls import ChoiceBox
from napari_rednet.widgets.shared.docks import shown_errors
from napari_rednet.widgets.shared.layers import (
    LayerImage,
    finer_grid,
    first_pixel,
    full_resolution,
    insert_quietly,
)
from napari_rednet.widgets.shared.worker import WorkerSteps, compute_in_background

if TYPE_CHECKING:
    from napari_rednet.execution import Restoration

_AVERAGE = (
    "Make a PSF of the beads in the PSF layer, as a layer of its own: those that stand alone are "
    "moved to a common centre, averaged, and freed of the background."
)
_PSF_GAMMA = 0.5  # so that its rings are seen


class DenoiseWidget(NoiseAwareWidget):
    """Remove noise from an image layer."""

    verb = "denoise"

    def arguments_for(self, layer: Image | None) -> dict[str, Any]:
        """Also the number of the axis that planes are restored together along."""
        arguments = super().arguments_for(layer)
        name, axis = arguments["along"], None
        if layer is not None:
            axis = plane_axis(layer, name, self.extent.channels.axis_of(layer))
            if axis is not None and self.extent.count(layer, axis) == 1:
                axis = None  # the plane that is shown is restored alone
        return {**arguments, "along": axis}

    def prepare(self, image: LayerImage, **arguments: Any) -> Restoration:
        """Prepare denoising: each colour has noise of its own, transparency is kept."""
        from napari_rednet.restoration.denoise import prepare_denoise

        return prepare_denoise(
            image.data, rgb=image.rgb, channel_axis=image.channel_axis, **arguments
        )


class DeblurWidget(NoiseAwareWidget):
    """Undo a known blur of an image layer."""

    verb = "deblur"
    preview_remark = "Near edges it may differ a little from the result."
    companion: Companion

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(napari_viewer)
        self.psf.begin()
        for control in (self.common.image, self.extent.channels):
            control.changed.connect(self._fit_psf)
        self._fit_psf()

    def extra_controls(self) -> list[Widget]:
        """The PSF and the noise."""
        self.psf = psf = PsfControls(self._image_layers)
        self.picture = PushButton()
        self.picture.changed.connect(self._show_psf)
        psf.kind.changed.connect(self._name_picture)
        self._name_picture()
        self.companion = Companion(
            PSF, self.common.image, psf.layer, psf.widgets, psf.chosen, psf.choose
        )
        return [*psf.widgets, self.picture, *super().extra_controls()]

    def remembered(self) -> list[ValueWidget]:
        """Also the PSF."""
        return [*super().remembered(), *self.psf.remembered]

    def parameters(self) -> dict[str, Any]:
        """Also the PSF; instead of one that came with a sample, the kind wanted before."""
        kept = super().parameters()
        came = self.companion.layer is not None
        return kept | {self.psf.kind.name: self.psf.wanted} if came else kept

    def arguments_for(self, layer: Image | None) -> dict[str, Any]:
        """Also the PSF and its centre."""
        chosen = self.psf.psf()
        return {
            **super().arguments_for(layer),
            "psf": chosen,
            "center": chosen.center,
        }

    def _name_picture(self) -> None:
        is_layer = self.psf.kind.value == LAYER
        self.picture.text = "Average beads" if is_layer else "Show PSF"
        self.picture.tooltip = _AVERAGE if is_layer else "Add this PSF as a layer, to look at it."

    def _show_psf(self) -> None:
        """Add the PSF as a layer: the generated one, or the mean of the beads in a layer."""
        with shown_errors():
            if self.psf.kind.value != LAYER:
                self._add_psf(f"PSF ({self.psf.kind.value})", self.psf.psf().array)
                return
            beads = self.psf.layer.value
            if beads is None:
                raise ValueError("choose the layer with the image of beads under PSF layer")
            take = self._while_open(partial(self._take_mean_bead, beads))
            compute_in_background(partial(from_beads, np.asarray(full_resolution(beads))), take)

    def _take_mean_bead(self, beads: Image, mean: npt.NDArray[Any]) -> None:
        layer = self._add_psf(f"{beads.name}: mean bead", mean, beads)
        self.psf.choose(layer)
        self.psf.center.value = "array"  # which it has been moved to

    def _add_psf(self, name: str, array: Any, like: Image | None = None) -> Image:
        """Add a PSF in the middle of what it was made for, with the same pixels."""
        like = self.common.image.value if like is None else like
        options: dict[str, Any] = {}
        if like is not None and array.ndim <= like.ndim:
            own = slice(like.ndim - array.ndim, None)
            middle = np.mean(like.extent.world, axis=0)[-2:]
            place = np.r_[self.viewer.dims.point[-array.ndim : -2], middle]
            options["scale"] = scale = like.scale[own]
            options["translate"] = place - scale * (np.array(array.shape) // 2)
            options |= {name: getattr(like, name)[own] for name in ("units", "axis_labels")}
        layer = Image(array, name=name, gamma=_PSF_GAMMA, **options)
        insert_quietly(self.viewer, len(self.viewer.layers), layer)
        return layer

    def _fit_psf(self) -> None:
        """Take the sizes of the pixels from the layer, and a volume for what it is."""
        layer = self.common.image.value
        if layer is not None:
            with self.companion.left_alone():
                self.psf.fit(pixel_sizes(layer, self.extent.channels.axis_of(layer)))

    def prepare(self, image: LayerImage, **arguments: Any) -> Restoration:
        """Prepare deblurring of each colour by itself; transparency is kept."""
        from napari_rednet.restoration.deblur import prepare_deblur

        psf: ChosenPsf = arguments.pop("psf")
        axis = image.channel_axis
        return prepare_deblur(image.array, psf.array, channel_axis=axis, **arguments)


class SuperResolveWidget(RestoreWidget):
    """Enlarge an image layer; the result covers the same part of the world with more pixels."""

    verb = "super_resolve"

    def prepare(self, image: LayerImage, **arguments: Any) -> Restoration:
        """Prepare enlarging, transparency included."""
        from napari_rednet.restoration.super_resolve import prepare_super_resolve

        return prepare_super_resolve(
            image.data, rgb=image.rgb, channel_axis=image.channel_axis, **arguments
        )

    def result_options(
        self, source: Image, image: LayerImage, arguments: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Also the size and position of the smaller pixels."""
        finer = finer_grid(source, arguments["scale"], first_pixel(image.crop))
        return super().result_options(source, image, arguments) | finer


class DeblockWidget(RestoreWidget):
    """Remove the blocks and ringing of JPEG coding from an image layer."""

    verb = "deblock"

    def prepare(self, image: LayerImage, **arguments: Any) -> Restoration:
        """Prepare deblocking; transparency is kept."""
        from napari_rednet.restoration.deblock import prepare_deblock

        return prepare_deblock(
            image.data, rgb=image.rgb, channel_axis=image.channel_axis, **arguments
        )


class InpaintWidget(RestoreWidget):
    """Fill missing pixels of an image layer."""

    verb = "inpaint"
    companion: Companion

    def extra_controls(self) -> list[Widget]:
        """The mask."""
        self.mask = ChoiceBox(
            name="mask",
            label="Mask",
            choices=self._masks,
            tooltip="What to fill: the dead and hot pixels and lines of the camera, found in the "
            "image itself, or what is painted in a Labels layer or drawn in a Shapes layer.",
        )
        self._watched: Labels | Shapes | None = None
        self.mask.changed.connect(self._watch_mask)
        self.companion = Companion(
            MASK,
            self.common.image,
            self.mask,
            [self.mask],
            self.mask.get_value,
            self._choose,
            lambda image: only_labels(image, self.viewer.layers),
        )
        return [self.mask]

    def remembered(self) -> list[ValueWidget]:
        """Also the mask, by its name."""
        return [*super().remembered(), self.mask]

    def parameters(self) -> dict[str, Any]:
        """Also the mask, unless it came with a sample."""
        kept = super().parameters()
        return kept if self.companion.layer is None else kept | {self.mask.name: FOUND}

    def arguments_for(self, layer: Image | None) -> dict[str, Any]:
        """Also a snapshot of the mask; None if defects are to be found."""
        chosen = self.mask.value
        mask = None if chosen == FOUND else layer_mask(chosen, layer)
        return {**super().arguments_for(layer), "mask": mask}

    def prepare(
        self, image: LayerImage, *, mask: LayerMask | None = None, **arguments: Any
    ) -> Restoration:
        """Prepare inpainting; transparency is kept."""
        from napari_rednet.restoration.inpaint import prepare_inpaint

        missing = None if mask is None else mask.of(image)
        return prepare_inpaint(image.array, missing, channel_axis=image.channel_axis, **arguments)

    def steps(self, image: LayerImage, **arguments: Any) -> WorkerSteps:
        """Fill, and count what is filled; not in lazy masks, which are not computed for that."""
        counts: dict[str, Any] = {}
        restoration = self.prepare(image, **arguments)
        if arguments.get("mask") is None:
            yield "Looking for dead and hot pixels…"
        mask, axes = restoration.mask(), restoration.job.layout.spatial_axes
        if isinstance(mask, np.ndarray):
            seen = mask[..., :1] if image.rgb else mask  # once for all colours
            counts["filled"] = int(seen.sum())
            counts["filled_planes"] = int(seen.any(axes).sum())
        yield "Restoring…"
        restoration = replace(restoration, find_mask=lambda: mask)
        restored = yield from restored_plane_by_plane(restoration, image)
        return image.with_alpha(restored), counts

    def _choose(self, layer: Layer | None) -> None:
        self.mask.value = FOUND if layer is None else layer

    def _watch_mask(self) -> None:
        """Update the preview when the chosen mask layer is edited."""
        chosen = self.mask.value
        if self._watched is not None:
            for signal in _edits(self._watched):
                signal.disconnect(self._follow_mask)
        self._watched = None if chosen == FOUND else chosen
        if self._watched is not None:
            for signal in _edits(self._watched):
                signal.connect(self._follow_mask)

    def _follow_mask(self) -> None:
        if self.preview.is_on:
            self.preview.parameters_changed()

    def _masks(self, *_: Any) -> list[Any]:
        layers = [layer for layer in self.viewer.layers if isinstance(layer, (Labels, Shapes))]
        return [FOUND, *layers]


def _edits(layer: Labels | Shapes) -> list[Any]:
    """Signals that a mask layer has been edited."""
    events = layer.events
    return [events.data] if isinstance(layer, Shapes) else [events.data, events.paint]
