"""Rows of a family of policies, and what its losses are, stepwise in plain Python."""

import math

import torch
from tensordict import TensorDict
from torchrl.modules import set_recurrent_mode

from modules import keys
from modules.keys import Spaces
from modules.losses.base import LossContext
from modules.networks.two_streams import PREFIX
from tests.modules.builders import network_spec, random_rows

BETAS, GAMMAS = (0.0, 0.3, 2.0), (0.99, 0.9, 0.6)
SPACES = Spaces(observation_shape=(3,), observation_dtype=torch.float32, n_actions=3, betas=BETAS)
LENGTH = 6
STEPS = (6, 6, 3, 1, 5)  # real steps of each row; rows 0, 2 and 4 end in a terminal step


def family_rows(memory, *, burn_in=0, intrinsic_scale=1.0):
    """Rows [B] with arms, novelty and behaviour; what lies in their padding is no number, where that is allowed."""
    rows = random_rows(STEPS, LENGTH, SPACES, memory, burn_in)
    batch, slots = rows[keys.MASK].shape
    rows[keys.ARM] = torch.tensor([0, 1, 2, 1, 2])[:, None].expand(batch, slots + 1)
    rows[keys.INTRINSIC] = 4 * intrinsic_scale * torch.rand(batch, slots)
    rows[keys.PREVIOUS_INTRINSIC] = torch.rand(batch, slots + 1)
    rows[keys.BEHAVIOUR] = 0.05 + 0.95 * torch.rand(batch, slots)
    rows[keys.WEIGHT] = torch.tensor([1.0, 0.3, 0.7, 0.2, 0.9])
    for key, entry in network_spec(memory).state().items():
        rows[PREFIX + key] = torch.randn(batch, *entry.shape)
    return rows


def context_of(network, burn_in=0, *, betas=BETAS):
    return LossContext(network=network, burn_in=burn_in, beta=torch.tensor(betas), gamma=torch.tensor(GAMMAS))


def one_at_a_time(network, row, steps, burn_in=0, prefix=""):
    """Call one recurrent network step by step; values of steps+1 observations, the burn-in before them not learned."""
    state, stepped = {key: row[prefix + key][None] for key in network.states}, network.tensordict_module()
    values = []
    for t in range(0 if row[keys.MASK][0] else burn_in, burn_in + steps + 1):
        now = TensorDict({key: row[key][t][None] for key in network.reads}, [1])
        now[keys.IS_INIT] = torch.zeros(1, 1).bool()
        with set_recurrent_mode("sequential"), torch.set_grad_enabled(t >= burn_in and torch.is_grad_enabled()):
            out = stepped(now.update(state))
        state = {key: out["next", key] for key in state}
        if t >= burn_in:
            values.append(out[keys.ACTION_VALUE][0])
    return values


def streams_of(network, row, steps, burn_in):
    """Values of each stream."""
    if len(network.streams) == 1:
        return [one_at_a_time(network, row, steps, burn_in)]
    prefixes = ("", PREFIX)
    return [one_at_a_time(s, row, steps, burn_in, p) for s, p in zip(network.independent, prefixes, strict=True)]


def h(x, eps):
    return math.copysign(math.sqrt(abs(x) + 1) - 1, x) + eps * x if eps else x


def h_inverse(y, eps):
    """Bisect, so as not to trust any closed form."""
    low, high = (-1e6, 1e6) if eps else (y, y)
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if h(middle, eps) < y else (low, middle)
    return low if eps else y


def best(q):
    return int(q.argmax())


def retrace_target(t, steps, reward, gamma, terminated, action, mu, q, choose, s):
    """Sum of NGU's appendix E, as printed: q raw values of the target, choose those of the shared policy."""
    n, eps = len(q[0]), s.target_epsilon
    pi = [[(1 - eps) * (a == best(values)) + eps / n for a in range(n)] for values in choose]
    c = [s.lam * min(1.0, pi[i][action[i]] / mu[i]) for i in range(steps)]
    found = q[t][action[t]]
    for k in range(t, steps):
        after = 0.0 if terminated[k] else sum(p * v for p, v in zip(pi[k + 1], q[k + 1], strict=True))
        delta = reward[k] + gamma * after - q[k][action[k]]
        found += gamma ** (k - t) * math.prod(c[t + 1 : k + 1]) * delta
    return found


def n_step_target(t, steps, reward, gamma, terminated, action, mu, q, choose, s):
    """n rewards and the value of the shared policy's action."""
    del action, mu
    last = min(t + s.n_step, steps) - 1
    value = 0.0 if terminated[last] else q[last + 1][best(choose[last + 1])]
    for k in range(last, t - 1, -1):
        value = reward[k] + gamma * value
    return value


def q_lambda_target(t, steps, reward, gamma, terminated, action, mu, q, choose, s):
    """Peng's recursion, from the row's end: λ of what came next, the rest of the shared policy's value."""
    del action, mu
    found = None
    for k in range(steps - 1, t - 1, -1):
        value = q[k + 1][best(choose[k + 1])]
        ahead = value if found is None else (1 - s.lam) * value + s.lam * found
        found = reward[k] + (0.0 if terminated[k] else gamma * ahead)
    return found


def mixed(extrinsic, intrinsic, beta, combine, eps):
    """What actions are chosen by, [A]."""
    if combine == "sum":
        return extrinsic + beta * intrinsic
    pairs = zip(extrinsic.tolist(), intrinsic.tolist(), strict=True)
    return torch.tensor([h(h_inverse(e, eps) + beta * h_inverse(i, eps), eps) for e, i in pairs])


def naive_loss(online, target, rows, s, stream_target, burn_in=0, combine="sum"):
    """Mean over real steps of the streams' losses, each stream with its own reward."""
    errors = []
    for row in rows.unbind(0):
        steps = int(row[keys.MASK][burn_in:].sum())
        beta, gamma = BETAS[int(row[keys.ARM][0])], GAMMAS[int(row[keys.ARM][0])]
        q_online = streams_of(online, row, steps, burn_in)
        with torch.no_grad():
            q_target = streams_of(target, row, steps, burn_in)
            both = len(q_online) == 2
            chosen_by = q_online if getattr(s, "double", True) else q_target
            pairs = zip(*chosen_by, strict=True) if both else ()
            choose = [mixed(e, i, beta, combine, s.rescale_eps) for e, i in pairs] if both else chosen_by[0]
        extrinsic, intrinsic, terminated, action, mu = (
            row[key][burn_in:].tolist()
            for key in (keys.REWARD, keys.INTRINSIC, keys.TERMINATED, keys.ACTION, keys.BEHAVIOUR)
        )
        augmented = [e + beta * i for e, i in zip(extrinsic, intrinsic, strict=True)]
        for mine, theirs, reward in zip(
            q_online, q_target, (extrinsic, intrinsic) if both else (augmented,), strict=True
        ):
            raw = [[h_inverse(v, s.rescale_eps) for v in values.tolist()] for values in theirs]
            for t in range(steps):
                y = stream_target(t, steps, reward, gamma, terminated, action, mu, raw, choose, s)
                errors.append(float(row[keys.WEIGHT]) * huber(mine[t][action[t]] - h(y, s.rescale_eps), s.huber_delta))
    real = int(rows[keys.MASK][:, burn_in:].sum())
    return torch.stack(errors).sum() / real


def huber(delta, limit):
    return limit * (delta.abs() - limit / 2) if limit and delta.abs() > limit else delta**2 / 2


def rounding(gradients, usual):
    """How far gradients may be apart: those of phases, in float32, sum up many terms that nearly cancel out."""
    return 1e-4 if any(name.endswith("theta") for name in gradients) else usual
