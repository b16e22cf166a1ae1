"""A result is never written where its image is read."""

import os

import dask.array as da
import numpy as np
import pytest
import zarr
from numpy import ma

import napari_rednet as nr
from tests.conftest import small_model

MODELS = {task: small_model(task) for task in ("denoise", "super_resolve", "deblock", "inpaint")}
VERBS = {
    "denoise": lambda image, out: nr.denoise(image, model=MODELS["denoise"], out=out),
    "deblock": lambda image, out: nr.deblock(image, model=MODELS["deblock"], out=out),
    "inpaint": lambda image, out: nr.inpaint(
        image, np.eye(30, 40) > 0, model=MODELS["inpaint"], out=out
    ),
    "deblur": lambda image, out: nr.deblur(
        image, nr.psf.gaussian(1), iterations=1, model=MODELS["denoise"], out=out
    ),
}
VALUES = np.random.default_rng(0).normal(100, 20, (30, 40)).astype(np.float32)


def mapped(path, offset=0, mode="r+"):
    return np.memmap(path, np.float32, mode, offset, VALUES.shape)


def opened(path, mode="r+"):
    return zarr.open_array(path, mode=mode)


@pytest.fixture
def raw(tmp_path):
    np.concatenate([VALUES, VALUES]).tofile(tmp_path / "raw")
    os.link(tmp_path / "raw", tmp_path / "linked")
    return tmp_path / "raw"


@pytest.fixture
def folder(tmp_path):
    group = zarr.open_group(tmp_path / "group.zarr", mode="w")
    group.create_array("0", shape=VALUES.shape, chunks=(16, 16), dtype="f4")[:] = VALUES
    (tmp_path / "link.zarr").symlink_to(tmp_path / "group.zarr")
    return tmp_path / "group.zarr"


def pairs(raw, folder):
    """An image and an `out` in the same place, reached in two ways."""
    memory = VALUES.copy()
    in_memory = zarr.create_array({}, shape=VALUES.shape, chunks=(16, 16), dtype="f4")
    return {
        "array": (memory, memory),
        "view": (memory, memory[::-1]),
        "masked": (ma.MaskedArray(memory), memory),
        "two maps": (mapped(raw), mapped(raw)),
        "read-only map": (mapped(raw, mode="r"), mapped(raw)),
        "hard link": (mapped(raw), mapped(raw.with_name("linked"))),
        "overlapping maps": (mapped(raw, 4 * 40 * 10), mapped(raw)),
        "view of a map": (np.asarray(mapped(raw))[::-1], mapped(raw)),
        "zarr": (opened(folder / "0", "r"), opened(folder / "0")),
        "zarr in a group": (zarr.open_group(folder)["0"], opened(folder / "0")),
        "linked zarr": (opened(folder.with_name("link.zarr") / "0"), opened(folder / "0")),
        "zarr in memory": (in_memory, in_memory),
        "lazy zarr": (da.from_zarr(str(folder / "0")), opened(folder / "0")),
        "changed lazy zarr": (2 * da.from_array(opened(folder / "0"))[::-1], opened(folder / "0")),
    }


@pytest.mark.parametrize("verb", VERBS)
def test_out_in_the_place_of_the_image_is_refused(verb, raw, folder):
    for name, (image, out) in pairs(raw, folder).items():
        before = np.array(out[:])
        told = pytest.raises(ValueError, match="out must not share memory or a file")
        with told:
            VERBS[verb](image, out)
        np.testing.assert_array_equal(out[:], before, err_msg=name)


def test_other_places_are_taken(raw, folder, tmp_path):
    elsewhere = zarr.open_group(folder).create_array(
        "1", shape=(30, 40), chunks=(16, 16), dtype="f4"
    )
    second = mapped(raw, VALUES.nbytes)
    VALUES.tofile(tmp_path / "other")
    several = {
        "another array of the group": (opened(folder / "0"), elsewhere),
        "the rest of the file": (mapped(raw), second),
        "another file": (mapped(raw), mapped(tmp_path / "other")),
        "copy": (VALUES, VALUES.copy()),
        "lazy": (da.from_zarr(str(folder / "0")), elsewhere),
        "two stores in memory": tuple(
            zarr.create_array({}, shape=VALUES.shape, chunks=(16, 16), dtype="f4") for _ in "ab"
        ),
    }
    for name, (image, out) in several.items():
        assert VERBS["denoise"](image, out) is out, name
