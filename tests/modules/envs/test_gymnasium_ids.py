import json
import subprocess
import sys
import warnings
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from torchrl.envs import check_env_specs

from modules import keys
from modules.envs import gymnasium_ids
from modules.envs.worlds import corridor, explore, shower, tiny, tour_tasks
from modules.envs.worlds.world import WorldEnv
from modules.spec import UsageError
from tests.cases import later
from tests.modules.builders import gym_spec
from tests.pipelines.launch import run

ROOT = Path(__file__).resolve().parents[3]
TOURS = ["SilentRuin", "OpenField", "ManySwamp", "TmazeBoth", "TmazeEither", "Ruin1swamp", "Ruin2swamp", "TmazeLarge"]
TOURS = [*TOURS, "Mytask"]
CORRIDORS = ["CorridorL8g23v", "CorridorL8g23", "CorridorL8g34", "CorridorL8g67", "CorridorL8g34567"]
TINY = ["MemoryLen", "PassiveTmaze", "RepeatPrevious"]
EXPLORE = ["GoalCorridor", "DeepSea", "RandomCoin", "DiscountingChain"]
IDS = [f"recall/{name}-v0" for name in (*TOURS, *CORRIDORS, *TINY, *EXPLORE, "Shower")]
T_BOTH = f"{gymnasium_ids.__name__}:recall/TmazeBoth-v0"
LEFT_GOAL = (0, 0, 1, 0, 0)


def play(env, actions):
    return [env.step(action) for action in actions]


def test_every_task_has_an_id():
    assert {env_id for env_id in gymnasium.registry if env_id.startswith("recall/")} == set(IDS)
    tasks = (tour_tasks.TASKS, corridor.TASKS, tiny.SPECS, explore.SPECS, shower.SPECS)
    assert len(IDS) == sum(map(len, tasks))
    assert all(gymnasium.spec(env_id).max_episode_steps is None for env_id in IDS)


@pytest.mark.parametrize("env_id", IDS)
def test_gymnasiums_checker_is_content(env_id):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(env_id).unwrapped)


@pytest.mark.parametrize("env_id", IDS)
def test_torchrls_checker_is_content(env_id):
    world = gymnasium.make(env_id).unwrapped.world
    check_env_specs(WorldEnv(world, 3), seed=0)


@pytest.mark.parametrize("env_id", ["recall/ManySwamp-v0", "recall/TmazeEither-v0", "recall/CorridorL8g34567-v0"])
def test_plays_the_same_episodes_as_the_batched_environment(env_id):
    single, batched = gymnasium.make(env_id), WorldEnv(gymnasium.make(env_id).unwrapped.world, 1)
    rng, ends = np.random.default_rng(0), 0
    batched.set_seed(7)
    seen, _ = single.reset(seed=7)
    td = batched.reset()
    for _ in range(150):
        np.testing.assert_array_equal(seen, td[keys.OBSERVATION][0].numpy())
        assert seen in single.observation_space
        action = int(rng.integers(batched.action_spec_unbatched.n))
        seen, reward, terminated, truncated, _ = single.step(action)
        step, td = batched.step_and_maybe_reset(td.set(keys.ACTION, torch.tensor([action])))
        flags = [step["next", key].item() for key in (keys.REWARD, keys.TERMINATED, keys.TRUNCATED)]
        assert [reward, terminated, truncated] == flags
        if terminated or truncated:
            ends += 1
            seen, _ = single.reset()
    assert ends > 3


def test_rules_are_keyword_arguments():
    defaults = gymnasium.make("recall/TmazeBoth-v0").unwrapped.world
    assert [defaults.timeout_replaces, defaults.task] == [True, tour_tasks.TASKS["tmaze_both"]]
    env = gymnasium.make("recall/TmazeBoth-v0", max_time=6, sight=1, reward_goal=3.0, reward_move=0.0, timeout="keep")
    assert env.reset(seed=0)[0].shape == (3, 6)
    *_, last = play(env, LEFT_GOAL)
    assert last[1:4] == (3.0, False, False)
    assert env.step(1)[1:4] == (0.0, False, True)
    own = gymnasium.make("recall/Mytask-v0", maps=[["S.G", "###"]], sight=1)
    own.reset()
    assert own.step(2)[1:4] == (pytest.approx(-0.1), False, False)
    assert play(own, (0, 0))[-1][1:4] == (1.0, True, False)
    assert gymnasium.make("recall/CorridorL8g67-v0", length=12, goals=(3,)).reset()[0].tolist() == [
        1,
        0,
        0,
        3,
        *[0] * 8,
    ]


@pytest.mark.parametrize("rule", [field for field in tour_tasks.Task.__dataclass_fields__])
def test_every_rule_can_be_set(rule):
    task = tour_tasks.TASKS["ruin_2swamp"]
    changed = {"maps": (tour_tasks.T_BOTH,), "size": (6, 6), "start": (0, 0)}.get(rule)
    value = getattr(task, rule)
    if changed is None:
        changed = (not value) if isinstance(value, bool) else value + 1
    assert getattr(gymnasium.make("recall/Ruin2swamp-v0", **{rule: changed}).unwrapped.world.task, rule) == changed


@pytest.mark.parametrize(
    ("name", "rules", "said"),
    [
        ("TmazeBoth", {"sight": 99}, "sight=99 must be smaller than the field of 5 x 5 cells"),
        ("TmazeBoth", {"sigth": 2}, "sigth: no such setting here; there are task, layout, timeout, maps, size, "),
        ("TmazeBoth", {"sight": "far"}, "sight: it should be a valid integer, "),
        ("TmazeBoth", {"sight": True}, "sight: it should be a number, not True"),
        ("TmazeBoth", {"layout": "biased"}, "layout: it should be 'original' or 'uniform', not 'biased'"),
        ("TmazeBoth", {"maps": [[]]}, "maps: rows of equal length of the characters # G S . are needed, not []"),
        ("TmazeBoth", {"task": "tmaze"}, "task: it should be 'silent_ruin', "),
        ("Ruin1swamp", {"walls": 24}, "goals=1 and walls=24 need 25 cells, but a field of 5 x 5 has 24 beside"),
        ("Mytask", {"size": (62, 5)}, "a field may be up to 61 cells wide and, if random, high, not 62"),
        ("CorridorL8g67", {"length": 7}, "goals=[6, 7] must list cells from start=0 to 6, the end of the corridor"),
        ("CorridorL8g67", {"length": 100_001}, "length: it should be less than or equal to 100000, not 100001"),
        ("MemoryLen", {"length": 0}, "length: it should be greater than "),
        ("MemoryLen", {"task": "memory"}, "task: it should be 'memory_len' or "),
        ("GoalCorridor", {"horizon": 99}, "horizon=99 must be at least length=100, or nobody can reach the goal"),
        ("DeepSea", {"size": 1}, "size: it should be greater than 1, not 1"),
        ("RandomCoin", {"horizon": 15}, "horizon=15 must be at least 16, the way between two corners"),
        ("Shower", {"start": (41, 35)}, "start=[41, 35] must have its lower end first"),
        ("DiscountingChain", {"mapping_seed": None}, "mapping_seed: it should be a valid integer, not null"),
    ],
)
def test_rules_that_make_no_sense_are_one_sentence(name, rules, said):
    with pytest.raises(UsageError) as refused:
        gymnasium.make(f"recall/{name}-v0", **rules)
    assert str(refused.value).startswith(said)
    assert "\n" not in str(refused.value)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None  # no text of pydantic above it


def test_what_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="render_mode must be one of"):
        gymnasium_ids.TourGym("tmaze_both", render_mode="human")
    env = gymnasium.make("recall/TmazeBoth-v0").unwrapped
    env.reset()
    for action in (-1, 3):
        with pytest.raises(gymnasium.error.InvalidAction):
            env.step(action)
    with pytest.raises(UsageError, match=r"cannot be made with kwargs.*sigth"):
        gym_spec(T_BOTH, sigth=2).spaces()


def test_seeds_decide_and_without_one_episodes_differ():
    def maps(env, *, seed=None):
        return [env.reset(seed=seed if i == 0 else None)[0].tobytes() for i in range(8)]

    env = gymnasium.make("recall/ManySwamp-v0")
    assert maps(env, seed=3) == maps(env, seed=3) == maps(gymnasium.make("recall/ManySwamp-v0"), seed=3)
    assert maps(env, seed=4) != maps(env, seed=3)
    assert maps(gymnasium.make("recall/ManySwamp-v0")) != maps(gymnasium.make("recall/ManySwamp-v0"))
    assert len(set(maps(env))) > 1


def test_render_modes():
    picture, text = (
        gymnasium.make("recall/TmazeBoth-v0", render_mode="rgb_array"),
        gymnasium.make(IDS[0], render_mode="ansi"),
    )
    for env in (picture, text):
        env.reset(seed=0)
    assert picture.render().shape == (240, 744, 3)
    assert text.render().splitlines()[-1] == "time 0 of 25, goals left 2"
    assert gymnasium_ids.TourGym("tmaze_both").render() is None


def test_another_program_reaches_the_ids_through_the_module():
    """Gymnasium has no plugins: a bare id is unknown until this file is imported, by hand or by the id itself."""
    program = f"""
import gymnasium, json
try:
    gymnasium.make("recall/TmazeBoth-v0")
    alone = True
except gymnasium.error.Error:
    alone = False
named = gymnasium.make("{T_BOTH}").reset(seed=0)[0].shape
print(json.dumps([alone, named, gymnasium.make("recall/TmazeBoth-v0").spec.id]))
"""
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(ended.stdout) == [False, [7, 14], "recall/TmazeBoth-v0"]


@pytest.mark.parametrize("env_id", [T_BOTH, later("recall/TmazeBoth-v0")])
def test_trains_as_any_other_id(tmp_path, env_id):
    words = ("+exp=drqn_cartpole_masked", "env=gym", f"env.id={env_id}", "+debug=smoke", "name=t", "hydra.run.dir=run")
    ended = run("pipelines.train", *words, "total_frames=120", "eval_every=0", "video=true", cwd=tmp_path)
    assert ended.code == 0, ended.err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert [summary["status"], summary["frames"]] == ["finished", 120]
    assert [*(tmp_path / "run" / "videos").glob("*.mp4")]
