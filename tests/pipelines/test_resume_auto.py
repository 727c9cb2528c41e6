"""What was killed continues: a run by the words that began it, a sweep by its folder."""

import json
import shutil
import signal
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from modules.spec import UsageError
from pipelines.config.composing import compose_settings
from pipelines.config.flags import arrange_flags
from pipelines.config.sweep_words import words_of
from pipelines.training.preflight import preflight
from pipelines.training.resuming import refuse_other_settings, start_or_resume
from tests.pipelines.launch import Ended, launch, run
from tests.pipelines.saved_runs import MASKED

TINY = ("+exp=drqn_cartpole_masked", "+debug=smoke", "video=false", "threads=1", "total_frames=120", "save_every=40")
TINY += ("eval_every=60", "eval_episodes=1", "keep_checkpoints=9")
SWEEP = ("-m", *TINY, "network/memory=none,lstm", "seed=0,1,2", "hydra.sweep.dir=sweep")
JOBS = [f"network.memory={memory},seed={seed}" for memory in ("lstm", "none") for seed in range(3)]


def status(run_dir: Path) -> str:
    path = run_dir / "summary.json"
    return json.loads(path.read_text())["status"] if path.exists() else ""


def metrics(sweep: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in sorted(sweep.glob("*/metrics.csv"))}


def killed_in_the_fourth(cwd: Path) -> Ended:
    """Start the sweep, and kill it while its fourth job trains; two never began."""
    sweep = cwd / "sweep"
    started = launch("pipelines.train", *SWEEP, cwd=cwd)
    started.until(lambda: len([*sweep.glob("*/checkpoints/frames_000000000040.pt")]) == 4)
    return started.signal(signal.SIGKILL).wait()


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, bytes]:
    """The metrics of a sweep that nothing disturbed."""
    cwd = tmp_path_factory.mktemp("whole")
    ended = run("pipelines.train", *SWEEP, cwd=cwd)
    assert ended.code == 0, ended.err
    found = metrics(cwd / "sweep")
    assert sorted(found) == JOBS
    return found


@pytest.mark.parametrize("command", ["resume", "train"])
def test_a_killed_sweep_goes_on_as_if_it_had_not_been(command, whole, tmp_path):
    assert killed_in_the_fourth(tmp_path).code == -signal.SIGKILL
    sweep = tmp_path / "sweep"
    assert [status(sweep / name) for name in JOBS].count("finished") == 3
    assert len(metrics(sweep)) == 4
    words = ("run=sweep",) if command == "resume" else (*SWEEP, "resume=auto")
    ended = run(f"pipelines.{command}", *words, cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert ended.out.count("is finished already") == 3
    assert metrics(sweep) == whole
    assert [status(sweep / name) for name in JOBS] == ["finished"] * 6
    assert sorted(path.name for path in sweep.iterdir() if path.is_dir()) == JOBS
    log = (sweep / JOBS[0] / "train.log").read_text().splitlines()
    assert len({*log}) == len(log)  # no line twice
    if command == "resume":  # and once more: nothing is left
        assert run("pipelines.resume", "run=sweep", cwd=tmp_path).out.count("is finished already") == 6
        assert metrics(sweep) == whole
        assert_the_report_has_both_variants(tmp_path)


def assert_the_report_has_both_variants(cwd: Path) -> None:
    ended = run("pipelines.report", "sweep", cwd=cwd)
    assert ended.code == 0, ended.err
    assert "none" in ended.out
    assert "lstm" in ended.out


def test_a_run_begins_continues_and_is_finished(tmp_path):
    words = (*TINY, "hydra.run.dir=run", "resume=auto")
    began = launch("pipelines.train", *words, cwd=tmp_path)
    began.until(lambda: (tmp_path / "run" / "checkpoints" / "frames_000000000040.pt").exists())
    assert began.signal(signal.SIGKILL).wait().code == -signal.SIGKILL
    assert OmegaConf.load(tmp_path / "run" / "config.yaml").resume == "never"
    other = run("pipelines.train", *words, "optim.lr=0.5", cwd=tmp_path)
    assert [other.code, other.out] == [2, ""]
    assert "the run there has optim.lr=0.001, not 0.5, so it is not continued" in other.err
    assert run("pipelines.train", *words[:-1], cwd=tmp_path).code == 2  # without the word, as ever
    assert run("pipelines.train", *words, cwd=tmp_path).code == 0
    assert status(tmp_path / "run") == "finished"
    before = (tmp_path / "run" / "metrics.csv").read_bytes()
    again = run("pipelines.train", *words, cwd=tmp_path)
    assert again.code == 0
    assert "run is finished already, with greedy return" in again.out
    assert (tmp_path / "run" / "metrics.csv").read_bytes() == before


@pytest.mark.parametrize("words", [(), ("hydra.run.dir=runs/${now:%H}",)])
def test_a_folder_that_moves_is_refused(words):
    with pytest.raises(UsageError, match=r"resume=auto: say in which folder, hydra\.run\.dir=…"):
        preflight([*TINY, "resume=auto", *words])


def multirun(folder: Path, hydra: list[str], task: list[str]) -> Path:
    folder.mkdir()
    OmegaConf.save({"hydra": {"overrides": {"hydra": hydra, "task": task}}}, folder / "multirun.yaml")
    return folder


def test_only_words_of_the_jobs_are_taken_from_a_sweep(tmp_path):
    hydra = [
        "hydra.mode=MULTIRUN",
        "hydra.sweep.dir=elsewhere",
        "hydra/launcher=submitit_local",
        "hydra.sweep.subdir=a",
    ]
    folder = multirun(tmp_path / "sweep", [*hydra, "+hydra.launcher.setup=[rm]"], ["seed=0,1", "resume=auto"])
    assert words_of(folder) == ["seed=0,1", "hydra.sweep.subdir=a", "resume=kept", f"hydra.sweep.dir={folder}"]


def test_a_strangers_sweep_imports_nothing(tmp_path):
    (tmp_path / "bomb.py").write_text("raise SystemExit('imported')")
    for task, says in (("plugins=[bomb]", "asks to import bomb"), ("env.id=bomb:Bomb-v0", "env.id: ")):
        multirun(tmp_path / "sweep", [], [*TINY, task, "seed=0,1"])
        ended = run("pipelines.resume", "run=sweep", cwd=tmp_path)
        assert ended.code == 2, ended
        assert says in ended.err
        assert "imported" not in ended.err
        shutil.rmtree(tmp_path / "sweep")


@pytest.mark.parametrize(
    ("hydra", "task"),
    [
        (["hydra.sweeper._target_=bomb.Bomb"], []),
        (["++hydra.sweeper._target_=bomb.Bomb"], []),
        ([], ["hydra/launcher=submitit_local"]),
        ([], ["+hydra.launcher.setup=[rm]"]),
        ([], ["--config-dir=mine"]),
        ([], ["hydra.searchpath=[file://mine]"]),
        (['+hydra.sweeper.params={+hydra.job_logging.handlers.y:"{class:bomb.H}"}'], []),
        (["hydra.sweeper.params.+hydra/launcher=submitit_local"], []),
        (["hydra.sweeper.params={${a}:1}"], []),
        (["hydra.sweeper.study=bomb"], []),
        ([], ["+env@hydra.callbacks=bomb"]),
        (["hydra.sweep.subdir=../elsewhere"], []),
        (["hydra.sweep.subdir=/elsewhere"], []),
        (["hydra.sweep.subdir=${oc.env:HOME}"], []),
    ],
)
def test_a_strangers_sweep_starts_nothing_but_runs(hydra, task, tmp_path):
    folder = multirun(tmp_path / "sweep", hydra, ["seed=0,1", *task])
    with pytest.raises(UsageError, match="may name code"):
        words_of(folder)


@pytest.mark.parametrize("subdir", ["${hydra.job.num}_seed${seed}", "${hydra.job.num}_${env.task}_seed${seed}"])
def test_an_older_sweep_keeps_the_names_of_its_jobs(subdir, tmp_path):
    folder = multirun(tmp_path / "sweep", [], ["seed=0,1"])
    content = OmegaConf.load(folder / "multirun.yaml")
    content.hydra.sweep = {"subdir": subdir}
    OmegaConf.save(content, folder / "multirun.yaml")
    assert f"hydra.sweep.subdir={subdir}" in words_of(folder)
    content.hydra.sweep = {"subdir": "${folder_of_job:${hydra.job.override_dirname},${hydra.job.num}}"}  # today's
    OmegaConf.save(content, folder / "multirun.yaml")
    assert not any("subdir" in word for word in words_of(folder))


def test_a_run_from_before_a_callback_is_continued(finished_run, tmp_path):
    shutil.copytree(finished_run, tmp_path / "run")
    config = OmegaConf.load(tmp_path / "run" / "config.yaml")
    del config.callbacks.curve
    OmegaConf.save(config, tmp_path / "run" / "config.yaml")
    now, _ = compose_settings([MASKED, "+debug=smoke", "video=false", "total_frames=100", "threads=1"])
    refuse_other_settings(now, tmp_path / "run")
    now.optim.lr = 0.5
    with pytest.raises(UsageError, match=r"optim\.lr=.* not 0\.5, so it is not continued"):
        refuse_other_settings(now, tmp_path / "run")


def test_a_job_that_was_resumed_with_other_settings_goes_on_with_its_own(finished_run, tmp_path):
    """In a sweep, of which each word is older than what its job was told."""
    shutil.copytree(finished_run, tmp_path / "run")
    config = OmegaConf.load(tmp_path / "run" / "config.yaml")
    words = [MASKED, "+debug=smoke", "video=false", "total_frames=40", "threads=1"]
    now, _ = compose_settings([*words, f"save_every={config.save_every + 1}", "logger=tensorboard", "resume=kept"])
    assert now.total_frames != config.total_frames
    refuse_other_settings(now, tmp_path / "run")
    assert start_or_resume(now, tmp_path / "run", bar=False) is not None  # it is finished
    for name, value in (("resume", "auto"), ("optim.lr", 0.5)):
        other = now.copy()
        OmegaConf.update(other, name, value)
        with pytest.raises(UsageError, match="so it is not continued"):
            refuse_other_settings(other, tmp_path / "run")


def test_settings_of_a_sweep_stay(tmp_path):
    multirun(tmp_path / "sweep", [], [*TINY, "seed=0,1"])
    ended = run("pipelines.resume", "run=sweep", "total_frames=500", cwd=tmp_path)
    assert ended.code == 2
    assert "total_frames=500: sweep is a sweep, whose settings stay" in ended.err


def test_words_of_wandbs_agent_are_settings():
    words = ["+exp=a", "--optim.lr=0.1", "--network/memory=gru", "--seed=3", "-m"]
    assert arrange_flags(words) == ["--multirun", "+exp=a", "optim.lr=0.1", "network/memory=gru", "seed=3"]
    assert arrange_flags(["--cfg=job", "--seed=3"]) == ["--cfg=job", "seed=3"]
    with pytest.raises(UsageError, match=r"--exp: no such option; say \+exp=a"):
        arrange_flags(["--exp=a"])
