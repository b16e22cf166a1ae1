"""The table of docs/files.md: small files of each format are copied, and what is kept is looked up.

Files are written, and results read, by other programs than the package where there are any: Pillow,
ome-types, zarr, and tifffile's own tags. ``python -m tests.io.files_table`` prints the table.
"""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import ome_types
import tifffile
import zarr
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from skimage import data
from tests.io.conftest import OMERO, written
from tests.io.test_microscopes import STACK as LSM_STACK
from tests.io.test_microscopes import write_lsm, write_svs
from tests.io.test_pictures import jpeg
from tests.io.test_tiff_metadata import STACK, TAGS, write_imagej, write_ome

from napari_rednet.io import described_for, image_writer, read_image

KEPT = ("pixels", "axes", "pixel size", "channel names", "colours", "display range", "the rest")
Told = Mapping[str, Any]
"""What a file tells, by the names of `KEPT`; what its format has no place for is left out."""
PLANES = STACK[0, :2, 0]
COFFEE = data.coffee()[:48, :64]


@dataclass(frozen=True)
class Row:
    """A format: how its file is written, what is made of it, and what both tell."""

    name: str
    source: str
    result: str
    write: Callable[[Path], object]
    read: Callable[[Path], Told]
    read_result: Callable[[Path], Told] | None = None


def ome_told(path: Path) -> Told:
    """What ome-types finds in an OME-TIFF."""
    with tifffile.TiffFile(path) as file:
        found = ome_types.from_xml(file.ome_metadata)
        axes, pixels = file.series[0].axes, file.series[0].asarray()
        stored = file.pages[0].compression, file.pages[0].is_tiled
    (image,) = found.images
    sizes = [getattr(image.pixels, f"physical_size_{a}") for a in "xyz"]
    rest = (image.name, image.acquisition_date, found.instruments, found.structured_annotations)
    return {
        "pixels": pixels,
        "axes": axes,
        "pixel size": sizes,
        "channel names": [c.name for c in image.pixels.channels],
        "colours": [c.color for c in image.pixels.channels],
        "the rest": (rest, image.pixels.planes, stored),
    }


def imagej_told(path: Path) -> Told:
    """What tifffile finds in ImageJ's header and tags."""
    with tifffile.TiffFile(path) as file:
        told = dict(file.imagej_metadata)
        page = file.pages[0]
        sizes = [page.tags[code].value for code in (282, 283)]
        return {
            "pixels": file.asarray(),
            "axes": file.series[0].axes,
            "pixel size": (sizes, told["unit"], told["spacing"]),
            "colours": np.array(told["LUTs"]),
            "display range": told["Ranges"],
            "the rest": (told["Info"], told["mode"], told["Labels"]),
        }


def plain_told(path: Path) -> Told:
    """What Pillow finds in the tags of a TIFF."""
    with Image.open(path) as file:
        tags = dict(file.tag_v2)
        codes = (259, 34675, 33550, *(tag[0] for tag in TAGS))
        rest = [tags[code] for code in codes]
        return {"pixels": np.asarray(file), "pixel size": (tags[282], tags[283]), "the rest": rest}


def big_told(path: Path) -> Told:
    """What tifffile finds in a BigTIFF."""
    with tifffile.TiffFile(path) as file:
        sizes = [file.pages[0].tags[code].value for code in (282, 283)]
        kind = file.is_bigtiff, file.pages[0].tags[306].value
        return {"pixels": file.asarray(), "pixel size": sizes, "the rest": kind}


def picture_told(path: Path) -> Told:
    """What Pillow finds in a picture."""
    with Image.open(path) as file:
        dpi = [round(float(n), 1) for n in file.info["dpi"]]
        exif = {k: v for k, v in file.getexif().items() if k != 0x8769}
        rest = (exif, file.info.get("icc_profile"), getattr(file, "text", None))
        return {"pixels": np.asarray(file), "pixel size": dpi, "the rest": rest}


def zarr_told(path: Path) -> Told:
    """What zarr finds in an OME-Zarr, with its labels."""
    group = zarr.open_group(path, mode="r")
    told = group.attrs.get("ome", group.attrs)
    (multiscale,) = told["multiscales"]
    array = group[multiscale["datasets"][0]["path"]]
    scales = multiscale["datasets"][0]["coordinateTransformations"][0]["scale"]
    channels = told["omero"]["channels"]
    stored = array.chunks, array.compressors, len(multiscale["datasets"])
    labels = [group["labels/cells/0"][...].tolist()] if "labels" in group else []
    return {
        "pixels": array[...],
        "axes": multiscale["axes"],
        "pixel size": scales,
        "channel names": [c["label"] for c in channels],
        "colours": [c["color"] for c in channels],
        "display range": [c["window"] for c in channels],
        "the rest": (stored, labels, multiscale["name"]),
    }


def bare_told(path: Path) -> Told:
    """What zarr finds in an array."""
    array = zarr.open_array(path, mode="r")
    return {"pixels": array[...], "the rest": (array.chunks, dict(array.attrs))}


def lsm_told(path: Path) -> Told:
    """What tifffile finds in the tag of an LSM."""
    with tifffile.TiffFile(path) as file:
        told = file.lsm_metadata
        pixels, axes = file.series[0].asarray(), file.series[0].axes
    sizes = [round(told[f"VoxelSize{a}"] * 1e6, 6) for a in "XYZ"]
    return {"pixels": pixels, "axes": axes, "pixel size": sizes}


def svs_told(path: Path) -> Told:
    """What tifffile finds in the finest level of a slide, and its description."""
    with tifffile.TiffFile(path) as file:
        return {"pixels": file.series[0].asarray(), "pixel size": [0.499, 0.499]}


def lsm_result(path: Path) -> Told:
    """An OME-TIFF with its sizes as an LSM tells them."""
    found = ome_told(path)
    return {**found, "pixel size": [round(size, 6) for size in found["pixel size"]]}


def svs_result(path: Path) -> Told:
    """An OME-TIFF with its sizes as a slide tells them."""
    found = ome_told(path)
    return {**found, "pixel size": [round(size, 6) for size in found["pixel size"][:2]]}


def write_labelled(version: str) -> Callable[[Path], object]:
    """Write an OME-Zarr with channels and labels."""

    def write(path: Path) -> None:
        units = [None, "micrometer", "micrometer"]
        options = {"units": units, "version": version, "omero": OMERO}
        written(path, [PLANES, PLANES[:, ::2, ::2]], "cyx", scales=None, **options)
        labels = zarr.open_group(path, mode="r+").create_group("labels")
        labels.attrs["labels"] = ["cells"]
        labels.create_group("cells").create_array("0", data=np.eye(20, 24, dtype=np.uint8))

    return write


def write_zip(path: Path) -> None:
    """Write a zip file of an OME-Zarr."""
    folder = path.with_name("inside.zarr")
    write_labelled("0.5")(folder)
    with ZipFile(path, "w") as file:
        for part in sorted(folder.rglob("*")):
            file.write(part, part.relative_to(folder).as_posix())


def write_plain(path: Path) -> None:
    """Write a TIFF with all tags that are kept."""
    tags = [*TAGS, (33550, 12, 3, (0.5, 0.5, 0.0), True)]
    tifffile.imwrite(
        path,
        PLANES[0],
        compression="lzw",
        resolution=(4, 5),
        extratags=tags,
        iccprofile=b"profile",
        metadata=None,
    )


def write_png(path: Path) -> None:
    """Write a PNG with texts."""
    texts = PngInfo()
    texts.add_text("Author", "Somebody")
    values = np.dstack([COFFEE, COFFEE[..., 0]])
    Image.fromarray(values).save(path, pnginfo=texts, dpi=(300, 300), icc_profile=b"profile")


def write_bare(path: Path) -> None:
    """Write a zarr array."""
    array = zarr.create_array(path, data=PLANES, chunks=(1, 10, 12))
    array.attrs["note"] = "kept"


def zip_told(path: Path) -> Told:
    """What is in the folder that the zip file was made of."""
    return zarr_told(path.with_name("inside.zarr"))


ROWS = (
    Row("OME-TIFF", "in.ome.tif", "out.ome.tif", write_ome, ome_told),
    Row(
        "TIFF of ImageJ",
        "in.tif",
        "out.tif",
        lambda path: write_imagej(path, Labels=[str(i) for i in range(6)]),
        imagej_told,
    ),
    Row("TIFF, GeoTIFF", "in.tif", "out.tif", write_plain, plain_told),
    Row(
        "BigTIFF",
        "in.btf",
        "out.btf",
        lambda path: tifffile.imwrite(
            path, PLANES[0], bigtiff=True, resolution=(4, 5), datetime=True
        ),
        big_told,
    ),
    Row("PNG", "in.png", "out.png", write_png, picture_told),
    Row("JPEG", "in.jpg", "out.jpg", lambda path: jpeg(path, COFFEE, 6), picture_told),
    Row("OME-Zarr 0.4", "in.zarr", "out.zarr", write_labelled("0.4"), zarr_told),
    Row("OME-Zarr 0.5", "in.zarr", "out.zarr", write_labelled("0.5"), zarr_told),
    Row("Zarr array", "in.zarr", "out.zarr", write_bare, bare_told),
    Row("OME-Zarr in a zip file", "in.zarr.zip", "out.zarr", write_zip, zip_told, zarr_told),
    Row(
        "Zeiss LSM",
        "in.lsm",
        "out.ome.tif",
        lambda path: write_lsm(path, np.concatenate([LSM_STACK, LSM_STACK], 2)[:, :, :3]),
        lsm_told,
        lsm_result,
    ),
    Row("Aperio SVS", "in.svs", "out.ome.tif", write_svs, svs_told, svs_result),
)


def copied(source: Path, target: Path) -> None:
    """The file as it comes out of a restoration that changes no pixel."""
    image: Any = described_for(target, read_image(source))
    with image_writer(target, image) as out:
        out[...] = np.asarray(image.data[...])


def cell(before: Any, after: Any) -> str:
    """Whether a result tells what its source told."""
    if before is None:
        return ""
    if isinstance(before, np.ndarray):
        if after is not None and np.array_equal(before, after):
            return "kept"
        is_near = (
            np.shape(after) == before.shape and np.abs(before - after.astype(float)).mean() < 5
        )
        return "nearly" if is_near else "lost"
    return "kept" if before == after else "lost"


def table() -> str:
    """The table in Markdown."""
    lines = [f"| format | read | written as | {' | '.join(KEPT)} |", "|---" * (3 + len(KEPT)) + "|"]
    for row in ROWS:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            source, target = Path(folder, row.source), Path(folder, row.result)
            row.write(source)
            copied(source, target)
            before, after = row.read(source), (row.read_result or row.read)(target)
        suffixes = (name.partition(".")[2] for name in (row.source, row.result))
        cells = [cell(before.get(key), after.get(key)) for key in KEPT]
        lines.append("| " + " | ".join([row.name, *(f"`.{s}`" for s in suffixes), *cells]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        print(table())  # noqa: T201
