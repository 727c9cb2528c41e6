"""The yardstick of acting: the same environments and network in a plain loop of PyTorch and Gymnasium."""

from typing import Any

import cv2
import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from torch import nn

from benchmarks.yardsticks.bare import BareNetwork, State
from modules import keys
from modules.envs.gym import GymSpec
from modules.envs.pixels import PixelsSpec
from modules.spec import UsageError
from pipelines.config.schema import RunConfig


class BareActor:
    """ε-greedy acting in a Gymnasium vector environment; keeps what it saw and did in lists."""

    def __init__(self, run: RunConfig, network: nn.Module, *, epsilon: float) -> None:
        if not isinstance(run.env, GymSpec | PixelsSpec):
            raise UsageError(f"{run.name}: there is no bare acting with {run.env} to compare with")
        if run.network.inputs.reads:
            raise UsageError(f"{run.name}: there is no bare acting with network/inputs to compare with")
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
        state = run.network.memory.state().values()
        self.state: State = tuple(e.zeros(n, device=self.device).transpose(0, 1) for e in state)
        state, _ = self.envs.reset(seed=run.seed)
        self.sight = self.look(np.ones(n, bool), state, None)
        self.frames, self.episodes = 0, 0

    def look(self, which: np.ndarray, state: np.ndarray, before: np.ndarray | None) -> np.ndarray:
        """Return the observations; pixels are drawn again only for `which` environments."""
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
            q, self.state = self.network({keys.OBSERVATION: seen.unsqueeze(1)}, slice(None), self.state)
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
