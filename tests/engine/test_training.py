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
from napari_rednet.engine.training import Trainer, TrainingConfig
from napari_rednet.errors import TrainingError

CPU = torch.device("cpu")
CONFIG = TrainingConfig(steps=60, interval=20, rate=2e-3, warm_up=5)

# A run in a process of its own: it is killed at some step, as by a power cut.
SCRIPT = """
import sys
from pathlib import Path
from tests.engine.test_training import CONFIG, make_trainer
trainer = make_trainer(CONFIG, Path(sys.argv[1]))
trainer.resume()
for status in trainer.run():
    print(status.step, flush=True)
"""


def make_batch(generator):
    clean = torch.rand((4, 1, 16, 16), generator=generator)
    clean = torch.nn.functional.avg_pool2d(clean, 5, 1, 2)
    noisy = clean + 0.2 * torch.randn(clean.shape, generator=generator)
    return noisy, clean, torch.ones(4, 1, 1, 1)


def make_trainer(config, folder=None, **options):
    network = RedNet(NetworkConfig(layers=6, features=8))
    initialize(network, torch.Generator().manual_seed(config.seed))
    return Trainer(network, make_batch, config, CPU, folder=folder, **options)


def rows(folder):
    with (folder / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def weights(trainer):
    return torch.cat([p.flatten() for p in trainer.average.parameters()])


def test_training_learns():
    statuses = list(make_trainer(replace(CONFIG, steps=200)).run())
    assert statuses[-1].loss < 0.5 * statuses[0].loss
    assert [s.step for s in statuses] == list(range(20, 201, 20))
    assert statuses[-1].fraction == 1


def test_rate_warms_up_and_falls_to_nothing():
    trainer = make_trainer(replace(CONFIG, interval=1))
    rates = [status.rate for status in trainer.run()]
    assert rates[0] < rates[4]
    assert max(rates) <= CONFIG.rate
    assert rates[-1] < 1e-3 * CONFIG.rate


def test_a_seed_gives_the_same_weights_again():
    first, second, other = (make_trainer(replace(CONFIG, seed=s)) for s in (1, 1, 2))
    for trainer in (first, second, other):
        list(trainer.run())
    assert torch.equal(weights(first), weights(second))
    assert not torch.equal(weights(first), weights(other))


def test_resumed_training_ends_where_the_uninterrupted_one_does(tmp_path):
    whole = make_trainer(CONFIG, tmp_path / "whole")
    list(whole.run())
    first = make_trainer(CONFIG, tmp_path / "parts").run()
    next(first)
    first.close()
    second = make_trainer(CONFIG, tmp_path / "parts")
    assert second.resume()
    assert second.step == 20
    list(second.run())
    assert torch.equal(weights(second), weights(whole))
    assert [r["loss"] for r in rows(tmp_path / "parts")] == [
        r["loss"] for r in rows(tmp_path / "whole")
    ]


def test_a_killed_process_is_resumed_to_the_same_end(tmp_path):
    whole = make_trainer(CONFIG, tmp_path / "whole")
    list(whole.run())
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "killed")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "20\n"
        time.sleep(0.05)  # somewhere in the next interval, or in a checkpoint being written
        os.kill(process.pid, signal.SIGKILL)
    subprocess.run(command, check=True, capture_output=True)
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
    assert [status.psnr for status in trainer.run()] == [12.5] * 3
    assert torch.equal(seen[-1], weights(trainer))
    raw = torch.cat([p.detach().flatten() for p in trainer.network.parameters()])
    assert not torch.equal(seen[-1], raw)


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


def test_a_loss_that_explodes_is_named():
    trainer = make_trainer(replace(CONFIG, rate=1e30))
    with pytest.raises(TrainingError, match="ever lower rates"):
        list(trainer.run())


@pytest.mark.parametrize("wrong", [{}, {"steps": 5, "minutes": 1.0}, {"steps": 0}, {"minutes": -1}])
def test_impossible_lengths_are_refused(wrong):
    with pytest.raises(ValueError, match=r"length|either"):
        TrainingConfig(**wrong)
