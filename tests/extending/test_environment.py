"""An environment of one's own that is no Gymnasium environment: a world of tensors, with a YAML file beside it."""

import pytest

from tests.extending.recipe import SMALL, trains_and_all

FILE = '''
import torch

from modules.envs.worlds.world import SmallWorld, WorldSpec
from modules.keys import Spaces
from modules.spec import spec


class Echo(SmallWorld):
    """Say now what was shown `delay` steps ago: 1 for each right answer."""

    def __init__(self, settings):
        n = settings.symbols
        spaces = Spaces(observation_shape=(n,), observation_dtype=torch.float32, n_actions=n)
        super().__init__(spaces, bounds=(0.0, settings.horizon), device="cpu")
        self.settings = settings

    def start(self, n):
        shown = self._draw(self.settings.symbols, (n, self.settings.horizon + 1))
        return {"shown": shown, "time": self._all(n, 0)}

    def step(self, state, action):
        time, delay = state["time"], self.settings.delay
        asked = state["shown"].gather(1, (time - delay).clamp(min=0).unsqueeze(1)).squeeze(1)
        right = (action == asked) & (time >= delay)
        over = time + 1 >= self.settings.horizon
        return {**state, "time": time + 1}, right.float(), over, torch.zeros_like(over)

    def observe(self, state):
        now = state["shown"].gather(1, state["time"].unsqueeze(1)).squeeze(1)
        return torch.nn.functional.one_hot(now, self.settings.symbols).float()


@spec
class EchoSpec(WorldSpec):
    """Settings of the echo.

    Attributes:
        symbols: how many there are.
        delay: steps.
        horizon: steps of an episode.
    """

    symbols: int
    delay: int
    horizon: int

    def episode_limit(self):
        return self.horizon

    def world(self, device="cpu"):
        return Echo(self)
'''
YAML = """_target_: echo.EchoSpec
symbols: 3
delay: 2
horizon: 12
window_length: 1
reward_scale: 1.0
"""


@pytest.mark.slow
def test_it_trains_is_killed_resumes_bit_for_bit_evaluates_and_exports(tmp_path):
    (tmp_path / "echo.py").write_text(FILE)
    (tmp_path / "settings" / "env").mkdir(parents=True)
    (tmp_path / "settings" / "env" / "echo.yaml").write_text(YAML)
    found = trains_and_all(tmp_path, "echo", "--config-dir", "settings", "env=echo", small=SMALL)
    assert 0 <= float(found[-1]["eval/return_mean"]) <= 10
