"""Restore one file into another, for any task, and record it, so that a batch can be resumed."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from napari_rednet.arguments import (
    CHECKS,
    as_image,
    axis_named,
    check_options,
    noise_per_channel,
)
from napari_rednet.batch.planning import BatchFile
from napari_rednet.engine.channel import NoiseModel
from napari_rednet.errors import ImageFileError, ReadError, RednetError
from napari_rednet.execution import FEW_CHANNELS, Repairs, ResumableOutput, sample_windows
from napari_rednet.execution.reading import chunks_of
from napari_rednet.files import beside, claimed, real_place, replaced
from napari_rednet.io import (
    OpenImage,
    can_be_continued,
    complete_collection,
    described_for,
    image_writer,
    other_files,
    pixel_sizes,
    read_image,
    remark_on,
    remark_on_result,
    with_compression,
    with_dtype,
)
from napari_rednet.io.sources import RemotePath
from napari_rednet.psf import Microscope
from napari_rednet.tasks import VERBS, Verb

if TYPE_CHECKING:
    from napari_rednet.arguments import Noise
    from napari_rednet.engine.planes import PlaneLayout
    from napari_rednet.execution import Steps
    from napari_rednet.models import Model

# Arguments that do not change a result, or that follow from the image.
_HOW = ("model", "device", "memory", "tile", "progress", "out", "channel_axis", "rgb")
RECORD = ".napari-rednet-batch.json"
State = tuple[int, int]
"""Size in bytes, and time of the last change in nanoseconds."""


@dataclass(frozen=True)
class Prepared:
    """How to restore one image.

    `make_steps` is a verb's ``*_steps`` with all arguments but the image, `channel_axis` and `out`.
    `noise` is that of each channel, if the task needs it; `remark` is for users.
    """

    make_steps: Callable[..., Steps]
    noise: Sequence[NoiseModel] = ()
    remark: str = ""
    repairs: Repairs = field(default_factory=Repairs)


@dataclass(frozen=True)
class Work:
    """The work on each image of a batch.

    `prepare` prepares the restoration of an open image. `arguments` are JSON values that results
    depend on besides `model`. `scale` enlarges the planes. `dtype` None is that of the images.
    """

    command: str
    model: Model
    prepare: Callable[[OpenImage], Prepared]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    scale: int = 1
    dtype: str | None = None

    @property
    def task(self) -> dict[str, Any]:
        """What results depend on besides the images, for the record."""
        from napari_rednet import __version__

        weights = (t.numpy() for t in self.model.network.state_dict().values())
        model = {"name": self.model.name, "weights": digest(*weights)}
        arguments = {**self.arguments, "model": model}
        return {"command": self.command, "arguments": arguments, "version": __version__}


def digest(*arrays: Any) -> str:
    """A hash of the values, shapes and dtypes of arrays."""
    found = hashlib.sha256()
    for array in map(np.asarray, arrays):
        found.update(f"{array.shape} {array.dtype}".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


def restore_file(
    work: Work,
    file: BatchFile,
    *,
    resume: bool = False,
    lazy: bool = False,
    overwrite: bool = False,
) -> Generator[tuple[int, int], None, Figures]:
    """Restore a file, step by step: yields (pixels done, pixels in all), returns its figures.

    The folder of the result is made if needed. The result is complete or absent; closing the
    generator cancels. An unfinished Zarr is kept beside it, and with `resume` its finished parts
    are used if image and work are the same. With `lazy`, dask computes, from one Zarr into another.
    A result that is there, or appears, is replaced only with `overwrite`; with `resume` also one
    that was there before. Raises `RednetError`, `ValueError`, `TypeError` or `OSError` if it fails
    or the file changes meanwhile.
    """
    overwrite = overwrite or (resume and file.result.exists())
    before = state_of(file.source)
    source = read_image(file.source, **vars(file.reading))
    if lazy and not all(map(can_be_continued, (file.source, file.result))):
        raise ImageFileError("a cluster computes from one .zarr file into another")
    image = described_for(file.result, source)
    if file.compression is not None:
        image = with_compression(image, file.compression, file.result)
    with _named(file.source):
        prepared = work.prepare(image)
        told = (remark_on(source), remark_on_result(image, file.result, work.scale))
        remarks = (*told, prepared.remark)
        figures = _figures(work, image, prepared, "; ".join(filter(None, remarks)))
    _make_folder(file)
    array = _as_lazy(image) if lazy else image.data
    with _target(work, file, image, before, resume=resume, overwrite=overwrite) as out:
        with _named(file.source):
            yield from prepared.make_steps(array, channel_axis=image.channel_axis, out=out)
        # Check before the result is put into its place.
        _refuse_changed(file, before)
    complete_collection(file.source, file.result, file.name, is_same_size=work.scale == 1)
    return replace(figures, repaired=prepared.repairs.count)


@contextmanager
def _named(source: Path) -> Iterator[None]:
    """Name the file in errors on damaged parts of it."""
    try:
        yield
    except ReadError as error:
        if str(source) in str(error):
            raise
        raise ReadError(f"{source}: {error}") from error


def _as_lazy(image: OpenImage) -> Any:
    import dask.array as da

    return da.from_array(image.data, chunks=chunks_of(image.data))


@contextmanager
def _target(
    work: Work,
    file: BatchFile,
    image: OpenImage,
    source: State,
    *,
    resume: bool,
    overwrite: bool,
) -> Iterator[Any]:
    """An array to write to, which becomes the result at the end."""
    like = image if work.dtype is None else with_dtype(image, work.dtype)
    if not can_be_continued(file.result):
        with image_writer(file.result, like, work.scale, overwrite=overwrite) as out:
            yield out
        return
    place = real_place(file.result)
    record = beside(place, "record")
    identity = json.dumps({**work.task, "source": [*identity_of(file), source]})
    with image_writer(
        file.result, like, work.scale, keep_unfinished=True, overwrite=overwrite
    ) as array:
        if not resume:  # now that no other job can be writing there
            record.unlink(missing_ok=True)
        yield ResumableOutput(array, record, identity)
    record.unlink(missing_ok=True)


def _make_folder(file: BatchFile) -> None:
    folder = file.result.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise ImageFileError(f"the folder {folder} cannot be made: {reason}") from error


def _refuse_changed(file: BatchFile, before: State) -> None:
    if state_of(file.source) != before:
        raise ImageFileError(f"{file.source} changed while it was read")


def _figures(work: Work, image: OpenImage, prepared: Prepared, remark: str) -> Figures:
    array, layout = as_image(image.data, image.channel_axis)
    told = range(0 if _has_many_channels(layout) else layout.channels)
    ranges = [sample_windows(array, layout, c).range for c in told]
    return Figures(
        pixels=math.prod(layout.enlarged(work.scale).shape),
        model=work.model.name,
        noise=[astuple(n) for n in prepared.noise],
        ranges=[(r.low, r.high) for r in ranges],
        remark=remark,
    )


def make_work(verb: str, arguments: Mapping[str, Any]) -> Work:
    """The work of a verb with checked arguments, raising its errors; loads the model.

    One `noise` is for all channels of all files, None estimates it per file; one `mask` is for all
    files, None finds dead and hot pixels in each.
    """
    row = VERBS[verb]
    given = {**row.options, **arguments}
    for name, check in CHECKS.items():
        if name in given:
            check(given[name])
    shared = (given[name] for name in ("model", "ensemble", "tile", "device", "memory"))
    options = check_options(row.task, *shared, is_stack=given.get("along") is not None)
    taken = {**arguments, "model": options.model}  # loaded once for all files
    make_steps = partial(getattr(row.module, f"{verb}_steps"), **taken)

    def prepare(image: OpenImage) -> Prepared:
        own, remark = _own_arguments(row, given, image)
        repairs = Repairs()
        if row.repairs:
            own["repairs"] = repairs
        noise = own.get("noise") or ()
        told = noise if len(noise) <= FEW_CHANNELS else ()
        return Prepared(partial(make_steps, **own), told, remark, repairs)

    recorded = {name: _recorded(value) for name, value in given.items() if name not in _HOW}
    if row.tile_matters:
        recorded |= {"tile": given["tile"], "memory": given["memory"]}
    scale, dtype = given.get("scale", 1), given.get("dtype")
    return Work(row.command, options.model, prepare, recorded, scale, dtype)


def _own_arguments(
    row: Verb, given: Mapping[str, Any], image: OpenImage
) -> tuple[dict[str, Any], str]:
    """The arguments that an image settles, and a remark on them."""
    from napari_rednet.restoration.inpaint import find_defects

    own: dict[str, Any] = {"rgb": image.is_rgb} if row.takes_rgb else {}
    remark = ""
    if isinstance(given.get("psf"), Microscope):
        own["psf"] = given["psf"].psf(pixel_sizes(image))
    if "along" in row.options:
        own["along"] = axis_named(given["along"], image.axes)
    if "noise" in row.options:
        own["noise"], remark = _noise_of(image, given["noise"], row.takes_rgb)
    if "mask" in row.options and given["mask"] is None:
        found = find_defects(image.data, channel_axis=image.channel_axis)
        own["mask"], remark = found, f"dead and hot pixels found: {found.sum()}"
    return own, remark


def _recorded(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, list):
        return [_recorded(one) for one in value]
    return repr(value) if isinstance(value, (NoiseModel, Microscope)) else digest(value)


def _noise_of(
    image: OpenImage, given: Noise | None, takes_rgb: bool
) -> tuple[list[NoiseModel] | None, str]:
    """One noise model per channel, the given one or else estimated, and a remark on it.

    None leaves it to the restoration to estimate the noise of each channel when its turn comes.
    """
    from napari_rednet.restoration.noise_estimate import estimate_noise, find_uneven_noise

    _, layout = as_image(image.data, image.channel_axis)
    noise: Any = given
    remark = ""
    if given is None:
        if _has_many_channels(layout):
            return None, f"the noise of {layout.channels} channels is estimated one after the other"
        noise = estimate_noise(image.data, channel_axis=image.channel_axis)
        # Channels may be taken for planes.
        remark = str(find_uneven_noise(image.data, channel_axis=image.channel_axis) or "")
    found = noise_per_channel(noise, layout.channels) or []
    if takes_rgb and image.is_rgb:
        del found[3:]  # transparency has none
    return found, remark


def _has_many_channels(layout: PlaneLayout) -> bool:
    """True if measuring all channels before any is restored would take long."""
    return layout.channels > FEW_CHANNELS


@dataclass(frozen=True)
class Figures:
    """Figures of a restored file.

    `noise` has (gain, offset, read noise, grain along y, grain along x) and `ranges` (low, high) of
    each channel; `noise` is empty for tasks that do not need it, and both are for many channels,
    which are measured while they are restored. `pixels` are those of the result.
    """

    pixels: int = 0
    model: str = ""
    noise: Sequence[Sequence[float]] = ()
    ranges: Sequence[Sequence[float]] = ()
    remark: str = ""
    seconds: float = 0.0
    repaired: int = 0


def state_of(path: Path) -> State:
    """State of a file with the others of its image, or of everything in a folder.

    Raises `ImageFileError`.
    """
    if isinstance(path, RemotePath):
        return path.state
    try:
        found = [place.stat() for place in _with_contents(path)]
    except FileNotFoundError as error:
        raise ImageFileError(f"there is no file {error.filename}") from error
    except OSError as error:
        raise ImageFileError(f"{path} cannot be read: {error.strerror or error}") from error
    size = sum(s.st_size for s in found)
    return size, max(s.st_mtime_ns for s in found)


def _with_contents(path: Path) -> Iterator[Path]:
    yield path
    yield from other_files(path)
    if path.is_dir():
        for folder, folders, names in os.walk(path):
            yield from (Path(folder, name) for name in (*folders, *names))


class BatchRecord:
    """Record of a batch: a line of JSON for each file that was begun or finished.

    Lines are appended; the last one of a result counts, and truncated ones are ignored. So the cost
    of a file does not grow with their number, and the record survives a killed process. `task` are
    JSON values that results depend on besides the sources: command, its arguments, version.
    """

    def __init__(self, folder: Path, task: Mapping[str, Any]) -> None:
        self._folder = folder
        self._task = json.loads(json.dumps(task))
        self._lines = _read_lines(folder / RECORD)

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Be the only batch that writes into the folder; raises `BusyError` and `RednetError`."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with claimed(self._folder / "napari-rednet-batch"):
                # Another batch may have written since.
                self._lines = _read_lines(self._folder / RECORD)
                yield
        except OSError as error:
            raise RednetError(_no_writing(self._folder, error)) from error

    def prepare(self) -> None:
        """Make the folder and rewrite the record with one line per result; raises `RednetError`."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RednetError(_no_writing(self._folder, error)) from error
        self._write()

    def begin(self, files: Sequence[BatchFile]) -> None:
        """Record that results are about to be written, so that files in their places are ours."""
        new = [file for file in files if self._entry(file).get("finished") is not False]
        self._append({file.name: _line(result=file.name, finished=False) for file in new})

    def finish(self, file: BatchFile, source: State, figures: Figures) -> None:
        """Record a finished file, and the state that its source had before it was read."""
        line = _line(
            result=file.name,
            finished=True,
            source=identity_of(file),
            source_state=source,
            result_state=state_of(file.result),
            **self._task,
            figures=asdict(figures),
        )
        self._append({file.name: line})

    def knows(self, file: BatchFile) -> bool:
        """True if a batch has begun to write this result."""
        return file.name in self._lines

    def agrees(self, file: BatchFile) -> bool:
        """True if a result is up to date: same task, and unchanged source and result."""
        entry = self._entry(file)
        if not entry.get("finished") or not file.result.exists():
            return False
        now = {
            "source": identity_of(file),
            "source_state": list(state_of(file.source)),
            "result_state": list(state_of(file.result)),
            **self._task,
        }
        return all(entry.get(key) == value for key, value in now.items())

    def figures(self, file: BatchFile) -> Figures | None:
        """Recorded figures of a finished file."""
        try:
            return Figures(**self._entry(file)["figures"])
        except (KeyError, TypeError):
            return None

    def _entry(self, file: BatchFile) -> dict[str, Any]:
        entry: dict[str, Any] = json.loads(self._lines.get(file.name, "{}"))
        return entry

    def _append(self, lines: Mapping[str, str]) -> None:
        if not lines:
            return
        self._lines |= lines
        path = self._folder / RECORD
        if not path.exists():
            self._write()
            return
        try:
            with path.open("a+b") as file:
                is_cut_off = file.tell() > 0 and _last_byte(file) != b"\n"
                text = "".join(line + "\n" for line in lines.values())
                file.write(b"\n" * is_cut_off + text.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise RednetError(_no_writing(self._folder, error)) from error

    def _write(self) -> None:
        try:
            with replaced(self._folder / RECORD) as beside, beside.open("wb") as file:
                file.writelines(f"{line}\n".encode() for line in self._lines.values())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise RednetError(_no_writing(self._folder, error)) from error


def _last_byte(file: BinaryIO) -> bytes:
    file.seek(-1, os.SEEK_END)
    return file.read(1)


def identity_of(file: BatchFile) -> list[Any]:
    """What a result is made from: the file, and what is taken of it."""
    return [str(file.source.resolve()), *vars(file.reading).values()]


def _line(**entry: Any) -> str:
    return json.dumps(entry)


def _no_writing(folder: Path, error: OSError) -> str:
    return f"{folder} cannot be written to: {error.strerror or error}"


def _read_lines(path: Path) -> dict[str, str]:
    """Lines of a record by the names of the results; invalid ones are left out."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise RednetError(f"{path} cannot be read: {error.strerror or error}") from error
    return {name: line for line in lines if (name := _name_in(line)) is not None}


def _name_in(line: str) -> str | None:
    try:
        name = json.loads(line)["result"]
    except (ValueError, KeyError, TypeError):
        return None
    return name if isinstance(name, str) else None
