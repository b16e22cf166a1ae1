"""The controls of a batch: which files, what to do, where results go; and files as layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from magicgui.widgets import Container, FileEdit, LineEdit
from magicgui.widgets.bases import ValueWidget
from napari.layers import Image, Labels
from napari.viewer import Viewer

from napari_rednet.batch import BatchFile
from napari_rednet.errors import ImageFileError
from napari_rednet.io import OpenImage, read_image
from napari_rednet.tasks import VERBS
from napari_rednet.widgets.batch.run import Order
from napari_rednet.widgets.restore.noise_controls import (
    make_noise_fields,
    noise_of_fields,
    show_what_empty_means,
)
from napari_rednet.widgets.restore.paired_layers import FOUND, painted_mask
from napari_rednet.widgets.restore.parameter_menu import PresetMenu
from napari_rednet.widgets.restore.psf_controls import PsfControls
from napari_rednet.widgets.shared.controls import (
    ChoiceBox,
    Choices,
    ModelControls,
    OptionControls,
    fit_parts,
)
from napari_rednet.widgets.shared.layers import finer_grid, layer_options
from napari_rednet.widgets.shared.persistence import Parameters, read_controls, write_controls
from napari_rednet.widgets.shared.style import ALIGNED_LABELS

MEASURED, TYPED = "measured in each image", "typed"
IN_A_FILE = "from a file"
EXISTING = MappingProxyType(
    {
        "resume": "resume (go on)",
        "skip": "skip (leave)",
        "overwrite": "force (make again)",
    }
)
"""What becomes of results that exist, in the words of the command line's options."""
_PATTERN = (
    "Which images of the folder, such as *.tif or **/A1.tif. * stands for any part of a name, ** "
    "for any number of folders. Empty: all images below the folder."
)


class BatchControls(Container):
    """Controls of a batch.

    Parameters
    ----------
    layers, masks : callable
        Return the layers that may hold a PSF, and those that may be the mask of all images.
    """

    verb = "batch"  # whose presets these are

    def __init__(
        self, layers: Callable[..., list[Any]], masks: Callable[..., list[Labels]]
    ) -> None:
        super().__init__()
        self.psf = PsfControls(layers)
        self.native.setStyleSheet(ALIGNED_LABELS)
        self.margins = (0, 0, 0, 0)
        self._make_task()
        self._make_places()
        self._make_model()
        self._make_noise()
        self._make_mask(masks)
        self.extend([self.task, self.source, self.pattern, self.results, self.existing])
        self.extend(self.psf.widgets)
        self.extend([self.noise, *self.noise_fields.values(), self.mask, self.mask_file])
        self.extend([self.model, self.model_file, *self.option.values(), self.device])
        self.menu = PresetMenu(self)
        self.append(self.menu.button)
        self.native.layout().addStretch()
        for control in (self.task, self.noise, self.mask):
            control.changed.connect(self._show)
        self._show()

    def order(self) -> Order:
        """What they say.

        Raises
        ------
        ValueError
            In words for the user, if something is missing.
        """
        pattern = self.pattern.value.strip()
        if Path(pattern).is_absolute() or ".." in Path(pattern).parts:
            raise ValueError("the pattern must be for names below the folder, such as **/*.tif")
        return Order(
            verb=self.task.value,
            arguments=self._arguments(),
            source=_path(self.source, "choose the folder of the images under Images"),
            pattern=pattern,
            out=_path(self.results, "choose a folder for the results under Results"),
            existing=self.existing.value,
        )

    def _arguments(self) -> dict[str, Any]:
        """What the controls say that the function is told."""
        known = {
            **self.option.arguments(),
            **self._models.arguments(),
        }
        options = VERBS[self.task.value].options
        if "psf" in options:
            chosen = self.psf.psf()
            known |= {"psf": chosen.array, "center": chosen.center}
        if "noise" in options:
            is_typed = self.noise.value == TYPED
            known["noise"] = noise_of_fields(self.noise_fields) if is_typed else None
        if "mask" in options:
            known["mask"] = self._mask()
        return {name: value for name, value in known.items() if name in options}

    def _mask(self) -> Any:
        """The mask, or its file, which is read later; None if it is found in each image."""
        if self.mask.value == IN_A_FILE:
            return _path(self.mask_file, "choose the file of the mask under Mask file")
        return painted_mask(self.mask.value) if isinstance(self.mask.value, Labels) else None

    def remembered(self) -> list[ValueWidget]:
        """What a preset keeps: all but the folders."""
        return [
            self.task,
            *self.psf.remembered,
            self.noise,
            *self.noise_fields.values(),
            self.mask,
            self.mask_file,
            self.pattern,
            self.existing,
            self.model,
            self.model_file,
            *self.option.values(),
            self.device,
        ]

    def parameters(self) -> Parameters:
        """The values of the controls, as JSON knows them."""
        return read_controls(self.remembered())

    def set_parameters(self, parameters: Parameters) -> None:
        """Give the controls their values back."""
        write_controls(self.remembered(), parameters)

    def adopt(self, verb: str, parameters: Parameters) -> None:
        """Take over the settings of a window that restores layers.

        Raises
        ------
        ValueError
            In words for the user, if there are some that hold for single layers alone; all others
            are taken over.
        """
        noise = parameters.get("noise")
        self.task.value = verb
        write_controls(self.remembered(), {n: v for n, v in parameters.items() if n != "noise"})
        self._models.want(parameters)
        self.noise.value = TYPED if noise else MEASURED
        for name, value in (noise or [{}])[0].items():
            self.noise_fields[name].value = f"{value:.6g}"
        mask = parameters.get("mask")
        if noise and any(one != noise[0] for one in noise):
            raise ValueError("Batch takes one noise for all channels; that of the first is typed")
        if mask is not None and mask != self.mask.current_choice:
            raise ValueError(f"the mask of all files may be a Labels layer; {mask!r} is none")

    def offer(self, choices: Choices, model: str | None = None) -> None:
        """Show what there is to choose from, and choose a model if one is named."""
        self._models.offer(choices, model)

    # The window ----------------------------------------------------------------------------

    def _make_task(self) -> None:
        self.task = ChoiceBox(
            name="task",
            label="Task",
            choices=[(verb.label, verb.name) for verb in VERBS.values()],
            tooltip="What is done to each image.",
        )

    def _make_places(self) -> None:
        self.source = _folder_edit(
            "source", "Images", "The folder of the images: TIFF files and .zarr folders."
        )
        self.pattern = LineEdit(
            name="pattern",
            label="Pattern",
            tooltip=_PATTERN,
        )
        self.pattern.native.setPlaceholderText("all images")
        self.results = _folder_edit(
            "results",
            "Results",
            "The folder of the results, made if it is not there. They get the names of the images "
            "and lie in the same folders below it.",
        )
        self.existing = ChoiceBox(
            name="existing",
            label="Existing",
            choices=[(label, value) for value, label in EXISTING.items()],
            tooltip="What becomes of results that exist. resume: left if they are what would be "
            "made again, else made again; what no batch has made is never overwritten. "
            "skip: left as they are, whatever they are. force: made again.",
        )

    def _make_model(self) -> None:
        self._models = ModelControls()
        self.model, self.model_file = self._models.model, self._models.model_file
        self.device = self._models.device
        all_options = {name: v for verb in VERBS.values() for name, v in verb.options.items()}
        self.option = OptionControls(all_options)

    def _make_noise(self) -> None:
        self.noise = ChoiceBox(
            name="noise",
            label="Noise",
            choices=[MEASURED, TYPED],
            tooltip="measured in each image: by itself, each channel too. typed: the values below "
            "for all images, such as those of the camera.",
        )
        self.noise_fields = make_noise_fields()
        show_what_empty_means(self.noise_fields, "type it")

    def _make_mask(self, masks: Callable[..., list[Labels]]) -> None:
        self.mask = ChoiceBox(
            name="mask",
            label="Mask",
            choices=lambda *_: [FOUND, IN_A_FILE, *masks()],
            tooltip="What to fill: the dead and hot pixels and lines found in each image, or the "
            "same pixels in all of them, from an image file or as painted in a Labels layer.",
        )
        self.mask_file = FileEdit(
            mode="r",
            name="mask_file",
            label="Mask file",
            tooltip="Of the size of the images; pixels that are not 0 are filled.",
        )
        fit_parts(self.mask_file)

    def _show(self) -> None:
        """Show what the chosen function takes."""
        options = VERBS[self.task.value].options
        self.noise.visible = "noise" in options
        for number in self.noise_fields.values():
            number.visible = "noise" in options and self.noise.value == TYPED
        self.mask.visible = "mask" in options
        self.mask_file.visible = "mask" in options and self.mask.value == IN_A_FILE
        self.psf.show(is_used="psf" in options)
        for name, control in self.option.items():
            control.visible = name in options


def _folder_edit(name: str, label: str, tooltip: str) -> FileEdit:
    edit = FileEdit(mode="d", name=name, label=label, tooltip=tooltip)
    fit_parts(edit)
    return edit


def _path(edit: FileEdit, otherwise: str) -> Path:
    # An empty path would be the folder that napari was started in.
    text = edit.line_edit.value.strip()
    if not text:
        raise ValueError(otherwise)
    return Path(text).expanduser()


@dataclass(frozen=True)
class FileImage:
    """What an image file gives a layer.

    Parameters
    ----------
    data : array
        Not read into memory, if the file allows it. Colours are its last axis.
    channel_axis : int or None
        Each of these channels becomes a layer.
    rgb : bool
        Whether there are colours.
    options : mapping
        Arguments of `add_image` that place it: pixel sizes.
    """

    data: Any
    channel_axis: int | None
    rgb: bool
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def channels(self) -> list[Any]:
        """The data of each layer."""
        axis = self.channel_axis
        if axis is None:
            return [self.data]
        before = (slice(None),) * axis
        return [self.data[(*before, i)] for i in range(self.data.shape[axis])]


def read_files(file: BatchFile, *, with_source: bool) -> list[FileImage]:
    """Open the source, if wanted, and the result of a file; for another thread."""
    paths = [file.source, file.result] if with_source else [file.result]
    return [read_layer_image(path) for path in paths]


def read_layer_image(path: Path) -> FileImage:
    """Open an image file as it is to be shown.

    Raises
    ------
    ImageFileError
        If it cannot be read.
    """
    image = read_image(path)
    data, axis, options = _lazy(image.data), image.channel_axis, _placing(image)
    if axis is not None and image.is_rgb and data.shape[axis] in (3, 4):
        return FileImage(np.moveaxis(data, axis, -1), None, True, options)
    return FileImage(data, axis, False, options)


def add_files(viewer: Viewer, file: BatchFile, suffix: str, images: list[FileImage]) -> list[Image]:
    """Add what `read_files` returns; a result over its source looks like it, in the same place."""
    *sources, result = images
    name = file.name
    if not sources:
        return _added(viewer, result, name + suffix)
    layers = _added(viewer, sources[0], name)
    factor = result.data.shape[_row_axis(result)] // sources[0].data.shape[_row_axis(sources[0])]
    for layer, data in zip(list(layers), result.channels, strict=False):
        placed = layer_options(layer) | (finer_grid(layer, factor) if factor > 1 else {})
        layers.append(viewer.add_image(data, name=layer.name + suffix, **placed))
    return layers


def _added(viewer: Viewer, image: FileImage, name: str) -> list[Image]:
    axis = {} if image.channel_axis is None else {"channel_axis": image.channel_axis}
    rgb = {} if axis else {"rgb": image.rgb}
    added = viewer.add_image(image.data, name=name, **axis, **rgb, **image.options)
    return list(added) if isinstance(added, list) else [added]


def _row_axis(image: FileImage) -> int:
    return -3 if image.rgb else -2


def _lazy(data: Any) -> Any:
    """An array that layers can cut into planes and channels without reading all of it."""
    if isinstance(data, np.ndarray):
        return data
    import dask.array as da

    return da.from_array(data, chunks=data.chunks)


def _placing(image: OpenImage) -> dict[str, Any]:
    """Pixel sizes and units, without those of channels; nothing where the file has none."""
    from napari_rednet.io.ome_zarr import as_zarr_description

    try:
        described = as_zarr_description(image)  # type: ignore[arg-type]
    except ImageFileError:
        return {}
    known = dict(
        zip(
            described.axes,
            zip(described.scale, described.translation, described.units, strict=True),
            strict=True,
        )
    )
    placed = [known[letter] for letter in image.axes if letter not in "CS"]
    scale, translate, units = zip(*placed, strict=True)
    return {"scale": scale, "translate": translate, "units": [unit or "pixel" for unit in units]}
