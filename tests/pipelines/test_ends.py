"""How runs end that do not simply finish: signals in evaluations and films, failures before the loop, odd closings."""

import json
import os
import signal
from functools import partial, wraps
from pathlib import Path

import pytest

from modules import checkpoint, evaluation
from pipelines.agent.evaluator import Evaluator
from tests.cases import later
from tests.pipelines import launch
from tests.pipelines.launch import Ended, run

SMALL = ("+debug=smoke", "threads=1", "hydra.run.dir=run")
STATE = ("+exp=drqn_cartpole_masked", *SMALL, "video=false")
SAVED = ("save_every=80", "eval_every=80", "log_every=40", "total_frames=240")
FAMILY = ("+exp=agent57_corridor", *SMALL, "video=false", "env.length=9", "env.horizon=12", "replay.overlap=5", *SAVED)
OWN = ("env=gym", "network/torso=mlp", "env.id=tests.pipelines.odd_ends:Odd-v0")


def signal_in(signums: tuple[int, ...], nth: int, step: int, owner: type = Evaluator, name: str = "_episodes") -> None:
    """Send signals before step number `step` of the `nth` call of a method that watches."""
    original, calls = getattr(owner, name), 0

    @wraps(original)
    def called(self, *args, **kwargs):
        nonlocal calls
        calls += 1
        here, watched, original_run = calls, 0, evaluation.run_episodes

        def run_episodes(*args, watch, **kwargs):
            def watching(ended, episodes):
                nonlocal watched
                watched += 1
                if here == nth and watched == step:
                    for signum in signums:
                        os.kill(os.getpid(), signum)
                watch(ended, episodes)

            return original_run(*args, watch=watching, **kwargs)

        from pipelines.agent import evaluator as greedy
        from pipelines.agent import film

        greedy.run_episodes = film.run_episodes = run_episodes  # type: ignore[assignment]
        try:
            return original(self, *args, **kwargs)
        finally:
            greedy.run_episodes = film.run_episodes = original_run  # type: ignore[assignment]

    setattr(owner, name, called)


def train(cwd: Path, *words: str, **more) -> Ended:
    return run("pipelines.train", *words, cwd=cwd, **more)


def resume(cwd: Path, *words: str, **more) -> Ended:
    return run("pipelines.resume", "run=run", *words, cwd=cwd, **more)


def summary(cwd: Path, place: str = "run") -> dict:
    return json.loads((cwd / place / "summary.json").read_text())


@pytest.fixture(scope="module", params=[STATE, later(FAMILY)], ids=["state", "family"])
def undisturbed(request, tmp_path_factory):
    """Words of a run, and the folder above one that nothing disturbed."""
    cwd = tmp_path_factory.mktemp("undisturbed")
    words = (*request.param, *SAVED)
    assert train(cwd, *words).code == 0
    return words, cwd


@pytest.mark.parametrize(("nth", "step"), [(1, 3), (2, 1)], ids=["in the middle", "the next, at its start"])
def test_an_evaluation_that_a_signal_ends_is_made_up_for_with_the_same_rows(undisturbed, nth, step, tmp_path):
    """In a run of a family the first is the evaluator's tries, the second the evaluation behind them."""
    words, expected = undisturbed
    ended = train(tmp_path, *words, before=partial(signal_in, (signal.SIGTERM,), nth, step))
    assert ended.code == 143, ended.err + ended.out
    assert "stopped by SIGTERM at frame" in (ended.out + ended.err).splitlines()[-1]
    family = (expected / "run" / "arms.csv").exists()
    at = 80 if family else 80 * nth
    assert [summary(tmp_path)[key] for key in ("status", "frames")] == ["interrupted", at]
    again = resume(tmp_path, before=partial(signal_in, (signal.SIGINT,), 1, 2))  # and once more
    assert again.code == 130
    assert summary(tmp_path)["frames"] == at
    assert resume(tmp_path).code == 0
    for name in {path.name for path in (expected / "run").glob("*.csv")} - {"timing.csv"}:
        assert (tmp_path / "run" / name).read_text() == (expected / "run" / name).read_text(), name
    for key in ("status", "frames", "updates", "train_episodes", "score", "best_score"):
        assert summary(tmp_path)[key] == summary(expected)[key], key


def test_a_second_signal_in_an_evaluation_ends_it_at_once_and_saves_nothing(tmp_path):
    words = (*STATE, *SAVED, "save_every=40")
    ended = train(tmp_path, *words, before=partial(signal_in, (signal.SIGTERM, signal.SIGINT), 1, 2))
    assert ended.code == 130
    assert "stopped at once at frame 80" in (ended.out + ended.err).splitlines()[-1]
    assert checkpoint.latest(tmp_path / "run" / "checkpoints").stem == "frames_000000000040"


def test_a_signal_during_the_film_leaves_a_finished_run_without_one(tmp_path):
    words = (*STATE, "total_frames=80", "video=true")
    ended = train(tmp_path, *words, before=partial(signal_in, (signal.SIGTERM,), 1, 5, name="film"))
    assert ended.code == 143
    said = ended.out + ended.err
    assert "no picture: Stop: SIGTERM asked for the end" in said
    assert "stopped by SIGTERM at the end: the run is finished" in said.splitlines()[-1]
    assert summary(tmp_path)["status"] == "finished"
    assert not [*(tmp_path / "run").rglob("*.mp4"), *(tmp_path / "run").rglob("*.part")]
    assert "which draws frames_000000000080.mp4" in said.splitlines()[-1]
    assert resume(tmp_path).code == 0
    assert [path.name for path in (tmp_path / "run").rglob("*.mp4")] == ["frames_000000000080.mp4"]


def test_a_second_signal_while_the_first_is_saved_ends_without_a_traceback(tmp_path):
    ended = train(tmp_path, *STATE, *SAVED, "save_every=40", before=partial(asked_twice, 80))
    assert ended.code == 130
    assert "Traceback" not in ended.out + ended.err
    assert "stopped at once at frame" in (ended.out + ended.err).splitlines()[-1]
    assert summary(tmp_path)["status"] == "interrupted"
    assert resume(tmp_path).code == 0


def asked_twice(frames: int) -> None:
    """Send a signal after some frames, and another while the run is saved because of it."""
    from pipelines.training.loop import Loop

    learn, save = Loop._learn, Loop.save

    def learned(loop):
        learn(loop)
        if loop.counters.frames == frames + 20:
            os.kill(os.getpid(), signal.SIGTERM)

    def saved(loop):
        if loop.stop_signal:
            os.kill(os.getpid(), signal.SIGTERM)
        save(loop)

    Loop._learn, Loop.save = learned, saved  # type: ignore[method-assign]


def test_a_checkpoint_of_before_these_fields_still_loads(tmp_path):
    assert train(tmp_path, *STATE, *SAVED, "total_frames=160").code == 0
    for path in checkpoint.list_checkpoints(tmp_path / "run" / "checkpoints"):
        state = checkpoint.load(path)
        del state["counters"]["row"], state["counters"]["evaluation_due"]
        checkpoint.write(path, state)
    assert resume(tmp_path, "total_frames=240").code == 0
    assert summary(tmp_path)["frames"] == 240


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_the_command_evaluate_ends_within_a_step_of_a_signal(signum, tmp_path):
    """Of an environment without end; nothing is written, and the evaluation of before stays."""
    flag = tmp_path / "seen"
    assert train(tmp_path, *STATE, *OWN, "env.max_steps=5", f"+env.kwargs.flag={flag}", "total_frames=80").code == 0
    config = tmp_path / "run" / "config.yaml"
    config.write_text(config.read_text().replace("max_steps: 5\n", "max_steps: null\n", 1))
    before = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert not flag.exists()
    started = launch.launch("pipelines.evaluate", "run=run", "steps=csv", cwd=tmp_path).until(flag.exists)
    ended = started.signal(signum).wait()
    assert ended.code == 128 + signum
    name = signal.Signals(signum).name
    assert ended.err == f"stopped by {name}: what was evaluated before is written, this evaluation is not\n"
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == before
