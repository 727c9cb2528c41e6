"""Rules of the tours by hand; settings that are refused; the page that tells the rules."""

from dataclasses import fields
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from modules.envs.worlds.layouts import GOAL
from modules.envs.worlds.tour_tasks import TASKS, Task
from modules.envs.worlds.world import FOUND, HIT, NOTHING
from modules.spec import UsageError
from tests.modules.envs.optimum import tour_spec

PAGE = Path(__file__).parents[3] / "docs" / "tasks" / "tour.md"
GO, LEFT, RIGHT = range(3)


class Game:
    """One episode of the world, step by step, in plain numbers."""

    def __init__(self, rows, **rules):
        plain = {"reset_after_goal": False, "walls_show": True, "sight": 1, "max_time": 50}
        self.world = tour_spec(**{**plain, **rules, "maps": (rows,)}).world()
        self.state = self.world.start(1)

    def act(self, action):
        """Reward in tenths, terminated, truncated."""
        self.state, reward, terminated, truncated = self.world.step(self.state, torch.tensor([action]))
        return round(float(reward) * 10), bool(terminated), bool(truncated)

    def rewards(self, *actions):
        return [self.act(action)[0] for action in actions]

    @property
    def pose(self):
        """(x, y, heading)."""
        y, x = divmod(int(self.state["position"]), self.world.width)
        sight = self.world.task.sight
        return x - sight, y - sight, int(self.state["heading"])

    @property
    def seen(self):
        return self.world.observe(self.state)[0].tolist()


def test_turning_and_going():
    """A turn to the left from up is left, then down, then right; each action costs a tenth."""
    game = Game(("G....", ".....", "..S..", ".....", "....."))
    assert game.pose == (2, 2, 0)
    for number, (x, y) in enumerate(((2, 1), (1, 1), (1, 2), (2, 2))):
        assert game.rewards(GO, LEFT) == [-1, -1]
        assert game.pose == (x, y, (number + 1) % 4)
        assert int(game.state["event"]) == NOTHING
    assert game.rewards(RIGHT) == [-1]
    assert game.pose == (2, 2, 3)
    assert game.rewards(RIGHT, RIGHT, RIGHT) == [-1] * 3
    assert game.pose == (2, 2, 0)


def test_walls_and_border_bar_the_way():
    game = Game((".#G", "#S.", "..."))
    assert game.rewards(GO, LEFT, GO) == [-2, -1, -2]
    assert game.pose == (1, 1, 1)
    assert int(game.state["event"]) == HIT
    assert game.rewards(LEFT, GO)[1:] == [-1]
    assert int(game.state["event"]) == NOTHING
    assert game.rewards(GO, LEFT, GO, GO) == [-2, -1, -1, -2]
    assert game.pose == (2, 2, 3)


def test_rewards_are_settings():
    game = Game(("#SG",), heading=1, reward_bump=-3, reward_move=0.5, reward_goal=7)
    assert game.rewards(GO, LEFT, LEFT, GO) == [-30, 5, 5, 70]


@pytest.mark.parametrize(("erase", "shows"), [(True, 0), (False, 1)])
def test_visited_goals_vanish_or_look_like_new_ones(erase, shows):
    game = Game(("G.G", "#S#"), erase_visited=erase)
    assert game.seen == [[1, 0, 1, 0, 0, 0], [0, 0, 0, 1, 0, 1], [0, 0, 0, 1, 1, 1]]
    assert game.rewards(GO, LEFT, GO) == [-1, -1, 10]
    assert int(game.state["event"]) == FOUND
    assert game.pose == (0, 0, 1)
    assert game.seen == [[0, 0, 0, 1, 1, 1], [0, shows, 0, 1, 0, 1], [0, 0, 0, 0, 0, 1]]
    assert game.rewards(LEFT, LEFT, GO, LEFT, LEFT) == [-1] * 5
    assert game.act(GO) == (-1, False, False)  # no second reward
    assert game.rewards(LEFT, LEFT, GO) == [-1] * 3
    assert game.act(GO) == (10, True, False)  # the last goal ends the episode


def test_visited_goals_can_bar_the_way():
    """The robot may leave a goal, but not enter it again."""
    game = Game(("S.G.G",), heading=3, block_visited=True)
    assert game.rewards(GO, GO, GO, LEFT, LEFT, GO) == [-1, 10, -1, -1, -1, -2]
    assert game.pose == (3, 0, 1)
    assert int(game.state["event"]) == HIT
    assert game.rewards(LEFT, LEFT) == [-1, -1]
    assert game.act(GO) == (10, True, False)


def test_visited_goals_that_vanish_bar_nothing():
    game = Game(("S.G.G",), heading=3, block_visited=True, erase_visited=True)
    assert game.rewards(GO, GO, GO, LEFT, LEFT, GO) == [-1, 10, -1, -1, -1, -1]
    assert game.pose == (2, 0, 1)


def test_back_to_the_start_after_a_goal_but_not_after_the_last():
    game = Game(("G.G", "#S#"), heading=2, reset_after_goal=True)
    assert game.rewards(LEFT, LEFT, GO, LEFT, GO) == [-1, -1, -1, -1, 10]
    assert game.pose == (1, 1, 2)
    assert int(game.state["time"]) == 5  # the clock runs on
    assert game.rewards(LEFT, LEFT, GO, LEFT, GO) == [-1] * 5  # the visited goal moves nobody
    assert game.pose == (0, 0, 1)
    assert game.rewards(LEFT, LEFT, GO) == [-1] * 3
    assert game.act(GO) == (10, True, False)
    assert game.pose == (2, 0, 3)


@pytest.mark.parametrize(("timeout", "rewards"), [("original", [-1, -1, -5]), ("keep", [-1, -1, 10])])
@pytest.mark.parametrize(("field", "end"), [("S..G", [True, False]), ("S..GG", [False, True])])
def test_goal_in_the_last_step(field, end, timeout, rewards):
    """The last goal terminates and one of two truncates, whatever the time limit makes of the reward."""
    game = Game((field,), heading=3, max_time=3, timeout=timeout, reward_timeout=-0.5)
    outcomes = [game.act(GO) for _ in range(3)]
    assert [reward for reward, _, _ in outcomes] == rewards
    assert [ends for _, *ends in outcomes] == [[False, False], [False, False], end]


@pytest.mark.parametrize(("timeout", "last"), [("original", -2), ("keep", -1)])
def test_time_out(timeout, last):
    game = Game(("S..G",), heading=3, max_time=4, timeout=timeout)
    assert game.rewards(LEFT, LEFT, LEFT) == [-1] * 3
    assert game.act(LEFT) == (last, False, True)
    assert int(game.state["event"]) == HIT


@pytest.mark.parametrize("seed", range(6))
def test_tmaze_either_shows_the_goal_in_two_observations_only(seed):
    world = tour_spec("tmaze_either").world()
    world.seed(seed)
    state = world.start(1)
    side = 1 if int(state["cells"].view(9, 9)[3, 3]) & GOAL else 3  # the goal's column on the map
    for time in range(5):
        goals, walls = world.observe(state)[0].split(5, 1)
        assert goals.nonzero().tolist() == {0: [[0, side]], 1: [[1, side]]}.get(time, [])
        assert walls.sum() > 10
        state, *_ = world.step(state, torch.tensor([GO if time != 2 else LEFT]))


def test_both_arms_of_tmaze_either_occur_equally():
    world = tour_spec("tmaze_either").world()
    world.seed(0)
    left = (world.start(4000)["cells"].view(-1, 9, 9)[:, 3, 3] & GOAL != 0).float().mean()
    assert abs(left - 0.5) < 3 * 0.5 / 4000**0.5


@pytest.mark.parametrize(
    ("rules", "sentence"),
    [
        ({"sight": 5}, "env.sight=5 must be smaller than the field of 5 x 5 cells"),
        ({"maps": (("SG",),), "sight": 2}, "env.sight=2 must be smaller than the field of 2 x 1 cells"),
        ({"goals": 20, "walls": 5}, "env.goals=20 and env.walls=5 need 25 cells, but a field of 5 x 5 has 24"),
        ({"start": (5, 0)}, r"env.start: \[5, 0\] is outside the field of 5 x 5 cells"),
        ({"start": (0, 4), "size": (5, 4)}, r"env.start: \[0, 4\] is outside the field of 5 x 4 cells"),
        ({"maps": (("S#G", "G.#"),)}, r"env.maps: no path leads from S to every G in \['S#G', 'G.#'\]"),
        ({"maps": (("SSG",),)}, r"exactly one S and at least one G are needed in \['SSG'\]"),
        ({"maps": (("S..", ".G"),)}, r"rows of equal length .* are needed, not \['S..', '.G'\]"),
        ({"maps": (("SG",), ("S.", "G."))}, "env.maps: all maps must have the same size and start"),
        ({"maps": (("SG",), ("GS",))}, "env.maps: all maps must have the same size and start"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(rules, sentence):
    spec = tour_spec(**{"sight": 1, **rules})
    with pytest.raises(UsageError, match=sentence) as caught:
        spec.spaces()
    assert "\n" not in str(caught.value)


def test_wrong_task_lists_the_right_ones():
    with pytest.raises(ValidationError, match="Input should be " + ".*".join(repr(name) for name in TASKS)):
        tour_spec("tmaze")


@pytest.mark.parametrize(
    "rule", [{"goals": 0}, {"walls": -1}, {"sight": 0}, {"max_time": 0}, {"heading": 4}, {"start": (-1, 0)}]
)
def test_numbers_out_of_range(rule):
    with pytest.raises(ValidationError, match=next(iter(rule))):
        tour_spec(**rule)


def test_random_maps_without_paths_are_a_need():
    hopeless = tour_spec(size=(9, 9), start=(0, 0), goals=10, walls=70)
    assert [*hopeless.needs(None)] == ["env: none of 204800 random maps with 70 walls has a path to all 10 goals"]
    assert [*tour_spec(goals=4, walls=20, start=(2, 2)).needs(None)] == []  # one in hundreds, but there are some


def test_rules_replace_those_of_the_task():
    rules = tour_spec("many_swamp", walls=0, erase_visited=False, reward_move=0.0).rules
    changed = {f.name for f in fields(Task) if getattr(rules, f.name) != getattr(TASKS["many_swamp"], f.name)}
    assert changed == {"walls", "erase_visited", "reward_move"}
    assert (rules.walls, rules.erase_visited, rules.reward_move) == (0, False, 0.0)  # 0 and false are no null


def test_the_page_tells_the_rules_as_they_are():
    """Its table is read back; what differs between tasks must all be there."""
    page = PAGE.read_text(encoding="utf-8")
    for name, task in TASKS.items():
        world = tour_spec(name).world()
        width, height = world.width - 2 * task.sight, world.height - 2 * task.sight
        x, y = world.start_at % world.width - task.sight, world.start_at // world.width - task.sight
        fixed = "".join(task.maps[0]) if task.maps else ""
        cells = [
            f"`{name}`",
            f"{width} × {height}",
            f"({x}, {y})",
            str(fixed.count("G") or task.goals),
            "fixed" if fixed else str(task.walls),
            str(task.sight),
            "{} × {}".format(*world.spaces.observation_shape),
            str(task.max_time),
            "yes" if task.reset_after_goal else "no",
            "vanish" if task.erase_visited else "stay",
        ]
        assert "| " + " | ".join(cells) + " |" in page
        assert all(row in page for rows in task.maps for row in rows)
    same = ("heading", "block_visited", "reward_goal", "reward_bump", "reward_move", "reward_timeout")
    told = "(0, False, 1.0, -0.2, -0.1, -0.2)"  # as the page says in words
    assert {str(tuple(getattr(task, rule) for rule in same)) for task in TASKS.values()} == {told}
    assert {name for name, task in TASKS.items() if not task.walls_show} == {"open_field"}
    assert {name: task.hidden_after for name, task in TASKS.items() if task.hidden_after} == {"tmaze_either": 2}


def test_fields_wider_than_an_integer_has_bits_are_refused():
    with pytest.raises(UsageError, match="up to 61 cells wide and, if random, high, not 62"):
        tour_spec("many_swamp", size=(62, 7)).world()
    tour_spec("many_swamp", size=(61, 7)).world().start(2)


def test_what_only_random_maps_have_is_refused_on_fixed_ones():
    (problem,) = tour_spec("tmaze_both", size=(7, 7)).needs(None)
    assert problem == "env.size is for random maps, but these are fixed: leave it null"
    assert not list(tour_spec("many_swamp", size=(8, 8)).needs(None))


@pytest.mark.parametrize("task", ["tmaze_both", "many_swamp"])
def test_no_episode_can_be_started(task):
    state = tour_spec(task).world().start(0)
    assert all(len(entry) == 0 for entry in state.values())
