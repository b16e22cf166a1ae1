"""Files of the commands that restore: what is read, what is written, and what is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_rednet.console import run_with_bar, say
from napari_rednet.errors import ImageFileError

if TYPE_CHECKING:
    from napari_rednet.execution import Steps
    from napari_rednet.io.tiff import TiffImage


def open_image(source: Path, target: Path, *, force: bool) -> TiffImage:
    """Check both paths and read the source; nothing is written yet."""
    from napari_rednet.io.tiff import SUFFIXES, read_tiff

    if target.suffix.lower() not in SUFFIXES:
        raise ImageFileError(f"the output must be a .tif or .tiff file, got {target.name}")
    if not target.parent.is_dir():
        raise ImageFileError(f"there is no folder {target.parent} to write to")
    if target.exists() and source.exists() and target.samefile(source):
        raise ImageFileError("the output must be another file than the input")
    if target.exists() and not force:
        raise ImageFileError(f"{target} exists; add --force to overwrite it")
    return read_tiff(source)


def restore_file(
    image: TiffImage,
    source: Path,
    target: Path,
    make_steps: Callable[..., Steps],
    *,
    scale: int = 1,
    quiet: bool,
) -> None:
    """Run steps from an image into a file of the same description."""
    from napari_rednet.io.tiff import tiff_writer

    with tiff_writer(target, image, scale) as out:
        steps = make_steps(image.data, channel_axis=image.channel_axis, out=out)
        run_with_bar(steps, source.name, quiet=quiet)
    say(f"written: {target}", quiet=quiet)


def read_mask(path: Path) -> Any:
    """The mask in a TIFF or any other image file."""
    import numpy as np
    from PIL import Image

    from napari_rednet.io.tiff import SUFFIXES, read_tiff

    if path.suffix.lower() in SUFFIXES:
        return read_tiff(path).data
    try:
        with Image.open(path) as file:
            return np.asarray(file)
    except OSError as error:
        raise ImageFileError(f"{path} cannot be read as an image: {error}") from error
