"""The rules of the tours against a second implementation, which moves one robot on a list of strings."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from modules.spec import UsageError
from tests.modules.envs.optimum import tour_spec

AHEAD = ((0, -1), (-1, 0), (0, 1), (1, 0))  # (x, y) by heading: up, left, down, right
GO, LEFT, RIGHT = range(3)


def random_map(random, width, height):
    """A map of which a third are walls, with two goals or more, where it has room."""
    cells = random.choice(list("...##G"), width * height)
    cells[random.permutation(width * height)[:3]] = list("SGG")[: min(3, width * height)]
    return tuple("".join(row) for row in cells.reshape(height, width))


@st.composite
def cases(draw):
    """A random map and rules."""
    width, height = draw(st.integers(1, 5)), draw(st.integers(2, 5))
    rows = random_map(np.random.default_rng(draw(st.integers(0, 2**32))), width, height)
    switches = ("reset_after_goal", "erase_visited", "block_visited", "walls_show")
    rules = {
        **{name: draw(st.booleans()) for name in switches},
        "timeout": draw(st.sampled_from(["original", "keep"])),
        "sight": draw(st.integers(1, max(width, height) - 1)),
        "heading": draw(st.integers(0, 3)),
        "max_time": draw(st.integers(2, 25)),
        "hidden_after": draw(st.integers(0, 9)),
        "reward_timeout": -0.7,
    }
    return rows, rules


class Plain:
    """The rules once more, for one robot."""

    def __init__(self, rows, rules):
        self.field = [list(row) for row in rows]
        self.rules, self.time = rules, 0
        self.begin = next((x, y) for y, row in enumerate(rows) for x, cell in enumerate(row) if cell == "S")
        self.at, self.heading = self.begin, rules["heading"]

    def look(self, x, y):
        inside = 0 <= y < len(self.field) and 0 <= x < len(self.field[0])
        return self.field[y][x] if inside else "#"

    def act(self, action):
        """Reward, terminated, truncated."""
        rules, reward = self.rules, -0.1
        self.time += 1
        if action == GO:
            x, y = (a + b for a, b in zip(self.at, AHEAD[self.heading], strict=True))
            cell = self.look(x, y)
            if cell == "#" or (cell == "v" and rules["block_visited"]):
                reward = -0.2
            else:
                self.at = (x, y)
            if cell == "G":
                reward = 1.0
                self.field[y][x] = "." if rules["erase_visited"] else "v"
                if any("G" in row for row in self.field) and rules["reset_after_goal"]:
                    self.at, self.heading = self.begin, rules["heading"]
        else:
            self.heading = (self.heading + (1 if action == LEFT else -1)) % 4
        won = reward == 1 and not any("G" in row for row in self.field)
        late = self.time >= rules["max_time"]
        if late and rules["timeout"] == "original":
            reward = rules["reward_timeout"]
        return reward, won, late and not won

    def seen(self):
        """The window cut out of a padded field, then turned until the robot looks up."""
        sight, hidden = self.rules["sight"], self.rules["hidden_after"]
        field = np.pad(np.array(self.field), sight, constant_values="#")
        x, y = self.at
        part = np.rot90(field[y : y + 2 * sight + 1, x : x + 2 * sight + 1], -self.heading)
        goals = np.isin(part, ["G", "v"]) & (not hidden or self.time < hidden)
        return np.hstack([goals, part == "#"] if self.rules["walls_show"] else [goals]).astype(int).tolist()


@given(cases())
def test_rules_are_those_of_a_plain_robot(case):
    """20 episodes at once against one after the other."""
    rows, rules = case
    try:
        world = tour_spec(**rules, maps=(rows,)).world()
    except UsageError as error:
        assume("no path leads" not in str(error))
        raise
    robots = [Plain(rows, rules) for _ in range(20)]
    state, ended = world.start(20), [False] * 20
    actions = np.random.default_rng(0).choice([GO, GO, GO, LEFT, RIGHT], (rules["max_time"], 20))
    for action in torch.from_numpy(actions):
        state, reward, terminated, truncated = world.step(state, action)
        places, seen = state["position"].tolist(), world.observe(state).tolist()
        for n, robot in enumerate(robots):
            if not ended[n]:
                expected, *ends = robot.act(int(action[n]))
                assert float(reward[n]) == pytest.approx(expected)
                assert [bool(terminated[n]), bool(truncated[n])] == ends
                x, y = (z + rules["sight"] for z in robot.at)
                assert (places[n], int(state["heading"][n])) == (y * world.width + x, robot.heading)
                assert seen[n] == robot.seen()
                ended[n] = any(ends)
    assert all(ended)
