import errno
import os
import signal
import subprocess
import sys
from functools import cache

import numpy as np
import pytest
import tifffile
import torch
from skimage import data
from tests.conftest import psnr, seeded
from tests.finetuning.conftest import (
    STD,
    best_of,
    clean_image,
    go_to,
    prepared,
    tiny,
    tuned,
    weights_of,
    with_noise,
)

import napari_rednet as nr
from napari_rednet.engine.channel import NoiseModel
from napari_rednet.engine.degradations import JpegCorruption
from napari_rednet.finetuning import session
from napari_rednet.finetuning.session import Validation
from napari_rednet.training.loop import read_rows

CLEAN = clean_image()
NOISY = with_noise(CLEAN)
OTHER_NOISY = with_noise(data.camera()[300:460, 150:330], seed=7)

DENOISING = {
    "paired": (NOISY, CLEAN),
    "clean": (None, CLEAN),
    "pseudo-clean": (NOISY, None),
}


# What is learnt ----------------------------------------------------------------------------


@cache
def learnt(way):
    if way == "clean of other scenes":
        return tuned(OTHER_NOISY, CLEAN, method="clean")
    return tuned(*DENOISING[way], method=way)


@pytest.mark.parametrize(
    "way", [*DENOISING, pytest.param("clean of other scenes", marks=pytest.mark.slow)]
)
def test_every_way_to_learn_denoises_better(way):
    model = learnt(way)
    assert model.info["training"]["method"] == way.split()[0]
    assert model.info["training"]["gain_over_base_in_db"] > 0
    before, after = (psnr(CLEAN, nr.denoise(NOISY, model=m)) for m in (tiny(), model))
    assert after > before + (0.5 if way == "pseudo-clean" else 1)


def test_noisy_images_alone_do_not_shift_the_mean():
    restored = nr.denoise(NOISY, model=learnt("pseudo-clean"))
    assert restored.mean() == pytest.approx(NOISY.mean(), abs=0.01 * 255)


RESTORING = {
    "deblock": lambda image, model: nr.deblock(image, model=model),
    "super_resolve": lambda image, model: nr.super_resolve(image, 2, model=model),
    "inpaint": lambda image, model: nr.inpaint(image, image == 0, model=model),
}


def worse(task, clean):
    """A clean image as a task finds it."""
    if task == "super_resolve":
        return clean.reshape(clean.shape[0] // 2, 2, clean.shape[1] // 2, 2).mean((1, 3))
    if task == "inpaint":
        hidden = np.random.default_rng(0).random(clean.shape) < 0.5
        return np.where(hidden, 0, np.maximum(clean, 1))
    return as_jpeg(clean, 25)


def as_jpeg(clean, quality):
    corruption = JpegCorruption(lowest=quality, highest=quality, margin=0)
    image = torch.from_numpy(clean / 255).float()[None, None]
    return corruption(image, seeded())[0][0, 0].numpy() * 255


@pytest.mark.parametrize(
    "task",
    ["super_resolve", "inpaint", pytest.param("deblock", marks=pytest.mark.slow)],  # see its pairs
)
def test_every_task_is_learnt_from_clean_images(task):
    clean = CLEAN.astype(np.uint8)
    model = tuned(clean, task=task, steps=150, patch=64 if task == "super_resolve" else 32)
    assert (model.task, model.info["training"]["method"]) == (task, "clean")
    assert model.info["training"]["gain_over_base_in_db"] > 0
    image = worse(task, CLEAN)
    before, after = (psnr(CLEAN, RESTORING[task](image, m)) for m in (tiny(task), model))
    assert after > before


def test_deblocking_is_learnt_from_pairs():
    image = as_jpeg(CLEAN, 15)
    model = tuned(image, CLEAN, task="deblock")
    assert model.info["training"]["method"] == "paired"
    before, after = (psnr(CLEAN, nr.deblock(image, model=m)) for m in (tiny("deblock"), model))
    assert after > before


def test_other_gain_and_offset_of_targets_change_nothing():
    """They are exposure and background, not something to learn."""
    expected, found = (tuned(NOISY, c, steps=40) for c in (CLEAN, 3 * CLEAN + 1000))
    moved = (weights_of(expected) - weights_of(tiny())).abs().max()
    difference = (weights_of(expected) - weights_of(found)).abs().max()
    assert difference < 0.02 * moved
    restored = [nr.denoise(NOISY, model=m) for m in (expected, found)]
    np.testing.assert_allclose(*restored, atol=0.05)


@pytest.mark.parametrize("method", ["paired", "pseudo-clean"])
def test_pixels_that_are_not_finite_teach_nothing(method):
    models = []
    for value in (np.nan, np.inf):
        image = NOISY.copy()
        image[10:40, 20:90] = value
        image[-20:, 50:60] = -value
        targets = (CLEAN,) if method == "paired" else ()
        models.append(tuned(image, *targets, method=method, steps=40))
    torch.testing.assert_close(*map(weights_of, models), rtol=0, atol=0)
    assert torch.isfinite(weights_of(models[0])).all()
    assert models[0].info["training"]["gain_over_base_in_db"] > 0


def test_targets_under_unknown_pixels_have_no_influence():
    image, other = NOISY.copy(), CLEAN.copy()
    image[10:40, 20:90] = np.nan
    other[10:40, 20:90] = 77.0
    models = [tuned(image, targets, steps=40) for targets in (CLEAN, other)]
    torch.testing.assert_close(*map(weights_of, models), rtol=0, atol=0)


@pytest.mark.parametrize("area", [np.s_[-40:], np.s_[:, :-40]])
def test_regions_without_a_known_pixel_may_lie_anywhere(area):
    """The rows that measure the progress as well: stitched images end in empty ones."""
    image = NOISY.copy()
    image[area] = np.nan
    tuning = prepared(image, CLEAN, steps=20)
    assert all(np.isfinite(status.loss) for status in tuning.run())
    assert np.isfinite(tuning.trainer.best_score)


def test_images_are_not_changed():
    image, target = NOISY.astype(np.float32), CLEAN.astype(np.float32)
    image[3:9, 3:9] = np.nan
    copies = image.copy(), target.copy()
    image.flags.writeable = target.flags.writeable = False
    prepared(image, target, steps=10)
    prepared(image, steps=10)
    prepared(None, target, steps=10)
    np.testing.assert_array_equal(image, copies[0])
    np.testing.assert_array_equal(target, copies[1])


def test_a_list_may_mix_dtypes_and_sizes():
    images = [
        NOISY.clip(0).astype(np.uint16)[:100],
        NOISY[:, :90].astype(np.float32),
        np.stack([NOISY, NOISY[::-1]]).clip(0, 255).astype(np.uint8),
    ]
    tuning = prepared(images)
    assert len(tuning.plan.training) == 4
    assert {e.shape[1] for e in tuning.plan.training} == {90, 180}


# Seeds, lengths, arguments -----------------------------------------------------------------


def test_a_seed_gives_the_same_weights_again():
    first, second, other = (weights_of(tuned(NOISY, CLEAN, steps=20, seed=s)) for s in (3, 3, 4))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_steps_decide_over_minutes():
    tuning = prepared(NOISY, CLEAN, steps=30, minutes=1e-9)
    last = list(tuning.run())[-1]
    assert (last.step, last.fraction, last.remaining_minutes) == (30, 1, 0)
    tuning = prepared(NOISY, CLEAN, steps=None, minutes=1e-4)
    last = list(tuning.run())[-1]
    assert last.fraction == 1
    assert last.minutes >= 1e-4


def test_progress_comes_in_per_mille():
    reports = []
    tuned(NOISY, CLEAN, steps=40, progress=lambda *report: reports.append(report))
    done = [share for share, _ in reports]
    assert {250, 500, 750, 1000} <= set(done)  # slow steps are told in between
    assert done == sorted(done)
    assert {whole for _, whole in reports} == {1000}


@pytest.mark.parametrize(
    ("images", "targets", "changes", "message"),
    [
        (None, None, {}, "give images, targets"),
        (NOISY, None, {"method": "paired"}, "'paired' does not go with what is given"),
        (NOISY, CLEAN, {"method": "pseudo-clean"}, "possible: paired, clean"),
        (None, CLEAN, {"method": "pseudo-clean"}, "possible: clean"),
        (NOISY, None, {"method": "guess"}, "method must be one of paired"),
        (NOISY, None, {"method": "blind-spot"}, "method must be one of paired"),
        (NOISY, CLEAN, {"task": "super_resolve"}, "learns from clean images alone"),
        (NOISY, CLEAN, {"task": "inpaint"}, "learns from clean images alone"),
        (None, CLEAN, {"task": "deblock"}, "learns from clean images alone"),
        (NOISY, None, {"task": "paint", "model": "fast"}, "task must be one of denoise"),
        (NOISY, CLEAN[:-1], {}, r"got \(159, 180\).* for \(160, 180\)"),
        (NOISY, [CLEAN, CLEAN], {}, "as many as images, got 2 for 1"),
        (NOISY[:50, :20], None, {}, "at least patch = 32 pixels along Y and X, got 50 x 20"),
        ([], None, {}, "images must hold at least one image"),
        (NOISY[:0], None, {}, "empty"),
        (NOISY[0], None, {}, "at least 2 axes"),
        (NOISY, None, {"steps": 0}, "steps must be at least 1"),
        (NOISY, None, {"steps": None, "minutes": 0}, "length of a training must be positive"),
        (NOISY, None, {"steps": None, "minutes": -1}, "minutes must be finite and not negative"),
        (NOISY, None, {"batch": 0}, "batch must be at least 1"),
        (NOISY, None, {"patch": 20}, "patch must be at least 24"),
        (NOISY, None, {"rate": 0}, "rate must be above 0"),
        (NOISY, None, {"seed": -1}, "seed must be at least 0"),
        (NOISY, None, {"noise": -1}, "noise must be finite"),
        (NOISY, None, {"noise": [1, 2]}, "one entry for each of the 1 channels"),
        (NOISY, None, {"resume": True}, "resume needs the folder"),
        (NOISY, None, {"channel_axis": 2}, "channel_axis must lie between"),
    ],
)
def test_mistakes_are_named(images, targets, changes, message):
    with pytest.raises(ValueError, match=message):
        tuned(images, targets, **changes)


@pytest.mark.parametrize(
    ("images", "changes"),
    [
        (NOISY > 100, {}),
        (NOISY.astype(complex), {}),
        ([None], {}),
        (NOISY, {"steps": 1.5}),
        (NOISY, {"rate": "fast"}),
        (NOISY, {"noise": "strong"}),
        (NOISY, {"model": 3}),
    ],
)
def test_wrong_types_are_refused(images, changes):
    with pytest.raises(TypeError, match=r"must (hold|be)"):
        tuned(images, **changes)


@pytest.mark.parametrize("kind", [bool, complex])
def test_targets_must_be_real_numbers_as_well(kind):
    with pytest.raises(TypeError, match="real floating-point numbers"):
        tuned(NOISY, CLEAN.astype(kind))


@pytest.mark.parametrize(
    ("images", "targets", "message"),
    [
        (np.full((60, 60), 7), None, "nothing to learn"),
        (np.full((3, 60, 60), 7.0), None, "nothing to learn"),
        (np.full((60, 60), np.nan), None, "nothing to learn"),
        (None, np.zeros((60, 60), np.uint8), "nothing to learn"),
        (NOISY, np.full_like(NOISY, 7), "a target is constant"),
        (NOISY, np.full_like(NOISY, np.nan), "a target is constant"),
        (NOISY, np.random.default_rng(0).random(NOISY.shape), "do not show the same"),
        (NOISY, -CLEAN, "do not show the same"),
        ([NOISY, NOISY[::-1, ::-1]], [CLEAN[::-1, ::-1], CLEAN], "look at their order"),
    ],
)
def test_images_that_teach_nothing_are_named(images, targets, message):
    with pytest.raises(nr.TrainingError, match=message):
        tuned(images, targets)


def test_the_model_must_be_for_the_task(tmp_path):
    tiny("deblock").save(tmp_path / "deblocker.safetensors")
    for model in (tiny("deblock"), tmp_path / "deblocker.safetensors", "sr-fast"):
        with pytest.raises(nr.ModelError, match="not for denoise"):
            tuned(NOISY, model=model)
    with pytest.raises(nr.ModelError, match="no model 'none'"):
        tuned(NOISY, model="none")


# The best model ----------------------------------------------------------------------------


def script_scores(monkeypatch, scores):
    """Let checks find these scores, the first for the base; returns the weights that they saw."""
    seen = []

    def validate(self, network):
        seen.append(weights_of(network).clone())
        return scores[min(len(seen), len(scores)) - 1]

    monkeypatch.setattr(Validation, "__call__", validate)
    return seen


def test_the_best_check_is_the_model(monkeypatch):
    seen = script_scores(monkeypatch, [0.0, 0.5, 2.0, 1.0, 1.9])
    model = tuned(NOISY, CLEAN, steps=40)
    assert len(seen) == 5
    assert torch.equal(weights_of(model), seen[2])
    assert model.info["training"]["gain_over_base_in_db"] == 2.0


def test_the_base_is_kept_where_nothing_is_better(monkeypatch):
    script_scores(monkeypatch, [0.0, -0.5])
    with pytest.warns(UserWarning, match="nothing better than tiny was found"):
        model = tuned(NOISY, CLEAN, steps=40)
    assert torch.equal(weights_of(model), weights_of(tiny()))
    assert model.info["training"]["gain_over_base_in_db"] == 0


def test_the_base_itself_is_not_trained():
    base = tiny()
    before = weights_of(base).clone()
    tuned(NOISY, CLEAN, steps=20, model=base)
    assert torch.equal(weights_of(base), before)
    assert not any(p.requires_grad for p in base.network.parameters())


def test_a_training_that_gets_no_better_ends_early(monkeypatch):
    seen = script_scores(monkeypatch, [0.0, 1.0, 2.0, -1.0])
    tuning = prepared(NOISY, CLEAN, steps=200)
    last = list(tuning.run())[-1]
    assert last.step < 200
    assert len(seen) == 3 + tuning.plan.config.patience
    assert torch.equal(best_of(tuning), seen[2])


def test_held_out_rows_measure_what_the_status_says():
    tuning = prepared(NOISY, CLEAN, steps=60)
    statuses = list(tuning.run())
    gains = [s.gain for s in statuses if s.is_check]
    assert max(0, *gains) == statuses[-1].best_gain == tuning.trainer.best_score
    preview = tuning.preview()
    shapes = {a.shape for a in (preview.before, preview.base, preview.now, preview.target)}
    assert len(shapes) == 1
    errors = [np.square(a - preview.target).mean() for a in (preview.now, preview.base)]
    assert errors[0] < errors[1]
    assert prepared(NOISY).preview().target is None


# Files -------------------------------------------------------------------------------------


def test_a_saved_model_says_where_it_comes_from(tmp_path):
    stack = np.stack([NOISY, OTHER_NOISY]).clip(0).astype(np.uint16)
    model = tuned(stack, name="cells", steps=60)
    info = model.info
    assert info["base"] == "tiny"
    assert info["data"] == {"stacks": 1, "planes": 2, "pixels": stack.size, "dtype": "uint16"}
    assert info["training"]["steps"] == 60
    noise = NoiseModel(**info["noise_model"])
    span = info["normalization"]["high"] - info["normalization"]["low"]
    assert noise.std(0.5) * span == pytest.approx(STD, rel=0.25)
    model.save(tmp_path / "cells.safetensors")
    loaded = nr.load_model(tmp_path / "cells.safetensors")
    assert (loaded.name, loaded.task, loaded.info) == ("cells", "denoise", info)
    restored = nr.denoise(NOISY, model=tmp_path / "cells.safetensors")
    assert abs(restored - nr.denoise(NOISY, model=model)).mean() < 0.3


@pytest.mark.parametrize(
    ("images", "targets"), [(NOISY, None), (NOISY, 3 * CLEAN + 1000), (None, CLEAN)]
)
def test_known_noise_is_in_the_units_of_the_images(images, targets):
    """Those of the targets only where there are no images."""
    known = NoiseModel(gain=1.5, offset=10, read_noise=4)
    for method in (None, "clean") if targets is not None else (None,):
        info = prepared(images, targets, noise=known, method=method).plan.info
        low, high = info["normalization"]["low"], info["normalization"]["high"]
        expected = known.normalized(low, high - low)
        assert NoiseModel(**info["noise_model"]) == expected


def test_unknown_noise_is_not_made_up():
    assert "noise_model" not in prepared(None, CLEAN).plan.info


def test_a_tuned_model_can_be_tuned_on(tmp_path):
    tuned(NOISY, CLEAN, steps=60, name="once").save(tmp_path / "once.safetensors")
    once = nr.load_model(tmp_path / "once.safetensors")
    again = prepared(NOISY, CLEAN, steps=60, model=tmp_path / "once.safetensors")
    assert torch.equal(best_of(again), weights_of(once))
    list(again.run())
    model = again.model()
    assert (model.info["base"], model.name) == ("once", "once-tuned")
    images = [nr.denoise(NOISY, model=m) for m in (tiny(), once, model)]
    assert psnr(CLEAN, images[0]) < psnr(CLEAN, images[1]) < psnr(CLEAN, images[2])


# Resuming ----------------------------------------------------------------------------------

LENGTH = {"steps": 60}


def states(tuning):
    trainer = tuning.trainer
    return [weights_of(trainer.network), weights_of(trainer.average), best_of(tuning)]


def test_a_resumed_training_ends_where_the_uninterrupted_one_does(tmp_path):
    whole = prepared(NOISY, CLEAN, **LENGTH)
    list(whole.run())
    run = prepared(NOISY, CLEAN, folder=tmp_path, **LENGTH).run()
    go_to(20, run).close()
    resumed = prepared(NOISY, CLEAN, folder=tmp_path, resume=True, **LENGTH)
    assert resumed.trainer.step == 20
    list(resumed.run())
    assert all(torch.equal(a, b) for a, b in zip(states(whole), states(resumed), strict=True))
    assert whole.trainer.best_score == resumed.trainer.best_score


def test_resuming_keeps_a_best_model_that_is_never_reached_again(tmp_path, monkeypatch):
    seen = script_scores(monkeypatch, [0.0, 5.0, 1.0, 1.0])
    run = prepared(NOISY, CLEAN, folder=tmp_path, **LENGTH).run()
    go_to(20, run).close()
    resumed = prepared(NOISY, CLEAN, folder=tmp_path, resume=True, **LENGTH)
    list(resumed.run())
    assert torch.equal(best_of(resumed), seen[1])


def test_a_finished_training_is_not_trained_on(tmp_path):
    expected = tuned(NOISY, CLEAN, folder=tmp_path, **LENGTH)
    resumed = tuned(NOISY, CLEAN, folder=tmp_path, resume=True, **LENGTH)
    assert torch.equal(weights_of(expected), weights_of(resumed))
    assert resumed.info["training"]["steps"] == 60


def test_resuming_without_a_checkpoint_begins(tmp_path):
    expected = tuned(NOISY, CLEAN, steps=20)
    found = tuned(NOISY, CLEAN, steps=20, folder=tmp_path / "new", resume=True)
    assert torch.equal(weights_of(expected), weights_of(found))


SCRIPT = """
import sys
from pathlib import Path
from tests.finetuning.test_fine_tune import CLEAN, LENGTH, NOISY, prepared
tuning = prepared(NOISY, CLEAN, folder=Path(sys.argv[1]), resume=True, **LENGTH)
for status in tuning.run():
    if status.is_check:
        print(status.step, flush=True)
"""


@pytest.mark.slow
def test_a_killed_process_is_resumed_to_the_same_end(tmp_path):
    whole = prepared(NOISY, CLEAN, **LENGTH)
    list(whole.run())
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "10\n"
        os.kill(process.pid, signal.SIGKILL)
    for name in ("best", "last"):
        assert nr.load_model(tmp_path / f"{name}.safetensors").task == "denoise"
    resumed = prepared(NOISY, CLEAN, folder=tmp_path, resume=True, **LENGTH)
    assert resumed.trainer.step >= 10
    list(resumed.run())
    for a, b in zip(states(whole), states(resumed), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "other",
    [
        {"images": OTHER_NOISY, "targets": data.camera()[300:460, 150:330]},
        {"seed": 5},
        {"rate": 1e-4},
        {"batch": 2},
        {"method": "clean"},
        {"targets": None},
    ],
)
def test_another_training_is_not_continued(other, tmp_path):
    given = {"images": NOISY, "targets": CLEAN, "folder": tmp_path, **LENGTH}
    go_to(10, prepared(**given).run()).close()
    before = (tmp_path / "checkpoint.pt").read_bytes()
    with pytest.raises(nr.TrainingError, match="another training"):
        prepared(**{**given, "resume": True, **other})
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_a_training_is_not_overwritten(tmp_path):
    go_to(10, prepared(NOISY, CLEAN, folder=tmp_path, **LENGTH).run()).close()
    before = (tmp_path / "checkpoint.pt").read_bytes()
    with pytest.raises(ValueError, match="holds a training; resume it"):
        tuned(NOISY, CLEAN, folder=tmp_path, **LENGTH)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_a_training_is_lost_when_another_one_begins_in_its_place(tmp_path):
    """Not before: wrong arguments leave it as it is."""
    given = {"images": NOISY, "targets": CLEAN, "folder": tmp_path, **LENGTH}
    go_to(10, prepared(**given).run()).close()
    before = (tmp_path / "checkpoint.pt").read_bytes()
    with pytest.raises(ValueError, match="patch"):
        tuned(**given, overwrite=True, patch=4096)
    another = prepared(**given, overwrite=True, seed=5)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    run = another.run()
    go_to(10, run)
    assert (tmp_path / "checkpoint.pt").read_bytes() != before
    for _ in run:
        pass
    steps = [row["step"] for row in read_rows(tmp_path / "log.csv")]
    assert steps == sorted(set(steps))


def test_a_damaged_checkpoint_is_named(tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"damaged")
    with pytest.raises(nr.TrainingError, match=r"checkpoint.pt cannot be read"):
        tuned(NOISY, CLEAN, folder=tmp_path, resume=True)


def test_a_folder_that_cannot_be_written_is_named_before_work(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")

    def fail(*_):
        raise AssertionError("something was computed")

    monkeypatch.setattr("napari_rednet.finetuning.planning.read_examples", fail)
    with pytest.raises(nr.TrainingError, match=r"cannot be kept in .*file"):
        tuned(NOISY, CLEAN, folder=tmp_path / "file" / "run")


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left"), RuntimeError("file write failed")]
)
def test_a_full_disk_does_not_end_the_training(error, tmp_path, monkeypatch):
    expected = tuned(NOISY, CLEAN, **LENGTH)
    tuning = prepared(NOISY, CLEAN, folder=tmp_path, **LENGTH)
    run = tuning.run()
    go_to(10, run)
    before = (tmp_path / "checkpoint.pt").read_bytes()

    def fail(state, path):
        path.write_bytes(b"half of it")
        raise error

    monkeypatch.setattr(torch, "save", fail)
    with pytest.warns(UserWarning, match="the training goes on, without it"):
        list(run)
    assert torch.equal(best_of(tuning), weights_of(expected))
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert not list(tmp_path.glob("*.part"))


def test_a_model_that_cannot_be_kept_does_not_end_the_training(tmp_path, monkeypatch):
    tuning = prepared(NOISY, CLEAN, folder=tmp_path, **LENGTH)
    run = tuning.run()
    go_to(10, run)
    before = (tmp_path / "best.safetensors").read_bytes()

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left")

    monkeypatch.setattr("pathlib.Path.write_bytes", fail)
    with pytest.warns(UserWarning, match=r"safetensors.*the training goes on, without it") as told:
        last = list(run)[-1]
    assert {name for name in ("best", "last") for w in told if name in str(w.message)} == {
        "best",
        "last",
    }
    assert last.fraction == 1
    assert (tmp_path / "best.safetensors").read_bytes() == before


def test_kept_models_are_the_best_and_the_last(tmp_path, monkeypatch):
    seen = script_scores(monkeypatch, [0.0, 2.0, 1.0])
    tuned(NOISY, CLEAN, folder=tmp_path, **LENGTH)
    for name, expected in (("best", seen[1]), ("last", seen[-1])):
        kept = weights_of(nr.load_model(tmp_path / f"{name}.safetensors"))
        assert torch.equal(kept, expected.half().float())
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["best.safetensors", "checkpoint.pt", "last.safetensors", "log.csv"]


def test_files_are_learnt_from_like_arrays(tmp_path):
    stack = np.stack([NOISY, OTHER_NOISY]).clip(0).astype(np.uint16)
    tifffile.imwrite(tmp_path / "stack.tif", stack, imagej=True, metadata={"axes": "ZYX"})
    models = [tuned(images, steps=60) for images in (stack, tmp_path / "stack.tif")]
    assert torch.equal(*map(weights_of, models))


def test_a_loss_that_is_not_finite_is_survived(monkeypatch):
    """Once: the last good weights come back, with half the rate."""
    paired = session._batches

    def sometimes_broken(plan, device):
        make_batch, calls = paired(plan, device), []

        def make(generator):
            calls.append(0)
            inputs, targets, weights = make_batch(generator)
            return inputs, targets * (np.nan if len(calls) == 25 else 1), weights

        return make

    monkeypatch.setattr(session, "_batches", sometimes_broken)
    tuning = prepared(NOISY, CLEAN, **LENGTH)
    statuses = list(tuning.run())
    assert {10, 20, 30, 40, 50, 60} <= {s.step for s in statuses}  # slow steps are told as well
    assert all(np.isfinite(s.loss) for s in statuses)
    assert tuning.trainer._rate_factor == 0.5
    assert tuning.trainer.best_score > 0


def test_all_options_reach_the_training():
    plan = prepared(NOISY, CLEAN, batch=3, patch=40, rate=1e-4, seed=9, steps=7, name="n").plan
    config = plan.config
    found = (plan.batch, plan.patch, config.rate, config.seed, config.steps, plan.name)
    assert found == (3, 40, 1e-4, 9, 7, "n")
    for method, given in DENOISING.items():
        plan = prepared(*given, method=method, rate=None, batch=None).plan
        assert (plan.batch, plan.config.rate) == (8, 3e-4)


def test_super_resolution_says_which_patches_it_takes():
    """By the name of the argument, before anything is computed."""
    with pytest.raises(ValueError, match="patch must"):
        prepared(CLEAN.astype(np.uint8), task="super_resolve", patch=32)


@pytest.mark.parametrize("other", [{"targets": CLEAN[::-1]}, {"noise": 50.0}, {"model": "other"}])
def test_a_training_on_other_targets_is_not_continued(other, tmp_path):
    given = {"images": NOISY, "targets": CLEAN + NOISY[::-1], "folder": tmp_path, **LENGTH}
    go_to(10, prepared(**given).run()).close()
    if "model" in other:
        other = {"model": tiny(seed=1)}
    with pytest.raises(nr.TrainingError, match="another training"):
        prepared(**{**given, "resume": True, **other})


def test_a_batch_of_one_is_enough():
    list(prepared(NOISY, CLEAN, batch=1, steps=10).run())


def test_patches_may_be_as_large_as_the_images():
    clean = data.camera()[:400, :400].astype(float)
    list(prepared(with_noise(clean), clean, batch=4, patch=320, steps=1).run())
