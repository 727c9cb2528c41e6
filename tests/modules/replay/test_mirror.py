"""Mirror symmetry of the tours, and the replay that shows rows mirrored."""

from types import SimpleNamespace

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from modules import keys
from modules.envs.base import EnvContext
from modules.replay.base import ReplayContext
from modules.replay.rows import SequenceBuilder, SequenceSchema
from modules.replay.sequence import Mirror, SequenceReplay
from modules.replay.specs import SequenceSpec
from modules.replay.storage import MemmapSpec
from modules.spec import UsageError
from tests.modules.builders import MEMORIES, gym_spec
from tests.modules.envs.optimum import tour_spec

TURNED = torch.tensor([0, 2, 1])  # forward stays, the turns change places
RULES = {"sight": 2, "reset_after_goal": False, "walls_show": True}
ROWS = ("..#..", ".S.G.", "#...#")  # has no symmetry of its own


def twins(rows, **rules):
    """The settings of a map, and those of the same map seen in a mirror: start and heading too."""
    heading = rules.pop("heading", 0)
    other = tuple(row[::-1] for row in rows)
    return (
        tour_spec(**{**RULES, **rules, "maps": (rows,), "heading": heading}),
        tour_spec(**{**RULES, **rules, "maps": (other,), "heading": -heading % 4}),
    )


def play(spec, actions):
    """What the collector makes of actions [N, T] on new environments: a batch [N, T]."""
    env = spec.build(EnvContext(len(actions)))
    env.set_seed(0)
    td, steps = env.reset(), []
    for action in actions.unbind(1):
        step, td = env.step_and_maybe_reset(td.set(keys.ACTION, action))
        steps.append(step)
    return torch.stack(steps, 1)


def flipped(observation, parts):
    """Each of the parts of windows [..., side, parts · side] flipped left to right, an independent way."""
    halves = np.split(observation.numpy(), parts, -1)
    return torch.from_numpy(np.concatenate([half[..., ::-1] for half in halves], -1))


@st.composite
def cases(draw):
    """A random map, switches, actions of 8 robots."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    width, height = draw(st.integers(1, 6)), draw(st.integers(3, 6))
    cells = random.choice(list("....##G"), width * height)
    cells[random.permutation(width * height)[:2]] = list("SG")
    rows = tuple("".join(row) for row in cells.reshape(height, width))
    rules = {name: draw(st.booleans()) for name in ("reset_after_goal", "erase_visited", "walls_show", "block_visited")}
    rules |= {"heading": draw(st.integers(0, 3)), "hidden_after": draw(st.integers(0, 4))}
    actions = torch.from_numpy(random.choice([0, 0, 1, 2], (8, 25)))
    return rows, {**rules, "max_time": draw(st.integers(3, 25))}, actions


@hypothesis.settings(max_examples=50)
@given(cases())
def test_mirrored_maps_with_swapped_turns_look_mirrored_and_pay_the_same(case):
    rows, rules, actions = case
    spec, other = twins(rows, **rules)
    try:
        ours, theirs = spec.world(), other.world()
    except UsageError as error:
        assume("no path leads" not in str(error))
        raise
    here, there = ours.start(len(actions)), theirs.start(len(actions))
    relabelled = torch.tensor(spec.symmetry().observation)
    for action in actions.unbind(1):
        seen, image = ours.observe(here), theirs.observe(there)
        assert torch.equal(flipped(seen, 1 + spec.rules.walls_show), image)
        assert torch.equal(seen.flatten(1)[:, relabelled].view_as(seen), image)
        here, *outcome = ours.step(here, action)
        there, *mirrored_outcome = theirs.step(there, TURNED[action])
        assert all(torch.equal(a, b) for a, b in zip(outcome, mirrored_outcome, strict=True))


def test_uniform_layouts_are_as_likely_as_their_mirror_images():
    world = tour_spec("ruin_2swamp", layout="uniform", size=(3, 2), start=(1, 0), goals=1, walls=1, sight=1).world()
    kinds, count = torch.unique(world.start(6000)["cells"].view(-1, 4, 5), dim=0, return_counts=True)
    number = {bytes(kind.numpy()): int(n) for kind, n in zip(kinds, count, strict=True)}
    for kind in kinds:
        image = kind.flip(1).contiguous()
        assert abs(number[bytes(kind.numpy())] - number[bytes(image.numpy())]) < 4 * (2 * 6000 / len(kinds)) ** 0.5


def rows_of(batch, length):
    cutter = SequenceBuilder(SequenceSchema(length=length))
    return torch.cat([cutter.push(batch), cutter.flush()])


def settings(**changes):
    base = {
        "capacity": 10_000,
        "length": 9,
        "burn_in": 0,
        "overlap": 0,
        "state": "stored",
        "batch_rows": 50,
        "ratio": 1.0,
        "mirror": True,
        "cross_mixture": 0.0,
        "storage": MemmapSpec(),
    }
    return SequenceSpec(**{**base, **changes})


ACTIONS = torch.randint(3, (30, 60), generator=torch.Generator().manual_seed(1)) * (torch.arange(60) % 3 != 1)


@pytest.mark.parametrize("rules", [{}, {"walls_show": False}])
def test_mirrored_rows_are_those_of_mirrored_episodes(rules):
    """All entries, padding included."""
    spec, other = twins(ROWS, max_time=9, **rules)
    ours, theirs = rows_of(play(spec, ACTIONS), 9), rows_of(play(other, TURNED[ACTIONS]), 9)
    assert ours[keys.TERMINATED].any()
    assert not ours[keys.MASK].all()
    which = torch.arange(len(ours)) % 3 == 0
    shown = {key: value.clone() for key, value in ours.items()}
    Mirror(spec.symmetry())(shown, which)
    for key, value in shown.items():
        assert torch.equal(value[which], theirs[key][which])
        assert torch.equal(value[~which], ours[key][~which])
    assert not torch.equal(ours[keys.OBSERVATION], theirs[keys.OBSERVATION])


def test_the_action_before_a_row_is_mirrored_too():
    spec, _ = twins(ROWS, max_time=9)
    rows = rows_of(play(spec, ACTIONS), 9)
    shown = {key: value.clone() for key, value in rows[:4].items()}
    shown[keys.PREVIOUS_ACTION] = torch.tensor([-1, 1, 2, 1])
    Mirror(spec.symmetry())(shown, torch.tensor([True, True, True, False]))
    assert shown[keys.PREVIOUS_ACTION].tolist() == [-1, *TURNED[torch.tensor([1, 2])].tolist(), 1]


def make(directory, batch, spec, **changes):
    replay_spec = settings(**changes)
    context = ReplayContext(
        directory=directory,
        spaces=spec.spaces(),
        schema=replay_spec.schema({}, ()),
        save_every=1000,
        batch_frames=60,
        seed=3,
        symmetry=spec.symmetry(),
    )
    replay = SequenceReplay(replay_spec, context)
    replay.extend(batch)
    return replay


def contents(rows):
    names = (keys.OBSERVATION, keys.ACTION, keys.REWARD, keys.TERMINATED, keys.MASK)
    return [b"".join(bytes(row[name].numpy()) for name in names) for row in rows.unbind(0)]


def test_half_of_the_sampled_rows_are_mirrored(tmp_path):
    spec, other = twins(ROWS, max_time=9)
    batches = play(spec, ACTIONS), play(other, TURNED[ACTIONS])
    original, image = (set(contents(rows_of(batch, 9))) for batch in batches)
    assert len(original & image) < 0.05 * len(original)  # a few episodes are their own mirror image
    replay = make(tmp_path / "a", batches[0], spec)
    seen = [row for _ in range(40) for row in contents(replay.sample())]
    share = sum(row in image for row in seen) / len(seen)
    assert set(seen) <= original | image
    assert abs(share - 0.5) < 3 * 0.5 / len(seen) ** 0.5 + 0.02
    plain = make(tmp_path / "b", batches[0], spec, mirror=False)
    assert {row for _ in range(40) for row in contents(plain.sample())} <= original
    assert {row for _ in range(40) for row in contents(replay.sample())} - original  # the ring itself is not mirrored
    assert not torch.equal(replay.sample()[keys.ACTION], plain.sample()[keys.ACTION])


def test_mirroring_draws_from_the_replays_own_generator(tmp_path):
    spec, _ = twins(ROWS, max_time=9)
    replay = make(tmp_path, play(spec, ACTIONS), spec)
    replay.sample()
    state, before = replay.state_dict(), torch.get_rng_state()
    first = [contents(replay.sample()) for _ in range(3)]
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)  # what happens elsewhere changes nothing
    replay.load_state_dict(state)
    assert [contents(replay.sample()) for _ in range(3)] == first


def run_of(env, memory, replay, *, novelty=False):
    network = SimpleNamespace(memory=MEMORIES[memory])
    return SimpleNamespace(
        env=env, network=network, replay=replay, warmup_frames=0, intrinsic=SimpleNamespace(rewards=novelty)
    )


@pytest.mark.parametrize(
    ("env", "memory", "length", "sentence"),
    [
        (tour_spec("tmaze_both"), "gru", 20, None),
        (tour_spec("tmaze_both"), "lstm", 25, None),
        (tour_spec("tmaze_both"), "gru", 19, "whole episodes"),
        (tour_spec("tmaze_both"), "lstm", 7, "whole episodes"),
        (tour_spec("tmaze_both"), "none", 7, None),
        (tour_spec("tmaze_both", max_time=7), "gru", 7, None),
        (gym_spec("CartPole-v1"), "none", 20, "mirror symmetry"),
        (gym_spec("CartPole-v1"), "gru", 20, "mirror symmetry"),
    ],
)
def test_what_mirroring_needs(env, memory, length, sentence):
    replay = settings(length=length)
    problems = [*replay.needs(run_of(env, memory, replay))]
    assert len(problems) == (sentence is not None)
    assert all(sentence in problem and problem.startswith("replay.mirror=true needs") for problem in problems)
    plain = settings(length=length, mirror=False)
    assert [*plain.needs(run_of(env, memory, plain))] == []


def test_novelty_cannot_be_mirrored():
    replay = settings(length=20)
    problems = [*replay.needs(run_of(tour_spec("tmaze_both"), "gru", replay, novelty=True))]
    assert len(problems) == 1
    assert "replay.mirror=true needs a run without intrinsic reward" in problems[0]


def test_whole_episodes_can_be_mirrored():
    """`length: 0` becomes the time limit, which mirroring with memory needs."""
    env = tour_spec("ruin_2swamp")
    fitted = settings(length=0).fit_to_env(env.episode_limit())
    assert fitted.length == 20
    assert [*fitted.needs(run_of(env, "gru", fitted))] == []
