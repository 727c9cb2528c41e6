"""Episodic memory: how new is a state within its episode? (Badia et al. 2020, NGU, algorithm 1)."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from modules.errors import NonFiniteError
from modules.intrinsic.parts import finite
from modules.spec import Spec, UsageError, spec

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(gt=0)]
BLOCK = 64  # states of one environment that lie side by side
TINY = np.finfo(np.float64).tiny
Floats = NDArray[np.floating]
Ints = NDArray[np.integer]


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
        # An empty place of a block in use holds infinity: the state there is infinitely far from all others.
        blocks = blocks_of(settings.capacity)
        self._states = torch.empty(blocks, num_envs, BLOCK, features, device=device)  # takes memory only as it fills
        self._used = 0  # blocks
        self._written = np.zeros(num_envs, np.int64)  # in the episode
        self._mean = np.zeros(num_envs)  # d²_m
        self._seen = np.zeros(num_envs, np.int64)  # distances in that mean
        self._rows = np.arange(num_envs)

    @property
    def sizes(self) -> Tensor:
        """Number of states in each memory, int64 [N]."""
        return torch.from_numpy(self._written.clip(max=self.settings.capacity))

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
        place = self._written[rows] % self.settings.capacity
        longest = min(int(self._written[rows].max(initial=0)), self.settings.capacity)
        asked = max(longest, self.settings.k)
        self._use(max(int(place.max(initial=0)) + 1, asked))
        nearest = self._neighbours(embedding, self._states[: blocks_of(asked)])[rows].astype(np.float64) ** 2
        reward = np.zeros(self.num_envs, np.float32)
        reward[rows] = self._learn(nearest, rows)
        block, column = (torch.from_numpy(index) for index in np.divmod(place, BLOCK))
        self._states[block, torch.from_numpy(rows), column] = taking_part
        self._written[rows] += 1
        return torch.from_numpy(reward).to(embedding.device)

    def _use(self, places: int) -> None:
        """Empty the blocks up to the first `places` places that were not in use."""
        blocks = blocks_of(places)
        if blocks > self._used:
            self._states[self._used : blocks] = torch.inf
            self._used = blocks

    # From the distances on in NumPy: of so few numbers, a call of PyTorch takes several times as long.

    def _neighbours(self, embedding: Tensor, states: Tensor) -> Floats:
        """Distances to the k nearest states of some blocks, [N, k] in any order; infinite where there are fewer."""
        k = self.settings.k
        # Differences, not |a|² − 2ab + |b|²: that loses small distances between large embeddings.
        distance = torch.cdist(embedding[None, :, None], states, compute_mode="donot_use_mm_for_euclid_dist")
        distance = distance.squeeze(2).movedim(0, 1).flatten(1)
        if not distance.is_cpu:
            return distance.topk(k, largest=False).values.cpu().numpy()
        return np.partition(distance.numpy(), k - 1)[:, :k]  # half of topk's time

    def _learn(self, nearest: Floats, rows: Ints) -> Floats:
        """Take the squared distances [n, k] to the neighbours of environments `rows` [n] into the mean; rewards [n]."""
        present = nearest < np.inf
        count = present.sum(1)
        self._seen[rows] += count
        change = np.where(present, nearest - self._mean[rows, None], 0).sum(1)
        self._mean[rows] += change / np.maximum(self._seen[rows], 1)
        return self._reward(nearest, self._mean[rows], count)

    def _reward(self, nearest: Floats, mean: Floats, count: Ints) -> Floats:
        s = self.settings
        normalised = nearest / np.maximum(mean, TINY)[:, None]  # where the mean is 0, the distances are
        similarity = self._kernel(normalised).sum(1)  # 0 for missing neighbours: they lie infinitely far away
        similarity += (s.k - count) * (s.kernel_eps / (1 - s.cluster_distance + s.kernel_eps))
        similarity = np.sqrt(similarity) + s.pseudo_counts
        return np.where((count == 0) | (similarity > s.max_similarity), 0, 1 / similarity)

    def _kernel(self, normalised: Floats) -> Floats:
        """Similarity to neighbours at a normalised squared distance: 1 for the same state, less for others."""
        s = self.settings
        return s.kernel_eps / (np.maximum(normalised - s.cluster_distance, 0) + s.kernel_eps)

    def reset(self, mask: Tensor) -> None:
        """Empty the memories of the environments in `mask`, bool [N]; the running mean stays."""
        emptied = mask.cpu().numpy()
        self._written[emptied] = 0
        self._used = min(self._used, blocks_of(min(int(self._written.max()), self.settings.capacity)))
        for row in emptied.nonzero()[0]:  # one by one: a write through a mask takes many times as long
            self._states[: self._used, row] = torch.inf

    def adopt(self, other: "EpisodicMemory") -> None:
        """Take over the running means, environment e from e mod N of the `other`'s; the memories are emptied."""
        source = self._rows % other.num_envs
        self.load_state_dict({name: value[source] for name, value in other.state_dict().items()})
        self._written[:] = self._used = 0

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


def blocks_of(places: int) -> int:
    """Blocks that so many places take."""
    return -(-places // BLOCK)
