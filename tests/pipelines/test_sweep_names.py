"""Jobs of a sweep are in folders that say what varies."""

import time

import pytest
from omegaconf import OmegaConf

from modules.spec import UsageError
from pipelines.config.composing import compose_sweep, composing, multirun_settings
from pipelines.config.sweep_names import LONGEST, folder_of_job, job_in, leave_out_fixed
from pipelines.training.preflight import preflight
from tests.pipelines.launch import run

TINY = ("+exp=drqn_cartpole_masked", "+debug=smoke", "hydra.sweep.dir=sweep")


def composed(*words: str):
    overrides = leave_out_fixed(words)
    return compose_sweep(overrides, multirun_settings(overrides).sweeper)


def folders(*words):
    with composing():
        return [str(run_dir) for _, run_dir in composed(*TINY, *words)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["seed=0,1"], ["seed=0", "seed=1"]),
        (["seed=3"], ["0"]),
        (["seed=0", "network/memory=none,lstm"], ["network.memory=none", "network.memory=lstm"]),
        (["optim.lr=1e-3,1e-4", "name=x", "seed=1"], ["optim.lr=0.001", "optim.lr=0.0001"]),
        (["network.torso.hidden=[8],[8,16]"], ["network.torso.hidden=[8]", "network.torso.hidden=[8,16]"]),
        (["+sweep=seeds", "seed=5,6"], ["seed=5", "seed=6"]),
        (["seed=range(0,2)", "eval_episodes=4,8"],
         ["eval_episodes=4,seed=0", "eval_episodes=8,seed=0", "eval_episodes=4,seed=1", "eval_episodes=8,seed=1"]),
    ],
)  # fmt: skip
def test_a_folder_has_what_varies_and_nothing_else(words, expected):
    assert sorted(folders(*words)) == sorted(f"sweep/{name}" for name in expected)


def test_a_name_is_one_folder_whatever_the_values():
    assert folder_of_job("+exp=a,env.id=ALE/Pong-v5,name='a b:c'", 3) == "exp=a,env.id=ALE.Pong-v5,name=_a_b_c_"
    assert folder_of_job("", 3) == folder_of_job("..", 3) == "3"
    long = folder_of_job("a=" + "b" * 300, 12)
    assert long.startswith("a=bbb")
    assert len(long) == LONGEST + len(",01234567")
    assert folder_of_job("a=" + "b" * 300 + ",seed=0", 3) != folder_of_job("a=" + "b" * 300 + ",seed=1", 3)


def test_names_that_the_user_chose_stay():
    words = [*TINY, "seed=0,1", "hydra.job.config.override_dirname.exclude_keys=[seed]"]
    assert leave_out_fixed(words) == words
    assert leave_out_fixed(["--multirun", "a==b,["]) == ["--multirun", "a==b,["]


def test_all_jobs_are_in_the_folder_of_one_time():
    times = iter(f"2026-01-01_00-00-{second:02}" for second in range(60))
    register = OmegaConf.register_new_resolver
    register("now", lambda _: next(times), use_cache=True, replace=True)
    try:
        with composing():
            found = composed(*TINY[:2], "seed=0,1,2")
    finally:
        register("now", lambda pattern: time.strftime(pattern), use_cache=True, replace=True)  # as Hydra does
    assert len({run_dir.parent for _, run_dir in found}) == 1


def test_two_jobs_of_one_folder_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="sweep/seed=1: jobs 0 and 2 of the sweep would both be there"):
        preflight(["--multirun", *leave_out_fixed([*TINY, "seed=1,2,1"])])


@pytest.mark.parametrize(
    ("name", "variant"),
    [
        ("seed=0", ""),
        ("network.memory=none,seed=0", "network.memory=none"),
        ("seed=1,network.torso.hidden=[8,16],optim.lr=0.1", "network.torso.hidden=[8,16],optim.lr=0.1"),
        ("a=" + "b" * 20 + ",12", "a=" + "b" * 20),  # a name that was cut has the job's number behind it
        ("3", ""),
    ],
)
def test_the_folder_of_a_job_says_its_variant(name, variant, tmp_path):
    (tmp_path / "multirun.yaml").touch()
    job = job_in(tmp_path / name)
    assert job is not None
    assert (job.variant, job.sweep, job.shared) == (variant, tmp_path, tmp_path)
    assert job.group == (variant or tmp_path.name)


def test_a_job_that_was_taken_out_of_its_sweep_keeps_to_its_folder(tmp_path):
    job = job_in(tmp_path / "seed=0,x=1")
    assert job is not None
    assert (job.variant, job.shared) == ("x=1", tmp_path / "seed=0,x=1")
    assert job_in(tmp_path / "2026-01-01_00-00-00_seed0") is None


def test_the_terminals_lines_say_which_job_they_are_of(tmp_path):
    ended = run("pipelines.train", "-m", *TINY, "seed=3,4", "dry=true", cwd=tmp_path)
    assert ended.code == 0, ended.err
    for job, seed in ((0, 3), (1, 4)):
        assert ended.out.count(f"[job {job}, seed {seed}][INFO] - dry run: ") == 1
    alone = run("pipelines.train", *TINY[:2], "seed=3", "dry=true", "hydra.run.dir=run", cwd=tmp_path)
    assert "dry run" in alone.out
    assert "job" not in alone.out
