"""The controls of a batch: which files, what to do, where results go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from magicgui.widgets import CheckBox, Container, FileEdit, LineEdit
from magicgui.widgets.bases import ValueWidget
from napari.layers import Labels

from napari_rednet.engine.channel import NoiseModel
from napari_rednet.io.sources import Reading
from napari_rednet.io.tiff.image import COMPRESSIONS
from napari_rednet.tasks import VERBS
from napari_rednet.widgets.batch.run import BatchRequest
from napari_rednet.widgets.restore.noise_controls import (
    AUTOMATIC,
    MANUAL,
    make_noise_fields,
    noise_of_fields,
    show_what_empty_means,
)
from napari_rednet.widgets.restore.paired_layers import FOUND, WHOLE, label_of, painted_mask
from napari_rednet.widgets.restore.parameter_menu import PresetMenu
from napari_rednet.widgets.restore.psf_controls import PsfControls
from napari_rednet.widgets.shared.controls import (
    ChoiceBox,
    Choices,
    ModelControls,
    OptionControls,
    fit_parts,
)
from napari_rednet.widgets.shared.persistence import Parameters, read_controls, write_controls

IN_A_FILE, AS_TOLD = "from a file", "as told"
AS_FILES_SAY, OF_CHANNELS = "as the files say", "of each channel"
_MOST_AXES = 4
_ALIGNED_LABELS = "QLabel { min-width: 6.4em; }"  # "Compression" is longer than labels elsewhere
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
        self._channel_noise: list[NoiseModel] = []
        self.native.setStyleSheet(_ALIGNED_LABELS)
        self.margins = (0, 0, 0, 0)
        self._make_task()
        self._make_places()
        self._make_model()
        self._make_sizes()
        self._make_noise()
        self._make_mask(masks)
        self.extend([self.task, self.source, self.pattern, self.results, self.existing])
        self.extend([*self.psf.widgets, self.sizes])
        self.extend([self.noise, *self.noise_fields.values(), self.mask, self.mask_file])
        self.extend([self.model, self.model_file, *self.option.values(), self.device])
        self.extend([self.axes, self.channels, self.series, self.missing, self.compression])
        self.menu = PresetMenu(self)
        self.append(self.menu.button)
        self.native.layout().addStretch()
        for control in (self.task, self.psf.kind, self.noise, self.mask):
            control.changed.connect(self._show)
        self._show()

    def request(self) -> BatchRequest:
        """What they say.

        Raises
        ------
        ValueError
            In words for the user, if something is missing.
        """
        pattern = self.pattern.value.strip()
        if Path(pattern).is_absolute() or ".." in Path(pattern).parts:
            raise ValueError("the pattern must be for names below the folder, such as **/*.tif")
        return BatchRequest(
            verb=self.task.value,
            arguments=self._arguments(),
            source=_path(self.source, "choose the folder of the images under Images"),
            pattern=pattern,
            out=_path(self.results, "choose a folder for the results under Results"),
            existing=self.existing.value,
            reading=self._reading(),
            compression=None if self.compression.value == AS_TOLD else self.compression.value,
        )

    def _reading(self) -> Reading:
        """What is taken of each file."""
        series = self.series.value.strip() or "0"
        if series != "all" and not series.isdecimal():
            raise ValueError(f"Series must be a number from 0 on, or all, got {series!r}")
        told = self.channels.value
        return Reading(
            series=None if series == "all" else int(series),
            missing=self.missing.value,
            axes=self.axes.value.strip() or None,
            channel_axis=None if told == AS_TOLD else told,
        )

    def _arguments(self) -> dict[str, Any]:
        """What the controls say that the function is told."""
        known = {
            **self.option.arguments(),
            **self._models.arguments(),
        }
        options = VERBS[self.task.value].options
        if "psf" in options:
            known |= self._psf()
        if "noise" in options:
            known["noise"] = self._noise()
        if "mask" in options:
            known["mask"] = self._mask()
        return {name: value for name, value in known.items() if name in options}

    def _psf(self) -> dict[str, Any]:
        """The PSF, or the microscope that it depends on besides each file."""
        chosen, microscope = self.psf.psf(), self.psf.microscope()
        if microscope is None or not self.sizes.value:
            return {"psf": chosen.array, "center": chosen.center}
        return {"psf": replace(microscope, prefers_image=True), "center": chosen.center}

    def _noise(self) -> Any:
        if self.noise.value == OF_CHANNELS:
            return list(self._channel_noise)
        return noise_of_fields(self.noise_fields) if self.noise.value == MANUAL else None

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
            self.sizes,
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
            self.axes,
            self.channels,
            self.series,
            self.missing,
            self.compression,
        ]

    def parameters(self) -> Parameters:
        """The values of the controls, as JSON knows them."""
        return read_controls(self.remembered())

    def set_parameters(self, parameters: Parameters) -> None:
        """Give the controls their values back."""
        write_controls(self.remembered(), parameters)

    def adopt(
        self,
        verb: str,
        parameters: Parameters,
        channel_axis: int | None = None,
        part: str = "",
    ) -> None:
        """Take over the settings of a window that restores layers.

        `channel_axis` is one that files do not tell, and `part` names the part of a layer that the
        window restores.

        Raises
        ------
        ValueError
            In words for the user, if there are some that hold for single layers alone; all others
            are taken over.
        """
        noise = parameters.get("noise") or []
        self.task.value = verb
        axis = AS_TOLD if channel_axis is None else channel_axis
        self.channels.value = axis if axis in self.channels.choices else AS_TOLD
        write_controls(self.remembered(), {n: v for n, v in parameters.items() if n != "noise"})
        self._models.want(parameters)
        is_same = all(one == noise[0] for one in noise)
        self._channel_noise = [] if is_same else [NoiseModel(**one) for one in noise]
        self.noise.reset_choices()
        self.noise.value = AUTOMATIC if not noise else MANUAL if is_same else OF_CHANNELS
        for name, value in (noise or [{}])[0].items():
            self.noise_fields[name].value = repr(value)
        mask = parameters.get("mask")
        remarks = [f"files are restored as a whole, not {part} alone"] if part else []
        place = parameters.get("place") or label_of(WHOLE)
        if not noise and place != label_of(WHOLE):
            remarks.append(f"the noise of each file is estimated in all of it, not in {place!r}")
        if mask is not None and mask != self.mask.current_choice:
            remarks.append(f"the mask of all files may be a Labels layer; {mask!r} is none")
        if remarks:
            raise ValueError("; ".join(remarks))

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
        self.series = LineEdit(
            name="series",
            label="Series",
            tooltip="Which image of a file that has several, counted from 0, or all: a result for "
            "each, such as cells-0.tif. Thumbnails and lower resolutions do not count.",
        )
        self.series.native.setPlaceholderText("0")
        self.missing = ChoiceBox(
            name="missing",
            label="Missing",
            choices=[("fail", "error"), ("leave out", "skip")],
            tooltip="What to do about planes that a file declares and does not hold, as of an "
            "acquisition that was aborted, or if other files of the image are missing: fail, or "
            "leave them out.",
        )
        self.axes = LineEdit(
            name="axes",
            label="Axes",
            tooltip="A letter for each axis in the order of the files, such as TZYX, where they "
            "tell none or wrong ones: T, C (channels), Z, Y, X, S (colours), Q (other planes).",
        )
        self.axes.native.setPlaceholderText(AS_FILES_SAY)
        self.compression = ChoiceBox(
            name="compression",
            label="Compression",
            choices=[("as in the files", AS_TOLD), *((name, name) for name in COMPRESSIONS)],
            tooltip="Of the results, which lose nothing by it. Zarrs have none, deflate or zstd; "
            "that of PNG and JPEG files cannot be chosen.",
        )
        self.channels = ChoiceBox(
            name="channels",
            label="Channels",
            choices=[
                (AS_FILES_SAY, AS_TOLD),
                *((f"axis {n}", n) for n in range(_MOST_AXES)),
                ("last axis", -1),
            ],
            tooltip="Which axis has channels, counted from 0 in the order of the file; each has a "
            "noise of its own.",
        )
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

    def _make_sizes(self) -> None:
        self.sizes = CheckBox(
            name="sizes",
            label="",
            text="Sizes of pixels from the files",
            value=True,
            tooltip="Take the pixel size and the z step that each file tells; those above are for "
            "files that tell none.",
        )

    def _make_noise(self) -> None:
        self.noise = ChoiceBox(
            name="noise",
            label="Noise",
            choices=lambda _: [AUTOMATIC, MANUAL, *([OF_CHANNELS] if self._channel_noise else [])],
            tooltip="automatic: estimated in each image and channel. manual: the values below are "
            "used for all, such as those of the camera. of each channel: as typed in the window "
            "that these settings come from.",
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
            number.visible = "noise" in options and self.noise.value == MANUAL
        self.mask.visible = "mask" in options
        self.mask_file.visible = "mask" in options and self.mask.value == IN_A_FILE
        self.psf.show(is_used="psf" in options)
        self.sizes.visible = "psf" in options and self.psf.microscope() is not None
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
