"""Episodic memory: how new is a state within its episode? (Badia et al. 2020, NGU, algorithm 1)."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from modules.errors import NonFiniteError
from modules.spec import Spec, UsageError, spec

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(gt=0)]
BLOCK = 64  # states of one environment that lie side by side


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
    """

    capacity: Count
    k: Count
    kernel_eps: Positive
    cluster_distance: Annotated[float, Field(ge=0, lt=1)]
    pseudo_counts: Positive
    max_similarity: Positive

    def needs(self, run: Any) -> Iterator[str]:
        """The neighbours must fit."""
        del run
        if self.k > self.capacity:
            yield f"intrinsic.memory.k={self.k} must not exceed intrinsic.memory.capacity={self.capacity}"

    def build(self, num_envs: int, features: int, device: torch.device) -> "EpisodicMemory":
        """Make empty memories of embeddings [features], one for each environment.

        Raises:
            UsageError: there are more neighbours than places.
        """
        if self.k > self.capacity:
            raise UsageError(f"k={self.k} neighbours do not fit an episodic memory of capacity={self.capacity}")
        return EpisodicMemory(self, num_envs, features, device)


class EpisodicMemory:
    """The memories of N environments, a ring each, all compared in one computation.

    A query costs what the longest current memory holds, not what it could hold. It follows algorithm 1; four things
    that the paper leaves open are settled so:

    - The running mean of the squared distances, d²_m, is the plain mean over everything its environment has seen, in
      all episodes. Its first value is the mean of the first neighbours: from 0, the first rewards would be near 1/c.
    - An empty memory gives the reward 0: a first state is not new compared with anything.
    - With m < k states in the memory, the k − m missing neighbours are taken to lie at the running mean distance.
      Left out (kernel 0) they would make each episode's first rewards its largest, towards 1/c = 1000; replaced by
      the mean of those present they would make one repetition count as k. So the reward starts at that of an
      ordinary state, a first repetition gives 1/√1 as it does later, and nothing jumps as m reaches k.
    - If all states so far are equal, d²_m = 0, and 0/0 counts as distance 0.
    """

    def __init__(self, settings: EpisodicSpec, num_envs: int, features: int, device: torch.device) -> None:
        self.settings = settings
        self.num_envs, self.features = num_envs, features
        # The blocks in use come first, so they are one piece: a slice of [N, capacity, features] would be copied.
        blocks = -(-settings.capacity // BLOCK)
        self._states = torch.empty(blocks, num_envs, BLOCK, features, device=device)  # takes memory only as it fills
        self._written = torch.zeros(num_envs, dtype=torch.int64, device=device)  # in the episode
        self._mean = torch.zeros(num_envs, dtype=torch.float64, device=device)  # d²_m
        self._seen = torch.zeros(num_envs, dtype=torch.int64, device=device)  # distances in that mean
        self._rows = torch.arange(num_envs, device=device)

    @property
    def sizes(self) -> Tensor:
        """Number of states in each memory, int64 [N]."""
        return self._written.clamp(max=self.settings.capacity)

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
        taking_part = embedding if active is None else embedding[active]
        if not taking_part.isfinite().all():
            raise NonFiniteError("an embedding in the episodic memory is not finite: its network has diverged")
        nearest, present = self._neighbours(embedding, self.sizes if active is None else self.sizes * active)
        self._update_mean(nearest, present)
        reward = self._reward(nearest, present)
        place = self._written % self.settings.capacity
        rows, place = (self._rows, place) if active is None else (self._rows[active], place[active])
        self._states[place // BLOCK, rows, place % BLOCK] = taking_part
        self._written += 1 if active is None else active
        return reward

    def _neighbours(self, embedding: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
        """Squared distances to the nearest of the first `sizes` [N] states, float64 [N, k], and which exist."""
        shortest, longest = (int(size) for size in sizes.aminmax())
        states = self._states[: -(-longest // BLOCK)]
        # Differences, not |a|² − 2ab + |b|²: that loses small distances between large embeddings, and is slower.
        found = torch.cdist(embedding[None, :, None], states, compute_mode="donot_use_mm_for_euclid_dist")
        # topk sorts partially from 64 values for each wanted on, twice as fast as it selects among fewer.
        distance = found.new_empty((self.num_envs, max(64 * self.settings.k, len(states) * BLOCK)))
        distance[:, : len(states) * BLOCK].unflatten(1, (-1, BLOCK)).copy_(found.squeeze(2).movedim(0, 1))
        distance[:, longest:] = torch.inf
        if shortest < longest:
            distance[:, :longest].masked_fill_(empty(sizes, longest), torch.inf)
        nearest = distance.topk(self.settings.k, largest=False).values
        return nearest.double().square(), nearest < torch.inf

    def _update_mean(self, nearest: Tensor, present: Tensor) -> None:
        count = present.sum(1)
        self._seen += count
        change = torch.where(present, nearest - self._mean[:, None], 0).sum(1)
        self._mean += change / self._seen.clamp(min=1)

    def _reward(self, nearest: Tensor, present: Tensor) -> Tensor:
        s = self.settings
        mean = self._mean[:, None]
        normalised = torch.where(mean > 0, nearest / mean, 0)
        kernel = self._kernel(torch.where(present, normalised, 0))
        count = present.sum(1)
        missing = (s.k - count) * (s.kernel_eps / (1 - s.cluster_distance + s.kernel_eps))
        similarity = (torch.where(present, kernel, 0).sum(1) + missing).sqrt() + s.pseudo_counts
        return torch.where((count == 0) | (similarity > s.max_similarity), 0, 1 / similarity).float()

    def _kernel(self, normalised: Tensor) -> Tensor:
        """Similarity to neighbours at a normalised squared distance: 1 for the same state, less for others."""
        s = self.settings
        return s.kernel_eps / ((normalised - s.cluster_distance).clamp(min=0) + s.kernel_eps)

    def reset(self, mask: Tensor) -> None:
        """Empty the memories of the environments in `mask`, bool [N]; the running mean stays."""
        self._written.masked_fill_(mask, 0)

    def adopt(self, other: "EpisodicMemory") -> None:
        """Take over the running means, environment e from e mod N of the `other`'s; the memories are emptied."""
        source = self._rows % other.num_envs
        self.load_state_dict({name: value[source] for name, value in other.state_dict().items()})
        self._written.zero_()

    def state_dict(self) -> dict[str, Tensor]:
        """What outlives episodes: the running means of the squared distances and how many each holds, [N]."""
        return {"mean": self._mean.clone(), "seen": self._seen.clone()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state_dict` returned; raises `UsageError` if it is of another number of environments."""
        if len(state["mean"]) != self.num_envs:
            raise UsageError(
                f"the stored mean distances are those of {len(state['mean'])} environments, but the settings say "
                f"{self.num_envs}: restore the config.yaml that the run was started with"
            )
        self._mean.copy_(state["mean"])
        self._seen.copy_(state["seen"])


def empty(sizes: Tensor, longest: int) -> Tensor:
    """Tell which of the first `longest` places hold nothing, bool [N, longest]."""
    return torch.arange(longest, device=sizes.device) >= sizes[:, None]
