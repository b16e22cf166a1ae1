import csv
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

from napari_rednet.engine.network import NetworkConfig, RedNet, initialize
from napari_rednet.errors import TrainingError
from napari_rednet.training import LOSSES, TrainingConfig
from napari_rednet.training.loop import Trainer, _has_diverged

CPU = torch.device("cpu")
CONFIG = TrainingConfig(steps=60, interval=20, rate=2e-3, warm_up=5)
OPTIMIZERS = {"adamw": CONFIG, "muon": replace(CONFIG, optimizer="muon", muon_rate=0.02)}
BY_DEFAULT_ONE = ["muon", pytest.param("adamw", marks=pytest.mark.slow)]

# A run in a process of its own: it is killed at some step, as by a power cut.
SCRIPT = """
import sys
from pathlib import Path
from tests.training.test_loop import OPTIMIZERS, make_trainer
trainer = make_trainer(OPTIMIZERS[sys.argv[2]], Path(sys.argv[1]))
trainer.resume()
for status in trainer.run():
    print(status.step, flush=True)
"""


def make_batch(generator, count=4):
    clean = torch.rand((count, 1, 16, 16), generator=generator)
    clean = torch.nn.functional.avg_pool2d(clean, 5, 1, 2)
    noisy = clean + 0.2 * torch.randn(clean.shape, generator=generator)
    return noisy, clean, torch.ones(count, 1, 1, 1)


def make_trainer(config, folder=None, **options):
    network = RedNet(NetworkConfig(layers=6, features=8))
    initialize(network, torch.Generator().manual_seed(config.seed))
    return Trainer(network, make_batch, config, CPU, folder=folder, **options)


def rows(folder):
    with (folder / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def weights(trainer):
    return torch.cat([p.flatten() for p in trainer.average.parameters()])


@pytest.mark.parametrize("loss", LOSSES)
def test_training_learns(loss):
    statuses = list(make_trainer(replace(CONFIG, steps=200, loss=loss)).run())
    assert statuses[-1].loss < 0.75 * statuses[0].loss
    assert [s.step for s in statuses] == list(range(20, 201, 20))
    assert statuses[-1].fraction == 1


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_rates_warm_up_and_fall_to_nothing(optimizer):
    config = OPTIMIZERS[optimizer]
    trainer = make_trainer(replace(config, interval=1))
    rates, used = [], []
    for status in trainer.run():
        rates.append(status.rate)
        used.append([group["lr"] for group in trainer._optimizer.param_groups])
    assert rates[0] < rates[4]
    assert max(rates) <= config.rate
    assert rates[-1] < 1e-3 * config.rate
    # All rates go up and down together, each to its own peak; what is told is the next one.
    peaks = {"adamw": [config.rate], "muon": [config.muon_rate, config.rate]}[optimizer]
    for told, next_used in zip(rates, used[1:], strict=False):
        assert next_used == pytest.approx([told / config.rate * peak for peak in peaks])


@pytest.mark.parametrize("optimizer", BY_DEFAULT_ONE)
def test_squared_errors_count_from_a_share_of_the_training_on(optimizer):
    """Until there, it is the same training as one of the other error."""
    config = replace(OPTIMIZERS[optimizer], loss="absolute")
    first, second, squared = (
        make_trainer(c)
        for c in (config, replace(config, squared_from=0.5), replace(config, squared_from=0.0))
    )
    losses = [[s.loss for s in trainer.run()] for trainer in (first, second, squared)]
    assert losses[0][0] == losses[1][0]
    assert losses[1][2] < 0.5 * losses[0][2]
    assert losses[2][0] < 0.5 * losses[0][0]
    plain = make_trainer(replace(config, loss="squared"))
    assert [s.loss for s in plain.run()] == losses[2]


def test_a_seed_gives_the_same_weights_again():
    first, second, other = (make_trainer(replace(CONFIG, seed=s)) for s in (1, 1, 2))
    for trainer in (first, second, other):
        list(trainer.run())
    assert torch.equal(weights(first), weights(second))
    assert not torch.equal(weights(first), weights(other))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_resumed_training_ends_where_the_uninterrupted_one_does(optimizer, tmp_path):
    config = OPTIMIZERS[optimizer]
    whole = make_trainer(config, tmp_path / "whole")
    list(whole.run())
    first = make_trainer(config, tmp_path / "parts").run()
    next(first)
    first.close()
    second = make_trainer(config, tmp_path / "parts")
    assert second.resume()
    assert second.step == 20
    list(second.run())
    assert torch.equal(weights(second), weights(whole))
    assert [r["loss"] for r in rows(tmp_path / "parts")] == [
        r["loss"] for r in rows(tmp_path / "whole")
    ]


@pytest.mark.parametrize("optimizer", BY_DEFAULT_ONE)
def test_a_killed_process_is_resumed_to_the_same_end(optimizer, tmp_path):
    whole = make_trainer(OPTIMIZERS[optimizer], tmp_path / "whole")
    list(whole.run())
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "killed"), optimizer]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "20\n"
        time.sleep(0.05)  # somewhere in the next interval, or in a checkpoint being written
        os.kill(process.pid, signal.SIGKILL)
    resumed = make_trainer(OPTIMIZERS[optimizer], tmp_path / "killed")
    assert resumed.resume()
    list(resumed.run())
    killed, expected = rows(tmp_path / "killed"), rows(tmp_path / "whole")
    assert [r["step"] for r in killed] == ["20", "40", "60"]
    losses = [[float(r["loss"]) for r in part] for part in (killed, expected)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_log_rows_without_a_checkpoint_are_dropped(tmp_path):
    run = make_trainer(CONFIG, tmp_path).run()
    next(run)
    kept = (tmp_path / "checkpoint.pt").read_bytes()
    next(run)
    run.close()
    (tmp_path / "checkpoint.pt").write_bytes(kept)
    trainer = make_trainer(CONFIG, tmp_path)
    trainer.resume()
    assert [r["step"] for r in rows(tmp_path)] == ["20"]
    list(trainer.run())
    assert [r["step"] for r in rows(tmp_path)] == ["20", "40", "60"]


def test_a_training_in_minutes_ends_by_the_clock():
    config = TrainingConfig(minutes=0.01, interval=5)
    last = list(make_trainer(config).run())[-1]
    assert last.fraction == 1
    assert last.minutes >= 0.01


def test_validation_sees_the_averaged_weights():
    seen = []

    def validate(network):
        seen.append(torch.cat([p.detach().flatten() for p in network.parameters()]))
        return 12.5

    trainer = make_trainer(CONFIG, validate=validate)
    assert [status.score for status in trainer.run()] == [12.5] * 3
    assert torch.equal(seen[-1], weights(trainer))
    raw = torch.cat([p.detach().flatten() for p in trainer.network.parameters()])
    assert not torch.equal(seen[-1], raw)


def test_a_training_that_began_meanwhile_is_kept(tmp_path):
    late, early = (make_trainer(CONFIG, tmp_path) for _ in range(2))
    list(early.run(overwrite=False))
    before = (tmp_path / "checkpoint.pt").read_bytes()
    with pytest.raises(TrainingError, match="holds a training"):
        list(late.run(overwrite=False))
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    list(late.run())
    assert (tmp_path / "checkpoint.pt").read_bytes() != before


def test_nothing_to_resume_is_said(tmp_path):
    assert not make_trainer(CONFIG, tmp_path).resume()


def test_damaged_and_foreign_checkpoints_are_named(tmp_path):
    next(make_trainer(CONFIG, tmp_path).run())
    path = tmp_path / "checkpoint.pt"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TrainingError, match="cannot be read"):
        make_trainer(CONFIG, tmp_path).resume()
    path.write_bytes(whole)
    other = Trainer(
        RedNet(NetworkConfig(layers=8, features=8)), make_batch, CONFIG, CPU, folder=tmp_path
    )
    with pytest.raises(TrainingError, match="another network"):
        other.resume()
    with pytest.raises(TrainingError, match="another network"):
        make_trainer(OPTIMIZERS["muon"], tmp_path).resume()


def test_a_loss_that_explodes_is_named():
    trainer = make_trainer(replace(CONFIG, rate=1e30))
    with pytest.raises(TrainingError, match="ever lower rates"):
        list(trainer.run())


@pytest.mark.parametrize("wrong", [{}, {"steps": 5, "minutes": 1.0}, {"steps": 0}, {"minutes": -1}])
def test_impossible_lengths_are_refused(wrong):
    with pytest.raises(ValueError, match=r"length|either"):
        TrainingConfig(**wrong)


def test_an_unknown_loss_is_refused():
    with pytest.raises(ValueError, match="loss must be one of squared, absolute, charbonnier"):
        TrainingConfig(steps=5, loss="cubed")


# Checks, and what goes wrong ------------------------------------------------------------------


def scores(*values):
    """A validation that finds these scores, and the weights that it was shown."""
    seen = []

    def validate(network):
        seen.append(torch.cat([p.detach().flatten() for p in network.parameters()]).clone())
        return values[min(len(seen), len(values)) - 1]

    return validate, seen


def best(trainer):
    return torch.cat([value.flatten() for value in trainer.best.values()])


@pytest.mark.parametrize("found", [(0, 3, 1, 2), (5, 3, 1, 2), (0, 1, 2, 3), (-9, -7, -3, -4)])
def test_the_best_check_is_kept(found):
    validate, seen = scores(*map(float, found))
    trainer = make_trainer(CONFIG, validate=validate)
    list(trainer.run())
    assert len(seen) == 4
    assert trainer.best_score == max(found)
    assert torch.equal(best(trainer), seen[found.index(max(found))])


def test_scores_that_are_not_numbers_are_never_the_best():
    validate, seen = scores(1.0, float("nan"), 2.0, float("nan"))
    trainer = make_trainer(CONFIG, validate=validate)
    list(trainer.run())
    assert trainer.best_score == 2
    assert torch.equal(best(trainer), seen[2])


@pytest.mark.parametrize("patience", [1, 2, 4])
def test_patience_ends_a_training(patience):
    validate, seen = scores(0.0, 1.0, 5.0, 4.0)
    config = replace(CONFIG, steps=400, interval=10, patience=patience)
    trainer = make_trainer(config, validate=validate)
    last = list(trainer.run())[-1]
    assert trainer.is_done
    assert last.fraction < 1
    assert last.step == 10 * (2 + patience)
    assert torch.equal(best(trainer), seen[2])


def test_without_patience_a_training_goes_to_its_end():
    validate, _ = scores(0.0, -1.0)
    assert list(make_trainer(CONFIG, validate=validate).run())[-1].fraction == 1


def test_patience_survives_an_interruption(tmp_path):
    config = replace(CONFIG, steps=400, interval=10, patience=3)
    run = make_trainer(config, tmp_path, validate=scores(0.0, -1.0)[0]).run()
    next(run)
    next(run)
    run.close()
    resumed = make_trainer(config, tmp_path, validate=scores(-1.0)[0])
    resumed.resume()
    assert [status.step for status in resumed.run()] == [30]


@pytest.mark.parametrize("checks", [1, 3, 6])
def test_checks_are_spread_over_the_length(checks):
    validate, seen = scores(0.0)
    config = replace(CONFIG, steps=120, interval=5, check_interval=1000, checks=checks)
    statuses = list(make_trainer(config, validate=validate).run())
    assert len(statuses) == 24
    assert [s.step for s in statuses if s.score == 0] == [
        120 * (i + 1) // checks for i in range(checks)
    ]
    assert len(seen) == checks + 1


def test_the_best_state_is_resumed(tmp_path):
    whole = make_trainer(CONFIG, validate=scores(0.0, 3.0, 1.0, 2.0)[0])
    list(whole.run())
    run = make_trainer(CONFIG, tmp_path, validate=scores(0.0, 3.0, 1.0)[0]).run()
    next(run)
    next(run)
    run.close()
    resumed = make_trainer(CONFIG, tmp_path, validate=scores(2.0)[0])
    resumed.resume()
    list(resumed.run())
    assert torch.equal(best(resumed), best(whole))
    assert resumed.best_score == whole.best_score == 3
    assert torch.equal(weights(resumed), weights(whole))


def test_a_checkpoint_of_another_training_is_not_continued(tmp_path):
    next(make_trainer(CONFIG, tmp_path, identity="mine").run())
    with pytest.raises(TrainingError, match="another training: 'mine' instead of 'yours'"):
        make_trainer(CONFIG, tmp_path, identity="yours").resume()
    assert make_trainer(CONFIG, tmp_path, identity="mine").resume()


def broken_at(calls):
    """Batches of which some hold values that are not finite."""
    count = 0

    def make(generator):
        nonlocal count
        count += 1
        inputs, targets, weights = make_batch(generator)
        return inputs, targets * (float("nan") if count in calls else 1), weights

    return make


def broken_trainer(calls, config=CONFIG, folder=None):
    trainer = make_trainer(config, folder)
    trainer._make_batch = broken_at(calls)
    return trainer


def test_a_broken_interval_is_taken_back():
    """The weights after it are those of before, and go on at half the rate."""
    trainer = broken_trainer({30})
    run = trainer.run()
    first = next(run)
    kept = weights(trainer).clone()
    before = trainer._generator.get_state()
    trainer._run_interval()
    assert trainer.step == first.step == 20
    assert torch.equal(weights(trainer), kept)
    # Other patches come next, not those again.
    assert not torch.equal(trainer._generator.get_state(), before)
    rest = list(run)
    assert [s.step for s in rest] == [40, 60]
    assert all(torch.isfinite(torch.tensor([s.loss, s.gradient_norm])).all() for s in rest)
    plain = {s.step: s.rate for s in make_trainer(CONFIG).run()}
    assert [s.rate for s in rest] == [0.5 * plain[s.step] for s in rest]


ENOUGH = 20
"""Samples of a batch with which an interval of 20 tells what is usual from what is not."""


def exploding_trainer(calls, config, samples=ENOUGH):
    """Batches of which some are far from what others are, but finite."""
    count, trainer = 0, make_trainer(config)

    def make(generator):
        nonlocal count
        count += 1
        inputs, targets, weights = make_batch(generator, samples)
        return inputs, targets + (100.0 if count in calls else 0.0), weights

    trainer._make_batch = make
    return trainer


@pytest.mark.parametrize("optimizer", BY_DEFAULT_ONE)
def test_a_loss_that_has_grown_by_a_multiple_is_taken_back(optimizer):
    config = replace(OPTIMIZERS[optimizer], steps=80)
    trainer = exploding_trainer({30, 31}, config)
    run = trainer.run()
    next(run)
    kept, momenta = weights(trainer).clone(), str(trainer._optimizer.state_dict())
    assert trainer._run_interval() is None
    assert trainer.step == 20
    assert torch.equal(weights(trainer), kept)
    assert str(trainer._optimizer.state_dict()) == momenta
    rest = list(run)
    assert [s.step for s in rest] == [40, 60, 80]
    plain = {s.step: s.rate for s in make_trainer(config).run()}
    assert [s.rate for s in rest] == [0.5 * plain[s.step] for s in rest]
    assert max(s.loss for s in rest) < 0.1


def test_of_few_samples_nothing_is_concluded():
    """A loss over twenty batches may be large by chance."""
    statuses = list(exploding_trainer({31}, CONFIG, samples=4).run())
    assert [s.step for s in statuses] == [20, 40, 60]
    assert statuses[1].loss > 5 * statuses[0].loss
    assert statuses[1].rate == pytest.approx(list(make_trainer(CONFIG).run())[1].rate)
    # Intervals that the clock ends differ in length.
    assert [_has_diverged(1.0, 0.1, samples) for samples in (40, 4000)] == [False, True]
    assert _has_diverged(float("nan"), 0.1, 40)


def test_losses_are_compared_with_those_of_their_kind():
    """Squared errors are far smaller: absolute ones after them have not grown."""
    config = replace(CONFIG, steps=80, loss="absolute", squared_from=0.5, check_interval=1000)
    trainer = exploding_trainer({70}, config)
    # Taken back to the very start, where the error is another one than where it exploded.
    statuses = list(trainer.run())
    assert [s.step for s in statuses] == [20, 40, 60, 20, 40, 60, 80]
    assert statuses[0].loss > 5 * statuses[2].loss
    assert trainer._rate_factor == 0.5


def test_the_rate_stays_halved_after_an_interruption(tmp_path):
    run = broken_trainer({5}, folder=tmp_path).run()
    next(run)
    run.close()
    resumed = make_trainer(CONFIG, tmp_path)
    resumed.resume()
    assert resumed._rate_factor == 0.5


def test_more_accidents_are_survived_if_there_is_progress_between_them():
    """Ten in all, never more than five in a row."""
    config = replace(CONFIG, steps=100, interval=10)
    calls = {n for start in (0, 60) for n in range(start + 5, start + 55, 10)}
    statuses = list(broken_trainer(calls, config).run())
    assert [s.step for s in statuses] == list(range(10, 101, 10))


def test_a_training_that_cannot_go_on_keeps_its_best():
    validate, seen = scores(1.0, 2.0)
    trainer = make_trainer(CONFIG, validate=validate)
    trainer._make_batch = broken_at(range(25, 10**6))
    with pytest.raises(TrainingError, match="ever lower rates; look for wrong values"):
        list(trainer.run())
    assert torch.equal(best(trainer), seen[1])


def test_a_folder_that_cannot_be_written_is_named_before_work(tmp_path):
    (tmp_path / "file").write_text("no folder")
    validate, seen = scores(0.0)
    trainer = make_trainer(CONFIG, tmp_path / "file", validate=validate)
    with pytest.raises(TrainingError, match=r"cannot be kept in .*file"):
        list(trainer.run())
    assert (seen, trainer.step) == ([], 0)


@pytest.mark.parametrize("error", [OSError("No space left"), RuntimeError("No space left")])
def test_a_full_disk_does_not_end_a_training(error, tmp_path, monkeypatch):
    whole = make_trainer(CONFIG)
    list(whole.run())
    trainer = make_trainer(CONFIG, tmp_path)
    run = trainer.run()
    next(run)
    before = (tmp_path / "checkpoint.pt").read_bytes()

    def fail(*_):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", fail)
        with pytest.warns(UserWarning, match="No space left; the training goes on, without it"):
            list(run)
    assert torch.equal(weights(trainer), weights(whole))
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    resumed = make_trainer(CONFIG, tmp_path)
    resumed.resume()
    assert resumed.step == 20
    list(resumed.run())
    assert torch.equal(weights(resumed), weights(whole))


def test_a_log_that_cannot_be_written_does_not_end_a_training(tmp_path):
    (tmp_path / "log.csv").mkdir()
    with pytest.warns(UserWarning, match=r"log.csv.*the training goes on, without it"):
        statuses = list(make_trainer(CONFIG, tmp_path).run())
    assert statuses[-1].fraction == 1


def test_the_network_is_looked_after_at_each_check():
    looked_at = []
    trainer = make_trainer(CONFIG, tend=looked_at.append)
    statuses = list(trainer.run())
    assert len(statuses) > 1
    assert looked_at == [trainer.network] * len(statuses)
