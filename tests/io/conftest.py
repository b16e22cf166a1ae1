"""OME-Zarr files made by hand, for tests of what reads and writes them."""

import json

import numpy as np
import pytest
import zarr
from skimage import data

from napari_rednet.io.ome_zarr import read_ome_zarr, zarr_writer

CAMERA = data.camera()
STACK = np.stack([CAMERA[:301, :402], CAMERA[100:401, 50:452]] * 3).reshape(2, 3, 301, 402)
STACK = STACK.astype(np.uint16) * 200
TYPES = {"t": "time", "c": "channel"}
OMERO = {
    "channels": [
        {
            "label": name,
            "color": color,
            "window": {"min": 0, "max": 65535, "start": 10, "end": 60000},
        }
        for name, color in (("DAPI", "0000FF"), ("GFP", "00FF00"))
    ]
}


def axes_of(names, units):
    axes = [{"name": n, "type": TYPES.get(n, "space")} for n in names]
    return [{**a, "unit": u} if u else a for a, u in zip(axes, units, strict=True)]


def written(path, levels, names, *, scales=None, units=None, version="0.4", omero=None, **storage):
    """Write an OME-Zarr file by hand: independent of what is tested, and of ome_zarr."""
    zarr_format = 2 if version == "0.4" else 3
    if zarr_format == 2:
        storage.setdefault("chunk_key_encoding", {"name": "v2", "separator": "/"})
    storage.setdefault("chunks", (1,) * (len(names) - 2) + (100, 130))
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    for number, level in enumerate(levels):
        array = group.create_array(f"s{number}", shape=level.shape, dtype=level.dtype, **storage)
        array[...] = level
    scales = scales or [
        [n / m for n, m in zip(levels[0].shape, v.shape, strict=True)] for v in levels
    ]
    multiscale = {
        "name": "by hand",
        "axes": axes_of(names, units or [None] * len(names)),
        "datasets": [
            {"path": f"s{i}", "coordinateTransformations": [{"type": "scale", "scale": list(s)}]}
            for i, s in enumerate(scales)
        ],
    }
    ome = {"multiscales": [multiscale]} | ({"omero": omero} if omero else {})
    if zarr_format == 2:
        multiscale["version"] = version
        group.attrs.update(ome)
    else:
        group.attrs["ome"] = {"version": version, **ome}
    return path


def ome_of(path):
    attributes = dict(zarr.open_group(path, mode="r").attrs)
    return attributes.get("ome", attributes)


def changed(path, change):
    """Change the OME metadata of a file of version 0.4."""
    place = path / ".zattrs"
    attributes = json.loads(place.read_text())
    change(attributes)
    place.write_text(json.dumps(attributes))
    return path


def copied(source, target, scale=1, **options):
    image = read_ome_zarr(source)
    with zarr_writer(target, image, scale, **options) as out:
        out[...] = enlarged(image.data[...], scale)
    return read_ome_zarr(target)


def enlarged(values, scale):
    return values.repeat(scale, -1).repeat(scale, -2)


@pytest.fixture(params=["0.4", "0.5"])
def version(request):
    return request.param


@pytest.fixture
def source(tmp_path, version):
    path = tmp_path / "in.ome.zarr"
    units = [None, "micrometer", "micrometer", "micrometer"]
    levels = [STACK, STACK[..., ::2, ::2]]
    scales = [[1, 0.5, 0.11, 0.12], [1, 0.5, 0.22, 0.24]]
    return written(path, levels, "czyx", scales=scales, units=units, version=version, omero=OMERO)
