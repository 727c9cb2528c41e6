"""The acceptance of issue 2: a run that was killed at any moment and resumed equals one that was not, byte for byte."""

import csv
import json
import re
import signal
from functools import partial
from pathlib import Path

import pytest
import torch

from modules import checkpoint
from tests.cases import later, some_later
from tests.pipelines import deaths
from tests.pipelines.launch import Ended, launch, run

N = 240  # frames; saves at every 80, evaluations at every 120, so that they do not always coincide
SMALL = ("+debug=smoke", "video=false", "save_every=80", "eval_every=120", "replay.ratio=2", f"total_frames={2 * N}")
KINDS = {
    "state": ("+exp=drqn_cartpole_masked", *SMALL),
    "pixels": ("+exp=drqn_cartpole", *SMALL),
    "compressed": ("+exp=drqn_cartpole", *SMALL, "replay/storage=compressed"),
    # With burn-in, overlap, further inputs and a ladder of ε; rows are shorter than the 11 steps of an episode.
    "priorities": ("+exp=r2d2_memory_len", *SMALL, "env.length=10", "replay.overlap=5", "replay.burn_in=5"),
    # With two streams, arms and their bandit, an embedding, distillation and the memories' statistics.
    "family": ("+exp=agent57_corridor", *SMALL, "env.length=9", "env.horizon=12", "replay.overlap=5"),
}
ENDLESS = ("total_frames=10_000_000", "hydra.run.dir=run")
FAULT = ("+exp=drqn_cartpole_masked", *SMALL, "hydra.run.dir=run", "env.keep=null", "+env.kwargs.flag=fault")


def train(cwd: Path, *words: str, **more) -> Ended:
    return run("pipelines.train", *words, cwd=cwd, **more)


def resume(cwd: Path, *words: str, **more) -> Ended:
    return run("pipelines.resume", "run=run", *words, cwd=cwd, **more)


def rows(run_dir: Path) -> list[dict[str, str]]:
    """Rows of metrics.csv so far; what is being written at the moment does not count."""
    path = run_dir / "metrics.csv"
    return list(csv.DictReader(path.read_text().rpartition("\n")[0].splitlines())) if path.exists() else []


def frames(run_dir: Path) -> int:
    return max((int(row["frames"]) for row in rows(run_dir)), default=0)


def summary(run_dir: Path) -> dict:
    return json.loads((run_dir / "summary.json").read_text())


def flat(tree) -> dict[str, torch.Tensor]:
    """Every tensor in a nested state, by path."""
    if isinstance(tree, torch.Tensor):
        return {"": tree}
    pairs = tree.items() if hasattr(tree, "items") else enumerate(tree) if isinstance(tree, list | tuple) else ()
    return {f"{key}/{path}": value for key, child in pairs for path, value in flat(child).items()}


def assert_same(run_dir: Path, other: Path) -> None:
    names = {path.name for path in other.glob("*.csv")} - {"timing.csv"}
    assert {name: (run_dir / name).read_text() for name in names} == {
        name: (other / name).read_text() for name in names
    }
    assert any(value for name, value in rows(run_dir)[-1].items() if name in ("loss/q", "loss/policy"))
    ours, theirs = (checkpoint.load(checkpoint.latest(path / "checkpoints")) for path in (run_dir, other))
    assert ours["frames"] == theirs["frames"] == 2 * N
    if "arms.csv" in names:  # the family, on the corridor: the comparisons are not empty
        assert (other / "arms.csv").read_text().count("\n") > 20
        assert int(theirs["callbacks"]["visits"]["counts"].sum()) > 2 * N
    for part in ("network", "intrinsic_model", "intrinsic_reward", "actors", "callbacks"):
        mine, other_part = flat(ours[part]), flat(theirs[part])
        assert mine.keys() == other_part.keys()
        assert all(torch.equal(value, other_part[name]) for name, value in mine.items()), part
    assert ours["measures"] == theirs["measures"]
    assert ours["callbacks"]["episodes"] == theirs["callbacks"]["episodes"]
    for key in ("status", "frames", "updates", "train_episodes", "score", "best_score"):
        assert summary(run_dir)[key] == summary(other)[key], key
    assert not list(run_dir.rglob("*.part"))


@pytest.fixture(scope="module", params=some_later(KINDS, ("state", "family")))
def uninterrupted(request, tmp_path_factory):
    """The settings of one kind of run and the directory of one that nothing disturbed."""
    cwd = tmp_path_factory.mktemp("uninterrupted")
    settings = KINDS[request.param]
    assert train(cwd, *settings, "hydra.run.dir=run").code == 0
    assert summary(cwd / "run")["updates"] > 20
    return settings, cwd / "run"


def test_killed_at_the_start_in_an_interval_before_a_save_after_it_and_from_outside(uninterrupted, tmp_path):
    settings, expected = uninterrupted
    here = tmp_path / "run"
    moments = [
        partial(deaths.in_step, 1),  # before anything was learned
        partial(deaths.in_step, 110),  # between the saves at 80 and 160
        partial(deaths.before_file, "frames_*.pt", 2),  # 240 evaluated, logged and written, but not in place
        partial(deaths.after_file, "frames_*.pt", 2),  # 320 in place, those before it not deleted
    ]
    assert train(tmp_path, *settings, "hydra.run.dir=run", before=moments[0]).code == -signal.SIGKILL
    assert [checkpoint.latest(here / "checkpoints").stem, frames(here)] == ["frames_000000000000", 0]
    assert resume(tmp_path, before=moments[1]).code == -signal.SIGKILL
    assert [checkpoint.latest(here / "checkpoints").stem, frames(here)] == ["frames_000000000080", 80]
    assert resume(tmp_path, before=moments[2]).code == -signal.SIGKILL
    assert [checkpoint.latest(here / "checkpoints").stem, frames(here)] == ["frames_000000000160", 240]
    assert resume(tmp_path, before=moments[3]).code == -signal.SIGKILL
    assert [checkpoint.latest(here / "checkpoints").stem, frames(here)] == ["frames_000000000320", 320]
    killed = launch("pipelines.resume", "run=run", cwd=tmp_path).until(lambda: frames(here) > 320)
    assert killed.signal(signal.SIGKILL).wait().code == -signal.SIGKILL
    assert summary(here)["status"] == "running"
    assert resume(tmp_path).code == 0
    assert_same(here, expected)


@pytest.mark.parametrize("uninterrupted", ["state", later("priorities")], indirect=True)
def test_a_finished_run_goes_on_as_if_it_had_not_ended(uninterrupted, tmp_path):
    settings, expected = uninterrupted
    assert train(tmp_path, *settings, "hydra.run.dir=run", f"total_frames={N}").code == 0
    assert summary(tmp_path / "run")["status"] == "finished"
    assert resume(tmp_path, f"total_frames={2 * N}").code == 0
    assert_same(tmp_path / "run", expected)


# The end is a save, but no evaluation that was due anyway.
LAST = ("+exp=drqn_cartpole_masked", *SMALL, "eval_every=0", f"total_frames={N}", "hydra.run.dir=run")


def test_the_last_evaluation_is_saved_and_counts_when_the_run_goes_on(tmp_path):
    here = tmp_path / "run"
    assert train(tmp_path, *LAST).code == 0
    saved = checkpoint.load(checkpoint.latest(here / "checkpoints"))["counters"]
    assert [saved["evaluated_at"], saved["best_score"]] == [N, summary(here)["score"]]
    assert [row["frames"] for row in rows(here) if row["eval/episodes"]] == [str(N)]
    assert len({row["frames"] for row in rows(here)}) == len(rows(here))
    before = rows(here)
    assert resume(tmp_path, f"total_frames={2 * N}").code == 0
    assert rows(here)[: len(before)] == before
    assert summary(here)["best_score"] == max(saved["best_score"], summary(here)["score"])


@pytest.mark.parametrize(
    "moment",
    [
        partial(deaths.in_step, N + 3),  # in the middle of the last evaluation
        partial(deaths.before_file, "summary.json", 2),  # all is saved, but nothing says how it ended
    ],
    ids=["evaluation", "summary"],
)
def test_killed_at_the_very_end(moment, tmp_path):
    expected, cwd = tmp_path / "expected", tmp_path / "killed"
    for path in (expected, cwd):
        path.mkdir()
    assert train(expected, *LAST).code == 0
    assert train(cwd, *LAST, before=moment).code == -signal.SIGKILL
    assert summary(cwd / "run")["score"] is None
    assert resume(cwd).code == 0
    assert (cwd / "run" / "metrics.csv").read_text() == (expected / "run" / "metrics.csv").read_text()
    for key in ("status", "frames", "updates", "score", "best_score"):
        assert summary(cwd / "run")[key] == summary(expected / "run")[key], key
    again = resume(cwd)
    assert [again.code, "is at frame" in again.err] == [2, True]


def test_a_last_evaluation_that_failed_can_be_made_up_for(tmp_path):
    here, flag = tmp_path / "run", tmp_path / "fault"
    flag.touch()
    words = ("env.id=tests.pipelines.faulty:Faulty-v0", f"+env.kwargs.at={2 * N + 3}", "eval_every=0")
    assert train(tmp_path, *FAULT, *words).code == 1
    saved = checkpoint.load(checkpoint.latest(here / "checkpoints"))["counters"]
    assert [saved["frames"], saved["evaluated_at"]] == [2 * N, -1]
    flag.unlink()
    assert resume(tmp_path).code == 0
    found = summary(here)
    assert [found["status"], found["frames"], found["episodes"]] == ["finished", 2 * N, 2]
    assert [rows(here)[-1]["frames"], float(rows(here)[-1]["eval/return_mean"])] == [str(2 * N), found["score"]]
    assert checkpoint.load(checkpoint.latest(here / "checkpoints"))["counters"]["evaluated_at"] == 2 * N


@pytest.mark.parametrize(
    ("signum", "code", "kind"),
    [(signal.SIGINT, 130, "state"), (signal.SIGTERM, 143, "pixels"), later(signal.SIGTERM, 143, "priorities")],
)
def test_a_signal_saves_reports_and_can_be_resumed(signum, code, kind, tmp_path):
    """With pixels too: SDL would swallow SIGTERM."""
    here = tmp_path / "run"
    started = launch("pipelines.train", *KINDS[kind], *ENDLESS, cwd=tmp_path).until(lambda: frames(here) >= 120)
    ended = started.signal(signum).wait()
    assert ended.code == code
    last = (ended.out + ended.err).splitlines()[-1]
    assert signal.Signals(signum).name in last
    assert "python -m pipelines.resume run=" in last
    found = summary(here)
    assert found["status"] == "interrupted"
    assert checkpoint.load(checkpoint.latest(here / "checkpoints"))["frames"] == found["frames"] >= 120
    assert resume(tmp_path, f"total_frames={found['frames'] + 80}").code == 0
    assert summary(here)["status"] == "finished"
    assert [int(row["frames"]) % 40 for row in rows(here)[:-1]] == [0] * (len(rows(here)) - 1)


@pytest.mark.parametrize(
    ("kind", "says"),
    [("Faulty", "RuntimeError: the motor is on fire"), ("NanReward", r"env\.id: .* gave nan as its reward \(env.*\)")],
)
def test_an_environment_that_goes_wrong_ends_the_run_with_its_message_and_all_saved(kind, says, tmp_path):
    here, flag = tmp_path / "run", tmp_path / "fault"
    flag.touch()
    ended = train(tmp_path, *FAULT, f"env.id=tests.pipelines.faulty:{kind}-v0", "+env.kwargs.at=210")
    assert ended.code == 1
    last = (ended.out + ended.err).splitlines()[-1]
    assert re.search(f"failed at frame \\d+: {says} \\(traceback in ", last), last
    assert "Traceback" not in ended.out + ended.err
    saved = checkpoint.load(checkpoint.latest(here / "checkpoints"))["frames"]
    assert saved >= 160
    assert [summary(here)["status"], summary(here)["frames"]] == ["failed", saved]
    flag.unlink()
    assert resume(tmp_path).code == 0
    assert [summary(here)["status"], summary(here)["frames"]] == ["finished", 2 * N]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((*KINDS["state"], "hydra.run.dir=run", "optim.lr=1e30"), "loss/q = (nan|inf)"),
        later(
            (*KINDS["family"], "hydra.run.dir=run", "intrinsic.embedding.descent.lr=1e30"),
            "stopped at frame .*embedding.* is not finite.*the checkpoint before it is kept",
        ),
        (
            (*KINDS["family"], "hydra.run.dir=run", "intrinsic.lifelong.descent.lr=1e30"),
            "stopped at frame .*random distillation is not finite.*the checkpoint before it is kept",
        ),
    ],
    ids=["learning rate", "embedding", "distillation"],
)
def test_a_loss_that_is_not_finite_ends_the_run_before_it_is_saved(words, says, tmp_path):
    here = tmp_path / "run"
    ended = train(tmp_path, *words)
    assert ended.code == 1
    last = (ended.out + ended.err).splitlines()[-1]
    assert re.search(says, last), last
    assert summary(here)["status"] == "failed"
    saved = checkpoint.load(checkpoint.latest(here / "checkpoints"))
    assert saved["frames"] < summary(here)["frames"]
    assert all(value.isfinite().all() for value in saved["network"].values())
    assert saved["frames"] % 80 == 0
