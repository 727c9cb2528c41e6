"""The loop as a whole: which part is told what at which frame, against what the settings say, worked out by hand."""

from collections import defaultdict

import pytest
import torch

from modules import checkpoint, keys
from tests.pipelines.wiring import Batch, Episodes, Naive, Recording, Update, recorded, vector

FAMILY = ("meta.arms.n=4", "meta.evaluator.episodes=7", "meta.evaluator.window=999", "exploration.anneal_frames=240",
          "replay.importance=0.1", "replay.importance_end=1", "replay.importance_frames=240")  # fmt: skip
PLAIN = ("env.keep=null", "loss=retrace", "exploration=boltzmann", "exploration.start=2", "exploration.end=0.1",
         "exploration.anneal_frames=240")  # fmt: skip
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    """Agent57: two networks, four arms with bandits, novelty, a ladder of ε, priorities."""
    return Followed(recorded(tmp_path_factory.mktemp("family"), "+exp=agent57_corridor", *FAMILY))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """DRQN with Boltzmann exploration, and Retrace, which wants to know how likely each action was."""
    return Followed(recorded(tmp_path_factory.mktemp("plain"), "+exp=drqn_cartpole_masked", *PLAIN))


@pytest.fixture(params=["family", "plain"])
def run(request):
    return request.getfixturevalue(request.param)


class Followed:
    """A recording, and the naive learner's weights at each frame: the newest, and their average."""

    def __init__(self, kept: Recording) -> None:
        self.kept, self.settings = kept, kept.run
        single = kept.run.meta.single
        arms = None if single else kept.run.meta.arms.build()
        beta, gamma = (torch.zeros(1), torch.tensor([kept.run.loss.gamma])) if single else (arms.beta, arms.gamma)
        naive = Naive(kept, gamma, beta)
        self.newest, self.average = {0: vector(naive.newest)}, {0: vector(naive.average)}
        self.losses = []
        frames = 0
        for event in kept.events:
            frames = event.frames
            if isinstance(event, Update):
                self.losses.append((naive.learn(event.rows, frames), event.measures["loss/q"]))
                self.newest[frames], self.average[frames] = vector(naive.newest), vector(naive.average)


def at(weights, frames):
    """The weights after the last update at or before frame `frames`."""
    return weights[max(frame for frame in weights if frame <= frames)]


def test_updates_begin_after_the_warm_up_and_are_owed_by_learned_steps(run):
    """`ratio` learned steps for each collected one; the burn-in of a row is not learned."""
    s, updates_due, expected, ready = run.settings, 0.0, [], 0
    for batch in run.kept.all(Batch):
        frames = batch.frames + batch.data.numel()
        ready += frames <= s.warmup_frames and batch.rows >= s.replay.batch_rows
        if frames > s.warmup_frames:
            updates_due += batch.data.numel() * s.replay.ratio / (s.replay.batch_rows * s.replay.length)
        expected += [frames] * int(updates_due)
        updates_due -= int(updates_due)
    assert ready > 0  # otherwise the warm-up would hold nothing back
    assert [update.frames for update in run.kept.all(Update)] == expected
    assert run.kept.updates == len(expected) > 20


def test_weights_are_those_of_a_naive_learner_whose_step_size_falls(run):
    """Loss, clipping, Adam with the learning rate of each frame, target: the last weights contain them all."""
    s, updates = run.settings, run.kept.all(Update)
    assert s.optim.lr_decay == 0.1
    assert min(update.frames for update in updates) < s.optim.lr_decay_frames < max(u.frames for u in updates)
    batches = run.kept.all(Batch)
    assert torch.equal(batches[0].weights, run.newest[0])
    torch.testing.assert_close(
        [b.weights for b in batches[1:]], [at(run.newest, b.frames) for b in batches[1:]], **CLOSE
    )


def test_each_arm_learns_with_its_own_discount(family):
    """The loss of each update, and the naive one, which is given the arms' γ one by one."""
    gammas = family.settings.meta.arms.build().gamma
    assert len(gammas.unique()) == 4
    arms = {int(arm) for update in family.kept.all(Update) for arm in update.rows[keys.ARM][:, 0]}
    assert arms == {0, 1, 2, 3}
    expected, found = zip(*family.losses, strict=True)
    assert found == pytest.approx(expected, rel=1e-4)


def test_the_newest_weights_act(run):
    """From each push on; those of the start only until the first update."""
    batches = run.kept.all(Batch)
    for batch in batches:
        torch.testing.assert_close(batch.weights, at(run.newest, batch.frames), **CLOSE)
    assert len({tuple(batch.weights[:50].tolist()) for batch in batches}) > 8


def policy_by_hand(run, values, frames):
    """Probabilities [N, A] by which actions are drawn at frame `frames`."""
    line = run.settings.exploration
    done = min(1.0, frames / line.anneal_frames)
    if run.settings.meta.single:
        return (values / (line.start + (line.end - line.start) * done)).softmax(-1)
    n, n_actions = values.shape
    rungs = torch.tensor([line.base ** (1 + line.alpha * i / (n - 1)) for i in range(n)])
    epsilon = (1 - done + done * rungs)[:, None]
    best = torch.nn.functional.one_hot(values.argmax(-1), n_actions)
    return best * (1 - epsilon) + epsilon / n_actions


def test_actions_are_drawn_and_remembered_with_the_epsilon_or_temperature_of_their_frame(run):
    """The probability of each action, from the values that the network had at that moment."""
    network, likely, expected = run.kept.network, [], []
    for batch in run.kept.all(Batch):
        torch.nn.utils.vector_to_parameters(at(run.newest, batch.frames), network.parameters())
        for now in batch.data.unbind(1):
            state = tuple(now[key].masked_fill(now[keys.IS_INIT].unsqueeze(-1), 0) for key in network.states)
            seen = {key: now[key].unsqueeze(1) for key in network.reads}
            with torch.no_grad():
                values = network.unroll(seen, state)[0][keys.ACTION_VALUE].squeeze(1)
            every = policy_by_hand(run, values, batch.frames)
            pi = every.gather(1, now[keys.ACTION].unsqueeze(1)).squeeze(1)
            expected.append(every.square().sum(1))
            torch.testing.assert_close(now[keys.BEHAVIOUR], pi, rtol=1e-3, atol=1e-4)
            likely.append(pi)
    first, last = torch.cat(likely[:40]), torch.cat(likely[-40:])
    assert last.mean() > first.mean()  # it did fall, and so did the actions follow
    off = torch.cat(likely) - torch.cat(expected)  # what was drawn is as likely as it should be: Σ_a π(a)² on average
    assert off.mean().item() == pytest.approx(0, abs=4 * off.std().item() / len(off) ** 0.5)


def test_the_replay_is_annealed_to_the_frame_of_each_update(run):
    updates = run.kept.all(Update)
    assert [update.annealed for update in updates] == [update.frames for update in updates]


def test_novelty_learns_from_the_rows_of_each_update(family):
    learned = [update.rows[keys.OBSERVATION] for update in family.kept.all(Update)]
    assert len(learned) == len(family.kept.curious)
    assert all(torch.equal(a, b[keys.OBSERVATION]) for a, b in zip(learned, family.kept.curious, strict=True))


def test_the_bandits_are_told_the_environments_rewards(family):
    """One (arm, sum of rewards) for each episode that ended, to the controller of its environment."""
    expected, so_far, intrinsic = [], defaultdict(float), 0.0
    for batch in family.kept.all(Batch):
        for t in range(batch.data.shape[1]):
            for env in range(batch.data.shape[0]):
                step = batch.data[env, t]
                if step[keys.IS_INIT]:
                    so_far[env] = 0.0
                so_far[env] += step["next", keys.REWARD].item()
                intrinsic += step["next", keys.INTRINSIC].item()
                if step["next", keys.DONE]:
                    expected.append((env, int(step[keys.ARM]), so_far[env]))
    assert len(expected) > 40
    assert intrinsic > 0.1  # there is another return that they could be told
    assert [told[:2] for told in family.kept.told] == [episode[:2] for episode in expected]
    assert [told[2] for told in family.kept.told] == pytest.approx([episode[2] for episode in expected], abs=1e-4)


def evaluations(run) -> list[Episodes]:
    return [event for event in run.kept.all(Episodes) if len(event.returns) == run.settings.eval_episodes]


def best_arms(run) -> dict[int, int]:
    """The arm of the highest mean return of all that the evaluator tried so far, by frame."""
    best, returns = {}, defaultdict(list)
    for tried in run.kept.all(Episodes):
        if len(tried.returns) == run.settings.meta.evaluator.episodes:
            for arm, value in tried.told:
                returns[arm].append(value)
            assert set(tried.returns) <= {value for _, value in tried.told}
            best[tried.frames] = max(sorted(returns), key=lambda arm: sum(returns[arm]) / len(returns[arm]))
    return best


def test_evaluations_act_with_the_evaluators_best_arm(family):
    best = best_arms(family)
    assert [*best] == [event.frames for event in evaluations(family)] == [120, 240, 360]
    assert [event.arms for event in evaluations(family)] == [{arm} for arm in best.values()]
    assert set(best.values()) != {0}  # arm 0 always would be no use of a bandit


def test_evaluations_see_the_averaged_weights(run):
    assert run.settings.optim.ema_decay > 0
    for event in run.kept.all(Episodes):
        average = at(run.average, event.frames)
        torch.testing.assert_close(event.weights, average, **CLOSE)
        assert (average - at(run.newest, event.frames)).abs().max() > 1e-3


def test_saved_is_what_an_evaluation_sees(run):
    """Averaged weights and the evaluator's arm, in every checkpoint and in the best one."""
    folder = run.kept.folder / "checkpoints"
    states = [checkpoint.load(path) for path in [*checkpoint.list_checkpoints(folder), folder / "best.pt"]]
    assert [state["frames"] for state in states[:-1]] == [0, 120, 240, 360]
    network = run.kept.network
    for state in states:
        network.load_state_dict(state["network"])
        torch.testing.assert_close(vector(network), at(run.average, state["frames"]), **CLOSE)
    if not run.settings.meta.single:
        assert [state["arm"] for state in states[1:-1]] == [*best_arms(run).values()]
