"""Runs whose batches come from worker processes: resuming, signals, and workers that die."""

import json
import os
import re
import signal
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from tensordict import TensorDict

from benchmarks.subjects import run_of
from modules import checkpoint
from modules.exploration import EpsLadderSpec, ExplorationContext
from modules.intrinsic.ngu import RndSpec
from modules.spec import UsageError
from pipelines.agent.actor import worker_actor
from pipelines.config.check import check
from tests.pipelines.launch import LIMIT_S, Started, launch, run

N = 160  # frames; saves at every 80
BATCH = ("collector.num_envs=2", "collector.steps=10", "collector.push_every=60")
SAVES = ("save_every=80", "eval_every=80", "hydra.run.dir=run")
WORDS = ("+exp=drqn_cartpole_masked", "+debug=smoke", "video=false", "collector=multi_async", *BATCH, *SAVES)
R2D2 = ("+exp=r2d2_memory_len", *WORDS[1:], "env.length=10", "replay.length=5", "replay.burn_in=5")
ALONE = (*R2D2, "replay.ratio=2", "collector.processes=1")
SHORT = ("env.length=6", "env.horizon=30", "meta.arms.n=4")
FAMILY = ("+exp=agent57_corridor", *ALONE[1:2], *WORDS[2:], "collector.processes=1", *SHORT)
PIXELS = ("+exp=drqn_cartpole", *WORDS[1:], "collector.processes=1")
ENDLESS = (*WORDS, "total_frames=10_000_000", "save_every=10_000", "replay.capacity=20_000")


def summary(cwd: Path) -> dict:
    return json.loads((cwd / "run" / "summary.json").read_text())


@pytest.mark.parametrize("words", [ALONE, FAMILY, PIXELS], ids=["R2D2", "Agent57", "pixels"])
def test_with_one_worker_a_resumed_run_equals_one_that_was_not_interrupted_byte_for_byte(words, tmp_path):
    """With priorities and burn-in, or novelty and bandits, or convolutions; the other one is killed in the middle."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    ended = run("pipelines.train", *words, f"total_frames={2 * N}", cwd=whole)
    assert ended.code == 0, ended.err
    parts.mkdir()
    started = launch("pipelines.train", *words, f"total_frames={2 * N}", cwd=parts)
    started.until((parts / "run" / "checkpoints" / f"frames_{N:012d}.pt").exists)
    started.process.kill()
    started.process.join()
    assert run("pipelines.resume", "run=run", cwd=parts).code == 0
    metrics = [(cwd / "run" / "metrics.csv").read_text() for cwd in (whole, parts)]
    assert metrics[0] == metrics[1]
    assert metrics[0].count("\n") > 6
    assert summary(whole)["updates"] > 10


@pytest.mark.parametrize("words", [ALONE, FAMILY], ids=["R2D2", "Agent57"])
def test_rows_that_actors_cut_are_the_learners(words, tmp_path):
    """All that is on disk, the row before included. Nothing is learned: first priorities would change the draws."""
    found: list[tuple[int, TensorDict, str]] = []
    for rows in ("learner", "actor"):
        (tmp_path / rows).mkdir()
        further = ("replay.ratio=1e-6", "save_every=10_000", "eval_every=0", f"total_frames={2 * N}", "log_every=80")
        ended = run("pipelines.train", *words, *further, f"collector.rows={rows}", cwd=tmp_path / rows)
        assert ended.code == 0, ended.err
        folder = tmp_path / rows / "run"
        written = checkpoint.load(checkpoint.latest(folder / "checkpoints"))["replay"]["written"]
        found.append((written, TensorDict.load_memmap(folder / "replay"), (folder / "metrics.csv").read_text()))
    (most, own, expected), (written, ready, metrics) = found
    assert metrics == expected
    assert most > written > 30  # the learner's own has the tails of running episodes
    for key, value in own.items():
        assert torch.equal(value[:written], ready[key][:written]), key


def test_with_several_workers_episodes_go_on_over_saves_and_each_sitting_has_seeds_of_its_own(tmp_path):
    """Episodes take 31 steps, and between two saves each environment makes 20; one that ends was not cut off."""
    words = (*R2D2, "env.length=30", "collector.processes=2")
    started = launch("pipelines.train", *words, f"total_frames={100 * N}", cwd=tmp_path)
    started.until((tmp_path / "run" / "checkpoints" / f"frames_{4 * N:012d}.pt").exists)
    started.process.kill()
    started.process.join()
    before = checkpoint.load(checkpoint.latest(tmp_path / "run" / "checkpoints"))
    assert before["counters"]["episodes"] >= 4
    assert run("pipelines.resume", "run=run", f"total_frames={before['frames'] + N}", cwd=tmp_path).code == 0
    after = checkpoint.load(checkpoint.latest(tmp_path / "run" / "checkpoints"))
    assert after["counters"]["restarts"] > before["counters"]["restarts"] >= before["frames"] // 80
    assert sorted(after["actors"]) == ["0", "1"]


def test_novelty_and_arms_in_two_workers_are_those_of_one_run(tmp_path):
    """Each worker has controllers of its own, which begin with other arms; statistics hold every observation."""
    words = (*FAMILY, "collector.processes=2", "collector.push_every=20", "total_frames=1200", "warmup_frames=40")
    ended = run("pipelines.train", *words, "eval_every=0", "intrinsic.lifelong.error_horizon=0", cwd=tmp_path)
    assert ended.code == 0, ended.err
    saved = checkpoint.load(checkpoint.latest(tmp_path / "run" / "checkpoints"))
    first = [saved["actors"][w]["meta_controller"]["arms"][:, 0].tolist() for w in ("0", "1")]
    numbers = [0, 1, 2, 3]  # of the environments: each begins with its own arm, and 4 stands for no episode yet
    assert all(arm in (number, 4) for number, arm in zip(numbers, [*first[0], *first[1]], strict=True))
    assert set(first[0]) != {4} != set(first[1])
    errors = saved["intrinsic_model"]["lifelong"]["errors"]
    assert errors["count"] == saved["frames"] == 1200


@pytest.fixture
def training(tmp_path):
    """A run with two workers that trains, and the workers."""
    log = tmp_path / "run" / "metrics.csv"
    started = launch("pipelines.train", *ENDLESS, cwd=tmp_path)
    started.until(lambda: log.exists() and log.read_text().count("\n") > 3)
    workers = [kid for kid in psutil.Process(started.process.pid).children() if "spawn_main" in str(kid.cmdline())]
    assert len(workers) == 2
    yield started, workers
    started.process.kill()


def ended_with(started: Started, workers: list[psutil.Process], cwd: Path, code: int, status: str) -> str:
    """Check how the run ended; return the last thing that it said."""
    ended = started.wait()
    assert ended.code == code
    assert "Traceback" not in ended.out + ended.err
    _, alive = psutil.wait_procs(workers, timeout=LIMIT_S)
    assert not alive
    saved = checkpoint.load(checkpoint.latest(cwd / "run" / "checkpoints"))["frames"]
    assert [summary(cwd)["status"], summary(cwd)["frames"]] == [status, saved]
    assert saved > 40
    return (ended.out + ended.err).splitlines()[-1]


def test_a_killed_worker_ends_the_run_with_its_name_and_all_saved(training, tmp_path):
    started, workers = training
    workers[1].kill()
    last = ended_with(started, workers, tmp_path, 1, "failed")
    assert f"worker 1 of 2 (process {workers[1].pid}) was killed by SIGKILL" in last
    assert "continue by `python -m pipelines.resume run=" in last
    assert str(workers[1].pid) in (tmp_path / "run" / "error.txt").read_text()


def test_a_worker_whose_environment_ends_the_process_ends_the_run_with_one_sentence(tmp_path):
    (tmp_path / "flag").touch()
    exits = ("env.id=tests.pipelines.faulty:Exits-v0", "env.keep=null", f"+env.kwargs.flag={tmp_path / 'flag'}")
    started = launch("pipelines.train", *ENDLESS, *exits, "+env.kwargs.at=100", cwd=tmp_path)
    last = ended_with(started, [], tmp_path, 1, "failed")
    assert re.search(r"worker \d of 2 \(process \d+\): sys\.exit\(7\) was called \(traceback in ", last)
    assert "in fault" in (tmp_path / "run" / "error.txt").read_text()


def test_ctrl_c_which_reaches_all_processes_ends_the_run_as_with_one(training, tmp_path):
    started, workers = training
    for pid in (*(worker.pid for worker in workers), started.process.pid):
        os.kill(pid, signal.SIGINT)
    last = ended_with(started, workers, tmp_path, 128 + signal.SIGINT, "interrupted")
    assert "stopped by SIGINT" in last


def test_a_ladder_of_exploration_spans_the_environments_of_all_workers():
    found = run_of("drqn_cartpole_masked", "device=cpu", "collector=multi_async", "collector.num_envs=3")
    ladder = EpsLadderSpec(base=0.4, alpha=7.0, anneal_frames=0)
    means = [worker_actor(replace(found, exploration=ladder), worker).anneal(0) for worker in range(2)]
    assert means[0] > 2 * means[1]
    assert sum(means) / 2 == pytest.approx(ladder.build(ExplorationContext.all_of(6)).anneal(0))


def test_workers_say_how_likely_their_actions_were(tmp_path):
    """Retrace reads it, and no environment knows it."""
    ended = run("pipelines.train", *WORDS, "collector.processes=1", "loss=retrace", "total_frames=400", cwd=tmp_path)
    assert ended.code == 0, ended.err
    stored = np.fromfile(tmp_path / "run" / "replay" / "behaviour.memmap", np.float32)
    written = stored[stored != 0]  # of ε-greedy with two actions: 1 − ε/2 or ε/2
    assert len(written) > 300
    assert 0 < written.min() < 0.5 < written.max() < 1


@pytest.mark.parametrize(
    ("exp", "words", "sentence"),
    [
        ("tour_q", (), "network/torso=table needs collector=sync"),
    ],
)
def test_what_cannot_work_with_several_processes_is_refused(exp, words, sentence, tmp_path):
    with pytest.raises(UsageError, match=sentence):
        check(run_of(exp, "device=cpu", "collector=multi_async", *words), tmp_path)


def test_an_intrinsic_reward_must_say_what_processes_share_of_it(tmp_path):
    class OwnSpec(RndSpec):
        divides = False

    found = run_of("agent57_deep_sea", "device=cpu", "collector=multi_async")
    own = OwnSpec(**{field.name: getattr(found.intrinsic, field.name) for field in fields(found.intrinsic)})
    with pytest.raises(UsageError, match=r"OwnSpec does not say what several processes must share of it"):
        check(replace(found, intrinsic=own), tmp_path)
    check(found, tmp_path)
