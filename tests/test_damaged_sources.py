"""Sources that shrink, vanish or are damaged while they are read: a line that names file and place.

What is mapped is read in processes of their own, which a signal would end.
"""

import os
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st

import napari_rednet as nr
from napari_rednet.batch import BatchFile, BatchRecord, plan_batch, restore_file, run_batch
from napari_rednet.batch.restoring import make_work
from napari_rednet.errors import ImageFileError, ReadError
from napari_rednet.execution import MappedImage, without_map
from napari_rednet.io import read_image, read_mask, read_planes
from napari_rednet.tasks import VERBS
from tests.conftest import small_model
from tests.test_cli import call

RNG = np.random.default_rng(0)
STACK = RNG.normal(1000, 50, (6, 200, 220)).astype(np.uint16)


def write(path, kind):
    if kind == "zarr":
        array = zarr.create_array(path, shape=STACK.shape, chunks=(1, 100, 110), dtype="u2")
        array[:] = STACK
    elif kind == "raw tiff":
        tifffile.imwrite(path, STACK, photometric="minisblack", metadata={"axes": "ZYX"})
    else:
        options = {"tile": (64, 64)} if kind == "tiled tiff" else {"rowsperstrip": 20}
        tifffile.imwrite(
            path,
            STACK,
            compression="zlib",
            photometric="minisblack",
            **options,
            metadata={"axes": "ZYX"},
        )
    return path


def cut(path):
    """Cut a file off, or delete the last chunks of a Zarr."""
    if path.is_dir():
        shutil.rmtree(path / "c" / "5", ignore_errors=True)
        shutil.rmtree(path / "c" / "4", ignore_errors=True)
    else:
        os.truncate(path, path.stat().st_size // 3)


def remove(path):
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def change(path):
    place = path / "c" / "3" / "0" / "0" if path.is_dir() else path
    with place.open("r+b") as file:
        file.seek(place.stat().st_size // 2)
        file.write(b"\xff" * 40)


WAYS = {"cut": cut, "remove": remove, "change": change}


LOST = [(way, kind, target) for way in WAYS for kind in ("raw tiff", "tiled tiff", "zarr")
        for target in ("tif", "zarr")]  # fmt: skip
FEW = [("cut", "raw tiff", "tif")]


@pytest.mark.parametrize(
    ("way", "kind", "target"),
    [*FEW, *(pytest.param(*one, marks=pytest.mark.slow) for one in LOST if one not in FEW)],
)
def test_a_source_that_is_lost_during_the_job_ends_it_with_a_line(way, kind, target, tmp_path):
    source = write(tmp_path / ("in.zarr" if kind == "zarr" else "in.tif"), kind)
    small_model("denoise").save(tmp_path / "tiny.safetensors")
    code = f"""
import os, sys
sys.path.insert(0, {str(Path.cwd())!r})
from pathlib import Path
from napari_rednet.restoration import denoise
from napari_rednet.cli import app
from tests.test_damaged_sources import WAYS
original = denoise.denoise_steps

def steps(image, **options):
    for number, step in enumerate(original(image, **options)):
        if number == 1:
            WAYS[{way!r}](Path({str(source)!r}))
        yield step

denoise.denoise_steps = steps
app(["denoise", {str(source)!r}, {str(tmp_path / f"out.{target}")!r}, "--noise", "50",
     "--model", {str(tmp_path / "tiny.safetensors")!r}])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, done.stderr
    assert source.name in lines[0]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / f"out.{target}").exists()
    assert not (tmp_path / ".out.tif.part").exists()


def test_masks_and_images_to_learn_from_are_not_mapped(tmp_path):
    """What is cut off afterwards is not read again."""
    path = write(tmp_path / "in.tif", "raw tiff")
    mask, planes = read_mask(path), read_planes(path)
    os.truncate(path, 1000)
    np.testing.assert_array_equal(mask, STACK)
    np.testing.assert_array_equal(planes, STACK)


READ = """
import os, sys
import numpy as np
import napari_rednet as nr
from napari_rednet import arguments, masks
from napari_rednet.errors import ReadError
from napari_rednet.restoration.noise_estimate import find_uneven_noise
from tests.conftest import small_model

place, small = sys.argv[1], {"model": small_model("inpaint")}

def cut_after(original):
    def cut(array):
        found = original(array)
        os.truncate(place, 5000)
        return found
    return cut

for module, name, read in (
    (arguments, "without_map", nr.estimate_noise),
    (arguments, "without_map", find_uneven_noise),
    (masks, "_outliers", nr.find_defects),
    (masks, "_outliers", lambda image: nr.inpaint(image, **small)),
):
    values = np.random.default_rng(0).normal(100, 5, (3, 200, 200)).astype("f4")
    values.tofile(place)
    original = getattr(module, name)
    setattr(module, name, cut_after(original))
    try:
        read(np.memmap(place, "f4", "r", shape=values.shape))
    except ReadError as error:
        print(error)
    setattr(module, name, original)
"""


def test_a_map_that_is_cut_off_while_it_is_measured_is_an_error(tmp_path):
    """And not the end of the process."""
    words = [sys.executable, "-c", READ, tmp_path / "in.raw"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("has been cut off") == 4


@pytest.mark.parametrize("kind", ["raw tiff", "tiled tiff", "striped tiff", "zarr"])
def test_a_batch_goes_on_after_a_lost_source(kind, tmp_path):
    suffix = "zarr" if kind == "zarr" else "tif"
    (tmp_path / "in").mkdir()
    for name in "abc":
        write(tmp_path / "in" / f"{name}.{suffix}", kind)
    work = make_work("denoise", {"model": small_model("denoise"), "noise": 50.0})
    files = plan_batch([tmp_path / "in"], tmp_path / "out")

    def restore_one(file):
        steps = restore_file(work, file)
        if file.source.stem == "b":
            next(steps)
            cut(file.source)
        return (yield from steps)

    statuses = list(run_batch(files, restore_one, BatchRecord(tmp_path / "out", work.task)))
    outcomes = [status.outcome for status in statuses if status.outcome]
    assert [outcome.status for outcome in outcomes] == ["restored", "failed", "restored"]
    assert f"b.{suffix}" in outcomes[1].reason
    assert not (tmp_path / "out" / f"b.{suffix}").exists()


@pytest.mark.parametrize("verb", ["denoise", "super_resolve", "deblock", "inpaint", "deblur"])
def test_a_map_that_is_cut_off_is_an_error_of_every_function(verb, tmp_path):
    image = tifffile.memmap(write(tmp_path / "in.tif", "raw tiff"), mode="r")
    model = small_model("denoise" if verb == "deblur" else verb)
    more = {"deblur": (nr.psf.gaussian(1),), "inpaint": (np.eye(200, 220) > 0,)}.get(verb, ())
    steps = getattr(VERBS[verb].module, f"{verb}_steps")(image, *more, model=model)
    next(steps)
    os.truncate(tmp_path / "in.tif", 100_000)
    with pytest.raises(ReadError, match=r"in\.tif has been cut off .*: byte 100000"):
        for _ in steps:
            pass


def test_the_other_functions_notice_a_short_file(tmp_path):
    from napari_rednet import quality

    image = tifffile.memmap(write(tmp_path / "in.tif", "raw tiff"), mode="r")
    os.truncate(tmp_path / "in.tif", 100_000)
    for function in (nr.estimate_noise, nr.find_defects, lambda i: quality.score(i, STACK)):
        with pytest.raises(ReadError, match="has been cut off"):
            function(image)


@given(data=st.data())
def test_what_is_read_is_what_is_mapped(data, tmp_path_factory):
    """Any view of a map, and any window of it."""
    path = tmp_path_factory.mktemp("map") / "x"
    order = data.draw(st.sampled_from("CF"))
    shape = data.draw(st.sampled_from([(5, 7, 11), (300, 400), (3, 200, 301), (9,)]))
    whole = np.memmap(path, ">u2", "w+", 6, shape, order)
    whole[...] = np.random.default_rng(1).integers(0, 9999, shape)
    whole.flush()
    view = whole
    for axis, side in enumerate(shape):
        start = data.draw(st.integers(0, side - 1))
        step = data.draw(st.sampled_from([1, 1, 2, -1]))
        part = slice(None, start if step < 0 and start else None, step)
        part = part if step < 0 else slice(start, None, step)
        view = view[(*(slice(None),) * axis, part)]
    view = view.transpose(data.draw(st.permutations(range(view.ndim))))
    if not view.size:
        return
    view = np.asarray(view) if data.draw(st.booleans()) else view
    found = without_map(view)
    assert isinstance(found, MappedImage)
    np.testing.assert_array_equal(np.asarray(found), view)
    index = tuple(data.draw(st.one_of(st.integers(0, n - 1), st.slices(n))) for n in view.shape)
    np.testing.assert_array_equal(found[index], view[index])
    assert found[index].dtype == view.dtype


def test_maps_with_changes_of_their_own_are_taken_as_they_are(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", STACK, photometric="minisblack", metadata={"axes": "ZYX"})
    changed = tifffile.memmap(tmp_path / "x.tif", mode="c")
    changed[0] = 5
    assert without_map(changed) is changed
    assert nr.estimate_noise(changed[0]).read_noise == 0


def test_a_file_that_was_replaced_or_removed_does_not_replace_the_image(tmp_path):
    image = tifffile.memmap(write(tmp_path / "in.tif", "raw tiff"), mode="r")
    other = tmp_path / "other.tif"
    tifffile.imwrite(other, STACK[::-1], photometric="minisblack", metadata={"axes": "ZYX"})
    other.replace(tmp_path / "in.tif")
    assert without_map(image) is image
    (tmp_path / "in.tif").unlink()
    assert without_map(image) is image
    model = small_model("denoise")
    np.testing.assert_array_equal(
        nr.denoise(image, noise=50, model=model), nr.denoise(STACK, noise=50, model=model)
    )


@pytest.mark.parametrize("codec", ["blosc", "zstd", "gzip"])
@pytest.mark.parametrize("how", ["change", "cut", "empty"])
def test_a_damaged_chunk_is_named_with_its_place(codec, how, tmp_path):
    from zarr import codecs

    compressors = {
        "blosc": codecs.BloscCodec(), "zstd": codecs.ZstdCodec(checksum=True),
        "gzip": codecs.GzipCodec(),
    }[codec]  # fmt: skip
    array = zarr.create_array(
        tmp_path / "in.zarr",
        shape=STACK.shape,
        chunks=(1, 100, 110),
        dtype="u2",
        compressors=compressors,
    )
    array[:] = STACK
    chunk = tmp_path / "in.zarr" / "c" / "3" / "1" / "0"
    content = chunk.read_bytes()
    half = len(content) // 2
    damaged = {"cut": content[:half], "empty": b"", "change": b"\xff" * 40 + content[40:]}[how]
    chunk.write_bytes(damaged)
    small_model("denoise").save(tmp_path / "tiny.safetensors")
    words = ["denoise", tmp_path / "in.zarr", tmp_path / "out.tif", "--noise", "50"]
    code, text = call(*words, "--model", tmp_path / "tiny.safetensors")
    assert code == 1
    told = text.replace("\n", " ")
    assert "in.zarr" in told
    assert "chunk (3, 1, 0)" in told
    assert not list(tmp_path.glob("*out*"))


@pytest.mark.parametrize("kind", ["tiled tiff", "striped tiff"])
def test_a_damaged_strip_or_tile_is_named_with_its_place(kind, tmp_path):
    path = write(tmp_path / "in.tif", kind)
    with tifffile.TiffFile(path) as file:
        page = file.pages[4]
        offset, count = page.dataoffsets[3], page.databytecounts[3]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(zlib.compress(b"wrong")[:2] + b"\x00" * (count - 2))
    word = "tile" if kind == "tiled tiff" else "strip"
    with pytest.raises(ImageFileError, match=rf"in\.tif.*{word} 3 of \d+ of page 4 is damaged"):
        read_image(path)


@pytest.mark.parametrize("kind", ["raw tiff", "tiled tiff", "zarr"])
@pytest.mark.parametrize("share", [0, 0.001, 0.01, 0.5, 0.99])
def test_a_file_that_is_cut_off_beforehand_is_named(kind, share, tmp_path):
    source = write(tmp_path / ("in.zarr" if kind == "zarr" else "in.tif"), kind)
    place = source / "zarr.json" if kind == "zarr" else source
    os.truncate(place, int(share * place.stat().st_size))
    file = BatchFile(source, tmp_path / "out.tif", "out.tif")
    work = make_work("denoise", {"model": small_model("denoise"), "noise": 50.0})
    with pytest.raises(ImageFileError, match=r"in\.(tif|zarr)"):
        list(restore_file(work, file))
    assert not list(tmp_path.glob("*out*"))
