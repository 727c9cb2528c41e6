"""The yardstick of learning: the same network and maths as plain PyTorch."""

import math
from collections.abc import Mapping
from itertools import pairwise

import torch
import torch.nn.functional as F
from tensordict import TensorDict
from torch import Tensor, nn

from modules import keys
from modules.learner.learner import Learner
from modules.losses.q import QLossSpec
from modules.networks.heads import DuelingSpec, QSpec
from modules.networks.recurrent import GruSpec, LstmSpec
from modules.networks.torsos import ACTIVATIONS, ConvSpec, MlpSpec
from modules.previous_step import NO_ACTION
from modules.spec import UsageError
from pipelines.config.schema import RunConfig

Rows = Mapping[str, Tensor]
State = tuple[Tensor, ...]  # h and c, or h, or nothing; [layers, B, H]


class BareNetwork(nn.Module):
    """Convolutions or layers, with the previous step → nn.LSTM, nn.GRU or nothing → layers, with the sizes of a run."""

    def __init__(self, run: RunConfig) -> None:
        super().__init__()
        torso, memory, head = run.network.torso, run.network.memory, run.network.head
        if not isinstance(torso, ConvSpec | MlpSpec) or not isinstance(head, QSpec | DuelingSpec):
            raise UsageError(f"{run.name}: there is no bare network with {torso} and {head} to compare with")
        self.n_actions, self.pixels = run.spaces.n_actions, isinstance(torso, ConvSpec)
        if isinstance(torso, ConvSpec):
            self.offset, self.scale = float(torso.background), torso.gain / 255
            self.torso = convolutions(torso, run.spaces.observation_shape)
        else:
            act = ACTIVATIONS[torso.activation]
            self.torso = linear([run.spaces.observation_size, *torso.hidden, torso.out_features], act)
            self.torso.append(act())
        self.reads, features = run.network.inputs.reads, torso.out_features
        features += sum(self.n_actions if key == keys.PREVIOUS_ACTION else 1 for key in self.reads)
        self.memory: nn.LSTM | nn.GRU | None = None
        if isinstance(memory, LstmSpec | GruSpec):
            kind = nn.LSTM if isinstance(memory, LstmSpec) else nn.GRU
            self.memory = kind(features, memory.hidden_size, memory.layers, batch_first=True)
            features = memory.hidden_size
        dueling = isinstance(head, DuelingSpec)
        self.value = linear([features, *head.hidden, 1], nn.ReLU) if dueling else None
        self.advantage = linear([features, *head.hidden, self.n_actions], nn.ReLU)
        self.to(run.torch_device)

    def embed(self, observation: Tensor) -> Tensor:
        """Observations [N, …] → features [N, F]."""
        x = observation.to(torch.float32)
        if self.pixels:  # bytes, so that x is a copy
            x.sub_(self.offset).mul_(self.scale)
        return self.torso(x)

    def remember(self, rows: Rows, steps: slice, state: State) -> tuple[Tensor, State]:
        """`steps` of the rows and the state before them → features [B, T, H] and the state after them."""
        observation = rows[keys.OBSERVATION][:, steps]
        x = self.embed(observation.flatten(0, 1)).unflatten(0, observation.shape[:2])
        if self.reads:
            further = [self.prepare(key, rows[key][:, steps]) for key in self.reads]
            x = torch.cat([x, *further], -1)
        if isinstance(self.memory, nn.LSTM):
            return self.memory(x, (state[0], state[1]))
        if self.memory is not None:
            x, h = self.memory(x, state[0])
            return x, (h,)
        return x, state

    def prepare(self, key: str, entry: Tensor) -> Tensor:
        """Make features [B, T, …] of an entry [B, T]: one-hot actions, zeros for none, and rewards."""
        if key != keys.PREVIOUS_ACTION:
            return entry.unsqueeze(-1)
        return F.one_hot(entry - NO_ACTION, self.n_actions + 1)[..., 1:].float()

    def forward(self, rows: Rows, steps: slice, state: State) -> tuple[Tensor, State]:
        """`steps` of the rows and the state before them → action values [B, T, A] and the state after them."""
        x, state = self.remember(rows, steps, state)
        advantage = self.advantage(x)
        if self.value is None:
            return advantage, state
        return self.value(x) + advantage - advantage.mean(-1, keepdim=True), state

    def take_weights(self, network: nn.Module) -> None:
        """Copy the parameters of our network, whose order is the same."""
        with torch.no_grad():
            for mine, theirs in zip(self.parameters(), network.parameters(), strict=True):
                mine.copy_(theirs)


def linear(sizes: list[int], act: type[nn.Module]) -> nn.Sequential:
    """Make layers of these sizes with activations between them."""
    first, *later = [nn.Linear(a, b) for a, b in pairwise(sizes)]
    return nn.Sequential(first, *(module for layer in later for module in (act(), layer)))


def convolutions(torso: ConvSpec, observation_shape: tuple[int, ...]) -> nn.Sequential:
    """Make the layers that see pixels."""
    act = ACTIVATIONS[torso.activation]
    depth, *size = observation_shape
    layers: list[nn.Module] = []
    for width, kernel, stride in zip(torso.channels, torso.kernels, torso.strides, strict=True):
        layers += [nn.Conv2d(depth, width, kernel, stride), act()]
        depth = width
    features = depth * math.prod(torso.output_size(*size))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, torso.out_features), act())


class BareLearner:
    """n-step double Q after a burn-in: weighted Huber loss, rescaled values, clipping, fused Adam and a target."""

    def __init__(self, run: RunConfig, network: nn.Module, target: nn.Module) -> None:
        if not isinstance(run.loss, QLossSpec):
            raise UsageError(f"{run.name}: there is no bare loop with {run.loss} to compare with")
        self.loss_settings, self.optim_settings, self.burn_in = run.loss, run.optim, run.replay.burn_in
        self.target_settings = run.target
        self.states = tuple(run.network.memory.state())
        self.online, self.target = BareNetwork(run), BareNetwork(run).requires_grad_(False)
        self.online.take_weights(network)
        self.target.take_weights(target)
        self.parameters = list(self.online.parameters())
        self.values = [p.data for p in self.parameters]
        self.targets = [p.data for p in self.target.parameters()]
        self.averages = [p.clone() for p in self.values]
        self.updates = 0
        o = self.optim_settings
        self.optimiser = torch.optim.Adam(self.parameters, o.lr, o.betas, o.eps, fused=True)

    def start(self, rows: Rows, network: BareNetwork) -> State:
        """State before the first learned step: burned in, or the stored one where the burn-in is padding."""
        state = tuple(rows[key].transpose(0, 1).contiguous() for key in self.states)
        if not self.burn_in or not state:
            return state
        with torch.no_grad():
            _, burned = network.remember(rows, slice(self.burn_in), state)
        has = rows[keys.MASK][:, :1]
        return tuple(torch.where(has, b, s) for b, s in zip(burned, state, strict=True))

    def loss(self, rows: Rows) -> Tensor:
        """Loss of one batch of rows."""
        s, learned = self.loss_settings, slice(self.burn_in, None)
        q, after, q_target = self.unroll(rows, learned) if self.states else self.one_by_one(rows)
        mask, action = rows[keys.MASK][:, learned], rows[keys.ACTION][:, learned]
        with torch.no_grad():
            chooser = (q_target if after is None else after).argmax(-1, keepdim=True)
            v = q_target.gather(-1, chooser).squeeze(-1)
            g = self.returns(rows[keys.REWARD][:, learned], rows[keys.TERMINATED][:, learned], mask, v)
        taken = q.gather(-1, action.unsqueeze(-1)).squeeze(-1)
        if s.huber_delta:
            errors = F.huber_loss(taken, g, reduction="none", delta=s.huber_delta)
        else:
            errors = 0.5 * (taken - g) ** 2
        if keys.WEIGHT in rows:
            errors = errors * rows[keys.WEIGHT][:, None]
        return (errors * mask).sum() / mask.sum()

    def unroll(self, rows: Rows, learned: slice) -> tuple[Tensor, Tensor | None, Tensor]:
        """Online values of the steps and, for double Q, of the observations after them; the target's of the latter."""
        q, _ = self.online(rows, learned, self.start(rows, self.online))
        with torch.no_grad():
            q_target, _ = self.target(rows, learned, self.start(rows, self.target))
        return q[:, :-1], q[:, 1:].detach() if self.loss_settings.double else None, q_target[:, 1:]

    def one_by_one(self, rows: Rows) -> tuple[Tensor, Tensor | None, Tensor]:
        """The same, where each observation can be computed alone: none that is not needed is, least with gradient."""
        q, _ = self.online(rows, slice(self.burn_in, -1), ())
        after = None
        with torch.no_grad():
            q_target, _ = self.target(rows, slice(self.burn_in + 1, None), ())
            if self.loss_settings.double:
                last, _ = self.online(rows, slice(-1, None), ())
                after = torch.cat((q[:, 1:], last), 1)
        return q, after, q_target

    def returns(self, reward: Tensor, terminated: Tensor, mask: Tensor, v: Tensor) -> Tensor:
        """n-step targets [B, T] from the values `v` [B, T] of the steps after."""
        s = self.loss_settings
        if s.rescale_eps:
            v = h_inverse(v, s.rescale_eps)
        gamma = s.gamma * (~terminated)
        g = reward + gamma * v
        for _ in range(s.n_step - 1):
            later = torch.where(mask[:, 1:], g[:, 1:], v[:, :-1])
            g = reward + gamma * torch.cat((later, v[:, -1:]), 1)
        return h(g, s.rescale_eps) if s.rescale_eps else g

    def step(self, rows: Rows) -> Tensor:
        """Learn from one batch; return its loss."""
        o, t, loss = self.optim_settings, self.target_settings, self.loss(rows)
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, o.max_grad_norm)
        self.optimiser.step()
        self.updates += 1
        if self.updates % t.period == 0:
            torch._foreach_lerp_(self.targets, self.values, t.tau)  # pyright: ignore[reportPrivateImportUsage]
        torch._foreach_lerp_(self.averages, self.values, 1 - o.ema_decay)  # pyright: ignore[reportPrivateImportUsage]
        return loss.detach()


def h(x: Tensor, eps: float) -> Tensor:
    """Value rescaling of R2D2, section 2.3."""
    return torch.sign(x) * (torch.sqrt(torch.abs(x) + 1) - 1) + eps * x


def h_inverse(x: Tensor, eps: float) -> Tensor:
    """Its inverse, in float64 as ours."""
    y = x.double()
    root = torch.sqrt(1 + 4 * eps * (y.abs() + 1 + eps))
    return (torch.sign(y) * (((root - 1) / (2 * eps)) ** 2 - 1)).float()


def refuse_other_maths(ours: Learner, bare: BareLearner, rows: TensorDict, *, steps: int = 3) -> None:
    """Take `steps` updates on both sides; raise if a loss differs, since speeds would then mean nothing."""
    for step in range(steps):
        a, b = ours.step(rows)[0]["loss/q"].item(), bare.step(dict(rows.items())).item()
        if not math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-7):
            raise RuntimeError(f"update {step}: our loss is {a:.8g}, that of the bare loop {b:.8g}")
