"""Episodic memory: how new is a state within its episode? (Badia et al. 2020, NGU, algorithm 1)."""

from collections.abc import Iterator, Mapping
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from modules.errors import NonFiniteError
from modules.intrinsic.compiled import Ints, Singles, nearest, remember, rewards
from modules.intrinsic.parts import finite
from modules.spec import Positive, PositiveFloat, RunConfig, Spec, UsageError, spec

NO_LIMIT = np.iinfo(np.int64).max


@spec
class EpisodicSpec(Spec):
    """Settings of the episodic memory.

    Attributes:
        capacity: states that each environment remembers; the oldest is overwritten.
        k: neighbours that a state is compared with.
        kernel_eps: ε of the kernel ε / (d + ε).
        cluster_distance: ξ, normalised squared distance below which two states count as the same.
        pseudo_counts: c, added to the similarity; a reward is below 1/c.
        max_similarity: s_m, similarity above which the reward is 0; it can only matter for s_m < √k + c.
        horizon: states of its environment that the mean distance looks back over, in all episodes; older ones fade away
            exponentially. null means all, equally. While the embedding learns, distances drift away from that mean.
    """

    capacity: Positive
    k: Positive
    kernel_eps: PositiveFloat
    cluster_distance: Annotated[float, Field(ge=0, lt=1)]
    pseudo_counts: PositiveFloat
    max_similarity: PositiveFloat
    horizon: Positive | None

    def needs(self, run: RunConfig) -> Iterator[str]:
        if self.k > self.capacity:
            yield f"intrinsic.memory.k={self.k} must not exceed intrinsic.memory.capacity={self.capacity}"


class EpisodicMemory:
    """The memories of N environments, a ring each, all compared in one computation.

    A query costs what the memories hold, not what they could hold (off the CPU: what the longest of them holds). It
    follows algorithm 1; four things that the paper leaves open are settled so:

    - The running mean of the squared distances, d²_m, is the plain mean over everything its environment has seen, in
      all episodes. Its first value is the mean of the first neighbours: from 0, the first rewards would be near 1/c.
      With a horizon of H states, all before the newest count together as at most H·k distances.
    - An empty memory gives the reward 0: a first state is not new compared with anything.
    - With m < k states in the memory, the k − m missing neighbours are taken to lie at the running mean distance.
      Left out (kernel 0) they would make each episode's first rewards its largest, towards 1/c = 1000; replaced by
      the mean of those present they would make one repetition count as k. So the reward starts at that of an
      ordinary state, a first repetition gives 1/√1 as it does later, and nothing jumps as m reaches k.
    - If all states so far are equal, d²_m = 0, and 0/0 counts as distance 0.
    """

    def __init__(self, settings: EpisodicSpec, num_envs: int, features: int, device: torch.device) -> None:
        if settings.k > settings.capacity:
            raise UsageError(f"k={settings.k} neighbours do not fit an episodic memory of capacity={settings.capacity}")
        self.settings = settings
        self.num_envs, self.features = num_envs, features
        # On the CPU it takes memory only as it fills.
        self._states = torch.empty(num_envs, settings.capacity, features, device=device)
        self._written = np.zeros(num_envs, np.int64)  # in the episode
        self._mean = np.zeros(num_envs)  # d²_m
        self._seen = np.zeros(num_envs, np.int64)  # distances in that mean
        self._rows = np.arange(num_envs)
        s = settings
        self._most = NO_LIMIT if s.horizon is None else min(s.horizon * s.k, NO_LIMIT)  # distances
        self._constants = s.kernel_eps, s.cluster_distance, s.pseudo_counts, s.max_similarity

    @torch.no_grad()
    def query_and_add(self, embedding: Tensor, active: Tensor | None = None) -> Tensor:
        """Reward each state for being unlike those of its episode so far, then remember it.

        Args:
            embedding: of the current states, [N, features].
            active: environments that take part, bool [N]; the others get 0 and stay as they are. None means all.

        Returns:
            Episodic rewards r, float32 [N], finite and ≥ 0.

        Raises:
            NonFiniteError: an embedding is NaN or infinite; nothing was changed.
        """
        embedding = embedding.to(self._states)
        rows = self._rows if active is None else active.cpu().numpy().nonzero()[0]
        taking_part = embedding if active is None else embedding[rows]
        if not finite(taking_part):
            raise NonFiniteError("an embedding in the episodic memory is not finite: its network has diverged")
        if self._states.is_cpu:
            new, states = taking_part.numpy(), self._states.numpy()
            neighbours = nearest(new, states, rows, self._written, self.settings.k)
            remember(new, states, rows, self._written)
        else:
            neighbours = nearest_by_torch(taking_part, self._states, rows, self._written, self.settings.k)
            remember_by_torch(taking_part, self._states, rows, self._written)
        reward = rewards(neighbours, rows, self._mean, self._seen, self._most, self._constants)
        return torch.from_numpy(reward).to(embedding.device)

    def reset(self, mask: Tensor) -> None:
        """Empty the memories of the environments in `mask`, bool [N]; the running mean stays."""
        self._written[mask.cpu().numpy()] = 0

    def adopt(self, other: "EpisodicMemory") -> None:
        """Take over the running means, environment e from e mod N of the `other`'s; the memories are emptied."""
        source = self._rows % other.num_envs
        self.load_state_dict({name: value[source] for name, value in other.state_dict().items()})
        self._written[:] = 0

    def state_dict(self) -> dict[str, Tensor]:
        """What outlives episodes: the running means of the squared distances and how many each holds, [N]."""
        return {"mean": torch.tensor(self._mean), "seen": torch.tensor(self._seen)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state_dict` returned; raises `UsageError` if it is of another number of environments."""
        if len(state["mean"]) != self.num_envs:
            raise UsageError(
                f"the stored mean distances are those of {len(state['mean'])} environments, but the settings say "
                f"{self.num_envs}: restore the config.yaml that the run was started with"
            )
        self._mean[:] = state["mean"].cpu().numpy()
        self._seen[:] = state["seen"].cpu().numpy()


def nearest_by_torch(queries: Tensor, states: Tensor, rows: Ints, written: Ints, k: int) -> Singles:
    """`nearest` on any device; `rows` ascend."""
    held = np.minimum(written[rows], states.shape[1])
    places = max(int(held.max(initial=0)), k)
    theirs = states[:, :places]
    if len(rows) < len(states):
        theirs = theirs[torch.from_numpy(rows).to(states.device)]
    distance = torch.cdist(queries.unsqueeze(1), theirs, compute_mode="donot_use_mm_for_euclid_dist").squeeze(1) ** 2
    empty = torch.arange(places) >= torch.from_numpy(held).unsqueeze(1)
    distance.masked_fill_(empty.to(states.device), torch.inf)
    return distance.topk(k, largest=False).values.cpu().numpy()


def remember_by_torch(new: Tensor, states: Tensor, rows: Ints, written: Ints) -> None:
    """`remember` on any device."""
    states[torch.from_numpy(rows), torch.from_numpy(written[rows] % states.shape[1])] = new
    written[rows] += 1
