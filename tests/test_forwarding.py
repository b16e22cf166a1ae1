"""Every option of every function that restores, from every front door to the function."""

import numpy as np
import pytest
import tifffile

import napari_rednet as nr
from napari_rednet.batch.restoring import make_work
from napari_rednet.provenance import Call, Origin, as_command_line, as_python
from napari_rednet.tasks import VERBS
from tests.conftest import small_model, stack_model
from tests.test_cli import call

# What is told of an image by the image, or by who asks.
OF_THE_CALL = {"channel_axis", "rgb", "progress", "out"}
LEVEL = {"gain": 0.0, "offset": 0.0, "read_noise": 7.0, "grain_y": 0.0, "grain_x": 0.0}
GAUSSIAN = {"function": "gaussian", "values": [1.3]}


class Value:
    """An option that is not as by default: on the command line, in a record, for the function."""

    def __init__(self, words, plain, expected=None):
        self.words, self.plain = words, plain
        self.expected = plain if expected is None else expected


def values(folder):
    """A value of every option."""
    mask, model = folder / "mask.tif", folder / "tiny.safetensors"
    return {
        "noise": Value(["--noise", "7"], [LEVEL], [nr.NoiseModel(read_noise=7.0)]),
        "strength": Value(["--strength", "0.7"], 0.7),
        "scale": Value(["--scale", "3"], 3),
        "mask": Value(
            ["--mask", mask], {"name": "m", "path": str(mask), "shape": list(MASK.shape)}, MASK
        ),
        "psf": Value(["--gaussian", "1.3"], GAUSSIAN, nr.psf.gaussian(1.3)),
        "center": Value(["--center", "mass"], "mass"),
        "along": Value(["--along", "0"], 0),
        "iterations": Value(["--iterations", "3"], 3),
        "defects": Value(["--defects", "keep"], "keep"),
        "dtype": Value(["--dtype", "float32"], "float32"),
        "model": Value(["--model", model], str(model), "tiny"),
        "ensemble": Value(["--ensemble"], True),
        "device": Value(["--device", "cpu"], "cpu"),
        "tile": Value(["--tile", "64"], 64),
        "memory": Value(["--memory", "2GB"], "2GB"),
    }


MASK = np.eye(24, 20, dtype=bool)
CASES = [
    (verb, option) for verb, row in VERBS.items() for option in row.options.keys() - OF_THE_CALL
]


@pytest.fixture
def folder(tmp_path, camera):
    tifffile.imwrite(tmp_path / "in.tif", camera[:24, :20])
    tifffile.imwrite(tmp_path / "mask.tif", MASK.astype(np.uint8))
    return tmp_path


@pytest.fixture
def told(monkeypatch):
    """What the functions are told; they do nothing."""
    found = {}

    def fake(verb):
        def steps(image, *, out, **arguments):
            found[verb] = arguments
            yield 0, 1
            return out

        return steps

    for verb in VERBS:
        monkeypatch.setattr(f"napari_rednet.restoration.{verb}.{verb}_steps", fake(verb))
    return found


def prepared(folder, verb, option):
    """The values, and the words that a command needs besides."""
    known = values(folder)
    small_model(VERBS[verb].task).save(folder / "tiny.safetensors")
    needed = known["psf"].words if verb == "deblur" and option != "psf" else []
    if option == "along":
        stack_model().save(folder / "stack.safetensors")
        needed = ["--model", folder / "stack.safetensors"]
    return known[option], needed


def same(told, expected):
    if hasattr(told, "name"):
        return told.name == expected
    return np.array_equal(told, expected) if isinstance(expected, np.ndarray) else told == expected


def test_every_option_is_tried(folder):
    options = {option for row in VERBS.values() for option in row.options}
    assert values(folder).keys() == options - OF_THE_CALL


@pytest.mark.parametrize(("verb", "option"), sorted(CASES))
def test_commands_tell_the_function(folder, told, verb, option):
    value, needed = prepared(folder, verb, option)
    words = [VERBS[verb].command, folder / "in.tif", folder / "out.tif", *needed, *value.words]
    code, text = call(*words)
    assert code == 0, text
    assert same(told[verb][option], value.expected)


@pytest.mark.parametrize(("verb", "option"), sorted(CASES))
def test_batches_tell_the_function(folder, told, verb, option):
    value, _ = prepared(folder, verb, option)
    arguments = {"psf": nr.psf.gaussian(2.0)} if verb == "deblur" else {}
    arguments |= {"model": folder / "stack.safetensors"} if option == "along" else {}
    given = LEVEL["read_noise"] if option == "noise" else value.expected
    given = value.plain if option == "model" else given
    work = make_work(verb, {**arguments, option: given})
    image = tifffile.imread(folder / "in.tif")
    open_image = type(
        "Open", (), {"data": image, "channel_axis": None, "is_rgb": False, "axes": "YX"}
    )
    next(work.prepare(open_image).make_steps(image, out=None))
    assert same(told[verb][option], value.expected)


@pytest.mark.parametrize(("verb", "option"), sorted(CASES))
def test_copied_code_tells_the_function(folder, told, verb, option, monkeypatch):
    value, _ = prepared(folder, verb, option)
    arguments = {"psf": GAUSSIAN} if verb == "deblur" else {}
    source = Origin("in", str(folder / "in.tif"), "planes")
    copied = Call(verb, source, {**arguments, option: value.plain})
    line = as_command_line(copied)
    assert all(str(word) in line for word in value.words)
    seen = {}

    def function(image, *positional, **given):
        seen.update(given)
        seen.update(zip(VERBS[verb].options, positional, strict=False))
        return image

    monkeypatch.setattr(nr, verb, function, raising=False)
    monkeypatch.chdir(folder)
    exec(as_python(copied), {})
    expected = value.expected[0] if option == "noise" else value.expected
    expected = value.plain if option == "model" else expected
    got = seen[option]
    got = nr.NoiseModel(read_noise=float(got)) if option == "noise" and np.isscalar(got) else got
    assert same(np.asarray(got) != 0 if option == "mask" else got, expected)
