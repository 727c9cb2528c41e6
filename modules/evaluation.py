"""Greedy evaluation: own environments, own random stream, the same number of episodes in each."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from tensordict.nn import TensorDictModuleBase
from torchrl.envs import EnvBase
from torchrl.envs.utils import ExplorationType, set_exploration_type, step_mdp

from modules import keys

Look = Callable[[EnvBase], None]


def no_look(env: EnvBase) -> None:
    """Nobody watches."""
    del env


@dataclass(frozen=True)
class Episodes:
    """Undiscounted returns and lengths (env frames) of finished episodes."""

    returns: list[float]
    lengths: list[int]

    def metrics(self) -> dict[str, float]:
        """Summary under the names of the metrics table."""
        returns = np.asarray(self.returns)
        return {
            "eval/return_mean": float(returns.mean()),
            "eval/return_std": float(returns.std()),
            "eval/return_min": float(returns.min()),
            "eval/return_max": float(returns.max()),
            "eval/length_mean": float(np.mean(self.lengths)),
            "eval/episodes": len(self.returns),
        }


def run_episodes(
    env: EnvBase,
    policy: TensorDictModuleBase,
    *,
    episodes: int,
    seed: int,
    look: Look = no_look,
    max_steps: int = 200_000,
) -> Episodes:
    """Run `episodes` greedy episodes.

    Each of the N environments contributes its first ⌈episodes / N⌉ or one fewer: taking whatever ends first
    would prefer short episodes.

    Args:
        env: N vectorised environments, not used for anything else.
        policy: greedy policy, reads and writes the recurrent state.
        episodes: how many in total.
        seed: of the environments; the policy must not draw.
        max_steps: longest episode that is waited for; one without end would look like a hang.
        look: called with the environments after the first reset and after each step, ends included, for pictures.

    Raises:
        RuntimeError: an episode is longer than `max_steps`.
    """
    n = env.batch_size[0]
    quota = np.full(n, episodes // n) + (np.arange(n) < episodes % n)
    returns: list[list[float]] = [[] for _ in range(n)]
    lengths: list[list[int]] = [[] for _ in range(n)]
    env.set_seed(seed)
    with torch.no_grad(), set_exploration_type(ExplorationType.DETERMINISTIC):
        td = env.reset()
        look(env)
        while any(len(r) < q for r, q in zip(returns, quota, strict=True)):
            step = env.step(policy(td))
            look(env)
            td = env.maybe_reset(step_mdp(step))
            done = step["next", keys.DONE].squeeze(-1)
            if (step["next", keys.STEP_COUNT] >= max_steps)[~done].any():
                raise RuntimeError(
                    f"an evaluation episode did not end within {max_steps} steps: give the environment a time limit"
                )
            for i in done.nonzero().squeeze(-1).tolist():
                returns[i].append(step["next", keys.EPISODE_RETURN][i].item())
                lengths[i].append(int(step["next", keys.STEP_COUNT][i].item()))
    first = [(r, k) for env_r, env_k, q in zip(returns, lengths, quota, strict=True)
             for r, k in list(zip(env_r, env_k, strict=True))[:q]]  # fmt: skip
    return Episodes(returns=[r for r, _ in first], lengths=[k for _, k in first])
