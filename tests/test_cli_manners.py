"""What people and programs expect of a command, whatever it does."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from typer.testing import CliRunner

import napari_rednet as nr
from napari_rednet.batch import restoring
from napari_rednet.cli import app
from napari_rednet.console import printed_warnings
from tests.conftest import small_model
from tests.test_cli import call

COMPRESSIONS = ["zlib", "lzw", "zstd", "packbits", "lzma", "jpeg2000"]


@pytest.fixture
def folder(tmp_path, noisy_camera):
    small_model("denoise").save(tmp_path / "tiny.safetensors")
    (tmp_path / "in").mkdir()
    image = (noisy_camera.clip(0) * 9).astype(np.uint16)
    for name in ("a", "b"):
        tifffile.imwrite(tmp_path / f"in/{name}.tif", image)
    return tmp_path


def said(*arguments):
    """Exit code, lines of standard output, and standard error as one line."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    return result.exit_code, result.stdout.splitlines(), " ".join(result.stderr.split())


def denoise(folder, *arguments):
    return said("denoise", *arguments, "--model", folder / "tiny.safetensors")


def test_the_version_is_told():
    assert said("--version") == (0, [f"napari-rednet {nr.__version__}"], "")


@pytest.mark.parametrize("command", [[], ["denoise"], ["models"], ["models", "add"], ["fine-tune"]])
def test_all_commands_have_short_help(command):
    assert said(*command, "-h")[:2] == said(*command, "--help")[:2]
    assert said(*command, "-h")[1]


def test_short_options_are_the_long_ones(folder):
    code, lines, errors = denoise(folder, folder / "in", "-o", folder / "out", "-q")
    assert (code, lines, errors) == (0, [], "")
    assert (folder / "out/a.tif").exists()


def test_results_go_to_standard_output_and_messages_do_not(folder):
    target = folder / "c.tif"
    code, lines, errors = denoise(folder, folder / "in/a.tif", target)
    assert (code, lines) == (0, [f"written: {target}"])
    assert "noise of channel 0" in errors
    code, lines, errors = denoise(folder, folder / "in", "-o", folder / "out")
    assert lines == [f"2 restored, 0 skipped, 0 failed; report: {folder / 'out/report.csv'}"]
    assert "a.tif" in errors


def test_programs_get_a_line_for_each_file(folder):
    (folder / "in/damaged.tif").write_bytes(b"II*\0damaged")
    code, lines, _ = denoise(folder, folder / "in", "-o", folder / "out", "--json")
    assert code == 1
    first, second, third = map(json.loads, lines)
    assert [f["status"] for f in (first, second, third)] == ["restored", "restored", "failed"]
    assert first["output"] == str(folder / "out/a.tif")
    assert third["source"] == str(folder / "in/damaged.tif")
    assert "cannot be read" in third["reason"]
    noise = nr.estimate_noise(tifffile.imread(folder / "in/a.tif"))
    assert first["noise"] == [vars(noise)]
    assert first["seconds"] > 0
    code, lines, _ = denoise(folder, folder / "in/a.tif", folder / "c.tif", "--json")
    (one,) = map(json.loads, lines)
    assert one == {**first, "output": str(folder / "c.tif"), "seconds": one["seconds"]}
    code, lines, _ = denoise(folder, folder / "in/damaged.tif", folder / "d.tif", "--json", "-q")
    assert code == 1
    assert json.loads(lines[0])["reason"] == third["reason"]


def test_home_is_found_wherever_a_path_is_told(folder, monkeypatch):
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(folder))
    model = ("--model", "~/tiny.safetensors")
    assert said("denoise", "~/in/a.tif", "~/c.tif", *model)[0] == 0
    assert (folder / "c.tif").exists()
    options = ("--out=~/out", "--report=~/table.csv", *model)
    assert said("denoise", "~/in", *options)[0] == 0
    assert (folder / "out/b.tif").exists()
    assert (folder / "table.csv").exists()
    assert said("models", "add", "~/tiny.safetensors")[0] == 0
    code, _, errors = said("denoise", "~nobody-of-this-name/a.tif", "b.tif")
    assert code == 1
    assert "there is no file ~nobody-of-this-name" in errors


def test_warnings_for_developers_are_not_printed(capsys):
    with printed_warnings():
        warnings.warn("an old name", DeprecationWarning, stacklevel=1)
        warnings.warn("a doubtful image", UserWarning, stacklevel=1)
    assert capsys.readouterr().err == "warning: a doubtful image\n"


MISTAKES = [
    ["denoise", "none.tif", "b.tif"],
    ["denoise", "words.txt", "b.tif"],
    ["denoise", "broken.tif", "b.tif"],
    ["denoise", "a.tif", "b.xyz"],
    ["denoise", "a.czi", "b.tif"],
    ["denoise", "none.czi", "b.tif"],
    ["denoise", "a.tif", "folder.tif", "--force"],
    ["denoise", "a.tif", "none/b.tif"],
    ["denoise", "a.tif", "a.tif", "--force"],
    ["denoise", "a.tif", "b.tif", "--strength", "-1"],
    ["denoise", "a.tif", "b.tif", "--series", "x"],
    ["denoise", "a.tif", "b.tif", "--model", "worst"],
    ["denoise", "a.tif", "b.tif", "--model", "none.safetensors"],
    ["denoise", "a.tif", "--out", "b", "--model", "worst"],
    ["denoise", "a.tif", "b.tif", "--memory", "much"],
    ["denoise", "a.tif", "b.tif", "--tile", "3"],
    ["denoise", "a.tif", "b.tif", "--device", "gpu"],
    ["denoise", "none.tif", "b.tif", "--device", "cuda"],
    ["denoise", "none", "--out", "b"],
    ["deblur", "a.tif", "b.tif"],
    ["inpaint", "a.tif", "b.tif", "--mask", "none.png"],
    ["denoise", "--nonsense"],
]
TOLD = """
import sys
from typer.testing import CliRunner
from napari_rednet.cli import app
for arguments in {mistakes!r}:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code in (1, 2), (arguments, result.output)
    assert "rror" in result.output and "Traceback" not in result.output, result.output
    assert not {{"torch", "scipy.ndimage"}} & sys.modules.keys(), arguments
"""


def test_mistakes_are_told_before_what_takes_long_is_loaded(folder):
    tifffile.imwrite(folder / "a.tif", np.zeros((9, 9), np.uint8))
    (folder / "words.txt").write_text("words")
    (folder / "broken.tif").write_bytes(b"II*\0broken")
    (folder / "a.czi").write_text("words")
    (folder / "folder.tif").mkdir()
    program = TOLD.format(mistakes=MISTAKES)
    subprocess.run([sys.executable, "-c", program], cwd=folder, check=True)


def damaged_tiff(path, compression, part):
    values = np.random.default_rng(0).integers(0, 255, (4, 64, 64), dtype=np.uint8)
    sizes = {"tile": (32, 32)} if part == "tile" else {"rowsperstrip": 16}
    plain = {"photometric": "minisblack", "metadata": None}
    tifffile.imwrite(path, values, compression=compression, **sizes, **plain)
    with tifffile.TiffFile(path) as file:
        page = file.pages[2]
        start, count = page.dataoffsets[3], page.databytecounts[3]
    found = bytearray(path.read_bytes())
    found[start : start + count] = b"\xff" * count
    path.write_bytes(found)


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("part", ["strip", "tile"])
def test_damage_in_a_tiff_file_is_named_with_its_place(folder, compression, part):
    damaged_tiff(folder / "bad.tif", compression, part)
    code, lines, errors = denoise(folder, folder / "bad.tif", folder / "out.tif")
    assert (code, lines) == (1, [])
    place = f"{part} 3 of 4 of page 2 is damaged, counted from 0"
    assert f"error: {folder / 'bad.tif'} cannot be read as TIFF: {place}" in errors
    assert "Traceback" not in errors
    assert "━" not in errors
    assert not (folder / "out.tif").exists()


CODECS = {
    "zstd": zarr.codecs.ZstdCodec(checksum=True),
    "gzip": zarr.codecs.GzipCodec(),
    "blosc": zarr.codecs.BloscCodec(),
}


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("damage", ["other bytes", "cut off", "nothing left"])
def test_damage_in_a_zarr_is_named_with_its_place(folder, codec, damage):
    values = np.random.default_rng(0).integers(0, 255, (3, 40, 50), dtype=np.uint8)
    codecs = {"compressors": [CODECS[codec]]}
    zarr.create_array(folder / "a.zarr", data=values, chunks=(1, 20, 25), **codecs)
    chunk = folder / "a.zarr/c/2/1/0"
    stored = chunk.read_bytes()
    broken = {"other bytes": b"\xff" * len(stored), "cut off": stored[:7], "nothing left": b""}
    chunk.write_bytes(broken[damage])
    code, _, errors = denoise(folder, folder / "a.zarr", folder / "b.zarr")
    assert code == 1
    assert f"error: chunk (2, 1, 0) of {folder / 'a.zarr'} cannot be read" in errors
    assert "Traceback" not in errors
    assert "━" not in errors


@pytest.mark.parametrize("error", [MemoryError(), MemoryError("9 GB"), OSError(30, "Read-only")])
def test_what_the_machine_lacks_is_told_in_a_line(folder, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(restoring, "_target", fail)
    code, lines, errors = denoise(folder, folder / "in/a.tif", folder / "c.tif")
    assert (code, lines) == (1, [])
    expected = "not enough memory" if isinstance(error, MemoryError) else "Read-only"
    assert f"error: {folder / 'in/a.tif'}: " in errors
    assert expected in errors
    assert "Traceback" not in errors


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
@pytest.mark.parametrize("out", ["c.tif", "c.png", "c.zarr"])
def test_folders_that_cannot_be_written_to_are_told(folder, monkeypatch, out):
    """As the superuser may write anywhere, the system's refusal is made up."""
    locked = folder / "locked"
    locked.mkdir()
    opened = os.open

    def refusing(path, flags, *rest, **options):
        if str(path).startswith(str(locked)) and flags & (os.O_WRONLY | os.O_RDWR):
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, flags, *rest, **options)

    def refuse(path, *_, **__):
        if str(path).startswith(str(locked)):
            raise PermissionError(13, "Permission denied", str(path))

    if os.geteuid() == 0:
        monkeypatch.setattr(os, "open", refusing)
        for name in ("touch", "mkdir", "write_bytes"):
            real = getattr(Path, name)
            monkeypatch.setattr(
                Path, name, lambda p, *a, real=real, **o: refuse(p) or real(p, *a, **o)
            )
        real_write = tifffile.memmap
        monkeypatch.setattr(
            tifffile, "memmap", lambda p, *a, **o: refuse(p) or real_write(p, *a, **o)
        )
    else:
        locked.chmod(0o500)
    source = tifffile.imread(folder / "in/a.tif").astype(np.uint8)
    tifffile.imwrite(folder / "in/a.tif", source)
    code, _, errors = denoise(folder, folder / "in/a.tif", locked / out)
    assert code == 1
    assert "Permission denied" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("options", [[], ["--force"]])
@pytest.mark.parametrize("name", ["results", "results.tif", "results.png"])
def test_a_folder_as_the_file_to_write_is_told_before_the_work(folder, name, options):
    (folder / name).mkdir()
    code, _, errors = denoise(folder, folder / "in/a.tif", folder / name, *options)
    assert code == 1
    assert f"{folder / name} is a folder; name a file to write, or add --out" in errors
    assert "noise of channel" not in errors


def test_a_file_as_the_zarr_to_write_is_told_before_the_work(folder):
    (folder / "c.zarr").write_text("precious")
    code, _, errors = denoise(folder, folder / "in/a.tif", folder / "c.zarr", "--force")
    assert code == 1
    assert "c.zarr is a file, and a Zarr is a folder" in errors
    assert "noise of channel" not in errors
    assert (folder / "c.zarr").read_text() == "precious"


def test_what_fails_on_the_way_leaves_no_bar(folder, monkeypatch):
    from napari_rednet.restoration import denoise as verb

    real = verb.denoise_steps

    def failing(image, **options):
        yield next(real(image, **options))
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(verb, "denoise_steps", failing)
    code, text = call(
        "denoise", folder / "in/a.tif", folder / "c.tif", "--model", folder / "tiny.safetensors"
    )
    assert code == 1
    assert "Input/output error" in text
    assert "━" not in text
    assert not (folder / "c.tif").exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows counts the whole path")
@pytest.mark.parametrize("suffix", [".tif", ".png", ".zarr"])
@pytest.mark.parametrize("length", [249, 251, 255])
def test_names_may_be_as_long_as_the_file_system_has_them(folder, suffix, length):
    source = folder / "in.tif"
    image = np.random.default_rng(0).integers(0, 255, (40, 50), np.uint8)
    tifffile.imwrite(source, image, compression="zlib")
    target = folder / ("é" * ((length - len(suffix)) // 2))
    target = target.with_name(target.name + suffix)
    code, _, errors = denoise(folder, source, target)
    assert code == 0, errors
    assert target.exists()
    options = ("--out", folder / "out", "--json")
    (folder / "long").mkdir()
    source.rename(folder / "long" / f"{'x' * (length - 4)}.tif")
    code, lines, errors = denoise(folder, folder / "long", *options)
    assert code == 0, errors
    assert json.loads(lines[0])["status"] == "restored"
    left = [p.name for p in (*folder.iterdir(), *(folder / "out").iterdir())]
    assert not [name for name in left if name.endswith((".part", ".raw", ".old", ".lock"))]
