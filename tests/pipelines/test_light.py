"""Acting takes little more than PyTorch: neither TorchRL nor the environment's module is imported."""

import json
import random
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
import torch

from modules import checkpoint
from pipelines.agent.described import ACTING, read_space
from pipelines.agent.policy_card import describe_space
from pipelines.api import compose, load, train
from tests.pipelines.launch import ROOT
from tests.pipelines.saved_runs import saved_kind, varied

MINE = """
import gymnasium, numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete
class Mine(gymnasium.Env):
    observation_space = Dict({"sign": Discrete(3), "walked": Box(0, np.inf, (2,))})
    action_space = MultiDiscrete([2, 3], start=[1, 0])
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return {"sign": 1, "walked": np.zeros(2, np.float32)}, {}
    def step(self, action):
        self.steps += 1
        return {"sign": 0, "walked": np.full(2, self.steps, np.float32)}, 1.0, self.steps == 5, False, {}
gymnasium.register("Mine-v0", Mine, max_episode_steps=9)
"""
ACT = """
import json, sys
import numpy as np
from pipelines.api import load
policy = load("runs/run")
actions = [policy({"sign": i % 3, "walked": np.float32([i, -i])}).tolist() for i in range(20)]
heavy = sorted({"torchrl", "tensordict", "hydra", "matplotlib", "pandas", "light_env"} & set(sys.modules))
print(json.dumps([actions, heavy]))
"""


def forget(run_dir):
    """Take out of a checkpoint what older runs do not have."""
    path = run_dir / "checkpoints" / "best.pt"
    state = checkpoint.load(path)
    del state[ACTING]
    torch.save(state, path)


def test_neither_torchrl_nor_the_environments_module_is_needed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "light_env.py").write_text(MINE)
    words = ("algo=drqn", "env=gym", "env.id=light_env:Mine-v0", "network/torso=mlp", "+debug=smoke", "video=false")
    train(compose(*words, "threads=1", "total_frames=100"), run_dir="runs/run", bar=False)
    observations = [{"sign": i % 3, "walked": np.float32([i, -i])} for i in range(20)]
    policy = load("runs/run")
    expected = [policy(observation).tolist() for observation in observations]
    (tmp_path / "light_env.py").unlink()
    done = subprocess.run(
        [sys.executable, "-c", ACT], cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [expected, []]
    assert all(first in (1, 2) and second in (0, 1, 2) for first, second in expected)


def test_what_else_a_policy_needs_leaves_the_callers_generators_as_they_were(tmp_path, monkeypatch):
    saved_kind(tmp_path / "run", "lstm")
    monkeypatch.chdir(tmp_path)
    policy = load("run")
    monkeypatch.chdir(tmp_path.parent)
    before = torch.get_rng_state(), random.getstate()
    assert policy.transforms()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]


@pytest.mark.parametrize("kind", ["lstm", "previous", "window"])
def test_an_older_run_asks_its_environment_and_acts_the_same(kind, tmp_path):
    saved_kind(tmp_path, kind)
    generator = np.random.default_rng(0)
    observations, rewards = generator.normal(size=(60, 4)), generator.normal(size=60)

    def actions():
        policy = load(tmp_path)
        return [policy(o, reward=r) for o, r in zip(observations, rewards, strict=True)]

    described = actions()
    forget(tmp_path)
    assert actions() == described
    assert varied(described)


@pytest.mark.parametrize(
    "space",
    [
        gymnasium.spaces.Box(0, 255, (4, 4, 3), np.uint8),
        gymnasium.spaces.Box(np.float32([-np.inf, -1]), np.float32([np.inf, 2])),
        gymnasium.spaces.MultiDiscrete([2, 3], start=[1, 0]),
        gymnasium.spaces.Tuple([gymnasium.spaces.MultiBinary([2, 2]), gymnasium.spaces.Discrete(3, start=1)]),
        gymnasium.spaces.Dict({"b": gymnasium.spaces.Discrete(2), "a": gymnasium.spaces.Box(-1, 1, (2,), np.float64)}),
    ],
)
def test_a_space_is_written_as_plain_values(space):
    assert read_space(json.loads(json.dumps(describe_space(space)))) == space
