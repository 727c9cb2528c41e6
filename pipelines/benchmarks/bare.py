"""The yardstick: the same network, maths and acting as plain loops of PyTorch and Gymnasium."""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import cv2
import gymnasium
import numpy as np
import torch
import torch.nn.functional as F
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from tensordict import TensorDict
from torch import Tensor, nn

from modules import keys
from modules.envs.gym import GymSpec
from modules.envs.pixels import PixelsSpec
from modules.learner import Learner
from modules.losses.q import QLossSpec
from modules.networks.heads import QSpec
from modules.networks.memory import GruSpec, LstmSpec
from modules.networks.torsos import ACTIVATIONS, ConvSpec, MlpSpec
from modules.spec import UsageError
from pipelines.schema import Run

State = tuple[Tensor, ...]  # h and c, or h, or nothing; [layers, B, H]


class BareNetwork(nn.Module):
    """Convolutions or layers → nn.LSTM, nn.GRU or nothing → layers, with the sizes of a run."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        torso, memory, head = run.network.torso, run.network.memory, run.network.head
        if not isinstance(torso, ConvSpec | MlpSpec) or not isinstance(head, QSpec):
            raise UsageError(f"{run.name}: there is no bare network with {torso} and {head} to compare with")
        act = ACTIVATIONS[torso.activation]
        self.offset, self.scale = 0.0, 1.0
        layers: list[nn.Module] = []
        if isinstance(torso, ConvSpec):
            self.offset, self.scale = float(torso.background), torso.gain / 255
            depth, *size = run.spaces.observation_shape
            for width, kernel, stride in zip(torso.channels, torso.kernels, torso.strides, strict=True):
                layers += [nn.Conv2d(depth, width, kernel, stride), act()]
                depth = width
            features = depth * math.prod(torso.output_size(*size))
            layers += [nn.Flatten(), nn.Linear(features, torso.out_features), act()]
        else:
            sizes = [run.spaces.observation_size, *torso.hidden, torso.out_features]
            for a, b in pairwise(sizes):
                layers += [nn.Linear(a, b), act()]
        self.torso, features = nn.Sequential(*layers), torso.out_features
        self.memory: nn.LSTM | nn.GRU | None = None
        if isinstance(memory, LstmSpec | GruSpec):
            kind = nn.LSTM if isinstance(memory, LstmSpec) else nn.GRU
            self.memory = kind(features, memory.hidden_size, memory.layers, batch_first=True)
            features = memory.hidden_size
        sizes = [features, *head.hidden]
        hidden = [m for a, b in pairwise(sizes) for m in (nn.Linear(a, b), nn.ReLU())]
        self.head = nn.Sequential(*hidden, nn.Linear(sizes[-1], run.spaces.n_actions))
        self.to(run.torch_device)

    def forward(self, observation: Tensor, state: State) -> tuple[Tensor, State]:
        """[B, T, …] and the state before it → action values [B, T, A] and the state after it."""
        x = observation.flatten(0, 1).to(torch.float32, copy=True).sub_(self.offset).mul_(self.scale)
        x = self.torso(x).unflatten(0, observation.shape[:2])
        if isinstance(self.memory, nn.LSTM):
            x, state = self.memory(x, (state[0], state[1]))
        elif self.memory is not None:
            x, h = self.memory(x, state[0])
            state = (h,)
        return self.head(x), state

    def take_weights(self, network: nn.Module) -> None:
        """Copy the parameters of our network, whose order is the same."""
        with torch.no_grad():
            for mine, theirs in zip(self.parameters(), network.parameters(), strict=True):
                mine.copy_(theirs)


class BareLearner:
    """n-step double Q with Huber loss, value rescaling, clipping, fused Adam and a soft target."""

    def __init__(self, run: Run, network: nn.Module, target: nn.Module) -> None:
        if not isinstance(run.loss, QLossSpec):
            raise UsageError(f"{run.name}: there is no bare loop with {run.loss} to compare with")
        self.loss_settings, self.optim_settings = run.loss, run.optim
        self.states = tuple(run.network.memory.states())
        self.online, self.target = BareNetwork(run), BareNetwork(run).requires_grad_(False)
        self.online.take_weights(network)
        self.target.take_weights(target)
        self.parameters = list(self.online.parameters())
        self.values = [p.data for p in self.parameters]
        self.targets = [p.data for p in self.target.parameters()]
        self.averages = [p.clone() for p in self.values]
        o = self.optim_settings
        self.optimiser = torch.optim.Adam(self.parameters, o.lr, o.betas, o.eps, fused=True)

    def loss(self, rows: Mapping[str, Tensor]) -> Tensor:
        """Loss of one batch of rows."""
        s = self.loss_settings
        state = tuple(rows[key].transpose(0, 1).contiguous() for key in self.states)
        q, _ = self.online(rows[keys.OBSERVATION], state)
        mask = rows[keys.MASK]
        with torch.no_grad():
            q_target, _ = self.target(rows[keys.OBSERVATION], state)
            chooser = (q if s.double else q_target)[:, 1:].argmax(-1, keepdim=True)
            v = q_target[:, 1:].gather(-1, chooser).squeeze(-1)
            if s.rescale_eps:
                v = h_inverse(v, s.rescale_eps)
            gamma = s.gamma * (~rows[keys.TERMINATED])
            g = rows[keys.REWARD] + gamma * v
            for _ in range(s.n_step - 1):
                later = torch.where(mask[:, 1:], g[:, 1:], v[:, :-1])
                g = rows[keys.REWARD] + gamma * torch.cat((later, v[:, -1:]), 1)
            if s.rescale_eps:
                g = h(g, s.rescale_eps)
        taken = q[:, :-1].gather(-1, rows[keys.ACTION].unsqueeze(-1)).squeeze(-1)
        if s.huber_delta:
            errors = F.huber_loss(taken, g, reduction="none", delta=s.huber_delta)
        else:
            errors = 0.5 * (taken - g) ** 2
        return (errors * mask).sum() / mask.sum()

    def step(self, rows: Mapping[str, Tensor]) -> Tensor:
        """Learn from one batch; return its loss."""
        loss = self.loss(rows)
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, self.optim_settings.max_grad_norm)
        self.optimiser.step()
        torch._foreach_lerp_(self.targets, self.values, self.optim_settings.tau)  # pyright: ignore
        torch._foreach_lerp_(self.averages, self.values, 1 - self.optim_settings.average)  # pyright: ignore
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


class BareActor:
    """ε-greedy acting in a Gymnasium vector environment; keeps what it saw and did in lists."""

    def __init__(self, run: Run, network: nn.Module, *, epsilon: float) -> None:
        if not isinstance(run.env, GymSpec | PixelsSpec):
            raise UsageError(f"{run.name}: there is no bare acting with {run.env} to compare with")
        self.spec, self.epsilon, self.steps = run.env, epsilon, run.collector.steps
        self.device, self.n_actions, n = run.torch_device, run.spaces.n_actions, run.collector.num_envs
        drawing = {"render_mode": "rgb_array"} if isinstance(self.spec, PixelsSpec) else {}
        kwargs: dict[str, Any] = {**self.spec.kwargs, **drawing}
        self.envs = gymnasium.make_vec(
            self.spec.id,
            num_envs=n,
            vectorization_mode="sync",
            vector_kwargs={"autoreset_mode": AutoresetMode.DISABLED},
            disable_env_checker=True,
            **kwargs,
        )
        self.network = BareNetwork(run).requires_grad_(False)
        self.network.take_weights(network)
        shapes = run.network.memory.states().values()
        self.state: State = tuple(torch.zeros(layers, n, size, device=self.device) for layers, size in shapes)
        state, _ = self.envs.reset(seed=run.seed)
        self.sight = self.look(np.ones(n, bool), state, None)
        self.frames, self.episodes = 0, 0

    def look(self, which: np.ndarray, state: np.ndarray, before: np.ndarray | None) -> np.ndarray:
        """Return the observations; pixels are drawn anew only for `which` environments."""
        if isinstance(self.spec, GymSpec):
            seen = state if self.spec.keep is None else state[:, list(self.spec.keep)]
            return seen.astype(np.float32) if seen.dtype == np.float64 else seen
        assert isinstance(self.envs, SyncVectorEnv)
        shape = (len(which), 1, self.spec.height, self.spec.width)
        frames = np.empty(shape, np.uint8) if before is None else before.copy()
        for i in np.flatnonzero(which):
            picture = self.envs.envs[i].render()
            assert isinstance(picture, np.ndarray)
            (height, width), (top, bottom, left, right) = picture.shape[:2], self.spec.crop
            cut = picture[int(top * height) : int(bottom * height), int(left * width) : int(right * width)]
            grey = cv2.cvtColor(cut, cv2.COLOR_RGB2GRAY)
            size = (self.spec.width, self.spec.height)
            frames[i, 0] = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        return frames

    @torch.no_grad()
    def collect(self) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
        """Act for as many steps as one batch of the collector has."""
        kept = []
        everyone = np.ones(len(self.sight), bool)
        for _ in range(self.steps):
            seen = torch.from_numpy(self.sight).to(self.device)
            q, self.state = self.network(seen.unsqueeze(1), self.state)
            greedy = q.squeeze(1).argmax(-1).cpu()
            chance = torch.rand(len(greedy)) < self.epsilon
            action = torch.where(chance, torch.randint(self.n_actions, greedy.shape), greedy).numpy()
            state, reward, terminated, truncated, _ = self.envs.step(action)
            done = terminated | truncated
            self.frames += len(done)
            kept.append((self.sight, action, reward, done))
            self.sight = self.look(everyone, state, None)
            if done.any():
                self.episodes += int(done.sum())
                state, _ = self.envs.reset(options={"reset_mask": done})
                self.sight = self.look(done, state, self.sight)
                for part in self.state:
                    part[:, torch.from_numpy(done)] = 0
        return kept

    def close(self) -> None:
        """Close the environments."""
        self.envs.close()
