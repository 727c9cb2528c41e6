"""Rows that actors cut: the learner's own, with first priorities from the values while acting."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tensordict import TensorDict

from modules import keys
from modules.keys import Entry, Spaces
from modules.losses.ops import signed_hyperbolic, signed_parabolic
from modules.replay.actor_rows import ActorRows, FirstErrors
from modules.replay.cut_rows import CutRows
from modules.replay.rows import SequenceSchema
from modules.replay.samplers import Prioritised
from modules.replay.storage import MemmapSpec, StorageContext
from tests.modules.builders import STREAM_STATES, stream
from tests.modules.replay.test_sequence import make

EPISODES = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=8), min_size=1, max_size=3)
NO_ERRORS = FirstErrors(n_step=1, rescale_eps=0.0, beta=torch.zeros(1), gamma=torch.ones(1), burn_in=0)


def repacked(rows):
    return CutRows.unpack(CutRows(rows).pack())


@given(EPISODES, st.lists(st.integers(1, 7), min_size=1, max_size=6), st.integers(1, 5), st.data())
def test_rows_are_those_that_the_learner_cuts(tmp_path_factory, episodes, widths, length, data):
    """Two streams in turn, every entry on disk, the number of the row before included."""
    overlap = data.draw(st.integers(0, length - 1))
    burn_in = data.draw(st.integers(0, length - overlap))
    settings = {"length": length, "overlap": overlap, "burn_in": burn_in, "capacity": 400, "save_every": 400}
    own, ready = (make(tmp_path_factory.mktemp(name), **settings) for name in ("own", "ready"))
    schema = own.settings.schema(STREAM_STATES, ())
    cutters = [ActorRows(schema, NO_ERRORS, None) for _ in range(2)]
    steps, start = stream(episodes), 0
    for width in [*widths, steps.shape[1]]:
        part = steps[:, start : start + width]
        start += width
        if part.shape[1]:
            for number, cutter in enumerate(cutters):
                part = part.clone()
                part[keys.OBSERVATION] += 1e5 * number  # tells the streams apart
                own.extend(part, number)
                ready.extend(part[..., :0], number, repacked(cutter.push(part)))
    assert ready._written == own._written
    for key, value in own._storage.fields.items():
        assert torch.equal(ready._storage.fields[key][: own._written], value[: own._written]), key
    first = own._storage.fields[keys.OBSERVATION][: own._written, burn_in, 0]
    before = own._storage.fields[keys.PREVIOUS_ROW_ID][: own._written]
    linked = before >= 0
    assert (first[linked] - first[before[linked]] == length - overlap).all()


def test_pixels_are_packed_as_they_are():
    seen = torch.randint(0, 255, (3, 5, 1, 4, 4), dtype=torch.uint8)
    rows = TensorDict({keys.OBSERVATION: seen, keys.MASK: torch.ones(3, 4, dtype=torch.bool)}, batch_size=[3])
    for part in (rows, rows[:0]):
        back = repacked(part)
        assert keys.OBSERVATION not in list(back.entries.keys())
        assert back.whole().shape == part.shape
        assert torch.equal(back.whole()[keys.OBSERVATION], part[keys.OBSERVATION])


def test_packed_pixels_lie_as_those_that_were_not_packed_round_the_end_of_the_ring_too(tmp_path):
    seen = torch.randint(0, 255, (13, 5, 1, 4, 4), dtype=torch.uint8)
    rows = TensorDict({keys.OBSERVATION: seen, keys.MASK: torch.rand(13, 5) < 0.5}, batch_size=[13])
    plain, packed = (
        MemmapSpec().build(StorageContext(directory=tmp_path / name, template=rows[0], rows=7, fewest=1))
        for name in ("plain", "packed")
    )
    for start, end in ((0, 3), (3, 5), (5, 8), (8, 13)):
        plain.write(torch.arange(start, end), CutRows(rows[start:end]))
        packed.write(torch.arange(start, end), repacked(rows[start:end]))
        newest = torch.arange(max(0, end - 7), end)
        for key, value in packed.read(newest).items():
            assert torch.equal(value, plain.read(newest)[key]), key
            assert torch.equal(value, rows[key][newest]), key


def row(*, acted, greedy, reward, terminated=False, mask=None):
    """One row; `terminated` says whether its last real step did."""
    steps = len(acted)
    real = torch.tensor(mask if mask is not None else [True] * steps)
    ends = torch.zeros(steps, dtype=torch.bool)
    ends[int(real.nonzero()[-1])] = terminated
    numbers = {keys.ACTED_VALUE: acted, keys.GREEDY_VALUE: greedy, keys.REWARD: reward}
    entries = {key: torch.tensor([value], dtype=torch.float32) for key, value in numbers.items()}
    return TensorDict(entries | {keys.TERMINATED: ends[None], keys.MASK: real[None]}, batch_size=[1])


def first_errors(**changes):
    base = {"n_step": 1, "rescale_eps": 0.0, "beta": torch.zeros(1), "gamma": torch.tensor([0.5]), "burn_in": 0}
    return FirstErrors(**{**base, **changes})


def test_one_step_errors_by_hand():
    """δ of step 0: 1 + 0.5 · 4 − 1 = 2; of step 1: 2 + 0.5 · 6 − 3 = 2; step 2 leads to nothing that is known."""
    errors, known = first_errors()(row(acted=[1, 3, 5], greedy=[2, 4, 6], reward=[1, 2, 3]))
    assert errors.tolist() == [[2, 2, 0]]
    assert known.tolist() == [[True, True, False]]


def test_the_last_step_counts_where_the_episode_terminated():
    errors, known = first_errors()(row(acted=[1, 3, 5], greedy=[2, 4, 6], reward=[1, 2, 3], terminated=True))
    assert errors.tolist() == [[2, 2, 2]]  # |3 − 5|
    assert known.all()


def test_targets_of_several_steps_end_where_the_last_value_is_known():
    """n = 3: step 0 and 1 both bootstrap from the third observation: 1 + 0.5 (2 + 0.5 · 6) − 1, and 2 + 0.5 · 6 − 3."""
    errors, _ = first_errors(n_step=3)(row(acted=[1, 3, 5], greedy=[2, 4, 6], reward=[1, 2, 3]))
    assert errors.tolist() == [[2.5, 2, 0]]


def naive(rows, n_step, eps, beta, gamma, burn_in):
    """Step by step, in plain numbers; None where nothing is known."""
    found = []
    for b in range(len(rows)):
        r = rows[b]
        arm = int(r[keys.ARM])
        real = [t for t in range(burn_in, r[keys.MASK].shape[0]) if r[keys.MASK][t]]
        errors = []
        for t in range(burn_in, r[keys.MASK].shape[0]):
            ends_known = bool(r[keys.TERMINATED][real[-1]])
            if t not in real or (t == real[-1] and not ends_known):
                errors.append(None)
                continue
            total, weight, k = 0.0, 1.0, t
            while True:
                total += weight * (float(r[keys.REWARD][k]) + float(beta[arm]) * float(r[keys.INTRINSIC][k]))
                weight *= float(gamma[arm])
                last = k == real[-1] if ends_known else k + 1 == real[-1]
                if bool(r[keys.TERMINATED][k]):
                    break
                if k - t + 1 == n_step or last:
                    value = r[keys.GREEDY_VALUE][k + 1].double()
                    total += weight * float(signed_parabolic(value, eps) if eps else value)
                    break
                k += 1
            target = torch.tensor(total, dtype=torch.float64)
            errors.append(abs(float(signed_hyperbolic(target, eps) if eps else target) - float(r[keys.ACTED_VALUE][t])))
        found.append(errors)
    return found


@pytest.mark.parametrize("eps", [0.0, 1e-3])
@pytest.mark.parametrize("n_step", [1, 2, 5])
def test_errors_equal_those_of_a_loop(n_step, eps):
    torch.manual_seed(0)
    steps, burn_in = 6, 2
    counts = [6, 6, 5, 4, 3, 3]
    mask = torch.arange(steps) < torch.tensor(counts)[:, None]
    terminated = torch.zeros_like(mask)
    for b, count in enumerate(counts):
        terminated[b, count - 1] = b % 2 == 0
    rows = TensorDict(
        {
            keys.ACTED_VALUE: torch.randn(6, steps),
            keys.GREEDY_VALUE: torch.randn(6, steps),
            keys.REWARD: torch.randn(6, steps),
            keys.INTRINSIC: torch.rand(6, steps),
            keys.ARM: torch.tensor([0, 1, 0, 1, 0, 1]),
            keys.TERMINATED: terminated,
            keys.MASK: mask,
        },
        batch_size=[6],
    )
    beta, gamma = torch.tensor([0.0, 0.3]), torch.tensor([0.9, 0.7])
    errors, known = FirstErrors(n_step=n_step, rescale_eps=eps, beta=beta, gamma=gamma, burn_in=burn_in)(rows)
    for b, expected in enumerate(naive(rows, n_step, eps, beta, gamma, burn_in)):
        assert known[b].tolist() == [e is not None for e in expected]
        assert errors[b].tolist() == pytest.approx([e or 0.0 for e in expected], abs=1e-5)


def test_a_row_of_which_nothing_is_known_has_no_priority():
    """The first row is truncated, the second terminates; each has one step."""
    cutter = ActorRows(SequenceSchema(length=1), first_errors(), lambda errors, known: (errors * known).sum(1))
    steps = stream([[1, 1, 3]])[:, :2]
    steps[keys.ACTED_VALUE] = torch.tensor([[1.0, 1.0]])
    steps[keys.GREEDY_VALUE] = torch.tensor([[1.0, 1.0]])
    rows = cutter.push(steps)
    assert rows[keys.PRIORITY].isnan().tolist() == [True, False]
    assert keys.ACTED_VALUE not in list(rows.keys())


def test_first_priorities_shape_the_draws():
    sampler = Prioritised(seed=0, capacity=8, exponent=1.0)
    sampler.extend(2, torch.tensor([3.0, 1.0]))
    sampler.extend(1)  # as much as the highest so far, 3
    sampler.extend(2, torch.tensor([math.nan, 2.0]))
    drawn, _ = sampler.draw(12_000, 0.0)
    shares = torch.bincount(drawn, minlength=5) / 12_000
    assert shares.tolist() == pytest.approx([3 / 12, 1 / 12, 3 / 12, 3 / 12, 2 / 12], abs=0.02)


def test_states_and_planes_travel_too():
    spaces = Spaces(observation_shape=(1,), observation_dtype=torch.float32, n_actions=3)
    schema = SequenceSchema(length=2, states={"state": Entry((2, 3), torch.complex64)})
    rows = TensorDict({key: entry.zeros(4) for key, entry in schema.fields(spaces).items()}, batch_size=[4])
    back = repacked(rows)
    for key, value in rows.items():
        assert back.entries[key].dtype == value.dtype
        assert torch.equal(back.entries[key], value)
