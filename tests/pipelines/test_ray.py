"""Runs whose batches come from a Ray cluster of one node."""

import importlib.util
import signal

import psutil
import pytest

from modules import checkpoint
from tests.pipelines.launch import launch, run
from tests.pipelines.test_resume import frames

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="needs ray: pip install -c constraints.txt -e '.[ray]'"
)
RAYS = ("raylet", "gcs_server", "ray::", "default_worker.py", "log_monitor.py")  # processes
SMALL = ("+debug=smoke", "video=false", "collector=ray", "collector.num_envs=2", "collector.steps=10", "threads=1")
FAMILY = ("+exp=agent57_corridor", *SMALL, "env.length=6", "meta.arms.n=4", "eval_every=0", "hydra.run.dir=run")


SHARDED = ("collector.rows=actor", "replay=ray")


@pytest.mark.parametrize("further", [(), pytest.param(SHARDED, marks=pytest.mark.cluster)])
def test_agent57_trains_is_saved_and_resumes_and_leaves_no_process_behind(tmp_path, further):
    before = {process.pid for process in psutil.process_iter()}
    words = (*FAMILY, "intrinsic.lifelong.error_horizon=0", "collector.push_every=20", "warmup_frames=40", *further)
    ended = run("pipelines.train", *words, "total_frames=200", "save_every=100", cwd=tmp_path)
    assert ended.code == 0, ended.err
    again = run("pipelines.resume", "run=run", "total_frames=400", cwd=tmp_path)
    assert again.code == 0, again.err
    saved = checkpoint.load(checkpoint.latest(tmp_path / "run" / "checkpoints"))
    assert sorted(saved["actors"]) == ["0", "1"]
    assert saved["intrinsic_model"]["lifelong"]["errors"]["count"] == saved["frames"] == 400
    ours = [p for p in psutil.process_iter() if p.pid not in before and is_rays(p)]
    _, alive = psutil.wait_procs(ours, timeout=30)
    assert not alive


@pytest.mark.cluster
def test_a_run_that_is_killed_leaves_no_process_behind_and_resumes(tmp_path):
    before = {process.pid for process in psutil.process_iter()}
    words = (*FAMILY, *SHARDED, "collector.push_every=20", "warmup_frames=40", "save_every=200")
    started = launch("pipelines.train", *words, "total_frames=1_000_000", cwd=tmp_path)
    started.until(lambda: frames(tmp_path / "run") >= 400)
    assert [p for p in psutil.process_iter() if p.pid not in before and "RayWorker" in name_of(p)]
    assert started.signal(signal.SIGKILL).wait().code == -signal.SIGKILL
    ours = [p for p in psutil.process_iter() if p.pid not in before and is_rays(p)]
    acted = [p for p in ours if any(name in name_of(p) for name in ("RayWorker", "Shard"))]
    assert acted
    assert not psutil.wait_procs(acted, timeout=30)[1]
    assert not psutil.wait_procs(ours, timeout=180)[1]  # two agents of Ray's own take a minute to notice
    saved = checkpoint.load(checkpoint.latest(tmp_path / "run" / "checkpoints"))
    again = run("pipelines.resume", "run=run", f"total_frames={saved['frames'] + 200}", cwd=tmp_path)
    assert again.code == 0, again.err


def is_rays(process: psutil.Process) -> bool:
    return any(name in name_of(process) for name in RAYS)


def name_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # it has just ended, though perhaps nobody has heard of it yet
        return ""


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("env", "text"), [("Faulty", "RuntimeError: the motor is on fire"), ("Exits", "sys.exit(7) was called")]
)
def test_an_error_of_an_environment_ends_the_run_with_its_text(env, text, tmp_path):
    (tmp_path / "flag").touch()
    faulty = (f"env.id=tests.pipelines.faulty:{env}-v0", "env.keep=null", f"+env.kwargs.flag={tmp_path / 'flag'}")
    words = ("+exp=drqn_cartpole_masked", *faulty, "+env.kwargs.at=50", *SMALL)
    ended = run("pipelines.train", *words, "hydra.run.dir=run", cwd=tmp_path)
    assert ended.code == 1
    assert text in ended.out + ended.err
    assert " of 2 (stream " in ended.out + ended.err
    assert "Traceback" not in ended.out + ended.err


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("collector.cpus_per_worker=1000",), "are 2000 CPUs, and the cluster at collector.address=local has"),
        (("collector.address=127.0.0.1:1",), "collector.address=127.0.0.1:1: "),
    ],
)
def test_what_cannot_be_placed_is_one_sentence_before_anything_starts(words, sentence, tmp_path):
    ended = run("pipelines.train", *FAMILY, *words, cwd=tmp_path)
    assert ended.code == 2
    assert sentence in ended.out + ended.err
    assert "Traceback" not in ended.out + ended.err
    assert not (tmp_path / "run").exists()


@pytest.mark.cluster
def test_a_run_outlives_a_shard_of_its_replay_and_resumes(tmp_path):
    log = tmp_path / "run" / "train.log"
    words = (*FAMILY, *SHARDED, "collector.push_every=20", "warmup_frames=40", "save_every=200")
    started = launch("pipelines.train", *words, "total_frames=1_000_000", cwd=tmp_path)

    def further(count):
        until = frames(tmp_path / "run") + count
        return lambda: frames(tmp_path / "run") >= until

    started.until(further(200))
    shards = [p for p in psutil.Process(started.process.pid).children(recursive=True) if "ray::Shard" in name_of(p)]
    assert len(shards) == 2
    shards[0].kill()
    started.until(lambda: "of the replay was lost with its" in log.read_text()).until(further(400))
    ended = started.signal(signal.SIGTERM).wait()
    assert ended.code == 128 + signal.SIGTERM, ended.err
    assert log.read_text().count("of the replay was lost with its") == 1
    saved = checkpoint.load(checkpoint.latest(tmp_path / "run" / "checkpoints"))
    again = run("pipelines.resume", "run=run", f"total_frames={saved['frames'] + 400}", cwd=tmp_path)
    assert again.code == 0, again.err
